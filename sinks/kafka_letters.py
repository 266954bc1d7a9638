"""Dead letters in a Kafka topic, beside their table: for those who watch topics. A letter has the same key whenever it is sent.

The producer is idempotent and waits for all in-sync replicas, so one call sends each letter once; a batch that is repeated calls
again. Readers that must see a letter once keep the newest message of each key, or let the topic be compacted.
"""

import json
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.errors import Retryable
from schemas.letters import LetterId

_MARK = "millrace."
_LARGEST_BYTES = 100_000_000
_HEADERS = (
    *("code", "detail", "topic", "partition", "offset", "element", "output", "flow", "lane", "epoch", "batch_id", "format"),
    *("format_guess", "namespace"),
)


class LetterTopic:
    """The topic of one flow's letters. settings: of the C client, brokers and credentials included; never shown."""

    def __init__(self, name: str, settings: Mapping[str, str], timeout_s: float) -> None:
        self.name = name
        self._settings = dict(settings)
        self._timeout_s = timeout_s
        self._producer: Any = None

    def send(self, letters: Iterable[Mapping[str, Any]]) -> int:
        """Send rows of the table of letters, and wait until all are acknowledged. Returns how many.

        One the topic cannot hold is sent without its value, with the header `millrace.value_left_out`.
        Raises Retryable E220 when not all were acknowledged in time: some may be there, and are sent again with the batch.
        """
        deadline = time.monotonic() + self._timeout_s
        refused: list[str] = []
        too_large: list[Mapping[str, Any]] = []
        sent = 0
        try:
            for letter in letters:
                self._produce(letter, deadline, refused, too_large)
                sent += 1
            self._flush(deadline)
            for letter in list(too_large):
                self._send_alone(letter, deadline, refused)
        except (KafkaException, BufferError) as error:
            self._give_up(str(error))
        if refused:
            self._give_up(f"{len(refused)} of {sent} letters were refused: {refused[0]}")
        return sent

    def close(self) -> None:
        """Let the producer go."""
        self._producer = None

    def _send_alone(self, letter: Mapping[str, Any], deadline: float, refused: list[str]) -> None:
        """Send a letter that was refused as too large: brokers refuse all that travels with it."""
        too_large: list[Mapping[str, Any]] = []
        self._produce(letter, deadline, refused, too_large)
        self._flush(deadline)
        if too_large:
            self._produce({**letter, "value": None, "value_left_out": len(letter["value"])}, deadline, refused, [])
            self._flush(deadline)

    def _produce(
        self, letter: Mapping[str, Any], deadline: float, refused: list[str], too_large: list[Mapping[str, Any]]
    ) -> None:
        def delivered(error: KafkaError | None, _: object) -> None:
            if error is None:
                return
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and letter["value"]:
                too_large.append(letter)
            else:
                refused.append(error.str())

        producer = self._client()
        key, headers = message_of(letter)
        while True:
            try:
                producer.produce(self.name, key=key, value=letter["value"], headers=headers, on_delivery=delivered)
                producer.poll(0)
                return
            except BufferError:
                if time.monotonic() > deadline:
                    raise
                producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE or not letter["value"]:
                    raise
                too_large.append(letter)
                return

    def _flush(self, deadline: float) -> None:
        left = self._client().flush(max(0.1, deadline - time.monotonic()))
        if left:
            self._give_up(f"{left} letters were not acknowledged within {self._timeout_s:g} s")

    def _client(self) -> Any:
        if self._producer is None:
            ours = {
                "acks": "all",
                "enable.idempotence": True,
                "message.max.bytes": _LARGEST_BYTES,
                "message.timeout.ms": int(self._timeout_s * 1000),
                "log_level": 0,
                "error_cb": lambda error: None,
            }
            self._producer = Producer({**self._settings, **ours})
        return self._producer

    def _give_up(self, why: str) -> None:
        """Forget the producer and what it still holds: the batch is repeated with all its letters."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.poll(0)
        raise Retryable("E220", f"dead letters do not reach topic {self.name}: {why}", topic=self.name)


def message_of(letter: Mapping[str, Any]) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    """Key and headers of a letter's message: its name; what the table says of it as `millrace.*`, then its own headers."""
    name = str(LetterId(*(letter[part] for part in ("topic", "partition", "offset", "element", "output"))))
    headers: list[tuple[str, bytes | None]] = [(f"{_MARK}id", name.encode())]
    headers += [(_MARK + part, str(letter[part]).encode()) for part in _HEADERS if letter.get(part) is not None]
    at, key = letter.get("kafka_timestamp"), letter.get("key")
    if at is not None:
        headers.append((f"{_MARK}timestamp_ms", str(round(at.timestamp() * 1000)).encode()))
    if key is not None:
        headers.append((f"{_MARK}key", key))
    if letter.get("digest") is not None:
        headers.append((f"{_MARK}digest", b64encode(letter["digest"])))
    if letter.get("value_left_out"):
        headers.append((f"{_MARK}value_left_out", json.dumps(letter["value_left_out"]).encode()))
    headers += [(header["key"], header["value"]) for header in letter.get("headers") or ()]
    return name.encode(), headers


__all__ = ["LetterTopic", "message_of"]

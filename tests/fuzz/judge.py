"""The verdict on damaged messages: no exception, one fate for each, and no record touched that a message does not name."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from schemas.reasons import REASONS
from schemas.xdr.columns import DECODED
from schemas.xdr.reader import Reader
from tests.support.decode import as_messages

_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})|\\(/)")


class Sent(NamedTuple):
    """A damaged message, and the digests of the records its bytes came from."""

    value: bytes
    digests: frozenset[bytes]


class Broken(AssertionError):
    """A promise does not hold for one message; says which, and shows the message."""


def judge(reader: Reader, sent: Sequence[Sent]) -> Counter[str]:
    """How many of the messages became events, dead letters by reason, or are of unselected records. Raises Broken."""
    messages = as_messages([one.value for one in sent])
    columns, rows, taken = reader.table(messages)
    table = pa.Table.from_arrays(columns, schema=DECODED)
    table.validate(full=True)
    places = list(range(len(sent))) if rows is None else rows
    if set(places) != set(range(len(sent))):
        raise Broken(f"no fate: {[sent[row].value for row in set(range(len(sent))) - set(places)][:3]!r}")
    fates: Counter[str] = Counter()
    for row, error, digest, namespace, take in zip(
        places, *(table.column(name).to_pylist() for name in ("error", "digest", "namespace")), taken, strict=True
    ):
        value = sent[row].value
        if error is not None:
            if error["code"] not in REASONS or not error["detail"]:
                raise Broken(f"a dead letter without reason {error!r}: {value!r}")
            fates[error["code"]] += 1
        elif digest is None or len(digest) != 20 or not namespace:
            raise Broken(f"an event of no record: {value!r}")
        elif digest not in sent[row].digests and not names(value, digest):
            raise Broken(f"changes record {digest.hex()}, which it does not name: {value!r}")
        else:
            fates["event" if take else "unselected"] += 1
    events = reader.events(messages)
    if events.total != len(places):
        raise Broken(f"{events.total} events, unselected and rejected, but {len(places)} rows")
    for event, row in zip(events.events, events.rows, strict=True):
        if event.digest not in sent[row].digests and not names(sent[row].value, event.digest):
            raise Broken(f"changes record {event.digest.hex()}, which it does not name: {sent[row].value!r}")
    return fates


def names(value: bytes, digest: bytes) -> bool:
    """Whether the bytes hold the digest, raw or in Base64, escapes of JSON undone."""
    text = b64encode(digest)
    return digest in value or text in value or text in _ESCAPE.sub(_character, value)


def _character(escape: "re.Match[bytes]") -> bytes:
    code = escape[1]
    return b"/" if code is None else chr(int(code, 16)).encode("utf-8", "replace")


__all__ = ["Broken", "Sent", "judge", "names"]

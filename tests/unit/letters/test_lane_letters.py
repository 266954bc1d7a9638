"""A lane's letters when a registry learns a schema between the look that counts and the look that keeps."""

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import letters as module
from pipelines.letters import LaneLetters
from schemas.errors import Retryable
from schemas.xdr.options import DecodeOptions
from schemas.xdr.registry_options import RegistryOptions
from sinks.contract import Fence

FENCE = Fence("epoch", 3)
WITH_REGISTRY = DecodeOptions("kafka-avro", registry=RegistryOptions(("http://127.0.0.1:1",)))


class Table:
    """Holds so many letters, whatever is appended."""

    def __init__(self, held: int) -> None:
        self.held = held
        self.appended = 0

    def append_undecoded(self, rows: Any, **what: Any) -> None:
        self.appended += 1

    def undecoded_of(self, lane: str, fence: Fence) -> int:
        return self.held


def append(held: int, undecoded: int, options: DecodeOptions, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "decoded", lambda frame, options: frame)
    table: Any = Table(held)
    account: Any = SimpleNamespace(letters=None, undecoded=undecoded)
    LaneLetters(table, "bulk", options, owner=True).append(SimpleNamespace(), FENCE, {"history": account})  # type: ignore[arg-type]
    return int(table.appended)


def test_a_message_that_became_readable_in_between_repeats_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Retryable, match="2 messages can be read now") as raised:
        append(1, 3, WITH_REGISTRY, monkeypatch)
    assert raised.value.code == "E221"


@pytest.mark.parametrize(("held", "options"), [(3, WITH_REGISTRY), (4, WITH_REGISTRY), (1, DecodeOptions("json"))])
def test_otherwise_it_goes_on(held: int, options: DecodeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    assert append(held, 3, options, monkeypatch) == 1

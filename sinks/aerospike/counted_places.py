"""Which events replays of dead letters have counted: one small record per event, by its place in Kafka, beside the marks.

A letter may be replayed again although some of its outputs, or some of the events in its message, have been taken: it waits until
all are. A mirror and a history know what they have; a counter does not, so it is written down. Each place remembers the part of
the replay that counted it: a part that was cut and is done again counts it as its own, and the fence in the record sees that it
counts once.
"""

from collections.abc import Sequence
from typing import Any

import aerospike
from aerospike_helpers.batch.records import BatchRecords, Read, Write
from aerospike_helpers.operations import operations as op

from schemas.errors import Retryable
from sinks.aerospike.batch_call import batch_write
from sinks.aerospike.config import CountersConfig
from sinks.aerospike.connection import client_for
from sinks.aerospike.record_changes import Place
from sinks.contract import Fence

_ACT, _PART = "act", "part"
_AT_ONCE = 1_000
_FOUND, _NOT_FOUND = 0, 2


class CountedPlaces:
    """The places of one output. over: what they are counted over: the target set, and the turn of the stream's checkpoint."""

    def __init__(self, config: CountersConfig, over: str) -> None:
        self._config = config
        self._over = over

    def by_others(self, places: Sequence[Place], fence: Fence) -> set[Place]:
        """Those of `places` that another part has counted. Raises Retryable E210."""
        rows = self._call([Read(self._key(place), [op.read(_ACT), op.read(_PART)]) for place in places])
        found = set()
        for place, row in zip(places, rows, strict=True):
            bins = row.record[2] if row.result == _FOUND and row.record else None
            if bins is not None and (bins[_ACT], bins[_PART]) != fence:
                found.add(place)
        return found

    def remember(self, places: Sequence[Place], fence: Fence) -> None:
        """Write down that `fence`'s part has counted `places`; the same again changes nothing. Raises Retryable E210."""
        kept = [op.write(_ACT, fence.epoch), op.write(_PART, fence.batch_id)]
        policy = {"ttl": aerospike.TTL_NEVER_EXPIRE}
        self._call([Write(self._key(place), kept, None, policy) for place in places])

    def _key(self, place: Place) -> tuple[str, str, str]:
        where = f"{place.topic}/{place.partition}/{place.offset}/{place.element}"
        return (self._config.namespace, self._config.mark_set, f"{self._config.writer}/{self._over}/{where}")

    def _call(self, requests: Sequence[Any]) -> list[Any]:
        client, policy = client_for(self._config.client), self._config.client.batch_policy() | {"max_retries": 2}
        answered: list[Any] = []
        for start in range(0, len(requests), _AT_ONCE):
            batch = BatchRecords(list(requests[start : start + _AT_ONCE]))
            failed = batch_write(client, batch, policy)
            codes = {failed.code} if failed else {row.result for row in batch.batch_records} - {_FOUND, _NOT_FOUND}
            if codes:
                text = f"places of counted letters: Aerospike answered {min(codes)}"
                raise Retryable("E210", text, output=self._config.name, namespace=self._config.namespace)
            answered += batch.batch_records
        return answered


__all__ = ["CountedPlaces"]

"""Dead letters by the batch that made them, and, for lanes that keep none of undecoded messages, by their place in Kafka."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow.compute as pc

from pipelines.kafka_offsets import Offsets
from schemas.reasons import MAY_PASS
from sinks.delta.table import is_table, open_table, table_path

Place = tuple[str, int, int, int]
"""Topic, partition, offset, element."""
_COLUMNS = ["lane", "output", "epoch", "batch_id", "topic", "partition", "offset", "element", "code"]


class Letters(NamedTuple):
    """Letters of one batch. places: where their events stood. again: letters of a place that has one already.

    passing: places whose reason may pass by itself, so that another attempt, or another lane, may have read the message.
    """

    places: frozenset[Place]
    again: int
    passing: frozenset[Place]

    def __or__(self, other: "Letters") -> "Letters":  # a union, as of sets
        return Letters(self.places | other.places, self.again + other.again, self.passing | other.passing)


NO_LETTERS = Letters(frozenset(), 0, frozenset())


class LetterRows:
    """A flow's letters without what they hold, as their table stands when this is made. They fit into memory."""

    def __init__(self, flow: str, path: str, storage_options: Mapping[str, str] | None = None) -> None:
        batches: dict[tuple[str, str | None, str, int], list[tuple[Place, str]]] = {}
        by_partition: dict[tuple[str, int], dict[tuple[int, int], str]] = {}
        for row in _rows(flow, table_path(path), storage_options):
            place = row["topic"], row["partition"], row["offset"], row["element"]
            batches.setdefault((row["lane"], row["output"], row["epoch"], row["batch_id"]), []).append((place, row["code"]))
            if row["output"] is None:
                by_partition.setdefault(place[:2], {})[place[2:]] = row["code"]
        self._batches = {key: _letters(found) for key, found in batches.items()}
        self._undecoded = by_partition
        self._sorted = {partition: sorted(found) for partition, found in by_partition.items()}
        self.count = sum(map(len, batches.values()))

    def batches(self) -> Iterable[tuple[str, str | None, str, int]]:
        """(lane, output, checkpoint, batch) of all letters; output None for undecoded messages."""
        return self._batches.keys()

    def of_batch(self, lane: str, output: str | None, epoch: str, batch_id: int) -> Letters:
        """The letters a batch made for an output, or of undecoded messages (None)."""
        return self._batches.get((lane, output, epoch, batch_id), NO_LETTERS)

    def undecoded_between(self, start: Offsets, end: Offsets) -> Letters:
        """Letters of undecoded messages in [start, end), whichever lane wrote them."""
        found = [
            (place := (topic, partition, *self._sorted[topic, partition][at]), self._undecoded[topic, partition][place[2:]])
            for topic, partition, at in self._between(start, end)
        ]
        return _letters(found)

    def _between(self, start: Offsets, end: Offsets) -> Iterable[tuple[str, int, int]]:
        for topic, numbers in end.items():
            for partition, stop in numbers.items():
                places = self._sorted.get((topic, partition), [])
                first = bisect_left(places, (start.get(topic, {}).get(partition, 0), 0))
                for at in range(first, bisect_left(places, (stop, 0))):
                    yield topic, partition, at


def _letters(found: Iterable[tuple[Place, str]]) -> Letters:
    listed = list(found)
    places = frozenset(place for place, _ in listed)
    return Letters(places, len(listed) - len(places), frozenset(place for place, code in listed if code in MAY_PASS))


def _rows(flow: str, path: str, storage_options: Mapping[str, str] | None) -> Iterable[dict[str, Any]]:
    if not is_table(path, storage_options):
        return
    dataset = open_table(path, storage_options).to_pyarrow_dataset()
    for batch in dataset.scanner(columns=_COLUMNS, filter=pc.field("flow") == flow).to_batches():
        yield from batch.to_pylist()


__all__ = ["LetterRows", "Letters", "NO_LETTERS", "Place"]

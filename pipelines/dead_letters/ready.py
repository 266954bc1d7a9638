"""Which letters can be replayed now: those whose message no lane of the flow will read again.

A message that the lane of a history or of counters has yet to finish, once more after a kill or for the first time, may be
decoded then: the stream would add its event, and so would a replay. A mirror needs no such care: its guard takes an event twice
for what it is.
"""

from collections.abc import Iterable
from typing import NamedTuple

from checkpoints.layout import committed_kafka_offsets
from pipelines.flow.model import Flow
from pipelines.flow.outputs import AerospikeMirror
from sinks.delta.letter_keys import LetterKey


class Ready(NamedTuple):
    """Letters by whether they can be replayed. later: how many wait for a lane, by lane; homeless: by an output that is gone."""

    keys: list[LetterKey]
    later: dict[str, int]
    homeless: dict[str, int]


class Readiness:
    """Judges letters by where the lanes' checkpoints stand now. Raises Terminal E421 on a damaged checkpoint."""

    def __init__(self, flow: Flow) -> None:
        self._outputs = flow.all_outputs()
        self._topics = frozenset(flow.source.topics)
        self._lane_of = {name: lane for lane, options in flow.lanes.items() for name in options.outputs}
        lanes = {self._lane_of[name] for name, output in self._outputs.items() if not isinstance(output, AerospikeMirror)}
        self._done = {lane: committed_kafka_offsets(flow.lane_checkpoint(lane)) or {} for lane in lanes}

    def outputs_of(self, key: LetterKey) -> list[str]:
        """The outputs a letter is replayed into: the one that refused it, or all."""
        if key.id.output is None:
            return list(self._outputs)
        return [key.id.output] if key.id.output in self._outputs else []

    def lane_before(self, key: LetterKey) -> str | None:
        """The lane of a history or of counters that has yet to finish the letter's message; None when none has."""
        topic, partition, offset, _ = key.message
        if topic not in self._topics:
            return None
        for output in self.outputs_of(key):
            lane = self._lane_of[output]
            if lane in self._done and self._done[lane].get(topic, {}).get(partition, 0) <= offset:
                return lane
        return None

    def split(self, keys: Iterable[LetterKey]) -> Ready:
        """The letters that can be replayed, and why others cannot."""
        ready = Ready([], {}, {})
        for key in keys:
            lane = self.lane_before(key)
            if not self.outputs_of(key):
                name = str(key.id.output)
                ready.homeless[name] = ready.homeless.get(name, 0) + 1
            elif lane is not None:
                ready.later[lane] = ready.later.get(lane, 0) + 1
            else:
                ready.keys.append(key)
        return ready


__all__ = ["Readiness", "Ready"]

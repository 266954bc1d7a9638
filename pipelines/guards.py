"""Kafka guards of a start: refuse what would lose, double or reorder data, with the numbers that show it.

Spark finds some of this by itself, but late (in a reading task), in words of its own, or not at all: a topic that was deleted and
created again and has since grown past the checkpoint's offset looks fine to it, and so does another cluster under the same
address. Each guard is a metadata request.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from checkpoints.files import Folder
from pipelines.kafka_offsets import Bounds, Broker, Offsets
from schemas.errors import ConfigError, Terminal

TOPICS_FILE = "_millrace/topics.json"
_CLUSTER = "cluster id"
"""Key of the cluster's identity in TOPICS_FILE, among the topics': no topic can be called so, for it has a space."""


class LanePosition(NamedTuple):
    """Where a lane's checkpoint stands in Kafka; `needs` is None for a lane that never planned a batch.

    needs:   where reading goes on: Kafka must still hold everything from here.
    planned: where the last planned batch ends: Kafka must have reached this.
    """

    lane: str
    needs: Offsets | None
    planned: Offsets | None


def check_kafka(
    broker: Broker,
    topics: Sequence[str],
    lanes: Sequence[LanePosition],
    checkpoint: str,
    tell: Callable[[str], None] = lambda line: None,
    *,
    remember: bool = True,
) -> None:
    """Compare every lane's position with what the broker has; remember the identity of cluster and topics for the next start.

    tell: is given a line about what an operator wants to know and no data depends on: partitions that were added.
    remember: False looks only, and writes nothing.
    Raises: ConfigError E150 when a topic does not exist, Terminal E430 to E433 and E435 when going on would lose or mix data,
            Retryable E220 when no broker answers.
    """
    folder = Folder(checkpoint)
    started = [position for position in lanes if position.needs is not None]
    before = _remembered(folder)
    cluster = broker.cluster_id()
    if started:
        require_same_cluster(before.get(_CLUSTER), cluster, broker.address, f"{folder.path}/{TOPICS_FILE}")
    found = broker.partitions(topics)
    require_topics(topics, found, lanes, broker.address)
    now = broker.topic_ids(topics) | ({} if cluster is None else {_CLUSTER: cluster})
    if started:
        require_same_topics(before, now)
        for position in started:
            require_partitions(position, found)
        require_offsets(started, broker.bounds(found))
        for line in sorted({line for one in started for line in more_partitions(one.needs or {}, found)}):
            tell(line)
    if remember and now != before:
        folder.replace(TOPICS_FILE, json.dumps(now, indent=1, sort_keys=True) + "\n")


def require_topics(topics: Sequence[str], found: Mapping[str, object], lanes: Sequence[LanePosition], address: str) -> None:
    """Every topic named exists. A missing one is a misspelling before the first batch and a loss after it."""
    missing = sorted(set(topics) - set(found))
    if not missing:
        return
    readers = [position.lane for position in lanes if position.needs and set(missing) & set(position.needs)]
    if readers:
        raise Terminal(
            "E430", f"{_named('topic', missing)} at {address} no longer there, but {_named('lane', readers)} read from it"
        )
    raise ConfigError("E150", f"{_named('topic', missing)} at {address}: no such topic")


def require_same_cluster(before: str | None, now: str | None, address: str, file: str) -> None:
    """The address still leads to the cluster that was read from; not known from checkpoints and brokers that tell no identity."""
    if before is not None and now is not None and before != now:
        raise Terminal(
            "E435",
            f"{address} is another Kafka cluster: its id was {before} at the last start and is {now}",
            file=file,
        )


def require_same_topics(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """A topic that was deleted and created again is another topic, whatever its offsets say."""
    for topic, identity in sorted(now.items()):
        if topic != _CLUSTER and before.get(topic, identity) != identity:
            raise Terminal(
                "E432",
                f"topic {topic} was deleted and created again: its id was {before[topic]} and is {identity}",
                topic=topic,
            )


def require_partitions(position: LanePosition, found: Mapping[str, Sequence[int]]) -> None:
    """Every partition the lane has read from is still there."""
    for topic, offsets in sorted((position.needs or {}).items()):
        if topic not in found:
            raise Terminal(
                "E433",
                f"lane {position.lane} has read topic {topic}, which the flow no longer names",
                lane=position.lane,
                topic=topic,
            )
        gone = sorted(set(offsets) - set(found[topic]))
        if gone:
            numbers = ", ".join(map(str, gone))
            raise Terminal(
                "E433",
                f"topic {topic} has {len(found[topic])} partitions, but lane {position.lane} has read partition {numbers}",
                lane=position.lane,
                topic=topic,
            )


def more_partitions(before: Mapping[str, Mapping[int, int] | Sequence[int]], now: Mapping[str, Sequence[int]]) -> list[str]:
    """A line for each topic of `before` that has partitions now it did not have then."""
    lines = []
    for topic, numbers in sorted(before.items()):
        more = sorted(set(now.get(topic, ())) - set(numbers))
        if more:
            lines.append(
                f"topic {topic} has {len(numbers) + len(more)} partitions now, {len(numbers)} before: "
                f"{_listed('partition', more)} read from the first message; keys may have moved between partitions, which "
                "version guards allow for"
            )
    return lines


def require_offsets(positions: Sequence[LanePosition], bounds: Bounds) -> None:
    """Kafka still holds what every lane needs next, and reaches as far as each has planned.

    Everything that is gone is told at once: an operator decides with all the numbers in view.
    """
    for position in positions:
        for topic, offsets in sorted((position.planned or {}).items()):
            for partition, planned in sorted(offsets.items()):
                newest = bounds.newest.get(topic, {}).get(partition, 0)
                if planned > newest:
                    raise Terminal(
                        "E432",
                        f"partition {partition} of topic {topic} ends at offset {newest:,}, but lane {position.lane} has planned "
                        f"up to {planned:,}: the topic was created again, or the broker lost {planned - newest:,} messages",
                        lane=position.lane,
                        topic=topic,
                        partition=partition,
                    )
    gone = [line for position in positions for line in _gone(position, bounds)]
    if gone:
        raise Terminal("E431", "; ".join(gone))


def _gone(position: LanePosition, bounds: Bounds) -> list[str]:
    """What one lane needs and Kafka no longer has, or nothing. A partition the lane has not read yet is needed from offset 0."""
    needs = position.needs or {}
    lines, total = [], 0
    for topic, partitions in sorted(bounds.oldest.items()):
        for partition, oldest in sorted(partitions.items()):
            needed = needs.get(topic, {}).get(partition)
            if oldest <= (needed or 0):
                continue
            total += oldest - (needed or 0)
            place = f"partition {partition} of topic {topic}"
            if needed is None:
                lines.append(f"{place}, which is new to it, begins at {oldest:,} instead of 0 ({oldest:,} offsets gone)")
            else:
                lines.append(f"{place}: goes on at {needed:,}, oldest there is {oldest:,} ({oldest - needed:,} offsets gone)")
    return [f"lane {position.lane} has not read {total:,} offsets that are gone: {'; '.join(lines)}"] if lines else []


def _remembered(folder: Folder) -> dict[str, str]:
    text = folder.read_text(TOPICS_FILE)
    if text is None:
        return {}
    try:
        return {str(topic): str(identity) for topic, identity in json.loads(text).items()}
    except (ValueError, AttributeError) as error:
        raise Terminal("E421", f"not a JSON object of topic ids: {text[:80]!r}", file=f"{folder.path}/{TOPICS_FILE}") from error


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what} {names[0]}" if len(names) == 1 else f"{what}s {', '.join(names)}"


def _listed(what: str, numbers: Sequence[int]) -> str:
    text = _named(what, [str(number) for number in numbers])
    return f"{text} is" if len(numbers) == 1 else f"{text} are"


__all__ = [
    "LanePosition",
    "TOPICS_FILE",
    "check_kafka",
    "more_partitions",
    "require_offsets",
    "require_partitions",
    "require_same_cluster",
    "require_same_topics",
    "require_topics",
]

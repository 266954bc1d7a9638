"""Kafka guards of a start: refuse what would lose, double or reorder data, with the numbers that show it.

Spark finds some of this by itself, but late (in a reading task), in words of its own, or not at all: a topic that was deleted and
created again and has since grown past the checkpoint's offset looks fine to it. Each guard is a metadata request.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from checkpoints.files import Folder
from pipelines.kafka_offsets import Bounds, Broker, Offsets
from schemas.errors import ConfigError, Terminal

TOPICS_FILE = "_millrace/topics.json"


class LanePosition(NamedTuple):
    """Where a lane's checkpoint stands in Kafka; `needs` is None for a lane that never planned a batch.

    needs:   where reading goes on: Kafka must still hold everything from here.
    planned: where the last planned batch ends: Kafka must have reached this.
    """

    lane: str
    needs: Offsets | None
    planned: Offsets | None


def check_kafka(broker: Broker, topics: Sequence[str], lanes: Sequence[LanePosition], checkpoint: str) -> None:
    """Compare every lane's position with what the broker has; remember the identity of the topics for the next start.

    Raises: ConfigError E150 when a topic does not exist, Terminal E430 to E433 when going on would lose or mix data,
            Retryable E220 when no broker answers.
    """
    found = broker.partitions(topics)
    require_topics(topics, found, lanes, broker.address)
    ids = broker.topic_ids(topics)
    folder = Folder(checkpoint)
    started = [position for position in lanes if position.needs is not None]
    if started:
        require_same_topics(_remembered(folder), ids)
        for position in started:
            require_partitions(position, found)
        bounds = broker.bounds(found)
        for position in started:
            require_offsets(position, bounds)
    if ids != _remembered(folder):
        folder.replace(TOPICS_FILE, json.dumps(ids, indent=1, sort_keys=True) + "\n")


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


def require_same_topics(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """A topic that was deleted and created again is another topic, whatever its offsets say."""
    for topic, identity in sorted(now.items()):
        if before.get(topic, identity) != identity:
            raise Terminal(
                "E432",
                f"topic {topic} was deleted and created again: its id was {before[topic]} at the last start and is {identity}",
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


def require_offsets(position: LanePosition, bounds: Bounds) -> None:
    """Kafka still holds what the lane needs next, and reaches as far as the lane has planned."""
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
    for topic, offsets in sorted((position.needs or {}).items()):
        for partition, needs in sorted(offsets.items()):
            oldest = bounds.oldest.get(topic, {}).get(partition, 0)
            if needs < oldest:
                raise Terminal(
                    "E431",
                    f"lane {position.lane} goes on at offset {needs:,} of partition {partition} of topic {topic}, but the oldest "
                    f"message still there is {oldest:,}: {oldest - needs:,} messages are gone",
                    lane=position.lane,
                    topic=topic,
                    partition=partition,
                )


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


__all__ = [
    "LanePosition",
    "TOPICS_FILE",
    "check_kafka",
    "require_offsets",
    "require_partitions",
    "require_same_topics",
    "require_topics",
]

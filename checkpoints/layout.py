"""What a Spark streaming checkpoint says, read without Spark: identity, offsets, commits.

Layout (Spark 4.2, one lane = one query = one checkpoint):

    metadata        {"id": "<uuid>"}                         identity, written at the first start
    offsets/<n>     v1, JSON of settings, one line per source  written BEFORE batch n runs; end offsets, exclusive
    commits/<n>     v1, JSON                                 written AFTER batch n is done
    sources/0/0     NUL byte, v1, Kafka's first offsets      where batch 0 starts; sources/<name>/0 for a named source

Paths are plain, `file://` or any fsspec address. Hidden files (checksums, temporaries) are not part of the log.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from checkpoints.files import Folder
from schemas.errors import Terminal

KafkaOffsets = dict[str, dict[int, int]]
"""{topic: {partition: next offset to read}}."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """Where a lane's checkpoint stands.

    epoch:        id in `metadata`; None while the query has never started.
    last_offsets: highest planned batch; last_commit: highest finished batch; None when there is none.
    """

    path: str
    epoch: str | None
    last_offsets: int | None
    last_commit: int | None

    @property
    def is_new(self) -> bool:
        """Whether no query ever started here."""
        return self.epoch is None and self.last_offsets is None and self.last_commit is None


def read_lane(lane_path: str) -> LaneState:
    """The state of one lane's checkpoint. Reads only; a folder that does not exist is a new lane.

    Raises Terminal E421 when `metadata` cannot be understood.
    """
    folder = Folder(lane_path)
    return LaneState(folder.path, read_epoch(lane_path), _last_id(folder, "offsets"), _last_id(folder, "commits"))


def read_epoch(lane_path: str) -> str | None:
    """The checkpoint's identity, or None when no query ever started here. Raises Terminal E421 on a damaged `metadata`."""
    folder = Folder(lane_path)
    text = folder.read_text("metadata")
    if text is None:
        return None
    try:
        epoch = json.loads(text)["id"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, "metadata", f"not the JSON object with an id that Spark writes: {text[:80]!r}") from error
    if not isinstance(epoch, str) or not epoch:
        raise _damaged(folder, "metadata", f"id is {epoch!r}")
    return epoch


def batch_ids(lane_path: str, log: str) -> list[int]:
    """The batch ids in `offsets` or `commits`, ascending. Spark keeps about the last 100."""
    return _ids(Folder(lane_path), log)


def end_offsets(lane_path: str, batch_id: int) -> KafkaOffsets:
    """Where batch `batch_id` ends in Kafka (exclusive), from its offsets file.

    Raises Terminal E421 when the file is missing, torn, or does not hold exactly one Kafka source; E445 when it is too new.
    """
    folder = Folder(lane_path)
    name = f"offsets/{batch_id}"
    text = folder.read_text(name)
    if text is None:
        raise _damaged(folder, name, "the file is missing")
    lines = text.split("\n")
    _require_known_version(folder, name, lines[0], "v1", "v2")
    sources = [line for line in lines[2:] if line]
    if len(sources) != 1:
        raise _damaged(folder, name, f"holds {len(sources)} source lines instead of 1")
    line = sources[0]
    if lines[0] == "v2" and not line.startswith("{") and line != "-":
        line = line.partition(":")[2]  # named sources: `name:{...}`
    if line == "-":
        return {}
    return _kafka_offsets(folder, name, line)


def start_offsets(lane_path: str, batch_id: int) -> KafkaOffsets:
    """Where batch `batch_id` starts in Kafka: where the one before ended, or the very first offsets for the first batch.

    Raises Terminal E421 as `end_offsets` does.
    """
    if batch_id > 0:
        previous = end_offsets(lane_path, batch_id - 1)
        if previous:
            return previous
    return initial_offsets(lane_path)


def initial_offsets(lane_path: str) -> KafkaOffsets:
    """The offsets the lane first started from. Raises Terminal E421 when they are missing or damaged."""
    folder = Folder(lane_path)
    name = _first_offsets_file(folder)
    text = folder.read_text(name)
    if text is None:
        raise _damaged(folder, name, "the file is missing")
    version, _, body = text.lstrip("\0").partition("\n")  # Spark writes a NUL first, for readers of 2.1.0 (SPARK-19517)
    _require_known_version(folder, name, version, "v1")
    return _kafka_offsets(folder, name, body.strip())


def planned_ms(lane_path: str, batch_id: int) -> int | None:
    """When batch `batch_id` was planned, in ms since 1970 by the clock of the driver that planned it; None if not said."""
    lines = (Folder(lane_path).read_text(f"offsets/{batch_id}") or "").split("\n")
    try:
        at = json.loads(lines[1])["batchTimestampMs"]
    except (IndexError, ValueError, KeyError, TypeError):
        return None
    return at if isinstance(at, int) and at > 0 else None


def require_commit(lane_path: str, batch_id: int) -> None:
    """Raise Terminal E421 when the commit file of batch `batch_id` is torn, E445 when a newer Spark wrote it."""
    folder = Folder(lane_path)
    name = f"commits/{batch_id}"
    lines = (folder.read_text(name) or "").split("\n")
    _require_known_version(folder, name, lines[0], "v1", "v2")
    try:
        whole = isinstance(json.loads("\n".join(lines[1:])), dict)
    except ValueError:
        whole = False
    if not whole:
        raise _damaged(folder, name, f"not the JSON object that Spark writes: {''.join(lines[1:])[:80]!r}")


def last_kafka_offsets(lane_path: str) -> KafkaOffsets | None:
    """Where the last planned batch ends: what Kafka must still reach. None when no batch was planned.

    Raises Terminal E421 on a damaged offsets file.
    """
    last = _last_id(Folder(lane_path), "offsets")
    return None if last is None else end_offsets(lane_path, last)


def committed_kafka_offsets(lane_path: str) -> KafkaOffsets | None:
    """Where reading goes on at the next start: the end of the last finished batch, or the first offsets of a batch 0 that was
    planned but not finished. Kafka must still hold everything from here. None when nothing was ever planned.

    Raises Terminal E421 on damaged files.
    """
    folder = Folder(lane_path)
    last = _last_id(folder, "offsets")
    if last is None:
        return initial_offsets(lane_path) if folder.exists(_first_offsets_file(folder)) else None
    commit = _last_id(folder, "commits")
    return end_offsets(lane_path, last) if commit == last else start_offsets(lane_path, last)


def _require_known_version(folder: Folder, name: str, found: str, *known: str) -> None:
    """The first line of a log file says its format. A number we do not know is a newer Spark's; anything else is damage."""
    if found in known:
        return
    if re.fullmatch(r"v[1-9][0-9]{0,3}", found):
        raise Terminal(
            "E445", f"the file has format {found}, and this release knows {' and '.join(known)}", file=f"{folder.path}/{name}"
        )
    raise _damaged(folder, name, f"starts with {found[:20]!r} instead of {' or '.join(known)}; the file is torn or not Spark's")


def _first_offsets_file(folder: Folder) -> str:
    sources = folder.names("sources")
    if len(sources) > 1:
        raise _damaged(folder, "sources", f"holds {len(sources)} sources instead of 1")
    return f"sources/{sources[0] if sources else 0}/0"


def _last_id(folder: Folder, log: str) -> int | None:
    return max(_ids(folder, log), default=None)


def _ids(folder: Folder, log: str) -> list[int]:
    return sorted(int(name) for name in folder.names(log) if name.isascii() and name.isdigit())


def _kafka_offsets(folder: Folder, name: str, line: str) -> KafkaOffsets:
    try:
        parsed: Any = json.loads(line)
        return {
            str(topic): {int(partition): int(offset) for partition, offset in partitions.items()}
            for topic, partitions in parsed.items()
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise _damaged(folder, name, f"not Kafka offsets: {line[:80]!r}") from error


def _damaged(folder: Folder, name: str, why: str) -> Terminal:
    return Terminal("E421", f"checkpoint file cannot be used: {why}", file=f"{folder.path}/{name}")


__all__ = [
    "KafkaOffsets",
    "LaneState",
    "batch_ids",
    "committed_kafka_offsets",
    "end_offsets",
    "initial_offsets",
    "last_kafka_offsets",
    "planned_ms",
    "read_epoch",
    "read_lane",
    "require_commit",
    "start_offsets",
]

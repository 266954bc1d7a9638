"""Start-up refusals that need only the checkpoint: a damaged log is refused before Spark repeats or skips a batch.

What Spark 4.2 itself does with such damage, measured: a missing last offsets file lets it run the batch before into the outputs
once more and fail only then; a missing commit of an older batch, or a missing older offsets file, is not noticed at all; a file
that is torn or does not fit its checksum fails the query in the middle of its start, again at every restart.
"""

from collections.abc import Sequence

from checkpoints.checksum import checksum_name, fits
from checkpoints.files import Folder
from checkpoints.layout import LaneState, batch_ids, end_offsets, initial_offsets, read_lane, require_commit
from schemas.errors import Terminal

KEPT = 100
"""Batches whose offsets and commits Spark keeps, unless `spark.sql.streaming.minBatchesToRetain` says otherwise."""
_TORN_COMMIT = (
    "Only this one file: remove it and its checksum (`.<number>.crc` beside it), and the batch runs once more, which every "
    "output takes once. If other files are damaged too, restore the checkpoint from a backup."
)


def require_startable(lane_path: str, kept: int = KEPT) -> LaneState:
    """The lane's state, when a query may start on it: new, or offsets at the last commit or one beyond, and every file whole.

    kept: so many batches' files Spark never removes; a gap among them is damage, one before them is Spark's cleaning up.
    Raises Terminal E421 with the evidence: identity missing, commits ahead of offsets, more than one batch unfinished, a file
    missing in the middle, or one the start needs that is missing, torn or not what its checksum says; E445 when a newer Spark
    wrote it.
    """
    folder = Folder(lane_path)
    _require_checksum(folder, "metadata")
    state = read_lane(lane_path)
    offsets, commit = state.last_offsets, state.last_commit
    if state.epoch is None and not state.is_new:
        raise Terminal(
            "E421", "`metadata` is missing but batches were planned: whose checkpoint this is cannot be known", file=state.path
        )
    if commit is not None and (offsets is None or commit > offsets):
        raise Terminal("E421", f"batch {commit} is committed but the last offsets file is of batch {offsets}", file=state.path)
    if offsets is not None:
        done = -1 if commit is None else commit
        if offsets - done > 1:
            raise Terminal(
                "E421", f"batches {done + 1} to {offsets} have no commit; only the last would be run again", file=state.path
            )
        for log in ("offsets", "commits"):
            require_no_gap(f"{folder.path}/{log}", [number for number in batch_ids(lane_path, log) if number > offsets - kept])
        for number in range(max(0, offsets - 1), offsets + 1):  # where the last batch starts, and where it ends
            _require_checksum(folder, f"offsets/{number}")
            end_offsets(lane_path, number)
        if offsets == 0:
            initial_offsets(lane_path)
    if commit is not None:
        _require_whole_commit(folder, lane_path, commit)
    return state


def require_no_gap(log: str, numbers: Sequence[int]) -> None:
    """Raise Terminal E421 when a number is missing in the middle. log: the folder, for the message; numbers: ascending."""
    there = set(numbers)
    missing = [number for number in range(numbers[0], numbers[-1]) if number not in there] if numbers else []
    if missing:
        more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise Terminal("E421", f"{missing[0]}{more} missing between {numbers[0]} and {numbers[-1]}", file=f"{log}/{missing[0]}")


def _require_whole_commit(folder: Folder, lane_path: str, commit: int) -> None:
    try:
        _require_checksum(folder, f"commits/{commit}")
        require_commit(lane_path, commit)
    except Terminal as error:
        if error.code != "E421":
            raise
        raise Terminal(error.code, error.message, remedy=_TORN_COMMIT, **error.context) from None


def _require_checksum(folder: Folder, name: str) -> None:
    """Raise Terminal E421 when the file is there and is not what its checksum says. Only local disks have checksums."""
    checksum = None if folder.local is None else folder.read_bytes(checksum_name(name))
    data = None if checksum is None else folder.read_bytes(name)
    if checksum is not None and data is not None and not fits(data, checksum):
        raise Terminal(
            "E421",
            f"checkpoint file cannot be used: its {len(data):,} bytes are not those its checksum is of; it was edited or is torn",
            file=f"{folder.path}/{name}",
        )


__all__ = ["KEPT", "require_no_gap", "require_startable"]

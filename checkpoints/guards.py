"""Start-up refusals that need only the checkpoint: a damaged log is refused before Spark repeats or skips a batch.

What Spark itself does with such damage was measured on 4.2: a missing last offsets file lets it run the batch before into the
outputs once more and fail only then; a missing commit of an older batch is not noticed at all.
"""

from checkpoints.layout import LaneState, end_offsets, read_lane
from schemas.errors import Terminal


def require_startable(lane_path: str) -> LaneState:
    """The lane's state, when a query may start on it: new, or offsets at the last commit or one beyond.

    Raises Terminal E421 with the evidence: identity missing, commits ahead of offsets, more than one batch unfinished, or a last
    offsets file that is torn.
    """
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
        end_offsets(lane_path, offsets)
    return state


__all__ = ["require_startable"]

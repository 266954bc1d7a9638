"""Every fail point of a flow by name, with what it is for, and the refusal of names that are none."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.failpoint_files import Watched
from pipelines.failpoints import Failpoint, parse
from pipelines.flow.locations import normal
from pipelines.flow.model import Flow
from pipelines.flow.outputs import DeltaHistory
from schemas.errors import ConfigError
from schemas.letters import REPLAY_LANE

FLOW = "flow"
"""What stands before the colon of points that belong to no lane."""


class Point(NamedTuple):
    """One kind of fail point. name: as after the colon, OUTPUT standing for an output's name. where: driver, worker or watched.

    watched: seen by a thread that looks at files, since Spark offers no place to stop inside; local disks only.
    """

    name: str
    where: str
    struck: str
    """What has happened when it strikes, and what has not."""


OF_A_LANE = (
    Point("before_plan", "watched", "Spark is writing the plan of batch n (`offsets/n`); it is not there yet"),
    Point("after_plan", "watched", "`offsets/n` is there; the batch has not begun, or has just begun"),
    Point("before_sink", "driver", "the batch has begun, nothing is read"),
    Point("decode", "worker", "a worker has read messages, and written none of their events"),
    Point("after_sink", "driver", "every output of the lane has the batch; dead letters have not"),
    Point("after_letters", "driver", "dead letters have it; the journal has not"),
    Point("after_journal", "driver", "the journal has the batch's account; Spark does not know yet that the batch is done"),
    Point("before_commit", "watched", "Spark is writing `commits/n`; it is not there yet"),
    Point("after_commit", "watched", "`commits/n` is there; the next batch is not planned"),
)
OF_A_RECORD_LANE = (Point("mid_sink", "worker", "`events=` events of a call are written in the mirror, the others are not"),)
OF_AN_OUTPUT = (
    Point("before_OUTPUT", "driver", "the outputs before this one have the batch"),
    Point("mid_OUTPUT", "worker", "`events=` events of a partition have gone to the output, the others have not"),
    Point("after_OUTPUT", "driver", "this output has the batch"),
)
OF_A_HISTORY = (
    Point(
        "files_OUTPUT", "driver", "the batch's data files lie in the table's folder; the log names none (not where Spark writes)"
    ),
    Point("log_OUTPUT", "driver", "the table's log has the commit; nothing was counted yet"),
)
OF_THE_FLOW = (
    Point("before_ledger", "driver", "accounts wait in the journal, the ledger table has none of them"),
    Point("mid_ledger", "driver", "the ledger table has them, and so has the journal still"),
    Point("after_ledger", "driver", "the ledger table has them, the journal has forgotten them"),
)
OF_A_REPLAY = ("after_plan", "mid_sink", "after_OUTPUT", "after_ledger", "after_states")
"""Points of `millrace dead-letters replay`, under its lane's name."""


def points_of(flow: Flow) -> dict[str, Point]:
    """Every fail point of the flow by its full name, LANE:NAME."""
    return {f"{lane}:{name}": point for lane, name, point in _points(flow)}


def require_known(armed: Path | None, flow: Flow) -> None:
    """Raise ConfigError E102, with the nearest name, for a line of the armed file that is no point of the flow."""
    if armed is None or not armed.exists():
        return
    points = points_of(flow)
    for line in filter(str.strip, armed.read_text().splitlines()):
        found = parse(line)
        if found.point not in points:
            near = difflib.get_close_matches(found.point, points, n=1, cutoff=0.5)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(points))}"
            raise ConfigError("E102", f"the flow has no fail point {found.point!r}; {meant}", file=armed)
        problem = _problem(found, points[found.point])
        if problem:
            raise ConfigError("E102", f"fail point {found.point!r}: {problem}", file=armed)


def watched_by(flow: Flow) -> dict[str, Watched]:
    """What a thread has to look at for the points that are seen by their files."""
    found: dict[str, Watched] = {}
    for lane in flow.lanes:
        checkpoint = Path(normal(flow.lane_checkpoint(lane)))
        for log, when in (("offsets", "plan"), ("commits", "commit")):
            found[f"{lane}:before_{when}"] = Watched(checkpoint / log, r"\.\d+\..*\.tmp", checkpoint)
            found[f"{lane}:after_{when}"] = Watched(checkpoint / log, r"\d+", checkpoint)
    return found


def _points(flow: Flow) -> Iterator[tuple[str, str, Point]]:
    for lane, options in flow.lanes.items():
        yield from ((lane, point.name, point) for point in OF_A_LANE)
        if any(not isinstance(output, DeltaHistory) for output in options.outputs.values()):
            yield from ((lane, point.name, point) for point in OF_A_RECORD_LANE)
        for name, output in options.outputs.items():
            for point in (*OF_AN_OUTPUT, *(OF_A_HISTORY if isinstance(output, DeltaHistory) else ())):
                yield lane, point.name.replace("OUTPUT", name), point
    yield from ((FLOW, point.name, point) for point in OF_THE_FLOW)
    for name in OF_A_REPLAY:
        for output_name in flow.all_outputs() if "OUTPUT" in name else ("",):
            yield REPLAY_LANE, name.replace("OUTPUT", output_name), Point(name, "driver", "")


def _problem(armed: Failpoint, point: Point) -> str | None:
    if armed.action == "kill-worker" and point.where != "worker":
        return "kill-worker is for points inside a worker: decode and mid_..."
    if armed.action == "sleep" and point.where == "watched":
        return "nothing can be held up there; kill, kill-python and stop are possible"
    return None


__all__ = [
    "FLOW",
    "OF_AN_OUTPUT",
    "OF_A_HISTORY",
    "OF_A_LANE",
    "OF_A_RECORD_LANE",
    "OF_THE_FLOW",
    "Point",
    "points_of",
    "require_known",
    "watched_by",
]

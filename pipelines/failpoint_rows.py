"""For drills: the fail points in the middle of a history's batch, where its rows are made, in Spark's Python workers."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pipelines.failpoints import Failpoints, Victims, armed_file
from sinks.delta.history_columns import ArrowStep


@dataclass(frozen=True, slots=True)
class StruckStep:
    """The function given to `mapInArrow` instead of `step`: the same rows, with `LANE:decode` and `LANE:mid_OUTPUT` on the way.

    Only put in place when fail points are on.
    """

    step: ArrowStep
    lane: str
    output: str
    victims: Victims
    batch_id: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What `step` makes of the batches. At `mid_` so many rows as the line says (`events=`) have gone on to the table."""
        points = Failpoints(armed_file(), self.victims)
        point = f"{self.lane}:mid_{self.output}"
        passed = 0
        for rows in self.step(batches):
            points.hit(f"{self.lane}:decode", batch_id=self.batch_id, of=rows.num_rows)
            armed = points.armed(point)
            if armed is not None and passed + rows.num_rows > armed.events:
                first = max(0, armed.events - passed)
                yield rows.slice(0, first)
                points.hit(point, batch_id=self.batch_id, written=passed + first, of=rows.num_rows)
                rows = rows.slice(first)
            passed += rows.num_rows
            yield rows


__all__ = ["StruckStep"]

"""One lane while a flow runs: its query, its restarts with back-off, and its stop without cutting a batch."""

import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

from py4j.protocol import Py4JJavaError
from pyspark.sql.streaming.query import StreamingQuery

from checkpoints.layout import read_lane
from pipelines.backoff import Backoff
from pipelines.flow.model import Restart
from pipelines.gate import StopRequested
from pipelines.micro_batch import MicroBatch
from pipelines.progress import Report, duration
from schemas.errors import ConfigError, MillraceError, Terminal

COMMIT_WAIT_S = 10.0
"""How long a stop waits for Spark to write the commit of a batch that has returned."""


class LaneState(StrEnum):
    """Where a lane is in its life."""

    RUNNING = "running"
    WAITING = "waiting"  # failed; `next_try_at` says when it starts again
    DONE = "done"  # an available-now trigger has read everything, or the lane was stopped
    FAILED = "failed"  # repeating cannot help, or the flow's limit of restarts is reached


def first_cause(error: BaseException) -> MillraceError | None:
    """The first Millrace error in the chain of causes of `error`, itself included."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if isinstance(link, MillraceError):
            return link
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return None


def describe(error: BaseException) -> str:
    """One line about any error: a Millrace error with its code, else the kind and the first line that says something."""
    known = first_cause(error)
    if known is not None:
        return str(known)
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:300]}"


class LaneRun:
    """One lane of a running flow. All methods are called from the runner's thread.

    start: begins the lane's query and returns it; also makes the checks that belong before a start. May raise any error.
    """

    def __init__(
        self,
        name: str,
        checkpoint: str,
        start: Callable[[], StreamingQuery],
        batch: MicroBatch,
        restart: Restart,
        report: Report,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.state = LaneState.WAITING
        self.error: BaseException | None = None
        self._checkpoint = checkpoint
        self._start = start
        self._batch = batch
        self._restart = restart
        self._report = report
        self._clock = clock
        self._backoff = Backoff(restart.first_delay_ms / 1000, restart.max_delay_ms / 1000)
        self._query: StreamingQuery | None = None
        self._started_at = 0.0
        self._next_try_at = 0.0
        self._batches_at_failure: int | None = None

    @property
    def over(self) -> bool:
        """Whether the lane will not run again."""
        return self.state in (LaneState.DONE, LaneState.FAILED)

    def tend(self) -> None:
        """Look at the lane once: start it when its time has come, notice its end, plan the next try."""
        if self.state is LaneState.WAITING and self._clock() >= self._next_try_at:
            self._try_start()
        elif self.state is LaneState.RUNNING:
            assert self._query is not None
            if not self._query.isActive:
                self._ended(self._query)
            elif self._batches_at_failure is not None and self._batch.done > self._batches_at_failure:
                self._batches_at_failure = None
                self._report.event("recovered", f"lane {self.name} is running again", lane=self.name)

    def begin_stop(self) -> None:
        """Let no further batch begin."""
        self._batch.gate.close()
        if self.state is LaneState.WAITING:
            self.state = LaneState.DONE

    def try_finish(self) -> bool:
        """Whether the lane is stopped; stops its query as soon as no batch is inside and the last one is committed."""
        if self.over:
            return True
        query = self._query
        if query is None or not query.isActive:
            self._note_end(query)
            return True
        if self._batch.gate.idle and self._committed():
            query.stop()
            self._note_end(query)
            return True
        return False

    def cut(self) -> None:
        """Stop the query now, in the middle of a batch if need be: it is repeated at the next start."""
        if self._query is not None and self._query.isActive:
            with suppress(Py4JJavaError):  # Python code of the batch does not end in time; it ends with the process
                self._query.stop()
        if not self.over:
            self.state = LaneState.DONE

    def _try_start(self) -> None:
        self._batch.error = None
        try:
            self._query = self._start()
        except Exception as error:  # whatever Spark, Kafka or a guard raises: judged below
            self._failed(error)
            return
        self._started_at = self._clock()
        self.state = LaneState.RUNNING

    def _ended(self, query: StreamingQuery) -> None:
        error = self._why(query)
        if error is None or isinstance(error, StopRequested):
            self.state = LaneState.DONE
        else:
            if self._clock() - self._started_at >= self._restart.reset_after_s:
                self._backoff.reset()
            self._failed(error)

    def _why(self, query: StreamingQuery) -> BaseException | None:
        """Why the query ended: what the micro-batch raised, as the object it was, else what Spark says."""
        spark_says: BaseException | None = query.exception()
        if spark_says is None:
            return None
        return self._batch.error or spark_says

    def _failed(self, error: BaseException) -> None:
        known = first_cause(error)
        limit = self._restart.max_restarts
        self.error = error
        if isinstance(known, (Terminal, ConfigError)) or (limit is not None and self._backoff.failures >= limit):
            self.state = LaneState.FAILED
            return
        wait_s = self._backoff.next_wait_s()
        self._next_try_at = self._clock() + wait_s
        self._batches_at_failure = self._batch.done
        self.state = LaneState.WAITING
        self._report.event(
            "restart",
            f"lane {self.name} failed: {describe(error)}; try {self._backoff.failures} in {duration(wait_s)}",
            lane=self.name,
            code=known.code if known else None,
            attempt=self._backoff.failures,
            wait_s=round(wait_s, 3),
        )

    def _note_end(self, query: StreamingQuery | None) -> None:
        """Settle a lane that was asked to stop: an error that came in the same moment is kept, not lost."""
        error = self._why(query) if query is not None else None
        known = first_cause(error) if error is not None else None
        if isinstance(known, (Terminal, ConfigError)):
            self.error, self.state = error, LaneState.FAILED
        else:
            self.state = LaneState.DONE

    def _committed(self) -> bool:
        """Whether Spark has written the commit of the last batch that returned: stopping between the two would repeat it."""
        last = self._batch.last_done
        if last is None or self._clock() - last.at > COMMIT_WAIT_S:
            return True
        commit = read_lane(self._checkpoint).last_commit
        return commit is not None and commit >= last.batch_id


__all__ = ["COMMIT_WAIT_S", "LaneRun", "LaneState", "describe", "first_cause"]

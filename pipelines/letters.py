"""Dead letters of a lane's batch: what its sinks refused, and, in the lane that owns them, what could not be decoded."""

from collections.abc import Callable, Mapping
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.decoding import decoded
from pipelines.letter_limits import Commonest, LetterLimits, commonest_of
from pipelines.outputs import Account
from pipelines.worker_errors import workers_errors_raised
from schemas.errors import Retryable
from schemas.xdr.options import DecodeOptions
from sinks.contract import Fence
from sinks.delta.dead_letters import DeadLetters
from sinks.kafka_letters import LetterTopic


class LaneLetters:
    """Appends the dead letters of one lane.

    owner:  whether messages that cannot be decoded are this lane's to keep; every lane counts them, one keeps them.
    options: how the messages are read; the encoding is kept with each letter so that it can be read again later.
    limits:  how many are too many; topic: where each letter is sent, too, unless `require_lease` raises.
    """

    def __init__(
        self,
        table: DeadLetters,
        lane: str,
        options: DecodeOptions,
        *,
        owner: bool,
        limits: LetterLimits | None = None,
        topic: LetterTopic | None = None,
        require_lease: Callable[[], None] = lambda: None,
    ) -> None:
        self._table = table
        self._lane = lane
        self._options = options
        self._format = options.format
        self._owner = owner
        self._limits = limits
        self._topic = topic
        self._require_lease = require_lease

    def require_few(self, frame: DataFrame, fence: Fence, accounts: Mapping[str, Account]) -> None:
        """Raise Terminal E450 when the batch has more dead letters than the flow allows; or tell. To be asked before `append`."""
        if self._limits is not None:
            self._limits.require(fence.batch_id, accounts, partial(self._commonest, frame, accounts))

    def append(self, frame: DataFrame, fence: Fence, accounts: Mapping[str, Account]) -> None:
        """Append what the batch owes; does nothing, and costs nothing, for a batch without dead letters.

        frame: the batch's messages; read once more only when undecoded ones did not come back with an account.
        """
        undecoded: pa.Table | None = None
        appended = False
        for output, account in accounts.items():
            if account.letters is None:
                continue
            rejected = account.letters.filter(account.letters.column("rejected"))
            self._table.append(rejected, lane=self._lane, output=output, fence=fence, format=self._format)
            appended = appended or rejected.num_rows > 0
            if undecoded is None and rejected.num_rows < account.letters.num_rows:
                undecoded = account.letters.filter(pc.invert(account.letters.column("rejected")))
        if self._owner and any(account.undecoded for account in accounts.values()):
            if undecoded is not None:
                self._table.append(undecoded, lane=self._lane, output=None, fence=fence, format=self._format)
            else:
                with workers_errors_raised():
                    rows = decoded(frame, self._options)
                    self._table.append_undecoded(rows, lane=self._lane, fence=fence, format=self._format)
                self._require_all(fence, max(account.undecoded for account in accounts.values()))
            appended = True
        if appended and self._topic is not None:
            self._require_lease()
            self._topic.send(self._table.of_batch(self._lane, fence))

    def _require_all(self, fence: Fence, undecoded: int) -> None:
        """Raise Retryable E221 when messages that the outputs could not decode were decoded when they should have become letters.

        A registry may learn a schema between the two looks. The batch, repeated, finds the events that are in neither.
        """
        if self._options.registry is None:
            return
        kept = self._table.undecoded_of(self._lane, fence)
        if kept < undecoded:
            raise Retryable(
                "E221",
                f"the registry knows more schemas than a moment ago: {undecoded - kept} messages can be read now",
                lane=self._lane,
                batch_id=fence.batch_id,
            )

    def _commonest(self, frame: DataFrame, accounts: Mapping[str, Account]) -> Commonest | None:
        """The commonest reason; reads the batch once more when undecoded messages did not come back with an account."""
        held = [account.letters for account in accounts.values() if account.letters is not None]
        undecoded = max((account.undecoded for account in accounts.values()), default=0)
        if not undecoded or any(not pc.all(letters.column("rejected")).as_py() for letters in held):
            return commonest_of(held)
        place = F.struct("topic", "partition", "offset", F.col("error")["detail"].alias("detail"))
        dead = decoded(frame, self._options).filter(F.col("error").isNotNull()).groupBy(F.col("error")["code"].alias("code"))
        rows = dead.agg(F.count("*").alias("letters"), F.min(place).alias("place")).select("code", "letters", "place.*")
        with workers_errors_raised():
            return commonest_of(held, [row.asDict() for row in rows.collect()])


__all__ = ["LaneLetters"]

"""Dead letters of a lane's batch: what its sinks refused, and, in the lane that owns them, what could not be decoded."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from pipelines.decoding import decoded
from pipelines.outputs import Account
from schemas.xdr.options import DecodeOptions
from sinks.contract import Fence
from sinks.delta.dead_letters import DeadLetters


class LaneLetters:
    """Appends the dead letters of one lane.

    owner:  whether messages that cannot be decoded are this lane's to keep; every lane counts them, one keeps them.
    options: how the messages are read; the encoding is kept with each letter so that it can be read again later.
    """

    def __init__(self, table: DeadLetters, lane: str, options: DecodeOptions, *, owner: bool) -> None:
        self._table = table
        self._lane = lane
        self._options = options
        self._format = options.format
        self._owner = owner

    def append(self, frame: DataFrame, fence: Fence, accounts: Mapping[str, Account]) -> None:
        """Append what the batch owes; does nothing, and costs nothing, for a batch without dead letters.

        frame: the batch's messages; read once more only when undecoded ones did not come back with an account.
        """
        undecoded: pa.Table | None = None
        for output, account in accounts.items():
            if account.letters is None:
                continue
            rejected = account.letters.filter(account.letters.column("rejected"))
            self._table.append(rejected, lane=self._lane, output=output, fence=fence, format=self._format)
            if undecoded is None and rejected.num_rows < account.letters.num_rows:
                undecoded = account.letters.filter(pc.invert(account.letters.column("rejected")))
        if not self._owner or not any(account.undecoded for account in accounts.values()):
            return
        if undecoded is not None:
            self._table.append(undecoded, lane=self._lane, output=None, fence=fence, format=self._format)
        else:
            self._table.append_undecoded(decoded(frame, self._options), lane=self._lane, fence=fence, format=self._format)


__all__ = ["LaneLetters"]

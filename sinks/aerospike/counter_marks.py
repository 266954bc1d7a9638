"""The mark of an output that counts: which checkpoint writes it, and how far, kept beside the records it changes.

Without it a deleted checkpoint would count everything again, one set back would have its new batches taken for old ones, and a
namespace that was emptied would go unnoticed. One record per output and target set, in a side set that never expires:

    epoch   the checkpoint that wrote last
    turn    its place among the checkpoints that ever wrote: seconds since 2020 when it took over, always more than the one before
    batch   the newest batch it has begun

The driver moves the mark before each batch, guarded, so a driver that slept through another one's batches is refused before it
writes; what its workers still write is refused by the fence in each record.
"""

import time
from typing import Any, NamedTuple

import aerospike
from aerospike import exception as ex
from aerospike_helpers import expressions as exp

from schemas.errors import ConfigError, InDoubt, Retryable, Terminal
from sinks.aerospike.classify import IN_DOUBT_CODES, Answer, answer
from sinks.aerospike.config import ClientConfig
from sinks.aerospike.connection import client_for
from sinks.contract import Fence

TURNS_BEGIN_S = 1_577_836_800
"""2020-01-01: turns count the seconds since then."""
_EPOCH, _TURN, _BATCH = "epoch", "turn", "batch"


class Mark(NamedTuple):
    """What stands in the cluster. generation: of the record, by which a change notices another one."""

    epoch: str
    turn: int
    batch_id: int
    generation: int


class CounterMark:
    """The mark of one output: `writer` is `flow/output`, `set_name` where its records are. Lives on the driver.

    adopt: an operator lets this start go on with what another checkpoint, or nobody that is known, has counted.
    """

    def __init__(
        self, client: ClientConfig, namespace: str, mark_set: str, writer: str, set_name: str, *, adopt: bool = False
    ) -> None:
        self._config = client
        self._key = (namespace, mark_set, f"{writer}/{set_name}")
        self._where = {"output": writer, "namespace": namespace, "set": set_name}
        self.adopt = adopt
        self._ours: Mark | None = None

    def require_start(self, epoch: str | None, last_planned: int | None, last_committed: int | None) -> None:
        """Refuse a checkpoint that would count twice or has counted what is not there. `epoch` None: the checkpoint is new.

        Raises ConfigError E124, E125, E126; Retryable E210 when nobody answers.
        """
        mark = self.read()
        if self.adopt:
            return
        if mark is None:
            if last_committed is not None:
                raise ConfigError(
                    "E125", f"batches up to {last_committed} were counted, but the namespace knows of none", **self._where
                )
            return
        if mark.epoch != epoch:
            mine = "this checkpoint is new" if epoch is None else f"this checkpoint is {epoch}"
            raise ConfigError(
                "E124", f"batches up to {mark.batch_id} of checkpoint {mark.epoch} have been counted; {mine}", **self._where
            )
        if mark.batch_id > (-1 if last_planned is None else last_planned):
            knows = "has planned no batch" if last_planned is None else f"has planned batches up to {last_planned}"
            raise ConfigError("E126", f"batch {mark.batch_id} of this checkpoint was begun, but it {knows}", **self._where)
        if last_committed is not None and mark.batch_id < last_committed:
            raise ConfigError(
                "E125",
                f"the checkpoint has counted up to batch {last_committed}, the namespace only up to {mark.batch_id}",
                **self._where,
            )

    def begin(self, fence: Fence) -> int:
        """Note that `fence`'s batch is begun, before anything of it is written; returns the checkpoint's turn.

        Raises ConfigError E124, E125 or E126 when others have been here, or the mark is gone; Retryable E210, InDoubt E310.
        """
        if self._ours is not None and self._ours.epoch == fence.epoch:
            if self._move(fence):
                self._ours = self._ours._replace(batch_id=fence.batch_id)
                return self._ours.turn
            return self._refuse(fence, self.read())
        found = self.read()
        if found is not None and found.epoch == fence.epoch:
            if found.batch_id > fence.batch_id:
                return self._refuse(fence, found)
            self._ours = found
            return self.begin(fence)
        if found is not None and not self.adopt:
            return self._refuse(fence, found)
        now = max(1, int(time.time()) - TURNS_BEGIN_S)
        mark = Mark(fence.epoch, now if found is None else max(now, found.turn + 1), fence.batch_id, 0)
        self._take_over(mark, found)
        self._ours = mark
        return mark.turn

    def read(self) -> Mark | None:
        """What stands there now. Raises Retryable E210."""
        try:
            _, meta, bins = client_for(self._config).get(self._key, self._policy() | {"max_retries": 2})
        except ex.RecordNotFound:
            return None
        except ex.AerospikeError as error:
            raise self._failed(error, wrote=False) from None
        return Mark(str(bins[_EPOCH]), int(bins[_TURN]), int(bins[_BATCH]), int(meta["gen"]))

    def _move(self, fence: Fence) -> bool:
        """Set the batch where the mark is still ours and no later batch was begun; repeating it changes nothing more."""
        assert self._ours is not None
        guard = exp.And(
            exp.Eq(exp.StrBin(_EPOCH), fence.epoch),
            exp.Eq(exp.IntBin(_TURN), self._ours.turn),
            exp.LE(exp.IntBin(_BATCH), fence.batch_id),
        ).compile()
        policy = self._policy() | {"expressions": guard, "exists": aerospike.POLICY_EXISTS_UPDATE}
        try:
            client_for(self._config).put(self._key, {_BATCH: fence.batch_id}, None, policy)
        except (ex.FilteredOut, ex.RecordNotFound):
            return False
        except ex.AerospikeError as error:
            raise self._failed(error) from None
        return True

    def _take_over(self, mark: Mark, before: Mark | None) -> None:
        """Make the mark, or make `before` ours, unless somebody was faster. Decided by reading where an answer is lost."""
        policy = self._policy() | {"key": aerospike.POLICY_KEY_SEND}
        meta = None
        if before is None:
            policy["exists"] = aerospike.POLICY_EXISTS_CREATE
        else:
            policy["gen"], meta = aerospike.POLICY_GEN_EQ, {"gen": before.generation}
        bins = {_EPOCH: mark.epoch, _TURN: mark.turn, _BATCH: mark.batch_id}
        try:
            client_for(self._config).put(self._key, bins, meta, policy)
        except (ex.RecordExistsError, ex.RecordGenerationError):
            pass
        except ex.AerospikeError as error:
            raise self._failed(error) from None
        else:
            return
        found = self.read()
        if found is None or (found.epoch, found.turn, found.batch_id) != (mark.epoch, mark.turn, mark.batch_id):
            self._refuse(Fence(mark.epoch, mark.batch_id), found)

    def _refuse(self, fence: Fence, found: Mark | None) -> int:
        if found is None:
            raise ConfigError("E125", f"before batch {fence.batch_id}: the mark of the counted batches is gone", **self._where)
        if found.epoch != fence.epoch:
            raise ConfigError(
                "E124",
                f"before batch {fence.batch_id}: checkpoint {found.epoch} counts now, up to batch {found.batch_id}; "
                f"this checkpoint is {fence.epoch}",
                **self._where,
            )
        raise ConfigError(
            "E126", f"batch {found.batch_id} of this checkpoint was begun before batch {fence.batch_id}", **self._where
        )

    def _policy(self) -> dict[str, Any]:
        return {
            "ttl": aerospike.TTL_NEVER_EXPIRE,
            "total_timeout": self._config.total_timeout_ms,
            "socket_timeout": self._config.socket_timeout_ms,
            "max_retries": 0,
        }

    def _failed(self, error: ex.AerospikeError, *, wrote: bool = True) -> Retryable | InDoubt | Terminal:
        code = -1 if error.code is None else error.code
        text = f"the mark of counted batches: {error.msg} (code {code})"
        if wrote and code in IN_DOUBT_CODES:
            return InDoubt("E310", text, **self._where)
        if (
            code in IN_DOUBT_CODES
            or answer(code) in (Answer.AGAIN, Answer.SLOW_DOWN)
            or not client_for(self._config).is_connected()
        ):
            return Retryable("E210", text, **self._where)
        return Terminal("E440", text, **self._where)


__all__ = ["CounterMark", "Mark", "TURNS_BEGIN_S"]

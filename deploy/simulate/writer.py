"""Operations written with the official client: paced, in order for each record, each one's outcome known in the end.

One worker owns the records whose key hashes to it, so operations on a record keep their order. A worker sends what waits for it
in batches with each record at most once. An update is guarded by the record's revision: repeating one that did happen changes
nothing, so an outcome in doubt is settled by reading back and, if need be, by sending it again.
"""

import queue
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import aerospike
from aerospike import exception as ex
from aerospike_helpers import expressions as exp
from aerospike_helpers.batch.records import BatchRecord, BatchRecords, Remove, Write
from aerospike_helpers.operations import list_operations as lists
from aerospike_helpers.operations import map_operations as maps
from aerospike_helpers.operations import operations as ops

from deploy.simulate.account import Account
from deploy.simulate.operations import (
    REVISION,
    Add,
    Arrange,
    Change,
    Drop,
    Enter,
    Kind,
    Operation,
    Put,
    RecordKey,
    Remember,
)
from schemas.bins import GeoJson, KeyOrderedMap, OrderedList
from schemas.errors import ConfigError
from sinks.aerospike.batch_call import batch_write
from sinks.aerospike.classify import IN_DOUBT_CODES, Answer, answer

BATCH: Final = 100
PATIENCE_S: Final = 60.0
"""How long one operation's outcome is sought before it is given up."""
_PAUSE_S: Final = 0.05
_LEAST_SLEEP_S: Final = 1e-6
_WAITING: Final = 1_000
_CALL_POLICY: Final = {"total_timeout": 3_000, "socket_timeout": 1_500, "max_retries": 0}
_ORDERED_LIST: Final = {"list_order": aerospike.LIST_ORDERED, "write_flags": aerospike.LIST_WRITE_DEFAULT}
_KEY_ORDERED: Final = {"map_order": aerospike.MAP_KEY_ORDERED, "map_write_flags": aerospike.MAP_WRITE_FLAGS_DEFAULT}
_KEY_VALUE_ORDERED: Final = {"map_order": aerospike.MAP_KEY_VALUE_ORDERED, "map_write_flags": aerospike.MAP_WRITE_FLAGS_DEFAULT}


class Pace:
    """A token bucket against the monotonic clock: `rate` tokens a second, a tenth of a second's worth at most saved up."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate / 10)
        self._tokens = 1.0
        self._at = time.monotonic()

    def take(self) -> None:
        """Wait for a token."""
        while True:
            now = time.monotonic()
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens >= 1.0:
                self._tokens -= 1.0
                return
            time.sleep(max((1.0 - self._tokens) / self._rate, _LEAST_SLEEP_S))


class Writer:
    """Writes operations to a namespace through a few workers and reports to an account.

    Raises, from `write` or `finish`, ConfigError E145 when the server refuses what no repetition can mend.
    """

    def __init__(
        self, client: Any, namespace: str, account: Account, *, workers: int = 4, patience_s: float = PATIENCE_S
    ) -> None:
        self._account = account
        self._failed = threading.Event()
        self._workers = [_Worker(client, namespace, account, self._failed, patience_s) for _ in range(workers)]

    def write(self, operation: Operation) -> None:
        """Hand over an operation; waits while its worker has too much to do."""
        worker = self._workers[zlib.crc32(repr(operation.key[:2]).encode()) % len(self._workers)]
        while not self._failed.is_set():
            try:
                worker.waiting.put(operation, timeout=0.5)
            except queue.Full:
                continue
            return
        self.finish()

    def write_all(self, operations: Iterable[Operation], pace: Pace | None = None) -> None:
        """Hand over operations at a pace."""
        for operation in operations:
            if pace:
                pace.take()
            self.write(operation)

    def finish(self) -> None:
        """Wait until everything handed over is settled."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()
        for worker in self._workers:
            if worker.error:
                raise worker.error


class _Worker(threading.Thread):
    def __init__(self, client: Any, namespace: str, account: Account, failed: threading.Event, patience_s: float) -> None:
        super().__init__(name="simulate", daemon=True)
        self.waiting: queue.Queue[Operation | None] = queue.Queue(_WAITING)
        self.error: BaseException | None = None
        self._client = client
        self._namespace = namespace
        self._account = account
        self._failed = failed
        self._patience_s = patience_s
        self.start()

    def stop(self) -> None:
        """No more will come."""
        while self.is_alive():
            try:
                self.waiting.put(None, timeout=0.5)
            except queue.Full:
                continue
            return

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.error = error
            self._failed.set()

    def _run(self) -> None:
        held: deque[Operation] = deque()
        more = True
        while (more or held) and not self._failed.is_set():
            while more and len(held) < 2 * BATCH:
                try:
                    operation = self.waiting.get(block=not held)
                except queue.Empty:
                    break
                if operation is None:
                    more = False
                else:
                    held.append(operation)
            if held:
                self._send(_take(held))

    def _send(self, operations: list[Operation]) -> None:
        sent_s = time.time()
        batch = BatchRecords([self._row(operation) for operation in operations])
        codes = self._answers(batch)
        acknowledged_s = time.time()
        for operation, (code, in_doubt) in zip(operations, codes, strict=True):
            if not self._settled(operation, code, sent_s, acknowledged_s, repeated=False):
                self._insist(operation, code, in_doubt, sent_s)

    def _answers(self, batch: BatchRecords) -> list[tuple[int, bool]]:
        """Send a batch: per record its result, and whether it may have been written although the result does not say so."""
        failed = batch_write(self._client, batch, _CALL_POLICY)
        if failed is not None:
            return [(failed.code, True)] * len(batch.batch_records)
        return [(row.result, bool(row.in_doubt)) for row in batch.batch_records]

    def _insist(self, operation: Operation, code: int, in_doubt: bool, first_sent_s: float) -> None:
        """Find out whether an operation happened, and repeat it until it has. An expiry may count from the first attempt on."""
        give_up = time.monotonic() + self._patience_s
        repeated = False
        while True:
            if in_doubt or code in IN_DOUBT_CODES:
                if not repeated:
                    self._account.count("in_doubt")
                repeated = True
                if self._happened(operation):
                    self._account.count("resolved_by_reading")
                    self._account.acknowledged(operation, first_sent_s, time.time(), repeated=True)
                    return
            else:
                self._account.count("sent_again")
            if time.monotonic() > give_up or self._failed.is_set():
                self._account.given_up(operation, f"result {code}")
                return
            time.sleep(_PAUSE_S)
            sent_s = time.time()
            ((code, in_doubt),) = self._answers(BatchRecords([self._row(operation)]))
            if self._settled(operation, code, first_sent_s if repeated else sent_s, time.time(), repeated):
                return

    def _settled(self, operation: Operation, code: int, sent_s: float, acknowledged_s: float, repeated: bool) -> bool:
        """Report an answer that says what happened; False for one that does not."""
        match answer(code):
            case Answer.OK:
                self._account.acknowledged(operation, sent_s, acknowledged_s, repeated=repeated)
            case Answer.NOT_FOUND:
                self._account.missing(operation, acknowledged_s, repeated=repeated)
            case Answer.FILTERED:
                self._account.already_done(operation, sent_s, acknowledged_s, repeated=repeated)
            case Answer.AGAIN | Answer.SLOW_DOWN:
                return False
            case _:
                raise ConfigError(
                    "E145",
                    f"the server refused operation {operation.number} ({operation.what}) with result {code}",
                    namespace=self._namespace,
                    set=operation.key.set,
                )
        return True

    def _happened(self, operation: Operation) -> bool:
        """Whether the record shows that an operation in doubt did happen. Touches leave no mark: they are repeated."""
        try:
            _, _, bins = self._client.get(_client_key(self._namespace, operation.key), policy=_CALL_POLICY)
        except ex.RecordNotFound:
            return operation.kind is Kind.DELETE
        except ex.AerospikeError:
            return False
        return operation.kind in (Kind.WRITE, Kind.UPDATE) and bins.get(REVISION) == operation.number

    def _row(self, operation: Operation) -> BatchRecord:
        key = _client_key(self._namespace, operation.key)
        if operation.kind is Kind.DELETE:
            return Remove(key)
        send = aerospike.POLICY_KEY_SEND if operation.key.stored else aerospike.POLICY_KEY_DIGEST
        policy: dict[str, Any] = {"key": send, "ttl": operation.ttl_s & 0xFFFF_FFFF}
        if operation.kind is Kind.WRITE:
            written = [ops.write(name, for_client(value)) for name, value in operation.after({}).items()]
            policy["exists"] = aerospike.POLICY_EXISTS_CREATE_OR_REPLACE
            return Write(key, written, policy=policy)
        policy["exists"] = aerospike.POLICY_EXISTS_UPDATE
        if operation.kind is Kind.TOUCH:
            return Write(key, [ops.touch()], policy=policy)
        changed = [row for change in operation.changes for row in _operations(change)]
        policy["expressions"] = exp.LT(exp.IntBin(REVISION), operation.number).compile()
        return Write(key, [*changed, ops.write(REVISION, operation.number)], policy=policy)


def _take(held: deque[Operation]) -> list[Operation]:
    """Take out the operations that can go together: for each record the first that waits."""
    taken: list[Operation] = []
    left: list[Operation] = []
    seen: set[RecordKey] = set()
    for operation in held:
        if operation.key in seen or len(taken) == BATCH:
            left.append(operation)
        else:
            taken.append(operation)
        seen.add(operation.key)
    held.clear()
    held.extend(left)
    return taken


def _client_key(namespace: str, key: RecordKey) -> tuple[Any, ...]:
    user_key = bytearray(key.user_key) if isinstance(key.user_key, bytes) else key.user_key
    return namespace, key.set, user_key


def for_client(value: Any) -> Any:
    """A value as the client takes it."""
    if isinstance(value, GeoJson):
        return aerospike.GeoJSON(str(value))
    if isinstance(value, KeyOrderedMap):
        return aerospike.KeyOrderedDict({key: for_client(item) for key, item in value.items()})
    if isinstance(value, dict):
        return {key: for_client(item) for key, item in value.items()}
    if isinstance(value, list):
        return [for_client(item) for item in value]
    return value


def _operations(change: Change) -> list[Any]:
    """A change as the client's operations."""
    match change:
        case Put(name, value):
            return [ops.write(name, for_client(value))]
        case Drop(name):
            return [ops.write(name, aerospike.null())]
        case Add(name, amount):
            return [ops.increment(name, amount)]
        case Remember(name, value, most):
            kept = lists.list_remove_by_rank_range(name, -most, aerospike.LIST_RETURN_NONE, most, inverted=True)
            return [lists.list_append(name, value, _ORDERED_LIST), kept]
        case Enter(name, key, value):
            return [maps.map_put(name, key, for_client(value), _KEY_ORDERED)]
        case Arrange(name, value):
            # Removed first: an order given to a bin that exists would not count.
            empty = ops.write(name, aerospike.null())
            if isinstance(value, OrderedList):
                return [empty, lists.list_append_items(name, list(value), _ORDERED_LIST)]
            return [empty, maps.map_put_items(name, dict(value), _KEY_VALUE_ORDERED)]


__all__ = ["BATCH", "Pace", "Writer", "for_client"]

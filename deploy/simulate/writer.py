"""The traffic on its way: paced by the clock, written by the official client, each record's operations in order."""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from zlib import crc32

import aerospike
from aerospike import exception as ex

from deploy.simulate.account import Account, Expected
from deploy.simulate.payments import Kind, Operation
from schemas.errors import Retryable

WORKERS = 4
ATTEMPTS = 50
PAUSE_S = 0.2
_TICK_S = 0.01
_IN_DOUBT = (ex.TimeoutError,)
_POLICY: dict[str, Any] = {"total_timeout": 2_000, "max_retries": 0}


class Worker(threading.Thread):
    """Writes the operations it is given, one after the other, and keeps the account of them."""

    def __init__(self, client: Any, namespace: str) -> None:
        super().__init__(daemon=True, name="simulate")
        self.account = Account()
        self.error: Exception | None = None
        self._client = client
        self._namespace = namespace
        self._todo: queue.Queue[Operation | None] = queue.Queue(maxsize=2_000)

    def give(self, operation: Operation | None) -> None:
        """Queue an operation; None ends the worker. Waits when it cannot keep up."""
        while self.error is None:
            try:
                self._todo.put(operation, timeout=1.0)
            except queue.Full:
                continue
            return

    def run(self) -> None:
        """Until None comes."""
        try:
            while (operation := self._todo.get()) is not None:
                self._do(operation)
        except Exception as error:  # told by `write`, on the main thread
            self.error = error

    def _do(self, operation: Operation) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                found = self._send(operation)
            except ex.AerospikeError as error:
                if isinstance(error, _IN_DOUBT) or getattr(error, "in_doubt", False):
                    if self._read_back(operation):
                        return
                elif isinstance(error, ex.ParamError | ex.NamespaceNotFound | ex.InvalidRequest) or attempt == ATTEMPTS:
                    raise
                threading.Event().wait(PAUSE_S)
            else:
                self.account.acknowledged(operation, found, time.time())
                return
        raise Retryable("E210", f"an operation did not succeed in {ATTEMPTS} attempts")

    def _send(self, operation: Operation) -> bool:
        """Do it. False when there was nothing to delete or touch."""
        key = (self._namespace, operation.set, _for_client(operation.key))
        policy = {**_POLICY, "key": aerospike.POLICY_KEY_SEND if operation.send_key else aerospike.POLICY_KEY_DIGEST}
        try:
            match operation.kind:
                case Kind.DELETE:
                    self._client.remove(key, policy=_POLICY)
                case Kind.TOUCH:
                    self._client.touch(key, operation.ttl_s, policy=_POLICY)
                case Kind.PUT | Kind.REPLACE:
                    if operation.kind is Kind.REPLACE:
                        policy["exists"] = aerospike.POLICY_EXISTS_CREATE_OR_REPLACE
                    bins = {name: aerospike.null() if value is None else value for name, value in operation.bins.items()}
                    self._client.put(key, bins, policy={**policy, "ttl": operation.ttl_s})
        except ex.RecordNotFound:
            return False
        return True

    def _read_back(self, operation: Operation) -> bool:
        """After a time-out: take the record as it is for the truth. False when even that gets no answer."""
        key = (self._namespace, operation.set, _for_client(operation.key))
        try:
            _, meta, bins = self._client.get(key)
        except ex.RecordNotFound:
            self.account.resolved(operation, None)
            return True
        except ex.AerospikeError:
            return False
        never = meta["ttl"] == 0xFFFF_FFFF
        self.account.resolved(operation, Expected(bins, None if never else time.time() + meta["ttl"]))
        return True


def write(
    operations: Iterable[Operation],
    client: Any,
    namespace: str,
    rate: float,
    told: Callable[[int], None] = lambda done: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Account]:
    """Write all operations at `rate` per second, or as fast as the server takes them; returns the workers' accounts.

    told: called about once a second with how many were sent. stopped: asked before each operation; True ends the traffic early.
    Raises what a worker could not get over.
    """
    workers = [Worker(client, namespace) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    began = time.monotonic()
    said = began
    for number, operation in enumerate(operations):
        ahead_s = number / rate - (time.monotonic() - began)
        if ahead_s > _TICK_S:
            threading.Event().wait(ahead_s)
        workers[crc32(repr((operation.set, operation.key)).encode()) % WORKERS].give(operation)
        if time.monotonic() - said >= 1.0:
            said = time.monotonic()
            told(number + 1)
        if stopped() or any(worker.error for worker in workers):
            break
    for worker in workers:
        worker.give(None)
    for worker in workers:
        worker.join()
        if worker.error is not None:
            raise worker.error
    return [worker.account for worker in workers]


def _for_client(key: int | str | bytes) -> int | str | bytearray:
    return bytearray(key) if isinstance(key, bytes) else key


__all__ = ["WORKERS", "write"]

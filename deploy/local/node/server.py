"""The node: an asyncio server on one thread, its connections, its periodic work and its clean end.

Every command runs whole between two turns of the loop, so it is atomic. The log is flushed before the reply is written.
"""

import asyncio
import fcntl
import gc
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.local.node import wire
from deploy.local.node.config import NodeConfig
from deploy.local.node.dispatch import Dispatcher, Message, parse
from deploy.local.node.hooks import CommandInfo, Extension, Fault, FaultInjector, InfoHandler
from deploy.local.node.info import OWN_PREFIX, Info
from deploy.local.node.namespace import PARTITIONS, Namespace

NSUP_PARTITIONS_PER_TURN = 256
SNAPSHOT_REST, SNAPSHOT_LEAST_REST_S = 3.0, 0.002
"""After a step of a snapshot the node answers clients for so many times as long, and for so long at least."""
_SECURITY_CODES = {"off": 52, "refuse": 51}


class DataInUse(Exception):
    """Another node runs on the data folder."""


async def step_and_rest(step: Callable[[], bool], clock_s: Callable[[], float], rest: Callable[[float], Awaitable[None]]) -> None:
    """Take steps as long as there are more; after each a rest in which clients are answered, SNAPSHOT_REST times as long."""
    began_s = clock_s()
    while step():
        await rest(max(SNAPSHOT_LEAST_REST_S, SNAPSHOT_REST * (clock_s() - began_s)))
        began_s = clock_s()


class Connection(asyncio.Protocol):
    """One client connection: cuts frames, runs them one after the other, writes replies."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.buffer = bytearray()
        self.transport: asyncio.Transport | None = None
        self.busy = False
        """A command is delayed, unanswered on purpose, or a query is being sent: later frames wait."""
        self.paused = False
        self.pieces: Iterator[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected; refused while the node is down."""
        assert isinstance(transport, asyncio.Transport)
        if self.node.is_down:
            transport.abort()
            return
        self.transport = transport
        transport.set_write_buffer_limits(high=4 << 20)
        self.node.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """A client went; a query being sent ends with it."""
        self.node.connections.discard(self)
        self.transport = None
        self.pieces = None

    def pause_writing(self) -> None:
        """The client does not read: a query waits."""
        self.paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self.paused = False
        if self.pieces is not None:
            self._send_pieces()

    def data_received(self, data: bytes) -> None:
        """Run every frame that is whole."""
        self.buffer += data
        self._run_frames()

    def _run_frames(self) -> None:
        buffer = self.buffer
        while not self.busy and self.transport is not None and len(buffer) >= 8:
            size = int.from_bytes(buffer[2:8], "big")
            if buffer[0] != wire.PROTO_VERSION or size > wire.MAX_BODY_BYTES:
                self.close()
                return
            if len(buffer) < 8 + size:
                return
            kind, body = buffer[1], bytes(memoryview(buffer)[8 : 8 + size])
            del buffer[: 8 + size]
            self._run(kind, body)

    def _run(self, kind: int, body: bytes) -> None:
        if kind == wire.TYPE_INFO:
            self._run_info(body)
        elif kind == wire.TYPE_MESSAGE:
            self._run_message(body)
        elif kind == wire.TYPE_SECURITY:
            code = _SECURITY_CODES[self.node.config.security]
            self._write(wire.frame(wire.TYPE_SECURITY, bytes((0, code)) + bytes(14)))
        else:
            self.close()

    def _run_info(self, body: bytes) -> None:
        name = body.split(b"\n", 1)[0].decode("utf-8", "replace").partition(":")[0]
        faults = self.node.faults
        if faults is not None and faults.active and not name.startswith(OWN_PREFIX):
            fault = faults.decide(CommandInfo("info", "", (), 0, False, name))
            if fault is not None:
                self._with_fault(fault, lambda: self._answer_info(body))
                return
        self._write(self._answer_info(body))

    def _answer_info(self, body: bytes) -> bytes:
        reply = wire.frame(wire.TYPE_INFO, self.node.info.answer(body))
        self.node.flush()
        return reply

    def _run_message(self, body: bytes) -> None:
        try:
            given = parse(body)
            faults = self.node.faults
            if faults is not None and faults.active:
                fault = faults.decide(self.node.dispatcher.describe(given))
                if fault is not None:
                    self._with_fault(fault, lambda: self._answer_message(given, fault))
                    return
            reply = self._answer_message(given, None)
        except wire.BadRequest:
            self.close()
            return
        if isinstance(reply, bytes):
            self._write(reply)
        else:
            self.busy = True
            self.pieces = reply
            self._send_pieces()

    def _answer_message(self, given: Message, fault: Fault | None) -> bytes | Iterator[bytes]:
        reply = self.node.dispatcher.run(given, fault)
        self.node.flush()
        return reply

    def _send_pieces(self) -> None:
        """Send a query's next piece, then let the loop turn; stops while the socket is full."""
        if self.pieces is None or self.paused or self.transport is None:
            return
        piece = next(self.pieces, None)
        self.node.flush()
        if piece is None:
            self.pieces = None
            self.busy = False
            self._run_frames()
            return
        if piece:
            self._write(piece)
        self.node.loop.call_soon(self._send_pieces)

    def _with_fault(self, fault: Fault, answer: Callable[[], bytes | Iterator[bytes]]) -> None:
        self.busy = True
        if fault.delay_ms:
            self.node.loop.call_later(fault.delay_ms / 1000, self._after_delay, fault, answer)
        else:
            self._after_delay(fault, answer)

    def _after_delay(self, fault: Fault, answer: Callable[[], bytes | Iterator[bytes]]) -> None:
        if self.transport is None:
            return
        if fault.action == "drop_before":
            self.close()
            return
        try:
            reply = answer()
        except wire.BadRequest:
            self.close()
            return
        if fault.action == "drop_after":
            self.close()
        elif fault.action == "no_reply":
            return
        elif fault.action == "reset_mid_batch":
            self._reset_after(reply)
        elif isinstance(reply, bytes):
            self._write(reply)
            self.busy = False
            self.node.loop.call_soon(self._run_frames)
        else:
            self.pieces = reply
            self._send_pieces()

    def _reset_after(self, reply: bytes | Iterator[bytes]) -> None:
        """Send what was executed, promising more, then reset: the client reads a torn reply."""
        if self.transport is None:
            return
        if isinstance(reply, bytes) and len(reply) > 8:
            self.transport.write(reply)
            self.node.loop.call_later(0.02, self.abort)
        else:
            self.abort()

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        """Close after what was written has been sent."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Reset the connection."""
        if self.transport is not None:
            self.transport.abort()


class Node:
    """A running node. `start`, then `run` until `stop`; implements `hooks.NodeControl` for its extensions."""

    def __init__(self, config: NodeConfig, extensions: Sequence[Extension] = ()) -> None:
        self.config = config
        self.data: Path = config.data
        self.faults: FaultInjector | None = None
        self.connections: set[Connection] = set()
        self.is_down = False
        self.stored = {one.name: Namespace(one, config.data / one.name) for one in config.namespaces}
        self.info = Info(config, self.stored)
        self.info.connections = lambda: len(self.connections)
        self.dispatcher = Dispatcher(self.stored, lambda work: self.spawn(self._background(work)))
        self.loop: asyncio.AbstractEventLoop
        self.port = config.port
        self._extensions = extensions
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None]
        self._lock_fd = -1

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """By name."""
        return self.stored

    def register_info(self, name: str, handler: InfoHandler) -> None:
        """Answer the info command `name`, which begins with `millrace-`."""
        self.info.register(name, handler)

    def every(self, seconds: float, work: Callable[[], Awaitable[None] | None]) -> None:
        """Call `work` again and again until shutdown, `seconds` after it last ended."""

        async def again() -> None:
            while True:
                await asyncio.sleep(seconds)
                waiting = work()
                if waiting is not None:
                    await waiting

        self.spawn(again())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until shutdown cancels it; an exception in it stops the node."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def go_down(self, seconds: float) -> None:
        """Reset every connection and refuse new ones for a time; data stays."""
        # The reply to the command that asked for this goes out first.
        self.loop.call_soon(self._go_down, seconds)

    def _go_down(self, seconds: float) -> None:
        self.is_down = True
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.abort()
        self.spawn(self._come_back(seconds))

    def flush(self) -> None:
        """Make what was changed survive a kill, before anyone is told. Raises OSError when the disk is full, and stops."""
        try:
            self.dispatcher.flush()
        except OSError as error:
            if not self._ended.done():
                self._ended.set_exception(error)
            raise

    async def start(self) -> None:
        """Load the data, attach the extensions and listen. Raises DataInUse, log.DamagedFile, OSError."""
        self.loop = asyncio.get_running_loop()
        self._ended = self.loop.create_future()
        self._lock()
        # Records and compiled filters form few cycles; collecting them often cost a third of the time.
        gc.disable()
        for namespace in self.stored.values():
            namespace.load()
        gc.freeze()
        gc.set_threshold(100_000, 50, 1000)
        gc.enable()
        for extension in self._extensions:
            extension.attach(self)
        await self._listen()
        self.info.address = f"{self.config.host}:{self.port}"
        self.spawn(self._nsup())
        self.spawn(self._snapshots())

    async def run(self) -> None:
        """Serve until `stop` is called or a background task fails; then end cleanly. Raises what the task raised."""
        try:
            await self._ended
        finally:
            await self._end()

    def stop(self) -> None:
        """Ask `run` to end; safe to call twice."""
        if not self._ended.done():
            self._ended.set_result(None)

    def _lock(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self._lock_fd = os.open(self.data / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock_fd)
            raise DataInUse(f"{self.data}: another node is running on this folder") from None

    async def _listen(self) -> None:
        self._server = await self.loop.create_server(lambda: Connection(self), self.config.host, self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _come_back(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.is_down = False
        if self._server is None:
            await self._listen()

    async def _nsup(self) -> None:
        """Remove expired records of each namespace every nsup-period, a few partitions per turn of the loop."""
        last_s = dict.fromkeys(self.stored, self.loop.time())
        while True:
            await asyncio.sleep(0.25)
            for name, namespace in self.stored.items():
                period_s = namespace.config.nsup_period_s
                if not period_s or self.loop.time() - last_s[name] < period_s:
                    continue
                last_s[name] = self.loop.time()
                namespace.forget_old_deletes()
                for first in range(0, PARTITIONS, NSUP_PARTITIONS_PER_TURN):
                    namespace.expire(first, first + NSUP_PARTITIONS_PER_TURN)
                    self.flush()
                    await asyncio.sleep(0)

    async def _background(self, work: Iterator[None]) -> None:
        for _ in work:
            self.flush()
            await asyncio.sleep(0)
        self.flush()

    async def _snapshots(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for namespace in self.stored.values():
                await step_and_rest(namespace.snapshot_step, self.loop.time, asyncio.sleep)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._ended.done():
            self._ended.set_exception(task.exception() or RuntimeError("task failed"))

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.close()
        for extension in self._extensions:
            await extension.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for namespace in self.stored.values():
            namespace.close()
        os.close(self._lock_fd)

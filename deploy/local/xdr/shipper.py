"""Ships the changes of a node's namespaces to Kafka: at least once, like XDR, also across a kill of the node.

Lives on the node's event loop. Nothing here blocks it: messages go to the Kafka client's own thread, its answers are fetched in
short turns, and each turn ships a bounded number of records so that commands are served in between.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from deploy.local.node.hooks import NodeControl
from deploy.local.xdr.delivery import Delivery, ensure_topics
from deploy.local.xdr.disorder import Outgoing
from deploy.local.xdr.lane import RECOVERY_MARGIN_MS, FlushMark, Lane
from deploy.local.xdr.position import ShipPosition
from deploy.local.xdr.settings import XdrSettings
from schemas.errors import ConfigError

TURN_MESSAGES = 64
"""Per lane and turn: about two milliseconds of encoding, the longest a command has to wait for the shipper."""
MAX_IN_FLIGHT = 20_000
"""Enough for the Kafka client to fill its batches; beyond it, records stay queued, where they coalesce."""
SAVE_EVERY_S = 0.5
ANSWERS_EVERY_S = 0.003
IDLE_S = 0.5
CLOSE_S = 5.0
_log = structlog.get_logger(__name__)


class Shipper:
    """The change shipper of one node, an extension of it (see `deploy.local.node.hooks`)."""

    def __init__(self, settings: Sequence[XdrSettings], bootstrap: str) -> None:
        self.lanes: list[Lane] = []
        self._settings = tuple(settings)
        self._bootstrap = bootstrap
        self._positions: list[ShipPosition] = []
        self._delivery: Delivery | None = None
        self._unsent: deque[tuple[Lane, Outgoing]] = deque()
        self._something = asyncio.Event()
        self._saved_s = 0.0
        self._flushes: dict[int, list[FlushMark]] = {}
        self._closed = False

    # ------------------------------------------------------------------ life
    def attach(self, node: NodeControl) -> None:
        """Listen to the namespaces, queue again what a kill left unshipped, and start shipping.

        Raises ConfigError E143 when a namespace does not exist, or two settings name the same namespace and topic.
        """
        seen = set()
        for one in self._settings:
            source = node.namespaces.get(one.namespace)
            if source is None:
                known = ", ".join(sorted(node.namespaces))
                raise ConfigError("E143", f"--xdr: the node has no namespace {one.namespace!r}; it has: {known}")
            if (one.namespace, one.topic) in seen:
                raise ConfigError("E143", f"--xdr: namespace {one.namespace!r} goes to topic {one.topic!r} twice")
            seen.add((one.namespace, one.topic))
            lane = Lane(one, source, wake=self._something.set)
            # A dot begins no namespace's name, so this folder is nobody else's.
            position = ShipPosition(node.data / ".xdr", one.namespace, one.topic)
            self._resume(lane, position)
            source.listeners.append(lane.on_change)
            self.lanes.append(lane)
            self._positions.append(position)
        node.register_info("millrace-xdr", self._status_command)
        node.register_info("millrace-xdr-flush", self._flush_command)
        node.register_info("millrace-xdr-pause", partial(self._pause_command, True))
        node.register_info("millrace-xdr-resume", partial(self._pause_command, False))
        node.register_info("millrace-xdr-rewind", self._rewind_command)
        node.spawn(self.run())

    async def close(self) -> None:
        """Ship what is queued or held back, for some seconds at most; what is left is shipped after the next start."""
        if self._delivery is None:
            return
        marks = [lane.flush() for lane in self.lanes if not lane.paused]
        deadline = time.monotonic() + CLOSE_S
        while any(mark.left for mark in marks) and time.monotonic() < deadline:
            self._turn(self._delivery)
            await asyncio.sleep(ANSWERS_EVERY_S)
        self._closed = True
        self._save()
        self._delivery.close()

    async def run(self) -> None:
        """Ship until closed or cancelled."""
        await self._topics_exist()
        self._delivery = Delivery(self._bootstrap)
        while not self._closed:
            if self._turn(self._delivery):
                await asyncio.sleep(0)
            elif any(lane.in_flight for lane in self.lanes):
                await asyncio.sleep(ANSWERS_EVERY_S)
            else:
                await self._idle()

    async def drain(self, timeout_s: float = 30.0) -> bool:
        """Ship everything that is queued or held back now; False when that was not done in time."""
        marks = [lane.flush() for lane in self.lanes]
        deadline = time.monotonic() + timeout_s
        while any(mark.left for mark in marks):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(ANSWERS_EVERY_S)
        return True

    # ------------------------------------------------------------------ shipping
    def _resume(self, lane: Lane, position: ShipPosition) -> None:
        try:
            at_ms = position.load()
        except ValueError as error:
            raise ConfigError("E143", str(error)) from error
        if at_ms is None:
            # The first start: changes are shipped from now on, those before need a rewind, as with XDR.
            at_ms = time.time_ns() // 1_000_000
            position.save(at_ms)
        else:
            unsettled_ms = at_ms - RECOVERY_MARGIN_MS
            queued = lane.recover(unsettled_ms - int(lane.settings.reship_s * 1000), unsettled_from_ms=unsettled_ms)
            _log.info("shipping again after a restart", namespace=lane.settings.namespace, records=queued)
        lane.position_ms = at_ms

    async def _topics_exist(self) -> None:
        topics = sorted({one.topic: one.partitions for one in self._settings}.items())
        pause_s = 0.2
        while (problem := await asyncio.to_thread(ensure_topics, self._bootstrap, topics)) is not None:
            _log.warning("topics cannot be created yet", problem=problem)
            await asyncio.sleep(pause_s)
            pause_s = min(2.0, pause_s * 2)

    async def _idle(self) -> None:
        self._something.clear()
        due = [ms for ms in (lane.next_due_ms() for lane in self.lanes) if ms is not None]
        try:
            async with asyncio.timeout(min(IDLE_S, *(ms / 1000 for ms in due)) if due else IDLE_S):
                await self._something.wait()
        except TimeoutError:
            return

    def _turn(self, delivery: Delivery) -> bool:
        """One turn: fetch answers, ship some. Whether anything was shipped."""
        delivery.poll()
        now_s = time.monotonic()
        if now_s - self._saved_s >= SAVE_EVERY_S:
            self._saved_s = now_s
            self._save()
        while self._unsent:
            if not self._send(delivery, *self._unsent[0]):
                return False
            self._unsent.popleft()
        shipped = False
        for lane in self.lanes:
            if lane.in_flight >= MAX_IN_FLIGHT:
                continue
            for outgoing in lane.take(TURN_MESSAGES):
                shipped = True
                if self._unsent or not self._send(delivery, lane, outgoing):
                    self._unsent.append((lane, outgoing))
        return shipped

    def _send(self, delivery: Delivery, lane: Lane, outgoing: Outgoing) -> bool:
        return delivery.send(lane.settings.topic, outgoing.message, partial(_answer, lane, outgoing))

    def _save(self) -> None:
        for lane, position in zip(self.lanes, self._positions, strict=True):
            at_ms = lane.advance()
            if at_ms is not None:
                position.save(at_ms)

    # ------------------------------------------------------------------ info commands
    def _status_command(self, arguments: Mapping[str, str]) -> str:
        return ";".join(
            ":".join(f"{name}={_text(value)}" for name, value in lane.status().items()) for lane in self._chosen(arguments)
        )

    def _flush_command(self, arguments: Mapping[str, str]) -> str:
        """`left=N`: what was on its way when the flush was asked for and is not delivered. Ask again with `id` until 0."""
        given = arguments.get("id")
        if given is None:
            number = max(self._flushes, default=0) + 1
            self._flushes = {old: marks for old, marks in self._flushes.items() if any(mark.left for mark in marks)}
            self._flushes[number] = [lane.flush() for lane in self._chosen(arguments)]
        elif not given.isdecimal():
            raise ValueError(f"id must be a number, not {given!r}")
        else:
            number = int(given)
        left = sum(mark.left for mark in self._flushes.get(number, ()))
        paused = any(lane.paused for lane in self._chosen(arguments))
        return f"id={number};left={left};paused={_text(paused)}"

    def _pause_command(self, pause: bool, arguments: Mapping[str, str]) -> str:
        for lane in self._chosen(arguments):
            lane.paused = pause
        self._something.set()
        return "ok"

    def _rewind_command(self, arguments: Mapping[str, str]) -> str:
        """`lut_ms=N`: ship again every record changed since then; 0 for all. As XDR's rewind."""
        given = arguments.get("lut_ms", "0")
        if not given.isdecimal():
            raise ValueError(f"lut_ms must be a number, not {given!r}")
        return f"queued={sum(lane.recover(int(given)) for lane in self._chosen(arguments))}"

    def _chosen(self, arguments: Mapping[str, str]) -> list[Lane]:
        namespace = arguments.get("namespace")
        lanes = [lane for lane in self.lanes if namespace in (None, lane.settings.namespace)]
        if not lanes:
            raise ValueError(f"namespace {namespace!r} is not shipped")
        return lanes


def _answer(lane: Lane, outgoing: Outgoing, problem: str | None, permanent: bool) -> None:
    if problem is None:
        lane.delivered(outgoing)
    else:
        lane.failed(outgoing, why=problem, permanent=permanent)


def _text(value: int | str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


__all__ = ["Shipper"]

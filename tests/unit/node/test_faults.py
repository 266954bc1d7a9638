"""Which fault meets which command, and what is counted."""

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.local.node.faults import FaultBoard, read_order
from deploy.local.node.hooks import CommandInfo, CommandKind, Fault, FaultInjector, InfoHandler


class FakeNode:
    """What the board uses of a node."""

    data = Path()
    namespaces: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.faults: FaultInjector | None = None
        self.handlers: dict[str, InfoHandler] = {}
        self.down_s: list[float] = []

    def register_info(self, name: str, handler: InfoHandler) -> None:
        self.handlers[name] = handler

    def every(self, seconds: float, work: Callable[[], Any]) -> None:
        raise AssertionError("not needed")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        raise AssertionError("not needed")

    def go_down(self, seconds: float) -> None:
        self.down_s.append(seconds)


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def board(clock: Clock, node: FakeNode) -> FaultBoard:
    board = FaultBoard(clock)
    board.attach(node)
    return board


def command(kind: CommandKind = "write", *, namespace: str = "mirror", rows: int = 1, writes: bool | None = None) -> CommandInfo:
    digests = [bytes([row]) * 20 for row in range(rows)]
    return CommandInfo(kind, namespace, digests, rows, kind in ("write", "batch") if writes is None else writes)


def told(board: FaultBoard, **options: object) -> str:
    return board.command({name: str(value) for name, value in options.items()})


def fields(row: str) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in row.split(":"))


def test_nothing_is_set_at_first(board: FaultBoard, node: FakeNode) -> None:
    assert node.faults is board
    assert not board.active
    assert board.decide(command()) is None
    assert board.command({"list": ""}) == ""
    assert board.command({"stats": ""}) == ""


@pytest.mark.parametrize(
    ("options", "given", "fault"),
    [
        ({"name": "latency", "ms": 200}, command(), Fault(delay_ms=200)),
        ({"name": "timeout-after-effect"}, command(), Fault(action="no_reply")),
        ({"name": "timeout-after-effect"}, command("batch", rows=3), Fault(action="no_reply")),
        ({"name": "timeout-after-effect"}, command("read"), None),
        ({"name": "overload"}, command(), Fault(result_code=18)),
        ({"name": "hot-key"}, command(), Fault(result_code=14)),
        ({"name": "quota"}, command("read"), Fault(result_code=83)),
        ({"name": "overload"}, command("batch", rows=4), Fault(result_code=18)),
        ({"name": "reset"}, command("batch", rows=10), Fault(action="reset_mid_batch", rows_before_reset=5)),
        ({"name": "reset", "rows": 3}, command("batch", rows=10), Fault(action="reset_mid_batch", rows_before_reset=3)),
        ({"name": "reset"}, command(), None),
        ({"name": "reset", "kind": "any"}, command(), Fault(action="reset_mid_batch", rows_before_reset=0)),
        ({"name": "partial-batch"}, command(), None),
        ({"name": "overload"}, command("info"), None),
        ({"name": "latency", "kind": "info", "ms": 5}, command("info"), Fault(delay_ms=5)),
        ({"name": "overload", "kind": "read"}, command("batch", rows=2, writes=False), Fault(result_code=18)),
        ({"name": "overload", "kind": "read"}, command("batch", rows=2), None),
        ({"name": "overload", "kind": "write"}, command("batch", rows=2), Fault(result_code=18)),
        ({"name": "overload", "kind": "query"}, command("query", rows=0, writes=False), Fault(result_code=18)),
        ({"name": "overload", "namespace": "source"}, command(), None),
        ({"name": "overload", "namespace": "mirror"}, command(), Fault(result_code=18)),
    ],
)
def test_each_fault_on_the_commands_it_is_meant_for(
    board: FaultBoard, options: dict[str, object], given: CommandInfo, fault: Fault | None
) -> None:
    told(board, **options)
    assert board.decide(given) == fault
    fired = fields(board.command({"stats": ""}))
    assert fired["fired"] == ("0" if fault is None else "1")
    assert fired["kinds"] == ("none" if fault is None else f"{given.kind}/1")


def test_a_partial_failure_is_partial_and_counts_rows(board: FaultBoard) -> None:
    told(board, name="partial-batch", row_share=0.3, code="record-too-big")
    fault = board.decide(command("batch", rows=10))
    assert fault is not None and fault.rows is not None
    assert fault.result_code == 13
    assert len(fault.rows) == 3 and fault.rows <= set(range(10))
    assert fields(board.command({"stats": ""}))["rows"] == "3"
    board.clear()
    told(board, name="partial-batch", row_share=0.99)
    fault = board.decide(command("batch", rows=3))
    assert fault is not None and fault.rows is not None and len(fault.rows) == 2


def test_the_same_seed_chooses_the_same(clock: Clock) -> None:
    def run(seed: int) -> list[Fault | None]:
        board = FaultBoard(clock)
        told(board, name="partial-batch", share=0.5, seed=seed)
        return [board.decide(command("batch", rows=20)) for _ in range(100)]

    assert run(7) == run(7)
    assert run(7) != run(8)
    assert 30 < sum(fault is not None for fault in run(7)) < 70


def test_after_and_times_bound_it(board: FaultBoard) -> None:
    told(board, name="overload", after=2, times=3)
    hits = [board.decide(command()) is not None for _ in range(10)]
    assert hits == [False, False, True, True, True, False, False, False, False, False]
    assert not board.active
    assert fields(board.command({"stats": ""})) == {
        "name": "overload", "armed": "1", "matched": "5", "fired": "3", "rows": "3", "kinds": "write/3",
    }  # fmt: skip


def test_commands_it_is_not_meant_for_do_not_count_towards_after(board: FaultBoard) -> None:
    told(board, name="overload", kind="write", after=1)
    assert board.decide(command("read")) is None
    assert board.decide(command()) is None
    assert board.decide(command("read")) is None
    assert board.decide(command()) is not None


def test_it_ends_with_its_time(board: FaultBoard, clock: Clock) -> None:
    told(board, name="overload", for_s=10)
    clock.s += 9.9
    assert board.decide(command()) is not None
    assert fields(board.command({"list": ""}))["left_s"] == "0.1"
    clock.s += 0.1
    assert board.command({"list": ""}) == ""
    assert board.decide(command()) is None
    assert not board.active


def test_a_server_too_small_takes_so_many_rows_a_second(board: FaultBoard, clock: Clock) -> None:
    told(board, name="overload", per_s=10)
    assert board.decide(command("batch", rows=2)) == Fault(result_code=18), "the second has only begun"
    clock.s += 0.5
    assert board.decide(command("batch", rows=4)) is None
    assert board.decide(command("batch", rows=3)) == Fault(result_code=18, rows=frozenset({1, 2}))
    assert board.decide(command()) == Fault(result_code=18)
    clock.s += 60
    refused = board.decide(command("batch", rows=30))
    assert refused is not None and refused.rows == frozenset(range(10, 30)), "no more than a second's rows are saved up"
    assert board.decide(command("query", rows=0)) is None
    assert fields(board.command({"stats": ""}))["rows"] == str(2 + 2 + 1 + 20)


def test_delays_add_up_and_the_first_of_the_others_wins(board: FaultBoard) -> None:
    told(board, name="latency", ms=100)
    told(board, name="overload", times=1)
    told(board, name="quota")
    told(board, name="latency", ms=20)
    assert board.decide(command()) == Fault(delay_ms=120, result_code=18)
    assert board.decide(command()) == Fault(delay_ms=120, result_code=83)
    stats = {row["name"]: row["fired"] for row in map(fields, board.command({"stats": ""}).split(";"))}
    assert stats == {"latency": "4", "overload": "1", "quota": "1"}


def test_down_at_once_and_after_so_many_commands(board: FaultBoard, node: FakeNode) -> None:
    told(board, name="down", for_s=3)
    assert node.down_s == [3.0]
    told(board, name="down", after=2, for_s=1)
    assert [board.decide(command()) for _ in range(4)] == [None, None, Fault(action="drop_before"), None]
    assert node.down_s == [3.0, 1.0]
    assert fields(board.command({"stats": ""}))["fired"] == "2"


def test_clear_by_name_by_number_or_all_keeps_the_evidence(board: FaultBoard) -> None:
    told(board, name="overload")
    number = fields(told(board, name="quota"))["id"]
    told(board, name="latency")
    board.decide(command())
    assert board.command({"clear": "overload"}) == "cleared=1"
    assert board.command({"clear": number}) == "cleared=1"
    assert [fields(row)["name"] for row in board.command({"list": ""}).split(";")] == ["latency"]
    assert board.command({"clear": ""}) == "cleared=1"
    assert not board.active
    assert "name=overload:armed=1:matched=1:fired=1" in board.command({"stats": ""})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "name is missing"),
        ({"name": "latancy"}, "unknown fault 'latancy', did you mean 'latency'"),
        ({"name": "zzz"}, "known: latency"),
        ({"name": "latency", "milis": "3"}, "no option 'milis'"),
        ({"name": "latency", "shar": "3"}, "did you mean 'share'"),
        ({"name": "overload", "ms": "3"}, "overload has no option 'ms'"),
        ({"name": "latency", "ms": "soon"}, "ms 'soon'"),
        ({"name": "latency", "share": "1.5"}, "share '1.5'"),
        ({"name": "latency", "kind": "scan"}, "kind 'scan'"),
        ({"name": "partial-batch", "code": "qota"}, "did you mean 'quota'"),
        ({"name": "partial-batch", "code": "300"}, "code '300'"),
        ({"name": "partial-batch", "kind": "write"}, "kind must be 'batch'"),
    ],
)
def test_what_is_not_understood_is_named(board: FaultBoard, options: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        board.command(options)
    assert words in str(caught.value)
    assert not board.active
    assert "\n" not in str(caught.value) and ";" not in str(caught.value)


def test_options_may_have_dashes() -> None:
    assert read_order({"name": "partial-batch", "row-share": "0.25", "for-s": "2"}).row_share == 0.25

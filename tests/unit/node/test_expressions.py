"""Expressions: codes, three-valued logic, calls into lists and maps, expression operations, and what is kept compiled."""

import math
import operator
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.node.algebra import expressions, msgpack
from deploy.local.node.algebra.elements import WILDCARD, text
from deploy.local.node.algebra.expressions import KEEP, UNKNOWN, compile_filter, expression_op
from tests.support.algebra import (
    COUNT,
    EXISTS,
    VALUE,
    KeyOrdered,
    Plain,
    Record,
    code_of,
    element,
    evaluated,
    record,
    value_of,
    wire,
)

NIL, BOOL, INT, STRING, LIST, MAP, BLOB, FLOAT, GEO, HLL = range(10)
EQ, NE, GT, GE, LT, LE, REGEX = range(1, 8)
AND, OR, NOT, EXCLUSIVE = range(16, 20)
ADD, SUB, MUL, DIV, POW, LOG, MOD, ABS, FLOOR, CEIL, TO_INT, TO_FLOAT = range(20, 32)
INT_AND, INT_OR, INT_XOR, INT_NOT, LSHIFT, RSHIFT, ARSHIFT, BITS, LSCAN, RSCAN = range(32, 42)
MIN, MAX = 50, 51
KEY_VALUE_OF, BIN, BIN_TYPE = 80, 81, 82
COND, VAR, LET, QUOTE, CALL = 123, 124, 125, 126, 127
MODIFY = 0x40
UNKNOWN_CALL = [0]

INTS = st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def bin_of_type(kind: int, name: str) -> list[Any]:
    return [BIN, kind, Plain(name)]


def signed(number: int) -> int:
    return int(struct.unpack("<q", (number & (2**64 - 1)).to_bytes(8, "little"))[0])


FIXED = record(
    of=Record(key=(3, b"user-1"), void_time_s=1_700_005_060),
    i=5,
    j=-3,
    f=2.5,
    s="hello",
    y=b"\x01\x02",
    t=True,
    l=[3, 1, 2],
    m={"a": 1, "b": 2},
    k=KeyOrdered({"a": 1}),
)
N, J, F, S, Y, T, L, M, K = (
    bin_of_type(kind, name)
    for kind, name in (
        (INT, "i"),
        (INT, "j"),
        (FLOAT, "f"),
        (STRING, "s"),
        (BLOB, "y"),
        (BOOL, "t"),
        (LIST, "l"),
        (MAP, "m"),
        (MAP, "k"),
    )
)
MISSING = bin_of_type(INT, "nope")


@pytest.mark.parametrize(
    ("hexadecimal", "passes"),
    [
        ("93 01 93 51 02 a1 69 05", True),
        ("93 11 92 12 93 02 92 52 a2 5f 76 00 93 05 93 51 02 a2 5f 76 06", True),
        ("93 01 93 51 04 a1 6c 92 7e 93 03 01 02", True),
        ("93 01 93 51 02 a1 69 06", False),
        ("93 01 93 51 02 a1 7a 06", None),
    ],
)
def test_filters_as_seen_on_the_wire(hexadecimal: str, passes: bool | None) -> None:
    assert compile_filter(bytes.fromhex(hexadecimal))(FIXED) is passes


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        # The answers a real server gave over this record.
        ([EQ, N, 5], True),
        ([NE, N, 5], False),
        ([LT, J, 0], True),
        ([LE, N, 4], False),
        ([GT, F, 2.4], True),
        ([GE, F, 2.6], False),
        ([EQ, S, "hello"], True),
        ([LT, S, "help"], True),
        ([EQ, Y, b"\x01\x02"], True),
        ([EQ, T, True], True),
        ([EQ, L, [QUOTE, [3, 1, 2]]], True),
        ([EQ, M, {"a": 1, "b": 2}], UNKNOWN),
        ([EXCLUSIVE, [EQ, N, 5], [EQ, J, -3]], False),
        ([EQ, MISSING, 1], UNKNOWN),
        ([OR, [EQ, MISSING, 1], [EQ, N, 5]], True),
        ([AND, [EQ, MISSING, 1], [EQ, N, 6]], False),
        ([EQ, bin_of_type(INT, "s"), 1], UNKNOWN),
        ([NE, [BIN_TYPE, Plain("f")], 0], True),
        ([BIN_TYPE, Plain("zz")], 0),
        ([REGEX, 2, Plain("^HE.*O$"), S], True),
        ([REGEX, 0, Plain("^HE"), S], False),
        ([ADD, N, [MUL, J, 2]], -1),
        ([ADD, [DIV, N, 2], [MOD, N, 3]], 4),
        ([ABS, [SUB, J, 4]], 7),
        ([FLOOR, [POW, F, 2.0]], 6.0),
        ([TO_FLOAT, N], 5.0),
        ([MAX, N, J], 5),
        ([MIN, N, J], -3),
        ([DIV, N, 0], UNKNOWN),
        ([INT_AND, N, 4], 4),
        ([COND, [GT, N, 10], "big", [GT, N, 3], "mid", "small"], "mid"),
        ([LET, Plain("x"), [ADD, N, 1], [EQ, [VAR, Plain("x")], 6]], True),
        ([COND, [EQ, N, 6], UNKNOWN_CALL, True], True),
        ([CALL, INT, 0, [16], L], 3),
        ([CALL, INT, 0, [96], M], 2),
        ([CALL, INT, 0, [22, COUNT, 1], L], 1),
        ([CALL, INT, 0, [97, VALUE, "b"], M], 2),
        ([CALL, BOOL, 0, [97, EXISTS, "zz"], M], False),
        # Comparison.
        ([EQ, None, None], True),
        ([NE, None, None], False),
        ([LT, None, None], False),
        ([LE, None, None], True),
        ([EQ, K, KeyOrdered({"a": 1})], True),
        ([LT, K, KeyOrdered({"a": 2})], True),
        ([EQ, K, {"a": 1}], UNKNOWN),
        ([EQ, L, [QUOTE, [{"a": 1}]]], UNKNOWN),
        ([LT, L, [QUOTE, [3, 2]]], True),
        ([EQ, "", ""], True),
        ([LT, False, True], True),
        # Logic.
        ([AND, [EQ, N, 5], [EQ, MISSING, 1]], UNKNOWN),
        ([AND, [EQ, N, 6], [EQ, MISSING, 1]], False),
        ([OR, [EQ, N, 6], [EQ, MISSING, 1]], UNKNOWN),
        ([NOT, [EQ, MISSING, 1]], UNKNOWN),
        ([EXCLUSIVE, [EQ, N, 5], [EQ, MISSING, 1]], UNKNOWN),
        ([EXCLUSIVE, T, False, False], True),
        ([AND, T, UNKNOWN_CALL], UNKNOWN),
        # Control.
        ([COND, [EQ, MISSING, 1], 1, True, 2, 3], UNKNOWN),
        ([COND, False, 1, UNKNOWN_CALL], UNKNOWN),
        ([COND, False, 1, True, 2, 3], 2),
        ([LET, Plain("x"), MISSING, [OR, T, [EQ, [VAR, Plain("x")], 1]]], True),
        ([LET, Plain("x"), MISSING, [EQ, [VAR, Plain("x")], 1]], UNKNOWN),
        (
            [
                LET,
                Plain("x"),
                1,
                Plain("y"),
                [ADD, [VAR, Plain("x")], 1],
                [LET, Plain("x"), 5, [ADD, [VAR, Plain("x")], [VAR, Plain("y")]]],
            ],
            7,
        ),
        ([LET, Plain("x"), 1, [ADD, [LET, Plain("x"), 5, [VAR, Plain("x")]], [VAR, Plain("x")]]], 6),
        # Numbers.
        ([SUB, 5], -5),
        ([SUB, -(2**63)], -(2**63)),
        ([DIV, 4.0], 0.25),
        ([DIV, 1.0, 0.0], math.inf),
        ([DIV, -1.0, 0.0], -math.inf),
        ([MOD, N, 0], UNKNOWN),
        ([ADD, 1, MISSING], UNKNOWN),
        ([ADD, 1, 2, 3, 4], 10),
        ([DIV, 100, 0, 5], UNKNOWN),
        ([ADD, 5], 5),
        ([LOG, 8.0, 2.0], 3.0),
        ([LOG, 0.0, 2.0], -math.inf),
        ([CEIL, -1.5], -1.0),
        ([FLOOR, -1.5], -2.0),
        ([FLOOR, math.inf], math.inf),
        ([TO_INT, 2.9], 2),
        ([TO_INT, -2.9], -2),
        ([ABS, -2.5], 2.5),
        ([ABS, -(2**63)], -(2**63)),
        ([POW, -8.0, 1 / 3], "nan"),
        ([POW, 10.0, 400.0], math.inf),
        ([DIV, -(2**63), -1], -(2**63)),
        ([MIN, 2.5, -1.0, 3.0], -1.0),
        # Bits.
        ([INT_NOT, 0], -1),
        ([INT_XOR, 6, 3], 5),
        ([INT_OR, 1, 2, 4], 7),
        ([LSHIFT, 1, 63], -(2**63)),
        ([RSHIFT, -1, 60], 15),
        ([ARSHIFT, -16, 2], -4),
        ([BITS, -1], 64),
        ([LSCAN, 1, True], 63),
        ([LSCAN, -1, False], -1),
        ([RSCAN, 8, True], 60),
        ([RSCAN, 0, True], -1),
        ([LSCAN, 0, False], 0),
        # Record.
        ([70], "conf"),
        ([71], True),
        ([72], False),
        ([KEY_VALUE_OF, STRING], "user-1"),
        ([KEY_VALUE_OF, INT], UNKNOWN),
        ([66], 1_700_000_000_000 * 10**6),
        ([67], 60_000),
        ([68], 1_700_005_060 * 10**9),
        ([69], 5_000),
        ([64, 1000], int.from_bytes(bytes(range(20))[16:20], "little") % 1000),
        ([65], 120),
        ([73], 120),
        ([74], 120),
        ([QUOTE, [1, [2, "a"]]], [1, [2, "a"]]),
        ("text", "text"),
        (b"raw", b"raw"),
        (None, None),
        (UNKNOWN_CALL, UNKNOWN),
    ],
)
def test_what_an_expression_gives(expression: Any, value: Any) -> None:
    answer = evaluated(expression, FIXED)
    if value == "nan":
        assert math.isnan(answer)
        return
    assert answer == value
    assert type(answer) is type(value) or isinstance(value, list)


def test_a_record_that_never_expires_and_holds_no_key() -> None:
    view = Record(set_name="")
    assert evaluated([68], view) == -1
    assert evaluated([69], view) == -1
    assert evaluated([71], view) is False
    assert evaluated([KEY_VALUE_OF, STRING], view) is UNKNOWN
    assert evaluated([70], view) == ""
    assert evaluated([KEY_VALUE_OF, INT], Record(key=(1, (7).to_bytes(8, "big")))) == 7
    assert evaluated([KEY_VALUE_OF, BLOB], Record(key=(4, b"k"))) == b"k"


@pytest.mark.parametrize(
    "expression",
    [
        [],
        [9, 1, [QUOTE, [1]]],
        [101, 1],
        [83, Plain("a")],
        [300],
        ["a"],
        [True, 1],
        [EQ, 1],
        [EQ, 1, 2, 3],
        [EQ, N, "a"],
        [EQ, 1, 1.0],
        [AND, T],
        [AND, T, 1],
        [NOT, 1],
        [ADD],
        [ADD, 1, 1.0],
        [ADD, "a", "b"],
        [POW, 2, 2],
        [MOD, 1.0, 2.0],
        [TO_INT, 1],
        [LSCAN, 1, 1],
        [64, 0],
        [64, [ADD, 1, 1]],
        [BIN, INT],
        [BIN, NIL, Plain("a")],
        [BIN, 12, Plain("a")],
        [BIN, INT, Plain("a" * 16)],
        [KEY_VALUE_OF, FLOAT],
        [COND, T, 1],
        [COND, T, 1, 2, 3],
        [COND, T, 1, "a"],
        [COND, 1, 1, 2],
        [LET, Plain("1x"), 1, 2],
        [LET, Plain("x"), 1],
        [VAR, Plain("x")],
        [QUOTE, 5],
        [CALL, INT, 0, [16], M],
        [CALL, INT, 0, [96], L],
        [CALL, INT, 0, [1, 5], L],
        [CALL, LIST, MODIFY, [16], L],
        [CALL, INT, 5, [16], L],
        [CALL, INT, 0, [16], N],
        [CALL, 77, 0, [16], L],
        [REGEX, 0, Plain("["), S],
        [REGEX, 1, Plain("(a"), S],
        [REGEX, 0, Plain("a"), N],
        [70, 1],
        [EQ, bin_of_type(GEO, "g"), bin_of_type(GEO, "g")],
        [EQ, bin_of_type(HLL, "h"), bin_of_type(HLL, "h")],
        [EQ, WILDCARD, 1],
    ],
)
def test_what_cannot_be_built_answers_4(expression: Any) -> None:
    assert code_of(evaluated, expression, FIXED) == 4


def test_bytes_that_are_no_expression_answer_4() -> None:
    for payload in (b"", b"\x93\x01", b"\xc1", b"\x93\x01\x01\x01\x01", b"\x92\x12" * 4000 + b"\xc3", b"\xa1" + bytes(1 << 20)):
        assert code_of(compile_filter, payload) == 4


def test_a_filter_is_boolean() -> None:
    assert code_of(compile_filter, wire(ADD, 1, 1)) == 4
    assert code_of(compile_filter, b"\x05") == 4
    assert compile_filter(b"\xc3")(FIXED) is True
    assert compile_filter(wire(0))(FIXED) is None


@pytest.mark.parametrize(
    "expression",
    [[8, bin_of_type(GEO, "g"), bin_of_type(GEO, "g")], [CALL, INT, 1, [50], Y], [CALL, INT, 0x42, [0], bin_of_type(HLL, "h")]],
)
def test_geo_bits_and_hll_are_unsupported(expression: Any) -> None:
    assert code_of(evaluated, expression, FIXED) == 16


# ---------------------------------------------------------------- calls
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ([CALL, LIST, MODIFY, [1, 9], L], [3, 1, 2, 9]),
        ([CALL, INT, 0, [16], [CALL, LIST, MODIFY, [35, 0, 1], L]], 2),
        ([CALL, LIST, MODIFY, [2, [QUOTE, [7, 8]]], L], [3, 1, 2, 7, 8]),
        ([CALL, LIST, MODIFY, [1, [ADD, N, 1]], L], [3, 1, 2, 6]),
        ([CALL, LIST, MODIFY, [1, S], L], [3, 1, 2, "hello"]),
        ([CALL, LIST, MODIFY, [1, L], L], [3, 1, 2, [3, 1, 2]]),
        ([CALL, LIST, MODIFY, [1, MISSING], L], UNKNOWN),
        ([CALL, LIST, MODIFY, [9, -9, 1], L], UNKNOWN),  # the operation fails
        ([CALL, MAP, MODIFY, [67, "c", 3], M], {"a": 1, "b": 2, "c": 3}),
        ([CALL, MAP, MODIFY, [68, {"c": 3}], M], {"a": 1, "b": 2, "c": 3}),
        ([CALL, LIST, 0, [107, VALUE, [QUOTE, ["a", "z"]]], M], [1]),
        ([CALL, INT, 0, [17, 99], L], UNKNOWN),
        ([CALL, STRING, 0, [17, 0], L], UNKNOWN),  # of another type than declared
        ([CALL, INT, 0, [97, VALUE, "zz"], M], UNKNOWN),  # empty
        ([CALL, INT, 0, [16], bin_of_type(LIST, "nope")], UNKNOWN),
        ([CALL, INT, 0, [97, VALUE, 2**40], bin_of_type(MAP, "big")], 7),
    ],
)
def test_calls(expression: Any, value: Any) -> None:
    view = record(of=Record(bins=dict(FIXED.bins)), big={2**40: 7})
    assert evaluated(expression, view) == value
    assert evaluated(expression, view) == value  # a second time: the operation must not have changed what is kept


def test_calls_follow_a_context() -> None:
    view = record(n={"x": {"y": [1, 2, 3]}})
    path = [0x22, "x", 0x22, "y"]
    assert evaluated([CALL, INT, 0, [255, path, [16]], bin_of_type(MAP, "n")], view) == 3
    changed = evaluated([CALL, MAP, MODIFY, [255, path, [1, 4]], bin_of_type(MAP, "n")], view)
    assert changed == {"x": {"y": [1, 2, 3, 4]}}
    assert evaluated([CALL, INT, 0, [255, [0x22, "z"], [16]], bin_of_type(MAP, "n")], view) is UNKNOWN


# ---------------------------------------------------------------- regular expressions
@pytest.mark.parametrize(
    ("flags", "pattern", "subject", "found"),
    [
        (0, "a+b", "a+b", True),
        (0, "a+b", "aab", False),
        (1, "a+b", "aab", True),
        (0, r"a\+b", "aab", True),
        (0, r"\(ab\)\{2\}", "abab", True),
        (0, "(ab)", "(ab)", True),
        (1, "(ab){2}$", "xabab", True),
        (0, "a|b", "b", False),
        (0, r"a\|b", "b", True),
        (1, "^(a|b)$", "b", True),
        (0, "*a", "*a", True),
        (0, "x^y", "x^y", True),
        (0, "a$b", "a$b", True),
        (1, "[[:digit:]]{3}", "ab123", True),
        (0, "[]x]", "]", True),
        (0, "[^a-c]", "abc", False),
        (0, "[a-c-]", "-", True),
        (0, r"[\]", "\\", True),
        (2, "HELLO", "hello", True),
        (0, "a.c", "a\nc", True),
        (4, "a.c", "a\nc", False),
        (0, "^b", "a\nb", False),
        (4, "^b", "a\nb", True),
        (0, "b$", "b\n", False),
        (8, "a.c", "a\nc", True),
        (1, r"\.", "a", False),
        (1, "ż+", "żż", True),
        (0, r"\(a\)\1", "aa", True),
        (1, "a{2,3}", "aa", True),
        (0, "[[.-.]a]", "-", True),
    ],
)
def test_regular_expressions_are_posix(flags: int, pattern: str, subject: str, found: bool) -> None:
    assert evaluated([REGEX, flags, Plain(pattern), subject]) is found


# ---------------------------------------------------------------- expression operations
def op(write: bool, expression: Any, flags: int, existing: Any = None, view: Record = FIXED) -> Any:
    bin_now = (1, existing.to_bytes(8, "big")) if existing is not None else None
    after, result = expression_op(write, wire(expression, flags), view, bin_now)
    return (after if isinstance(after, expressions.Outcome) else value_of(after)), value_of(result)


CREATE_ONLY, UPDATE_ONLY, ALLOW_DELETE, POLICY_NO_FAIL, EVAL_NO_FAIL = 1, 2, 4, 8, 16


def test_writing_the_value_of_an_expression() -> None:
    assert op(True, [MUL, N, N], 0) == (25, None)
    assert op(True, [ADD, F, 1.0], 0, existing=1) == (3.5, None)
    assert op(True, L, 0) == ([3, 1, 2], None)
    assert op(True, True, 0) == (True, None)
    assert op(False, [ADD, N, 1], 0) == (KEEP, 6)


def test_expression_write_flags() -> None:
    assert code_of(op, True, 9, CREATE_ONLY, 4) == 6
    assert op(True, 9, CREATE_ONLY) == (9, None)
    assert op(True, 9, CREATE_ONLY | POLICY_NO_FAIL, existing=4) == (KEEP, None)
    assert code_of(op, True, 9, UPDATE_ONLY) == 17
    assert op(True, 9, UPDATE_ONLY, existing=4) == (9, None)
    assert op(True, 9, UPDATE_ONLY | POLICY_NO_FAIL) == (KEEP, None)


def test_an_unknown_result() -> None:
    for write in (True, False):
        assert code_of(op, write, MISSING, 0) == 26
        assert code_of(op, write, MISSING, POLICY_NO_FAIL) == 26
        assert op(write, MISSING, EVAL_NO_FAIL, existing=1) == (KEEP, None)


def test_writing_nil() -> None:
    assert op(True, None, 0) == (KEEP, None)
    assert op(True, None, ALLOW_DELETE, existing=1) == (None, None)
    assert code_of(op, True, None, 0, 1) == 26
    assert op(True, None, POLICY_NO_FAIL, existing=1) == (KEEP, None)
    assert op(True, None, EVAL_NO_FAIL, existing=1) == (KEEP, None)
    assert op(False, None, 0) == (KEEP, None)


def test_malformed_expression_operations_answer_4() -> None:
    for payload in (wire(1), wire(1, 2, 3), wire(1, "a"), wire(1, 64), b"\x05", b""):
        assert code_of(expression_op, True, payload, FIXED, None) == 4


# ---------------------------------------------------------------- what is kept
def guard(version: int) -> bytes:
    missing = [EQ, [BIN_TYPE, Plain("_mr_v")], 0]
    return wire(OR, missing, [LT, bin_of_type(INT, "_mr_v"), version])


@given(st.lists(st.tuples(INTS, INTS), min_size=1, max_size=20))
def test_guards_that_differ_in_a_constant_answer_each_for_itself(pairs: list[tuple[int, int]]) -> None:
    for stored, offered in pairs:
        view = record(_mr_v=stored)
        assert compile_filter(guard(offered))(view) is (stored < offered)
        between = wire(
            AND,
            [GE, bin_of_type(INT, "_mr_v"), stored],
            [LE, [SUB, bin_of_type(INT, "_mr_v"), offered], signed(stored - offered)],
        )
        assert compile_filter(between)(view) is True


def test_guards_for_many_versions_keep_one_program() -> None:
    compile_filter(guard(2**56))
    kept = len(expressions._kept.programs)
    filters = [compile_filter(guard(2**56 + step)) for step in range(1, 2000)]
    assert len(expressions._kept.programs) == kept
    view = record(_mr_v=2**56 + 1000)
    assert [passes(view) for passes in filters] == [step > 1000 for step in range(1, 2000)]


def test_bytes_that_only_look_like_an_integer_stay_part_of_the_shape() -> None:
    wide, other = b"\xcf" + (2**40).to_bytes(8, "big"), b"\xcf" + bytes(8)
    for left in (wide * 2, wide + other, other * 2):
        for right in (wide * 2, wide + other, other * 2):
            assert compile_filter(wire(EQ, left, right))(FIXED) is (left == right)
            assert compile_filter(wire(OR, [EQ, left, right], [EQ, 2**40, 2**41]))(FIXED) is (left == right)


def test_what_is_kept_stays_small() -> None:
    for step in range(500):
        compile_filter(wire(EQ, bin_of_type(INT, f"b{step}"), 1))
    assert len(expressions._kept.programs) <= expressions.MAX_KEPT
    before = len(expressions._kept.programs)
    compile_filter(wire(EQ, "x" * expressions.MAX_KEPT_BYTES, "y"))
    assert len(expressions._kept.programs) == before


def test_a_filter_and_an_operation_with_the_same_bytes_are_not_mixed_up() -> None:
    payload = wire(KEY_VALUE_OF, INT)  # as an expression the integer key; as an operation the constant 80 and flags 2
    view = Record(key=(1, (7).to_bytes(8, "big")))
    for _ in range(2):
        assert expressions.evaluate(payload, view) == (1, (7).to_bytes(8, "big"))
        assert expression_op(False, payload, view, None)[1] == (1, (80).to_bytes(8, "big"))


def test_a_shape_cut_at_another_place_is_another_shape() -> None:
    wide = 0x0500000000000001
    assert evaluated([ADD, 2**40, 5]) == 2**40 + 5
    assert evaluated([ADD, 5, 2**40]) == 2**40 + 5
    # Cut where the second one was, its bytes look like the first one's shape.
    assert evaluated([ADD, wide, 9]) == wide + 9


# ---------------------------------------------------------------- against Python
@given(INTS, INTS)
def test_integers_wrap_as_64_bits(a: int, b: int) -> None:
    assert evaluated([ADD, a, b]) == signed(a + b)
    assert evaluated([SUB, a, b]) == signed(a - b)
    assert evaluated([MUL, a, b]) == signed(a * b)
    assert evaluated([INT_AND, a, b]) == a & b
    assert evaluated([INT_XOR, a, b]) == a ^ b
    assert evaluated([BITS, a]) == bin(a & (2**64 - 1)).count("1")
    if b:
        quotient, rest = evaluated([DIV, a, b]), evaluated([MOD, a, b])
        assert signed(quotient * b + rest) == a and abs(rest) < abs(b) and (rest == 0 or (rest < 0) == (a < 0))


@given(INTS, st.integers(0, 63))
def test_shifts(a: int, count: int) -> None:
    unsigned = a & (2**64 - 1)
    assert evaluated([LSHIFT, a, count]) == signed(unsigned << count)
    assert evaluated([RSHIFT, a, count]) == signed(unsigned >> count)
    assert evaluated([ARSHIFT, a, count]) == a >> count
    bits = f"{unsigned:064b}"
    assert evaluated([LSCAN, a, True]) == bits.find("1") and evaluated([RSCAN, a, False]) == bits.rfind("0")


@given(FLOATS, FLOATS)
def test_floats_follow_ieee(a: float, b: float) -> None:
    assert evaluated([ADD, a, b]) == a + b
    assert evaluated([MAX, a, b]) == max(a, b)
    assert evaluated([LT, a, b]) is (a < b)
    if b:
        assert evaluated([DIV, a, b]) == a / b


LEAVES = st.sampled_from([(True, True), (False, False), (UNKNOWN_CALL, None)])


def _combine(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def conjunction(parts: list[Any]) -> Any:
        values = [value for _, value in parts]
        return [AND, *[part for part, _ in parts]], False if False in values else None if None in values else True

    def disjunction(parts: list[Any]) -> Any:
        values = [value for _, value in parts]
        return [OR, *[part for part, _ in parts]], True if True in values else None if None in values else False

    several = st.lists(inner, min_size=2, max_size=4)
    negated = inner.map(lambda part: ([NOT, part[0]], None if part[1] is None else operator.not_(part[1])))
    return several.map(conjunction) | several.map(disjunction) | negated


@given(st.recursive(LEAVES, _combine, max_leaves=15))
def test_logic_is_kleenes(case: tuple[Any, bool | None]) -> None:
    expression, value = case
    assert compile_filter(msgpack.encode(element(expression)))(FIXED) is value


@given(st.text(max_size=12), st.text(max_size=12))
def test_strings_compare_bytewise(a: str, b: str) -> None:
    assert evaluated([LT, a, b]) is (text(a) < text(b))

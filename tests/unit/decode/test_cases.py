"""The forty cases a parser and a merge must get right, by their numbers in the message reference; each names what shows it.

Cases of one message are golden files (`tests/golden/xdr`), read every way there is; cases of several messages are played here.
"""

import json
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pytest

from schemas.bins import BinType
from schemas.events import ChangeEvent
from schemas.tables import bin_columns
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.normal_form import Read
from sinks.contract import Deadline, Disposition, Fence
from sinks.delta.history_columns import HistoryRows
from sinks.testing import MemorySink
from tests.support.decode import GOLDEN, difference, golden_readings, plain, read_all_ways
from tests.support.events import delete, write
from tests.support.xdr_encode import flat, typed

APPLIED, SUPERSEDED, DUPLICATE = Disposition.APPLIED, Disposition.SUPERSEDED, Disposition.DUPLICATE
LUT = 1_000


@lru_cache(maxsize=1)
def golden_files() -> dict[str, list[tuple[int, str | None]]]:
    """Of every golden file its cases in order: number, and what was read otherwise than the case says."""
    found = {}
    for path in sorted(GOLDEN.glob("*.json")):
        cases, readings = golden_readings(path.stem)
        numbers = [row["case"] for row in json.loads(path.read_text(encoding="utf-8"))["cases"]]
        differences = [difference(case, reading) for case, reading in zip(cases, readings, strict=True)]
        found[path.stem] = list(zip(numbers, differences, strict=True))
    return found


def holds(number: int, *formats: str) -> None:
    """Every golden case of this number reads as it says, and each of the formats has one."""
    for name in formats:
        assert any(case == number for case, _ in golden_files()[name]), f"{name} has no case {number}"
    wrong = [f"{name}: {said}" for name, cases in golden_files().items() for case, said in cases if case == number and said]
    assert wrong == []


def played(*batches: list[ChangeEvent]) -> tuple[list[list[Disposition]], dict[bytes, dict[str, Any]]]:
    """What a sink answers, batch by batch, and what it shows in the end."""
    sink = MemorySink()
    answers = [
        [outcome.disposition for outcome in sink.write(batch, Fence("e", number), Deadline.after_s(5))]
        for number, batch in enumerate(batches)
    ]
    return answers, sink.visible()


def read_one(value: bytes, options: DecodeOptions) -> Read:
    readings, _ = read_all_ways([value], options)
    assert len(readings) == 1
    return readings[0]


JSONS = ("json", "flat-json")
ALL = (*JSONS, "message-pack", "avro")


def test_case_01_integers_beyond_2_to_the_53() -> None:
    holds(1, *ALL)


def test_case_02_doubles_without_fraction_and_with_exponent() -> None:
    holds(2, *ALL)


def test_case_03_nan_and_infinities() -> None:
    holds(3, *ALL)


def test_case_04_negative_zero_and_subnormals() -> None:
    holds(4, *ALL)


def test_case_05_blob_or_text_is_never_guessed() -> None:
    holds(5, *ALL)
    declared = DecodeOptions("flat-json", records=(RecordType("source", None, {"a": BinType.BLOB}),))
    message = flat(write(1, LUT, bins={"a": "AP8=", "b": "AP8="}))
    assert read_one(message, declared).bins == [("a", "blob", "AP8="), ("b", "str", "AP8=")]


def test_case_06_base64_user_key_or_text() -> None:
    """The digest decides (`schemas.digest`); what the message says stays as it came."""
    from schemas.digest import KeyMismatch, digest_of, resolve_user_key

    assert resolve_user_key("s", "AP8=", digest_of("s", b"\x00\xff")) == b"\x00\xff"
    assert resolve_user_key("s", "AP8=", digest_of("s", "AP8=")) == "AP8="
    with pytest.raises(KeyMismatch):
        resolve_user_key("s", "AP8=", digest_of("s", "AP9="))
    holds(6, "message-pack")


def test_case_07_integer_user_key_or_digits() -> None:
    holds(7, *ALL)


def test_case_08_geojson_is_an_object() -> None:
    holds(8, "json", "message-pack")


def test_case_09_map_keys_that_collide() -> None:
    holds(9, *ALL)


def test_case_10_map_keys_json_cannot_carry() -> None:
    """Such a record is missing from a JSON stream; see the emission's `Unserialisable`. Other formats carry them."""
    from deploy.local.xdr.change import Unserialisable
    from deploy.local.xdr.values import JsonValues

    with pytest.raises(Unserialisable, match="map key"):
        JsonValues().bin((19, b"\x81\xa2\x04k\xa2\x03v"))
    holds(10, "message-pack")


def test_case_11_orders_missing_or_given() -> None:
    holds(11, "json", "message-pack")


def test_case_12_unknown_types_travel_as_they_came() -> None:
    holds(12, "json", "message-pack")


def test_case_13_no_bins_is_no_delete() -> None:
    holds(13, *ALL)


def test_case_14_null_is_a_deleted_bin() -> None:
    holds(14, *ALL)


def test_case_15_nulls_inside_lists_and_maps() -> None:
    holds(15, "json", "message-pack")


def test_case_16_odd_bin_names() -> None:
    holds(16, *ALL)
    assert set(bin_columns({"a.b": BinType.INT, "$": BinType.INT, "ü": BinType.INT, "a b": BinType.INT}).aside) == {"a b"}


def test_case_17_bin_names_that_differ_in_case() -> None:
    holds(17, *ALL)
    assert set(bin_columns({"a": BinType.INT, "A": BinType.INT, "b": BinType.INT}).typed) == {"b"}


def test_case_18_bins_named_like_the_message() -> None:
    holds(18, *ALL)


def test_case_19_one_bin_twice() -> None:
    holds(19, *ALL)


def test_case_20_no_set_has_one_form() -> None:
    holds(20, *ALL)


def test_case_21_a_delete_without_set_and_key_finds_the_record() -> None:
    holds(21, *ALL)
    one = write(1, LUT, 1)
    answers, shown = played([one], [delete(1, LUT + 1, 2)._replace(set=None, user_key=None, digest=one.digest)])
    assert (answers, shown) == ([[APPLIED], [APPLIED]], {})


def test_case_22_deletes_of_every_age() -> None:
    holds(22, *ALL)


def test_case_23_a_delete_before_any_write_and_twice() -> None:
    gone = delete(1, LUT, 2)
    answers, shown = played([gone], [gone], [write(1, LUT - 1, 1)], [write(1, LUT + 1, 1, bins={"v": 1})])
    assert answers == [[APPLIED], [DUPLICATE], [SUPERSEDED], [APPLIED]]
    assert list(shown.values()) == [{"v": 1}]


def test_case_24_all_zero_is_no_version() -> None:
    holds(24, *ALL)
    known, legacy = write(1, LUT, 1, bins={"v": "known"}), write(1, 0, bins={"v": "legacy"})._replace(gen=None, lut_ms=None)
    later = legacy._replace(offset=legacy.offset + 1, bins={"v": "later"})
    assert played([legacy], [later])[1][known.digest] == {"v": "later"}
    assert played([later], [legacy])[1][known.digest] == {"v": "later"}
    assert played([known], [later])[1][known.digest] == {"v": "known"}


def test_case_24_two_legacy_events_in_one_message_keep_their_order() -> None:
    one = write(1, 0, bins={"v": 1})._replace(gen=None, lut_ms=None)
    two = one._replace(element=1, bins={"v": 2})
    assert played([one, two])[1] == played([two, one])[1] == {one.digest: {"v": 2}}


def test_case_25_lut_in_seconds_is_refused() -> None:
    holds(25, *ALL)


def test_case_26_never_expires() -> None:
    holds(26, *ALL)


def test_case_27_expired_on_arrival_is_a_write() -> None:
    holds(27, "json", "message-pack")


def test_case_28_one_version_with_other_bins() -> None:
    first, second = write(1, LUT, 1, bins={"v": "first"}), write(1, LUT, 1, bins={"v": "second"})
    answers, shown = played([first], [second])
    assert answers == [[APPLIED], [DUPLICATE]] and shown[first.digest] == {"v": "first"}


def test_case_29_a_wrapped_generation() -> None:
    old, new = write(1, LUT, 65535, bins={"v": "old"}), write(1, LUT, 1, bins={"v": "new"})
    assert played([old], [new])[1] == played([new], [old])[1] == {old.digest: {"v": "new"}}


def test_case_30_a_higher_lut_with_a_lower_generation() -> None:
    old, new = write(1, LUT, 9, bins={"v": "old"}), write(1, LUT + 1, 1, bins={"v": "new"})
    assert played([old], [new])[1] == played([new], [old])[1] == {old.digest: {"v": "new"}}


def test_case_31_a_lower_lut_with_a_higher_generation_is_counted_as_superseded() -> None:
    answers, _ = played([write(1, LUT, 1)], [write(1, LUT - 1, 9)])
    assert answers == [[APPLIED], [SUPERSEDED]]


def test_case_32_a_null_value() -> None:
    holds(32, *ALL)


def test_case_33_first_bytes_of_other_formats() -> None:
    holds(33, "json", "message-pack")


def test_case_34_a_top_level_array() -> None:
    holds(34, *JSONS)
    one, two = write(1, LUT), write(2, LUT)
    readings, _ = read_all_ways([b"[" + typed(one) + b"," + typed(two) + b"]"], DecodeOptions("json"))
    assert [reading.metadata.digest for reading in readings] == [one.digest, two.digest]


def test_case_35_key_and_digest_not_well_formed() -> None:
    holds(35, *ALL)


def test_case_36_json_inside_json_only_when_configured() -> None:
    message = typed(write(1, LUT, bins={"a": 1 << 60}))
    wrapped = json.dumps({"payload": message.decode()}).encode()
    inner = read_one(wrapped, DecodeOptions("json", wrapped_in="payload"))
    assert plain(inner) == plain(read_one(message, DecodeOptions("json")))
    assert (read_one(wrapped, DecodeOptions("json")).error or ("",))[0] == "D103"


def test_case_37_upper_case() -> None:
    holds(37, *JSONS)


def test_case_38_what_is_no_sound_json() -> None:
    holds(38, *ALL)


def test_case_39_very_large_values() -> None:
    holds(39, "json", "message-pack")
    event = write(1, LUT, bins={"b": bytes(8 << 20)})
    message = typed(event)
    assert len(message) > 11_000_000
    _, events = read_all_ways([message], DecodeOptions("json"))
    assert events.events[0].bins == event.bins


def test_case_40_the_namespace_is_the_message_s_not_the_topic_s() -> None:
    for encode, name in ((typed, "json"), (flat, "flat-json")):
        message = encode(write(1, LUT)._replace(namespace="other"))
        _, events = read_all_ways([message], DecodeOptions(name, records=(RecordType("other"),)))
        assert [(event.topic, event.namespace) for event in events.events] == [("xdr", "other")]


def test_names_that_are_no_columns_stay_whole_in_a_history() -> None:
    """Cases 16 and 17 again, in a table's rows: nothing is lost, whatever a bin is called."""
    names = ["a.b", "$", "ü", "a b", "x", "X", "offset", "bins"]
    message = typed(write(1, LUT, bins=dict.fromkeys(names, 1)))
    options = DecodeOptions("json")
    from schemas.xdr.columns import DECODED
    from schemas.xdr.reader import Reader
    from tests.support.decode import as_messages

    columns, _, _ = Reader(options).table(as_messages([message]))
    batch = pa.RecordBatch.from_arrays(columns, schema=DECODED)
    place = {"topic": "t", "partition": 0, "offset": 0, "kafka_timestamp": None}
    for name, value in place.items():
        kind = {"topic": pa.string(), "partition": pa.int32(), "offset": pa.int64()}.get(name, pa.timestamp("us", "UTC"))
        batch = batch.append_column(name, pa.array([value], kind))
    declared = dict.fromkeys(names, BinType.INT)
    (rows,) = HistoryRows(declared, {"flow": "f", "output": "o", "epoch": "e", "batch_id": 0})(iter([batch]))
    row = rows.to_pylist()[0]
    kept = {name for name, value in row["bins"].items() if value == 1} | {name for name, _ in row["_rescued"]}
    assert kept == set(names)

"""What a sample says of its bins, and the schema file that is made of it."""

import json
from pathlib import Path

import pytest

from pipelines.catalogue.writing import file_name, schema_text
from pipelines.flow.schema_files import load_schema
from schemas.bins import BinType
from schemas.inference import Sample, SeenType, inferred_bins
from schemas.xdr.options import DecodeOptions
from schemas.xdr.reader import Reader
from tests.support.events import delete, write
from tests.support.xdr_encode import flat, typed


def seen(*records: dict[str, str]) -> SeenType:
    found = SeenType("shop", "orders")
    for record in records:
        found.add(record)
    return found


def test_shares_types_and_nulls_are_counted() -> None:
    found = seen(
        {"a": "int", "b": "list:ordered"}, {"a": "int", "b": "list"}, {"a": "int", "b": "null"}, {"a": "int", "c": "map:key"}
    )
    a, b, c = inferred_bins(found, types_travel=True)
    assert (a.type, a.share, a.types, a.nulls, a.conflict) == (BinType.INT, 1.0, {"int": 4}, 0, "")
    assert (b.type, b.share, b.types, b.nulls, b.conflict) == (BinType.LIST, 0.5, {"list": 2}, 1, "")
    assert (c.type, c.share) == (BinType.MAP, 0.25)


def test_most_values_decide_and_the_others_are_a_conflict() -> None:
    [bin_] = inferred_bins(seen({"a": "str"}, {"a": "int"}, {"a": "str"}, {"a": "blob"}), types_travel=True)
    assert (bin_.type, bin_.conflict) == (BinType.STR, "int in 1, blob in 1 of 4 records")
    [even] = inferred_bins(seen({"a": "str"}, {"a": "int"}), types_travel=True)
    assert even.type is BinType.INT


@pytest.mark.parametrize(
    ("types_travel", "kind", "conflict"), [(True, BinType.INT, "float in 1 of 3 records"), (False, BinType.FLOAT, "")]
)
def test_where_types_do_not_travel_an_integer_may_be_a_double(types_travel: bool, kind: BinType, conflict: str) -> None:
    [bin_] = inferred_bins(seen({"a": "int"}, {"a": "float"}, {"a": "int"}), types_travel=types_travel)
    assert (bin_.type, bin_.conflict) == (kind, conflict)


def test_what_has_no_known_type_or_no_column_is_told() -> None:
    found = {
        bin_.name: bin_
        for bin_ in inferred_bins(seen({"a": "null", "b c": "int", "D": "int", "d": "int", "z": "java"}), types_travel=True)
    }
    assert found["a"].type is None and found["z"].type is None
    assert "Delta refuses" in found["b c"].aside and "only in case" in found["D"].aside and found["z"].aside == ""


@pytest.mark.parametrize(("encode", "form"), [(typed, "json"), (flat, "flat-json")])
def test_messages_are_counted_by_set_and_the_dead_by_reason(encode: object, form: str) -> None:
    reader, sample = Reader(DecodeOptions(format=form)), Sample()
    events = [write("k", 1, bins={"n": 1, "s": "x"}), write("l", 1, bins={"n": 2}), delete("k", 2), write("m", 1, set="other")]
    for value in (*map(encode, events), b"no", b"{}"):  # type: ignore[arg-type]
        sample.add_readings(reader.read(value))
    assert (sample.looked_at, dict(sample.dead)) == (6, {"D102": 1, "D103": 1})
    contract, other = sample.types["source", "contract"], sample.types["source", "other"]
    assert (contract.records, contract.deletes, other.records) == (2, 1, 1)
    assert [(one.name, one.type, one.share) for one in inferred_bins(contract, types_travel=True)] == [
        ("n", "int", 1.0),
        ("s", "str", 0.5),
    ]


NAMES = ["plain", "with space", "dot.ted", "$dollar", "true", "7", "née", "a: b", "#hash", "q'uo\"te", "null", "@at", "-"]


def test_the_written_file_declares_just_what_was_found_whatever_the_names(tmp_path: Path) -> None:
    found = seen(dict.fromkeys(NAMES, "int"), {"never": "null", "plain": "str"})
    bins = inferred_bins(found, types_travel=True)
    path = tmp_path / file_name(found)
    path.write_text(schema_text(found, bins, "topic xdr.orders"), encoding="utf-8")
    schema = load_schema(path, {})
    assert path.name == "shop.orders.yaml"
    assert (schema.namespace, schema.sets, schema.version) == ("shop", ("orders",), 1)
    assert schema.types() == dict.fromkeys(sorted(NAMES), BinType.INT)
    text = path.read_text()
    assert "plain: int # in every record; also str in 1 of 2 records" in text and "# never: only null" in text


def test_names_that_no_file_may_have_are_changed_in_the_files_name() -> None:
    assert file_name(SeenType("a/b", None)) == "a-b.yaml"
    assert json.dumps(file_name(SeenType("ns", "../x"))) == '"ns.---x.yaml"'

"""What a record type asks of events: user keys, names, new, missing and changed bins; the quick and the thorough way agree."""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.bins import BinType
from schemas.digest import digest_of
from schemas.errors import Terminal
from schemas.events import ChangeEvent
from schemas.xdr.options import AvroSchemas, DecodeOptions, Image, Policies, RecordType
from schemas.xdr.reader import Reader
from tests.support.avro_messages import DELETE_SCHEMA, WRITE_MAP, as_map
from tests.support.decode import as_messages, read_all_ways
from tests.support.events import delete, write
from tests.support.message_pack import message_pack
from tests.support.xdr_encode import flat, typed
from tests.support.xdr_strategies import FLAT_BINS, events

FORMS: dict[str, Callable[[ChangeEvent], bytes]] = {
    "json": typed,
    "flat-json": flat,
    "message-pack": message_pack,
    "avro": as_map,
}
AVRO = AvroSchemas(json.dumps(WRITE_MAP), json.dumps(DELETE_SCHEMA))
BINS = {"id": BinType.INT, "note": BinType.STR}
ODD_NAMES = ["a b", "dot.ted", "$dollar", "née", "Note", "NOTE", "namespace", "digest", "_rescued", "other"]


def options(form: str = "json", image: Image = "full", policies: Policies = Policies(), **more: Any) -> DecodeOptions:  # noqa: B008
    record = RecordType("source", **{"bins": BINS, **more}, policies=policies)
    return DecodeOptions(form, image=image, records=(record,), avro=AVRO)


def fate(event: ChangeEvent, given: DecodeOptions) -> tuple[str, Any]:
    """(reason code, detail) of a dead letter, or ("taken", bins and user key) of an event; every way of reading agrees on it."""
    [reading], events = read_all_ways([FORMS[given.format](event)], given)
    if reading.error is not None:
        return reading.error
    [found] = events.events
    return "taken", (found.bins, found.user_key)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", ["k", "7", 7, -(1 << 63), "ü" * 40, ""])
def test_a_user_key_its_digest_proves_is_taken_as_it_is(form: str, key: int | str) -> None:
    assert fate(write(key, 1, bins={"id": 1}), options(form)) == ("taken", ({"id": 1}, key))
    assert fate(write(key, 1, set=None, bins={"id": 1}), options(form)) == ("taken", ({"id": 1}, key))


@pytest.mark.parametrize("form", FORMS)
def test_a_blob_key_is_told_from_a_string_by_the_digest(form: str) -> None:
    text = b64encode(b"\x00\xff").decode()
    blob = write(text, 1, digest=digest_of("contract", b"\x00\xff"), bins={"id": 1})
    assert fate(blob, options(form)) == ("taken", ({"id": 1}, b"\x00\xff"))
    assert fate(write(text, 1, bins={"id": 1}), options(form)) == ("taken", ({"id": 1}, text))
    [reading], _ = read_all_ways([FORMS[form](blob)], options(form))
    assert reading.metadata.user_key == ("blob", text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("op", [write, delete])
def test_a_user_key_that_contradicts_the_digest(form: str, op: Callable[..., ChangeEvent]) -> None:
    event = op("right", 1, user_key="wrong")
    code, detail = fate(event, options(form))
    assert code == "D113" and event.digest.hex() in detail
    assert fate(event, options(form, policies=Policies(user_key="drop")))[1][1] is None
    assert fate(event, options(form, policies=Policies(user_key="trust")))[1][1] == "wrong"
    assert fate(event, DecodeOptions(form, avro=AVRO))[0] == "D113", "also where no record types are given"
    _, events = read_all_ways([FORMS[form](event)], DecodeOptions(form, records=(RecordType("other"),), avro=AVRO))
    assert (events.unselected, events.rejections) == (1, []), "nothing is asked of events that are not taken"


@pytest.mark.parametrize("form", FORMS)
def test_bins_get_their_own_names_back_and_their_declared_types(form: str) -> None:
    given = options(form, rename={"ID": "id", "a much longer name than Aerospike has": "long", "note": "x", "x": "note"})
    event = write("k", 1, bins={"ID": 7, "a much longer name than Aerospike has": "y", "note": 1.5, "x": "text"})
    assert fate(event, given)[1][0] == {"id": 7, "long": "y", "x": 1.5, "note": "text"}
    assert fate(write("k", 1, bins={"x": 7}), given)[0] == "D108", (
        "the declared type belongs to the bin, not to its name in Kafka"
    )
    code, detail = fate(write("k", 1, bins={"ID": 7, "id": 8}), given)
    assert (code, detail) == ("D114", "'ID' and 'id' are both bin 'id'")


@pytest.mark.parametrize("form", FORMS)
def test_a_new_bin_is_kept_left_out_or_stops_the_flow(form: str) -> None:
    event = write("k", 1, bins={"id": 1, "new": 2, "more": [1]})
    for policy in ("rescue", "add"):
        assert fate(event, options(form, policies=Policies(new_bin=policy)))[1][0] == event.bins  # type: ignore[arg-type]
    assert fate(event, options(form, policies=Policies(new_bin="ignore")))[1][0] == {"id": 1}
    stopping = options(form, policies=Policies(new_bin="stop"))
    assert fate(write("k", 1, bins={"id": 1}), stopping)[0] == "taken"
    assert stopped(event, stopping) == "bin 'new' is not declared; policies.new_bin is stop"


def stopped(event: ChangeEvent, given: DecodeOptions) -> str:
    """Why every way of reading refuses to go on, with the message's place."""
    reader, value = Reader(given), FORMS[given.format](event)
    messages = as_messages([value])
    told = []
    for read in (lambda: reader.events(messages), lambda: reader.table(messages), lambda: reader.read(value)):
        with pytest.raises(Terminal, match="E460") as caught:
            read()
        told.append(caught.value)
    assert [one.context.get("offset") for one in told] == [0, 0, None]
    [message] = {one.message for one in told}
    return message


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_type_is_a_dead_letter_kept_as_it_is_or_stops_the_flow(form: str) -> None:
    event = write("k", 1, bins={"id": "one", "note": "x"})
    code, detail = fate(event, options(form))
    assert code == "D108" and "is str, but the flow declares int" in detail
    for policy in ("rescue", "widen"):
        [reading], _ = read_all_ways([FORMS[form](event)], options(form, policies=Policies(type_change=policy)))  # type: ignore[arg-type]
        assert reading.bins == [("id", "str", "one"), ("note", "str", "x")]
    assert "the flow declares int; policies.type_change is stop" in stopped(
        event, options(form, policies=Policies(type_change="stop"))
    )


def test_what_only_a_declaration_says_is_kept_as_it_came_where_it_cannot_be_so() -> None:
    given = options("flat-json", bins={"raw": BinType.BLOB, "f": BinType.FLOAT}, policies=Policies(type_change="rescue"))
    assert fate(write("k", 1, bins={"raw": "no Base64!", "f": "NaN"}), given)[1][0]["raw"] == "no Base64!"
    assert fate(write("k", 1, bins={"raw": "AP8="}), given)[1][0] == {"raw": b"\x00\xff"}
    assert fate(write("k", 1, bins={"raw": "no Base64!"}), options("flat-json", bins={"raw": BinType.BLOB}))[0] == "D108"


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_bin(form: str) -> None:
    required = frozenset({"id"})
    without, null = write("k", 1, bins={"note": "x"}), write("k", 1, bins={"id": None, "note": "x"})
    for event, words in ((without, "'id' is not there"), (null, "'id' is null")):
        code, detail = fate(event, options(form, required=required))
        assert code == "D115" and words in detail
        assert words in stopped(event, options(form, required=required, policies=Policies(missing_bin="stop")))
        assert fate(event, options(form, required=required, policies=Policies(missing_bin="null")))[0] == "taken"
    assert fate(delete("k", 2), options(form, required=required))[0] == "taken", "deletes have no bins"
    assert fate(without, options(form, "partial", required=required))[0] == "taken", (
        "a partial image leaves out what did not change"
    )
    assert fate(null, options(form, "partial", required=required))[0] == "D115"
    assert fate(without, options(form, "none", required=required))[0] == "taken"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("policy", ["rescue", "add", "ignore"])
def test_any_name_goes_through(form: str, policy: Any) -> None:
    bins = {name: number for number, name in enumerate(ODD_NAMES)}
    declared = dict.fromkeys(ODD_NAMES, BinType.INT)
    given = options(form, bins=declared, policies=Policies(new_bin=policy), rename={"other": "metadata2"})
    assert fate(write("k", 1, bins=bins), given)[1][0] == {
        **{name: bins[name] for name in ODD_NAMES if name != "other"},
        **({"metadata2": bins["other"]} if policy != "ignore" else {}),
    }


def test_the_policies_of_a_record_type_are_its_own() -> None:
    records = (
        RecordType("source", ("a",), BINS, policies=Policies(new_bin="ignore", user_key="drop")),
        RecordType("source", ("b",), BINS),
    )
    events = [write("k", 1, set=name, bins={"id": 1, "new": 2}, digest=bytes(20)) for name in ("a", "b")]
    _, found = read_all_ways(list(map(typed, events)), DecodeOptions("json", records=records))
    assert [(event.bins, event.user_key) for event in found.events] == [({"id": 1}, None)]
    assert [(one.row, one.code) for one in found.rejections] == [(1, "D113")]


NAMED = st.sampled_from(["a", "b", "gen", "key", "d_float", "d_geo", "d_str"])
RULES = st.builds(
    Policies,
    new_bin=st.sampled_from(["rescue", "add", "ignore"]),
    type_change=st.sampled_from(["dead-letter", "rescue", "widen"]),
    missing_bin=st.sampled_from(["dead-letter", "null"]),
    user_key=st.sampled_from(["check", "drop", "trust"]),
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    form=st.sampled_from(["json", "flat-json", "message-pack"]),
    sent=events(FLAT_BINS),
    wrong_key=st.booleans(),
    declared=st.dictionaries(NAMED, st.sampled_from(list(BinType)), max_size=4),
    required=st.frozensets(NAMED, max_size=2),
    rename=st.dictionaries(NAMED, NAMED | st.just("new"), max_size=3),
    rules=RULES,
    image=st.sampled_from(["full", "partial", "none"]),
)
def test_whatever_the_rules_every_way_of_reading_says_the_same(
    form: str,
    sent: ChangeEvent,
    wrong_key: bool,
    declared: dict[str, BinType],
    required: frozenset[str],
    rename: dict[str, str],
    rules: Policies,
    image: Image,
) -> None:
    event = sent._replace(digest=bytes(20)) if wrong_key else sent
    record = RecordType(sent.namespace, None, declared, required, rename, rules)
    read_all_ways([FORMS[form](event)], DecodeOptions(form, image=image, records=(record,)))

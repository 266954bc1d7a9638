"""Whatever the connector can send is read as the very same Python values, the quick way and the thorough way."""

from base64 import b64encode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.events import WRITE, ChangeEvent
from schemas.xdr import DecodeOptions, RecordType
from tests.support.decode import comparable, read_all_ways
from tests.support.message_pack import message_pack
from tests.support.xdr_encode import flat, typed
from tests.support.xdr_strategies import DECLARED_TYPES, FLAT_BINS, NATIVE_BINS, NATIVE_KEYS, POINT, TYPED_BINS, events


def back(messages: list[bytes], options: DecodeOptions) -> list[ChangeEvent]:
    _, events = read_all_ways(messages, options)
    assert events.rejections == [] and events.unselected == 0
    return events.events


RUNS = settings(deadline=None, suppress_health_check=list(HealthCheck))


@RUNS
@given(sent=st.lists(events(TYPED_BINS), min_size=1, max_size=5))
def test_typed_json_comes_back_as_sent(sent: list[ChangeEvent]) -> None:
    sent = [event._replace(offset=offset) for offset, event in enumerate(sent)]
    got = back([typed(event) for event in sent], DecodeOptions("json"))
    assert [comparable(event) for event in got] == [comparable(event) for event in sent]


@RUNS
@given(sent=st.lists(events(FLAT_BINS), min_size=1, max_size=5))
def test_flat_json_comes_back_as_sent_where_types_are_known(sent: list[ChangeEvent]) -> None:
    sent = [event._replace(offset=offset) for offset, event in enumerate(sent)]
    records = tuple(RecordType(namespace, None, DECLARED_TYPES) for namespace in ("shop", "ü"))
    got = back([flat(event) for event in sent], DecodeOptions("flat-json", records=records))
    assert [comparable(event) for event in got] == [comparable(event) for event in sent]


@RUNS
@given(sent=st.lists(events(NATIVE_BINS, NATIVE_KEYS), min_size=1, max_size=5), wide=st.booleans())
def test_message_pack_comes_back_as_sent(sent: list[ChangeEvent], wide: bool) -> None:
    sent = [event._replace(offset=offset) for offset, event in enumerate(sent)]
    got = back([message_pack(event, wide) for event in sent], DecodeOptions("message-pack"))
    assert [comparable(event) for event in got] == [comparable(event) for event in sent]


def test_what_flat_json_cannot_say_is_a_string() -> None:
    event = ChangeEvent("shop", None, bytes(20), None, WRITE, 1, 10**12, None, {"a": b"\x00\xff", "b": POINT}, "xdr", 3, 0)
    assert back([flat(event)], DecodeOptions("flat-json"))[0].bins == {
        "a": b64encode(b"\x00\xff").decode(),
        "b": {"type": "Point", "coordinates": [8.5, 47.4]},
    }

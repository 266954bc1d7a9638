"""Golden messages: whole records as they lie in Kafka, key and value. Forms: xdr-kafka reference, 1.2, 1.3 and 1.8."""

from base64 import b64decode

import orjson
import pytest

from deploy.local.node.changes import DeletedImage, Particle, RecordImage
from deploy.local.xdr.change import Change, Message, Unserialisable, delete_of, write_of
from deploy.local.xdr.formats import FORMATS
from deploy.local.xdr.settings import XdrSettings
from schemas.xdr import DecodeOptions
from schemas.xdr.guess import guess
from schemas.xdr.reader import Reader
from tests.unit.xdr.node_double import double, integer, string

# RIPEMD-160 of "orders", key type 3 and "A-1001": the digest a client computes for that key.
DIGEST = b64decode("TF9ODrM9rkkY7o5lTNkjt9v7kPY=")
LUT_MS, EXP_S = 1_764_633_600_123, 1_767_225_600
POINT = b'{"type":"Point","coordinates":[8.5,47.4]}'
EVERY_TYPE: dict[str, Particle] = {
    "qty": integer(3),
    "price": double(19.5),
    "note": string("läuft"),
    "paid": (17, b"\1"),
    "sig": (4, b"\x00\xff\x10"),
    "hll": (18, b"\1\2"),
    "tags": (20, bytes.fromhex("94a2037801c081a2036b9102")),
    "attr": (19, bytes.fromhex("83c70001c007a6037365") + b"ven" + bytes.fromhex("a20377cb3ff4000000000000")),
    "pos": (23, b"\0\0\0" + POINT),
}


WITHOUT_REGISTRY = sorted(FORMATS.keys() - {"kafka-avro"})


def image(
    bins: dict[str, Particle], *, set_name: str | None = "orders", key: Particle | None = None, exp_s: int = EXP_S
) -> RecordImage:
    return RecordImage("shop", set_name, DIGEST, key, 4, LUT_MS, exp_s, bins)


def gone(*, durable: bool = False, kind: str = "delete", key: Particle | None = None, set_name: str | None = "orders") -> Change:
    return delete_of(DeletedImage("shop", set_name, DIGEST, key, 5, LUT_MS + 60_884, durable, kind))  # type: ignore[arg-type]


def shipped(change: Change, **options: object) -> Message:
    settings = XdrSettings.model_validate({"namespace": "shop", "topic": "t", **options})
    return FORMATS[settings.format](settings).encode(change)


def encoded(change: Change, **options: object) -> tuple[str, str]:
    message = shipped(change, **options)
    return message.key.decode(), message.value.decode()


def test_typed_write_with_every_type() -> None:
    key, value = encoded(write_of(image(EVERY_TYPE, key=string("A-1001"))))
    assert key == '["shop","orders","TF9ODrM9rkkY7o5lTNkjt9v7kPY=","A-1001"]'
    assert value == (
        '{"msg":"write","key":["shop","orders","TF9ODrM9rkkY7o5lTNkjt9v7kPY=","A-1001"],'
        '"gen":4,"exp":1767225600,"lut":1764633600123,"bins":['
        '{"name":"qty","type":"int","value":3},'
        '{"name":"price","type":"float","value":19.5},'
        '{"name":"note","type":"str","value":"läuft"},'
        '{"name":"paid","type":"bool","value":true},'
        '{"name":"sig","type":"blob","value":"AP8Q"},'
        '{"name":"hll","type":"hll","value":"AQI="},'
        '{"name":"tags","type":"list","value":["x",1,null,{"k":[2]}],"ordered":false},'
        '{"name":"attr","type":"map","value":{"7":"seven","w":1.25},"order":"key"},'
        '{"name":"pos","type":"geojson","value":{"type":"Point","coordinates":[8.5,47.4]}}]}'
    )


def test_flat_write_with_every_type() -> None:
    key, value = encoded(write_of(image(EVERY_TYPE, key=string("A-1001"))), format="flat-json")
    assert key == '{"namespace":"shop","set":"orders","userKey":"A-1001","digest":"TF9ODrM9rkkY7o5lTNkjt9v7kPY="}'
    assert value == (
        '{"metadata":{"namespace":"shop","set":"orders","userKey":"A-1001","digest":"TF9ODrM9rkkY7o5lTNkjt9v7kPY=",'
        '"msg":"write","gen":4,"lut":1764633600123,"exp":1767225600},'
        '"qty":3,"price":19.5,"note":"läuft","paid":true,"sig":"AP8Q","hll":"AQI=","tags":["x",1,null,{"k":[2]}],'
        '"attr":{"7":"seven","w":1.25},"pos":{"type":"Point","coordinates":[8.5,47.4]}}'
    )


def test_typed_delete_says_nothing_about_durability_unless_it_was_durable() -> None:
    plain = '{"msg":"delete","key":["shop","orders","TF9ODrM9rkkY7o5lTNkjt9v7kPY=",null],"gen":5,"lut":1764633661007}'
    durable = plain.replace('"gen"', '"durable":true,"gen"')
    assert encoded(gone())[1] == plain
    assert encoded(gone(durable=True))[1] == durable
    assert encoded(gone(), durable_flag="always")[1] == durable.replace("true", "false")
    assert encoded(gone(durable=True), durable_flag="never")[1] == plain


def test_flat_delete_is_the_metadata_alone() -> None:
    plain = '"digest":"TF9ODrM9rkkY7o5lTNkjt9v7kPY=","msg":"delete","gen":5,"lut":1764633661007'
    assert encoded(gone(key=string("A-1001")), format="flat-json")[1] == (
        '{"metadata":{"namespace":"shop","set":"orders","userKey":"A-1001",' + plain + "}}"
    )
    assert (
        encoded(gone(durable=True), format="flat-json")[1]
        == '{"metadata":{"namespace":"shop","set":"orders",' + plain + ',"durable":true}}'
    )


@pytest.mark.parametrize("format_name", WITHOUT_REGISTRY)
def test_an_expiry_looks_like_a_delete(format_name: str) -> None:
    assert shipped(gone(kind="expire"), format=format_name) == shipped(gone(), format=format_name)


def test_without_set_and_user_key() -> None:
    change = write_of(image({}, set_name=None, exp_s=0))
    assert encoded(change) == (
        '["shop",null,"TF9ODrM9rkkY7o5lTNkjt9v7kPY=",null]',
        '{"msg":"write","key":["shop",null,"TF9ODrM9rkkY7o5lTNkjt9v7kPY=",null],"gen":4,"exp":0,"lut":1764633600123,"bins":[]}',
    )
    assert encoded(change, format="flat-json") == (
        '{"namespace":"shop","digest":"TF9ODrM9rkkY7o5lTNkjt9v7kPY="}',
        '{"metadata":{"namespace":"shop","digest":"TF9ODrM9rkkY7o5lTNkjt9v7kPY=","msg":"write","gen":4,"lut":1764633600123,"exp":0}}',
    )


@pytest.mark.parametrize(
    ("key", "printed"),
    [
        (integer(77), "77"),
        (integer(-(2**63)), "-9223372036854775808"),
        (string("77"), '"77"'),
        (string(""), '""'),
        ((4, b"\0\xff"), '"AP8="'),
    ],
)
def test_user_keys_keep_their_json_type(key: Particle, printed: str) -> None:
    typed_key, typed = encoded(write_of(image({}, key=key)))
    assert typed_key == f'["shop","orders","TF9ODrM9rkkY7o5lTNkjt9v7kPY=",{printed}]'
    assert f'"key":{typed_key}' in typed
    flat_key, flat = encoded(write_of(image({}, key=key)), format="flat-json")
    assert f'"userKey":{printed},' in flat_key
    assert f'"userKey":{printed},' in flat


def test_the_metadata_key_can_be_renamed_and_a_bin_of_its_name_cannot_be_expressed() -> None:
    change = write_of(image({"metadata": integer(1)}))
    assert list(orjson.loads(encoded(change, format="flat-json", metadata_key="_m")[1])) == ["_m", "metadata"]
    with pytest.raises(Unserialisable, match="metadata key"):
        encoded(change, format="flat-json")


def test_a_deleted_bin_is_null() -> None:
    change = write_of(image({}), {"old": None, "new": integer(1)})
    assert orjson.loads(encoded(change)[1])["bins"][0] == {"name": "old", "type": "null", "value": None}
    assert encoded(change, format="flat-json")[1].endswith('"old":null,"new":1}')


@pytest.mark.parametrize("format_name", WITHOUT_REGISTRY)
@pytest.mark.parametrize(
    "change",
    [
        write_of(image({"bad": (3, b"\xff")})),
        write_of(image({"bad\udcff": integer(1)})),
        write_of(image({}, key=(3, b"\xff"))),
        write_of(image({}, key=(23, b"\0\0\0{}"))),
        write_of(image({}, set_name="bad\udcff")),
    ],
    ids=["value", "bin name", "user key", "key type", "set"],
)
def test_what_no_form_can_hold_is_unserialisable(format_name: str, change: Change) -> None:
    with pytest.raises(Unserialisable):
        shipped(change, format=format_name)


@pytest.mark.parametrize("format_name", ["json", "flat-json"])
def test_json_has_no_doubles_as_user_keys(format_name: str) -> None:
    with pytest.raises(Unserialisable):
        shipped(write_of(image({}, key=(2, bytes(8)))), format=format_name)


def test_auto_mixes_encodings_and_each_record_keeps_to_its_own() -> None:
    reader = Reader(DecodeOptions("auto"))
    seen = set()
    for number in range(6):
        digest = bytes([number]) + DIGEST[1:]
        record = RecordImage("shop", "orders", digest, None, 4, LUT_MS, EXP_S, {"qty": integer(3)})
        message, again = shipped(write_of(record), format="auto"), shipped(write_of(record), format="auto")
        assert message == again
        (read,) = reader.read(message.value, message.key)
        assert read.error is None and read.metadata.digest == digest and read.bins == [("qty", "int", "3")]
        seen.add(guess(message.value))
    assert seen == {"json", "flat-json", "message-pack"}

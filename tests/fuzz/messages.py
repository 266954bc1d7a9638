"""Whole messages of every format to be damaged: random events of every bin type, written by the encoders of the tests."""

import json
import math
import struct
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from schemas.bins import BinType, GeoJson, Hll, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.digest import digest_of
from schemas.events import DELETE, WRITE, ChangeEvent
from schemas.nested import Other
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.options import AvroSchemas
from schemas.xdr.reader import Reader
from schemas.xdr.schema_source import SchemaSource
from tests.support.avro_messages import DELETE_SCHEMA, WRITE_MAP, MemorySchemas, as_map, framed
from tests.support.message_pack import message_pack
from tests.support.xdr_encode import flat, typed

NAMESPACES, SETS = ("shop", "ü"), (None, "orders", "s")


class Form(NamedTuple):
    """A format under fire: how events are written, and how the messages are read.

    sample: the values of its bins, as the format can carry them. schemas: where writer schemas are asked for by id.
    """

    encode: Callable[[ChangeEvent], bytes]
    options: DecodeOptions
    sample: Callable[[Random], Any]
    schemas: SchemaSource | None = None

    def reader(self) -> Reader:
        """As workers have it."""
        return Reader(self.options, self.schemas)


def nested(random: Random, depth: int = 0, deepest: int = 3) -> Any:
    """Something a list or map of JSON may hold."""
    if depth < deepest and random.random() < 0.3:
        many = range(random.randrange(4))
        if random.random() < 0.5:
            return [nested(random, depth + 1, deepest) for _ in many]
        return {text(random): nested(random, depth + 1, deepest) for _ in many}
    return random.choice([None, True, integer(random), random.uniform(-1e6, 1e6), text(random)])


def anything(random: Random, depth: int = 0) -> Any:
    """Something a list or map of MessagePack may hold."""
    kind = random.randrange(10)
    if depth < 3 and kind < 3:
        keys = [random.choice([integer(random), text(random), random.randbytes(3)]) for _ in range(random.randrange(4))]
        return [anything(random, depth + 1) for _ in keys] if kind == 0 else {key: anything(random, depth + 1) for key in keys}
    odd = [
        random.randbytes(random.randrange(9)),
        Hll(random.randbytes(4)),
        Other(16, b"v"),
        double(random),
        GeoJson('{"a":[1.5]}'),
    ]
    return random.choice([*odd, nested(random, 3)])


def packed_value(random: Random) -> Any:
    """A bin's value of any type, with everything inside that MessagePack carries."""
    if random.random() < 0.5:
        return typed_value(random)
    inside = [anything(random) for _ in range(random.randrange(4))]
    return random.choice([list, OrderedList])(inside) if random.random() < 0.5 else KeyOrderedMap(enumerate(inside))


def avro_value(random: Random) -> Any:
    """A bin's value of a type that Avro has, nested as deep as the schema goes."""
    scalar = [integer(random), double(random), text(random), True, None, random.randbytes(5)]
    return random.choice([*scalar, [nested(random, 2)], {"k": nested(random, 2)}, [[nested(random, 3)]]])


def text(random: Random) -> str:
    """Short text, at times such as confuses readers."""
    if random.random() < 0.3:
        return random.choice(["", '":', "\\", "null", "NaN", "$blob", "läuft", "\U0001f600", "\x00", "1e5", "\\ud800"])
    return "".join(random.choices("abcdefgh ü7", k=random.randrange(10)))


def integer(random: Random) -> int:
    """An integer of up to 64 bits, small ones oftener."""
    return random.choice([random.randrange(-100, 100), random.randrange(-(1 << 63), 1 << 63), (1 << 63) - 1, -(1 << 63)])


def double(random: Random) -> float:
    """Any double: any bits."""
    value: float = struct.unpack(">d", random.randbytes(8))[0]
    return random.choice([value, 0.5, -0.0, 3.0, math.inf, math.nan])


def typed_value(random: Random) -> Any:
    """A bin's value of any type."""
    kind = random.randrange(11)
    if kind < 4:
        return (integer, double, text, lambda random: random.random() < 0.5)[kind](random)
    if kind < 6:
        return (bytes, Hll)[kind - 4](random.randbytes(random.randrange(12)))
    if kind < 8:
        return (list, OrderedList)[kind - 6](nested(random) for _ in range(random.randrange(4)))
    if kind < 10:
        return (KeyOrderedMap, KeyValueOrderedMap)[kind - 8]({text(random): nested(random) for _ in range(random.randrange(4))})
    return GeoJson('{"type":"Point","coordinates":[8.5,47.25]}')


def flat_value(random: Random) -> Any:
    """A bin's value of a type that flat JSON can say."""
    return random.choice(
        [integer(random), random.uniform(-1e9, 1e9), text(random), True, [nested(random)], {"k": nested(random)}]
    )


def common_value(random: Random) -> Any:
    """A bin's value of a type that every format has."""
    return random.choice([integer(random), random.uniform(-1e9, 1e9), text(random), True, [nested(random, 2)], {"k": [1]}])


def event(random: Random, sample: Callable[[Random], Any]) -> ChangeEvent:
    """A random event with a digest that fits its user key."""
    set_name = random.choice(SETS)
    key: int | str = random.choice([integer(random), text(random)])
    op = WRITE if random.random() < 0.85 else DELETE
    versioned = random.random() < 0.95
    return ChangeEvent(
        namespace=random.choice(NAMESPACES),
        set=set_name,
        digest=digest_of(set_name, key),
        user_key=key if random.random() < 0.7 else None,
        op=op,
        gen=random.randrange(1, 65536) if versioned else None,
        lut_ms=random.randrange(10**12, 2 * 10**12) if versioned else None,
        exp_s=random.choice([None, 1_767_225_600]) if op == WRITE else None,
        bins={name: sample(random) for name in random.sample("abcdefgh", random.randrange(7))} if op == WRITE else {},
        topic="xdr",
        partition=0,
        offset=0,
    )


def _list_of(encode: Callable[[ChangeEvent], bytes]) -> Callable[[ChangeEvent], bytes]:
    """A batch formatter: the event twice, the second a version later."""

    def both(event: ChangeEvent) -> bytes:
        later = event if event.gen is None else event._replace(gen=event.gen % 65535 + 1)
        return b"[" + encode(event) + b"," + encode(later) + b"]"

    return both


_AVRO = AvroSchemas(json.dumps(WRITE_MAP), json.dumps(DELETE_SCHEMA))
_SCHEMAS = MemorySchemas({1: WRITE_MAP, 2: DELETE_SCHEMA})


def _framed(event: ChangeEvent) -> bytes:
    return framed(1 if event.op == WRITE else 2, as_map(event))


def _any_form(event: ChangeEvent) -> bytes:
    """One form for one record, so that a run is repeatable."""
    encode = (typed, flat, message_pack, as_map, _framed)[event.digest[0] % 5]
    return encode(event)


FORMS: dict[str, Form] = {
    "json": Form(typed, DecodeOptions("json"), typed_value),
    "json, declared": Form(typed, DecodeOptions("json", records=(RecordType("shop", None, {"a": BinType.INT}),)), typed_value),
    "json, lists": Form(_list_of(typed), DecodeOptions("json"), typed_value),
    "message-pack": Form(message_pack, DecodeOptions("message-pack"), packed_value),
    "avro": Form(as_map, DecodeOptions("avro", avro=_AVRO), avro_value),
    "kafka-avro": Form(_framed, DecodeOptions("kafka-avro"), avro_value, _SCHEMAS),
    "auto": Form(_any_form, DecodeOptions("auto", avro=_AVRO), common_value, _SCHEMAS),
    "flat-json": Form(flat, DecodeOptions("flat-json"), flat_value),
    "flat-json, declared": Form(
        flat,
        DecodeOptions("flat-json", records=(RecordType("shop", None, {"a": BinType.FLOAT}),)),
        flat_value,
    ),
}

__all__ = ["FORMS", "Form", "event"]

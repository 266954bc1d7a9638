"""A MessagePack encoder for tests, written apart from reader and embedded node: Python values in, connector messages out."""

import struct
from typing import Any

from schemas.bins import GeoJson, Hll, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.events import WRITE, ChangeEvent
from schemas.nested import Other

LONGEST = {"int": b"\xd3", "str": b"\xdb", "bin": b"\xc6", "list": b"\xdd", "map": b"\xdf", "ext": b"\xc9"}
"""The forms that hold anything, which an encoder may use as well as the shortest."""


def pack(value: Any, wide: bool = False) -> bytes:
    """A value, extensions as they stand inside lists and maps. wide: every head in its longest form."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _integer(value, wide)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, GeoJson):
        return _extension(23, str(value).encode(), wide)
    if isinstance(value, Hll):
        return _extension(18, bytes(value), wide)
    if isinstance(value, Other):
        return _extension(value.particle_type, value.raw, wide)
    if isinstance(value, str):
        raw = value.encode()
        return _head(len(raw), "str", wide, (0xA0, 32), (0xD9, 0xDA, 0xDB)) + raw
    if isinstance(value, bytes):
        return _head(len(value), "bin", wide, None, (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, list):
        inner = b"".join(pack(item, wide) for item in value)
        return _head(len(value), "list", wide, (0x90, 16), (None, 0xDC, 0xDD)) + inner
    assert isinstance(value, dict), type(value)
    inner = b"".join(pack(key, wide) + pack(item, wide) for key, item in value.items())
    return _head(len(value), "map", wide, (0x80, 16), (None, 0xDE, 0xDF)) + inner


def _integer(value: int, wide: bool) -> bytes:
    if wide and value < 1 << 63:
        return LONGEST["int"] + struct.pack(">q", value)
    if -32 <= value < 128:
        return struct.pack(">b", value)
    signs = (("B", 0xCC, 0, 1 << 8), ("H", 0xCD, 0, 1 << 16), ("I", 0xCE, 0, 1 << 32), ("Q", 0xCF, 0, 1 << 64))
    signs += (("b", 0xD0, -(1 << 7), 0), ("h", 0xD1, -(1 << 15), 0), ("i", 0xD2, -(1 << 31), 0), ("q", 0xD3, -(1 << 63), 0))
    form, marker = next((form, marker) for form, marker, low, high in signs if low <= value < high)
    return bytes([marker]) + struct.pack(f">{form}", value)


def _head(length: int, kind: str, wide: bool, short: tuple[int, int] | None, markers: tuple[int | None, ...]) -> bytes:
    if wide:
        return LONGEST[kind] + struct.pack(">I", length)
    if short is not None and length < short[1]:
        return bytes([short[0] + length])
    for marker, (form, limit) in zip(markers, (("B", 1 << 8), ("H", 1 << 16), ("I", 1 << 32)), strict=True):
        if marker is not None and length < limit:
            return bytes([marker]) + struct.pack(f">{form}", length)
    raise OverflowError(length)


def _extension(kind: int, raw: bytes, wide: bool) -> bytes:
    if not wide and len(raw) in (1, 2, 4, 8, 16):
        return bytes([0xD4 + (1, 2, 4, 8, 16).index(len(raw)), kind & 0xFF]) + raw
    return _head(len(raw), "ext", wide, None, (0xC7, 0xC8, 0xC9)) + bytes([kind & 0xFF]) + raw


def bin_entry(name: str, value: Any) -> list[Any]:
    """[name, particle type, flags, value], the value as it stands at the top."""
    particle, flags = {
        bool: (17, 0),
        int: (1, 0),
        float: (2, 0),
        str: (3, 0),
        bytes: (4, 0),
        Hll: (18, 0),
        GeoJson: (23, 0),
        list: (20, 0),
        OrderedList: (20, 1),
        dict: (19, 0),
        KeyOrderedMap: (19, 1),
        KeyValueOrderedMap: (19, 3),
        type(None): (0, 0),
    }[type(value)]
    plain = bytes(value) if isinstance(value, Hll) else str(value) if isinstance(value, GeoJson) else value
    return [name, particle, flags, plain]


def key_of(event: ChangeEvent) -> list[Any]:
    """The key, as it stands in the value and as it is the Kafka key."""
    return [event.namespace, event.set, event.digest, event.user_key]


def message_pack(event: ChangeEvent, wide: bool = False, durable: bool = False) -> bytes:
    """The connector's format `message-pack`; deletes carry a version when the event has one."""
    if event.op == WRITE:
        bins = [bin_entry(name, value) for name, value in event.bins.items()]
        return pack([1, 1, [key_of(event), event.gen, event.exp_s or 0, event.lut_ms, bins]], wide)
    version = [] if event.lut_ms is None else [event.gen, event.lut_ms]
    return pack([1, 2, [key_of(event), int(durable), *version]], wide)

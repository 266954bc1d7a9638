"""A small encoder of change messages for tests, written apart from the embedded node's: Python values in, JSON bytes out."""

import json
import math
from base64 import b64encode
from typing import Any

from schemas.bins import GeoJson, Hll, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.events import WRITE, ChangeEvent

JSON = {"ensure_ascii": False, "separators": (",", ":")}


def number(value: float) -> str:
    """A double as Java prints it, bare tokens included."""
    if math.isnan(value):
        return "NaN"
    return ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else repr(value)


def text_of(value: Any) -> str:
    """A bin's value as JSON text."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, bytes):
        return f'"{b64encode(value).decode()}"'
    if isinstance(value, GeoJson):
        return str(value)
    return json.dumps(value, **JSON)  # type: ignore[arg-type]


def typed_bin(name: str, value: Any) -> str:
    """One element of `bins` in typed JSON."""
    kind, extra = {
        bool: ("bool", ""),
        int: ("int", ""),
        float: ("float", ""),
        str: ("str", ""),
        bytes: ("blob", ""),
        Hll: ("hll", ""),
        GeoJson: ("geojson", ""),
        list: ("list", ',"ordered":false'),
        OrderedList: ("list", ',"ordered":true'),
        dict: ("map", ""),
        KeyOrderedMap: ("map", ',"order":"key"'),
        KeyValueOrderedMap: ("map", ',"order":"key-value"'),
        type(None): ("str", ""),
    }[type(value)]
    return f'{{"name":{json.dumps(name, **JSON)},"type":"{kind}","value":{text_of(value)}{extra}}}'  # type: ignore[arg-type]


def metadata(event: ChangeEvent) -> dict[str, Any]:
    """gen, exp and lut as they stand in a message."""
    ordered = {"gen": event.gen, "lut": event.lut_ms} if event.lut_ms is not None else {}
    return {**ordered, "exp": event.exp_s or 0} if event.op == WRITE else ordered


def typed(event: ChangeEvent) -> bytes:
    """The connector's format `json`."""
    key = [event.namespace, event.set, b64encode(event.digest).decode(), event.user_key]
    head = json.dumps({"msg": event.op, "key": key, **metadata(event)}, **JSON)  # type: ignore[arg-type]
    if event.op == WRITE:
        head = head[:-1] + f',"bins":[{",".join(typed_bin(name, value) for name, value in event.bins.items())}]}}'
    return head.encode()


def flat(event: ChangeEvent) -> bytes:
    """The connector's format `flat-json`."""
    known = {"set": event.set, "userKey": event.user_key}
    identity = {"namespace": event.namespace, **{name: value for name, value in known.items() if value is not None}}
    inner = {**identity, "digest": b64encode(event.digest).decode(), "msg": event.op, **metadata(event)}
    members = [f'"metadata":{json.dumps(inner, **JSON)}']  # type: ignore[arg-type]
    members += [f"{json.dumps(name, **JSON)}:{text_of(value)}" for name, value in event.bins.items()]  # type: ignore[arg-type]
    return f"{{{','.join(members)}}}".encode()

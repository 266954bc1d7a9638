"""Two sets of records compared: what is missing, what is too much, what differs, and what the message form could not carry."""

import json
import struct
from base64 import b64encode
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import aerospike

from schemas.bins import BinType, GeoJson
from sinks.aerospike.scan import StoredRecord


class Difference(StrEnum):
    """How two records, or their presence, differ."""

    MISSING = "missing"  # expected, not found
    EXTRA = "extra"  # found, not expected
    SET = "set"
    USER_KEY = "user key"
    BINS = "bins"
    EXPIRY = "expiry"


class Finding(NamedTuple):
    """One difference. `detail` names bins and types, never values."""

    kind: Difference
    digest: bytes
    set: str | None
    detail: str


class Tally(NamedTuple):
    """How many records were compared and equal; of the equal ones, `form_limited` are so only as far as the form carries them."""

    compared: int
    equal: int
    form_limited: int


class Form(NamedTuple):
    """What the messages can carry.

    typed: top-level types travel (typed JSON). declared: bins whose type the flow knows. bins: whether there are bins at all.
    avro: all types travel but GeoJSON, which is a string, and those of map keys.
    exact: all types travel (MessagePack); but the client shows GeoJSON inside lists and maps as text, whose spelling may differ.
    mixed: each message is in a form of its own (auto): a value may have become what any of them makes of it.
    """

    typed: bool
    declared: Mapping[str, BinType] | None
    bins: bool = True
    avro: bool = False
    exact: bool = False
    mixed: bool = False


def compare(
    expected: Mapping[bytes, StoredRecord],
    found: Mapping[bytes, StoredRecord],
    form: Form,
    now_s: float,
    tolerance_s: float,
) -> tuple[Tally, list[Finding]]:
    """Every record of either side. Expiries may differ by `tolerance_s`, beside what a scan leaves open; a record that close to
    expiring may be gone already.
    """
    findings: list[Finding] = []
    equal = limited = 0
    for digest, wanted in expected.items():
        other = found.get(digest)
        if other is None:
            if not _expiring(wanted, now_s, tolerance_s):
                findings.append(Finding(Difference.MISSING, digest, wanted.set, _names(wanted)))
            else:
                equal += 1
            continue
        difference, by_form = _one(wanted, other, form, tolerance_s)
        if difference is None:
            equal += 1
            limited += by_form
        else:
            findings.append(difference)
    extra = [record for digest, record in found.items() if digest not in expected and not _expiring(record, now_s, tolerance_s)]
    findings += [Finding(Difference.EXTRA, record.digest, record.set, _names(record)) for record in extra]
    return Tally(len(expected) + len(extra), equal, limited), findings


def _one(wanted: StoredRecord, other: StoredRecord, form: Form, tolerance_s: float) -> tuple[Finding | None, bool]:
    if wanted.set != other.set:
        return Finding(Difference.SET, wanted.digest, wanted.set, f"found in set {other.set!r}"), False
    if wanted.user_key is not None and not same_value(wanted.user_key, other.user_key):
        return Finding(Difference.USER_KEY, wanted.digest, wanted.set, f"found {type(other.user_key).__name__}"), False
    if not _same_expiry(wanted, other, tolerance_s):
        return Finding(Difference.EXPIRY, wanted.digest, wanted.set, f"{wanted.expiry_s} against {other.expiry_s}"), False
    by_form = False
    differing = []
    for name in sorted(wanted.bins.keys() | other.bins.keys()) if form.bins else ():
        if name not in wanted.bins or name not in other.bins:
            differing.append(f"{name!r} only {'found' if name in other.bins else 'expected'}")
        elif not same_value(wanted.bins[name], other.bins[name]):
            declared = (form.declared or {}).get(name)
            if _same_as_carried(wanted.bins[name], other.bins[name], form, declared):
                by_form = True
            else:
                differing.append(f"{name!r} ({_kind(wanted.bins[name])} against {_kind(other.bins[name])})")
    if differing:
        return Finding(Difference.BINS, wanted.digest, wanted.set, ", ".join(differing)), False
    return None, by_form


def same_value(a: Any, b: Any) -> bool:
    """Equality with types: 1 is not True and not 1.0, 0.0 is not -0.0, NaN is NaN; maps by key whatever their order."""
    a, b = _plain(a), _plain(b)
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack(">d", a) == struct.pack(">d", b) or (a != a and b != b)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same_value, a, b))
    if isinstance(a, dict):
        if len(a) != len(b):
            return False
        others = {_typed(key): value for key, value in b.items()}
        return all(_typed(key) in others and same_value(value, others[_typed(key)]) for key, value in a.items())
    return bool(a == b)


def _same_as_carried(wanted: Any, other: Any, form: Form, declared: BinType | None) -> bool:
    if form.mixed:
        alone = form._replace(mixed=False)
        forms = (alone, alone._replace(typed=True), alone._replace(avro=True), alone._replace(exact=True))
        return any(_same_as_carried(wanted, other, one, declared) for one in forms)
    if form.avro:
        return _same_in_avro(wanted, other)
    if form.exact:
        return isinstance(wanted, list | dict) and _same_but_geojson(wanted, other)
    return same_value(carried(wanted, form, declared), carried(other, form, declared))


def _same_in_avro(wanted: Any, other: Any) -> bool:
    """Whether Avro would make the one of the other."""
    wanted, other = _plain(wanted), _plain(other)
    if isinstance(wanted, _Geo) and isinstance(other, str):
        try:
            return bool(json.loads(other) == wanted.parsed)
        except ValueError:
            return False
    if isinstance(wanted, list) and isinstance(other, list):
        return len(wanted) == len(other) and all(map(_same_in_avro, wanted, other))
    if isinstance(wanted, dict) and isinstance(other, dict):
        as_text = {str(key): value for key, value in wanted.items()}
        return as_text.keys() == other.keys() and all(_same_in_avro(value, other[key]) for key, value in as_text.items())
    return same_value(wanted, other)


def _same_but_geojson(wanted: Any, other: Any) -> bool:
    """Equality of values in lists and maps where GeoJSON may be its text, in any spelling."""
    wanted, other = _plain(wanted), _plain(other)
    if isinstance(wanted, _Geo | str) and isinstance(other, _Geo | str):
        return same_value(wanted, other) or (_object_of(wanted) is not None and _object_of(wanted) == _object_of(other))
    if isinstance(wanted, list) and isinstance(other, list):
        return len(wanted) == len(other) and all(map(_same_but_geojson, wanted, other))
    if isinstance(wanted, dict) and isinstance(other, dict):
        others = {_typed(key): value for key, value in other.items()}
        keys = {_typed(key) for key in wanted}
        return keys == others.keys() and all(_same_but_geojson(value, others[_typed(key)]) for key, value in wanted.items())
    return same_value(wanted, other)


def _object_of(value: Any) -> dict[str, Any] | None:
    """The JSON object that GeoJSON, or text, is; None when it is none."""
    try:
        found = value.parsed if isinstance(value, _Geo) else json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def carried(value: Any, form: Form, declared: BinType | None) -> Any:
    """The value as far as JSON carries it: nested blobs are Base64 text, map keys strings; in flat JSON top-level blobs too."""
    value = _plain(value)
    if form.typed or declared is not None:
        return _nested(value) if isinstance(value, list | dict) else value
    return _nested(value)


def _nested(value: Any) -> Any:
    value = _plain(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, _Geo):
        return value.parsed
    if isinstance(value, list):
        return [_nested(item) for item in value]
    if isinstance(value, dict):
        return {str(_nested(key)): _nested(item) for key, item in value.items()}
    return value


class _Geo(NamedTuple):
    """GeoJSON by meaning: the same object whatever its spelling."""

    parsed: Any


def _plain(value: Any) -> Any:
    if isinstance(value, aerospike.GeoJSON):
        return _Geo(value.unwrap())
    if isinstance(value, GeoJson):
        return _Geo(json.loads(value))
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, list):
        return list(value)
    if isinstance(value, dict):
        return dict(value)
    return value


def _typed(key: Any) -> tuple[str, Any]:
    return type(key).__name__, bytes(key) if isinstance(key, bytearray) else key


def _same_expiry(a: StoredRecord, b: StoredRecord, tolerance_s: float) -> bool:
    if a.expiry_s is None or b.expiry_s is None:
        return a.expiry_s is b.expiry_s
    return a.expiry_s - a.earlier_s <= b.expiry_s + tolerance_s and b.expiry_s - b.earlier_s <= a.expiry_s + tolerance_s


def _expiring(record: StoredRecord, now_s: float, tolerance_s: float) -> bool:
    return record.expiry_s is not None and record.expiry_s - record.earlier_s <= now_s + tolerance_s


def _names(record: StoredRecord) -> str:
    return "bins " + (", ".join(sorted(record.bins)) or "none")


def _kind(value: Any) -> str:
    return type(_plain(value)).__name__.lstrip("_").lower()


__all__ = ["Difference", "Finding", "Form", "Tally", "carried", "compare", "same_value"]

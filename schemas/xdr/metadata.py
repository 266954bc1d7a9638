"""Identity, kind and version of a change event: the checks every encoding shares.

An encoding finds the members of a message's metadata; here they become typed values, or the first problem in the order kind of
event, identity, version. What could be read before the problem stays in `Metadata`, so that a dead letter names its record.
Facts: xdr-kafka message reference, cases 20-27 and 35; `lut` in seconds is refused, never scaled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.base64_text import from_base64, to_base64
from schemas.digest import DIGEST_BYTES
from schemas.events import DELETE, WRITE
from schemas.version import GENERATIONS, MAX_LUT_MS
from schemas.xdr.json_text import Number, compact, double_text
from schemas.xdr.problem import Undecodable

OLDEST_LUT_MS = 10**11
"""Smaller values are seconds, not milliseconds: 10**11 ms is March 1973, 10**11 s the year 5138."""
LAST_EXP_S = 10**11 - 1
_INT64 = range(-(1 << 63), 1 << 63)

MEMBERS = ("namespace", "set", "digest", "user_key", "msg", "gen", "lut", "exp", "durable")


@dataclass(slots=True)
class Metadata:
    """Everything of an event but its bins; see `schemas.events` for the meaning. `user_key`: (type, text)."""

    namespace: str | None = None
    set: str | None = None
    digest: bytes | None = None
    user_key: tuple[str, str] | None = None
    op: str | None = None
    durable: bool | None = None
    gen: int | None = None
    lut_ms: int | None = None
    exp_s: int | None = None

    def fill(self, given: Mapping[str, Any], places: Mapping[str, str]) -> None:
        """Take the values of MEMBERS in `given`, as far as they are sound; missing is null.

        given:  JSON's as `json_text` reads them; encodings with types of their own give Python's int, float and bytes.
        places: where each member stands in the message, for people. Raises Undecodable D103 to D106 for the first that is not.
        """
        self._names(given)
        self.op = _kind(given.get("msg"), places["msg"])
        self._require_names(given, places)
        self._version(given, places)
        if self.op == DELETE:
            durable = given.get("durable")
            self.durable = durable if isinstance(durable, bool) else None
        else:
            exp = _integer(given.get("exp"), places["exp"], "a 64-bit integer: seconds since 1970")
            if exp is not None and not -1 <= exp <= LAST_EXP_S:
                raise Undecodable(
                    "D106", f"{places['exp']} is {exp}, outside 1 to {LAST_EXP_S} seconds since 1970 (never: 0 or -1)"
                )
            self.exp_s = exp if exp is not None and exp > 0 else None

    def identify(self, given: Mapping[str, Any], places: Mapping[str, str]) -> None:
        """As `fill`, but the identity alone: of a Kafka key. Raises Undecodable D105."""
        self._names(given)
        self._require_names(given, places)

    def _names(self, given: Mapping[str, Any]) -> None:
        namespace, set_name = given.get("namespace"), given.get("set")
        self.namespace = namespace if _is_text(namespace) else None
        self.set = (set_name if _is_text(set_name) else None) or None
        self.digest = _digest(given.get("digest"))

    def _require_names(self, given: Mapping[str, Any], places: Mapping[str, str]) -> None:
        set_name = given.get("set")
        if not self.namespace:
            raise Undecodable("D105", f"{places['namespace']} is missing or empty: no namespace")
        if set_name is not None and not _is_text(set_name):
            raise Undecodable("D105", f"{places['set']} is neither text nor null: no set name")
        if self.digest is None:
            raise Undecodable("D105", f"{places['digest']} is not 20 bytes (in JSON: in Base64, 28 characters)")
        self.user_key = _user_key(given.get("user_key"), places["user_key"])

    def _version(self, given: Mapping[str, Any], places: Mapping[str, str]) -> None:
        lut = _integer(given.get("lut"), places["lut"], "a 64-bit integer: milliseconds since 1970")
        if lut is not None and not 0 <= lut <= MAX_LUT_MS:
            raise Undecodable("D106", f"{places['lut']} is {lut}, outside 0 to {MAX_LUT_MS} milliseconds")
        if lut is not None and 1 <= lut < OLDEST_LUT_MS:
            raise Undecodable("D106", f"{places['lut']} is {lut}: seconds, not milliseconds since 1970?")
        gen = _integer(given.get("gen"), places["gen"], f"an integer from 0 to {GENERATIONS - 1}", limit=1 << 31)
        if gen is not None and not 0 <= gen < GENERATIONS:
            raise Undecodable("D106", f"{places['gen']} is {gen}, outside 0 to {GENERATIONS - 1}")
        if lut:
            if gen is None:
                raise Undecodable("D106", f"{places['gen']} is missing beside a last-update time: the version is half known")
            self.gen, self.lut_ms = gen, lut
        # Else: a server before 5.0 ships no lut, and old connectors print 0 for it; then the generation orders nothing either.


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def _kind(msg: Any, place: str) -> str:
    if msg is None:
        raise Undecodable("D103", f"{place} is missing")
    op = msg.lower() if _is_text(msg) else compact(msg)
    if op not in (WRITE, DELETE):
        raise Undecodable("D104", f"{place} is {op[:32]}, neither write nor delete")
    return WRITE if op == WRITE else DELETE


def _digest(value: Any) -> bytes | None:
    if type(value) is bytes:
        return value if len(value) == DIGEST_BYTES else None
    if not _is_text(value):
        return None
    try:
        digest = from_base64(value)
    except ValueError:
        return None
    return digest if len(digest) == DIGEST_BYTES else None


def _user_key(value: Any, place: str) -> tuple[str, str] | None:
    if value is None:
        return None
    if isinstance(value, Number):
        number = value.int64()
        if number is not None:
            return "int", str(number)
    elif isinstance(value, str):
        return "str", value
    elif type(value) is bytes:
        return "blob", to_base64(value)
    elif type(value) is float:
        return "float", double_text(value)
    elif type(value) is int and value in _INT64:
        return "int", str(value)
    raise Undecodable("D105", f"{place} is no key of Aerospike: neither text nor a 64-bit integer nor null")


def _integer(value: Any, place: str, wanted: str, limit: int = 1 << 63) -> int | None:
    if value is None:
        return None
    number = value.int64() if isinstance(value, Number) else value if type(value) is int else None
    if number is None or not -limit <= number < limit:
        raise Undecodable("D106", f"{place} is not {wanted}")
    return number


__all__ = ["LAST_EXP_S", "MEMBERS", "Metadata", "OLDEST_LUT_MS"]

"""What a record type asks of an event once it is read and taken: a user key its digest proves, and the bins it should have.

Both ways through a message come here. The quick way goes on only with what is in order, or what a policy mends at once; whatever
is not is read again thoroughly, and decided here with words for people.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from schemas.base64_text import from_base64, to_base64
from schemas.bins import NULL_TYPE
from schemas.digest import KeyMismatch, resolve_user_key
from schemas.events import WRITE, UserKey
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Bin, Read
from schemas.xdr.options import DecodeOptions, Image, RecordType
from schemas.xdr.ordinary import Ordinary
from schemas.xdr.problem import SchemaStop, Undecodable
from schemas.xdr.record_types import RecordTypes

_READ_KEY: dict[str, Callable[[str], UserKey]] = {"str": str, "int": int, "float": float, "blob": from_base64}


class Rules:
    """The rules of one record type."""

    def __init__(self, record: RecordType, image: Image) -> None:
        self._type = record
        self._policies = record.policies
        self._names = record.rename.get
        self._declared = None if record.bins is None else frozenset(record.bins)
        self._strict = self._declared is not None and record.policies.new_bin in ("ignore", "stop")
        wanted = record.policies.missing_bin != "null" and image != "none"
        self._required = record.required if wanted else frozenset()
        self._whole = image == "full"
        self._looks_at_bins = bool(record.rename or self._strict or self._required)

    def ordinary(self, found: Ordinary) -> Ordinary | None:
        """The event as outputs get it; None when the thorough reader must say what is the matter."""
        key = found.user_key
        if key is not None:
            try:
                proved = resolve_user_key(found.set, key, found.digest)
                if proved is not key:
                    found = found._replace(user_key=proved)
            except KeyMismatch:
                if self._policies.user_key == "check":
                    return None
                if self._policies.user_key == "drop":
                    found = found._replace(user_key=None)
        return self._bins(found) if self._looks_at_bins and found.op == WRITE else found

    def _bins(self, found: Ordinary) -> Ordinary | None:
        bins = {self._names(name, name): value for name, value in found.bins.items()}
        if len(bins) != len(found.bins):
            return None
        if self._strict and not bins.keys() <= self._declared:  # type: ignore[operator]  # strict only with declared bins
            if self._policies.new_bin == "stop":
                return None
            bins = {name: value for name, value in bins.items() if name in self._declared}  # type: ignore[operator]
        for name in self._required:
            if bins.get(name) is None and (self._whole or name in bins):
                return None
        return found._replace(bins=bins)

    def reading(self, read: Read) -> Read:
        """The same of a message that was read thoroughly; a rule that is broken is its `error`. Raises SchemaStop."""
        metadata = read.metadata
        try:
            metadata = self._proved(metadata)
            return Read(metadata, None if read.bins is None else self._kept(read.bins))
        except Undecodable as problem:
            return Read(metadata, None, (problem.code, problem.detail))

    def _proved(self, metadata: Metadata) -> Metadata:
        if metadata.user_key is None:
            return metadata
        kind, text = metadata.user_key
        try:
            key = resolve_user_key(metadata.set, _READ_KEY[kind](text), metadata.digest or b"")
        except KeyMismatch as why:
            if self._policies.user_key == "check":
                raise Undecodable("D113", str(why)) from None
            return replace(metadata, user_key=None) if self._policies.user_key == "drop" else metadata
        return replace(metadata, user_key=("blob", to_base64(key))) if isinstance(key, bytes) and kind != "blob" else metadata

    def _kept(self, bins: list[Bin]) -> list[Bin]:
        if not self._looks_at_bins:
            return bins
        given = {self._names(name, name): (name, kind, text) for name, kind, text in bins}
        if len(given) != len(bins):
            raise Undecodable("D114", _collision(self._type, bins))
        for name in sorted(self._required):
            kind = given[name][1] if name in given else NULL_TYPE if self._whole else ""
            if kind == NULL_TYPE:
                detail = f"bin {name!r} is {'null' if name in given else 'not there'}, and the flow declares that it must be"
                if self._policies.missing_bin == "stop":
                    raise SchemaStop(f"{detail}; policies.missing_bin is stop")
                raise Undecodable("D115", detail)
        if self._strict:
            new = [name for name in given if name not in (self._declared or ())]
            if new and self._policies.new_bin == "stop":
                raise SchemaStop(f"bin {new[0]!r} is not declared; policies.new_bin is stop")
            given = {name: entry for name, entry in given.items() if name not in new}
        return [(name, kind, text) for name, (_, kind, text) in given.items()]


def _collision(record: RecordType, bins: list[Bin]) -> str:
    seen: dict[str, str] = {}
    for given, _, _ in bins:
        name = record.rename.get(given, given)
        if name in seen:
            return f"{seen[name]!r} and {given!r} are both bin {name!r}"
        seen[name] = given
    return "two bins have one name"


RulesOf = Callable[[str, str | None], Rules | None]
"""The rules for a record by its namespace and set; None when it is not taken. Without any record types all are."""


def rules_by_record(options: DecodeOptions) -> RulesOf:
    """What finds the rules of one flow; asked per message, and a flow has few sets."""
    if not options.records:
        for_all = Rules(RecordType(""), options.image)
        return lambda namespace, set_name: for_all
    types, rules = RecordTypes(options.records), [Rules(record, options.image) for record in options.records]

    @lru_cache(maxsize=10_000)
    def rules_of(namespace: str, set_name: str | None) -> Rules | None:
        place = types.find(namespace, set_name)
        return None if place is None else rules[place]

    return rules_of


__all__ = ["Rules", "RulesOf", "rules_by_record"]

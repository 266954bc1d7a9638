"""Rules over the options of one record type, in a flow or in a schema file: names that can be, and policies that can act."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.flow.places import Loc
from pipelines.flow.rule import Broken
from schemas.bins import MAX_BIN_NAME_BYTES, MAX_SET_NAME_BYTES, PRIVATE_BIN_PREFIX

if TYPE_CHECKING:
    from pipelines.flow.records import Records


def broken_in_record_type(entry: "Records") -> Iterator[Broken]:
    """Everything that is wrong with it; locations begin at the entry."""
    yield from _sets(entry)
    for name in entry.bins or {}:
        yield from _bin_name(("bins", name), name)
    yield from _renames(entry)
    yield from _policies(entry)


def _sets(entry: "Records") -> Iterator[Broken]:
    for number, name in enumerate(entry.sets or ()):
        if len(name.encode()) > MAX_SET_NAME_BYTES:
            message = f"set name {name!r} is longer than {MAX_SET_NAME_BYTES} bytes"
            yield Broken(("sets", number), message, "No record can be in it.")
    if entry.without_set and entry.sets is None:
        yield Broken(
            ("without_set",), "'without_set' is given without 'sets'", "Without 'sets' records without a set are taken anyway."
        )


def _bin_name(loc: Loc, name: str) -> Iterator[Broken]:
    if len(name.encode()) > MAX_BIN_NAME_BYTES:
        yield Broken(
            loc,
            f"bin name {name!r} has {len(name.encode())} bytes; Aerospike allows {MAX_BIN_NAME_BYTES}",
            "Use the name the source has; what the connector makes of it belongs into 'rename'.",
        )
    elif name.startswith(PRIVATE_BIN_PREFIX):
        yield Broken(
            loc,
            f"bin name {name!r} begins with {PRIVATE_BIN_PREFIX!r}, which a mirror keeps for itself",
            "Such a bin cannot be mirrored.",
        )


def _renames(entry: "Records") -> Iterator[Broken]:
    """Two names must not become one bin, and a declared bin must be able to arrive."""
    sources: dict[str, str] = {}
    for given, name in entry.rename.items():
        loc: Loc = ("rename", given)
        yield from _bin_name(loc, name)
        if name in sources:
            message = f"{given!r} and {sources[name]!r} would both become bin {name!r}"
            yield Broken(loc, message, "Only one of them can be it.")
        sources.setdefault(name, given)
    for given, name in entry.rename.items():
        if given in (entry.bins or {}) and given not in sources:
            yield Broken(
                ("rename", given),
                f"bin {given!r} is declared, but what messages call {given!r} is renamed to {name!r}",
                "Declare the bin by the name the source has, or leave the rename out.",
                (("bins",),),
            )


def _policies(entry: "Records") -> Iterator[Broken]:
    """A policy about declared bins says nothing where none are declared."""
    if entry.bins is not None:
        return
    for name in ("new_bin", "type_change", "missing_bin"):
        if name in entry.policies.model_fields_set:
            yield Broken(
                ("policies", name),
                f"'policies.{name}' is given, but the records are schemaless",
                "Declare their bins, or leave it out.",
                (("bins",),),
            )


__all__ = ["broken_in_record_type"]

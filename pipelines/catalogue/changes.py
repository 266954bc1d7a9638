"""What two versions of a record type differ in, and which differences break something."""

from collections.abc import Iterator
from typing import NamedTuple

from pipelines.flow.records import Bin, RecordSchema
from schemas.tables import TYPED_COLUMN, bin_columns


class Change(NamedTuple):
    """One difference.

    option: what differs, as in a schema file. before, after: as text, "" for nothing. breaks: what it breaks, "" when nothing.
    """

    option: str
    before: str
    after: str
    breaks: str


def changes(before: RecordSchema, after: RecordSchema) -> list[Change]:
    """Every difference, the version's included."""
    found = [*_selection(before, after), *_bins(before, after), *_renames(before, after), *_policies(before, after)]
    texts = _told(before.description), _told(after.description)
    if texts[0] != texts[1]:
        found.append(Change("description", *texts, ""))
    if found or before.version != after.version:
        breaks = "" if after.version > before.version else "the version must be raised with every change"
        found.insert(0, Change("version", str(before.version), str(after.version), breaks))
    return found


def _told(value: str | None) -> str:
    return value or ""


def _selection(before: RecordSchema, after: RecordSchema) -> Iterator[Change]:
    if before.namespace != after.namespace:
        yield Change("namespace", before.namespace, after.namespace, "these are other records")
    old, new = _sets(before), _sets(after)
    if old != new:
        lost = new is not None and (old is None or not old <= new)
        yield Change(
            "sets", _set_names(old), _set_names(new), "events of sets that are left out are not written any more" if lost else ""
        )


def _sets(schema: RecordSchema) -> frozenset[str] | None:
    sets = schema.record_type().sets
    return None if sets is None else frozenset(sets)


def _set_names(sets: frozenset[str] | None) -> str:
    return "all" if sets is None else ", ".join(name or "(none)" for name in sorted(sets))


def _bins(before: RecordSchema, after: RecordSchema) -> Iterator[Change]:
    moved = bin_columns(after.types() or {}).aside
    for name in sorted({*before.bins, *after.bins}):
        old, new = before.bins.get(name), after.bins.get(name)
        option = f"bins.{name}"
        if old is None or new is None:
            if new is not None:
                yield Change(option, "", _shown(new), _of_new_bin(new))
            elif old is not None:
                yield Change(option, _shown(old), "", _OF_LEFT_OUT[after.policies.new_bin])
            continue
        if old != new:
            yield Change(option, _shown(old), _shown(new), _of_changed_bin(old, new))
        if name in moved and name not in bin_columns(before.types() or {}).aside:
            yield Change(option, "a column", "in `_rescued`", f"it loses its column: {moved[name]}")


_OF_LEFT_OUT: dict[str, str] = {
    "add": "",  # the column stays in use
    "rescue": "its column gets no values any more: they go to `_rescued`",
    "ignore": "its values are left out of every output",
    "stop": "the flow stops at the first record that has it",
}


def _shown(known: Bin) -> str:
    return f"{known.type}{'' if known.nullable else ', not nullable'}"


def _of_new_bin(new: Bin) -> str:
    return "" if new.nullable else "records written before have no such bin, and may come again"


def _of_changed_bin(old: Bin, new: Bin) -> str:
    if TYPED_COLUMN[old.type] != TYPED_COLUMN[new.type]:
        cannot = f"its column is {TYPED_COLUMN[old.type]} and cannot become {TYPED_COLUMN[new.type]}"
        return f"{cannot}: keep {old.type} with policies.type_change rescue or widen, or name a new table"
    if old.type != new.type:
        return "values of the old type do not fit the new one"
    if old.nullable and not new.nullable:
        return "records without it were taken so far"
    return ""


def _renames(before: RecordSchema, after: RecordSchema) -> Iterator[Change]:
    for given in sorted({*before.rename, *after.rename}):
        old, new = before.rename.get(given, ""), after.rename.get(given, "")
        if old != new:
            breaks = f"messages that call bin {old!r} {given!r} are read otherwise" if old else ""
            yield Change(f"rename.{given}", old, new, breaks)


def _policies(before: RecordSchema, after: RecordSchema) -> Iterator[Change]:
    for name in type(before.policies).model_fields:
        old, new = getattr(before.policies, name), getattr(after.policies, name)
        if old != new:
            yield Change(f"policies.{name}", old, new, "")


__all__ = ["Change", "changes"]

"""Rules about outputs that count: operations that make sense, and records that nobody else replaces."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.flow.aerospike import AerospikeCluster
from pipelines.flow.counters import AerospikeCounters, Counted
from pipelines.flow.locations import same_hosts
from pipelines.flow.outputs import AerospikeMirror
from pipelines.flow.places import Loc, dotted
from pipelines.flow.rule import Broken, placed_outputs
from schemas.bins import MAX_BIN_NAME_BYTES, MAX_SET_NAME_BYTES, PRIVATE_BIN_PREFIX

if TYPE_CHECKING:
    from pipelines.flow.model import Flow


def counters_make_sense(flow: "Flow") -> Iterator[Broken]:
    """Keys, names and operations of every output that counts."""
    for loc, _, output in placed_outputs(flow):
        if not isinstance(output, AerospikeCounters):
            continue
        if sum(given is not None for given in (output.key.bin, output.key.record, output.key.constant)) != 1:
            yield Broken(
                (*loc, "key"), f"'{dotted(loc)}.key' is not exactly one of bin, record and constant", "Keep one of them."
            )
        for name in ("set", "mark_set"):
            if len(getattr(output, name).encode()) > MAX_SET_NAME_BYTES:
                yield Broken((*loc, name), f"set name is longer than {MAX_SET_NAME_BYTES} bytes", "Choose a shorter name.")
        if output.set == output.mark_set:
            yield Broken(
                (*loc, "mark_set"), "target records and marks would share a set", "Choose another name.", ((*loc, "set"),)
            )
        for name, counted in output.bins.items():
            yield from _bin((*loc, "bins", name), name, counted)
        reads_bins = output.key.bin is not None or any(c.of is not None or c.by is not None for c in output.bins.values())
        if reads_bins and (flow.source.image == "none" or output.events == "deletes"):
            lacking = "source.image is none" if flow.source.image == "none" else "deletes"
            yield Broken(
                loc,
                f"{dotted(loc)!r} reads bins, which the events do not have ({lacking})",
                "Count without bins, by the record's user_key or digest.",
                (("source", "image"), (*loc, "events")),
            )


def counters_are_left_alone(flow: "Flow") -> Iterator[Broken]:
    """A mirror replaces whole records, and a change of the source's own records comes back as an event."""
    for loc, _, output in placed_outputs(flow):
        if not isinstance(output, AerospikeCounters):
            continue
        for other_loc, _, other in placed_outputs(flow):
            if isinstance(other, AerospikeMirror) and _same_namespace(output, other) and _takes(flow, output):
                yield Broken(
                    (*loc, "set"),
                    f"{dotted(loc)!r} counts in records that {dotted(other_loc)!r} replaces as a whole",
                    "Count in a set or namespace of its own, by a bin, the user key or a constant.",
                    (other_loc, ("records",)),
                )
        source = flow.reconcile.source if flow.reconcile else None
        if source is not None and _same_namespace(output, source) and _takes(flow, output):
            yield Broken(
                (*loc, "set"),
                f"{dotted(loc)!r} writes records of the source that the flow takes: its writes would come back, for ever",
                "Count in a set or namespace that the flow does not take.",
                (("reconcile", "source"), ("records",)),
            )


def _same_namespace(output: AerospikeCounters, other: AerospikeCluster) -> bool:
    return output.namespace == other.namespace and same_hosts(output.addresses, other.addresses)


def _takes(flow: "Flow", output: AerospikeCounters) -> bool:
    """Whether records the output writes may be, by digest or by set, records the flow takes."""
    return output.key.record == "digest" or any(entry.sets is None or output.set in entry.sets for entry in flow.records)


def _bin(loc: Loc, name: str, counted: Counted) -> Iterator[Broken]:
    if len(name.encode()) > MAX_BIN_NAME_BYTES:
        yield Broken(
            loc,
            f"bin name {name!r} has {len(name.encode())} bytes; Aerospike allows {MAX_BIN_NAME_BYTES}",
            "Choose a shorter name.",
        )
    elif name.startswith(PRIVATE_BIN_PREFIX):
        yield Broken(
            loc, f"bin name {name!r} begins with {PRIVATE_BIN_PREFIX!r}, which outputs keep for themselves", "Rename it."
        )
    if counted.of is None and counted.do != "count":
        yield Broken(loc, f"'{counted.do}' without 'of': of which bin?", "Name the bin.")
    if counted.by is not None and counted.do not in ("count", "sum"):
        yield Broken((*loc, "by"), f"'by' belongs to count and sum, not to {counted.do}", "Leave it out.")
    if counted.keep is not None and counted.do != "append":
        yield Broken((*loc, "keep"), f"'keep' belongs to append, not to {counted.do}", "Leave it out.")
    if "number" in counted.model_fields_set and counted.do != "sum":
        yield Broken((*loc, "number"), f"'number' belongs to sum, not to {counted.do}", "Leave it out.")


__all__ = ["counters_are_left_alone", "counters_make_sense"]

"""What each kind of output promises, in words a person can hold us to. The reasons are in docs/guarantees.md."""

from typing import NamedTuple

from pipelines.flow.outputs import DAY_S, HOUR_S, AerospikeCounters, AnyOutput, DeltaHistory
from schemas.xdr.options import Image


class Guarantee(NamedTuple):
    """One output's promises. `crash`: what a kill at any point leaves, and what the next start does about it."""

    writes: str
    order: str
    duplicates: str
    deletes: str
    crash: str


def _span(seconds: int) -> str:
    for unit_s, unit in ((DAY_S, "days"), (HOUR_S, "hours")):
        if seconds % unit_s == 0:
            count = seconds // unit_s
            return f"{count} {unit if count != 1 else unit[:-1]}"
    return f"{seconds} s"


_WRITES: dict[Image, str] = {
    "full": "whole records by digest, with time to live",
    "partial": "records by digest, merged bin by bin, with time to live; bins that XDR has not shipped are left as they are",
    "none": "version and time to live of records by digest, never their bins; a record that is not there is made, without bins",
}
_ORDER: dict[Image, str] = {
    "full": "newest (lut, gen) wins, guarded on the server: a late older event changes nothing and is counted superseded",
    "partial": "newest (lut, gen) of each bin wins, removed bins included; a late older event gives the bins nobody wrote since, "
    "and is counted superseded when there are none",
    "none": "newest (lut, gen) wins: a late older event changes nothing and is counted superseded",
}


def guarantee_of(output: AnyOutput, image: Image = "full") -> Guarantee:
    """What `output` promises for every event the flow selects. image: what events carry of a record."""
    if isinstance(output, DeltaHistory):
        return Guarantee(
            writes=f"one row per event, appended to {output.path}, partitioned by the UTC date of the event's last-update time",
            order="rows carry (lut, gen) and the Kafka position; a table has no order of its own",
            duplicates="each Kafka message is one row; a message XDR sent twice is two rows with one version",
            deletes="a row with op = delete",
            crash="a batch is one Delta commit with its own transaction id: all or nothing; a repeated batch is not added again",
        )
    if isinstance(output, AerospikeCounters):
        expiry = "never expire" if output.ttl_s is None else f"expire {_span(output.ttl_s)} after their last change"
        return Guarantee(
            writes=f"set {output.set} of namespace {output.namespace} on {', '.join(output.hosts)}: bins "
            f"{', '.join(output.bins)} of the record of each event's key; records {expiry}",
            order="none is needed for counts and sums; lists and last values go by batch, and in a batch by Kafka position",
            duplicates="each Kafka message counts once; a change that XDR ships twice is two messages and counts twice",
            deletes="count as events where `events` says so; a target record that others remove begins anew",
            crash="some records of the batch may be changed; each keeps which batch changed it, and the repeated batch changes "
            "the others",
        )
    return Guarantee(
        writes=f"namespace {output.namespace} on {', '.join(output.hosts)}: {_WRITES[image]}"
        + ("; with the user key" if output.send_key else ""),
        order=_ORDER[image],
        duplicates="an event applied before changes nothing and is counted duplicate",
        deletes=f"the record is removed; an older write that arrives within {_span(output.tombstone_horizon_s)} does not bring "
        "it back, a later one may and is counted past_horizon",
        crash="some records of the batch may be written; the repeated batch finds them and counts them as if it had run once",
    )


def letters_guarantee(path: str, owner: str, topic: str | None = None) -> str:
    """What the dead-letter table promises, and the topic beside it."""
    return (
        f"{path}: every message that cannot be decoded (once, by lane {owner}) and every event one output refuses, with reason, "
        "position and original bytes; one Delta commit per batch, repeated batches are not added again"
        + (f"; each is also sent to topic {topic}, again under the same key when its batch is repeated" if topic else "")
    )


def ledger_guarantee(path: str) -> str:
    """What the ledger promises."""
    return f"{path}: one row per micro-batch and output; in = applied + superseded + duplicate + dead, always"


__all__ = ["Guarantee", "guarantee_of", "ledger_guarantee", "letters_guarantee"]

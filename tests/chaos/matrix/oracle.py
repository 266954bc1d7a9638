"""The oracle's judgement: facts from every side, held against each other. No I/O, and nothing of the product's own reconcile.

Truth is what the source acknowledged (the account), what lies in the topic (every message, read by a plain consumer), and the bad
messages the harness sent. Lost: acknowledged or in the topic, and not in an output. Doubled: in an output more than once. Wrong:
there, and not as it must be, or not to be there at all.
"""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

Position = tuple[int, int]
"""Partition and offset."""


class Sent(NamedTuple):
    """A message of the topic, understood by a plain JSON reader; digest None when it is no event."""

    position: Position
    value: bytes | None
    digest: bytes | None
    op: str | None
    gen: int | None
    lut_ms: int | None
    expires: bool
    rev: int | None


class Counted(NamedTuple):
    """The counters of one record, as readers see them."""

    n: object
    sum: object
    revs: object
    by: object


class Row(NamedTuple):
    """A row of the history."""

    position: Position
    digest: bytes
    op: str
    gen: int | None
    lut_ms: int | None


class Letter(NamedTuple):
    """A row of the dead letters."""

    position: Position
    output: str | None
    value: bytes | None


class Entry(NamedTuple):
    """A row of the ledger, of table or journal."""

    lane: str
    output: str
    epoch: str
    batch_id: int
    messages: int
    events_in: int
    applied: int
    superseded: int
    duplicate: int
    dead: int
    start: Mapping[int, int]
    end: Mapping[int, int]


@dataclass(frozen=True)
class Facts:
    """Everything that was read. mirror: value of bin `rev` by digest, None where a record has none. counts: counters by the
    digest of the record they count. bad: values sent.
    """

    sent: Sequence[Sent]
    bad: Sequence[bytes]
    history: Sequence[Row]
    letters: Sequence[Letter]
    mirror: Mapping[bytes, int | None]
    counts: Mapping[bytes, Counted]
    ledger: Sequence[Entry]
    source_differs: Sequence[str]
    """The account against the source, in words."""
    mirror_differs: Sequence[str]
    """The source against the mirror, record by record, in words."""


@dataclass
class Verdict:
    """What is not as it must be. problems: the first of each kind, in words."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everything is as it must be."""
        return not (self.lost or self.doubled or self.wrong)

    def add(self, kind: str, what: str, found: Iterable[object]) -> None:
        """Count `found` as `kind` (lost, doubled, wrong) and say so."""
        every = list(found)
        if every:
            setattr(self, kind, getattr(self, kind) + len(every))
            shown = ", ".join(str(one) for one in every[:3])
            self.problems.append(f"{kind}: {len(every)} {what}: {shown}")


def parse_message(position: Position, value: bytes | None) -> Sent:
    """A message as a plain JSON reader sees it: typed JSON of the connector, or nothing."""
    try:
        event = json.loads(value or b"")
        op, key = event["msg"], event["key"]
    except (ValueError, KeyError, TypeError):
        return Sent(position, value, None, None, None, None, False, None)
    revs = [entry["value"] for entry in event.get("bins", ()) if entry["name"] == "rev"]
    return Sent(
        position,
        value,
        base64.b64decode(key[2]),
        op,
        event.get("gen"),
        event.get("lut"),
        bool(event.get("exp")),
        int(revs[0]) if revs else None,
    )


def judge(facts: Facts) -> Verdict:
    """Every rule, each counted."""
    verdict = Verdict()
    events = {message.position: message for message in facts.sent if message.digest is not None}
    unreadable = {message.position: message for message in facts.sent if message.digest is None}
    _account(facts, verdict, unreadable)
    _history(facts, verdict, events)
    _letters(facts, verdict, unreadable)
    _mirror(facts, verdict, events.values())
    _counts(facts, verdict, events)
    _ledger(facts, verdict, events, unreadable)
    return verdict


def _account(facts: Facts, verdict: Verdict, unreadable: Mapping[Position, Sent]) -> None:
    verdict.add("wrong", "records of the source not as acknowledged", facts.source_differs)
    there = Counter(message.value for message in unreadable.values())
    missing = Counter(facts.bad) - there
    verdict.add("lost", "acknowledged messages not in the topic", missing.elements())
    strangers = there - Counter(facts.bad)
    verdict.add("wrong", "messages in the topic that nobody sent", strangers.elements())


def _history(facts: Facts, verdict: Verdict, events: Mapping[Position, Sent]) -> None:
    rows: dict[Position, list[Row]] = defaultdict(list)
    for row in facts.history:
        rows[row.position].append(row)
    verdict.add("lost", "events not in the history", sorted(events.keys() - rows.keys()))
    verdict.add("doubled", "events in the history more than once", sorted(at for at, found in rows.items() if len(found) > 1))
    verdict.add("wrong", "rows of the history that no message is behind", sorted(rows.keys() - events.keys()))
    differing = [
        at
        for at, found in rows.items()
        if (sent := events.get(at)) and any((sent.digest, sent.op, sent.gen, sent.lut_ms) != row[1:] for row in found)
    ]
    verdict.add("wrong", "rows of the history that differ from their message", sorted(differing))


def _letters(facts: Facts, verdict: Verdict, unreadable: Mapping[Position, Sent]) -> None:
    held = Counter((letter.position, letter.output) for letter in facts.letters)
    verdict.add("doubled", "dead letters more than once", sorted(str(at) for at, times in held.items() if times > 1))
    undecoded = {letter.position: letter for letter in facts.letters if letter.output is None}
    verdict.add("lost", "unreadable messages without a letter", sorted(unreadable.keys() - undecoded.keys()))
    verdict.add("wrong", "dead letters of messages that can be read", sorted(undecoded.keys() - unreadable.keys()))
    other = [at for at, letter in undecoded.items() if at in unreadable and unreadable[at].value != letter.value]
    verdict.add("wrong", "dead letters with other bytes than their message", sorted(other))
    verdict.add("wrong", "records an output refused", [letter.position for letter in facts.letters if letter.output is not None])


def _mirror(facts: Facts, verdict: Verdict, events: Iterable[Sent]) -> None:
    verdict.add("wrong", "records of the mirror not as in the source", facts.mirror_differs)
    newest: dict[bytes, Sent] = {}
    for message in events:
        assert message.digest is not None
        other = newest.get(message.digest)
        if other is None or _rank(message) > _rank(other):
            newest[message.digest] = message
    verdict.add("wrong", "records of the mirror that were never shipped", [d.hex() for d in facts.mirror.keys() - newest.keys()])
    back, missing, other = [], [], []
    for digest, message in newest.items():
        there = digest in facts.mirror
        if message.op == "delete" and there:
            back.append(digest.hex())
        elif message.op == "write" and not message.expires and not there:
            missing.append(digest.hex())
        elif message.op == "write" and there and facts.mirror[digest] != message.rev:
            other.append(digest.hex())
    verdict.add("wrong", "deleted records in the mirror", back)
    verdict.add("lost", "records not in the mirror", missing)
    verdict.add("wrong", "records of the mirror in another state than the newest message", other)


def _counts(facts: Facts, verdict: Verdict, events: Mapping[Position, Sent]) -> None:
    """Counters hold every write of the topic once; lists in the order of Kafka, as a record's messages share a partition."""
    writes: dict[bytes, list[int | None]] = defaultdict(list)
    for _, message in sorted(events.items()):
        if message.op == "write" and message.digest is not None:
            writes[message.digest].append(message.rev)
    verdict.add("wrong", "counters of records that were never shipped", [d.hex() for d in facts.counts.keys() - writes.keys()])
    lost, doubled, wrong = [], [], []
    for digest, all_revs in writes.items():
        revs = [rev for rev in all_revs if rev is not None]
        number = len(all_revs)
        due = Counted(number, sum(revs), revs, dict(Counter(revs))) if revs else Counted(number, None, None, None)
        found = facts.counts.get(digest, Counted(0, None, None, None))
        if not isinstance(found.n, int) or found.n == number:
            wrong += [f"{digest.hex()}: {found}"] if found != due else []
        elif found.n < number:
            lost += [digest.hex()] * (number - found.n)
        else:
            doubled += [digest.hex()] * (found.n - number)
    verdict.add("lost", "writes that were not counted", lost)
    verdict.add("doubled", "writes that were counted again", doubled)
    verdict.add("wrong", "counters that differ from the topic", wrong)


def _rank(message: Sent) -> tuple[int, int, bool]:
    """Versions in order; generations do not wrap here."""
    return message.lut_ms or 0, message.gen or 0, message.op == "delete"


def _ledger(facts: Facts, verdict: Verdict, events: Mapping[Position, Sent], unreadable: Mapping[Position, Sent]) -> None:
    total = len(events) + len(unreadable)
    by_output: dict[str, list[Entry]] = defaultdict(list)
    for entry in facts.ledger:
        by_output[entry.output].append(entry)
    verdict.add("wrong", "outputs without a ledger", sorted({"mirror", "counts", "history"} - by_output.keys()))
    deletes = sum(message.op == "delete" for message in events.values())
    for output, entries in sorted(by_output.items()):
        entries.sort(key=lambda entry: entry.batch_id)
        ids = [entry.batch_id for entry in entries]
        verdict.add("doubled", f"batches with two accounts of {output}", sorted(i for i, n in Counter(ids).items() if n > 1))
        verdict.add("lost", f"batches without an account of {output}", sorted(set(range(max(ids) + 1)) - set(ids)))
        verdict.add("wrong", f"checkpoints of {output}", sorted({entry.epoch for entry in entries})[1:])
        unbalanced = [
            e.batch_id for e in entries if e.events_in != e.applied + e.superseded + e.duplicate + e.dead or e.messages < 0
        ]
        verdict.add("wrong", f"batches of {output} that do not balance", unbalanced)
        broken = [b.batch_id for a, b in pairwise(entries) if a.end != b.start]
        verdict.add("wrong", f"batches of {output} that do not begin where the one before ended", broken)
        sums = {
            "messages": (sum(entry.messages for entry in entries), total),
            "events in": (sum(entry.events_in for entry in entries), total - (deletes if output == "counts" else 0)),
            "dead": (sum(entry.dead for entry in entries), len(unreadable)),
        }
        if output != "mirror":
            sums["applied"] = (sum(entry.applied for entry in entries), sums["events in"][1] - len(unreadable))
        verdict.add(
            "wrong",
            f"sums of {output} that are not the topic's",
            [f"{name} {said} instead of {wanted}" for name, (said, wanted) in sums.items() if said != wanted],
        )


__all__ = ["Counted", "Entry", "Facts", "Letter", "Position", "Row", "Sent", "Verdict", "judge", "parse_message"]

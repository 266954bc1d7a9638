"""The proof itself: every account of a flow from the first to the last, against one another and against the flow's Delta tables.

Reads the ledger, the histories and the dead letters, and nothing of Spark's checkpoint; accounts that wait in the journal count
as the ledger's. A running flow is not disturbed, nor does it disturb: outputs are written before their account, so tables are
looked at after the ledger, and what they hold beyond it is what was written meanwhile. No server is asked: what a mirror holds is
for `millrace reconcile`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import NamedTuple

import pyarrow.compute as pc

from pipelines.kafka_offsets import Offsets, count
from pipelines.ledger_check.compare import judge_history, judge_letters
from pipelines.ledger_check.history_rows import Held, HistoryRows
from pipelines.ledger_check.letter_rows import LetterRows
from pipelines.ledger_check.misfit import Misfit, Misfits, counted
from pipelines.ledger_check.series import Judged, Series, judge_replays, offsets_of
from schemas.ledger import LEDGER_COLUMNS, LedgerRow
from schemas.letters import REPLAY_LANE
from sinks.delta.ledger import LedgerTable, PendingRows, rows_of
from sinks.delta.table_log import read_log
from sinks.delta.transactions import app_id, ledger_writer

BATCHES_AT_ONCE = 20_000


class Subject(NamedTuple):
    """What is checked: the flow's name, its tables by path, outputs by lane, and the lane that keeps undecoded messages."""

    flow: str
    ledger: LedgerTable
    journal: PendingRows | None
    letters: str
    histories: Mapping[str, str]
    lanes: Mapping[str, Sequence[str]]
    owner: str


class Part(NamedTuple):
    """One output under one checkpoint: its batches and sums. rows: of its history, None for other outputs."""

    lane: str
    output: str
    epoch: str
    judged: Judged
    rows: int | None


@dataclass(slots=True)
class Proof:
    """What the check has found. parts: in order of time. notes: what a reader should know and is no misfit."""

    parts: list[Part] = field(default_factory=list)
    misfits: Misfits = field(default_factory=Misfits)
    notes: list[str] = field(default_factory=list)
    letters: int = 0


class _Known(NamedTuple):
    """A series as the ledger knows it: when it began, its last account, and the last its transaction tells of.

    windows: which stretches of BATCHES_AT_ONCE batches hold accounts, in rising order: a forged number must not cost a walk.
    """

    lane: str
    epoch: str
    began: str
    last: int
    told: int
    windows: tuple[int, ...]


def check_ledger(subject: Subject) -> Proof:
    """Check everything. Raises Retryable E230 when a table cannot be read, Terminal E425 on a damaged journal file."""
    told = _told(subject)
    waiting = _waiting(subject.journal)  # before the table: what a keeper moves meanwhile is then there, and known to be the same
    known = _known(subject, waiting, told)
    histories = {name: HistoryRows(subject.flow, name, path) for name, path in subject.histories.items()}
    run = _Run(subject, waiting, known, histories, LetterRows(subject.flow, subject.letters))
    newest = _newest(_told(subject), _waiting(subject.journal), known)
    owned_first = sorted(known, key=lambda one: (one.lane != subject.owner, one.began))
    for one in owned_first:
        run.series(one)
    run.leftovers(newest)
    run.between_checkpoints()
    run.proof.parts.sort(
        key=lambda part: (list(subject.lanes).index(part.lane) if part.lane in subject.lanes else 99, part.output)
    )
    return run.proof


class _Run:
    """One check under way."""

    def __init__(
        self,
        subject: Subject,
        waiting: Mapping[tuple[str, str], list[LedgerRow]],
        known: Sequence[_Known],
        histories: Mapping[str, HistoryRows],
        letters: LetterRows,
    ) -> None:
        self.proof = Proof(letters=letters.count)
        self._subject = subject
        self._waiting = waiting
        self._known = known
        self._histories = histories
        self._letters = letters
        self._counts = {name: rows.counts() for name, rows in histories.items()}
        self._left = {name: {epoch: dict(found) for epoch, found in counts.items()} for name, counts in self._counts.items()}
        self._owner_end: Offsets = {}
        self._unsettled: Counter[str] = Counter()
        self._series: list[tuple[_Known, Series]] = []
        self._last_at: dict[str, str] = {}

    def series(self, one: _Known) -> None:
        """Judge one lane's accounts under one checkpoint."""
        series = Series(one.lane, one.epoch)
        replay = one.lane == REPLAY_LANE
        found: list[LedgerRow] = []
        for rows in self._windows(one):
            if replay:
                found += rows
            else:
                self.proof.misfits.add(series.judge(rows))
            self._against_tables(rows)
            self._last_at[one.epoch] = max([self._last_at.get(one.epoch, ""), *(row.committed_at for row in rows)])
        if replay:
            self.proof.misfits.add(judge_replays(found, one.told))
            for row in found:
                judged = series.outputs.setdefault(row.output, Judged(row.batch_id, row.batch_id))
                judged.add(row)
        else:
            latest = [other.epoch for other in self._known if other.lane == one.lane][-1]
            outputs = self._subject.lanes.get(one.lane, ()) if one.epoch == latest else ()
            self.proof.misfits.add(series.finish(one.told, outputs))
            self._series.append((one, series))
        if one.lane == self._subject.owner and series.end:
            for topic, numbers in series.end.items():
                ends = self._owner_end.setdefault(topic, {})
                ends |= {part: max(offset, ends.get(part, 0)) for part, offset in numbers.items()}
        for output, judged in series.outputs.items():
            counts = self._counts.get(output)
            rows_there = None if counts is None else sum(counts.get(one.epoch, {}).values())
            self.proof.parts.append(Part(one.lane, output, one.epoch, judged, rows_there))

    def _windows(self, one: _Known) -> Iterator[list[LedgerRow]]:
        """All rows of a series, by batch, so many batches at a time."""
        mine = (pc.field("flow") == self._subject.flow) & (pc.field("lane") == one.lane) & (pc.field("epoch") == one.epoch)
        waiting = self._waiting.get((one.lane, one.epoch), [])
        for window in one.windows:
            first, stop = window * BATCHES_AT_ONCE, (window + 1) * BATCHES_AT_ONCE
            within = mine & (pc.field("batch_id") >= first) & (pc.field("batch_id") < stop)
            rows = [row for piece in self._subject.ledger.stored(within, LEDGER_COLUMNS) for row in rows_of(piece)]
            there = {(row.batch_id, row.output) for row in rows}
            rows += [row for row in waiting if first <= row.batch_id < stop and (row.batch_id, row.output) not in there]
            yield sorted(rows, key=lambda row: (row.batch_id, row.output))

    def _against_tables(self, rows: Sequence[LedgerRow]) -> None:
        by_output = sorted(rows, key=lambda row: (row.output, row.batch_id))
        for output, group in groupby(by_output, key=lambda row: row.output):
            accounts = {row.batch_id: row for row in group}  # one that is there twice is a misfit already
            held = self._held(output, accounts)
            for batch_id, row in accounts.items():
                self.proof.misfits.add(self._of_account(row, held.get(batch_id, {}) if held is not None else None))

    def _held(self, output: str, accounts: Mapping[int, LedgerRow]) -> dict[int, dict[tuple[str, int], Held]] | None:
        """What the history of that name holds of these batches; None for an output that is none of the flow's histories."""
        if output not in self._histories:
            return None
        epoch, lane = (next(iter(accounts.values())).epoch, next(iter(accounts.values())).lane)
        left = self._left[output].get(epoch, {})
        counts = {batch_id: left.pop(batch_id) for batch_id in accounts if batch_id in left}
        letters = {batch_id: tuple(self._letters.of_batch(lane, None, epoch, batch_id).places) for batch_id in counts}
        return dict(self._histories[output].held(epoch, counts, {batch: places for batch, places in letters.items() if places}))

    def _of_account(self, row: LedgerRow, held: Mapping[tuple[str, int], Held] | None) -> Iterator[Misfit]:
        if held is None and not row.dead and not self._letters.count:
            return
        try:
            start, end = offsets_of(row.start_offsets), offsets_of(row.end_offsets)
        except ValueError:  # a misfit already
            start, end = {}, {}
        if held is not None:
            yield from judge_history(row, held, start, end)
        if row.lane == REPLAY_LANE:  # letters stay where they are; their states say what became of them
            return
        own = self._letters.of_batch(row.lane, row.output, row.epoch, row.batch_id)
        undecoded = self._letters.of_batch(row.lane, None, row.epoch, row.batch_id)
        if not row.dead and not self._letters.count:
            return
        between = self._letters.undecoded_between(start, end)
        keeps = row.lane == self._subject.owner
        settled = keeps or not _beyond(end, self._owner_end)
        if not settled and row.dead > len(own.places | between.places):
            self._unsettled[row.lane] += 1
        lettered = sum(one.lettered for one in (held or {}).values())
        yield from judge_letters(row, own, undecoded, between, keeps=keeps, settled=settled, lettered=lettered)

    def leftovers(self, newest: Mapping[tuple[str, str], int]) -> None:
        """What the tables hold of batches that have no account. newest: last account of each series, seen after the tables."""
        lane_of = {output: lane for lane, outputs in self._subject.lanes.items() for output in outputs}
        for output, epochs in self._left.items():
            for epoch, counts in epochs.items():
                lane = next((one.lane for one in self._known if one.epoch == epoch), lane_of.get(output, ""))
                self._no_account(lane, output, epoch, counts, newest, "history row")
        letters: dict[tuple[str, str, str], dict[int, int]] = {}
        last = {(one.lane, one.epoch): one.last for one in self._known}
        for lane, refused_by, epoch, batch_id in self._letters.batches():
            if batch_id > last.get((lane, epoch), -1):
                held = letters.setdefault((lane, refused_by or "", epoch), {})
                held[batch_id] = len(self._letters.of_batch(lane, refused_by, epoch, batch_id).places)
        for (lane, output, epoch), counts in letters.items():
            self._no_account(lane, output, epoch, counts, newest, "dead letter")
        for lane, batches in self._unsettled.items():
            self.proof.notes.append(
                f"{lane}: dead letters of {batches:,} batches are not there yet: lane {self._subject.owner} keeps them and has "
                "not read so far"
            )

    def _no_account(
        self, lane: str, output: str, epoch: str, counts: Mapping[int, int], newest: Mapping[tuple[str, str], int], what: str
    ) -> None:
        last = next((one.last for one in self._known if (one.lane, one.epoch) == (lane, epoch)), -1)
        latest = newest.get((lane, epoch), -1)
        late = sorted(batch_id for batch_id in counts if last < batch_id <= latest + 1)
        if late:
            self.proof.notes.append(
                f"{lane}/{output or 'undecoded'}: {counted(sum(counts[one] for one in late), what)} of batch {late[0]:,}"
                + (f" to {late[-1]:,}" if len(late) > 1 else "")
                + " were written after the accounts were read, or by a batch that has not ended: it is repeated at the next start"
            )
        lost = sorted(set(counts) - set(late))
        if lost:
            text = f"{counted(counts[lost[0]], what)} of a batch that has no account" + (
                f", and {len(lost) - 1:,} more such batches up to {lost[-1]:,}" if len(lost) > 1 else ""
            )
            at = self._last_at.get(epoch, "9")  # what its accounts say comes first
            means = "accounts were taken away, or rows added by somebody else"
            self.proof.misfits.add([Misfit("E411", lane, output, epoch, lost[0], at, text, means)])

    def between_checkpoints(self) -> None:
        """Note where a lane's checkpoint does not begin where the one before it ended."""
        for lane in dict.fromkeys(one.lane for one, _ in self._series):
            of_lane = [(one, series) for one, series in self._series if one.lane == lane]
            for (before, ended), (after, began) in pairwise(of_lane):
                again, skipped = count(ended.end or {}, since=began.start or {}), count(began.start or {}, since=ended.end or {})
                if not began.start or not (again or skipped):
                    continue
                said = [f"{again:,} offsets were read again" if again else "", f"{skipped:,} by neither" if skipped else ""]
                self.proof.notes.append(
                    f"{lane}: checkpoint {after.epoch} does not begin where {before.epoch} ended: {', '.join(filter(None, said))}"
                )


def _beyond(end: Offsets, reached: Offsets) -> bool:
    return any(offset > reached.get(topic, {}).get(part, 0) for topic, numbers in end.items() for part, offset in numbers.items())


def _told(subject: Subject) -> dict[tuple[str, str], int]:
    """The last batch of each lane and checkpoint that the ledger's transactions tell of."""
    found: dict[tuple[str, str], int] = {}
    for application, txn in read_log(subject.ledger.path).stored.items():
        writer, _, epoch = application.rpartition("/")
        lane = writer.rpartition("/")[2]
        if application == app_id(subject.flow, ledger_writer(lane), epoch):
            found[lane, epoch] = txn.version
    return found


def _waiting(journal: PendingRows | None) -> dict[tuple[str, str], list[LedgerRow]]:
    found: dict[tuple[str, str], list[LedgerRow]] = {}
    for lane in journal.lanes() if journal is not None else ():
        for entry in journal.pending(lane) if journal is not None else ():
            found.setdefault((lane, entry.epoch), []).extend(entry.rows)
    return found


def _known(
    subject: Subject, waiting: Mapping[tuple[str, str], Iterable[LedgerRow]], told: Mapping[tuple[str, str], int]
) -> list[_Known]:
    """Every series there is, by the time it began."""
    last: dict[tuple[str, str], int] = dict.fromkeys(told, -1)
    began: dict[tuple[str, str], str] = {}
    windows: dict[tuple[str, str], set[int]] = {}
    for piece in subject.ledger.stored(pc.field("flow") == subject.flow, ["lane", "epoch", "batch_id", "committed_at"]):
        piece = piece.append_column("window", pc.divide(piece["batch_id"], BATCHES_AT_ONCE))
        sums = piece.group_by(["lane", "epoch", "window"]).aggregate([("batch_id", "max"), ("committed_at", "min")])
        for row in sums.to_pylist():
            key, at = (row["lane"], row["epoch"]), row["committed_at_min"].isoformat(timespec="milliseconds")
            last[key] = max(last.get(key, -1), row["batch_id_max"])
            windows.setdefault(key, set()).add(row["window"])
            began[key] = min(began.get(key, at), at)
    for key, rows in waiting.items():
        for row in rows:
            last[key] = max(last.get(key, -1), row.batch_id)
            windows.setdefault(key, set()).add(row.batch_id // BATCHES_AT_ONCE)
            began[key] = min(began.get(key, row.committed_at), row.committed_at)
    found = [_Known(*key, began.get(key, ""), last[key], told.get(key, -1), tuple(sorted(windows.get(key, ())))) for key in last]
    return sorted(found, key=lambda one: (one.began, one.lane, one.epoch))


def _newest(
    told: Mapping[tuple[str, str], int], waiting: Mapping[tuple[str, str], Iterable[LedgerRow]], known: Iterable[_Known]
) -> dict[tuple[str, str], int]:
    newest = dict(told)
    for one in known:
        newest[one.lane, one.epoch] = max(one.last, newest.get((one.lane, one.epoch), -1))
    for key, rows in waiting.items():
        newest[key] = max([newest.get(key, -1), *(row.batch_id for row in rows)])
    return newest


__all__ = ["BATCHES_AT_ONCE", "Part", "Proof", "Subject", "check_ledger"]

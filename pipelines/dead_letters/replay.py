"""Dead letters run again through the flow's decoder, schema and outputs as they are today, in numbered parts.

What a kill right after each step leaves, and what the next replay does, whoever starts it:

    1 plan      nothing                                       does the part again, under the same fence
    2 outputs   some or all events in some outputs            a mirror answers "applied by this very part"; a history has the rows
    3 ledger    everything, and the part's account            as above; the account is not added again
    4 states    all that matters                              forgets the plan

Weeks later, and in any order: a mirror's version guard decides what is still news, a history takes what it lacks.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa

from pipelines.dead_letters.plan import Plan, PlanFile
from pipelines.dead_letters.reading import CONTENT, Letter, Place, Reading, read_again
from pipelines.dead_letters.ready import Readiness
from pipelines.dead_letters.targets import Taken, Target
from pipelines.failpoints import Failpoints
from schemas.ledger import LedgerRow
from schemas.letters import REPLAY_LANE, Fate, Fates, LetterId, LetterState, state_of
from schemas.xdr.options import DecodeOptions
from sinks.contract import Fence
from sinks.delta.ledger import LedgerTable
from sinks.delta.letter_book import LetterBook
from sinks.delta.letter_keys import LetterKey
from sinks.delta.letter_states import Act, NewState

PART_LETTERS = 1_000
PART_BYTES = 16 << 20
"""A part is held in memory: so many letters, or so many bytes of their values, at most."""
_WORST_FIRST = (Fate.DEAD, Fate.APPLIED, Fate.SUPERSEDED, Fate.DUPLICATE, Fate.UNSELECTED)


@dataclass(slots=True)
class Done:
    """What a replay did: letters by state, and of those still waiting by reason; events by output and fate."""

    states: Counter[LetterState] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    fates: dict[str, Counter[Fate]] = field(default_factory=dict)
    parts: int = 0

    @property
    def letters(self) -> int:
        """All of them."""
        return sum(self.states.values())


class _Account(NamedTuple):
    """One output's share of a part."""

    row: LedgerRow
    taken: dict[Place, Taken]


class Replay:
    """Replays letters of one flow. Whoever runs it holds the lease (`pipelines.dead_letters.desk`).

    targets: the flow's outputs by name. told: called after each part.
    require_lease: raises Terminal E424 once another process acts on the letters; asked before every step.
    """

    def __init__(
        self,
        flow: str,
        options: DecodeOptions,
        targets: Mapping[str, Target],
        readiness: Readiness,
        book: LetterBook,
        ledger: LedgerTable,
        failpoints: Failpoints,
        told: Callable[[Done], None] = lambda done: None,
        require_lease: Callable[[], None] = lambda: None,
    ) -> None:
        self._require_lease = require_lease
        self._flow = flow
        self._options = options
        self._targets = targets
        self._readiness = readiness
        self._book = book
        self._ledger = ledger
        self._failpoints = failpoints
        self._told = told
        self._plan = PlanFile(book.states.path)

    def finish_cut_part(self, with_own_letter: Collection[LetterId]) -> Done:
        """Do again the part an earlier replay was cut in, if there is one; under its name and number."""
        done = Done()
        plan = self._plan.read()
        if plan is None:
            return done
        if not self._book.states.holds(plan.act.id, plan.part):
            contents = self._book.contents(plan.keys, CONTENT)
            ready = set(self._readiness.split(contents).keys)
            letters = [Letter(key, row) for key, row in contents.items() if key in ready]
            self._part(plan.act, plan.part, letters, read_again(letters, self._options, with_own_letter), done)
        self._plan.clear()
        return done

    def run(self, act: Act, keys: Sequence[LetterKey], with_own_letter: Collection[LetterId]) -> Done:
        """Replay the letters of `keys`, which are ready. Raises what an output raises; the part is then finished next time."""
        done = Done()
        for number, letters in enumerate(parts(Letter(*found) for found in self._book.stream(keys, CONTENT))):
            reading = read_again(letters, self._options, with_own_letter)  # first: what cannot be read at all leaves no plan
            self._require_lease()
            self._plan.write(Plan(act, number, tuple(letter.key for letter in letters)))
            self._failpoints.hit(f"{REPLAY_LANE}:after_plan", batch_id=number)
            self._part(act, number, letters, reading, done)
            self._told(done)
        self._require_lease()
        self._plan.clear()
        return done

    def _part(self, act: Act, number: int, letters: Sequence[Letter], reading: Reading, done: Done) -> None:
        fence = Fence(act.id, number)
        outputs = [[name for name in self._readiness.outputs_of(letter.key) if name in self._targets] for letter in letters]
        accounts: dict[str, _Account] = {}
        for name in self._targets:
            asking = [place for place, names in enumerate(outputs) if name in names]
            if asking:
                self._require_lease()
                accounts[name] = self._apply(name, reading, letters, asking, fence)
                self._failpoints.hit(f"{REPLAY_LANE}:after_{name}", batch_id=number)
        rows = [account.row for account in accounts.values()]
        for row in rows:
            row.require_balance()
        self._require_lease()
        if rows:
            self._ledger.append(rows)
        self._failpoints.hit(f"{REPLAY_LANE}:after_ledger", batch_id=number)
        states = []
        for place, letter in enumerate(letters):
            taken = {name: accounts[name].taken for name in outputs[place]}
            states.append(self._new_state(letter, reading, reading.wanted[place], taken, done))
        self._require_lease()
        self._book.states.append(act, number, states)
        self._failpoints.hit(f"{REPLAY_LANE}:after_states", batch_id=number)
        for name, account in accounts.items():
            counts = done.fates.setdefault(name, Counter())
            counts.update(taken.fate for taken in account.taken.values())
        done.parts += 1

    def _apply(self, name: str, reading: Reading, letters: Sequence[Letter], asking: Sequence[int], fence: Fence) -> _Account:
        """Give one output what the letters at the places `asking` want, and make the account of it."""
        started = time.monotonic()
        places = list(dict.fromkeys(place for letter in asking for place in reading.wanted[letter]))
        empty = sum(not reading.wanted[letter] for letter in asking)
        rows = reading.rows.take(pa.array([reading.row_at[place] for place in places], pa.int64()))
        errors, selected = rows.column("error").to_pylist(), rows.column("selected").to_pylist()
        taken: dict[Place, Taken] = {}
        events = []
        for row, place in enumerate(places):
            if errors[row] is not None:
                taken[place] = Taken(Fate.DEAD, errors[row]["code"], errors[row]["detail"])
            elif not selected[row]:
                taken[place] = Taken(Fate.UNSELECTED)
            else:
                events.append(row)
        given = rows.take(pa.array(events, pa.int64()))
        for row, answer in zip(events, self._targets[name].take(given, fence) if events else (), strict=True):
            taken[places[row]] = answer
        luts = [lut for lut in given.column("lut_ms").to_pylist() if lut is not None]
        fates = Counter(answer.fate for answer in taken.values())
        return _Account(
            LedgerRow(
                flow=self._flow,
                lane=REPLAY_LANE,
                output=name,
                epoch=fence.epoch,
                batch_id=fence.batch_id,
                committed_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                messages=len({letters[place].key.message for place in asking}),
                rows_read=len(places) + empty,
                unselected=fates[Fate.UNSELECTED],
                events_in=len(places) + empty - fates[Fate.UNSELECTED],
                applied=fates[Fate.APPLIED],
                superseded=fates[Fate.SUPERSEDED],
                duplicate=fates[Fate.DUPLICATE],
                dead=fates[Fate.DEAD] + empty,
                past_horizon=sum(answer.past_horizon for answer in taken.values()),
                unversioned=len(events) - len(luts),
                seconds=round(time.monotonic() - started, 4),
                max_lut_ms=max(luts, default=None),
                start_offsets="{}",
                end_offsets="{}",
            ),
            taken,
        )

    def _new_state(
        self,
        letter: Letter,
        reading: Reading,
        wanted: Sequence[Place],
        taken: Mapping[str, Mapping[Place, Taken]],
        done: Done,
    ) -> NewState:
        code = detail = ""
        by_output: dict[str, Fate] = {}
        for name, answers in taken.items():
            if wanted:
                worst = min((answers[place] for place in wanted), key=lambda answer: _WORST_FIRST.index(answer.fate))
            else:
                holds = reading.elements(letter.key.message)
                worst = Taken(Fate.DEAD, letter.content["code"], f"the message holds {holds} events now, and none at this place")
            by_output[name] = worst.fate
            if worst.fate is Fate.DEAD:
                code, detail = worst.code, worst.detail
        fates = Fates(by_output, code, detail)
        state = state_of(fates, frozenset(name for name, target in self._targets.items() if target.versioned))
        done.states[state] += 1
        if state is LetterState.WAITING:
            done.reasons[code] += 1
        said = {name: fate.value for name, fate in by_output.items()}
        return NewState(letter.key, letter.content["epoch"], state, fates.code or None, fates.detail or None, said)


def parts(letters: Iterable[Letter], most: int = PART_LETTERS, most_bytes: int = PART_BYTES) -> Iterator[list[Letter]]:
    """Letters in groups that fit into memory; a letter of any size is in one."""
    held: list[Letter] = []
    size = 0
    for letter in letters:
        value = len(letter.content["value"] or b"")
        if held and (len(held) >= most or size + value > most_bytes):
            yield held
            held, size = [], 0
        held.append(letter)
        size += value
    if held:
        yield held


__all__ = ["Done", "PART_BYTES", "PART_LETTERS", "Replay", "parts"]

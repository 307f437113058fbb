"""The commit of one batch as a pure state machine: which calls are next, and what their answers mean.

It makes no call, knows no clock and no thread, so that every interleaving of answers, failures and crashes can be tried
in a test. `weir.consumers.commit.commit` drives it: it makes the calls, several at once and in any order, and brings
the answers.

    start -> look up marks, where that pays -> launch -> transactions, those of a chain one after the other
                                                      -> inserts of what needs no transaction
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from weir.consumers.commit.pending import SURELY_SMALL_BYTES, Contents, Work, content_bytes, key_of
from weir.consumers.commit.plan import CHANGES_BYTES_MAX, CHANGES_MAX, plan
from weir.consumers.commit.recent_marks import Memory
from weir.consumers.commit.strands import Answer, Committing, Inserting, LookUp, Setting, Step
from weir.consumers.events_table.actions import compile_changes
from weir.consumers.events_table.item import EventResult, Prepared
from weir.consumers.events_table.port import INSERT_ITEMS_MAX, READ_KEYS_MAX, Call, Place
from weir.consumers.outcome import Outcome
from weir.ingest.errors import ConfigError, EventTooLarge, RecordError, StoreUnavailable, TransientError


class Task(NamedTuple):
    """A step that may go on, ``delay_s`` from now."""

    step: Step
    delay_s: float = 0.0


class Session:
    """One batch. Steps come from `start`, `begin` and `answer`; when none is left, every event has its outcome."""

    def __init__(self, prepared: Sequence[Prepared], place: Place, memory: Memory, *, now_ms: int, rng: Random) -> None:
        self._memory = memory
        self._setting = Setting(place.events_table, now_ms, rng, Contents(place.has_bucket))
        self._works = [_work(index, one, place.tables) for index, one in enumerate(prepared)]
        self._hinted: set[str] = set()
        self._waits: dict[Step, int] = {}  # for how many transactions this one still has to wait
        self._behind: dict[Step, list[Step]] = {}
        self._unlocked: list[Task] = []
        self._lookups_count = 0
        self.is_stopped = False
        self.calls_count = 0
        self.bugs: list[BaseException] = []
        _link(self._works)

    @property
    def write_units(self) -> float:
        """Return the write units that the answers told of."""
        return self._setting.write_units

    def start(self) -> list[Task]:
        """Return the first steps."""
        asked = [work for work in self._works if self._should_look(work)]
        lookups = [LookUp(asked[at : at + READ_KEYS_MAX], self._setting) for at in range(0, len(asked), READ_KEYS_MAX)]
        self._lookups_count = len(lookups)
        return [Task(step) for step in lookups] or self._launch()

    def begin(self, step: Step) -> tuple[Call | None, list[Task]]:
        """Return the next call of a step, None when it is over; and the steps that may go on because of that."""
        call = None if self.is_stopped else step.call()
        if call is not None:
            self.calls_count += 1
        elif not self.is_stopped:
            self._finish(step)
        return call, self._take_unlocked()

    def answer(self, step: Step, answer: Answer) -> list[Task]:
        """Take the answer to the call of a step; return the steps that go on."""
        try:
            delay_s = step.settle(answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, no record may be lost for it
            self._fail(error)
            return []
        for work in step.works:
            self._spread(work)
        return [Task(step, delay_s), *self._take_unlocked()]

    def results(self, default: TransientError) -> list[EventResult]:
        """End the commit: what has no outcome is left to the next batch. Return the results in the events' order."""
        self.is_stopped = True
        error = self._setting.last_error or default
        marked = []
        for work in self._works:
            work.settle(Outcome.RETRY, error=error)
            if work.outcome is not None and work.outcome.outcome.is_done:
                marked.append(work)
                self._memory.add(work.key)
        unforeseen = [work for work in marked if work.was_present and work.key not in self._hinted]
        self._memory.observe(len(unforeseen), len(marked))
        return [work.outcome for work in self._works if work.outcome is not None]

    def _should_look(self, work: Work) -> bool:
        if work.outcome is not None or work.head is not None or work.prepared.fate == "quarantine":
            return False
        if work.key in self._memory:
            self._hinted.add(work.key)
            return True
        return self._memory.reads_ahead

    def _launch(self) -> list[Task]:
        """Plan what is left after the look-up."""
        self._hold_back()
        left = [work for work in self._works if work.outcome is None]
        cheap = [work for work in left if work.is_cheap and work.head is None]
        planned = [work for work in left if not (work.head or work).is_cheap]
        for work in left:
            # Before the first call: once calls are under way their threads take the interpreter's lock at every
            # deflate, and the last transaction, which the batch waits for, would be sent later.
            if work.head is None:
                work.pack()
        for work in planned:
            work.is_planned = True
        steps = self._transactions(planned)
        steps += [self._inserting(cheap[at : at + INSERT_ITEMS_MAX]) for at in range(0, len(cheap), INSERT_ITEMS_MAX)]
        return [Task(step) for step in steps]

    def _hold_back(self) -> None:
        """Leave to the next batch what must not overtake an event that has to wait."""
        waiting: dict[tuple[str, str], str] = {}
        for work in self._works:
            if work.outcome is None and (waiting or work.size_bytes >= SURELY_SMALL_BYTES or work.prepared.count > 1):
                work.hold_back_behind(waiting, self._setting.contents)
            if work.outcome is not None and work.outcome.outcome is Outcome.RETRY:
                self._spread(work)
                waiting.update((touch, "") for touch in work.resources())

    def _transactions(self, works: list[Work]) -> list[Step]:
        """Return the transactions that may start at once; the others are unlocked by those that they wait for."""
        groups = plan([work.unit() for work in works])
        steps: list[Step] = [Committing([works[at] for at in group.members], self._setting) for group in groups]
        for step, group in zip(steps, groups, strict=True):
            self._waits[step] = len(group.after)
            for before in group.after:
                self._behind.setdefault(steps[before], []).append(step)
        return [step for step in steps if not self._waits[step]]

    def _inserting(self, works: list[Work]) -> Step:
        return Inserting(works, self._setting, self._hand_over)

    def _hand_over(self, work: Work) -> None:
        work.is_planned = True
        self._unlocked.append(Task(Committing([work], self._setting)))

    def _finish(self, step: Step) -> None:
        if isinstance(step, LookUp):
            self._lookups_count -= 1
            if not self._lookups_count:
                self._unlocked += self._launch()
        for later in self._behind.pop(step, ()):
            self._waits[later] -= 1
            if not self._waits[later]:
                self._unlocked.append(Task(later))

    def _spread(self, work: Work) -> None:
        """Let the later events with the same id follow the first."""
        promoted = work.spread()
        if promoted is not None and not promoted.is_planned:
            self._hand_over(promoted)

    def _fail(self, error: Exception) -> None:
        self.is_stopped = True
        if not isinstance(error, ConfigError):
            self.bugs.append(error)
        self._setting.last_error = StoreUnavailable(str(error), cause=type(error).__name__)

    def _take_unlocked(self) -> list[Task]:
        unlocked, self._unlocked = self._unlocked, []
        return unlocked


def _work(index: int, prepared: Prepared, tables: Mapping[str, str]) -> Work:
    work = Work(index, prepared, key_of(prepared), content_bytes(prepared))
    if isinstance(prepared.error, TransientError):
        work.settle(Outcome.RETRY, error=prepared.error)
    try:
        work.actions = compile_changes(prepared.changes, tables)
        size_bytes = sum(action.size_bytes for action in work.actions)
        if len(work.actions) > CHANGES_MAX or size_bytes > CHANGES_BYTES_MAX:
            raise EventTooLarge("", items=len(work.actions), bytes=size_bytes)
    except RecordError as error:
        work.refuse(error)
    return work


def _link(works: Iterable[Work]) -> None:
    """Tie the events with equal keys to the first of them."""
    first: dict[str, Work] = {}
    for work in works:
        if work.prepared.fate != "wait" and (head := first.setdefault(work.key, work)) is not work:
            work.head = head
            head.followers.append(work)

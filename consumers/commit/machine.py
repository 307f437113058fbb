"""The commit of one batch as a pure state machine: which calls are next, and what their answers mean.

It makes no call, knows no clock and no thread, so that every interleaving of answers, failures and crashes can be tried
in a test. `weir.consumers.commit.commit` drives it: it makes the calls, several at once and in any order, and brings
the answers.

    start -> look up marks, where that pays -> launch -> transactions, those of a chain one after the other
                                                      -> inserts of what needs no transaction
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from weir.consumers.commit.contents import Contents, may_be_large
from weir.consumers.commit.pending import CommitState, PendingEvent, begin, link
from weir.consumers.commit.plan import plan
from weir.consumers.commit.recent_marks import RecentMarks
from weir.consumers.commit.strands import Answer, Committing, Inserting, LookUp, Step
from weir.consumers.events_table.item import EventResult, JudgedEvent
from weir.consumers.events_table.port import INSERT_ITEMS_MAX, READ_KEYS_MAX, StoreCall, StoreLayout
from weir.ingest.errors import CommitConflict, ConfigError, StoreUnavailable, TransientError

# How many objects of the bucket are written one after another before the items that point to them.
_UPLOADS = 5


class Task(NamedTuple):
    """A step that may go on, ``delay_s`` from now."""

    step: Step
    delay_s: float = 0.0


class Session:
    """One batch. Steps come from `start`, `begin` and `answer`; when none is left, every event has its outcome."""

    def __init__(
        self,
        judged: Sequence[JudgedEvent],
        layout: StoreLayout,
        recent: RecentMarks,
        *,
        now_ms: int,
        rng: Random,
        refuses_past: bool = False,
        marks_first: bool = False,
    ) -> None:
        self._recent = recent
        self._state = CommitState(layout.events_table, now_ms, rng)
        self._contents = Contents(has_bucket=layout.has_bucket)
        self._events = [
            begin(index, one, layout.tables, now_ms=now_ms, refuses_past=refuses_past, marks_first=marks_first)
            for index, one in enumerate(judged)
        ]
        self._hinted: set[str] = set()
        self._waits: dict[Step, int] = {}  # for how many transactions this one still has to wait
        self._behind: dict[Step, list[Step]] = {}
        self._unlocked: list[Task] = []
        self._lookups_count = 0
        self.is_stopped = False
        self.calls_count = 0
        self.bugs: list[BaseException] = []
        link(self._events)

    @property
    def write_units(self) -> float:
        """Return the write units that the answers reported."""
        return self._state.write_units

    def start(self) -> list[Task]:
        """Return the first steps."""
        asked = [event for event in self._events if self._should_look(event)]
        lookups = [self._make(LookUp, asked[at : at + READ_KEYS_MAX]) for at in range(0, len(asked), READ_KEYS_MAX)]
        self._lookups_count = len(lookups)
        return [Task(step) for step in lookups] or self._launch()

    def begin(self, step: Step) -> tuple[StoreCall | None, list[Task]]:
        """Return the next call of a step, None when it is over; and the steps that may go on because of that."""
        call = None if self.is_stopped else step.call()
        for event in step.give_away():
            self._transact_alone(event)
        if call is not None:
            self.calls_count += 1
        elif not self.is_stopped:
            self._finish(step)
        return call, self._take_unlocked()

    def answer(self, step: Step, answer: Answer) -> list[Task]:
        """Take the answer to the call of a step; return the steps that go on."""
        try:
            delay_s = step.settle(answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, no record may be lost by it
            self._fail(error)
            return []
        for event in step.events:
            self._spread(event)
        return [Task(step, delay_s), *self._take_unlocked()]

    def results(self, default: TransientError) -> list[EventResult]:
        """End the commit: what has no outcome is left to the next batch. Return the results in the events' order."""
        self.is_stopped = True
        error = self._state.last_error or default
        marked = []
        for event in self._events:
            event.leave(error)
            if event.has_mark:
                marked.append(event)
                self._recent.add(event.key)
        unforeseen = [event for event in marked if event.was_present and event.key not in self._hinted]
        self._recent.observe(len(unforeseen), len(marked))
        return [event.result for event in self._events if event.result is not None]

    def _should_look(self, event: PendingEvent) -> bool:
        if event.result is not None or event.head is not None or event.judged.decision == "quarantine":
            return False
        if event.is_past:  # its mark is read consistently
            return False
        if event.key in self._recent:
            self._hinted.add(event.key)
            return True
        return self._recent.reads_ahead

    def _launch(self) -> list[Task]:
        """Plan what is left after the look-up."""
        self._hold_back()
        left = [event for event in self._events if event.result is None]
        cheap = [event for event in left if event.is_cheap and event.head is None]
        planned = [event for event in left if not (event.head or event).is_cheap]
        for event in left:
            # Before the first call: once calls are under way their threads take the interpreter's lock at every
            # deflate, and the last transaction, which the batch waits for, would be sent later.
            if event.head is None:
                event.pack()
        for event in planned:
            event.enter_plan()
        # What waits for the bucket goes apart, last and in small parts: uploads run beside each other, and a flood of
        # large forgeries makes no other event wait for them.
        slow = [event for event in cheap if event.blob is not None]
        fast = [event for event in cheap if event.blob is None]
        steps = [*self._transactions(planned), *self._inserts(fast, INSERT_ITEMS_MAX), *self._inserts(slow, _UPLOADS)]
        return [Task(step) for step in steps]

    def _inserts(self, events: list[PendingEvent], size: int) -> list[Step]:
        return [self._make(Inserting, events[at : at + size]) for at in range(0, len(events), size)]

    def _hold_back(self) -> None:
        """Leave to the next batch what must not overtake an event that has to wait."""
        waiting: set[tuple[str, str]] = set()
        for event in self._events:
            if event.result is None and (waiting or may_be_large(event)):
                self._hold_back_one(event, waiting)
            if event.is_left:
                self._spread(event)
                waiting.update(event.resources())

    def _hold_back_one(self, event: PendingEvent, waiting: set[tuple[str, str]]) -> None:
        if not waiting.isdisjoint(event.resources()):
            event.leave(CommitConflict("It waits behind an earlier event of its key or its items."))
        elif error := self._contents.decide(event):
            event.leave(error)

    def _transactions(self, events: list[PendingEvent]) -> list[Step]:
        """Return the transactions that may start at once; the others are unlocked by those that they wait for."""
        groups = plan([event.unit() for event in events])
        steps: list[Step] = [self._make(Committing, [events[at] for at in group.members]) for group in groups]
        for step, group in zip(steps, groups, strict=True):
            self._waits[step] = len(group.after)
            for before in group.after:
                self._behind.setdefault(steps[before], []).append(step)
        return [step for step in steps if not self._waits[step]]

    def _make(self, kind: type[Step], events: list[PendingEvent]) -> Step:
        return kind(events, self._state, self._contents)

    def _transact_alone(self, event: PendingEvent) -> None:
        event.enter_plan()
        self._unlocked.append(Task(self._make(Committing, [event])))

    def _finish(self, step: Step) -> None:
        if isinstance(step, LookUp):
            self._lookups_count -= 1
            if not self._lookups_count:
                self._unlocked += self._launch()
        for later in self._behind.pop(step, ()):
            self._waits[later] -= 1
            if not self._waits[later]:
                self._unlocked.append(Task(later))

    def _spread(self, event: PendingEvent) -> None:
        """Let the later events with the same id follow the first."""
        for released in event.spread():
            if not released.is_planned and not self._lookups_count:  # after the look-up all that is left is planned
                self._transact_alone(released)

    def _fail(self, error: Exception) -> None:
        self.is_stopped = True
        if not isinstance(error, ConfigError):
            self.bugs.append(error)
        self._state.fail(StoreUnavailable(str(error), cause=type(error).__name__))

    def _take_unlocked(self) -> list[Task]:
        unlocked, self._unlocked = self._unlocked, []
        return unlocked

"""The strands of calls that a commit is made of; each makes one call at a time and takes its answer.

A step never waits and never calls: `call` says what is next (None when the step is over), `settle` takes the answer and
returns the pause before the next one. What it waits for is in the open: the answer to
`Step.under_way`, whose kind decides what the answer means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from weir.consumers.commit.cancellations import read_inserted, read_reasons, refusal
from weir.consumers.commit.contents import Contents
from weir.consumers.commit.pending import CommitState, PendingEvent
from weir.consumers.commit.transaction import Transaction, build, entangled, fill, insertable
from weir.consumers.events_table.port import (
    INSERT_ITEMS_MAX,
    READ_KEYS_MAX,
    Cancelled,
    Insert,
    Inserted,
    PutPayload,
    ReadMarks,
    Refused,
    StoreCall,
    Transact,
)
from weir.ingest.errors import TransientError

Answer: TypeAlias = object  # what a call returned, or the exception that it raised

# A cancelled transaction with this share of events already present means a replay: the marks of the others are read
# before they are written.
_REPLAY_SHARE = 0.05
_REPLAY_COUNT = 3


class Step:
    """A strand of calls about some events; `_next` of its children says what is next."""

    def __init__(self, events: list[PendingEvent], state: CommitState, contents: Contents) -> None:
        self.events = events
        self.under_way: StoreCall | None = None
        self._state = state
        self._contents = contents
        self._attempt = 0
        self._asked: list[PendingEvent] = []  # whose marks the call under way reads

    def call(self) -> StoreCall | None:
        """Return the next call; None when nothing is left to do."""
        self.under_way = self._next()
        return self.under_way

    def settle(self, answer: Answer) -> float:
        """Take the answer to the call under way; return the seconds to wait before the next.

        Raises: the answer itself, if it is an exception of no kind that the port knows.
        """
        call, self.under_way = self.under_way, None
        error = answer if isinstance(answer, TransientError) else self._take(call, answer)
        if error is None:
            self._attempt = 0
            return 0.0
        self._attempt += 1
        self._state.fail(error)
        return self._state.pause_s(self._attempt)

    def give_away(self) -> list[PendingEvent]:
        """Return events that left this step for a transaction of their own, once."""
        return []

    def _next(self) -> StoreCall | None:
        raise NotImplementedError

    def _take(self, call: StoreCall | None, answer: Answer) -> TransientError | None:
        """Take an answer; return what was wrong with it that only time can fix."""
        if isinstance(call, ReadMarks) and isinstance(answer, Mapping):
            for event in self._asked:
                event.learn(answer.get(event.key))
            return None
        if isinstance(call, PutPayload) and not isinstance(answer, BaseException):
            self._contents.uploaded(call.key)
            return None
        if isinstance(call, Transact | Insert):
            return self._take_write(answer)
        return _unexpected(answer)

    def _take_write(self, answer: Answer) -> TransientError | None:
        return _unexpected(answer)

    def _read(self, events: list[PendingEvent], *, consistent: bool) -> StoreCall:
        self._asked = events[:READ_KEYS_MAX]
        return ReadMarks([event.key for event in self._asked], consistent=consistent)

    def _upload(self, events: list[PendingEvent]) -> StoreCall | None:
        missing = self._contents.missing(events)
        return None if missing is None else PutPayload(*missing)


def _unexpected(answer: Answer) -> TransientError | None:
    raise answer if isinstance(answer, BaseException) else AssertionError("an answer to no call")


class LookUp(Step):
    """Reads marks before anything is written; if that does not work, the transactions find out by themselves."""

    def __init__(self, events: list[PendingEvent], state: CommitState, contents: Contents) -> None:
        super().__init__(events, state, contents)
        self._is_over = False

    def settle(self, answer: Answer) -> float:
        """Take the marks; a second failure ends the step like an answer."""
        self._is_over = not isinstance(answer, TransientError) or self._attempt > 0
        return super().settle(answer)

    def _next(self) -> StoreCall | None:
        return None if self._is_over else self._read(self.events, consistent=False)


@dataclass(slots=True, eq=False)
class _Segment:
    """Events that go into one transaction. ``suspect``: all are known to fail together, and no other half did."""

    events: list[PendingEvent]
    suspect: bool = False


class Committing(Step):
    """A transaction, and those that it falls apart into when some of its events cannot be applied."""

    def __init__(self, events: list[PendingEvent], state: CommitState, contents: Contents) -> None:
        super().__init__(events, state, contents)
        self._segments = [_Segment(list(events))]
        self._token = ""
        self._sent: Transaction | None = None
        self._looked_ahead = False

    def _next(self) -> StoreCall | None:
        if self._sent is not None:
            return Transact(self._sent.requests, self._token)  # the last answer was lost: the very same again
        while self._segments:
            segment = self._segments[0]
            segment.events = [event for event in segment.events if event.result is None]
            if not segment.events:
                self._segments.pop(0)
            elif segment.suspect and len(segment.events) > 1:
                self._halve(segment)
            else:
                return self._next_of(segment)
        return None

    def _next_of(self, segment: _Segment) -> StoreCall:
        if doubtful := [event for event in segment.events if event.doubtful]:
            return self._read(doubtful, consistent=True)
        if self._state.reads_ahead and not self._looked_ahead:
            self._looked_ahead = True
            return self._read([event for event in segment.events if event.head is None], consistent=False)
        return self._upload(segment.events) or self._transact(segment)

    def _transact(self, segment: _Segment) -> StoreCall:
        taken = fill(segment.events)
        if len(taken) < len(segment.events):
            self._segments.insert(1, _Segment(segment.events[len(taken) :]))
            segment.events = taken
        self._sent = build(taken, self._state.events_table, self._state.now_ms)
        self._token = f"{self._state.rng.getrandbits(128):032x}"
        return Transact(self._sent.requests, self._token)

    def _take_write(self, answer: Answer) -> TransientError | None:
        sent, self._sent = self._sent, None
        if sent is None:
            return _unexpected(answer)
        if isinstance(answer, Cancelled):
            return self._take_reasons(sent, answer)
        if isinstance(answer, Refused):
            self._isolate(str(answer))
            return None
        if not isinstance(answer, int | float):
            return _unexpected(answer)
        self._state.consume(answer)
        for role in sent.roles:
            if role.kind in ("mark", "quarantine"):
                role.events[0].written()
        return None

    def _take_reasons(self, sent: Transaction, cancelled: Cancelled) -> TransientError | None:
        found = read_reasons(sent.roles, cancelled.reasons)
        present = sum(event.result is not None for event in sent.events)
        if present >= max(_REPLAY_COUNT, _REPLAY_SHARE * len(sent.events)):
            self._state.recognise_replay()
        if found.unclear and not found.progress:
            self._isolate(found.unclear)
        elif found.stuck and self._attempt > 0:
            self._set_apart(found.stuck)
        return found.transient

    def _set_apart(self, stuck: list[PendingEvent]) -> None:
        """Let those go first that have nothing to do with items that are throttled or in conflict again and again."""
        segment = self._segments[0]
        behind = entangled(segment.events, stuck)
        free = [event for event in segment.events if event not in behind]
        if free:
            self._segments[0] = _Segment(free)
            self._segments.insert(1, _Segment([event for event in segment.events if event in behind]))

    def _isolate(self, message: str) -> None:
        """Find what the store will never take, by halves and so in O(log n) calls, and refuse that alone."""
        segment = self._segments[0]
        if len(self._segments) > 1:
            self._segments[1].suspect = False  # the fault is in this half; the other may be sound
        if len(segment.events) == 1:
            segment.events[0].refuse(refusal(message))
        else:
            self._halve(segment)

    def _halve(self, segment: _Segment) -> None:
        middle = len(segment.events) // 2
        self._segments[0] = _Segment(segment.events[:middle])
        self._segments.insert(1, _Segment(segment.events[middle:], suspect=True))


class Inserting(Step):
    """Writes events that need no transaction, each if its key is free; gives away those that turn out to need one."""

    def __init__(self, events: list[PendingEvent], state: CommitState, contents: Contents) -> None:
        super().__init__(events, state, contents)
        self._leaving: list[PendingEvent] = []
        self._limit = INSERT_ITEMS_MAX
        self._sent: list[PendingEvent] = []

    def _next(self) -> StoreCall | None:
        for event in [event for event in self.events if event.result is None and (event.fence or event.refusal)]:
            self.events.remove(event)
            self._leaving.append(event)
        events = [event for event in self.events if event.result is None]
        if not events:
            return None
        if doubtful := [event for event in events if event.doubtful]:
            return self._read(doubtful, consistent=True)
        return self._upload(events) or self._insert(events[: self._limit])

    def give_away(self) -> list[PendingEvent]:
        leaving, self._leaving = self._leaving, []
        return leaving

    def _insert(self, events: list[PendingEvent]) -> StoreCall:
        self._sent = events
        return Insert([insertable(event, self._state.now_ms) for event in events])

    def _take_write(self, answer: Answer) -> TransientError | None:
        if isinstance(answer, Refused):
            self._shrink(str(answer))
            return None
        if not isinstance(answer, Inserted):
            return _unexpected(answer)
        self._state.consume(answer.write_units)
        return read_inserted(self._sent, answer.reasons)

    def _shrink(self, message: str) -> None:
        if len(self._sent) == 1:
            self._sent[0].refuse(refusal(message))
        self._limit = max(1, len(self._sent) // 2)

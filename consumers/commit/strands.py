"""The strands of calls that a commit is made of; each makes one call at a time and takes its answer.

A step never waits and never calls: `call` says what is next (None when the step is over), `settle` takes the answer and
returns the pause before the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from weir.consumers.commit.cancellations import read_inserted, read_reasons, refusal
from weir.consumers.commit.pending import Contents, Work
from weir.consumers.commit.transaction import Transaction, build, entangled, fill, insertable
from weir.consumers.events_table.port import (
    INSERT_ITEMS_MAX,
    READ_KEYS_MAX,
    Call,
    Cancelled,
    Insert,
    Inserted,
    PutPayload,
    ReadMarks,
    Refused,
    Transact,
)
from weir.ingest.errors import TransientError

Answer: TypeAlias = object  # what a call returned, or the exception that it raised

# Full jitter: a pause is uniform between nothing and the base doubled with every attempt, up to the cap.
# Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
BACKOFF_BASE_S = 0.025
BACKOFF_CAP_S = 2.0

# A cancelled transaction with this share of events already present means a replay: the marks of the others are read
# before they are written.
_REPLAY_SHARE = 0.05
_REPLAY_COUNT = 3


@dataclass(slots=True, eq=False)
class Setting:
    """What all steps of a commit share."""

    events_table: str
    now_ms: int
    rng: Random
    contents: Contents
    reads_ahead: bool = False
    write_units: float = 0.0
    last_error: TransientError | None = None

    def pause_s(self, attempt: int) -> float:
        """Return how long to wait before trying again for the ``attempt``-th time, counted from 1."""
        return self.rng.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempt, 16)))


class Step:
    """A strand of calls about some events; `call` of its children says what is next."""

    def __init__(self, works: list[Work], setting: Setting) -> None:
        self.works = works
        self._setting = setting
        self._attempt = 0
        self._take: _Take = _unexpected
        self._asked: list[Work] = []
        self._payload = ""

    def call(self) -> Call | None:
        """Return the next call; None when nothing is left to do."""
        raise NotImplementedError

    def settle(self, answer: Answer) -> float:
        """Take the answer to the last call; return the seconds to wait before the next.

        Raises: the answer itself, if it is an exception of no kind that the port knows.
        """
        error = answer if isinstance(answer, TransientError) else self._take(self, answer)
        if error is None:
            self._attempt = 0
            return 0.0
        self._attempt += 1
        self._setting.last_error = error
        return self._setting.pause_s(self._attempt)

    def _read(self, works: list[Work], *, consistent: bool) -> Call:
        self._asked = works[:READ_KEYS_MAX]
        self._take = Step._take_marks
        return ReadMarks([work.key for work in self._asked], consistent=consistent)

    def _upload(self, works: list[Work]) -> Call | None:
        missing = self._setting.contents.missing(works)
        if missing is None:
            return None
        self._payload, blob = missing
        self._take = Step._take_upload
        return PutPayload(self._payload, blob)

    def _take_marks(self, answer: Answer) -> TransientError | None:
        if not isinstance(answer, Mapping):
            return _unexpected(self, answer)
        for work in self._asked:
            work.doubtful = False
            if (mark := answer.get(work.key)) is not None:
                work.meet(mark)
        return None

    def _take_upload(self, answer: Answer) -> TransientError | None:
        if isinstance(answer, BaseException):
            raise answer
        self._setting.contents.kept.add(self._payload)
        return None


# A plain function and no bound method: a step that refers to itself would keep the whole batch in memory until the
# next collection of garbage.
_Take: TypeAlias = Callable[[Any, Answer], TransientError | None]


def _unexpected(_: Step, answer: Answer) -> TransientError | None:
    raise answer if isinstance(answer, BaseException) else AssertionError("an answer to no call")


class LookUp(Step):
    """Reads marks before anything is written; if that does not work, the transactions find out by themselves."""

    def __init__(self, works: list[Work], setting: Setting) -> None:
        super().__init__(works, setting)
        self._is_over = False

    def call(self) -> Call | None:
        return None if self._is_over else self._read(self.works, consistent=False)

    def settle(self, answer: Answer) -> float:
        self._is_over = not isinstance(answer, TransientError) or self._attempt > 0
        return super().settle(answer)


@dataclass(slots=True, eq=False)
class _Segment:
    """Events that go into one transaction. ``suspect``: all are known to fail together, and no other half did."""

    works: list[Work]
    suspect: bool = False


class Committing(Step):
    """A transaction, and those that it falls apart into when some of its events cannot be applied."""

    def __init__(self, works: list[Work], setting: Setting) -> None:
        super().__init__(works, setting)
        self._segments = [_Segment(list(works))]
        self._token = ""
        self._sent: Transaction | None = None
        self._looked_ahead = False

    def call(self) -> Call | None:
        if self._sent is not None:
            return Transact(self._sent.requests, self._token)  # the last answer was lost: the very same again
        while self._segments:
            segment = self._segments[0]
            segment.works = [work for work in segment.works if work.outcome is None]
            if not segment.works:
                self._segments.pop(0)
            elif segment.suspect and len(segment.works) > 1:
                self._halve(segment)
            else:
                return self._next(segment)
        return None

    def _next(self, segment: _Segment) -> Call:
        if doubtful := [work for work in segment.works if work.doubtful]:
            return self._read(doubtful, consistent=True)
        if self._setting.reads_ahead and not self._looked_ahead:
            self._looked_ahead = True
            return self._read([work for work in segment.works if work.head is None], consistent=False)
        return self._upload(segment.works) or self._transact(segment)

    def _transact(self, segment: _Segment) -> Call:
        taken = fill(segment.works)
        if len(taken) < len(segment.works):
            self._segments.insert(1, _Segment(segment.works[len(taken) :]))
            segment.works = taken
        self._sent = build(taken, self._setting.events_table, self._setting.now_ms)
        self._token = f"{self._setting.rng.getrandbits(128):032x}"
        self._take = Committing._take_transaction
        return Transact(self._sent.requests, self._token)

    def _take_transaction(self, answer: Answer) -> TransientError | None:
        sent, self._sent = self._sent, None
        if sent is None:
            return _unexpected(self, answer)
        if isinstance(answer, Cancelled):
            return self._take_reasons(sent, answer)
        if isinstance(answer, Refused):
            self._isolate(str(answer))
            return None
        if not isinstance(answer, int | float):
            return _unexpected(self, answer)
        self._setting.write_units += answer
        for role in sent.roles:
            if role.kind in ("mark", "quarantine"):
                role.works[0].settle_written()
        return None

    def _take_reasons(self, sent: Transaction, cancelled: Cancelled) -> TransientError | None:
        verdict = read_reasons(sent.roles, cancelled.reasons)
        present = sum(work.outcome is not None for work in sent.works)
        if present >= max(_REPLAY_COUNT, _REPLAY_SHARE * len(sent.works)):
            self._setting.reads_ahead = True
        if verdict.unclear and not verdict.progress:
            self._isolate(verdict.unclear)
        elif verdict.stuck and self._attempt > 0:
            self._set_apart(verdict.stuck)
        return verdict.transient

    def _set_apart(self, stuck: list[Work]) -> None:
        """Let those go first that have nothing to do with items that are throttled or in conflict again and again."""
        segment = self._segments[0]
        behind = entangled(segment.works, stuck)
        free = [work for work in segment.works if work not in behind]
        if free:
            self._segments[0] = _Segment(free)
            self._segments.insert(1, _Segment([work for work in segment.works if work in behind]))

    def _isolate(self, message: str) -> None:
        """Find what the store will never take, by halves and so in O(log n) calls, and refuse that alone."""
        segment = self._segments[0]
        if len(self._segments) > 1:
            self._segments[1].suspect = False  # the fault is in this half; the other may be sound
        if len(segment.works) == 1:
            segment.works[0].refuse(refusal(message))
        else:
            self._halve(segment)

    def _halve(self, segment: _Segment) -> None:
        middle = len(segment.works) // 2
        self._segments[0] = _Segment(segment.works[:middle])
        self._segments.insert(1, _Segment(segment.works[middle:], suspect=True))


class Inserting(Step):
    """Writes events that need no transaction, each if its key is free. ``hand_over`` takes those that turn out to."""

    def __init__(self, works: list[Work], setting: Setting, hand_over: Callable[[Work], None]) -> None:
        super().__init__(works, setting)
        self._hand_over = hand_over
        self._limit = INSERT_ITEMS_MAX
        self._sent: list[Work] = []

    def call(self) -> Call | None:
        for work in [work for work in self.works if work.outcome is None and (work.fence or work.refusal)]:
            self.works.remove(work)
            self._hand_over(work)
        works = [work for work in self.works if work.outcome is None]
        if not works:
            return None
        if doubtful := [work for work in works if work.doubtful]:
            return self._read(doubtful, consistent=True)
        return self._upload(works) or self._insert(works[: self._limit])

    def _insert(self, works: list[Work]) -> Call:
        self._sent = works
        self._take = Inserting._take_inserted
        return Insert([insertable(work, self._setting.now_ms) for work in works])

    def _take_inserted(self, answer: Answer) -> TransientError | None:
        if isinstance(answer, Refused):
            self._shrink(str(answer))
            return None
        if not isinstance(answer, Inserted):
            return _unexpected(self, answer)
        self._setting.write_units += answer.write_units
        return read_inserted(self._sent, answer.reasons)

    def _shrink(self, message: str) -> None:
        if len(self._sent) == 1:
            self._sent[0].refuse(refusal(message))
        self._limit = max(1, len(self._sent) // 2)

"""Commit a batch: every event's mark and effects in as few transactions as DynamoDB's limits allow.

This module drives a `Session`: calls go out side by side under a bound, pauses are slept, and no new call is made once
the time is up. Several threads, because botocore blocks; what they send is made here while they wait for DynamoDB.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from queue import Empty, SimpleQueue
from random import Random
from threading import Thread
from typing import NamedTuple, TypeAlias

from weir.consumers.commit.machine import Session, Task
from weir.consumers.commit.recent_marks import RecentMarks
from weir.consumers.commit.strands import Answer, Step
from weir.consumers.events_table.item import EventResult, JudgedEvent
from weir.consumers.events_table.port import Store, StoreCall
from weir.ingest.errors import DeadlineNear

# How long a call that is under way when the time is up may still take; its answer is then not waited for. The marks
# make that safe: what it did is found when the record is read again.
GRACE_S = 1.0

_Answered: TypeAlias = tuple[Step, Answer]
_Job: TypeAlias = Callable[[], None]


class CommitReport(NamedTuple):
    """How a batch was committed: a result for each event in order, database calls made, write units consumed.

    ``bugs`` are exceptions that no code foresaw; the events that they met are left to the next batch.
    """

    results: list[EventResult]
    calls_count: int
    write_units: float
    bugs: list[BaseException]


def commit(
    judged: Sequence[JudgedEvent],
    store: Store,
    *,
    deadline: Callable[[], float],
    concurrency: int,
    rng: Random,
    sleep: Callable[[float], None],
    now_ms: int,
    recent: RecentMarks | None = None,
    refuses_past: bool = False,
    marks_first: bool = False,
) -> CommitReport:
    """Write what was judged; never raises for an event.

    ``deadline`` returns for how many seconds new calls may still be made. ``recent`` is kept between batches.
    ``refuses_past``: what is older than its mark would live, and has none, is quarantined as too old to tell.
    ``marks_first``: whatever else could be said of it, an event whose mark is there is a duplicate.
    """
    marks = recent or RecentMarks()
    session = Session(
        judged, store.layout, marks, now_ms=now_ms, rng=rng, refuses_past=refuses_past, marks_first=marks_first
    )
    _Drive(session, store, deadline, concurrency, sleep).run()
    results = session.results(DeadlineNear())
    return CommitReport(results, session.calls_count, session.write_units, session.bugs)


class _Drive:
    """One run of a session. Time is what the deadline has left, so it runs backwards."""

    def __init__(
        self,
        session: Session,
        store: Store,
        left_s: Callable[[], float],
        concurrency: int,
        sleep: Callable[[float], None],
    ) -> None:
        self._session = session
        self._store = store
        self._left_s = left_s
        self._concurrency = concurrency
        self._sleep = sleep
        self._answers: SimpleQueue[_Answered] = SimpleQueue()
        self._under_way = 0
        self._order = count()
        self._due: list[tuple[float, int, Step]] = []  # (when, as minus the seconds left; order; step)

    def run(self) -> None:
        """Drive the session to its end or to the deadline."""
        self._add(self._session.start())
        while self._due or self._under_way:
            left_s = self._left_s()
            if left_s <= 0 or self._session.is_stopped:
                self._drain()
                return
            if self._due and self._due[0][0] <= -left_s and self._under_way < self._concurrency:
                self._begin(heapq.heappop(self._due)[2])
            elif self._under_way:
                self._await(self._until_due_s(left_s))
            else:
                self._sleep(self._until_due_s(left_s))

    def _add(self, tasks: Sequence[Task]) -> None:
        now = -self._left_s()
        for task in tasks:
            heapq.heappush(self._due, (now + task.delay_s, next(self._order), task.step))

    def _until_due_s(self, left_s: float) -> float:
        """Return how long there is nothing to begin."""
        if not self._due or self._under_way >= self._concurrency:
            return left_s
        return min(left_s, max(0.0, self._due[0][0] + left_s))

    def _begin(self, step: Step) -> None:
        call, unlocked = self._session.begin(step)
        self._add(unlocked)
        if call is None:
            return
        if not self._due and not self._under_way:
            self._add(self._session.answer(step, _make(call, self._store)))  # alone: no thread has to be woken
            return
        self._under_way += 1
        _start(self._concurrency, lambda: self._answers.put((step, _make(call, self._store))))

    def _await(self, timeout_s: float) -> None:
        try:
            step, answer = self._answers.get(timeout=timeout_s)
        except Empty:
            return
        self._under_way -= 1
        self._add(self._session.answer(step, answer))

    def _drain(self) -> None:
        """Take what is still answered in time; begin nothing more."""
        end_s = self._left_s() - GRACE_S
        while self._under_way and (timeout_s := self._left_s() - end_s) > 0:
            self._await(timeout_s)


def _make(call: StoreCall, store: Store) -> Answer:
    try:
        return call.run(store)
    except Exception as error:  # noqa: BLE001 - the session tells them apart
        return error


def _start(concurrency: int, job: _Job) -> None:
    """Let one of so many threads do a job."""
    _jobs(concurrency, os.getpid()).put(job)


@cache
def _jobs(concurrency: int, process_id: int) -> SimpleQueue[_Job]:
    """Start the threads, once in the life of a process (a fork has none); they wait for jobs and cost nothing."""
    jobs: SimpleQueue[_Job] = SimpleQueue()
    for number in range(concurrency):
        Thread(target=_work, args=(jobs,), name=f"commit-{process_id}-{number}", daemon=True).start()
    return jobs


def _work(jobs: SimpleQueue[_Job]) -> None:
    while True:
        jobs.get()()

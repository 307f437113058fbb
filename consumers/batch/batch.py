"""One batch from the event to the answer: read, judge, commit, report. Wired by `weir.consumers.handler`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from time import perf_counter, sleep, time_ns
from typing import Any, TextIO, TypeAlias

from weir.consumers.batch.logs import Log
from weir.consumers.batch.tally import Response, Tally
from weir.consumers.commit.commit import CommitReport, commit
from weir.consumers.commit.recent_marks import RecentMarks
from weir.consumers.events_table import item
from weir.consumers.events_table.item import EventResult, JudgedEvent
from weir.consumers.events_table.port import Store
from weir.consumers.judging.judge import Judge
from weir.consumers.judging.records import read
from weir.consumers.outcome import Outcome
from weir.consumers.raised import raised_at
from weir.consumers.settings import Settings
from weir.ingest.errors import CommitConflict, ConfigError, EventFailed, StoreUnavailable

Attempt: TypeAlias = Callable[[Sequence[JudgedEvent]], CommitReport]


class Consumer:
    """Consumes one batch after another; what it keeps between them are secrets, connections and hints."""

    def __init__(self, settings: Settings, judge: Judge, store: Store, *, stream: TextIO) -> None:
        """Log to ``stream``."""
        self._settings = settings
        self._judge = judge
        self._store = store
        self._stream = stream
        self._recent = RecentMarks()
        self._rng = Random()  # noqa: S311 - jitter

    def consume(self, event: Mapping[str, Any], *, invocation: str, left_s: Callable[[], float]) -> Response:
        """Consume one Kinesis event; ``left_s`` returns for how long the function may still run.

        Raises: ConfigError when no record could succeed; never anything for one record.
        """
        began = perf_counter()
        records = read(event)
        if not records:
            return {"batchItemFailures": []}
        # A batch is of one shard.
        facts = {"at": now_ms(), "invocation": invocation, "shard_id": records[0].shard_id}
        log = Log(self._stream, self._settings.log_level, **facts)
        tally = Tally(log, records, self._judge.watched)
        try:
            judged = self._judge.judge(records)
            done = self._commit(judged, lambda: left_s() - self._settings.deadline_margin_ms / 1000)
            for error in done.bugs:
                tally.add_bug(error)
            for one, result in zip(judged, done.results, strict=True):
                tally.add(one, result)
            return tally.close(
                self._settings.stack,
                now_ms=now_ms(),
                duration_ms=(perf_counter() - began) * 1000,
                calls=done.calls_count,
                write_units=done.write_units,
            )
        finally:
            log.flush()

    def _commit(self, judged: Sequence[JudgedEvent], left_s: Callable[[], float]) -> CommitReport:
        def attempt(part: Sequence[JudgedEvent]) -> CommitReport:
            return commit(
                part,
                self._store,
                deadline=left_s,
                concurrency=self._settings.commit_concurrency,
                rng=self._rng,
                sleep=sleep,
                now_ms=now_ms(),
                recent=self._recent,
                refuses_past=True,
            )

        return isolate(attempt, judged)


def isolate(attempt: Attempt, judged: Sequence[JudgedEvent]) -> CommitReport:
    """Commit, and find the event on which the commit itself breaks, by halves, so that it stops none of the others.

    What breaks it is a shape of changes that no code foresaw, which the next reading would bring again. A half that was
    written before is safe to write again: its marks are there.
    Raises: ConfigError, MemoryError: no event's fault.
    """
    try:
        return attempt(judged)
    except (ConfigError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is confined to the event that causes it
        if len(judged) == 1:
            return _refuse(attempt, judged[0], error)
    middle = len(judged) // 2
    first = isolate(attempt, judged[:middle])
    told = zip(judged[:middle], first.results, strict=True)
    waiting = {one.partition_key for one, result in told if result.outcome is Outcome.RETRY}
    second = isolate(attempt, [_behind(one, waiting) for one in judged[middle:]])
    return CommitReport(
        first.results + second.results,
        first.calls_count + second.calls_count,
        first.write_units + second.write_units,
        first.bugs + second.bugs,
    )


def _refuse(attempt: Attempt, judged: JudgedEvent, cause: Exception) -> CommitReport:
    refused = replace(judged, decision="quarantine", changes=(), error=EventFailed(raised_at(cause)))
    try:
        return attempt([refused])
    except Exception as error:  # noqa: BLE001 - what cannot even be quarantined goes to the failure destination
        return CommitReport([EventResult(Outcome.RETRY, error=StoreUnavailable(raised_at(error)))], 0, 0.0, [error])


def _behind(judged: JudgedEvent, waiting: set[str]) -> JudgedEvent:
    """Return the event, or its wait if an earlier one of its key has to wait."""
    if judged.partition_key not in waiting:
        return judged
    error = CommitConflict("It waits behind an earlier event of its key.")
    return item.wait(error, position=judged.position, partition_key=judged.partition_key)


def now_ms() -> int:
    """Return the epoch time in milliseconds."""
    return time_ns() // 1_000_000

"""Tries again what waits: judged as it was proven when it came, committed as an event of the stream is.

EventBridge starts it every minute. What is applied is applied once, as ever: by the transaction that writes its mark.
Whatever is killed in between is done again by the next run, to no effect. A signature is not checked again, since the
secret may have been retired while the event waited; the item was written after a verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from time import sleep, time_ns
from typing import TYPE_CHECKING, TextIO

from weir.consumers.batch import metrics
from weir.consumers.batch.batch import isolate
from weir.consumers.batch.event_lines import add_event
from weir.consumers.batch.logs import Log
from weir.consumers.commit.commit import CommitReport, commit
from weir.consumers.events_table.item import EventResult, JudgedEvent, detail
from weir.consumers.events_table.port import Store
from weir.consumers.judging.judge import Judge
from weir.consumers.outcome import Outcome
from weir.consumers.raised import raised_at
from weir.consumers.settings import LOG_LEVELS, Settings
from weir.consumers.waiting.waiting_table import WaitingEvent, WaitingTable, batches
from weir.ingest.errors import RecordError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

_BATCH = 100
# What a call that is begun just before the end may still take.
_MARGIN_S = 5.0
# For tries that no function's time bounds.
_TRY_S = 60.0
ANY_TIME_MS = 10**15

Counts = dict[str, int]


class Retry:
    """Tries what is due in one events table."""

    def __init__(
        self,
        judge: Judge,
        store: Store,
        table: WaitingTable,
        *,
        concurrency: int,
        quarantine_s: int,
        log: Log | None = None,
    ) -> None:
        self._judge = judge
        self._store = store
        self._table = table
        self._concurrency = concurrency
        self._quarantine_s = quarantine_s
        self._log = log
        self._rng = Random()  # noqa: S311 - jitter

    def run(self, left_s: Callable[[], float], *, now_ms: Callable[[], int]) -> Counter[Outcome]:
        """Try everything that is due, each event once, until the time is up; return what became of how many."""
        found: Counter[Outcome] = Counter()
        began_ms = now_ms()
        for keys in batches(self._table.due(began_ms), _BATCH):
            if left_s() <= _MARGIN_S:
                break
            events = self._table.read(keys, began_ms)
            for event, judged, result in self._try(events, left_s, now_ms()):
                found[self._settle(event, judged, result, now_ms())] += 1
        return found

    def run_all(self, now_ms: int) -> Counter[Outcome]:
        """Try everything that waits, due or not; what still waits waits on as if it had not been tried."""
        found: Counter[Outcome] = Counter()
        for keys in batches(self._table.due(ANY_TIME_MS), _BATCH):
            for _, judged, result in self._try(self._table.read(keys, ANY_TIME_MS), lambda: _TRY_S, now_ms):
                found[result.outcome] += 1
                if result.outcome.is_done:
                    self._table.release(judged, result)
        return found

    def _try(
        self, events: Sequence[WaitingEvent], left_s: Callable[[], float], now_ms: int
    ) -> list[tuple[WaitingEvent, JudgedEvent, EventResult]]:
        judged = [self._judge.judge_again(position, event) for position, event in enumerate(events)]
        open_ = [one for one in judged if one.decision != "quarantine"]

        def attempt(part: Sequence[JudgedEvent]) -> CommitReport:
            return commit(
                part,
                self._store,
                deadline=lambda: left_s() - _MARGIN_S,
                concurrency=self._concurrency,
                rng=self._rng,
                sleep=sleep,
                now_ms=now_ms,
                refuses_past=True,
            )

        results = iter(isolate(attempt, open_).results if open_ else ())
        return [
            (event, one, _refused(one) if one.decision == "quarantine" else next(results))
            for event, one in zip(events, judged, strict=True)
        ]

    def _settle(self, event: WaitingEvent, judged: JudgedEvent, result: EventResult, now_ms: int) -> Outcome:
        """Write what the try came to and return it: what the commit did and this does not is found by the next try."""
        words = result.detail or result.reason
        if result.outcome.is_done:
            self._table.release(judged, result)
        elif result.outcome is Outcome.QUARANTINED or (result.outcome is Outcome.WAITING and event.is_over(now_ms)):
            expires_at_s = now_ms // 1000 + self._quarantine_s
            self._table.give_up(event, result.reason, words, expires_at_s=expires_at_s)
            result = EventResult(Outcome.QUARANTINED, result.reason, result.detail)
        elif result.outcome is Outcome.WAITING:
            self._table.put_off(event, words, now_ms)
        self._say(event, judged, result)
        return result.outcome

    def _say(self, event: WaitingEvent, judged: JudgedEvent, result: EventResult) -> None:
        if self._log is not None:
            add_event(self._log, judged, result, attempts=event.attempts + 1)


def _refused(judged: JudgedEvent) -> EventResult:
    error = judged.error
    if not isinstance(error, RecordError):
        raise TypeError(type(error))
    return EventResult(Outcome.QUARANTINED, error.code, detail(error))


class WaitingRun:
    """What the function does when it is started for what waits; made once, and kept."""

    def __init__(
        self,
        settings: Settings,
        judge: Judge,
        store: Store,
        *,
        dynamodb: DynamoDBClient,
        s3: S3Client | None,
        stream: TextIO,
    ) -> None:
        """Log to ``stream``."""
        self._settings = settings
        self._judge = judge
        self._store = store
        self._table = WaitingTable(dynamodb, settings.events_table, s3, settings.payload_bucket)
        self._stream = stream

    def run(self, *, invocation: str, left_s: Callable[[], float]) -> Counts:
        """Try what is due; return how often each outcome came. Raises: what the reads raise, which Lambda counts."""
        log = Log(self._stream, self._settings.log_level, at=_now_ms(), invocation=invocation)
        retry = Retry(
            self._judge,
            self._store,
            replace(self._table, unreadable=lambda key, error: _say_unreadable(log, key, error)),
            concurrency=self._settings.commit_concurrency,
            quarantine_s=self._settings.quarantine_days * 86_400,
            log=log,
        )
        try:
            found = retry.run(left_s, now_ms=_now_ms)
            values = {
                "WaitingTried": found.total(),
                "WaitingDone": sum(count for outcome, count in found.items() if outcome.is_done),
            }
            log.add_document(metrics.document(self._settings.stack, values, {}))
        finally:
            log.flush()
        return {str(outcome): count for outcome, count in found.items()}


def _say_unreadable(log: Log, key: str, error: Exception) -> None:
    """Log an event that waits and cannot be read now: the next run tries it again."""
    request_id = key.partition("!")[2]
    detail = raised_at(error)
    log.add(LOG_LEVELS["WARNING"], "event", outcome=Outcome.RETRY, request_id=request_id, detail=detail)


def _now_ms() -> int:
    return time_ns() // 1_000_000

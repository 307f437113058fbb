"""A lane: the records of one shard whose partition keys must stay in order, one batch at a time.

A shard has as many lanes as ParallelizationFactor says. A lane finishes its records strictly in order: it never starts
on a record while an earlier one of the lane is neither done nor given up.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from weir.infra.local.engine_client.aws_json import AwsError
from weir.infra.local.function.invocations import InvocationResult, Invoke
from weir.infra.local.poller.batches import Batch, EventFormat, Failure, Record, form, judge, remaining
from weir.infra.local.poller.destinations import Condition, Destination, GivenUp
from weir.infra.local.poller.event_source_mapping import EventSourceMapping
from weir.infra.local.poller.reports import BatchReport, OnBatch, OnNotice, Outcome


@dataclass(frozen=True, slots=True)
class Timing:
    """How often the poller does what; all in seconds. AWS polls a shard about once a second."""

    poll_s: float = 0.25
    discover_s: float = 1.0
    save_s: float = 0.2
    backoff_s: float = 0.1
    backoff_limit_s: float = 10.0

    def backoff(self, stalls: int) -> float:
        """Return the wait after ``stalls`` failed tries: 0.1, 0.2, 0.4 ... 10 s by default."""
        return float(min(self.backoff_limit_s, self.backoff_s * 2 ** min(stalls - 1, 30)))


@dataclass(slots=True)
class PollerContext:
    """What all lanes and readers of one mapping share."""

    mapping: EventSourceMapping
    invoke: Invoke
    destination: Destination | None
    timing: Timing
    clock: Callable[[], float]
    payload_limit_bytes: int
    maximum_age_s: float | None
    role_arn: str
    on_batch: OnBatch
    on_notice: OnNotice
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    said: dict[str, str] = field(default_factory=dict)

    def notice(self, subject: str, text: str | None) -> None:
        """Pass on what is wrong with a subject once, however often it happens; None when it is well again."""
        if text is None:
            self.said.pop(subject, None)
        elif self.said.get(subject) != text:
            self.said[subject] = text
            self.on_notice(f"{subject}: {text}")

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the poller stops."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return


class Lane:
    """Takes records in, gives batches to the function; ``pending`` holds, in order, every record that is not done."""

    def __init__(self, context: PollerContext, shard_id: str, number: int, changed: Callable[[], None]) -> None:
        self.pending: deque[Record] = deque()
        self.pending_bytes = 0
        self._context = context
        self._shard_id = shard_id
        self._number = number
        self._format = EventFormat(context.mapping, shard_id, context.role_arn)
        self._changed = changed
        self._news = asyncio.Event()
        self._closed = False

    @property
    def hungry(self) -> bool:
        """Tell whether the next batch, behind the one in the works, could be larger."""
        return len(self.pending) < 2 * self._context.mapping.batch_size

    def measured(self, given: dict[str, Any]) -> Record:
        """Return a record of a GetRecords answer as this lane takes it."""
        return self._format.measured(given, time.monotonic())

    def add(self, record: Record) -> None:
        """Take one more record in."""
        self.pending.append(record)
        self.pending_bytes += record.bytes
        self._news.set()

    def close(self) -> None:
        """Say that no record will be added: a batch need not wait for more."""
        self._closed = True
        self._news.set()

    def wake(self) -> None:
        """Let the lane see that the poller stops."""
        self._news.set()

    async def run(self) -> None:
        """Work until the lane is closed and empty, or the poller stops."""
        todo: deque[Batch] = deque()
        while not self._context.stopping.is_set():
            if not todo:
                batch = await self._next()
                if batch is None:
                    return
                todo.append(batch)
            todo.extendleft(reversed(await self._try(todo.popleft())))

    async def _next(self) -> Batch | None:
        """Return the next batch once it is full, its window is over or nothing can be added; None at the end."""
        mapping = self._context.mapping
        limit = self._context.payload_limit_bytes
        while not self._context.stopping.is_set():
            batch, full = form(self.pending, batch_size=mapping.batch_size, payload_limit_bytes=limit)
            wait_s = None
            if batch.records:
                wait_s = batch.records[0].read_at_s + mapping.batching_window_s - time.monotonic()
                if full or self._closed or wait_s <= 0:
                    return batch
            elif self._closed:
                return None
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), wait_s)
            except TimeoutError:
                continue
        return None

    async def _try(self, batch: Batch) -> list[Batch]:
        """Try a batch once; return what is left of it, in order."""
        expired = self._expired(batch.records)
        if expired:
            return await self._give_up(batch, expired, "RecordAgeExceeded", None)
        if batch.bytes > self._context.payload_limit_bytes:
            return await self._give_up(batch, len(batch.records), "RetryAttemptsExhausted", None)
        result = await self._context.invoke(self._format.event(batch.records))
        if not result.reached:
            self._report(batch, "not_reached", result=result)
            left = batch.stalled(failed=False)
            await self._context.pause(self._context.timing.backoff(left.stalls))
            return [left]
        reported = self._context.mapping.report_batch_item_failures
        failure = judge(result, batch.records, reported=reported)
        if failure is None:
            self._report(batch, "done", result=result)
            self._done(len(batch.records))
            return []
        return await self._after(batch, failure, result)

    async def _after(self, batch: Batch, failure: Failure, result: InvocationResult) -> list[Batch]:
        """Count and split a batch that failed; give up what has no retry left."""
        named = None if failure.whole else batch.records[failure.at].sequence_number
        self._report(batch, "partial" if failure.at else "failed", result=result, reported=named)
        self._done(failure.at)
        left = remaining(batch, failure, bisect=self._context.mapping.bisect_batch)
        quota = self._context.mapping.maximum_retry_attempts
        if quota is not None and left[0].failures > quota:
            return await self._give_up(left[0], len(left[0].records), "RetryAttemptsExhausted", result)
        if left[0].stalls:
            await self._context.pause(self._context.timing.backoff(left[0].stalls))
        return left

    def _expired(self, records: Sequence[Record]) -> int:
        """Return how many records, from the first on, are too old."""
        limit_s = self._context.maximum_age_s
        if limit_s is None:
            return 0
        oldest_s = self._context.clock() - limit_s
        return next((index for index, record in enumerate(records) if record.arrived_at_s >= oldest_s), len(records))

    async def _give_up(
        self, batch: Batch, count: int, condition: Condition, result: InvocationResult | None
    ) -> list[Batch]:
        """Hand the first records to the destination, however long it refuses them; return the rest."""
        given_up = replace(batch, records=batch.records[:count])
        if not await self._store(given_up, condition, result):
            return [batch]  # the poller stops; they are read again
        outcome: Outcome = "discarded" if self._context.destination is None else "given_up"
        self._report(given_up, outcome, result=result, condition=condition)
        self._done(count)
        rest = batch.records[count:]
        return [replace(batch, records=rest)] if rest else []

    async def _store(self, batch: Batch, condition: Condition, result: InvocationResult | None) -> bool:
        """Write to the destination until it takes it; False if the poller stops before."""
        destination = self._context.destination
        if destination is None:
            return True
        document = GivenUp(self._shard_id, batch.records, condition, max(1, batch.failures), result)
        refusals = 0
        while not self._context.stopping.is_set():
            try:
                await destination.write(document, self._format.event(batch.records), self._context.clock())
            except AwsError as error:
                refusals += 1
                self._context.notice("failure destination", str(error))
                await self._context.pause(self._context.timing.backoff(refusals))
            else:
                self._context.notice("failure destination", None)
                return True
        return False

    def _done(self, count: int) -> None:
        for _ in range(count):
            self.pending_bytes -= self.pending.popleft().bytes
        self._changed()

    def _report(
        self,
        batch: Batch,
        outcome: Outcome,
        *,
        result: InvocationResult | None = None,
        reported: str | None = None,
        condition: Condition | None = None,
    ) -> None:
        last = batch.records[-1]
        self._context.on_batch(
            BatchReport(
                shard_id=self._shard_id,
                lane=self._number,
                records=len(batch.records),
                bytes=batch.bytes,
                outcome=outcome,
                attempt=batch.failures + 1 if condition is None else max(1, batch.failures),
                first_sequence_number=batch.records[0].sequence_number,
                last_sequence_number=last.sequence_number,
                iterator_age_ms=max(0, round((self._context.clock() - last.arrived_at_s) * 1000)),
                duration_ms=result.duration_ms if result else 0.0,
                request_id=result.request_id if result else "",
                reported=reported,
                error=result.error if result else None,
                condition=condition,
            )
        )

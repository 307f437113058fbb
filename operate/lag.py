"""How far the consumer is behind, shard by shard, and how long until records are lost.

    time to loss = the earlier of the stream's retention and the mapping's greatest record age
                   - the age of the oldest record that is not done

What reaches the record age is given up: it is kept as a failure, out of order, and must be retried by hand. What
reaches the retention is gone from the stream. A shard on which nothing drains is blocked, and the consumer's log says
by what.

The embedded stack keeps checkpoints in a file. Lambda does not show them: there the first record without an outcome
is found by halving the time, asking the events table about one record at each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from weir.consumers.judging.records import open_record
from weir.consumers.outcome import Outcome
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.newest import LogPart, event_lines
from weir.operate.lookup.stack import Service
from weir.operate.lookup.status import DeliveryStatuses
from weir.operate.lookup.times import show_duration
from weir.operate.replay.origins.from_stream import list_shards

if TYPE_CHECKING:
    from types_boto3_kinesis import KinesisClient

_PAGES = 20
_PAGE_RECORDS = 1000
_ARRIVING_S = 60.0
_PRECISION_S = 1.0
_PROBE_RECORDS = 25
_SHARDS_AT_ONCE = 16
_FROM_THE_START = {"ShardIteratorType": "TRIM_HORIZON"}
_BLOCKED = ("source", "event_id", "request_id", "reason", "detail", "at")
# A batch that fails is tried again within a minute, each time with a line for what stopped it.
_RECENT_MS = 300_000
# How far back to look for the newest record of a shard, further each time.
_BACK_S = (60.0, 900.0, 14_400.0, 86_400.0)

Given = Mapping[str, Any]  # a record as GetRecords gives it
Checkpoints = Callable[[], Mapping[str, Mapping[str, Any]] | None]


@dataclass(frozen=True, slots=True)
class ShardLag:
    """One shard. ``unread`` is at least what it says when ``unread_is_more``; None ages: nothing waits."""

    shard_id: str
    is_closed: bool
    unread: int
    unread_is_more: bool
    oldest_age_s: float | None
    arriving_per_s: float
    draining_per_s: float
    time_to_loss_s: float | None
    blocked: Mapping[str, Any] | None = None  # the last line of the log about an event that is tried again and again

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "shard_id": self.shard_id,
            "is_closed": self.is_closed,
            "unread": self.unread,
            "unread_is_more": self.unread_is_more,
            "oldest_age_s": self.oldest_age_s,
            "arriving_per_s": round(self.arriving_per_s, 2),
            "draining_per_s": round(self.draining_per_s, 2),
            "time_to_loss_s": self.time_to_loss_s,
            "blocked": None if self.blocked is None else {name: self.blocked.get(name) for name in _BLOCKED},
        }


@dataclass(frozen=True, slots=True)
class _Unread:
    """What comes after a position: how many records, and the stamp of the first."""

    count: int
    is_more: bool
    oldest_s: float | None
    first_sequence: str = ""


def show(shards: Sequence[ShardLag]) -> list[str]:
    """Write the lag for a person, a line a shard and one for the worst of all."""
    lines = [f"{'SHARD':22} {'UNREAD':>9} {'BEHIND':>10} {'ARRIVING':>11} {'DRAINING':>11}  TIME TO LOSS"]
    for one in shards:
        unread = f"{one.unread:,}{'+' if one.unread_is_more else ''}"
        behind = "-" if one.oldest_age_s is None else show_duration(one.oldest_age_s)
        loss = "-" if one.time_to_loss_s is None else show_duration(one.time_to_loss_s)
        name = one.shard_id.removeprefix("shardId-") + (" closed" if one.is_closed else "")
        lines.append(
            f"{name:22} {unread:>9} {behind:>10} {one.arriving_per_s:>9,.1f}/s {one.draining_per_s:>9,.1f}/s  {loss}"
        )
    lines += [
        f"{one.shard_id.removeprefix('shardId-')} is blocked: {_why(one.blocked)}"
        for one in shards
        if one.blocked is not None
    ]
    waiting = [one.time_to_loss_s for one in shards if one.time_to_loss_s is not None]
    lines.append(f"time to loss: {show_duration(min(waiting))}" if waiting else "nothing waits to be read")
    return lines


def _why(line: Mapping[str, Any]) -> str:
    detail = f" ({line['detail']})" if line.get("detail") else ""
    event = line.get("event_id") or line.get("request_id") or "an event"
    ago = show_duration(time.time() - line["at"] / 1000)
    return f"{line.get('reason') or 'retried'}{detail} at {event} of {line.get('source') or '?'}, tried {ago} ago"


def with_reasons(shards: Sequence[ShardLag], log: Iterable[LogPart], now_ms: int) -> list[ShardLag]:
    """Return the shards; each that has unread records and drains none with what the log said of it last."""
    stuck = {one.shard_id for one in shards if one.unread and not one.draining_per_s}
    found: dict[str, Mapping[str, Any]] = {}
    for part in log if stuck else ():
        for line in event_lines(part.lines):
            is_retried = line["outcome"] == Outcome.RETRY and line["at"] >= now_ms - _RECENT_MS
            if is_retried and (shard_id := line.get("shard_id")) in stuck:
                known = found.get(shard_id)
                if known is None or line["at"] > known["at"]:
                    found[shard_id] = line
        if part.since_ms < now_ms - _RECENT_MS or stuck <= found.keys():
            break
    return [replace(one, blocked=found.get(one.shard_id)) for one in shards]


class LagReader:
    """Measures the lag of one stream with a boto3 client."""

    def __init__(
        self,
        kinesis: KinesisClient,
        stream: str,
        statuses: DeliveryStatuses,
        checkpoints: Checkpoints,
        *,
        retention_s: float,
        service: Service,
        record_age_s: float | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._kinesis, self._stream = kinesis, stream
        self._statuses = statuses
        self._checkpoints = checkpoints
        self._retention_s = retention_s
        self._ends_s = retention_s if record_age_s is None else min(retention_s, record_age_s)
        self._service = service
        self._clock, self._sleep = clock, sleep

    def measure(self, over_s: float) -> list[ShardLag]:
        """Measure twice, ``over_s`` apart, so that it shows what drains."""
        shards = {given["ShardId"]: given for given in list_shards(self._kinesis, self._stream)}
        before = {shard_id: self._unread(shard_id) for shard_id in shards}
        began_s = self._clock()
        if any(unread.count for unread in before.values()) or over_s:
            self._sleep(over_s)
        after = {shard_id: self._unread(shard_id) for shard_id in shards}
        took_s = max(self._clock() - began_s, 1e-3)
        return [self._lag(given, before[shard_id], after[shard_id], took_s) for shard_id, given in shards.items()]

    def used_up(self) -> float:
        """Return how much of the time to loss the oldest record that is not done has used: 0 nothing waits, 1 all.

        Shards are asked beside each other, since each has limits of its own: one that is behind takes some 25 reads.
        """
        shards = [given["ShardId"] for given in list_shards(self._kinesis, self._stream)]
        with ThreadPoolExecutor(_SHARDS_AT_ONCE) as pool:
            ages_s = [age_s for age_s in pool.map(self._oldest_age_s, shards) if age_s is not None]
        return min(1.0, max(ages_s, default=0.0) / self._ends_s)

    def _oldest_age_s(self, shard_id: str) -> float | None:
        if not (start := self._start(shard_id)):
            return None
        for page in self._pages(shard_id, start, limit=_PROBE_RECORDS):
            if page:
                arrived_s: float = page[0]["ApproximateArrivalTimestamp"].timestamp()
                return max(0.0, self._clock() - arrived_s)
        return None

    def _lag(self, given: Mapping[str, Any], before: _Unread, after: _Unread, took_s: float) -> ShardLag:
        shard_id, now_s = given["ShardId"], self._clock()
        arriving = self._count_between(shard_id, now_s - _ARRIVING_S, now_s) / _ARRIVING_S
        drained = self._drained(shard_id, before, after)
        age_s = None if after.oldest_s is None else max(0.0, now_s - after.oldest_s)
        return ShardLag(
            shard_id=shard_id,
            is_closed="EndingSequenceNumber" in given["SequenceNumberRange"],
            unread=after.count,
            unread_is_more=after.is_more,
            oldest_age_s=age_s,
            arriving_per_s=arriving,
            draining_per_s=drained / took_s,
            time_to_loss_s=None if age_s is None else max(0.0, self._ends_s - age_s),
        )

    def _drained(self, shard_id: str, before: _Unread, after: _Unread) -> int:
        """Count the records that have been done between the two measurements."""
        if not before.first_sequence or before.first_sequence == after.first_sequence:
            return 0
        start = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": before.first_sequence}
        count = 0
        for page in self._pages(shard_id, start):
            for one in page:
                if one["SequenceNumber"] == after.first_sequence:
                    return count
                count += 1
        return count

    # ------------------------------------------------------------------------------------------ what is unread

    def _unread(self, shard_id: str) -> _Unread:
        if not (start := self._start(shard_id)):
            return _Unread(0, is_more=False, oldest_s=None)
        count, pages, first = 0, 0, None
        for page in self._pages(shard_id, start):
            first = first or (page[0] if page else None)
            count, pages = count + len(page), pages + 1
            if pages == _PAGES:
                break
        oldest_s = first["ApproximateArrivalTimestamp"].timestamp() if first else None
        return _Unread(count, pages == _PAGES, oldest_s, first["SequenceNumber"] if first else "")

    def _start(self, shard_id: str) -> dict[str, Any]:
        """Return where the consumer reads on; nothing at the end of a shard, or when all has an outcome."""
        known = self._checkpoints()
        return self._first_open(shard_id) if known is None else dict(known.get(shard_id, _FROM_THE_START))

    def _first_open(self, shard_id: str) -> dict[str, Any]:
        """Return where the first record without an outcome is; nothing when the newest has one."""
        newest = self._newest(shard_id)
        if newest is None or self._has_outcome(shard_id, newest):
            return {}
        high_s = newest["ApproximateArrivalTimestamp"].timestamp()
        low_s = self._clock() - self._retention_s
        while high_s - low_s > _PRECISION_S:
            middle_s = (low_s + high_s) / 2
            probe = self._first_at(shard_id, middle_s)
            if probe is not None and not self._has_outcome(shard_id, probe):
                high_s = middle_s
            else:
                low_s = middle_s
        for page in self._pages(shard_id, _at(low_s)):
            for one, has_outcome in zip(page, self._have_outcomes(shard_id, page), strict=True):
                if not has_outcome:
                    return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": one["SequenceNumber"]}
        return {}

    def _newest(self, shard_id: str) -> Given | None:
        for back_s in (*_BACK_S, self._retention_s):
            newest = None
            for page in self._pages(shard_id, _at(self._clock() - back_s)):
                newest = page[-1] if page else newest
            if newest is not None:
                return newest
        return None

    def _first_at(self, shard_id: str, at_s: float) -> Given | None:
        for page in self._pages(shard_id, _at(at_s), limit=_PROBE_RECORDS):
            if page:
                return page[0]
        return None

    def _has_outcome(self, shard_id: str, given: Given) -> bool:
        return self._have_outcomes(shard_id, [given])[0]

    def _have_outcomes(self, shard_id: str, page: Sequence[Given]) -> list[bool]:
        """Tell of each record, aggregates included, whether all in it has an outcome."""
        deliveries, owners = [], []
        for at, given in enumerate(page):
            at_ms = round(given["ApproximateArrivalTimestamp"].timestamp() * 1000)
            for record in open_record(shard_id, given["SequenceNumber"], at_ms, given["Data"]):
                deliveries.append(Delivery(record.data, shard_id, record.position, at_ms, record=record))
                owners.append(at)
        statuses = self._statuses.of(deliveries)
        open_ones = {at for at, status in zip(owners, statuses, strict=True) if status == "open"}
        return [at not in open_ones for at in range(len(page))]

    def _count_between(self, shard_id: str, since_s: float, until_s: float) -> int:
        count = 0
        for page in self._pages(shard_id, _at(since_s)):
            stamps = [one["ApproximateArrivalTimestamp"].timestamp() for one in page]
            count += sum(since_s <= stamp <= until_s for stamp in stamps)
            if stamps and stamps[-1] > until_s:
                break
        return count

    def _pages(self, shard_id: str, start: Mapping[str, Any], limit: int = _PAGE_RECORDS) -> Iterator[Sequence[Given]]:
        """Yield pages from a position to the end of the shard as it is now."""
        answer = self._kinesis.get_shard_iterator(StreamName=self._stream, ShardId=shard_id, **start)
        iterator = answer["ShardIterator"]
        while iterator:
            if self._service.reads_per_s:
                self._sleep(1 / self._service.reads_per_s)
            page = self._kinesis.get_records(ShardIterator=iterator, Limit=limit)
            yield page["Records"]
            iterator = page.get("NextShardIterator")
            if not page.get("MillisBehindLatest"):
                return


def _at(at_s: float) -> dict[str, Any]:
    return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": max(0.0, at_s)}

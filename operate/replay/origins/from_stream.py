"""The stream as an origin: by time, by sequence number, by shard or whole; parents to their end before children.

Reading goes on a page a shard in turn, so that shards of one generation advance together. Kinesis gives a shard 2 MB/s
and 5 reads/s for all readers that are not on enhanced fan-out: what is read here is kept to half of it.

Source: https://docs.aws.amazon.com/streams/latest/dev/kinesis-using-sdk-java-after-resharding.html
Source: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
"""

from __future__ import annotations

import time
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weir.consumers.judging.records import open_record
from weir.ingest.errors import OptionInvalid, StoreUnavailable
from weir.operate.lookup.answers import as_json
from weir.operate.lookup.delivery import END, Advance, Cursor, Delivery, Estimate
from weir.operate.lookup.stack import EMULATOR, Service
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.waits import backoff_s

if TYPE_CHECKING:
    from types_boto3_kinesis import KinesisClient

# The stream's own stamps are approximate, and a request may take half a minute to be stored after it arrived.
STAMP_SLACK_MS = 120_000
_PAGE_RECORDS = 1000
_TRIES = 8
_BACKOFF_MAX_S = 5.0
_IDLE_S = 0.5
_LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class StreamRange:
    """What part of a stream is wanted. Sequence numbers, both included, need exactly one shard.

    ``ends_ms`` ends reading at what the stream stamped later, whatever its arrival time says: what a replay itself puts
    into the stream, and traffic that arrives as fast as it is read, would otherwise never come to an end.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    shards: tuple[str, ...] = ()
    first_sequence: str = ""
    last_sequence: str = ""
    ends_ms: int | None = None

    def __post_init__(self) -> None:
        if (self.first_sequence or self.last_sequence) and len(self.shards) != 1:
            raise OptionInvalid("Sequence numbers belong to one shard: name it with --shard.")


@dataclass(slots=True)
class _Shard:
    """One shard; ``position`` is ``sequence.sub`` of the last record handed on, ``is_whole`` if all of that one was."""

    id: str
    parents: tuple[str, ...]
    is_done: bool = False
    iterator: str | None = None
    position: str = ""
    is_whole: bool = False
    due_s: float = 0.0
    behind_ms: int = 0


@dataclass(slots=True)
class FromStream:
    """Reads with a boto3 client. With ``follow`` it never ends: it yields None when there is nothing new."""

    kinesis: KinesisClient
    stream: str
    range: StreamRange = field(default_factory=StreamRange)
    service: Service = EMULATOR
    follow: bool = False
    say: Callable[[str], object] = lambda _: None
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic
    label: str = field(init=False)
    _shards: dict[str, _Shard] = field(init=False, default_factory=dict)
    _get_records: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        self.label = f"stream {self.stream}"
        self._get_records = as_json(self.kinesis, "get_records")

    def estimate(self) -> Estimate:
        """Guess from the first page of each shard that is read first, and from how far behind its end that is."""
        records = size_bytes = 0
        for shard in self._discover():
            if self._waits(shard):
                continue
            answer = self._get(self._iterator(shard), limit=_PAGE_RECORDS)
            page = answer["Records"]
            if not page:
                continue
            span_s = (_stamp_ms(page[-1]) - _stamp_ms(page[0])) / 1000
            behind_s = answer.get("MillisBehindLatest", 0) / 1000
            factor = 1 + (behind_s / max(span_s, 0.05) if behind_s else 0)
            records += round(len(page) * factor)
            size_bytes += round(_size_bytes(page) * factor)
        return Estimate(records, size_bytes, "from the first page of each shard")

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield what comes after the cursor: of each shard in its order, of a key through all its shards."""
        self._shards = {}
        self._take_up(cursor)
        looked_s = self.clock()
        while True:
            live = self._live()
            if live:
                yield from self._round(live)
            elif not self.follow:
                return
            else:
                yield None
                self.sleep(_IDLE_S)
            if self.follow and (not live or self.clock() - looked_s > _LOOK_S):
                self._take_up(cursor)
                looked_s = self.clock()

    def _round(self, live: list[_Shard]) -> Iterator[Delivery | Advance | None]:
        """Read a page of every shard whose turn it is; yield None if there was nothing in any."""
        self._rest_until(min(shard.due_s for shard in live))
        found = False
        for shard in live:
            if shard.due_s <= self.clock():
                for step in self._page(shard):
                    found = True
                    yield step
        if not found:
            yield None

    def _rest_until(self, due_s: float) -> None:
        wait_s = due_s - self.clock()
        if wait_s > 0:
            self.sleep(min(wait_s, _IDLE_S))

    def _page(self, shard: _Shard) -> Iterator[Delivery | Advance]:
        answer = self._next_page(shard)
        page = answer["Records"]
        ended = not answer.get("NextShardIterator")
        shard.behind_ms = int(answer.get("MillisBehindLatest") or 0)
        self._pay(shard, _size_bytes(page))
        for given in page:
            stamp_ms = _stamp_ms(given)
            if self._is_beyond(given["SequenceNumber"], stamp_ms):
                shard.is_done = True
                return
            yield from self._open(shard, given, round(stamp_ms))
        if ended:
            shard.is_done = True
            yield Advance(shard.id, END)
        elif not (page or shard.behind_ms or self.follow):
            shard.is_done = True  # an open shard, read to its end; a page may be empty before that

    def _open(self, shard: _Shard, given: Mapping[str, Any], at_ms: int) -> Iterator[Delivery]:
        behind = _parse(shard.position)
        shard.is_whole = False
        data = given["Data"]
        content = data if isinstance(data, bytes) else a2b_base64(data)
        for record in open_record(shard.id, given["SequenceNumber"], at_ms, content):
            if (int(record.sequence_number), record.sub_sequence) > behind:
                shard.position = f"{record.sequence_number}.{record.sub_sequence}"
                yield Delivery(record.data, shard.id, shard.position, at_ms, record=record)
        shard.is_whole = True

    def _next_page(self, shard: _Shard) -> Mapping[str, Any]:
        for _ in range(_TRIES):
            if shard.iterator is None:
                shard.iterator = self._iterator(shard)
            try:
                answer = self._get(shard.iterator, limit=_PAGE_RECORDS)
            except self.kinesis.exceptions.ExpiredIteratorException:
                shard.iterator = None
                continue
            # Without records only the iterator knows how far the search has come.
            keep = self.service.iterators_hold or not answer["Records"]
            shard.iterator = answer.get("NextShardIterator") if keep else None
            return answer
        raise StoreUnavailable("The stream gives out iterators that have expired.", shard=shard.id)

    def _get(self, iterator: str, limit: int) -> Mapping[str, Any]:
        for attempt in range(1, _TRIES + 1):
            try:
                return self._get_records(ShardIterator=iterator, Limit=limit)  # type: ignore[no-any-return]
            except self.kinesis.exceptions.ProvisionedThroughputExceededException:
                self.sleep(backoff_s(attempt, longest_s=_BACKOFF_MAX_S))
        raise StoreUnavailable(
            "The stream has refused reads for too long: other readers use its quota. Try again later."
        )

    def _iterator(self, shard: _Shard) -> str:
        where = self._start(shard)
        try:
            answer = self.kinesis.get_shard_iterator(StreamName=self.stream, ShardId=shard.id, **where)
        except self.kinesis.exceptions.InvalidArgumentException:
            if "StartingSequenceNumber" not in where:
                raise
            self.say(
                f"{shard.id}: the records after {shard.position} have expired; continuing from the oldest that is left"
            )
            answer = self.kinesis.get_shard_iterator(
                StreamName=self.stream, ShardId=shard.id, ShardIteratorType="TRIM_HORIZON"
            )
        return str(answer["ShardIterator"])

    def _start(self, shard: _Shard) -> dict[str, Any]:
        if shard.position:
            sequence_number = shard.position.partition(".")[0]
            kind = "AFTER_SEQUENCE_NUMBER" if shard.is_whole else "AT_SEQUENCE_NUMBER"  # the rest of an aggregate
            return {"ShardIteratorType": kind, "StartingSequenceNumber": sequence_number}
        if self.range.first_sequence:
            return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": self.range.first_sequence}
        if self.range.since_ms is not None:
            at_s = max(0, self.range.since_ms - STAMP_SLACK_MS) / 1000
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at_s}
        return {"ShardIteratorType": "TRIM_HORIZON"}

    def _pay(self, shard: _Shard, size_bytes: int) -> None:
        wait_s = 0.0
        if self.service.reads_per_s:
            wait_s = 1 / self.service.reads_per_s
        if self.service.bytes_per_s:
            wait_s = max(wait_s, size_bytes / self.service.bytes_per_s)
        if self.follow and not (size_bytes or shard.behind_ms):
            wait_s = max(wait_s, _IDLE_S)
        shard.due_s = self.clock() + wait_s

    def _is_beyond(self, sequence_number: str, stamp_ms: float) -> bool:
        if self.range.last_sequence and int(sequence_number) > int(self.range.last_sequence):
            return True
        if self.range.ends_ms is not None and stamp_ms > self.range.ends_ms + self.service.skew_ms:
            return True
        if self.range.until_ms is None or not self.service.stamps_are_near:
            return False
        return stamp_ms > self.range.until_ms + STAMP_SLACK_MS

    # ------------------------------------------------------------------------------------------ shards

    def _live(self) -> list[_Shard]:
        return [shard for shard in self._shards.values() if not shard.is_done and not self._waits(shard)]

    def _waits(self, shard: _Shard) -> bool:
        parents = [self._shards[parent] for parent in shard.parents if parent in self._shards]
        return any(not parent.is_done for parent in parents)

    def _take_up(self, cursor: Cursor) -> None:
        for shard in self._discover():
            position = cursor.get(shard.id, "")
            if position == END:
                shard.is_done = True
            else:
                shard.position = position

    def _discover(self) -> list[_Shard]:
        """Return the shards that were not known yet."""
        fresh = []
        shards = list_shards(self.kinesis, self.stream)
        for given in shards:
            if given["ShardId"] in self._shards or (self.range.shards and given["ShardId"] not in self.range.shards):
                continue
            parents = tuple(filter(None, (given.get("ParentShardId"), given.get("AdjacentParentShardId"))))
            shard = _Shard(given["ShardId"], parents)
            self._shards[shard.id] = shard
            fresh.append(shard)
        if missing := set(self.range.shards) - self._shards.keys():
            known = sorted(given["ShardId"] for given in shards)
            raise OptionInvalid(f"The stream has no shard {min(missing)}; it has: {', '.join(known)}.")
        return fresh


def make(context: ReplayContext, request: ReplayRequest, selection: Filter) -> FromStream:  # noqa: ARG001 - the port
    """Return the stack's stream as the origin of a replay. Raises: OptionInvalid."""
    stack = context.stack
    wanted = StreamRange(
        request.since_ms,
        request.until_ms,
        request.shards,
        request.first_sequence,
        request.last_sequence,
        request.ends_ms,
    )
    say = context.console.say
    return FromStream(stack.kinesis, stack.stream, wanted, stack.service, follow=request.follow, say=say)


def list_shards(kinesis: KinesisClient, stream: str) -> list[Mapping[str, Any]]:
    """Return every shard of a stream, closed ones too."""
    found: list[Mapping[str, Any]] = []
    after: dict[str, Any] = {}
    while True:
        # By the last id instead of NextToken, which engines want with the stream's name and AWS without it.
        answer = kinesis.list_shards(StreamName=stream, **after)
        found += answer["Shards"]
        if not answer.get("NextToken"):
            return found
        after = {"ExclusiveStartShardId": found[-1]["ShardId"]}


def _stamp_ms(given: Mapping[str, Any]) -> float:
    """Return when the stream took a record: a number of seconds in JSON, a time where botocore has parsed it."""
    stamp = given["ApproximateArrivalTimestamp"]
    return float(stamp if isinstance(stamp, int | float) else stamp.timestamp()) * 1000


def _size_bytes(page: Sequence[Mapping[str, Any]]) -> int:
    """Return the size of a page's data, which is base64 in JSON."""
    return sum(len(data) if isinstance(data := one["Data"], bytes) else len(data) * 3 // 4 for one in page)


def _parse(position: str) -> tuple[int, int]:
    if not position:
        return -1, -1
    sequence_number, _, sub_sequence = position.partition(".")
    return int(sequence_number), int(sub_sequence)

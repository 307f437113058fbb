"""The stream as the target: many deliveries in one record, as the KPL aggregates them, and few PutRecords.

The order of a key is kept: a key stays in one lane, and no request holds two records of one lane, since the entries of
a request fail one by one and in any order.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from weir.consumers.judging.aggregate import Entry, aggregate
from weir.ingest.envelope import Envelope, partition_key
from weir.ingest.errors import ConfigError, TargetUnavailable
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.stack import AWS, Stack
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.origins import kind_of
from weir.operate.replay.origins.from_stream import list_shards
from weir.operate.replay.ports import Result, Stopped
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.waits import backoff_s, rest

if TYPE_CHECKING:
    from types_boto3_kinesis import KinesisClient
    from types_boto3_kinesis.type_defs import PutRecordsRequestEntryTypeDef

# The whole request: AWS takes 10 MiB by now, emulators and older texts 5.
_REQUEST_BYTES = 4_500_000
_REQUEST_ENTRIES = 500
_KEY_CHARS = 256
# A quarter of a shard's 1 MB/s, so that senders are not refused because of a replay.
_BYTES_PER_SHARD_S = 250_000.0
_BACKOFF_MAX_S = 5.0


class ToStream:
    """Puts deliveries back into a stream, where the consumer finds what it has applied before to be duplicates.

    What is too old to tell is left out: when the consumer reads it again, it could not tell either.
    ``bytes_per_s`` keeps room for live traffic: a throttled shard would refuse senders too. Without ``aggregated``
    each delivery is an entry of its own. It waits ``delay_s`` before the first.
    """

    batch_count = 5000

    def __init__(
        self,
        kinesis: KinesisClient,
        stream: str,
        previewer: Previewer,
        horizons: Horizons,
        *,
        aggregated: bool = True,
        bytes_per_s: float | None = None,
        delay_s: float = 0.0,
        patience_s: float = 120.0,
        stopped: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.label = f"stream {stream}{'' if aggregated else ', an entry each'}"
        self.calls = self.entries = 0
        self._kinesis, self._stream, self._previewer = kinesis, stream, previewer
        self._horizons = horizons
        self._aggregated = aggregated
        self._bytes_per_s = bytes_per_s
        self._delay_s = delay_s
        self._patience_s = patience_s
        self._stopped, self._sleep = stopped, sleep

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:  # noqa: ARG002 - the port
        """Put all of them but what is too old to tell; returns once every one has a sequence number."""
        envelopes = [self._previewer.envelope(one) for one in deliveries]
        kept = [not self._horizons.is_behind(envelope) for envelope in envelopes]
        found = zip(deliveries, envelopes, kept, strict=True)
        pairs = [(_stream_key(envelope, one), one.data) for one, envelope, is_kept in found if is_kept]
        try:
            entries = aggregate(pairs) if self._aggregated else (Entry(key, data, 1) for key, data in pairs)
            for request in _requests(entries):
                self._put(request)
        except ConfigError as error:
            raise TargetUnavailable(str(error)) from error
        return [
            Result("published") if is_kept else Result("too old to tell", envelope.source if envelope else "")
            for envelope, is_kept in zip(envelopes, kept, strict=True)
        ]

    def _put(self, entries: list[Entry]) -> None:
        self._rest(self._delay_s)
        self._delay_s = 0.0
        began_s, attempt = time.monotonic(), 0
        while entries:
            size_bytes = sum(len(entry.data) + len(entry.partition_key) for entry in entries)
            self.calls += 1
            entries, reason = self._try(entries)
            if not entries:
                self._rest(size_bytes / self._bytes_per_s if self._bytes_per_s else 0)
                return
            if time.monotonic() - began_s > self._patience_s:
                raise TargetUnavailable(f"The stream {self._stream} does not take the records: {reason}")
            attempt += 1
            self._rest(backoff_s(attempt, longest_s=_BACKOFF_MAX_S))

    def _try(self, entries: list[Entry]) -> tuple[list[Entry], str]:
        """Put once; return what is left to put and why."""
        records: list[PutRecordsRequestEntryTypeDef] = [
            {"PartitionKey": entry.partition_key, "Data": entry.data} for entry in entries
        ]
        errors = self._kinesis.exceptions
        try:
            answer = self._kinesis.put_records(StreamName=self._stream, Records=records)
        except (errors.ProvisionedThroughputExceededException, errors.KMSThrottlingException) as error:
            return entries, str(error)
        left = [
            (entry, result)
            for entry, result in zip(entries, answer["Records"], strict=True)
            if "SequenceNumber" not in result or result.get("ErrorCode")
        ]
        self.entries += len(entries) - len(left)
        return [entry for entry, _ in left], str(left[0][1].get("ErrorCode")) if left else ""

    def _rest(self, wait_s: float) -> None:
        if not rest(wait_s, stopped=self._stopped, sleep=self._sleep):
            raise Stopped


def make(context: ReplayContext, request: ReplayRequest) -> ToStream:
    """Return the stack's stream as the target of a replay."""
    stack = context.stack
    # What is put must be stamped later than what is still to be read.
    delay_s = 2 * stack.service.skew_ms / 1000 if kind_of(request.origin).has_shards else 0.0
    return ToStream(
        stack.kinesis,
        stack.stream,
        context.previewer,
        context.horizons(request),
        aggregated=not request.plain,
        bytes_per_s=None if request.rate_per_s else _bytes_per_s(stack),
        delay_s=delay_s,
        stopped=context.console.stopped,
    )


def _bytes_per_s(stack: Stack) -> float | None:
    """Return what a replay may put into a stream without a rate of its own; None: as fast as it goes."""
    if stack.service is not AWS:
        return None
    shards = list_shards(stack.kinesis, stack.stream)
    open_count = sum("EndingSequenceNumber" not in one["SequenceNumberRange"] for one in shards)
    return _BYTES_PER_SHARD_S * max(1, open_count)


def _stream_key(envelope: Envelope | None, delivery: Delivery) -> str:
    """Return the partition key under which the gateway stored such a delivery, or its position if it is unreadable."""
    key = partition_key(envelope) if envelope else delivery.as_record().position
    return key[:_KEY_CHARS] or "unreadable"


def _requests(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut entries into requests that hold no partition key twice and do not grow too large."""
    waiting: list[Entry] = []
    keys: set[str] = set()
    size_bytes = 0
    for entry in entries:
        entry_bytes = len(entry.data) + len(entry.partition_key)
        is_full = size_bytes + entry_bytes > _REQUEST_BYTES or len(waiting) == _REQUEST_ENTRIES
        if waiting and (is_full or entry.partition_key in keys):
            yield waiting
            waiting, keys, size_bytes = [], set(), 0
        waiting.append(entry)
        keys.add(entry.partition_key)
        size_bytes += entry_bytes
    if waiting:
        yield waiting

"""Records and batches as a function sees them: the event document, its size, and what is left of a batch that failed.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from weir.infra.local.function.invocations import InvocationResult
from weir.infra.local.poller.event_source_mapping import EventSourceMapping

_WRAPPING_BYTES = len('{"Records":[]}')


@dataclass(frozen=True, slots=True)
class Record:
    """One Kinesis record; ``data`` is base64, ``bytes`` what it takes in the event, ``read_at_s`` a monotonic time."""

    sequence_number: str
    partition_key: str
    data: str
    arrived_at_s: float
    bytes: int
    read_at_s: float


class EventFormat:
    """Writes the event documents of one shard."""

    def __init__(self, mapping: EventSourceMapping, shard_id: str, role_arn: str) -> None:
        self._shard_id = shard_id
        self._constant = {
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": role_arn,
            "awsRegion": mapping.region,
            "eventSourceARN": mapping.stream_arn,
        }

    def event(self, records: Iterable[Record]) -> dict[str, Any]:
        """Return the event that holds these records."""
        return {"Records": [self._entry(record, record.data) for record in records]}

    def measured(self, given: dict[str, Any], read_at_s: float) -> Record:
        """Return a record of a GetRecords answer with the bytes, separator included, that it takes in an event."""
        record = Record(
            sequence_number=given["SequenceNumber"],
            # Absent where the stream distributes records by itself.
            partition_key=given.get("PartitionKey", ""),
            data=given["Data"],
            arrived_at_s=float(given["ApproximateArrivalTimestamp"]),
            bytes=0,
            read_at_s=read_at_s,
        )
        frame = json.dumps(self._entry(record, ""), separators=(",", ":"))
        return replace(record, bytes=len(frame) + len(record.data) + 1)

    def _entry(self, record: Record, data: str) -> dict[str, Any]:
        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record.partition_key,
                "sequenceNumber": record.sequence_number,
                "data": data,
                "approximateArrivalTimestamp": record.arrived_at_s,
            },
            "eventID": f"{self._shard_id}:{record.sequence_number}",
            **self._constant,
        }


@dataclass(frozen=True, slots=True)
class Batch:
    """Records to invoke the function with.

    ``failures`` counts what the retry quota counts. ``stalls`` counts tries of exactly these records that brought
    nothing, refused ones too; the wait before the next grows with it.
    """

    records: tuple[Record, ...]
    failures: int = 0
    stalls: int = 0

    @property
    def bytes(self) -> int:
        return _WRAPPING_BYTES + sum(record.bytes for record in self.records)

    def stalled(self, *, failed: bool) -> Batch:
        """Return the same records after one more failed try."""
        return replace(self, failures=self.failures + failed, stalls=self.stalls + 1)


def form(waiting: Iterable[Record], *, batch_size: int, payload_limit_bytes: int) -> tuple[Batch, bool]:
    """Return the longest batch that the first records make, and whether it is full.

    A record that is too large for any event makes a batch of its own.
    """
    taken: list[Record] = []
    size = _WRAPPING_BYTES
    for record in waiting:
        if taken and size + record.bytes > payload_limit_bytes:
            return Batch(tuple(taken)), True
        taken.append(record)
        size += record.bytes
        if len(taken) == batch_size or size > payload_limit_bytes:
            return Batch(tuple(taken)), True
    return Batch(tuple(taken)), False


@dataclass(frozen=True, slots=True)
class Failure:
    """What is not done: everything from index ``at`` on; ``whole`` when the answer names no record of the batch."""

    at: int
    whole: bool


_WHOLE_BATCH = Failure(0, whole=True)


def judge(result: InvocationResult, records: Sequence[Record], *, reported: bool) -> Failure | None:
    """Return what failed, None when every record is done.

    ``reported`` says that the mapping has ReportBatchItemFailures; without it the response means nothing. The lowest
    sequence number counts. A response that names anything but records of the batch fails the whole batch.

    Source: LocalStack's test_kinesis_report_batch_item_failure_scenarios, recorded against AWS on 2025-11-25.
    """
    if result.function_error is not None:
        return _WHOLE_BATCH
    if not reported or not result.payload:
        return None
    if not isinstance(result.payload, dict):
        return _WHOLE_BATCH
    named = result.payload.get("batchItemFailures")
    if not named:
        return None
    try:
        position = {record.sequence_number: index for index, record in enumerate(records)}
        return Failure(min(position[item["itemIdentifier"]] for item in named), whole=False)
    except (KeyError, TypeError):
        return _WHOLE_BATCH


def remaining(batch: Batch, failure: Failure, *, bisect: bool) -> list[Batch]:
    """Return what is still to be done after a failed invocation, in order.

    With bisect, a whole failure halves the batch and a partial response cuts it where it says; neither consumes the
    retry quota. A partial response that names the first record cuts nothing off: it is a retry of the whole batch.
    """
    rest = batch.records[failure.at :]
    if failure.at > 0:
        return [Batch(rest, batch.failures + (not bisect))]
    if bisect and failure.whole and len(rest) > 1:
        middle = (len(rest) + 1) // 2
        return [Batch(rest[:middle], batch.failures), Batch(rest[middle:], batch.failures)]
    return [batch.stalled(failed=True)]

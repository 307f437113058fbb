"""The sources of the account, as each place keeps them: access log, stream, archive, failures, table, progress.

The embedded stack keeps its access log and its checkpoints in files. AWS keeps the log in CloudWatch and shows only the
age of what the consumer reads. LocalStack 4.14 keeps neither: there the stream itself says what was acknowledged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.consumers.outcome import Outcome
from weir.ingest.ids import RequestId, SequenceNumber
from weir.ingest.lines import whole
from weir.operate.audit.account import Acknowledged, AuditSources, ConsumerProgress
from weir.operate.lookup.delivery import Advance, Cursor, Delivery, Estimate, Origin
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.stack import Stack
from weir.operate.replay.origins.archive_objects import Archive
from weir.operate.replay.origins.from_failures import FromFailures
from weir.operate.replay.origins.from_stream import FromStream, StreamRange

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_logs import CloudWatchLogsClient

# A log line is written after the answer, and CloudWatch takes its time.
_LOG_LATE_MS = 300_000
# The oldest records of a stream expire while they are read.
_EXPIRY_SLACK_MS = 60_000
# Firehose may buffer for 15 minutes.
_ARCHIVED_MS = 1_200_000
_METRIC_S = 600


def open_audit_sources(stack: Stack, since_ms: int, until_ms: int, now_ms: int, *, grace_ms: int) -> AuditSources:
    """Return the audit sources of a window.

    What is older than the stream keeps it, or on AWS than the archive needs to have it, is read from the archive: a
    shard gives a reader 2 MB/s for all, S3 gives what it takes.
    """
    border_ms = now_ms - stack.retention_s * 1000 + _EXPIRY_SLACK_MS
    if stack.has_archive and stack.service.bytes_per_s:
        border_ms = max(border_ms, now_ms - _ARCHIVED_MS)
    others: list[Origin] = []
    primary: Origin = stream_of(stack, max(since_ms, min(border_ms, until_ms)), until_ms, now_ms)
    if stack.has_archive:
        others.append(archive_of(stack, since_ms, until_ms))
    if stack.has_archive and border_ms > since_ms:
        older = archive_of(stack, since_ms, min(border_ms, until_ms))
        parts = ((older, since_ms, border_ms - 1), (primary, border_ms, until_ms))
        primary = Joined(Previewer(stack.catalogue), parts)
        others = [stream_of(stack, since_ms, until_ms, now_ms)]
    statuses = stack.statuses
    return AuditSources(
        acknowledged=acknowledged(stack, since_ms, until_ms),
        primary=primary,
        others=others,
        statuses=statuses,
        progress=progress(stack, now_ms, grace_ms),
        failures=lambda: given_up(stack, statuses.previewer),
        stored=lambda: stored(stack, since_ms, until_ms),
        grace_ms=grace_ms,
        archived=lambda: archived(stack, since_ms, until_ms),
        archived_until_ms=now_ms - _ARCHIVED_MS if stack.has_archive else -1,
    )


def stream_of(stack: Stack, since_ms: int, until_ms: int, now_ms: int) -> Origin:
    """Return a part of the stream, as it is now."""
    span = StreamRange(since_ms=since_ms, until_ms=until_ms, ends_ms=now_ms)
    return FromStream(stack.kinesis, stack.stream, span, stack.service)


def archive_of(stack: Stack, since_ms: int, until_ms: int | None) -> Archive:
    """Return a part of the archive."""
    return Archive(stack.table.s3, stack.table.bucket, since_ms, until_ms)


def archived(stack: Stack, since_ms: int, until_ms: int) -> Iterator[RequestId]:
    """Yield the request ids in the archive: those of a window first, then what may have been put in later."""
    yield from archive_of(stack, since_ms, until_ms).request_ids()
    yield from archive_of(stack, until_ms, None).request_ids()


class Joined:
    """Several origins one after the other, each for its own part of the time; ends included."""

    label = "archive and stream"

    def __init__(self, previewer: Previewer, parts: tuple[tuple[Origin, int, int], ...]) -> None:
        self._previewer = previewer
        self._parts = parts

    def estimate(self) -> Estimate:
        """Return an empty estimate: an account needs none."""
        return Estimate()

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield what each has of its own part."""
        for origin, since_ms, until_ms in self._parts:
            for step in origin.read(cursor):
                if isinstance(step, Delivery):
                    envelope = self._previewer.envelope(step)
                    if envelope is not None and since_ms <= envelope.arrived_at_ms <= until_ms:
                        yield step


# ------------------------------------------------------------------------------------------------ access log


def acknowledged(stack: Stack, since_ms: int, until_ms: int) -> Iterable[Acknowledged] | None:
    """Return the requests that were answered 2xx; None when there is no access log."""
    if stack.access_log is not None:
        return _of_file(stack.access_log) if stack.access_log.exists() else None
    if not stack.access_group or stack.logs is None:
        return None
    found = _of_group(stack.logs, stack.access_group, since_ms, until_ms)
    first = next(found, None)  # a group without a line is not a log
    return None if first is None else chain([first], found)


def _of_file(path: Path) -> Iterator[Acknowledged]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        yield from filter(None, map(read_line, whole(lines)))


def _of_group(logs: CloudWatchLogsClient, group: str, since_ms: int, until_ms: int) -> Iterator[Acknowledged]:
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        startTime=since_ms,
        endTime=until_ms + _LOG_LATE_MS,
        filterPattern='{ $.status = "2*" && $.method = "POST" }',
    )
    for page in pages:
        yield from filter(None, (read_line(event["message"]) for event in page["events"]))


def read_line(line: str) -> Acknowledged | None:
    """Read a line of the access log; None unless a POST was stored and answered 2xx.

    Kinesis answers 200 to what it stored. The handshake function stores whatever it answers 2xx, and its own status is
    the integration's, 204 for some.
    """
    try:
        facts = json.loads(line)
        statuses = (facts["status"], facts["integration_status"])
        stored = facts["method"] == "POST" and all(status.startswith("2") for status in statuses)
        return Acknowledged(RequestId(str(facts["id"])), int(facts["at"])) if stored else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


# ------------------------------------------------------------------------------------------------ failures and table


def given_up(stack: Stack, previewer: Previewer) -> Iterator[tuple[RequestId, str]]:
    """Yield the request id of every delivery that the mapping gave up on, and the object that keeps it."""
    for batch in FromFailures(stack.table.s3, stack.table.bucket).batches():
        for delivery in batch.deliveries():
            envelope = previewer.envelope(delivery)
            if envelope is not None:
                yield envelope.request_id, f"s3://{stack.table.bucket}/{batch.key}"


def stored(stack: Stack, since_ms: int, until_ms: int) -> Iterator[tuple[RequestId, str]]:
    """Yield request id and outcome of every item that arrived in the window: reads the whole table."""
    pages = stack.table.dynamodb.get_paginator("scan").paginate(
        TableName=stack.table.name,
        ConsistentRead=True,
        ProjectionExpression="request_id, #outcome",
        FilterExpression="received_at BETWEEN :since AND :until",
        ExpressionAttributeNames={"#outcome": "outcome"},
        ExpressionAttributeValues={":since": {"N": str(since_ms)}, ":until": {"N": str(until_ms)}},
    )
    for page in pages:
        for item in page["Items"]:
            if "request_id" in item and item["outcome"]["S"] != Outcome.FENCED:
                yield RequestId(item["request_id"]["S"]), item["outcome"]["S"]


# ------------------------------------------------------------------------------------------------ progress


def progress(stack: Stack, now_ms: int, grace_ms: int) -> ConsumerProgress:
    """Return how far the consumer has read, as exactly as the place shows it."""
    known = stack.checkpoints()
    if known is not None:
        return ByCheckpoints(known)
    age_ms = iterator_age_ms(stack.cloudwatch, stack.function, now_ms) if stack.cloudwatch else 0
    return ByAge(now_ms - age_ms - grace_ms)


@dataclass(frozen=True, slots=True)
class ByCheckpoints:
    """The embedded stack's own checkpoints, exact."""

    shards: Mapping[str, Mapping[str, Any]]

    def has_read(self, shard_id: str, sequence_number: SequenceNumber, arrived_at_ms: int) -> bool:  # noqa: ARG002 - the port
        """Tell whether the checkpoint is behind the record."""
        iterator = self.shards.get(shard_id)
        if iterator is None:
            return False
        if not iterator:
            return True  # the end of the shard
        bound = int(iterator.get("StartingSequenceNumber", -1))
        is_after = iterator["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER"
        return int(sequence_number) < bound or (is_after and int(sequence_number) == bound)

    def has_passed(self, arrived_at_ms: int) -> bool:  # noqa: ARG002 - the port
        """Say yes: what is no longer in the stream will not be read."""
        return True


@dataclass(frozen=True, slots=True)
class ByAge:
    """What arrived before some moment has been read, as Lambda's IteratorAge says."""

    border_ms: int

    def has_read(self, shard_id: str, sequence_number: SequenceNumber, arrived_at_ms: int) -> bool:  # noqa: ARG002 - the port
        """Tell whether the record is older than what the consumer reads now."""
        return arrived_at_ms < self.border_ms

    def has_passed(self, arrived_at_ms: int) -> bool:
        """Tell whether the delivery is older than what the consumer reads now."""
        return arrived_at_ms < self.border_ms


def iterator_age_ms(cloudwatch: CloudWatchClient, function: str, now_ms: int) -> int:
    """Return the age of what the consumer last read; 0 when it has had nothing to read."""
    answer = cloudwatch.get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="IteratorAge",
        Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=datetime.fromtimestamp(now_ms / 1000 - _METRIC_S, UTC),
        EndTime=datetime.fromtimestamp(now_ms / 1000, UTC),
        Period=60,
        Statistics=["Maximum"],
    )
    points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    return max((round(point["Maximum"]) for point in points[-3:]), default=0)

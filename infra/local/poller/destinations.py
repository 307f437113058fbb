"""On-failure destinations: the document that says which records were given up, and where it goes.

Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from weir.infra.local.engine_client.aws_json import AwsClient
from weir.infra.local.function.invocations import InvocationResult
from weir.infra.local.poller.batches import Record

Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Records that will not be tried again; ``last`` is the last answer of the function to them, if there was one."""

    shard_id: str
    records: Sequence[Record]
    condition: Condition
    invoke_count: int
    last: InvocationResult | None


class Destination(Protocol):
    """Where given-up records go. ``write`` is not idempotent: a repeated write may leave two documents, never none."""

    async def write(self, given_up: GivenUp, event: dict[str, Any], at_s: float) -> None:
        """Store the document; ``event`` is what the function would have got. Raises: AwsError."""


class QueueDestination:
    """An SQS queue gets the metadata alone."""

    def __init__(self, client: AwsClient, arn: str, described: Described) -> None:
        self._client = client
        self._name = arn.rpartition(":")[2]
        self._described = described

    async def write(self, given_up: GivenUp, event: dict[str, Any], at_s: float) -> None:  # noqa: ARG002 - the port
        """Send one message."""
        url = await self._client.ask("AmazonSQS.GetQueueUrl", {"QueueName": self._name}, lambda told: told["QueueUrl"])
        document = self._described.document(given_up, at_s)
        message = {"QueueUrl": url, "MessageBody": json.dumps(document)}
        await self._client.ask("AmazonSQS.SendMessage", message, lambda told: told["MessageId"])


class BucketDestination:
    """An S3 bucket gets the metadata and the whole event, as text within the document."""

    def __init__(self, client: AwsClient, arn: str, described: Described) -> None:
        self._client = client
        self._bucket = arn.rpartition(":")[2].partition("/")[0]
        self._described = described

    async def write(self, given_up: GivenUp, event: dict[str, Any], at_s: float) -> None:
        """Put one object."""
        document = self._described.document(given_up, at_s) | {"payload": json.dumps(event, separators=(",", ":"))}
        moment = datetime.fromtimestamp(at_s, UTC)
        folder = f"aws/lambda/{self._described.mapping_id}/{given_up.shard_id}/{moment:%Y/%m/%d}"
        key = f"{folder}/{moment:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
        await self._client.put_object(self._bucket, key, json.dumps(document).encode())


@dataclass(frozen=True, slots=True)
class Described:
    """The facts of a mapping that every failure document carries."""

    mapping_id: str
    function_arn: str
    stream_arn: str

    def document(self, given_up: GivenUp, at_s: float) -> dict[str, Any]:
        """Return the metadata that describes these records."""
        last = given_up.last
        first_record, last_record = given_up.records[0], given_up.records[-1]
        document: dict[str, Any] = {
            "requestContext": {
                "requestId": last.request_id if last else str(uuid.uuid4()),
                "functionArn": self.function_arn,
                "condition": given_up.condition,
                "approximateInvokeCount": given_up.invoke_count,
            },
            "version": "1.0",
            "timestamp": _iso(at_s),
            "KinesisBatchInfo": {
                "shardId": given_up.shard_id,
                "startSequenceNumber": first_record.sequence_number,
                "endSequenceNumber": last_record.sequence_number,
                "approximateArrivalOfFirstRecord": _iso(first_record.arrived_at_s),
                "approximateArrivalOfLastRecord": _iso(last_record.arrived_at_s),
                "batchSize": len(given_up.records),
                "streamArn": self.stream_arn,
            },
        }
        # AWS leaves the member out when it gave up because of age.
        # Source: LocalStack's test_kinesis_maximum_record_age_exceeded, recorded against AWS on 2025-11-25.
        if last is not None and given_up.condition == "RetryAttemptsExhausted":
            document["responseContext"] = {
                "statusCode": last.status_code,
                "executedVersion": last.executed_version,
                "functionError": last.function_error,
            }
        return document


def destination(client: AwsClient, arn: str | None, described: Described) -> Destination | None:
    """Return the destination that an ARN names."""
    if arn is None:
        return None
    kind = QueueDestination if arn.split(":")[2] == "sqs" else BucketDestination
    return kind(client, arn, described)


def _iso(at_s: float) -> str:
    moment = datetime.fromtimestamp(at_s, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"

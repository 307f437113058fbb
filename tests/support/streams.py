"""A stream on the engine with a poller on it, and a consumer that does what a test says."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.aws import client
from weir.infra.local.engine_client.aws_json import AwsClient
from weir.infra.local.function.invocations import InvocationResult
from weir.infra.local.poller.event_source_mapping import EventSourceMapping
from weir.infra.local.poller.lanes import Timing
from weir.infra.local.poller.poller import Poller
from weir.infra.local.poller.reports import BatchReport

FAST = Timing(poll_s=0.02, discover_s=0.1, save_s=0.02, backoff_s=0.01, backoff_limit_s=0.1)
KINESIS = "Kinesis_20131202"

Behaviour = Callable[[list[dict[str, Any]]], Any]


def data_of(record: dict[str, Any]) -> str:
    """Return the text of one record of an event."""
    return base64.b64decode(record["kinesis"]["data"]).decode()


def sequence_of(record: dict[str, Any]) -> str:
    """Return the sequence number of one record of an event."""
    return str(record["kinesis"]["sequenceNumber"])


def failing_from(record: dict[str, Any]) -> dict[str, Any]:
    """Return the partial batch response that names one record."""
    return {"batchItemFailures": [{"itemIdentifier": sequence_of(record)}]}


class Consumer:
    """An ``invoke``: hands the records to ``behave`` and answers what it returns, or its exception as Lambda would.

    ``batches`` holds the texts of every batch seen, ``done`` every text in the order in which it was first done.
    """

    def __init__(self, behave: Behaviour = lambda records: None) -> None:
        self.behave = behave
        self.batches: list[list[str]] = []
        self.events: list[dict[str, Any]] = []

    @property
    def seen(self) -> list[str]:
        return list(itertools.chain.from_iterable(self.batches))

    async def __call__(self, event: dict[str, Any]) -> InvocationResult:
        self.events.append(event)
        self.batches.append([data_of(record) for record in event["Records"]])
        request_id = str(uuid.uuid4())
        try:
            answer = self.behave(event["Records"])
            if isinstance(answer, Awaitable):
                answer = await answer
        except Exception as error:  # noqa: BLE001 - as Lambda's runtime does
            document = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return InvocationResult(200, request_id, document, "Unhandled")
        return answer if isinstance(answer, InvocationResult) else InvocationResult(200, request_id, answer)


async def eventually(holds: Callable[[], Any], *, within_s: float = 15) -> None:
    """Wait until something holds; fail with its last value if it never does."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"still not so after {within_s} s: {holds()!r}"
        await asyncio.sleep(0.01)


class StreamUnderTest:
    """A stream of its own for one test."""

    def __init__(self, client: AwsClient, name: str, state: Path) -> None:
        self.client = client
        self.name = name
        self.arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}"
        self.state = state
        self.reports: list[BatchReport] = []
        self.notices: list[str] = []

    async def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        return await self.client.call(f"{KINESIS}.{action}", {"StreamName": self.name, **parameters})

    async def put(self, texts: Iterable[str], key: Callable[[str], str] = lambda text: text[:200]) -> None:
        """Put records in order; each one's key follows from its text."""
        entries = [
            {"PartitionKey": key(text), "Data": base64.b64encode(text.encode()).decode("ascii")} for text in texts
        ]
        for start in range(0, len(entries), 500):
            answer = await self.call("PutRecords", Records=entries[start : start + 500])
            assert answer["FailedRecordCount"] == 0

    async def shard_ids(self) -> list[str]:
        return [shard["ShardId"] for shard in (await self.call("ListShards"))["Shards"]]

    def mapping(self, **properties: Any) -> EventSourceMapping:
        given = {"EventSourceArn": self.arn, "FunctionName": "orders", "StartingPosition": "TRIM_HORIZON"}
        return EventSourceMapping.from_properties(given | properties)

    def poller(self, invoke: Any, properties: dict[str, Any], **options: Any) -> Poller:
        given: dict[str, Any] = {"timing": FAST, "endpoint": self.client.endpoint, "state": self.state}
        hooks = {"on_batch": self.reports.append, "on_notice": self.notices.append}
        return Poller(self.mapping(**properties), invoke, **given | hooks | options)

    @asynccontextmanager
    async def polled(
        self, invoke: Any, options: dict[str, Any] | None = None, /, **properties: Any
    ) -> AsyncIterator[Poller]:
        """Run a poller on the stream; stop it at the end."""
        poller = self.poller(invoke, properties, **options or {})
        running = asyncio.create_task(poller.run())
        try:
            yield poller
            assert not running.done(), running
        finally:
            await poller.stop()
            await running

    def outcomes(self) -> Sequence[str]:
        return [report.outcome for report in self.reports]


@asynccontextmanager
async def stream(endpoint: str, state: Path, *, shards: int = 1) -> AsyncIterator[StreamUnderTest]:
    """Create a stream with a name of its own; delete it at the end."""
    async with AwsClient(endpoint) as client:
        made = StreamUnderTest(client, f"stream-{uuid.uuid4().hex[:12]}", state)
        await made.call("CreateStream", ShardCount=shards)
        for _ in range(200):
            summary = await made.call("DescribeStreamSummary")
            if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                break
            await asyncio.sleep(0.05)
        yield made
        await made.call("DeleteStream", EnforceConsumerDeletion=True)


def aws(service: str, endpoint: str) -> Any:
    """Return a boto3 client of the engine: what the poller wrote is read by somebody else's code."""
    return client(service, endpoint)


class Bucket:
    """A new bucket on the engine."""

    def __init__(self, endpoint: str) -> None:
        self.name = f"failures-{uuid.uuid4().hex[:12]}"
        self.arn = f"arn:aws:s3:::{self.name}"
        self._s3 = aws("s3", endpoint)
        self._s3.create_bucket(Bucket=self.name)

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return every object, read as JSON, by key."""
        listed = self._s3.list_objects_v2(Bucket=self.name).get("Contents", [])
        keys = [entry["Key"] for entry in listed]
        return {key: json.loads(self._s3.get_object(Bucket=self.name, Key=key)["Body"].read()) for key in keys}

    def payloads(self) -> list[str]:
        """Return the texts of every record that was given up."""
        events = [json.loads(document["payload"]) for document in self.documents().values()]
        return [data_of(record) for event in events for record in event["Records"]]

"""The bench that a scenario works on: an API, a stream, a function, a mapping, whatever place makes them."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tests.conformance.apis import Api
from tests.conformance.aws import BUSY, Aws, Bucket, Clients, Queue, Stream, Topic, Waits, code_of, empty_and_delete
from tests.conformance.probe import PROBE, Function
from tests.support.aws import ACCESS_KEY
from weir.infra.place import EMBEDDED_ACCOUNT, REGION

PASS = "def behave(texts, records, call):\n    return None\n"


class Refused(Exception):
    """The place would not make what the scenario asked for; the text says why, the same on every run."""


class Unavailable(Exception):
    """The place cannot show the scenario, for a reason that is not of the scenario: an account's limit, for example."""


class RunningMapping(ABC):
    """A running event source mapping."""

    @abstractmethod
    async def pause(self) -> None:
        """Disable it, and wait until it is."""

    @abstractmethod
    async def resume(self) -> None:
        """Enable it again."""


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """How an API is deployed; ``throttle`` is the rate and the burst of all its methods."""

    variables: Mapping[str, str] = field(default_factory=dict)
    throttle: tuple[float, int] | None = None
    access_log_format: str | None = None


class Bench(ABC):
    """What one scenario makes, taken away when it is over.

    ``table`` is where functions take their notes, ``gateway_role`` is the role by which an API may write to the
    streams, ``name`` what the names of all that it makes begin with.
    """

    gateway_role: str

    def __init__(self, aws: Aws, prefix: str, table: str, tags: Mapping[str, str]) -> None:
        self.aws = aws
        self.table = table
        self.tags = dict(tags)
        self.name = f"{prefix}-{uuid.uuid4().hex[:6]}"

    @abstractmethod
    async def _make_api(self, definition: Mapping[str, Any], options: ApiOptions) -> Api:
        """Deploy an API and wait until it is. Raises: Refused."""

    @abstractmethod
    async def _make_mapping(self, function: Function, properties: Mapping[str, Any]) -> RunningMapping:
        """Make a mapping and wait until it is on, or off if it is to be. Raises: Refused."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let so much time go by for the mappings of this bench."""

    @abstractmethod
    async def _make_function(self, name: str, source: str, variables: Mapping[str, str], **options: int | None) -> None:
        """Make a function whose handler is ``probe.handler``; the options are those of ``function``."""

    async def api(self, definition: Mapping[str, Any], **options: Any) -> Api:
        """Deploy an API; the options are those of `ApiOptions`. Raises: Refused."""
        return await self._make_api(definition, ApiOptions(**options))

    async def mapping(self, stream: Stream, function: Function, **properties: Any) -> RunningMapping:
        """Make a mapping with properties of AWS::Lambda::EventSourceMapping, TRIM_HORIZON if none is given.

        Raises: Refused.
        """
        given = {"EventSourceArn": stream.arn, "FunctionName": function.name, "StartingPosition": "TRIM_HORIZON"}
        return await self._make_mapping(function, given | properties)

    async def function(
        self, behave: str = PASS, *, timeout_s: int = 20, reserved_concurrency: int | None = None
    ) -> Function:
        """Make a function that does what the source ``behave(texts, records, call)`` says; calls count from 1.

        Raises: Unavailable where the account has no concurrency to reserve.
        """
        name = f"{self.name}-{uuid.uuid4().hex[:4]}"
        variables = {"PROBE_TABLE": self.table, "PROBE_NAME": name}
        options = {"timeout_s": timeout_s, "reserved_concurrency": reserved_concurrency}
        await self._make_function(name, PROBE + behave, variables, **options)
        return Function(self.aws, self.table, name)

    async def stream(self, *, shards: int = 1, max_record_kib: int | None = None) -> Stream:
        """Make a stream and wait until it is active; a record may have 1,024 KiB unless more is asked for."""
        given: dict[str, Any] = {"MaxRecordSizeInKiB": max_record_kib} if max_record_kib else {}
        made = Stream(self.aws, self.name)
        self.aws.shards += shards
        self.aws.later("kinesis", "delete_stream", StreamName=self.name, EnforceConsumerDeletion=True)
        if self.tags:
            given["Tags"] = self.tags
        await made.call("create_stream", ShardCount=shards, **given)
        await made.active()
        return made

    async def bucket(self) -> Bucket:
        """Make a bucket."""
        region = self.aws.clients.region
        # Outside of us-east-1 a bucket's Region must be named, and there it must not be.
        # Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.aws.undo.push_async_callback(self._remove_bucket)
        await self.aws.call("s3", "create_bucket", Bucket=self.name, **where)
        if tags := tag_list(self.tags):
            await self.aws.call("s3", "put_bucket_tagging", Bucket=self.name, Tagging={"TagSet": tags})
        return Bucket(self.aws, self.name)

    async def _remove_bucket(self) -> None:
        # A mapping that is being deleted may still write into it.
        deadline = time.monotonic() + 20 * self.aws.patience
        while True:
            try:
                await asyncio.to_thread(empty_and_delete, self.aws.clients, self.name)
            except ClientError as error:
                if code_of(error) not in BUSY or time.monotonic() > deadline:
                    return
            else:
                return
            await asyncio.sleep(self.aws.waits.poll_s)

    async def queue(self) -> Queue:
        """Make a queue."""
        url = (await self.aws.call("sqs", "create_queue", QueueName=self.name, tags=self.tags))["QueueUrl"]
        self.aws.later("sqs", "delete_queue", QueueUrl=url)
        return Queue(self.aws, self.name, url)

    async def topic(self) -> Topic:
        """Make a topic."""
        arn = (await self.aws.call("sns", "create_topic", Name=self.name, Tags=tag_list(self.tags)))["TopicArn"]
        self.aws.later("sns", "delete_topic", TopicArn=arn)
        return Topic(arn)


class Place(ABC):
    """AWS, or what stands in for it. ``about`` says which, ``at_once`` how many scenarios it bears together.

    ``limit_s`` ends a scenario that hangs. ``tries`` above 1 run a scenario again, alone, whose outcome could not be
    published: a place that is slow now and then.
    """

    name: str
    about: str
    at_once: int
    limit_s: float
    waits = Waits()
    tries: int = 1

    def __init__(self, clients: Clients, *, account: str = EMBEDDED_ACCOUNT, prefix: str = "") -> None:
        self.clients = clients
        self.account = account
        self.prefix = prefix or f"conf-{uuid.uuid4().hex[:10]}"
        self.table = f"{self.prefix}-notes"
        self.tags: dict[str, str] = {}

    def aws(self, undo: contextlib.AsyncExitStack) -> Aws:
        """Return AWS's APIs for one scenario."""
        return Aws(self.clients, self.account, undo, self.waits)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Make what all benches share."""
        await self.make_table()
        try:
            yield
        finally:
            await asyncio.to_thread(self.clients("dynamodb").delete_table, TableName=self.table)

    async def make_table(self) -> None:
        """Make the table for the notes of functions and wait until it is there."""
        tags: dict[str, Any] = {"Tags": tag_list(self.tags)} if self.tags else {}
        await self.aws(contextlib.AsyncExitStack()).call(
            "dynamodb",
            "create_table",
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "function", "AttributeType": "S"},
                {"AttributeName": "call", "AttributeType": "N"},
            ],
            KeySchema=[
                {"AttributeName": "function", "KeyType": "HASH"},
                {"AttributeName": "call", "KeyType": "RANGE"},
            ],
            **tags,
        )
        waiter = self.clients("dynamodb").get_waiter("table_exists")
        await asyncio.to_thread(waiter.wait, TableName=self.table, WaiterConfig={"Delay": 1, "MaxAttempts": 120})

    @abstractmethod
    def bench(self, aws: Aws) -> Bench:
        """Make a bench for one scenario."""


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as most of AWS's APIs take them."""
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def emulator(endpoint: str) -> Clients:
    """Return the clients of an emulator, with the credentials of tests."""
    return Clients(boto3.Session(ACCESS_KEY, ACCESS_KEY, region_name=REGION), endpoint)

"""The bench that a scenario works on: an API, a stream, a function, a mapping, whatever emulator makes them."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.apis import Api
from tests.conformance.aws import ACCOUNT, REGION, Aws, Bucket, Queue, Stream, client
from tests.conformance.probe import PROBE, Function

PASS = "def behave(texts, records, call):\n    return None\n"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/conformance"


class Refused(Exception):
    """The emulator would not make what the scenario asked for; the text says why, the same on every run."""


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
    """What one scenario makes, taken away when it is over; ``table`` is where functions take their notes."""

    def __init__(self, aws: Aws, table: str) -> None:
        self.aws = aws
        self.table = table
        self.name = f"conf-{uuid.uuid4().hex[:10]}"

    @abstractmethod
    async def _make_api(self, definition: Mapping[str, Any], options: ApiOptions) -> Api:
        """Deploy an API. Raises: Refused."""

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
        """Make a function that does what the source ``behave(texts, records, call)`` says; calls count from 1."""
        name = f"{self.name}-{uuid.uuid4().hex[:4]}"
        variables = {"PROBE_TABLE": self.table, "PROBE_NAME": name}
        options = {"timeout_s": timeout_s, "reserved_concurrency": reserved_concurrency}
        await self._make_function(name, PROBE + behave, variables, **options)
        return Function(self.aws, self.table, name)

    async def stream(self, *, shards: int = 1) -> Stream:
        """Make a stream and wait until it is active."""
        made = Stream(self.aws, self.name, f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{self.name}")
        await made.call("create_stream", ShardCount=shards)
        self.aws.later("kinesis", "delete_stream", StreamName=self.name, EnforceConsumerDeletion=True)
        await made.active()
        return made

    async def bucket(self) -> Bucket:
        """Make a bucket."""
        await self.aws.call("s3", "create_bucket", Bucket=self.name)
        return Bucket(self.aws, self.name, f"arn:aws:s3:::{self.name}")

    async def queue(self) -> Queue:
        """Make a queue."""
        url = (await self.aws.call("sqs", "create_queue", QueueName=self.name))["QueueUrl"]
        self.aws.later("sqs", "delete_queue", QueueUrl=url)
        return Queue(self.aws, url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}")


class Emulator(ABC):
    """A stand-in for AWS. ``about`` says which, ``at_once`` how many scenarios it bears together.

    ``patience`` stretches the waits of a scenario, ``limit_s`` ends one that hangs. ``tries`` above
    1 run a scenario again, alone, whose outcome could not be published: an emulator that is slow now and then.
    """

    name: str
    about: str
    at_once: int
    limit_s: float
    patience: float = 1.0
    tries: int = 1

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.table = f"conf-{uuid.uuid4().hex[:10]}"

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Make what all benches share."""
        dynamodb = client("dynamodb", self.endpoint)
        await asyncio.to_thread(
            dynamodb.create_table,
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
        )
        await asyncio.to_thread(
            dynamodb.get_waiter("table_exists").wait, TableName=self.table, WaiterConfig={"Delay": 1}
        )
        try:
            yield
        finally:
            await asyncio.to_thread(dynamodb.delete_table, TableName=self.table)

    @abstractmethod
    def bench(self, aws: Aws) -> Bench:
        """Make a bench for one scenario."""

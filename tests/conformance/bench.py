"""The bench that a scenario works on: an API, a stream, a function, a mapping, whatever world makes them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = "us-east-1"
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/conformance"
PASS = "def behave(texts, records, call):\n    return None\n"

# What every function starts with. It notes each invocation in a table before it does what the scenario says, with
# nothing but the standard library, so that a process starts fast.
PROBE = """
import base64, json, os, time, urllib.request

def dynamodb(action, document):
    scope = "probe/20260101/us-east-1/dynamodb/aws4_request"
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "DynamoDB_20120810." + action,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=" + "0" * 64,
    }
    body = json.dumps({"TableName": os.environ["PROBE_TABLE"], **document}).encode()
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"], body, headers)
    return json.loads(urllib.request.urlopen(request, timeout=20).read() or b"{}")

def handler(event, context):
    at = time.time()
    name, records = os.environ["PROBE_NAME"], event["Records"]
    texts = [base64.b64decode(record["kinesis"]["data"]).decode("utf-8", "replace") for record in records]
    counted = dynamodb("UpdateItem", {
        "Key": {"function": {"S": name}, "call": {"N": "0"}}, "UpdateExpression": "ADD calls :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}}, "ReturnValues": "UPDATED_NEW",
    })
    call = int(counted["Attributes"]["calls"]["N"])
    first = {**records[0], "kinesis": {**records[0]["kinesis"], "data": records[0]["kinesis"]["data"][:100]}}
    note = {
        "at": at, "members": sorted(event), "texts": [text[:100] for text in texts], "first": first,
        "shards": sorted({record["eventID"].partition(":")[0] for record in records}),
    }
    dynamodb("PutItem", {"Item": {
        "function": {"S": name}, "call": {"N": str(call)}, "note": {"S": json.dumps(note)},
    }})
    return behave(texts, records, call)

"""


class Refused(Exception):
    """The world would not make what the scenario asked for; the text says why, the same on every run."""


@dataclass(frozen=True)
class Answer:
    """An HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """Return the body as JSON, or as text when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body.decode("utf-8", "replace")


@dataclass(frozen=True)
class Invocation:
    """What a function noted when it was invoked; ``first`` is its first record as it came, data cut short."""

    at: float
    members: list[str]
    texts: list[str]
    first: dict[str, Any]
    shards: list[str]


class Api(ABC):
    """A deployed API; ``url`` is its stage."""

    url: str

    async def send(
        self, path: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = (), *, method: str = "POST"
    ) -> Answer:
        """Send one request with exactly these headers beside Host and Content-Length."""
        return await asyncio.to_thread(self._send, path, body, list(headers), method)

    def _send(self, path: str, body: bytes, headers: list[tuple[str, str]], method: str) -> Answer:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        try:
            connection.putrequest(method, address.path + path, skip_accept_encoding=True)
            for name, value in [("Content-Length", str(len(body))), *headers]:
                connection.putheader(name, value)
            connection.endheaders()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before the body was read
                connection.send(body)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    @abstractmethod
    async def log_lines(self, count: int) -> list[str]:
        """Return the access log, once it has this many lines or nothing comes any more."""


@dataclass
class Stream:
    """A stream of a scenario's own."""

    bench: Bench
    name: str
    arn: str

    async def call(self, operation: str, **parameters: Any) -> Any:
        return await self.bench.aws("kinesis", operation, StreamName=self.name, **parameters)

    async def put(self, texts: Iterable[str], key: Callable[[str], str] = lambda text: text[:200]) -> list[str]:
        """Put records one after the other; return their shards."""
        return [
            (await self.call("put_record", PartitionKey=key(text), Data=text.encode()))["ShardId"] for text in texts
        ]

    async def record(self, shard_id: str, sequence_number: str) -> bytes:
        """Return the data of one record."""
        iterator = (
            await self.call(
                "get_shard_iterator",
                ShardId=shard_id,
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                StartingSequenceNumber=sequence_number,
            )
        )["ShardIterator"]
        found = await self.bench.aws("kinesis", "get_records", ShardIterator=iterator, Limit=1)
        return bytes(found["Records"][0]["Data"])

    async def shards(self) -> list[dict[str, Any]]:
        return list((await self.call("list_shards"))["Shards"])

    async def split(self) -> None:
        """Split the first shard in the middle."""
        shard = (await self.shards())[0]
        keys = {name: int(value) for name, value in shard["HashKeyRange"].items()}
        middle = (keys["StartingHashKey"] + keys["EndingHashKey"]) // 2
        await self.call("split_shard", ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))
        await self.active()

    async def active(self) -> None:
        """Wait until the stream takes records."""
        while True:
            summary = (await self.call("describe_stream_summary"))["StreamDescriptionSummary"]
            if summary["StreamStatus"] == "ACTIVE":
                return
            await asyncio.sleep(0.1)


@dataclass
class Function:
    """A function that notes how it was invoked."""

    bench: Bench
    name: str

    async def invocations(
        self, done: Callable[[list[Invocation]], Any] = bool, *, within_s: float = 20, settle_s: float = 0
    ) -> list[Invocation]:
        """Return the invocations in order once ``done`` says so or the time is over, and ``settle_s`` later."""
        deadline = time.monotonic() + within_s * self.bench.patience
        while not done(found := await self._invocations()) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        if settle_s:
            await asyncio.sleep(settle_s)
            found = await self._invocations()
        return found

    async def texts(self, count: int, *, within_s: float = 20, settle_s: float = 0) -> list[str]:
        """Return what came in order, repetitions included, once there are so many."""
        found = await self.invocations(lambda seen: len(flat(seen)) >= count, within_s=within_s, settle_s=settle_s)
        return flat(found)

    async def _invocations(self) -> list[Invocation]:
        names = {"#f": "function", "#c": "call"}
        values = {":f": {"S": self.name}, ":zero": {"N": "0"}}
        notes: list[str] = []
        given: dict[str, Any] = {}
        while True:
            page = await self.bench.aws(
                "dynamodb",
                "query",
                TableName=self.bench.table,
                KeyConditionExpression="#f = :f AND #c > :zero",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                **given,
            )
            notes += [item["note"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return [Invocation(**json.loads(note)) for note in notes]
            given = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


class RunningMapping(ABC):
    """A running event source mapping."""

    @abstractmethod
    async def pause(self) -> None:
        """Disable it, and wait until it is."""

    @abstractmethod
    async def resume(self) -> None:
        """Enable it again."""


@dataclass
class Bucket:
    """A bucket as a failure destination."""

    bench: Bench
    name: str
    arn: str

    async def documents(self, count: int = 1, *, within_s: float = 30) -> list[tuple[str, dict[str, Any]]]:
        """Return key and document of every object, oldest first, once there are so many."""
        deadline = time.monotonic() + within_s * self.bench.patience
        while True:
            listed = (await self.bench.aws("s3", "list_objects_v2", Bucket=self.name)).get("Contents", [])
            if len(listed) >= count or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.3)
        keys = [entry["Key"] for entry in sorted(listed, key=lambda entry: entry["LastModified"])]
        return [(key, json.loads(await self._read(key))) for key in keys]

    async def _read(self, key: str) -> bytes:
        found = await self.bench.aws("s3", "get_object", Bucket=self.name, Key=key)
        return bytes(await asyncio.to_thread(found["Body"].read))


@dataclass
class Queue:
    """A queue as a failure destination."""

    bench: Bench
    url: str
    arn: str

    async def documents(self, *, within_s: float = 30) -> list[dict[str, Any]]:
        """Return the messages of the first answer that has any."""
        deadline = time.monotonic() + within_s * self.bench.patience
        while time.monotonic() < deadline:
            found = await self.bench.aws("sqs", "receive_message", QueueUrl=self.url, MaxNumberOfMessages=10)
            if found.get("Messages"):
                return [json.loads(message["Body"]) for message in found["Messages"]]
            await asyncio.sleep(0.3)
        return []


@dataclass
class Bench(ABC):
    """What one scenario makes, taken away when it is over. ``patience`` stretches every wait that can fail."""

    endpoint: str
    table: str
    undo: contextlib.AsyncExitStack
    patience: float = 1.0
    name: str = field(default_factory=lambda: f"conf-{uuid.uuid4().hex[:10]}")

    @abstractmethod
    async def api(
        self,
        definition: Mapping[str, Any],
        *,
        variables: Mapping[str, str] | None = None,
        throttle: tuple[float, int] | None = None,
        access_log_format: str | None = None,
    ) -> Api:
        """Deploy an API; ``throttle`` is rate and burst of all its methods. Raises: Refused."""

    @abstractmethod
    async def mapping(self, stream: Stream, function: Function, **properties: Any) -> RunningMapping:
        """Make a mapping, named as AWS::Lambda::EventSourceMapping names things, TRIM_HORIZON unless told; wait until
        it is on. Raises: Refused.
        """

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let so much time go by for the mappings of this bench."""

    @abstractmethod
    async def _make_function(self, name: str, source: str, timeout_s: int, variables: Mapping[str, str]) -> None:
        """Make a function whose handler is ``probe.handler``."""

    async def function(self, behave: str = PASS, *, timeout_s: int = 20) -> Function:
        """Make a function that does what the source ``behave(texts, records, call)`` says; calls count from 1."""
        name = f"{self.name}-{uuid.uuid4().hex[:4]}"
        variables = {"PROBE_TABLE": self.table, "PROBE_NAME": name}
        await self._make_function(name, PROBE + behave, timeout_s, variables)
        return Function(self, name)

    async def aws(self, service: str, operation: str, **parameters: Any) -> Any:
        """Call AWS's API of this world."""
        return await asyncio.to_thread(getattr(client(service, self.endpoint), operation), **parameters)

    async def stream(self, *, shards: int = 1) -> Stream:
        """Make a stream and wait until it is active."""
        made = Stream(self, self.name, f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{self.name}")
        await made.call("create_stream", ShardCount=shards)
        self.later("kinesis", "delete_stream", StreamName=self.name, EnforceConsumerDeletion=True)
        await made.active()
        return made

    async def bucket(self) -> Bucket:
        """Make a bucket."""
        await self.aws("s3", "create_bucket", Bucket=self.name)
        return Bucket(self, self.name, f"arn:aws:s3:::{self.name}")

    async def queue(self) -> Queue:
        """Make a queue."""
        url = (await self.aws("sqs", "create_queue", QueueName=self.name))["QueueUrl"]
        self.later("sqs", "delete_queue", QueueUrl=url)
        return Queue(self, url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}")

    def later(self, service: str, operation: str, **parameters: Any) -> None:
        """Do this when the scenario is over; what is gone by then is gone."""

        async def call() -> None:
            with contextlib.suppress(ClientError):
                await self.aws(service, operation, **parameters)

        self.undo.push_async_callback(call)


class World(ABC):
    """A stand-in for AWS. ``about`` says which, ``at_once`` how many scenarios it bears together."""

    name: str
    about: str
    at_once: int
    limit_s: float

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
    def bench(self, undo: contextlib.AsyncExitStack) -> Bench:
        """Make a bench for one scenario."""


@functools.cache
def client(service: str, endpoint: str) -> Any:
    """Return the one client of a service; boto3's clients may be shared by threads."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(
            retries={"max_attempts": 8, "mode": "standard"},
            max_pool_connections=50,
            s3={"addressing_style": "path"},
            read_timeout=60,
        ),
    )


def flat(invocations: Sequence[Invocation]) -> list[str]:
    """Return the texts of these invocations, one after the other."""
    return [text for invocation in invocations for text in invocation.texts]

"""What every place serves through AWS's own APIs: streams, buckets, queues; and how long each is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# Errors that say "not now": what is asked for is still being made or taken away, or too much was asked for at once.
BUSY = {
    "BucketNotEmpty",
    "ConflictException",
    "DeleteConflict",
    "LimitExceededException",
    "OperationAborted",
    "OperationAbortedException",
    "ResourceConflictException",
    "ResourceInUseException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_RECORDS_S = 10.0


@dataclass(frozen=True)
class Waits:
    """How long a place is waited for, in seconds.

    ``patience`` stretches every wait that can fail, ``poll_s`` is between two looks at the same thing.
    ``ready_in_a_row`` is how often an API must answer one after the other before it is taken for deployed,
    ``steady_in_a_row`` before the roles of a run are taken for known everywhere. ``import_s``, ``deploy_s`` and
    ``delete_s`` are between two calls of API Gateway's that the account may make; ``beat_s`` is between two signs of
    life of a run, ``silence_s`` how long one is watched for them.
    """

    patience: float = 1.0
    poll_s: float = 0.2
    ready_in_a_row: int = 1
    steady_in_a_row: int = 1
    import_s: float = 0.0
    deploy_s: float = 0.0
    delete_s: float = 0.0
    beat_s: float = 1.0
    silence_s: float = 5.0


class Clients:
    """The boto3 clients of one account in one Region; ``endpoint`` is an emulator's, None for AWS itself."""

    def __init__(self, session: boto3.Session, endpoint: str | None) -> None:
        self._session = session
        self.endpoint = endpoint
        self._made: dict[str, Any] = {}
        self._making = threading.Lock()

    @property
    def region(self) -> str:
        return str(self._session.region_name)

    @property
    def partition(self) -> str:
        return str(self._session.get_partition_for_region(self.region))

    def __call__(self, service: str) -> Any:
        """Return the one client of a service."""
        with self._making:  # boto3's clients may be shared by threads, but not made by several at a time
            if service not in self._made:
                self._made[service] = self._make(service)
            return self._made[service]

    def _make(self, service: str) -> Any:
        options: dict[str, Any] = {
            "retries": {"max_attempts": 8, "mode": "standard"},
            "max_pool_connections": 50,
            "read_timeout": 60,
            # AWS is meant where no endpoint is given, whatever the environment names.
            "ignore_configured_endpoint_urls": True,
            "s3": {"addressing_style": "path" if self.endpoint else "auto"},
        }
        make: Callable[..., Any] = self._session.client
        return make(service, endpoint_url=self.endpoint, config=Config(**options))


@dataclass
class Aws:
    """AWS's APIs as one scenario calls them; ``undo`` is done at its end, ``shards`` is how many it has made."""

    clients: Clients
    account: str
    undo: contextlib.AsyncExitStack
    waits: Waits = field(default_factory=Waits)
    shards: int = 0

    @property
    def patience(self) -> float:
        return self.waits.patience

    def arn(self, service: str, resource: str) -> str:
        """Return the name of a resource of this account and Region."""
        return f"arn:{self.clients.partition}:{service}:{self.clients.region}:{self.account}:{resource}"

    async def call(self, service: str, operation: str, **parameters: Any) -> Any:
        """Call one operation, named as boto3 names it.

        A scenario that is ended does not end before its call: what a call makes must be there when it is taken away.
        """
        running = asyncio.ensure_future(asyncio.to_thread(getattr(self.clients(service), operation), **parameters))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            running.exception()  # or asyncio would complain that no one looked
            raise

    def later(self, service: str, operation: str, **parameters: Any) -> None:
        """Do this when the scenario is over, again while it is refused as busy; what is gone by then is gone."""

        async def call() -> None:
            deadline = time.monotonic() + 20 * self.patience
            while True:
                try:
                    await self.call(service, operation, **parameters)
                except ClientError as error:
                    if code_of(error) not in BUSY or time.monotonic() > deadline:
                        return
                else:
                    return
                await asyncio.sleep(self.waits.poll_s)

        self.undo.push_async_callback(call)

    async def pause(self, seconds: float) -> None:
        """Wait for something that gives no sign, by the place's patience."""
        await asyncio.sleep(seconds * self.patience)


@dataclass
class Stream:
    """A stream of a scenario's own."""

    aws: Aws
    name: str

    @property
    def arn(self) -> str:
        return self.aws.arn("kinesis", f"stream/{self.name}")

    async def call(self, operation: str, **parameters: Any) -> Any:
        return await self.aws.call("kinesis", operation, StreamName=self.name, **parameters)

    async def put(self, texts: Iterable[str], key: Callable[[str], str] = lambda text: text[:200]) -> list[str]:
        """Put records one after the other; return their shards."""
        return [
            (await self.call("put_record", PartitionKey=key(text), Data=text.encode()))["ShardId"] for text in texts
        ]

    async def record(self, shard_id: str, sequence_number: str) -> bytes:
        """Return the data of one record.

        Raises: LookupError when it does not come.
        """
        at = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": sequence_number}
        iterator = (await self.call("get_shard_iterator", ShardId=shard_id, **at))["ShardIterator"]
        deadline = time.monotonic() + _RECORDS_S * self.aws.patience
        while iterator and time.monotonic() < deadline:
            found = await self.aws.call("kinesis", "get_records", ShardIterator=iterator, Limit=1)
            if found["Records"]:
                return bytes(found["Records"][0]["Data"])
            # An answer without records does not mean that there are none behind it.
            # Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
            iterator = found.get("NextShardIterator")
            await asyncio.sleep(self.aws.waits.poll_s)
        raise LookupError(f"{self.name}, {shard_id}: nothing at {sequence_number}")

    async def shards(self) -> list[dict[str, Any]]:
        return list((await self.call("list_shards"))["Shards"])

    async def split(self) -> None:
        """Split the first shard in the middle."""
        shard = (await self.shards())[0]
        keys = {name: int(value) for name, value in shard["HashKeyRange"].items()}
        middle = (keys["StartingHashKey"] + keys["EndingHashKey"]) // 2
        self.aws.shards += 2
        await self.call("split_shard", ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))
        await self.active()

    async def merge(self) -> None:
        """Make one shard of the two that there are."""
        first, second = [shard["ShardId"] for shard in await self.shards()]
        self.aws.shards += 1
        await self.call("merge_shards", ShardToMerge=first, AdjacentShardToMerge=second)
        await self.active()

    async def active(self) -> None:
        """Wait until the stream takes records."""
        while True:
            summary = (await self.call("describe_stream_summary"))["StreamDescriptionSummary"]
            if summary["StreamStatus"] == "ACTIVE":
                return
            await asyncio.sleep(self.aws.waits.poll_s)


@dataclass
class Bucket:
    """A bucket as a failure destination."""

    aws: Aws
    name: str

    @property
    def arn(self) -> str:
        return f"arn:{self.aws.clients.partition}:s3:::{self.name}"

    async def documents(self, count: int = 1, *, within_s: float = 30) -> list[tuple[str, dict[str, Any]]]:
        """Return key and document of every object, oldest first, once there are so many."""
        deadline = time.monotonic() + within_s * self.aws.patience
        while True:
            listed = (await self.aws.call("s3", "list_objects_v2", Bucket=self.name)).get("Contents", [])
            if len(listed) >= count or time.monotonic() > deadline:
                break
            await asyncio.sleep(self.aws.waits.poll_s)
        keys = [entry["Key"] for entry in sorted(listed, key=lambda entry: entry["LastModified"])]
        return [(key, json.loads(await self._read(key))) for key in keys]

    async def _read(self, key: str) -> bytes:
        found = await self.aws.call("s3", "get_object", Bucket=self.name, Key=key)
        return bytes(await asyncio.to_thread(found["Body"].read))


@dataclass
class Queue:
    """A queue as a failure destination."""

    aws: Aws
    name: str
    url: str

    @property
    def arn(self) -> str:
        return self.aws.arn("sqs", self.name)

    async def documents(self, *, within_s: float = 30) -> list[dict[str, Any]]:
        """Return the messages of the first answer that has any."""
        deadline = time.monotonic() + within_s * self.aws.patience
        while time.monotonic() < deadline:
            found = await self.aws.call("sqs", "receive_message", QueueUrl=self.url, MaxNumberOfMessages=10)
            if found.get("Messages"):
                return [json.loads(message["Body"]) for message in found["Messages"]]
            await asyncio.sleep(self.aws.waits.poll_s)
        return []


@dataclass
class Topic:
    """A topic as a failure destination."""

    arn: str


def code_of(error: ClientError) -> str:
    """Return the name of an error of AWS's."""
    return str(error.response.get("Error", {}).get("Code", ""))


def empty_and_delete(clients: Clients, bucket: str) -> None:
    """Delete a bucket with what is in it.

    Raises: ClientError when it is gone, or something was written into it meanwhile.
    """
    s3 = clients("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"])
    s3.delete_bucket(Bucket=bucket)

"""What both emulators serve through AWS's own APIs: streams, buckets, queues."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support import aws

REGION = "us-east-1"
ACCOUNT = "000000000000"


@dataclass
class Aws:
    """AWS's APIs of one emulator; ``patience`` stretches every wait that can fail, ``undo`` is done at the end."""

    endpoint: str
    undo: contextlib.AsyncExitStack
    patience: float = 1.0

    async def call(self, service: str, operation: str, **parameters: Any) -> Any:
        """Call one operation, named as boto3 names it."""
        return await asyncio.to_thread(getattr(client(service, self.endpoint), operation), **parameters)

    def later(self, service: str, operation: str, **parameters: Any) -> None:
        """Do this when the scenario is over; what is gone by then is gone."""

        async def call() -> None:
            with contextlib.suppress(ClientError):
                await self.call(service, operation, **parameters)

        self.undo.push_async_callback(call)


@dataclass
class Stream:
    """A stream of a scenario's own."""

    aws: Aws
    name: str
    arn: str

    async def call(self, operation: str, **parameters: Any) -> Any:
        return await self.aws.call("kinesis", operation, StreamName=self.name, **parameters)

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
        found = await self.aws.call("kinesis", "get_records", ShardIterator=iterator, Limit=1)
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
class Bucket:
    """A bucket as a failure destination."""

    aws: Aws
    name: str
    arn: str

    async def documents(self, count: int = 1, *, within_s: float = 30) -> list[tuple[str, dict[str, Any]]]:
        """Return key and document of every object, oldest first, once there are so many."""
        deadline = time.monotonic() + within_s * self.aws.patience
        while True:
            listed = (await self.aws.call("s3", "list_objects_v2", Bucket=self.name)).get("Contents", [])
            if len(listed) >= count or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.3)
        keys = [entry["Key"] for entry in sorted(listed, key=lambda entry: entry["LastModified"])]
        return [(key, json.loads(await self._read(key))) for key in keys]

    async def _read(self, key: str) -> bytes:
        found = await self.aws.call("s3", "get_object", Bucket=self.name, Key=key)
        return bytes(await asyncio.to_thread(found["Body"].read))


@dataclass
class Queue:
    """A queue as a failure destination."""

    aws: Aws
    url: str
    arn: str

    async def documents(self, *, within_s: float = 30) -> list[dict[str, Any]]:
        """Return the messages of the first answer that has any."""
        deadline = time.monotonic() + within_s * self.aws.patience
        while time.monotonic() < deadline:
            found = await self.aws.call("sqs", "receive_message", QueueUrl=self.url, MaxNumberOfMessages=10)
            if found.get("Messages"):
                return [json.loads(message["Body"]) for message in found["Messages"]]
            await asyncio.sleep(0.3)
        return []


@functools.cache
def client(service: str, endpoint: str) -> Any:
    """Return the one client of a service; boto3's clients may be shared by threads."""
    config = Config(
        retries={"max_attempts": 8, "mode": "standard"},
        max_pool_connections=50,
        s3={"addressing_style": "path"},
        read_timeout=60,
    )
    return aws.client(service, endpoint, config)

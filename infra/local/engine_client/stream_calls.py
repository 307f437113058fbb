"""The calls that a reader of a Kinesis stream makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weir.infra.local.engine_client.aws_json import AwsClient
from weir.infra.local.engine_client.positions import Position, StreamIdentity

_TARGET = "Kinesis_20131202"


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of the stream; ``parents`` are the shards that must be done before it."""

    id: str
    first_sequence_number: str
    parents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of GetRecords; ``end`` when the shard is closed and nothing of it is left."""

    records: list[dict[str, Any]]
    behind_ms: int
    next_iterator: str | None

    @property
    def end(self) -> bool:
        return self.next_iterator is None


class Stream:
    """One stream on one endpoint. Every method raises AwsError."""

    def __init__(self, client: AwsClient, arn: str) -> None:
        self._client = client
        self._arn = arn
        self._name = arn.rpartition("/")[2]

    async def describe(self) -> tuple[StreamIdentity, int]:
        """Return which stream this is and how many hours it keeps records."""
        return await self._client.ask(f"{_TARGET}.DescribeStreamSummary", {"StreamName": self._name}, self._identity)

    async def shards(self, *, page_shards: int = 1000) -> list[Shard]:
        """Return every shard, closed ones too."""
        found: list[Shard] = []
        after: dict[str, str] = {}
        while True:
            # By the last id instead of NextToken, which engines want with the stream's name and AWS without it.
            parameters = {"StreamName": self._name, "MaxResults": page_shards, **after}
            shards, more = await self._client.ask(f"{_TARGET}.ListShards", parameters, _shards)
            found.extend(shards)
            if not (more and shards):
                return found
            after = {"ExclusiveStartShardId": found[-1].id}

    async def iterator(self, shard_id: str, position: Position) -> str:
        """Return a shard iterator for a position."""
        parameters = {"StreamName": self._name, "ShardId": shard_id, **position.iterator_parameters()}
        return await self._client.ask(
            f"{_TARGET}.GetShardIterator", parameters, lambda answer: str(answer["ShardIterator"])
        )

    async def page(self, iterator: str, limit: int) -> Page:
        """Return the next records of an iterator."""
        return await self._client.ask(f"{_TARGET}.GetRecords", {"ShardIterator": iterator, "Limit": limit}, _page)

    def _identity(self, answer: dict[str, Any]) -> tuple[StreamIdentity, int]:
        summary = answer["StreamDescriptionSummary"]
        identity = StreamIdentity(self._arn, float(summary["StreamCreationTimestamp"]))
        return identity, int(summary["RetentionPeriodHours"])


def _shards(answer: dict[str, Any]) -> tuple[list[Shard], bool]:
    return [_shard(given) for given in answer["Shards"]], bool(answer.get("NextToken"))


def _page(answer: dict[str, Any]) -> Page:
    return Page(list(answer["Records"]), int(answer.get("MillisBehindLatest") or 0), answer.get("NextShardIterator"))


def _shard(given: dict[str, Any]) -> Shard:
    parents = (given.get("ParentShardId"), given.get("AdjacentParentShardId"))
    first = given["SequenceNumberRange"]["StartingSequenceNumber"]
    return Shard(given["ShardId"], first, tuple(parent for parent in parents if parent))

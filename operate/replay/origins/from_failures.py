"""What the event source mapping gave up on, as an origin: S3 objects that hold the whole event.

AWS writes the event as text within the document, LocalStack as an object; both are read.
Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from weir.consumers.judging.records import Record, read
from weir.ingest.errors import ConfigError
from weir.operate.lookup.delivery import END, Advance, Cursor, Delivery, Estimate
from weir.operate.lookup.status import UNFINISHED, DeliveryStatuses
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.request import ReplayRequest

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PREFIX = "aws/lambda/"
# An empty object with the name of a failure's behind this says that all of it is done.
DONE_PREFIX = "failures-done/"
LANE = "failures"


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """One object: why the mapping gave up, when, and the records, of which some may have been done before."""

    key: str
    condition: str
    error: str
    invocation: str
    at_ms: int
    records: tuple[Record, ...]

    def deliveries(self) -> list[Delivery]:
        """Return the records as deliveries; positions count within the object."""
        return [
            Delivery(record.data, self.key, str(number), record.arrived_at_ms, record=record)
            for number, record in enumerate(self.records, 1)
        ]


@dataclass(slots=True)
class FromFailures:
    """Reads the objects in the order of their names: by shard, then by time. ``only`` names those that are wanted."""

    s3: S3Client
    bucket: str
    only: frozenset[str] | None = None
    say: Callable[[str], object] = lambda _: None
    label: str = field(init=False)

    def __post_init__(self) -> None:
        self.label = f"failures s3://{self.bucket}/{PREFIX}"

    def estimate(self) -> Estimate:
        """Count the objects; how many records are in them is not known before."""
        found = list(self._keys(""))
        return Estimate(None, sum(size for _, size in found), f"{len(found):,} objects")

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield every record of every object behind the cursor."""
        for key, _ in self._keys(cursor.get(LANE, "")):
            done = cursor.get(key, "0")
            if done == END:
                continue
            batch = self.load(key)
            if batch is not None:
                yield from (one for one in batch.deliveries() if int(one.position) > int(done))
            yield Advance(LANE, key)
            yield Advance(key, "")

    def batches(self) -> Iterator[FailedBatch]:
        """Yield every object that can be read."""
        for key, _ in self._keys(""):
            batch = self.load(key)
            if batch is not None:
                yield batch

    def unfinished(self) -> Iterator[FailedBatch]:
        """Yield the objects of which no replay has noted that everything in them is done."""
        noted = self._noted()
        for key, _ in self._keys(""):
            batch = self.load(key) if key not in noted else None
            if batch is not None:
                yield batch

    def settle(self, statuses: DeliveryStatuses) -> None:
        """Note of these objects which have nothing in them that is left to do: their marks will not tell for ever."""
        for batch in self.unfinished():
            if not UNFINISHED.intersection(statuses.of(batch.deliveries())):
                self.s3.put_object(Bucket=self.bucket, Key=f"{DONE_PREFIX}{batch.key}", Body=b"")

    def load(self, key: str) -> FailedBatch | None:
        """Return one object; None, and a line about it, when it is not a failure document."""
        content = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        try:
            return parse(key, json.loads(content))
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            self.say(f"s3://{self.bucket}/{key} cannot be read as a failed batch: {error}")
            return None

    def _noted(self) -> set[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=DONE_PREFIX)
        return {given["Key"].removeprefix(DONE_PREFIX) for page in pages for given in page.get("Contents", [])}

    def _keys(self, done: str) -> Iterator[tuple[str, int]]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=PREFIX, StartAfter=done or PREFIX
        )
        for page in pages:
            for given in page.get("Contents", []):
                if self.only is None or given["Key"] in self.only:
                    yield given["Key"], given["Size"]


def make(context: ReplayContext, request: ReplayRequest, selection: Filter) -> FromFailures:  # noqa: ARG001 - the port
    """Return what the stack's event source mapping gave up on as the origin of a replay."""
    return FromFailures(context.stack.table.s3, context.stack.table.bucket, say=context.console.say)


def parse(key: str, document: Mapping[str, Any]) -> FailedBatch:
    """Read a failure document. Raises: ValueError, KeyError, TypeError, ConfigError."""
    payload = document["payload"]
    event = json.loads(payload) if isinstance(payload, str) else payload
    context = document.get("requestContext") or {}
    response = document.get("responseContext") or {}
    # Without a function error the function answered, and its partial response named a record until the tries ran out.
    error = response.get("functionError") or ("partial response" if response else "")
    return FailedBatch(
        key=key,
        condition=str(context.get("condition", "")),
        error=str(error),
        invocation=str(context.get("requestId", "")),
        at_ms=round(datetime.fromisoformat(document["timestamp"]).timestamp() * 1000),
        records=tuple(read(event)),
    )

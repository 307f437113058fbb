"""The clients and names of one stack, which every question and every replay is asked with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.ingest.sources import mark_lives
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.mark_lives import MarkLives
from weir.operate.lookup.events import Table
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.marks import Marks
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.status import DeliveryStatuses

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_kinesis import KinesisClient
    from types_boto3_logs import CloudWatchLogsClient


@dataclass(frozen=True, slots=True)
class Service:
    """What to expect of the service behind the stream's API. A limit of None: take all that a shard gives.

    ``stamps_are_near``: a record's stamp is near its arrival at the gateway, so that reading may end a while after the
    end time; the embedded engine gives new stamps after a crash. ``iterators_hold``: an iterator may be used
    for page after page; an emulator's is a position in a list, and the head of that list expires.
    """

    reads_per_s: float | None
    bytes_per_s: float | None
    stamps_are_near: bool
    iterators_hold: bool
    skew_ms: int  # by how much its clock may be ahead of this machine's


# Half of the 5 reads and 2 MB a second that a shard gives to all readers without enhanced fan-out.
# Source: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
AWS = Service(2.0, 1_000_000.0, stamps_are_near=True, iterators_hold=True, skew_ms=5000)
EMULATOR = Service(None, None, stamps_are_near=False, iterators_hold=False, skew_ms=0)


@dataclass(frozen=True, slots=True)
class Stack:
    """The clients and names of one stack. ``access_log`` is a file's path or None; ``access_group`` a log group or ''.

    ``checkpoints`` returns iterator parameters by shard; None where the service does not show them.
    """

    table: Table
    kinesis: KinesisClient
    stream: str
    service: Service
    catalogue: Catalogue
    access_log: Path | None = None
    access_group: str = ""
    logs: CloudWatchLogsClient | None = None
    cloudwatch: CloudWatchClient | None = None
    function: str = ""
    checkpoints: Callable[[], dict[str, dict[str, Any]] | None] = lambda: None
    has_archive: bool = True

    @property
    def marks(self) -> Marks:
        """Return what reads the events table in bulk."""
        return Marks(self.table.dynamodb, self.table.name)

    @property
    def lives(self) -> MarkLives:
        """Return the stack's record of how long marks live; that of a stack without one is empty."""
        if not self.table.bucket:  # a stack may have none, and then has no record
            return MarkLives()
        return mark_lives.load(self.table.s3, self.table.bucket) or MarkLives()

    @property
    def horizons(self) -> Horizons:
        """Return which deliveries are too old to tell."""
        return Horizons(self.catalogue, self.lives)

    @property
    def statuses(self) -> DeliveryStatuses:
        """Return what reads the status of deliveries."""
        return DeliveryStatuses(Previewer(self.catalogue), self.marks, self.horizons)

    @property
    def retention_s(self) -> int:
        """Return for how long the stream keeps a record."""
        summary = self.kinesis.describe_stream_summary(StreamName=self.stream)["StreamDescriptionSummary"]
        return int(summary["RetentionPeriodHours"]) * 3600

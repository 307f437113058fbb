"""The consumer seen from outside: one document of metrics a batch, read from its log file or from CloudWatch Logs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weir.ingest.lines import whole
from weir.loadtest.judging.stores import Place

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as the consumer's metrics tell it; ``calls`` are database calls."""

    ended_at_ms: int
    duration_ms: float
    records: int
    applied: int
    duplicate: int
    ignored: int
    quarantined: int
    retried: int
    calls: int
    write_units: float

    @property
    def started_at_ms(self) -> float:
        return self.ended_at_ms - self.duration_ms

    @property
    def events(self) -> int:
        """Events that reached an outcome in this batch."""
        return self.applied + self.duplicate + self.ignored + self.quarantined


def batches(place: Place, since_ms: int) -> list[Batch]:
    """Return the batches that ended since then, in the order of their end."""
    outputs = place.outputs()
    if outputs.consumer_log is not None:
        lines: Iterable[str] = _file_lines(outputs.consumer_log)
    else:
        lines = _group_lines(place.client("logs"), outputs.consumer_log_group, since_ms)
    found = (batch for line in lines if (batch := _batch(line)) is not None and batch.ended_at_ms >= since_ms)
    return sorted(found, key=lambda batch: batch.ended_at_ms)


def _file_lines(log: Path) -> Iterator[str]:
    if log.exists():
        with log.open(encoding="utf-8", errors="replace") as lines:
            yield from whole(lines)


def _group_lines(logs: CloudWatchLogsClient, group: str, since_ms: int) -> Iterator[str]:
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, startTime=since_ms, filterPattern='"CloudWatchMetrics"'
    )
    for page in pages:
        for event in page["events"]:
            yield event["message"]


def _batch(line: str) -> Batch | None:
    if '"CloudWatchMetrics"' not in line:
        return None
    try:
        content = json.loads(line[line.index("{") :])
        return Batch(
            ended_at_ms=int(content["_aws"]["Timestamp"]),
            duration_ms=float(content["BatchDuration"]),
            records=int(content["Records"]),
            applied=int(content["Applied"]),
            duplicate=int(content["Duplicate"]),
            ignored=int(content["Ignored"]),
            quarantined=int(content["Quarantined"]),
            retried=int(content["Retried"]),
            calls=int(content["CommitCalls"]),
            write_units=float(content["WriteUnits"]),
        )
    except (ValueError, KeyError, TypeError):
        return None

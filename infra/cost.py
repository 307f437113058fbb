"""What a load needs and costs on AWS, by the template's parameters: a calculation before the bill, part by part.

The load is steady but for its peak. What is left out: free and volume tiers, KMS, data transfer, reads by people and
replays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SourceName

PRICES = Path(__file__).parent / "prices.yaml"

_HOURS = 730  # of a month, as AWS' own calculator has it
_SECONDS = _HOURS * 3600
_GB = 1 << 30
# Source: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
_SHARD_BYTES_PER_S, _SHARD_RECORDS_PER_S = 1 << 20, 1000
# An on-demand stream begins with 4 MB/s.
# Source: https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
_ON_DEMAND_SHARDS = 4
_WEEK_HOURS, _DAY_HOURS = 168, 24
# Seen in `weir bench consumer`: a batch's own time, which is waiting, and each of its events', which is a processor's.
_BATCH_MS, _EVENT_MS = 15.0, 0.2
# So much memory brings a function a whole processor.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
_PROCESSOR_MB = 1769
# Lines of the access log and of the consumer's log, one each an event; one with the metrics for each batch.
ACCESS_LINE_BYTES, EVENT_LINE_BYTES, _BATCH_LINES_BYTES = 460, 360, 1900
# An item that says no more than that an event was applied: key, outcome, expiry, and DynamoDB's own 100 bytes.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
_MARK_BYTES = 220
# Samples of all providers go down to 0.23 under gzip; real bodies are less alike.
_ARCHIVED_SHARE = 0.4
# What a webhook brings beside its body, as API Gateway hands it on.
_HEADERS = {
    "Accept": "*/*",
    "Content-Type": "application/json; charset=utf-8",
    "Content-Length": "0000",
    "Host": "abcdefghij.execute-api.us-east-1.amazonaws.com",
    "User-Agent": "Provider/1.0 (+https://provider.example/docs/webhooks)",
    "X-Provider-Signature": "t=1700000000,v1=" + "0" * 64,
    "X-Amzn-Trace-Id": "Root=1-00000000-" + "0" * 24,
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Proto": "https",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives: webhooks a second on average and at the peak, bytes of a body, write units an event."""

    rate_per_s: float
    peak_per_s: float
    body_bytes: int
    write_units: float
    kept_days: int

    @property
    def month(self) -> float:
        """Return how many webhooks come in a month."""
        return self.rate_per_s * _SECONDS

    @property
    def record_bytes(self) -> int:
        """Return how large a record with such a body is."""
        return record_bytes(self.body_bytes)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the bill: USD a month."""

    part: str
    what: str
    month: float


def alarm_metrics(resource: Mapping[str, Any]) -> int:
    """Return for how many metrics a resource of the template is billed as an alarm: each that its expression reads.

    Source: https://aws.amazon.com/cloudwatch/pricing/
    """
    if resource["Type"] != "AWS::CloudWatch::Alarm":
        return 0
    return max(1, sum("MetricStat" in one for one in resource["Properties"].get("Metrics", ())))


class Estimate:
    """What one load needs of a stack with these parameters (`weir.infra.template.parameters`), and what it costs."""

    def __init__(self, load: Load, parameters: Mapping[str, str], alarms_count: int, metrics_count: int) -> None:
        self.load = load
        self._given = parameters
        self._counts = {"alarms": float(alarms_count), "metrics": float(metrics_count)}
        self._cost = Prices().cost

    # ------------------------------------------------------------------------------------------ capacity

    @property
    def shards(self) -> int:
        """Return how many shards the peak takes, keys spread evenly; never fewer than there are."""
        by_bytes = self.load.peak_per_s * self.load.record_bytes / _SHARD_BYTES_PER_S
        needed = ceil(max(by_bytes, self.load.peak_per_s / _SHARD_RECORDS_PER_S))
        return max(needed, first_shards(self._given))

    @property
    def batches_at_once(self) -> int:
        """Return how many invocations may run at the same time."""
        return self.shards * int(self._given["ParallelizationFactor"])

    @property
    def batch_records(self) -> float:
        """Return how many records a batch has on average: what a lane gets within the window, or a full batch."""
        window_s = max(float(self._given["BatchWindowSeconds"]), _BATCH_MS / 1000)
        waiting = self.load.rate_per_s / self.batches_at_once * window_s
        return min(float(self._given["BatchSize"]), max(1.0, waiting))

    @property
    def keeps_up(self) -> float:
        """Return how many times the peak the consumer can take."""
        full = float(self._given["BatchSize"])
        per_s = self.batches_at_once * full / ((_BATCH_MS + self._event_ms * full) / 1000)
        return per_s / self.load.peak_per_s

    @property
    def write_units_per_s(self) -> float:
        """Return the tables' write units a second at the peak."""
        return self.load.peak_per_s * self.load.write_units

    @property
    def _event_ms(self) -> float:
        return event_ms(self._given)

    @property
    def _provisioned(self) -> bool:
        return self._given["StreamMode"] == "PROVISIONED"

    # ------------------------------------------------------------------------------------------ cost

    def items(self) -> Iterator[Item]:
        """Yield the lines of the bill."""
        month = self.load.month
        yield Item("API Gateway", "requests", self._cost("api_requests", month))
        yield from self._stream()
        yield from self._function()
        yield Item("DynamoDB", "writes", self._cost("write_units", month * self.load.write_units))
        # A transactional write takes two units a KB, so half of them bounds what is stored.
        kept_bytes = self.load.rate_per_s * 86_400 * self.load.kept_days * self.load.write_units / 2 * 1024
        yield Item("DynamoDB", f"{self.load.kept_days} days of events", self._cost("table_gb_month", kept_bytes / _GB))
        if self._given["ArchiveMode"] == "firehose":
            yield from self._archive()
        yield from self._watching()

    @property
    def marks_month(self) -> float:
        """Return what the marks alone would cost, without the events that they hold."""
        kept = self.load.rate_per_s * 86_400 * self.load.kept_days
        return self._cost("table_gb_month", kept * _MARK_BYTES / _GB)

    def document(self) -> dict[str, Any]:
        """Return the estimate for machines."""
        return {
            "webhooks_a_month": self.load.month,
            "record_bytes": self.load.record_bytes,
            "shards": self.shards,
            "batches_at_once": self.batches_at_once,
            "write_units_per_s": self.write_units_per_s,
            "times_the_peak": self.keeps_up,
            "usd_a_month": [asdict(item) for item in self.items()],
            "usd_a_month_of_marks_alone": self.marks_month,
        }

    def _stream(self) -> Iterator[Item]:
        month, retention = self.load.month, int(self._given["RetentionHours"])
        gb = month * _whole(self.load.record_bytes, 1024) / _GB
        held_gb = gb / _HOURS * (min(retention, _WEEK_HOURS) - _DAY_HOURS)
        readers = 2 if self._given["ArchiveMode"] == "firehose" else 1
        if self._provisioned:
            hours = self.shards * _HOURS
            units = month * ceil(self.load.record_bytes / 25_000)
            taken = self._cost("shard_hours", hours) + self._cost("put_units", units)
            kept = self._cost("shard_hours_kept", hours if retention > _DAY_HOURS else 0)
        else:
            taken = self._cost("stream_hours", _HOURS) + self._cost("stream_gb_in", gb)
            taken += self._cost("stream_gb_out", gb * readers)
            kept = self._cost("stream_gb_month", held_gb)
        kept += self._cost("long_gb_month", gb / _HOURS * max(0, retention - _WEEK_HOURS))
        yield Item("Kinesis", f"in, and out to {readers} reader{'s' * (readers > 1)}", taken)
        yield Item("Kinesis", f"{retention} hours of retention", kept)

    def _function(self) -> Iterator[Item]:
        invocations = self.load.month / self.batch_records
        busy_s = (invocations * _BATCH_MS + self.load.month * self._event_ms) / 1000
        memory_gb = int(self._given["FunctionMemoryMB"]) / 1024
        cost = self._cost("invocations", invocations)
        cost += self._cost(f"gb_seconds_{self._given['Architecture']}", busy_s * memory_gb)
        yield Item("Lambda", f"batches of {self.batch_records:,.0f}", cost)

    def _archive(self) -> Iterator[Item]:
        gb = self.load.month * _whole(self.load.record_bytes, 5 * 1024) / _GB
        yield Item("Firehose", "records in whole 5 KB", self._cost("firehose_gb", gb))
        days = int(self._given["ArchiveDays"])
        kept_gb = self.load.rate_per_s * 86_400 * days * self.load.record_bytes * _ARCHIVED_SHARE / _GB
        yield Item("S3", f"{days} days of archive, once full", self._cost("bucket_gb_month", kept_gb))

    def _watching(self) -> Iterator[Item]:
        lines = ACCESS_LINE_BYTES + EVENT_LINE_BYTES + _BATCH_LINES_BYTES / self.batch_records
        yield Item("CloudWatch", "logs", self._cost("log_gb", self.load.month * lines / _GB))
        cost = sum(self._cost(name, count) for name, count in self._counts.items())
        yield Item("CloudWatch", "metrics and alarms", cost)


class Prices:
    """AWS's list prices."""

    def __init__(self) -> None:
        self._prices: dict[str, list[Any]] = yaml.safe_load(PRICES.read_text(encoding="utf-8"))

    def cost(self, name: str, amount: float) -> float:
        """Return what so many units of something cost, in USD."""
        price, units = self._prices[name][:2]
        return float(amount * price / units)


def record_bytes(body_bytes: int) -> int:
    """Return how large the record of a delivery with such a body is."""
    headers, body = tuple(_HEADERS.items()), b"x" * body_bytes
    source, path = SourceName("provider"), "/v1/p"
    return len(encode(Envelope(RequestId("0" * 16), 10**12, source, "", "192.0.2.1", path, {}, headers, body)))


def event_ms(parameters: Mapping[str, str]) -> float:
    """Return an event's time with the share of a processor that the function's memory brings; never several."""
    return _EVENT_MS * max(1.0, _PROCESSOR_MB / int(parameters["FunctionMemoryMB"]))


def first_shards(parameters: Mapping[str, str]) -> int:
    """Return how many shards a new stream has with these parameters."""
    return int(parameters["ShardCount"]) if parameters["StreamMode"] == "PROVISIONED" else _ON_DEMAND_SHARDS


def lines(estimate: Estimate) -> Iterator[str]:
    """Yield the estimate as a person reads it."""
    load, bill = estimate.load, list(estimate.items())
    yield (
        f"{load.rate_per_s:,g} webhooks/s on average, {load.peak_per_s:,g}/s at the peak: "
        f"{load.month / 1e6:,.1f} million a month, {load.body_bytes:,} bytes each (records of {load.record_bytes:,})"
    )
    yield (
        f"needs {estimate.shards} shards, {estimate.batches_at_once} batches at once, "
        f"{estimate.write_units_per_s:,.0f} write units/s at the peak; "
        f"the consumer can take {estimate.keeps_up:,.1f} times the peak"
    )
    yield f"{'USD, list prices of us-east-1':46}{'a month':>12}{'a million':>12}"
    for item in bill:
        yield f"{item.part:12}{item.what:34}{item.month:>12,.2f}{item.month / load.month * 1e6:>12.3f}"
    total = sum(item.month for item in bill)
    yield f"{'total':46}{total:>12,.2f}{total / load.month * 1e6:>12.3f}"
    yield f"marks without their events, for the same {load.kept_days} days: {estimate.marks_month:,.2f} a month"


def _whole(size_bytes: int, step_bytes: int) -> int:
    return ceil(size_bytes / step_bytes) * step_bytes

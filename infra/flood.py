"""What a flood of unsigned POSTs costs: a stranger who knows a URL can send them, and each is stored.

What they leave behind is counted for all of the time that it is kept; what the account check reads of it is not.
Requests that are throttled cost nothing but what AWS WAF asks for each, as people of AWS say:
https://repost.aws/questions/QU5y4fo-e3RWyU5r4VmyPIzA/pricing-clarification-for-api-gateway
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from weir.infra.cost import (
    BATCH_MS,
    EVENT_LINE_BYTES,
    GB,
    MS_PER_BYTE,
    access_line_bytes,
    event_ms,
    first_shards,
    full_batch,
    record_bytes,
    whole,
)
from weir.infra.prices import Prices

DAY_S = 86_400
_MONTH_DAYS = 730 / 24
_SHARD_BYTES_PER_S, _SHARD_RECORDS_PER_S = 1 << 20, 1000
# From here on an unproven body is an object of the bucket (consumers/events_table/item.py); what an item has beside it.
INLINE_BYTES = 8 * 1024
_FACTS_BYTES, _INDEX_UNITS, _INDEX_BYTES = 1448, 1, 600
# Head and body of the answer; what is left of a log line that is stored, and what is added to it (costs/watching.py).
_ANSWER_BYTES, _STORED_SHARE, _LINE_OVERHEAD_BYTES = 395, 0.15, 26
# Assumed: a PUT of 40 ms, eight at once.
_UPLOAD_MS = 5.0
# Base64 of what cannot be compressed is three quarters of itself under gzip.
_ARCHIVED_SHARE = 0.76
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """What the gateway lets through of POSTs: to both paths of the source with the highest throttle, and to all."""

    one_source_per_s: float
    all_sources_per_s: float

    @classmethod
    def of(cls, parameters: Mapping[str, str], throttles: Mapping[str, tuple[float, int]], pairs: int) -> FloodLimits:
        """Return the limits: those of the sources that have their own, the stage's for all other pairs of paths."""
        stage = float(parameters["ThrottleRate"])
        rates = [rate for rate, _ in throttles.values()] + [stage] * (pairs - len(throttles))
        return cls(2 * max(rates, default=stage), 2 * sum(rates))


class Flood:
    """Unsigned POSTs of one size at one rate, against a stack with these parameters."""

    def __init__(self, rate_per_s: float, body_bytes: int | None, parameters: Mapping[str, str]) -> None:
        """Without ``body_bytes`` they have the size that costs most."""
        self._given = parameters
        self._prices = Prices()
        self.rate_per_s = rate_per_s
        self.is_worst = body_bytes is None
        self.body_bytes = self._worst_bytes() if body_bytes is None else body_bytes

    def usd_per_request(self, body_bytes: int) -> dict[str, float]:
        """Return what one request costs, by service."""
        record = record_bytes(body_bytes)
        is_object = body_bytes > INLINE_BYTES
        item_bytes = _FACTS_BYTES if is_object else _FACTS_BYTES + body_bytes
        price, days = self._prices.cost, int(self._given["UnprovenDays"])
        bucket = 0.0
        if is_object:
            bucket += price("bucket_puts", 1) + price("bucket_gb_month", _kept(body_bytes, days))
        found = {
            "API Gateway": price("api_requests", 1),
            "Kinesis": self._stream(record),
            "Lambda": self._function(body_bytes, record, is_object=is_object),
            "DynamoDB": price("write_units", ceil(item_bytes / 1024) + _INDEX_UNITS)
            + self._table(_kept(item_bytes + _INDEX_BYTES, days)),
            "CloudWatch": self._logs(),
            "Data transfer": price("data_out_gb", _ANSWER_BYTES / GB),
        }
        if self._is_judged:
            found["AWS WAF"] = price("waf_requests", 1)
        if self._given["ArchiveMode"] == "firehose":
            found["Firehose"] = price("firehose_gb", whole(record, 5120) / GB)
            bucket += price("bucket_gb_month", _kept(record * _ARCHIVED_SHARE, int(self._given["ArchiveDays"])))
        return {**found, "S3": bucket}

    def usd(self, seconds: float, rate_per_s: float | None = None) -> dict[str, float]:
        """Return what so many seconds of it cost, by service; with another rate, what that does."""
        count = seconds * (self.rate_per_s if rate_per_s is None else rate_per_s)
        return {part: each * count for part, each in self.usd_per_request(self.body_bytes).items()}

    @property
    def stream_takes_per_s(self) -> float:
        """Return how many of them the stream takes at first; all more is answered 503, to true senders too."""
        by_bytes = _SHARD_BYTES_PER_S / record_bytes(self.body_bytes)
        return first_shards(self._given) * min(by_bytes, _SHARD_RECORDS_PER_S)

    def document(self, limits: FloodLimits) -> dict[str, Any]:
        """Return it for machines."""
        let_through = min(self.rate_per_s, limits.one_source_per_s)
        return {
            "rate_per_s": self.rate_per_s,
            "body_bytes": self.body_bytes,
            "usd_a_million": sum(self.usd_per_request(self.body_bytes).values()) * _MILLION,
            "usd_a_day": self.usd(DAY_S),
            "usd_a_month": self.usd(_MONTH_DAYS * DAY_S),
            "throttled_per_s": let_through,
            "throttled_usd_a_day": self._throttled(DAY_S, let_through),
            "throttled_usd_a_month": self._throttled(_MONTH_DAYS * DAY_S, let_through),
            "one_source_takes_per_s": limits.one_source_per_s,
            "all_sources_take_per_s": limits.all_sources_per_s,
            "stream_takes_per_s": self.stream_takes_per_s,
        }

    @property
    def _is_judged(self) -> bool:
        """Tell whether a web ACL judges each request, before the throttle."""
        return self._given["WafRequestsPerIp"] != "0" or bool(self._given["WebAclArn"])

    def _throttled(self, seconds: float, let_through_per_s: float) -> dict[str, float]:
        found = self.usd(seconds, let_through_per_s)
        if self._is_judged:
            found["AWS WAF"] = self._prices.cost("waf_requests", seconds * self.rate_per_s)
        return found

    def _logs(self) -> float:
        size = access_line_bytes() + EVENT_LINE_BYTES
        stored = _kept(size * _STORED_SHARE + 2 * _LINE_OVERHEAD_BYTES, int(self._given["LogRetentionDays"]))
        return self._prices.cost("log_gb", size / GB) + self._prices.cost("log_gb_month", stored)

    def _table(self, gb_months: float) -> float:
        return self._prices.cost("table_gb_month", gb_months) + self._prices.cost("backup_gb_month", gb_months)

    def _worst_bytes(self) -> int:
        largest = int(self._given["MaxBodyKiB"]) * 1024
        sizes = {*range(0, largest, 1024), INLINE_BYTES, INLINE_BYTES + 1, largest}
        by_cost: dict[float, int] = {sum(self.usd_per_request(size).values()): size for size in sizes}
        return by_cost[max(by_cost)]

    def _stream(self, record: int) -> float:
        price, retention_h = self._prices.cost, int(self._given["RetentionHours"])
        gb = whole(record, 1024) / GB
        long = price("long_gb_month", gb * max(0, retention_h - 168) / 730)
        if self._given["StreamMode"] == "PROVISIONED":
            return price("put_units", ceil(record / 25_000)) + long
        readers = 2 if self._given["ArchiveMode"] == "firehose" else 1
        held = price("stream_gb_month", gb * (min(retention_h, 168) - 24) / 730)
        return price("stream_gb_in", gb) + price("stream_gb_out", gb * readers) + held + long

    def _function(self, body_bytes: int, record: int, *, is_object: bool) -> float:
        in_a_batch = full_batch(self._given, record)
        busy_ms = BATCH_MS / in_a_batch + event_ms(self._given) + body_bytes * MS_PER_BYTE + _UPLOAD_MS * is_object
        memory_gb = int(self._given["FunctionMemoryMB"]) / 1024
        seconds = self._prices.cost(f"gb_seconds_{self._given['Architecture']}", busy_ms / 1000 * memory_gb)
        return self._prices.cost("invocations", 1 / in_a_batch) + seconds


def lines(flood: Flood, limits: FloodLimits, load: Mapping[str, float]) -> Iterator[str]:
    """Yield it as a person reads it, beside what the true ``load`` costs: USD a month by service."""
    told, worst = flood.document(limits), " (the size that costs most)" if flood.is_worst else ""
    yield ""
    yield (
        f"hostile: {flood.rate_per_s:,g} unsigned POSTs/s of {flood.body_bytes:,} bytes{worst}, "
        f"{told['usd_a_million']:,.0f} USD a million; what is kept is counted for all its time"
    )
    yield f"{'':16}{'true load,':>17}{'flood,':>17}{'flood,':>17}{'throttled,':>17}{'throttled,':>17}"
    yield f"{'USD':16}{'a month':>17}{'a day':>17}{'a month':>17}{'a day':>17}{'a month':>17}"
    columns = [load, *(told[name] for name in _COLUMNS)]
    for part in load:
        yield f"{part:16}" + "".join(f" {column.get(part, 0.0):>16,.2f}" for column in columns)
    yield f"{'total':16}" + "".join(f" {sum(column.values()):>16,.2f}" for column in columns)
    yield (
        f"the gateway lets {limits.one_source_per_s:,g}/s through to both paths of one source, "
        f"{limits.all_sources_per_s:,g}/s to all; more is answered 429 and costs nothing"
        f"{' but AWS WAF' * ('AWS WAF' in told['usd_a_day'])}"
    )
    yield (
        f"the stream takes {flood.stream_takes_per_s:,.0f}/s of this size before it grows; "
        "more is answered 503, to true senders too: a throttle for each source in sources.yaml lowers both"
    )


_COLUMNS = ("usd_a_day", "usd_a_month", "throttled_usd_a_day", "throttled_usd_a_month")


def _kept(size_bytes: float, days: int) -> float:
    """Return the GB-months of what is kept for so many days."""
    return size_bytes / GB * days / _MONTH_DAYS

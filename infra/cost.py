"""What a load needs of a stack, by the template's parameters: shards, batches, write units, bytes of each kind.

What that costs is in `weir.infra.costs`. The load is steady but for its peak. Reads by people and replays are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil

from weir.infra import template
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SourceName

HOURS = 730  # of a month, as AWS' own calculator has it
SECONDS = HOURS * 3600
GB = 1 << 30
# Source: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
_SHARD_BYTES_PER_S, _SHARD_RECORDS_PER_S = 1 << 20, 1000
# An on-demand stream begins with 4 MB/s.
# Source: https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
_ON_DEMAND_SHARDS = 4
# An invocation takes 6 MB, records in base64.
_INVOCATION_BYTES = 6_000_000
# Seen in `weir bench consumer`: a batch's own time, which is waiting, and each of its events', which is a processor's.
BATCH_MS, _EVENT_MS = 15.0, 0.2
# Seen with GitHub's scheme (29 ms for 560 KiB): unpacking, proving and packing, beyond a body of the usual size.
MS_PER_BYTE, _USUAL_BYTES = 29 / (560 * 1024), 1500
# So much memory brings a function a whole processor.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
_PROCESSOR_MB = 1769
# Of the consumer's log: the line of an event; what a batch has beside them, its line, its metrics and Lambda's own.
EVENT_LINE_BYTES, BATCH_LINES_BYTES = 385, 1900
# Of an event's item: key, outcome, ids and times; the head of its envelope, packed; the share of a body that is left
# when it is packed. Seen with JSON of 300 bytes to 100 KB: 0.32 to 0.26.
_FACTS_BYTES, _HEAD_BYTES, _PACKED_SHARE = 270, 200, 0.31
# What the business code writes for an event, in units of a transaction: seen with one balance each, some joined.
_BUSINESS_UNITS = 1.8
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
# What the variables of an access log line become.
_LOGGED = {
    "extendedRequestId": "HhQbcGzSoAMEZ7Q=",
    "requestId": "00000000-0000-0000-0000-000000000000",
    "requestTimeEpoch": "1700000000000",
    "resourcePath": "/v1/provider/{key}",
    "httpMethod": "POST",
    "status": "200",
    "integration.status": "200",
    "responseLatency": "25",
    "integration.latency": "20",
    "responseLength": "25",
    "error.responseType": "-",
    "identity.sourceIp": "203.0.113.100",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives: webhooks a second on average and at the peak, bytes of a body, days that an event is kept.

    ``mark_units`` are the DynamoDB write units of an event's own item, ``business_units`` those of what it changes.
    """

    rate_per_s: float
    peak_per_s: float
    body_bytes: int
    kept_days: int
    mark_units: float
    business_units: float

    @classmethod
    def of(
        cls,
        rate_per_s: float,
        peak_per_s: float,
        body_bytes: int,
        kept_days: int,
        *,
        write_units: float | None = None,
        changes_tables: bool = True,
    ) -> Load:
        """Return a load; write units that were measured are split into the item's own and the rest.

        Without tables to change, events are inserted many a call; else a transaction takes two units a KB.
        """
        kilobytes = ceil(item_bytes(body_bytes) / 1024)
        mark = float(2 * kilobytes if changes_tables else kilobytes)
        business = _BUSINESS_UNITS if changes_tables else 0.0
        if write_units is not None:
            mark = min(mark, write_units)
            business = write_units - mark
        return cls(rate_per_s, peak_per_s, body_bytes, kept_days, mark, business)

    @property
    def month(self) -> float:
        """Return how many webhooks come in a month."""
        return self.rate_per_s * SECONDS

    @property
    def write_units(self) -> float:
        """Return the write units of an event."""
        return self.mark_units + self.business_units

    @property
    def record_bytes(self) -> int:
        """Return how large a record with such a body is."""
        return record_bytes(self.body_bytes)

    @property
    def item_bytes(self) -> int:
        """Return how large the item of an event with such a body is."""
        return item_bytes(self.body_bytes)


class Estimate:
    """What one load needs of a stack with these parameters (`weir.infra.template.parameters`)."""

    def __init__(self, load: Load, parameters: Mapping[str, str]) -> None:
        self.load = load
        self._given = parameters

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
        window_s = max(float(self._given["BatchWindowSeconds"]), BATCH_MS / 1000)
        waiting = self.load.rate_per_s / self.batches_at_once * window_s
        return min(full_batch(self._given, self.load.record_bytes), max(1.0, waiting))

    @property
    def batches(self) -> float:
        """Return how many batches a month has."""
        return self.load.month / self.batch_records

    @property
    def keeps_up(self) -> float:
        """Return how many times the peak the consumer can take."""
        full = full_batch(self._given, self.load.record_bytes)
        per_s = self.batches_at_once * full / ((BATCH_MS + self.event_ms * full) / 1000)
        return per_s / self.load.peak_per_s

    @property
    def event_ms(self) -> float:
        """Return an event's time in the consumer, without its share of the batch's own."""
        return event_ms(self._given, self.load.body_bytes)

    @property
    def write_units_per_s(self) -> float:
        """Return the tables' write units a second at the peak."""
        return self.load.peak_per_s * self.load.write_units


def record_bytes(body_bytes: int) -> int:
    """Return how large the record of a delivery with such a body is."""
    headers, body = tuple(_HEADERS.items()), b"x" * body_bytes
    source, path = SourceName("provider"), "/v1/p"
    return len(encode(Envelope(RequestId("0" * 16), 10**12, source, "", "192.0.2.1", path, {}, headers, body)))


def item_bytes(body_bytes: int) -> int:
    """Return how large the item of an event is whose delivery has such a body."""
    return _FACTS_BYTES + _HEAD_BYTES + ceil(_PACKED_SHARE * body_bytes)


@cache
def access_line_bytes() -> int:
    """Return how long a line of the access log is, by the template's format. Raises: KeyError for a new variable."""
    setting = template.load()["Resources"]["Stage"]["Properties"]["AccessLogSetting"]
    return len(re.sub(r"\$context\.([A-Za-z.]+)", lambda found: _LOGGED[found[1]], setting["Format"]))


def event_ms(parameters: Mapping[str, str], body_bytes: int = _USUAL_BYTES) -> float:
    """Return an event's time with the share of a processor that the function's memory brings; never several."""
    alone_ms = _EVENT_MS + max(0, body_bytes - _USUAL_BYTES) * MS_PER_BYTE
    return alone_ms * max(1.0, _PROCESSOR_MB / int(parameters["FunctionMemoryMB"]))


def full_batch(parameters: Mapping[str, str], size_bytes: int) -> float:
    """Return how many records of a size a batch has at most."""
    return max(1.0, min(float(parameters["BatchSize"]), _INVOCATION_BYTES / (size_bytes * 4 / 3)))


def first_shards(parameters: Mapping[str, str]) -> int:
    """Return how many shards a new stream has with these parameters."""
    return int(parameters["ShardCount"]) if parameters["StreamMode"] == "PROVISIONED" else _ON_DEMAND_SHARDS


def whole(size_bytes: int, step_bytes: int) -> int:
    """Return a size as it is billed in whole steps."""
    return ceil(size_bytes / step_bytes) * step_bytes

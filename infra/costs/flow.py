"""Lines of the bill for what a delivery goes through: stream, functions, Firehose."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

from weir.infra.cost import BATCH_MS, GB, HOURS, SECONDS, whole
from weir.infra.costs.account_reads import FUNCTION, AccountReads
from weir.infra.costs.item import Item, Reckoning

_WEEK_HOURS, _DAY_HOURS = 168, 24
# A run that finds nothing due: a query of each part of the index (`weir.consumers.events_table.mark`), one by one.
WAITING_PARTS, _WAITING_MS = 4, 50.0
# Assumed: a PutRecord and the answer around it.
_HANDSHAKE_MS = 25.0


def items(reckoning: Reckoning) -> Iterator[Item]:
    """Yield the lines."""
    yield from _stream(reckoning)
    yield from _functions(reckoning)
    if reckoning.stack.has_archive:
        # Source: https://aws.amazon.com/firehose/pricing/
        gb = reckoning.load.month * whole(reckoning.load.record_bytes, 5 * 1024) / GB
        yield reckoning.item("firehose", "Firehose", "records in whole 5 KB", firehose_gb=gb)


def stream_gb(reckoning: Reckoning) -> float:
    """Return what goes into the stream in a month: an on-demand stream counts records in whole KB."""
    return reckoning.load.month * whole(reckoning.load.record_bytes, 1024) / GB


def compute(reckoning: Reckoning, function: str, invocations: float, seconds: float) -> dict[str, float]:
    """Return the amounts of a function of the template, given by its logical id."""
    properties = reckoning.stack.properties(function)
    memory_gb = properties["MemorySize"] / 1024
    return {"invocations": invocations, f"gb_seconds_{properties['Architectures'][0]}": seconds * memory_gb}


def _stream(reckoning: Reckoning) -> Iterator[Item]:
    stack, load, gb = reckoning.stack, reckoning.load, stream_gb(reckoning)
    shard_hours, readers = reckoning.estimate.shards * HOURS, 2 if stack.has_archive else 1
    retention = reckoning.given("RetentionHours")
    long_gb = gb / HOURS * max(0, retention - _WEEK_HOURS)
    taken: dict[str, float]
    if stack.is_on_demand:
        taken = {"stream_hours": HOURS, "stream_gb_in": gb, "stream_gb_out": gb * readers}
        kept = {"stream_gb_month": gb / HOURS * (min(retention, _WEEK_HOURS) - _DAY_HOURS)}
    else:
        taken = {"shard_hours": shard_hours, "put_units": load.month * ceil(load.record_bytes / 25_000)}
        kept = {"shard_hours_kept": float(shard_hours if retention > _DAY_HOURS else 0)}
    what = f"in, and out to {readers} reader{'s' * (readers > 1)}"
    yield reckoning.item("stream", "Kinesis", what, **taken)
    yield reckoning.item("retention", "Kinesis", f"{retention} hours of retention", **kept, long_gb_month=long_gb)
    if stack.is_on_demand:
        read_gb = gb / SECONDS * AccountReads(reckoning).stream_s
        yield reckoning.item("account_stream", "Kinesis", "out to the account check", stream_gb_out=read_gb)


def _functions(reckoning: Reckoning) -> Iterator[Item]:
    estimate, load, stack = reckoning.estimate, reckoning.load, reckoning.stack
    batches = estimate.batches
    busy_s = (batches * BATCH_MS + load.month * estimate.event_ms) / 1000
    what = f"batches of {estimate.batch_records:,.0f}"
    yield reckoning.item("consumer", "Lambda", what, **compute(reckoning, "Consumer", batches, busy_s))
    runs = stack.runs("Consumer")
    waiting: dict[str, Any] = compute(reckoning, "Consumer", runs, runs * _WAITING_MS / 1000)
    yield reckoning.item("waiting", "Lambda", "runs for what waits", **waiting)
    account = AccountReads(reckoning)
    what = f"account check, {account.runs:,.0f} runs"
    yield reckoning.item("account", "Lambda", what, **compute(reckoning, FUNCTION, account.runs, account.seconds))
    if stack.properties("Handshake"):
        asked = load.month * stack.by_function
        seconds = asked * _HANDSHAKE_MS / 1000
        what = f"handshake function, {stack.by_function:.0%} of all"
        yield reckoning.item("handshake", "Lambda", what, **compute(reckoning, "Handshake", asked, seconds))

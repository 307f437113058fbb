"""Lines of the bill for what is kept: tables and bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weir.infra.cost import GB, HOURS
from weir.infra.costs.account_reads import AccountReads, archive_objects
from weir.infra.costs.flow import WAITING_PARTS
from weir.infra.costs.item import Item, Reckoning
from weir.infra.template import Resource

EVENTS_TABLE = "EventsTable"
# What DynamoDB adds to each item.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
ITEM_OVERHEAD_BYTES = 100
# An entry of the index of events whose mark is a digest, and a mark that says no more than that an event was applied.
_INDEX_BYTES, MARK_BYTES = 300, 220
# Auto scaling keeps so much of the capacity in use; an index of the events table that has it is written by digests.
_TARGET_SHARE, _DIGEST_INDEX = 0.7, "sent_id"
# DynamoDB has rules for the most used and the most throttled keys, of each key of a table.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/contributorinsights_HowItWorks.html
_RULES_A_KEY = 2
# Samples of all providers go down to 0.23 under gzip; real bodies are less alike.
ARCHIVED_SHARE = 0.4


def items(reckoning: Reckoning) -> Iterator[Item]:
    """Yield the lines."""
    yield reckoning.item("writes", "DynamoDB", "writes", **_writes(reckoning))
    yield reckoning.item("reads", "DynamoDB", "reads of the account check", **_reads(reckoning))
    days, gb = reckoning.load.kept_days, events_gb(reckoning)
    yield reckoning.item("events_kept", "DynamoDB", f"{days} days of events", table_gb_month=gb)
    backed_up = reckoning.stack.properties(EVENTS_TABLE)["PointInTimeRecoverySpecification"]
    if backed_up["PointInTimeRecoveryEnabled"]:
        yield reckoning.item("events_backup", "DynamoDB", "point-in-time recovery", backup_gb_month=gb)
    yield from _insights(reckoning)
    if reckoning.stack.has_archive:
        yield from _bucket(reckoning)


def events_gb(reckoning: Reckoning) -> float:
    """Return how large the events table is, once it has all days that it keeps."""
    size = reckoning.load.item_bytes + ITEM_OVERHEAD_BYTES + reckoning.stack.by_digest * _INDEX_BYTES
    return _kept_events(reckoning) * size / GB


def marks_gb(reckoning: Reckoning) -> float:
    """Return how large marks alone would be, without the events that they hold."""
    return _kept_events(reckoning) * MARK_BYTES / GB


def _kept_events(reckoning: Reckoning) -> float:
    return reckoning.load.rate_per_s * 86_400 * reckoning.load.kept_days


# ------------------------------------------------------------------------------------------------ writes and reads


def _writes(reckoning: Reckoning) -> dict[str, float]:
    """Return the amounts of writes: units where a table is on demand, capacity by the hour where it is not."""
    found: dict[str, float] = {}
    for table, units in _units_by_table(reckoning).items():
        for name, amount in _written(reckoning, table, units).items():
            found[name] = found.get(name, 0.0) + amount
    return found


def _units_by_table(reckoning: Reckoning) -> dict[str, float]:
    """Return the write units of an event by table.

    What is changed is spread evenly over the business code's tables; without any, all of it is the events table's.
    """
    load, stack = reckoning.load, reckoning.stack
    tables = [name for name in stack.of_type("AWS::DynamoDB::Table") if name != EVENTS_TABLE]
    existing = [""] * (stack.tables - len(tables))  # made elsewhere: taken to be on demand
    units = {EVENTS_TABLE: load.mark_units + stack.by_digest}
    for name in [*tables, *existing] or [EVENTS_TABLE]:
        units[name] = units.get(name, 0.0) + load.business_units / max(1, stack.tables)
    return units


def _written(reckoning: Reckoning, table: str, units: float) -> dict[str, float]:
    properties, load = reckoning.stack.properties(table), reckoning.load
    if properties.get("BillingMode") != "PROVISIONED":
        return {"write_units": load.month * units}
    in_index = reckoning.stack.by_digest if table == EVENTS_TABLE else 0.0
    capacity = {"write": 0.0, "read": 0.0}
    for index in (properties, *properties.get("GlobalSecondaryIndexes", ())):
        name, lowest = index.get("IndexName", ""), index["ProvisionedThroughput"]
        written = units - in_index if not name else (in_index if name == _DIGEST_INDEX else 0.0)
        read_per_s = _reads_per_s(reckoning) if table == EVENTS_TABLE and not name else 0.0
        capacity["write"] += _scaled(reckoning, "Write", lowest, load.rate_per_s * written)
        capacity["read"] += _scaled(reckoning, "Read", lowest, read_per_s)
    return {f"{kind}_capacity_hours": units_at_once * HOURS for kind, units_at_once in capacity.items()}


def _scaled(reckoning: Reckoning, kind: str, lowest: Mapping[str, Any], used_per_s: float) -> float:
    """Return the capacity that auto scaling sets for what is used, within its bounds."""
    highest = reckoning.given(f"Table{kind}UnitsMax")
    return max(float(lowest[f"{kind}CapacityUnits"]), min(used_per_s / _TARGET_SHARE, highest))


def _read_units(reckoning: Reckoning) -> float:
    """Return the read units of a month: of the account check, and of each look at what waits."""
    looks = reckoning.stack.runs("Consumer") * WAITING_PARTS * 0.5
    return AccountReads(reckoning).read_units + looks


def _reads_per_s(reckoning: Reckoning) -> float:
    return _read_units(reckoning) / (HOURS * 3600)


def _reads(reckoning: Reckoning) -> dict[str, float]:
    is_provisioned = reckoning.stack.properties(EVENTS_TABLE)["BillingMode"] == "PROVISIONED"
    return {"read_units": 0.0 if is_provisioned else _read_units(reckoning)}


def _insights(reckoning: Reckoning) -> Iterator[Item]:
    shown = [table for table in reckoning.stack.of_type("AWS::DynamoDB::Table").values() if _shows_keys(table)]
    if not shown:
        return
    keys = {table.logical_id: len(table.properties["KeySchema"]) for table in shown}
    account = AccountReads(reckoning)
    read = account.runs * account.deliveries_a_run
    # An item that is written or read counts once for each key of its table.
    events = sum(
        count * reckoning.load.month / max(1, reckoning.stack.tables)
        for name, count in keys.items()
        if name != EVENTS_TABLE
    )
    if EVENTS_TABLE in keys:
        events += keys[EVENTS_TABLE] * (reckoning.load.month + read)
    what = f"Contributor Insights of {len(shown)} table{'s' * (len(shown) > 1)}"
    rules = _RULES_A_KEY * sum(keys.values())
    yield reckoning.item("insights", "DynamoDB", what, insight_rules=rules, insight_events=events)


def _shows_keys(table: Resource) -> bool:
    return bool(table.properties.get("ContributorInsightsSpecification", {}).get("Enabled"))


# ------------------------------------------------------------------------------------------------ the bucket


def _bucket(reckoning: Reckoning) -> Iterator[Item]:
    load, days, account = reckoning.load, reckoning.given("ArchiveDays"), AccountReads(reckoning)
    kept_gb = load.rate_per_s * 86_400 * days * load.record_bytes * ARCHIVED_SHARE / GB
    yield reckoning.item("archive", "S3", f"{days} days of archive, once full", bucket_gb_month=kept_gb)
    written = archive_objects(reckoning) + account.lists
    what = "requests of Firehose and the account"
    yield reckoning.item("bucket_requests", "S3", what, bucket_puts=written, bucket_gets=account.objects)

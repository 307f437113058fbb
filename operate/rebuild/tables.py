"""Rebuild tables from the past: every event once, in order, into fresh tables; then compare, and on request swap.

    events table or archive --in order of arrival--> judge, business code --> fresh tables, with marks of their own
                                                                                   | item by item
                                                                               present tables

Live traffic goes on and is not touched. What arrives meanwhile is caught up with before the comparison; an item that
differs is read again, so that an event on its way is not a difference. A swap writes the items that differ into the
present tables while the consumer is paused; what it overwrites is kept in a file.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.consumers.events_table.attributes import from_item
from weir.consumers.events_table.bulk import read_items
from weir.consumers.outcome import Outcome
from weir.consumers.settings import Settings
from weir.consumers.waiting.waiting_table import INDEX as WAITING_INDEX
from weir.ingest.errors import StackFailed
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.preview import Preview, Previewer
from weir.operate.rebuild.evidence import Evidence
from weir.operate.replay.ports import Result
from weir.operate.replay.targets.in_process import TrustingSecrets
from weir.operate.replay.targets.to_consumer import ToConsumer

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

WireItem = Mapping[str, Any]

_FRESH = "-rebuild-"
_READ_KEYS = 100
_ACTIVE_S = 120.0
_ROUNDS = 10
_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class FreshTables:
    """Where a rebuild writes: settings that name fresh tables, and the present ones by logical name."""

    settings: Settings
    present: Mapping[str, str]

    @property
    def tables(self) -> list[str]:
        return [self.settings.events_table, *self.settings.tables.values()]


@dataclass(slots=True)
class Difference:
    """One item that is not the same in both tables; None where it is missing."""

    table: str
    key: WireItem
    present: WireItem | None
    rebuilt: WireItem | None

    def line(self) -> str:
        """Write it for a person."""
        name = f"{self.table} {json.dumps(from_item(self.key), default=str, sort_keys=True)}"
        if self.present is None:
            return f"+ {name}  only in the rebuild"
        if self.rebuilt is None:
            return f"- {name}  only in the present table"
        before, after = from_item(self.present), from_item(self.rebuilt)
        names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        return f"~ {name}  " + ", ".join(f"{one} {before.get(one)} -> {after.get(one)}" for one in names)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "table": self.table,
            "key": _readable(self.key),
            "present": None if self.present is None else _readable(self.present),
            "rebuilt": None if self.rebuilt is None else _readable(self.rebuilt),
        }


@dataclass(slots=True)
class Comparison:
    """What a comparison found; ``same`` counts items. ``moving`` changed each time that they were read."""

    same: int = 0
    differences: list[Difference] = field(default_factory=list)
    moving: list[Difference] = field(default_factory=list)


def make_fresh(dynamodb: DynamoDBClient, settings: Settings, suffix: str) -> FreshTables:
    """Create fresh tables shaped like the present ones. Raises: StackFailed when they do not come up."""
    tables = {name: f"{real}{_FRESH}{suffix}" for name, real in settings.tables.items()}
    events_table = f"{settings.events_table}{_FRESH}{suffix}"
    for real, made in (
        (settings.events_table, events_table),
        *zip(settings.tables.values(), tables.values(), strict=True),
    ):
        shape = dynamodb.describe_table(TableName=real)["Table"]
        # Of the indexes only the one that finds what waits: nothing else is looked for in a fresh table.
        indexes: Any = [
            {name: one[name] for name in ("IndexName", "KeySchema", "Projection")}
            for one in shape.get("GlobalSecondaryIndexes", ())
            if one["IndexName"] == WAITING_INDEX
        ]
        schemas = [shape["KeySchema"], *(index["KeySchema"] for index in indexes)]
        keys = {part["AttributeName"] for schema in schemas for part in schema}
        more: Any = {"GlobalSecondaryIndexes": indexes} if indexes else {}
        dynamodb.create_table(
            TableName=made,
            KeySchema=shape["KeySchema"],
            AttributeDefinitions=[one for one in shape["AttributeDefinitions"] if one["AttributeName"] in keys],
            BillingMode="PAY_PER_REQUEST",
            **more,
        )
    fresh = FreshTables(settings._replace(events_table=events_table, tables=tables), settings.tables)
    deadline = time.monotonic() + _ACTIVE_S
    for table in fresh.tables:
        while dynamodb.describe_table(TableName=table)["Table"]["TableStatus"] != "ACTIVE":
            if time.monotonic() > deadline:
                raise StackFailed("A fresh table did not become active.", table=table)
            time.sleep(0.2)
    return fresh


def left_behind(dynamodb: DynamoDBClient, settings: Settings) -> list[str]:
    """Return the fresh tables that exist: of rebuilds that were killed, that kept them, or that are running."""
    presents = tuple(f"{real}{_FRESH}" for real in (settings.events_table, *settings.tables.values()))
    pages = dynamodb.get_paginator("list_tables").paginate()
    return [name for page in pages for name in page["TableNames"] if name.startswith(presents)]


def drop(dynamodb: DynamoDBClient, fresh: FreshTables) -> None:
    """Delete the fresh tables."""
    for table in fresh.tables:
        dynamodb.delete_table(TableName=table)


class ToRebuild:
    """The fresh tables as the target. What was verified when it arrived needs no secret that is live today.

    What is not as it was proven is not applied, counted as ``altered``, and named by ``say``.
    """

    batch_count = 500

    def __init__(
        self,
        consumer: ToConsumer,
        secrets: TrustingSecrets,
        previewer: Previewer,
        evidence: Evidence,
        say: Callable[[str], object],
        *,
        begins: dict[str, int],
    ) -> None:
        """Note in ``begins`` the oldest arrival of each source, in epoch milliseconds."""
        self.label = "fresh tables"
        self._consumer = consumer
        self._previewer = previewer
        self._evidence = evidence
        self._say = say
        self._begins = begins
        secrets.proven = evidence.verdict

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:
        """Apply each event that is not in the rebuild yet."""
        previews = [self._previewer.preview(delivery) for delivery in deliveries]
        self._evidence.read(previews)
        results: list[Result] = []
        kept: list[tuple[Delivery, bool]] = []
        for delivery, preview, again in zip(deliveries, previews, repeats, strict=True):
            if preview.envelope is not None:
                at_ms = preview.envelope.arrived_at_ms
                self._begins[preview.envelope.source] = min(at_ms, self._begins.get(preview.envelope.source, at_ms))
            altered = self._evidence.contradicts(preview.envelope) if preview.envelope else ""
            if altered:
                results.append(Result("altered", altered))
                self._say(f"{delivery.where}: {_name(preview)}: not the {altered} that was proven; it is left out")
            else:
                kept.append((delivery, again))
        return results + self._consumer.deliver([one for one, _ in kept], [again for _, again in kept], since_ms)


def _name(preview: Preview) -> str:
    return f"{preview.envelope.source}, request {preview.envelope.request_id}" if preview.envelope else "a record"


class Comparer:
    """Compares a present table with its rebuilt one."""

    def __init__(self, dynamodb: DynamoDBClient, sleep: Callable[[float], object] = time.sleep) -> None:
        self._dynamodb = dynamodb
        self._sleep = sleep

    def compare(self, logical: str, present: str, rebuilt: str) -> Comparison:
        """Read both tables once each, and each other's counterparts in bulk."""
        key_names = self._key_names(present)
        found = Comparison()
        for chunk in self._scan(rebuilt):
            others = self._read(present, [_key(item, key_names) for item in chunk], key_names)
            for item in chunk:
                key = _key(item, key_names)
                self._note(found, Difference(logical, key, others.get(_text(key)), item))
        for chunk in self._scan(present):
            others = self._read(rebuilt, [_key(item, key_names) for item in chunk], key_names)
            for item in chunk:
                key = _key(item, key_names)
                if _text(key) not in others:
                    self._note(found, Difference(logical, key, item, None))
        return found

    def again(self, differences: Iterable[Difference], present: str, rebuilt: str) -> list[Difference]:
        """Read items again; return them as they are now."""
        left = list(differences)
        key_names = self._key_names(present)
        found: list[Difference] = []
        for start in range(0, len(left), _READ_KEYS):
            chunk = left[start : start + _READ_KEYS]
            keys = [one.key for one in chunk]
            now, then = self._read(present, keys, key_names), self._read(rebuilt, keys, key_names)
            found += [
                Difference(one.table, one.key, now.get(_text(one.key)), then.get(_text(one.key))) for one in chunk
            ]
        return found

    def _note(self, found: Comparison, difference: Difference) -> None:
        if _equal(difference.present, difference.rebuilt):
            found.same += 1
        else:
            found.differences.append(difference)

    def _key_names(self, table: str) -> list[str]:
        schema = self._dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
        return [part["AttributeName"] for part in schema]

    def _scan(self, table: str) -> Iterator[Sequence[WireItem]]:
        for page in self._dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
            for start in range(0, len(page["Items"]), _READ_KEYS):
                yield page["Items"][start : start + _READ_KEYS]

    def _read(self, table: str, keys: list[WireItem], key_names: list[str]) -> dict[str, WireItem]:
        items = read_items(self._dynamodb, table, keys, sleep=self._sleep)
        return {_text(_key(item, key_names)): item for item in items}


def settle(
    comparer: Comparer,
    catch_up: Callable[[], object],
    pairs: Mapping[str, tuple[str, str]],
    sleep: Callable[[float], object] = time.sleep,
) -> dict[str, Comparison]:
    """Compare each pair of tables, and catch up with live traffic until no difference is due to it.

    ``pairs`` maps a logical name to the present and the rebuilt table. An item differs if it did not change while the
    rebuild caught up with everything that was applied before, and is not what was rebuilt.
    """
    found = {name: comparer.compare(name, *tables) for name, tables in pairs.items()}
    for one in found.values():
        one.moving, one.differences = one.differences, []
    for _ in range(_ROUNDS):
        if not any(one.moving for one in found.values()):
            break
        catch_up()
        for name, one in found.items():
            _judge(one, comparer.again(one.moving, *pairs[name]))
        if any(one.moving for one in found.values()):
            sleep(_PAUSE_S)
    return found


def _judge(found: Comparison, now: list[Difference]) -> None:
    """Sort the items into those that are the same by now, those that stayed different, and those that keep changing."""
    before, found.moving = found.moving, []
    for then, one in zip(before, now, strict=True):
        if _equal(one.present, one.rebuilt):
            found.same += 1
        elif _equal(one.present, then.present):
            found.differences.append(one)
        else:
            found.moving.append(one)


def swap(dynamodb: DynamoDBClient, table: str, differences: Iterable[Difference], backup: Path, *, delete: bool) -> int:
    """Make the present table say what the rebuild says; return how many items were written.

    What was there is appended to ``backup`` first. Items that only the present table has are kept unless ``delete``.
    """
    written = 0
    with backup.open("a", encoding="utf-8") as lines:
        for one in differences:
            if one.rebuilt is None and not delete:
                continue
            lines.write(json.dumps({"at_table": table, **one.as_dict()}) + "\n")
            lines.flush()
            if one.rebuilt is None:
                dynamodb.delete_item(TableName=table, Key=one.key)
            else:
                dynamodb.put_item(TableName=table, Item=one.rebuilt)
            written += 1
    return written


def take_ignored(dynamodb: DynamoDBClient, events_table: str, rebuilt: str) -> int:
    """Let events that the rebuild has applied, and that were ignored, say applied; return how many there were.

    Else a replay of the ignored would apply them to the swapped tables once more.
    """
    taken = 0
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=rebuilt,
        ConsistentRead=True,
        ProjectionExpression="pk, request_id",
        FilterExpression="#outcome = :applied",
        ExpressionAttributeNames={"#outcome": "outcome"},
        ExpressionAttributeValues={":applied": {"S": Outcome.APPLIED}},
    )
    for item in (item for page in pages for item in page["Items"]):
        try:
            dynamodb.update_item(
                TableName=events_table,
                Key={"pk": item["pk"]},
                UpdateExpression="SET #outcome = :applied",
                ConditionExpression="#outcome = :ignored AND request_id = :request",
                ExpressionAttributeNames={"#outcome": "outcome"},
                ExpressionAttributeValues={
                    ":applied": {"S": Outcome.APPLIED},
                    ":ignored": {"S": Outcome.IGNORED},
                    ":request": item["request_id"],
                },
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            continue
        taken += 1
    return taken


def _key(item: WireItem, key_names: list[str]) -> dict[str, Any]:
    return {name: item[name] for name in key_names}


def _text(key: WireItem) -> str:
    return json.dumps(_readable(key), sort_keys=True)


def _readable(item: WireItem) -> dict[str, Any]:
    """Return an item in wire form with binary as base64 text, so that it is JSON."""
    return {name: json.loads(json.dumps(value, default=_binary)) for name, value in item.items()}


def _binary(value: Any) -> str:
    return b64encode(bytes(value)).decode("ascii")


def _equal(one: WireItem | None, other: WireItem | None) -> bool:
    if one is None or other is None:
        return one is other
    return from_item(one) == from_item(other)

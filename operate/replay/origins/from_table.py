"""The events table as an origin: all of it, or by its sparse index what is quarantined; oldest arrival first.

A table has no order of its own. Keys and arrival times are sorted in a file first, so that memory stays small and each
ordering key comes in the order in which it arrived; then the items are read in bulk.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from weir.consumers.events_table.bulk import read_items
from weir.consumers.events_table.mark import UNREADABLE, source_of_part
from weir.consumers.judging.records import Record
from weir.consumers.outcome import Outcome
from weir.ingest.envelope import Envelope, encode
from weir.ingest.errors import StackFailed
from weir.operate.lookup.delivery import Advance, Cursor, Delivery, Estimate
from weir.operate.lookup.events import Table, summary
from weir.operate.lookup.refused import count_refused, refused_of, refused_of_all
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.origins import kind_of
from weir.operate.replay.request import ReplayRequest

LANE = "table"
_KEYS = 50
_SCANNED = ("pk", "source", "event_id", "request_id", "outcome", "reason", "type", "key", "received_at", "applied_at")
_NAMES = {f"#{index}": name for index, name in enumerate(_SCANNED)}

Wants = Callable[[Mapping[str, Any]], bool]


@dataclass(slots=True)
class FromTable:
    """Reads what ``wants`` says yes to, asked with an item's facts before its bytes are read.

    With ``source`` only that source's part of the quarantine is read, by the index.
    """

    table: Table
    wants: Wants = lambda _: True
    quarantine_only: bool = False
    source: str = ""
    say: Callable[[str], object] = lambda _: None
    sleep: Callable[[float], object] = time.sleep
    label: str = field(init=False)

    def __post_init__(self) -> None:
        self.label = f"{'quarantine' if self.quarantine_only else 'events'} of table {self.table.name}"

    def estimate(self) -> Estimate:
        """Ask how many items there are; AWS counts a table every six hours, so the small index is counted now."""
        if not self.quarantine_only:
            facts = self.table.dynamodb.describe_table(TableName=self.table.name)["Table"]
            return Estimate(facts.get("ItemCount"), facts.get("TableSizeBytes"), "before any filter")
        count, is_all = count_refused(self.table.dynamodb, self.table.name)
        return Estimate(count, None, "before any filter" if is_all else "at least")

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield the deliveries behind the cursor, each once, however many events it holds."""
        done = _position(cursor.get(LANE, ""))
        with tempfile.TemporaryDirectory(prefix="weir-") as folder:
            order = sqlite3.connect(f"{folder}/order")
            try:
                order.execute("CREATE TABLE found (at INTEGER, pk TEXT, PRIMARY KEY (at, pk)) WITHOUT ROWID")
                keys = ((facts["received_at_ms"] or 0, facts["pk"]) for facts in self.scan())
                order.executemany("INSERT OR IGNORE INTO found VALUES (?, ?)", keys)
                yield from self._deliveries(order, done)
            finally:
                order.close()

    def scan(self) -> Iterator[Mapping[str, Any]]:
        """Yield the facts of each item that is wanted, without its bytes; of one source the oldest first."""
        return self._wanted(self._found())

    def newest(self) -> Iterator[Mapping[str, Any]]:
        """Yield the facts of what is wanted of one source's quarantine, newest first, as many as are taken."""
        return self._wanted(refused_of(self.table.dynamodb, self.table.name, self.source, newest_first=True))

    def _wanted(self, items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for item in items:
            facts = _facts(item)
            if facts["outcome"] != Outcome.FENCED and self.wants(facts):
                yield facts

    def _found(self) -> Iterator[Mapping[str, Any]]:
        client, name = self.table.dynamodb, self.table.name
        if self.quarantine_only:
            return refused_of(client, name, self.source) if self.source else refused_of_all(client, name)
        shown: Any = {"ProjectionExpression": ",".join(_NAMES), "ExpressionAttributeNames": _NAMES}
        pages = client.get_paginator("scan").paginate(TableName=name, ConsistentRead=True, **shown)
        return (item for page in pages for item in page["Items"])

    def _deliveries(self, order: sqlite3.Connection, done: tuple[int, str]) -> Iterator[Delivery]:
        rows = order.execute("SELECT at, pk FROM found WHERE (at, pk) > (?, ?) ORDER BY at, pk", done)
        given: set[str] = set()
        given_at = -1
        while keys := rows.fetchmany(_KEYS):
            items = self._items([pk for _, pk in keys])
            for at_ms, pk in keys:
                if at_ms != given_at:
                    given, given_at = set(), at_ms
                item = items.get(pk)
                # The events of one delivery arrived at one moment and each keeps all of it.
                identity = item.get("request_id", {}).get("S") or pk if item else pk
                if item is not None and identity not in given:
                    given.add(identity)
                    delivery = self._delivery(item, at_ms)
                    if delivery is not None:
                        yield delivery

    def _items(self, keys: list[str]) -> dict[str, Any]:
        wanted = [{"pk": {"S": key}} for key in keys]
        items = read_items(self.table.dynamodb, self.table.name, wanted, sleep=self.sleep)
        return {item["pk"]["S"]: item for item in items}

    def _delivery(self, item: Mapping[str, Any], at_ms: int) -> Delivery | None:
        facts = summary(item)
        pk = facts["pk"]
        try:
            stored = self.table.stored(item)
        except StackFailed as error:
            self.say(f"{pk}: {error}")
            return None
        position = f"{at_ms}|{pk}"
        if isinstance(stored, Envelope):
            return Delivery(encode(stored), LANE, position, at_ms, facts=facts)
        shard_id, _, rest = pk.removeprefix(UNREADABLE).rpartition(":")
        sequence_number, _, sub_sequence = rest.partition(".")
        record = Record(shard_id, sequence_number, int(sub_sequence or 0), at_ms, stored)
        return Delivery(stored, LANE, position, at_ms, facts=facts, record=record)


def make(context: ReplayContext, request: ReplayRequest, selection: Filter) -> FromTable:
    """Return the stack's events table, or of it what is quarantined or ignored, as the origin of a replay."""
    only, say = request.origin == "quarantine", context.console.say
    if kind_of(request.origin).holds_ignored:

        def wants(facts: Mapping[str, Any]) -> bool:
            return bool(facts["outcome"] == Outcome.IGNORED and selection.wants_facts(facts))

        return FromTable(context.stack.table, wants, say=say)
    return FromTable(context.stack.table, selection.wants_facts, quarantine_only=only, say=say)


def _facts(item: Mapping[str, Any]) -> dict[str, Any]:
    facts = summary(item)
    if facts["outcome"] is None and "quarantine" in item:
        facts["outcome"] = Outcome.QUARANTINED  # the index holds nothing else and does not say so
        facts["source"] = source_of_part(item["quarantine"]["S"])
    return facts


def _position(text: str) -> tuple[int, str]:
    at_ms, _, pk = text.partition("|")
    return (int(at_ms), pk) if text else (-1, "")

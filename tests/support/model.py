"""The exact model: a dictionary to which each event is applied once, one after the other, in the order of the stream.

It reads changes as a person would and shares no code with the consumer's planning, compiling or committing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from weir.consumers.business.changes import Change, Check, Condition, Delete, Put, Update

KEYS = {"balances": "account", "things": "id"}


@dataclass(frozen=True)
class Record:
    """One record of the stream: a delivery of an event. No business code wants it if ``changes`` is None.

    ``is_past``: it is older than a mark of its event would live. If the sender ``signs_type``, another type under the
    same id is the event's own business.
    """

    event_id: str
    request_id: str
    partition_key: str
    changes: tuple[Change, ...] | None
    is_forged: bool = False
    is_past: bool = False
    type: str = "order.paid"
    signs_type: bool = True


@dataclass
class Model:
    """What the tables must hold and what each record must be reported as."""

    tables: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in KEYS})
    marked: dict[str, str] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)

    def apply_all(self, records: Sequence[Record]) -> Model:
        for record in records:
            self.outcomes.append(self._apply(record))
        return self

    def try_again(self, record: Record) -> str:
        """Apply a record that waits, if what it waits for is there by now; return what becomes of it."""
        return self._apply(record)

    def _apply(self, record: Record) -> str:
        if record.is_forged:
            return "quarantined"
        if record.event_id in self.marked:
            is_same = record.signs_type or record.type == self.marked[record.event_id]
            return "duplicate" if is_same else "quarantined"
        if record.is_past:
            return "quarantined"
        if record.changes is None:
            self.marked[record.event_id] = record.type
            return "ignored"
        after = {name: dict(table) for name, table in self.tables.items()}
        impossible = [change for change in record.changes if not _change(after, change)]
        if impossible:
            return "waiting" if all(change.wait for change in impossible) else "quarantined"
        self.tables = after
        self.marked[record.event_id] = record.type
        return "applied"


def _change(tables: dict[str, dict[str, dict[str, Any]]], change: Change) -> bool:
    """Make one change; return whether it can be made."""
    (key,) = change.key.values()
    if change.table not in tables or not isinstance(key, str):
        return False
    table = tables[change.table]
    item = table.get(key, {})
    if change.condition is not None and not _holds(change.condition, item):
        return False
    if isinstance(change, Check) or (change.newer and not _is_newer(change, item)):
        return True
    if isinstance(change, Delete):
        table.pop(key, None)
        return True
    fresh = dict(change.key) | dict(change.attributes) if isinstance(change, Put) else _updated(change, item)
    if fresh is None:
        return False
    if change.newer:
        fresh[change.newer.attribute] = change.newer.value
    table[key] = fresh
    return True


def _is_newer(change: Put | Update | Delete, item: Mapping[str, Any]) -> bool:
    stored = item.get(change.newer.attribute) if change.newer else None
    return stored is None or (_is_number(stored) and stored < change.newer.value)  # type: ignore[union-attr]


def _updated(change: Update, item: Mapping[str, Any]) -> dict[str, Any] | None:
    fresh: dict[str, Any] = dict(item) | dict(change.key) | dict(change.set)
    for name, amount in change.add.items():
        if name in item and not _is_number(item[name]):
            return None
        fresh[name] = item.get(name, 0) + amount
    for name in change.remove:
        fresh.pop(name, None)
    return fresh


def _holds(condition: Condition, item: Mapping[str, Any]) -> bool:
    left, *rest = condition.operands
    if condition.operator == "AND":
        return all(_holds(part, item) for part in condition.operands)  # type: ignore[arg-type]
    if condition.operator == "OR":
        return any(_holds(part, item) for part in condition.operands)  # type: ignore[arg-type]
    if condition.operator == "NOT":
        return not _holds(left, item)  # type: ignore[arg-type]
    if not rest:
        return (left in item) == (condition.operator == "attribute_exists")
    stored, wanted = item.get(str(left)), rest[0]
    if stored is None or _is_number(stored) != _is_number(wanted):
        return False
    tests = {"=": stored == wanted, "<": stored < wanted, "<=": stored <= wanted, ">": stored > wanted}
    return bool((tests | {">=": stored >= wanted})[condition.operator])


def _is_number(value: object) -> bool:
    return isinstance(value, int | Decimal)


def plain(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a stored item as the model writes it."""
    return {name: Decimal(wire["N"]) if "N" in wire else wire["S"] for name, wire in item.items()}

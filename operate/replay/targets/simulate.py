"""What changes would do to items, without a database: for dry runs. Conditions are judged like DynamoDB judges them.

Values are plain Python values, as `weir.consumers.business.changes` has them. Numbers are int or Decimal, sets
frozensets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any, TypeAlias

from weir.consumers.business.changes import Change, Check, Condition, Delete, Put, Update
from weir.consumers.events_table.attributes import from_item, read_number, to_wire
from weir.ingest.errors import ChangeInvalid, ConditionFailed, NotYet, RecordError

Plain: TypeAlias = dict[str, Any]
ItemId: TypeAlias = tuple[str, str]  # logical table, canonical JSON of the key
LoadItem: TypeAlias = Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None]

_EXACT = Context(prec=38)  # as many digits as DynamoDB keeps; Python's own context would round to 28

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: bool(left == right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
}


class Simulation:
    """Items as they are, loaded when they are first touched, and as they would be."""

    def __init__(self, load: LoadItem) -> None:
        """``load`` returns the stored item of a logical table by its plain key, in DynamoDB's wire form."""
        self._load = load
        self._before: dict[ItemId, Plain | None] = {}
        self._after: dict[ItemId, Plain | None] = {}

    def apply(self, changes: tuple[Change, ...]) -> None:
        """Do all changes of an event or none. Raises: ConditionFailed, ChangeInvalid; NotYet if it would wait."""
        touched: dict[ItemId, Plain | None] = {}
        missing: NotYet | None = None
        for change in changes:
            identity = item_id(change)
            try:
                touched[identity] = _changed(change, touched.get(identity, self._item(identity, change)))
            except NotYet as error:  # what another change can never do counts more
                missing = missing or error
            except ArithmeticError as error:  # a sum with more digits than DynamoDB has
                raise ChangeInvalid("A number cannot be added to", table=change.table) from error
        if missing is not None:
            raise missing
        self._after.update(touched)

    def differences(self) -> list[tuple[ItemId, Plain | None, Plain | None]]:
        """Return the items that would be different, before and after, in the order of their names."""
        return [
            (identity, self._before[identity], after)
            for identity, after in sorted(self._after.items())
            if self._before[identity] != after
        ]

    def _item(self, identity: ItemId, change: Change) -> Plain | None:
        if identity not in self._before:
            stored = self._load(change.table, {name: to_wire(value) for name, value in change.key.items()})
            self._before[identity] = None if stored is None else from_item(stored)
            self._after[identity] = self._before[identity]
        return self._after[identity]


def item_id(change: Change) -> ItemId:
    """Return which item a change is about, the same for each spelling of a number in its key."""
    return change.table, json.dumps(_normal(change.key), sort_keys=True, default=str)


def show(change: Change) -> str:
    """Write a change in one line."""
    name = f"{type(change).__name__.lower():6} {change.table} {item_id(change)[1]}"
    if isinstance(change, Put):
        return f"{name}  {_show(change.attributes)}"
    if isinstance(change, Update):
        parts = [f"SET {_show(change.set)}" if change.set else ""]
        parts.append("ADD " + ", ".join(f"{key} {value:+}" for key, value in change.add.items()) if change.add else "")
        parts.append("REMOVE " + ", ".join(change.remove) if change.remove else "")
        return f"{name}  {' '.join(filter(None, parts))}"
    return name


def show_difference(identity: ItemId, before: Plain | None, after: Plain | None) -> str:
    """Write what would become of an item in one line."""
    name = f"{identity[0]} {identity[1]}"
    if after is None:
        return f"- {name}"
    if before is None:
        return f"+ {name}  {_show({key: value for key, value in after.items() if key not in json.loads(identity[1])})}"
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return f"~ {name}  " + ", ".join(f"{key} {_one(before.get(key))} -> {_one(after.get(key))}" for key in names)


def _changed(change: Change, item: Plain | None) -> Plain | None:
    if isinstance(change, Check):
        _demand(change.condition, item, change)
        return item
    if change.condition is not None:
        _demand(change.condition, item, change)
    newer = change.newer
    if newer is not None and item is not None and newer.attribute in item and not item[newer.attribute] < newer.value:
        return item  # an older event changes nothing
    if isinstance(change, Delete):
        return None
    version = {} if newer is None else {newer.attribute: newer.value}
    if isinstance(change, Put):
        return _normal({**change.attributes, **version, **change.key})
    changed = {**(item or dict(change.key)), **_normal({**change.set, **version})}
    for name, amount in change.add.items():
        if isinstance(before := changed.get(name, 0), bool) or not isinstance(before, int | Decimal):
            raise ChangeInvalid("An operand in the update expression has an incorrect data type", attribute=name)
        changed[name] = read_number(str(_EXACT.add(Decimal(changed.get(name, 0)), Decimal(amount))))
    return {name: value for name, value in changed.items() if name not in change.remove}


def _demand(condition: Condition, item: Plain | None, change: Change) -> None:
    if not _holds(condition, item or {}):
        error: type[RecordError] = ConditionFailed if change.wait is None else NotYet
        raise error(f"{change.table} {item_id(change)[1]}")


def _holds(condition: Condition, item: Plain) -> bool:
    operands = condition.operands
    inner = [_holds(part, item) for part in operands if isinstance(part, Condition)]
    match condition.operator:
        case "AND" | "OR":
            return all(inner) if condition.operator == "AND" else any(inner)
        case "NOT":
            return not inner[0]
        case "attribute_exists" | "attribute_not_exists":
            return (operands[0] in item) == (condition.operator == "attribute_exists")
    name, value = str(operands[0]), operands[1]
    try:
        return name in item and _ORDERS[condition.operator](item[name], _normal({"": value})[""])
    except TypeError:  # values of two types are never in an order
        return False


def _normal(values: Mapping[str, Any]) -> Plain:
    """Return values as they would be read back."""
    return from_item({name: to_wire(value) for name, value in values.items()})


def _show(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_one(value)}" for name, value in values.items())


def _one(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."

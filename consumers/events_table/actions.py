"""A change of business code, compiled to one action of a TransactWriteItems.

An action knows what the planner needs (which item, with whom it may share one write, how many bytes) and what the store
needs (the request in wire form). Nothing here looks at the table: a change is judged by its own form alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from typing import Any, TypeAlias

from weir.consumers.business.changes import Change, Check, Condition, Delete, Newer, Put, Update, Value, Wait
from weir.consumers.business.tables import WIRE_TYPES, Table
from weir.consumers.events_table.attributes import (
    ITEM_BYTES_MAX,
    WireItem,
    WireValue,
    item_bytes,
    number,
    quoted,
    string,
    text,
    to_wire,
)
from weir.ingest.errors import ChangeInvalid, EventTooLarge

ItemKey: TypeAlias = tuple[str, str]  # real table, canonical JSON of the key
ActionJson: TypeAlias = str  # the JSON of one member of TransactItems, {"Put": {...}}

ADDS = "add"

# How long an event may wait: shorter than any mark lives, so that it is always known whether it was applied.
WAIT_S_MAX = 7 * 86_400
WAIT_ATTEMPTS_MAX = 1000

# Addends within these bounds have an exact sum in DynamoDB's 38 digits, however many share a transaction.
_ADDEND_BOUND = 10**20
_ADDEND_EXPONENT_MIN = -12
to_json = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_EXACT = Context(prec=38, traps=[Inexact])


@dataclass(slots=True, eq=False)
class Action:
    """One item's part in a transaction.

    Two actions on one item may share a transaction only if ``shares`` is equal and not empty: additions, or the same
    check. ``request`` is None for additions, whose sum is only known when the transaction is built. ``stale_ok`` marks
    a change that is left out, not refused, when its condition fails; ``wait`` says how long the event may wait for it.
    """

    item: ItemKey
    request: ActionJson | None
    size_bytes: int
    shares: str = ""
    stale_ok: bool = False
    key: WireItem = field(default_factory=dict)
    adds: Mapping[str, int | Decimal] = field(default_factory=dict)
    wait: Wait | None = None


def compile_changes(changes: Iterable[Change], tables: Mapping[str, str]) -> list[Action]:
    """Compile what one event changes; additions to one item become one action.

    Raises: ChangeInvalid, EventTooLarge.
    """
    actions: dict[ItemKey, Action] = {}
    for change in changes:
        action = _compile(change, tables)
        before = actions.get(action.item)
        if before is not None:
            action = _join(before, action, change)
        actions[action.item] = action
    return list(actions.values())


def merged(actions: list[Action]) -> ActionJson:
    """Return the one request that does what these actions on one item do."""
    first = actions[0]
    if first.request is not None:
        return first.request
    sums = dict(first.adds)
    for action in actions[1:]:
        for name, amount in action.adds.items():
            sums[name] = _sum(sums[name], amount) if name in sums else amount
    names = {f"#{index}": name for index, name in enumerate(sums)}
    values = {f":{index}": {"N": number(amount)} for index, amount in enumerate(sums.values())}
    expression = "ADD " + ", ".join(f"#{index} :{index}" for index in range(len(sums)))
    update = {
        "TableName": first.item[0],
        "Key": first.key,
        "UpdateExpression": expression,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
    return to_json({"Update": update})


def _sum(left: int | Decimal, right: int | Decimal) -> int | Decimal:
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return _EXACT.add(Decimal(left), Decimal(right))


def _join(before: Action, action: Action, change: Change) -> Action:
    if before.shares != ADDS or action.shares != ADDS:
        raise ChangeInvalid("two changes of one item in one event; join them in one change", item=describe(action.item))
    adds = dict(before.adds)
    for name, amount in action.adds.items():
        adds[name] = _sum(adds[name], amount) if name in adds else amount
    return _compile(Update(change.table, change.key, add=adds), {change.table: action.item[0]})


def describe(item: ItemKey) -> str:
    """Name an item for a person: table and key."""
    return f"{item[0]} {item[1]}"


def _compile(change: Change, tables: Mapping[str, str]) -> Action:
    if type(change) not in _COMPILERS:
        raise ChangeInvalid(f"business code returned {type(change).__name__}, which is not a change")
    table = tables.get(change.table)
    if table is None:
        raise ChangeInvalid(f"no table {change.table!r}; TABLES has {', '.join(sorted(tables)) or 'none'}")
    try:
        key = {name: _key_wire(value) for name, value in change.key.items()}
        if isinstance(change.table, Table):
            _check_key(change.table, key)
        action: Action = _COMPILERS[type(change)](change, table, key)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ChangeInvalid(str(error), table=change.table) from error
    if action.size_bytes > ITEM_BYTES_MAX:
        raise EventTooLarge("an item", item=describe(action.item), bytes=action.size_bytes)
    return action


def _check_key(table: Table, key: WireItem) -> None:
    """Raises: ValueError when a key has not the names and types that its table declares."""
    if key.keys() != table.key.keys():
        raise ValueError(f"the key of {str(table)!r} is {', '.join(table.key)}, not {', '.join(key)}")
    for name, kind in table.key.items():
        if WIRE_TYPES[kind] not in key[name]:
            (given,) = key[name]
            raise ValueError(
                f"{name} of {str(table)!r} is {kind.__name__}, of DynamoDB's type {WIRE_TYPES[kind]}, not {given}"
            )


def _key_wire(value: object) -> WireValue:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal | bytes):
        raise TypeError(f"a key is text, a number or bytes, not {type(value).__name__}")
    if value in ("", b""):
        raise ValueError("a key must not be empty")
    return to_wire(value)


def _item_key(table: str, key: WireItem) -> ItemKey:
    if not key:
        raise ValueError("the change names no key")
    if len(key) == 1:
        [(name, wire)] = key.items()
        if "S" in wire:  # nearly every key there is, and four times as fast
            return table, f"{{{quoted(name)}:{string(wire['S'])}}}"
    return table, to_json(key)


class _Expression:
    """Collects names and values of one action's expressions under placeholders: any name is then safe."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self.values: dict[str, WireValue] = {}

    def name(self, attribute: object) -> str:
        if not isinstance(attribute, str) or not attribute:
            raise TypeError(f"attribute name {attribute!r} is not text")
        return self._names.setdefault(text(attribute), f"#{len(self._names)}")

    def value(self, value: Value) -> str:
        placeholder = f":{len(self.values)}"
        self.values[placeholder] = to_wire(value)
        return placeholder

    def condition(self, condition: Condition) -> str:
        operator, operands = condition.operator, condition.operands
        if operator in ("AND", "OR", "NOT"):
            parts = [self.condition(part) for part in operands if isinstance(part, Condition)]
            return f"(NOT {parts[0]})" if operator == "NOT" else f"({f' {operator} '.join(parts)})"
        name = self.name(operands[0])
        if len(operands) == 1:
            return f"{operator}({name})"
        value = operands[1]
        if isinstance(value, Condition):
            raise TypeError("a condition is not a value")
        return f"{name} {operator} {self.value(value)}"

    def newer(self, newer: Newer) -> str:
        name = self.name(newer.attribute)
        return f"(attribute_not_exists({name}) OR {name} < {self.value(newer.value)})"

    def guard(self, change: Put | Update | Delete | Check) -> str:
        newer = None if isinstance(change, Check) else change.newer
        if newer is not None and change.condition is not None:
            raise ValueError("a change has a condition or is bound to a newer version, not both")
        if newer is not None:
            return self.newer(newer)
        return self.condition(change.condition) if change.condition is not None else ""

    def parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = {}
        if self._names:
            parameters["ExpressionAttributeNames"] = {mark: name for name, mark in self._names.items()}
        if self.values:
            parameters["ExpressionAttributeValues"] = self.values
        return parameters

    def size_bytes(self) -> int:
        return sum(len(name) for name in self._names) + item_bytes(self.values)


def _compile_put(change: Put, table: str, key: WireItem) -> Action:
    attributes = {name: to_wire(value) for name, value in change.attributes.items()}
    if clash := attributes.keys() & key.keys():
        raise ValueError(f"attribute {min(clash)} belongs to the key")
    if change.newer is not None:
        attributes[change.newer.attribute] = to_wire(change.newer.value)
    item = {**attributes, **key}
    return _action("Put", change, table, key, body={"Item": item}, size_bytes=item_bytes(item))


def _compile_delete(change: Delete, table: str, key: WireItem) -> Action:
    return _action("Delete", change, table, key, body={"Key": key}, size_bytes=item_bytes(key))


def _compile_check(change: Check, table: str, key: WireItem) -> Action:
    action = _action("ConditionCheck", change, table, key, body={"Key": key}, size_bytes=item_bytes(key))
    action.shares = f"check:{action.request}"
    return action


def _compile_update(change: Update, table: str, key: WireItem) -> Action:
    if _is_addition(change) and all([_addend(name, amount, key) for name, amount in change.add.items()]):  # noqa: C419
        item = _item_key(table, key)
        size = len(item[1]) + sum([len(name.encode("utf-8")) for name in change.add]) + 21 * len(change.add)
        return Action(item, None, size, shares=ADDS, key=key, adds=change.add)
    if isinstance(change.remove, str):  # a text is a sequence of texts, too: each of its letters would be removed
        raise TypeError("remove is a list of names, not text")
    expression = _Expression()
    sets = dict(change.set)
    if change.newer is not None:
        sets[change.newer.attribute] = change.newer.value
    clauses = [
        ("SET", [f"{expression.name(name)} = {expression.value(value)}" for name, value in sets.items()]),
        ("ADD", [f"{expression.name(name)} {_added(expression, name, n, key)}" for name, n in change.add.items()]),
        ("REMOVE", [expression.name(name) for name in change.remove]),
    ]
    if not any(parts for _, parts in clauses):
        raise ValueError("the update changes nothing")
    if clash := key.keys() & {*sets, *change.remove}:
        raise ValueError(f"attribute {min(clash)} belongs to the key")
    update = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses if parts)
    body = {"Key": key, "UpdateExpression": update}
    size = item_bytes(key) + sum(len(name.encode("utf-8")) for name in (*sets, *change.add, *change.remove))
    return _action("Update", change, table, key, body=body, size_bytes=size, expression=expression)


def _is_addition(change: Update) -> bool:
    return bool(change.add) and not (change.set or change.remove or change.condition or change.newer or change.wait)


def _addend(name: str, amount: int | Decimal, key: WireItem) -> bool:
    """Check one addition; return whether its sum with others is surely exact."""
    if type(amount) is int and -_ADDEND_BOUND < amount < _ADDEND_BOUND and name and text(name) not in key:
        return True
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        raise TypeError(f"{name}: only int and Decimal can be added")
    if not name or text(name) in key:
        raise ValueError(f"attribute {name!r} cannot be added to")
    number(amount)
    if isinstance(amount, Decimal) and int(amount.as_tuple().exponent) < _ADDEND_EXPONENT_MIN:
        return False
    return -_ADDEND_BOUND < amount < _ADDEND_BOUND


def _added(expression: _Expression, name: str, amount: int | Decimal, key: WireItem) -> str:
    _addend(name, amount, key)
    return expression.value(amount)


def _action(
    kind: str,
    change: Change,
    table: str,
    key: WireItem,
    *,
    body: dict[str, Any],
    size_bytes: int,
    expression: _Expression | None = None,
) -> Action:
    expression = expression or _Expression()
    request = {"TableName": table, **body}
    if guard := expression.guard(change):
        request["ConditionExpression"] = guard
    request.update(expression.parameters())
    stale_ok = not isinstance(change, Check) and change.newer is not None
    if change.wait is not None:
        _check_wait(change.wait, has_condition=change.condition is not None, has_newer=stale_ok)
    size = size_bytes + expression.size_bytes()
    return Action(_item_key(table, key), to_json({kind: request}), size, stale_ok=stale_ok, key=key, wait=change.wait)


def _check_wait(wait: Wait, *, has_condition: bool, has_newer: bool) -> None:
    if not has_condition:
        raise ValueError("wait is for a condition, and the change has none")
    if has_newer:
        raise ValueError("wait and newer exclude each other: what fails of the two cannot be told apart")
    for name, value, most in (("for_s", wait.for_s, WAIT_S_MAX), ("attempts", wait.attempts, WAIT_ATTEMPTS_MAX)):
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(f"wait: {name} is a whole number from 1 to {most}")


_COMPILERS: dict[type, Any] = {
    Put: _compile_put,
    Update: _compile_update,
    Delete: _compile_delete,
    Check: _compile_check,
}

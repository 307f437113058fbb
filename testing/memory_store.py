"""A store in this process that answers like DynamoDB and S3: the contract suite holds it to real engines.

It takes the requests that go over the wire and judges them by the same rules: limits, conditions, cancellation reasons
by position, tokens, write units. It is fast and deterministic, and what it holds can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import ceil
from typing import Any

from weir.consumers.commit.plan import ACTIONS_MAX, TRANSACTION_BYTES_MAX
from weir.consumers.events_table.attributes import ITEM_BYTES_MAX, Field, item_bytes
from weir.consumers.events_table.mark import Mark, read_mark
from weir.consumers.events_table.port import (
    CONDITION_FAILED,
    DUPLICATE_ITEM,
    NONE,
    VALIDATION_ERROR,
    Cancelled,
    Inserted,
    Reason,
    Refused,
    StoreLayout,
)
from weir.ingest.errors import ConfigError
from weir.testing.expressions import ExpressionError, Item, holds, updated

EVENTS = "events"
# A table's key: DynamoDB's type, S, N or B, of each attribute of the key, the partition key first.
Key = Mapping[str, str]

_SIZE = "Item size has exceeded the maximum allowed size"
_UPDATE_SIZE = "Item size to update has exceeded the maximum allowed size"
_SCHEMA = "The provided key element does not match the schema"
_FAILED = "The conditional request failed"


class MemoryStore:
    """The events table and tables of business code, ``keys`` by logical name.

    ``tables[name][key]`` is an item in wire form; the key is the text of a single text attribute, else its JSON.
    """

    def __init__(self, keys: Mapping[str, Key], *, has_bucket: bool = True) -> None:
        self._keys = {EVENTS: {"pk": "S"}, **keys}
        self.tables: dict[str, dict[str, Item]] = {name: {} for name in self._keys}
        self.payloads: dict[str, bytes] = {}
        self.calls: list[str] = []
        self._layout = StoreLayout(EVENTS, {name: name for name in keys}, has_bucket)
        self._tokens: dict[str, str] = {}

    @property
    def layout(self) -> StoreLayout:
        return self._layout

    def read_marks(self, keys: Sequence[str], *, consistent: bool) -> Mapping[str, Mark]:
        self.calls.append("read_marks")
        if not 0 < len(set(keys)) == len(keys) <= 100:
            raise Refused("Too many items requested for the BatchGetItem call, or the same twice")
        events = self.tables[EVENTS]
        return {key: read_mark(events[key]) for key in keys if key in events}

    def put_payload(self, key: str, blob: bytes) -> None:
        self.calls.append("put_payload")
        self.payloads[key] = blob

    def insert(self, items: Sequence[Sequence[Field]]) -> Inserted:
        self.calls.append("insert")
        if not 0 < len(items) <= 25:
            raise Refused("Member must have length less than or equal to 25")
        read = [{name: json.loads(value) for name, value in fields} for fields in items]
        return Inserted([self._insert(item) for item in read], float(sum(map(_units, read))))

    def _insert(self, item: Item) -> Reason:
        events = self.tables[EVENTS]
        if item_bytes(item) > ITEM_BYTES_MAX:
            return Reason(VALIDATION_ERROR, _SIZE)
        if item["pk"]["S"] in events:
            return Reason(DUPLICATE_ITEM, "Duplicate primary key exists in table")
        events[item["pk"]["S"]] = deepcopy(item)
        return Reason(NONE)

    def transact(self, requests: Sequence[str], token: str) -> float:
        self.calls.append("transact")
        content = ",".join(requests)
        if self._tokens.get(token, content) != content:
            raise Cancelled(())
        if token in self._tokens:
            return 0.0
        actions = [_Action(json.loads(request), self.tables, self._keys) for request in requests]
        _check_limits(actions, content, token)
        reasons = [action.reason() for action in actions]
        if any(reason.code != NONE for reason in reasons):
            raise Cancelled(reasons)
        for action in actions:
            action.write()
        self._tokens[token] = content
        return float(sum(2 * max(_units(action.before), _units(action.after)) for action in actions))


class _Action:
    """One action on the tables as they are: what it would leave, or the reason why it cannot be done."""

    def __init__(self, request: dict[str, Any], tables: dict[str, dict[str, Item]], keys: Mapping[str, Key]) -> None:
        ((self.kind, self.body),) = request.items()
        self.table = tables.get(self.body["TableName"])
        if self.table is None:
            raise ConfigError(f"Requested resource not found: {self.body['TableName']}")
        types = keys[self.body["TableName"]]
        self.source: Item = self.body["Item"] if self.kind == "Put" else self.body["Key"]
        self.parts = {name: self.source[name] for name in types if name in self.source}
        is_typed = self.parts.keys() == types.keys() and all(types[name] in self.parts[name] for name in types)
        self.fits_schema = is_typed and (self.kind == "Put" or len(self.source) == len(types))
        self.key = key_text(self.parts if is_typed else self.source)
        self.before: Item = self.table.get(self.key, {})
        self.after: Item = self.before

    def reason(self) -> Reason:
        if not self.fits_schema:
            return Reason(VALIDATION_ERROR, _SCHEMA)
        condition = self.body.get("ConditionExpression")
        if condition and not holds(condition, self.before, self.body):
            wants_old = self.body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            return Reason(CONDITION_FAILED, _FAILED, read_mark(self.before) if wants_old and self.before else None)
        try:
            self.after = self._after()
        except ExpressionError as error:
            return Reason(VALIDATION_ERROR, str(error))
        if self.kind == "Update" and item_bytes(self.after) > ITEM_BYTES_MAX:
            return Reason(VALIDATION_ERROR, _UPDATE_SIZE)
        return Reason(NONE)

    def _after(self) -> Item:
        if self.kind == "Put":
            return dict(self.source)
        if self.kind == "Delete":
            return {}
        if self.kind == "Update":
            return updated(self.body["UpdateExpression"], self.before or dict(self.source), self.body)
        return self.before

    def write(self) -> None:
        if self.table is not None and self.kind != "ConditionCheck":
            self.table.pop(self.key, None)
            if self.after:
                self.table[self.key] = deepcopy(self.after)


def key_text(key: Mapping[str, Any]) -> str:
    """Return the text of a single text attribute, else the key's JSON."""
    (first, *more) = [*key.values()] or [{}]
    return str(first["S"]) if "S" in first and not more else json.dumps(key, sort_keys=True)


def _check_limits(actions: Sequence[_Action], content: str, token: str) -> None:
    if not 0 < len(actions) <= ACTIONS_MAX or not 0 < len(token) <= 36:
        raise Refused("Member must have length less than or equal to 100")
    if len(content) > TRANSACTION_BYTES_MAX * 4 // 3 + 100_000:
        raise Refused("Transaction request exceeds the 4MB transaction size limit")
    if any(part in ({"S": ""}, {"B": ""}) for action in actions for part in action.parts.values()):
        raise Refused("One or more parameter values are not valid: the key must not be empty")
    if any(action.kind == "Put" and item_bytes(action.source) > ITEM_BYTES_MAX for action in actions):
        raise Refused(_SIZE)
    targets = {(action.body["TableName"], action.key) for action in actions}
    if len(targets) < len(actions):
        raise Refused("Transaction request cannot include multiple operations on one item")


def _units(item: Item) -> int:
    return max(1, ceil(item_bytes(item) / 1024)) if item else 1

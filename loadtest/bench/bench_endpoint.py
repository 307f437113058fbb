"""DynamoDB for a benchmark: real rules for marks and units, and a latency that is set.

    python -m weir.loadtest.bench.bench_endpoint [PORT]      prints `listening URL`; port 0 takes a free one

It keeps items, refuses what has a condition on an existing item, adds numbers, and bills as DynamoDB does. It knows no
other condition. `GET /` tells how many calls and write units there were since the last one. SSM's GetParameters gives
every parameter the benchmark's secret.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from math import ceil
from typing import Any, TypeAlias, cast

import httptools

from weir.loadtest.bench.bench_workload import SECRET
from weir.loadtest.bench.loopback_server import run

CALL_S = 0.004
TRANSACTION_S = 0.008
ACTION_S = 0.00015

# A call is worked on a little after it came, so that the work on one does not hide when the next arrived: DynamoDB has
# more than one machine.
WORK_AFTER_S = 0.002

Item: TypeAlias = dict[str, dict[str, Any]]
Response: TypeAlias = tuple[int, Any, float]  # status, body, seconds

_CONDITION_FAILED = {
    "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
    "message": "The conditional request failed",
}


class Endpoint:
    """The tables, by name and by the text of the key, and what was asked of them."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Item]] = {}
        self.calls: dict[str, int] = {}
        self.write_units = 0

    def answer(self, operation: str, body: Any) -> Response:
        self.calls[operation] = self.calls.get(operation, 0) + 1
        return _OPERATIONS[operation](self, body)

    def figures(self) -> dict[str, Any]:
        figures = {"calls": self.calls, "write_units": self.write_units}
        self.calls, self.write_units = {}, 0
        return figures

    def _table(self, name: str) -> dict[str, Item]:
        return self.tables.setdefault(name, {})

    def _put(self, body: Any) -> Response:
        before = self._before(body, body["Item"])
        if before and "ConditionExpression" in body:
            self.write_units += _units(before)
            return 400, _refused(body, before), CALL_S
        self.write_units += max(_units(before), _units(body["Item"]))
        self._write(body, body["Item"])
        return 200, {}, CALL_S

    def _update(self, body: Any) -> Response:
        before = self._before(body, body["Key"])
        after = updated(body, before)
        self.write_units += max(_units(before), _units(after))
        self._write(body, after)
        return 200, {}, CALL_S

    def _get(self, body: Any) -> Response:
        found = self._before(body, body["Key"])
        return 200, {"Item": found} if found else {}, CALL_S

    def _delete(self, body: Any) -> Response:
        before = self._before(body, body["Key"])
        self.write_units += _units(before)
        self._table(body["TableName"]).pop(_key(body["Key"]), None)
        return 200, {}, CALL_S

    def _transact(self, body: Any) -> Response:
        actions = [next(iter(action.values())) for action in body["TransactItems"]]
        delay_s = TRANSACTION_S + ACTION_S * len(actions)
        befores = [self._before(action, action.get("Item") or action["Key"]) for action in actions]
        failed = [bool(before) and "ConditionExpression" in a for a, before in zip(actions, befores, strict=True)]
        afters = [a.get("Item") or updated(a, before) for a, before in zip(actions, befores, strict=True)]
        units = 2 * sum(max(_units(before), _units(after)) for before, after in zip(befores, afters, strict=True))
        self.write_units += units
        if any(failed):
            return 400, _cancelled(actions, befores, failed), delay_s
        for action, after in zip(actions, afters, strict=True):
            self._write(action, after)
        consumed = [{"TableName": "all", "CapacityUnits": units}]
        return 200, {"ConsumedCapacity": consumed} if "ReturnConsumedCapacity" in body else {}, delay_s

    def _batch_get(self, body: Any) -> Response:
        found = {
            name: [self._table(name)[_key(key)] for key in wanted["Keys"] if _key(key) in self._table(name)]
            for name, wanted in body["RequestItems"].items()
        }
        return 200, {"Responses": found, "UnprocessedKeys": {}}, CALL_S

    def _parameters(self, body: Any) -> Response:
        value = json.dumps({"secrets": [{"value": SECRET, "created_at_ms": 0}]})
        return 200, {"Parameters": [{"Name": name, "Value": value} for name in body["Names"]]}, CALL_S

    def _before(self, body: Any, source: Item) -> Item:
        return self._table(body["TableName"]).get(_key(source), {})

    def _write(self, body: Any, item: Item) -> None:
        self._table(body["TableName"])[_key(item)] = item


def updated(body: Any, before: Item) -> Item:
    """Return the item after an UpdateExpression of SET and ADD."""
    names, values = body.get("ExpressionAttributeNames", {}), body.get("ExpressionAttributeValues", {})
    after = dict(before) or dict(body["Key"])
    verb = ""
    for part in body.get("UpdateExpression", "").replace("=", " ").split(","):
        words = part.split()
        if words[0] in ("SET", "ADD"):
            verb = words.pop(0)
        name, value = names.get(words[0], words[0]), values[words[1]]
        if verb == "ADD" and name in after:
            value = {"N": str(Decimal(after[name]["N"]) + Decimal(value["N"]))}
        after[name] = value
    return after


def _key(source: Item) -> str:
    for name in ("pk", "account", "id"):
        if name in source:
            return str(source[name]["S"])
    raise KeyError("no key")


def _refused(body: Any, before: Item) -> dict[str, Any]:
    wants_old = body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    return {**_CONDITION_FAILED, "Item": before} if wants_old else _CONDITION_FAILED


def _cancelled(actions: list[Any], befores: list[Item], failed: list[bool]) -> dict[str, Any]:
    reasons = [
        {"Code": "ConditionalCheckFailed", "Item": before} if has_failed else {"Code": "None"}
        for before, has_failed in zip(befores, failed, strict=True)
    ]
    kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    return {"__type": kind, "message": f"Transaction of {len(actions)} cancelled", "CancellationReasons": reasons}


def _units(item: Item) -> int:
    """Return the write units of an item, not in a transaction; a missing one counts as the smallest."""
    return ceil(item_bytes(item) / 1024) or 1


def item_bytes(item: Item) -> int:
    """Return the size that DynamoDB bills.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(len(name) + _value_bytes(*next(iter(value.items()))) for name, value in item.items())


def _value_bytes(kind: str, value: Any) -> int:
    if kind == "S":
        return len(str(value).encode())
    if kind == "B":
        return len(value) * 3 // 4 - str(value[-2:]).count("=")
    if kind == "N":
        return len(value) // 2 + 1
    if kind == "M":
        return 3 + len(value) + item_bytes(value)
    return 1


_OPERATIONS: dict[str, Callable[[Endpoint, Any], Response]] = {
    "PutItem": Endpoint._put,
    "UpdateItem": Endpoint._update,
    "GetItem": Endpoint._get,
    "DeleteItem": Endpoint._delete,
    "TransactWriteItems": Endpoint._transact,
    "BatchGetItem": Endpoint._batch_get,
    "GetParameters": Endpoint._parameters,
}


class _Connection(asyncio.Protocol):
    """One caller: a request at a time, answered when its latency is over."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._target = ""
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._target, self._parts = "", []

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-amz-target":
            self._target = value.decode().rpartition(".")[2]

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if not self._target:
            self._send(200, self._endpoint.figures())
            return
        self._loop.call_later(WORK_AFTER_S, self._answer, self._loop.time(), self._target, b"".join(self._parts))

    def _answer(self, arrived_at: float, target: str, content: bytes) -> None:
        status, body, delay_s = self._endpoint.answer(target, json.loads(content))
        self._loop.call_at(arrived_at + delay_s, self._send, status, body)

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        kind = "Content-Type: application/x-amz-json-1.0"
        head = f"HTTP/1.1 {status} OK\r\n{kind}\r\nContent-Length: {len(content)}\r\n\r\n"
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head.encode() + content)


if __name__ == "__main__":
    run(partial(_Connection, Endpoint()))

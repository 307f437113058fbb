"""DynamoDB's condition and update expressions, as far as the consumer writes them; anything else is an error."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from decimal import Context, Decimal, DecimalException, Inexact, Overflow, Rounded
from typing import Any

Item = dict[str, dict[str, Any]]

_TOKEN = re.compile(r"\s*(<=|>=|<>|[=<>(),]|[#:]?[A-Za-z0-9_]+)")
_NUMBERS = Context(prec=38, traps=[Inexact, Overflow, Rounded])
_INCORRECT_TYPE = "An operand in the update expression has an incorrect data type"


class ExpressionError(ValueError):
    """What DynamoDB calls a ValidationException or a ValidationError."""


class _Reader:
    def __init__(self, text: str, request: Mapping[str, Any]) -> None:
        self.tokens = _TOKEN.findall(text)
        if "".join(self.tokens) != re.sub(r"\s", "", text):
            raise ExpressionError(f"Syntax error in {text}")
        self.names = request.get("ExpressionAttributeNames", {})
        self.values = request.get("ExpressionAttributeValues", {})
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if not token or (wanted is not None and token != wanted):
            raise ExpressionError(f"Syntax error: {token!r} where {wanted!r} was expected")
        self.at += 1
        return token

    def name(self) -> str:
        token = self.take()
        if token.startswith("#"):
            if token not in self.names:
                raise ExpressionError(f"An expression attribute name is not defined: {token}")
            return str(self.names[token])
        return token

    def value(self) -> dict[str, Any]:
        token = self.take()
        if token not in self.values:
            raise ExpressionError(f"An expression attribute value is not defined: {token}")
        return dict(self.values[token])


def holds(text: str, item: Item, request: Mapping[str, Any]) -> bool:
    """Evaluate a ConditionExpression on an item, {} if there is none."""
    reader = _Reader(text, request)
    result = _either(reader, item)
    if reader.peek():
        raise ExpressionError(f"Syntax error: {reader.peek()!r}")
    return result


def _either(reader: _Reader, item: Item) -> bool:
    result = _both(reader, item)
    while reader.peek() == "OR":
        reader.take()
        result = _both(reader, item) or result
    return result


def _both(reader: _Reader, item: Item) -> bool:
    result = _single(reader, item)
    while reader.peek() == "AND":
        reader.take()
        result = _single(reader, item) and result
    return result


def _single(reader: _Reader, item: Item) -> bool:
    token = reader.peek()
    if token == "NOT":
        reader.take()
        return not _single(reader, item)
    if token == "(":
        reader.take()
        result = _either(reader, item)
        reader.take(")")
        return result
    if token in ("attribute_exists", "attribute_not_exists", "contains"):
        return _function(reader, item)
    left, operator, right = item.get(reader.name()), reader.take(), reader.value()
    return left is not None and compare(left, operator, right)


def _function(reader: _Reader, item: Item) -> bool:
    function = reader.take()
    reader.take("(")
    attribute = item.get(reader.name())
    if function == "contains":
        reader.take(",")
        member = reader.value()
        reader.take(")")
        return attribute is not None and member["S"] in attribute.get("SS", ())
    reader.take(")")
    return (attribute is not None) == (function == "attribute_exists")


def compare(left: dict[str, Any], operator: str, right: dict[str, Any]) -> bool:
    """Compare two attribute values; different types are unequal and in no order."""
    ((left_type, left_value),), ((right_type, right_value),) = left.items(), right.items()
    if left_type != right_type:
        return operator == "<>"
    a, b = _comparable(left_type, left_value), _comparable(right_type, right_value)
    if operator in ("=", "<>"):
        return bool((a == b) == (operator == "="))
    if left_type not in ("S", "N", "B"):
        raise ExpressionError(f"Incorrect operand type for operator: {operator}")
    return bool({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator])


def _comparable(kind: str, value: Any) -> Any:
    if kind == "N":
        return Decimal(value)
    if kind == "B":
        return b64decode(value)
    if kind in ("SS", "NS", "BS"):
        return sorted(value)
    return value.encode() if kind == "S" else value


def updated(text: str, item: Item, request: Mapping[str, Any]) -> Item:
    """Return the item after an UpdateExpression."""
    reader = _Reader(text, request)
    result = dict(item)
    while reader.peek():
        verb = reader.take()
        while True:
            name = reader.name()
            if verb == "SET":
                reader.take("=")
                result[name] = reader.value()
            elif verb == "ADD":
                result[name] = _add(item.get(name), reader.value())
            elif verb == "REMOVE":
                result.pop(name, None)
            else:
                raise ExpressionError(f"Syntax error: {verb}")
            if reader.peek() != ",":
                break
            reader.take()
    return result


def _add(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    ((kind, value),) = new.items()
    if kind not in ("N", "SS") or (old is not None and kind not in old):
        raise ExpressionError(_INCORRECT_TYPE)
    if kind == "SS":
        return {"SS": sorted({*(old or {"SS": []})["SS"], *value})}
    try:
        total = _NUMBERS.add(Decimal((old or {"N": "0"})["N"]), Decimal(value))
    except DecimalException as error:
        raise ExpressionError("Attempting to store a number with more than 38 significant digits") from error
    return {"N": f"{total.normalize(_NUMBERS):f}" if total else "0"}

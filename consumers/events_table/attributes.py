"""DynamoDB's attribute values as they go over the wire: binary is base64 text, numbers are text.

What is sent is written as JSON once, here and where items are made, and not walked again.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from decimal import Context, Decimal
from json.encoder import encode_basestring_ascii
from typing import Any, TypeAlias

from weir.consumers.business.changes import Value

WireValue: TypeAlias = dict[str, Any]  # one attribute value, {"S": "text"}
WireItem: TypeAlias = dict[str, WireValue]

# An attribute of an item that is only sent, never looked into: its name and the JSON of its value, {"S":"text"}.
Field: TypeAlias = tuple[str, str]

# Limits of an item and of a number, as AWS gives them.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
ITEM_BYTES_MAX = 400 * 1024
_DIGITS_MAX = 38
_ALL_DIGITS = Context(prec=_DIGITS_MAX)  # Python's own context would round to 28
_EXPONENT_MAX = 125
_EXPONENT_MIN = -130


def to_wire(value: Value) -> WireValue:
    """Write a Python value as an attribute value.

    Raises: ValueError or TypeError for what DynamoDB cannot hold.
    """
    if isinstance(value, str):
        return {"S": text(value)}
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | Decimal):
        return {"N": number(value)}
    if isinstance(value, bytes):
        return {"B": b2a_base64(value, newline=False).decode("ascii")}
    return _collection(value)


quoted = encode_basestring_ascii  # text as JSON


def string(value: str) -> str:
    """Return the JSON of text as an attribute value."""
    return f'{{"S":{quoted(value)}}}'


def binary(value: bytes) -> str:
    """Return the JSON of bytes as an attribute value."""
    return f'{{"B":"{b2a_base64(value, newline=False).decode("ascii")}"}}'


def item_json(fields: Iterable[Field]) -> str:
    """Return the JSON of an item; names are our own and need no quoting."""
    return "{" + ",".join([f'"{name}":{value}' for name, value in fields]) + "}"


def text(value: str) -> str:
    """Return text unchanged if it is Unicode.

    Raises: ValueError for lone surrogates, which JSON can spell and UTF-8 cannot.
    """
    if not value.isascii():
        value.encode("utf-8")
    return value


def clean(value: str) -> str:
    """Return text that UTF-8 can hold: JSON can spell lone surrogates, and a store must not choke on them."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")


def number(value: int | Decimal) -> str:
    """Write a number in its one canonical spelling, so that equal keys are equal text: 100 for 100, 100.0 and 1E+2.

    Raises: ValueError when it has more digits than DynamoDB keeps.
    """
    if isinstance(value, int) and -(10**_DIGITS_MAX) < value < 10**_DIGITS_MAX:
        return str(int(value))
    exact = Decimal(value)
    if not exact.is_finite():
        raise ValueError(f"{value} is not a finite number")
    digits = "".join(map(str, exact.as_tuple().digits)).strip("0")
    if len(digits) > _DIGITS_MAX or (exact and not _EXPONENT_MIN <= exact.adjusted() <= _EXPONENT_MAX):
        raise ValueError(f"{value} does not fit in DynamoDB's 38 digits")
    shortest = exact.normalize(_ALL_DIGITS)
    is_whole = abs(shortest) < 10**_DIGITS_MAX and shortest == shortest.to_integral_value()
    return str(int(shortest)) if is_whole else str(shortest)


def _collection(value: Value) -> WireValue:
    if isinstance(value, Mapping):
        return {"M": {_name(name): to_wire(member) for name, member in value.items()}}
    if isinstance(value, Set):
        return _set(value)
    if isinstance(value, Sequence):
        return {"L": [to_wire(member) for member in value]}
    raise TypeError(f"{type(value).__name__} is not a DynamoDB value" + _FLOAT_HINT * isinstance(value, float))


_FLOAT_HINT = ": a float is not exact, use int (minor units) or Decimal"


def _set(members: Set[Any]) -> WireValue:
    wires = [to_wire(member) for member in members]
    kinds = {kind for wire in wires for kind in wire}
    if len(kinds) != 1 or not kinds <= {"S", "N", "B"}:
        raise TypeError("a set holds at least one member, all text, all numbers or all bytes")
    kind = kinds.pop()
    return {kind + "S": sorted(wire[kind] for wire in wires)}


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"attribute name {name!r} is not text")
    return text(name)


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Read an item in wire form as Python values."""
    return {name: from_wire(value) for name, value in item.items()}


def from_wire(wire: Mapping[str, Any]) -> Any:  # noqa: PLR0911 - one return a type
    """Read one attribute value as the Python value that `to_wire` would write; sets are frozensets.

    Binary may be base64 text, as it goes over the wire, or bytes, as boto3 gives it.
    """
    ((kind, content),) = wire.items()
    match kind:
        case "N":
            return read_number(content)
        case "B":
            return a2b_base64(content) if isinstance(content, str) else bytes(content)
        case "NULL":
            return None
        case "L":
            return [from_wire(member) for member in content]
        case "M":
            return from_item(content)
        case "SS" | "NS" | "BS":
            return frozenset(from_wire({kind[0]: member}) for member in content)
    return content


def read_number(digits: str) -> int | Decimal:
    """Read a number as DynamoDB writes it: an int if it is whole."""
    exact = Decimal(digits)
    return int(exact) if exact == exact.to_integral_value() else exact


def item_bytes(item: WireItem) -> int:
    """Return the size by which DynamoDB bounds and bills an item.

    Source: docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(_text_bytes(name) + value_bytes(value) for name, value in item.items())


def value_bytes(wire: WireValue) -> int:
    """Return the size of one attribute value without its name; of a number, the most it can be."""
    ((kind, value),) = wire.items()
    return _SIZES[kind](value)


def _set_bytes(member_bytes: Callable[[str], int]) -> Callable[[list[str]], int]:
    return lambda members: sum(map(member_bytes, members))


def _text_bytes(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode("utf-8"))


def _base64_bytes(encoded: str) -> int:
    return len(encoded) * 3 // 4 - encoded[-2:].count("=")


def _number_bytes(digits: str) -> int:
    return len(digits) // 2 + 2


_SIZES: dict[str, Callable[[Any], int]] = {
    "S": _text_bytes,
    "N": _number_bytes,
    "B": _base64_bytes,
    "BOOL": lambda _: 1,
    "NULL": lambda _: 1,
    "M": lambda members: 3 + len(members) + item_bytes(members),
    "L": lambda members: 3 + len(members) + sum(map(value_bytes, members)),
    "SS": _set_bytes(_text_bytes),
    "NS": _set_bytes(_number_bytes),
    "BS": _set_bytes(_base64_bytes),
}

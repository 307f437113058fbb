"""Java's values in Python: how Velocity prints, compares and calls them.

String, Integer, Long, Double and Boolean are str, int, float and bool; a Map is a dict, a List a list, an array a
tuple, a key set the dict's own view; null is None. MISSING is what ``$input.path`` finds nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any, Final

# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MAX_ITERATIONS = 1000


class RenderError(Exception):
    """A template that could be read failed on this request's values, where API Gateway answers 500."""


class Missing:
    """What a JSONPath finds nowhere: prints nothing, equals both null and "".

    Source: LocalStack's test_input_path_template_formatting, recorded against AWS on 2025-06-18.
    """

    __slots__ = ()


MISSING: Final = Missing()
KEYS: Final[type] = type({}.keys())


def text(value: Any) -> str:
    """Print a value as a reference does; null prints nothing in API Gateway."""
    return _PRINTERS.get(type(value), str)(value)


def truth(value: Any) -> bool:
    """Judge a reference in #if: only null and false are false."""
    return value is not None and value is not False and value is not MISSING


def equal(left: Any, right: Any) -> bool:
    """Compare as ``==`` does: numbers by value, equal types by equals, anything else by its text."""
    if left is MISSING or right is MISSING:
        other = right if left is MISSING else left
        return other is None or other is MISSING or other == ""
    if left is None or right is None:
        return left is right
    if _is_number(left) and _is_number(right):
        return bool(left == right)
    if type(left) is tuple or type(right) is tuple:
        return left is right
    if type(left) is type(right):
        return bool(left == right)
    return text(left) == text(right)


def less(left: Any, right: Any) -> bool:
    """Compare two numbers; anything else is not less."""
    return _is_number(left) and _is_number(right) and bool(left < right)


def less_or_equal(left: Any, right: Any) -> bool:
    """Compare two numbers; anything else is neither less nor equal."""
    return _is_number(left) and _is_number(right) and bool(left <= right)


def get_property(owner: Any, name: str) -> Any:
    """Read ``owner.name``: a map's member, or the one property a string has."""
    if type(owner) is dict:
        return owner.get(name)
    if type(owner) is str and name in ("empty", "Empty"):
        return not owner
    return None


def get_index(owner: Any, index: Any) -> Any:
    """Read ``owner[index]``; a negative index counts from the end."""
    if type(owner) in (list, tuple) and type(index) is int and index < 0:
        index += len(owner)
    return get_member(owner, index)


def get_member(owner: Any, key: Any) -> Any:
    """Call ``owner.get(key)``.

    Raises: RenderError for an index that a list does not have.
    """
    kind = type(owner)
    if kind is dict:
        return owner.get(key) if type(key) is str else None
    if kind not in (list, tuple) or type(key) is not int:
        return None
    if not 0 <= key < len(owner):
        raise RenderError(f"index {key} of a list of {len(owner)}")
    return owner[key]


def iterate(value: Any) -> tuple[Collection[Any], int]:
    """Return what #foreach goes through, at most 1,000 elements, and how many there are in all."""
    if type(value) is dict:
        value = value.values()
    elif type(value) not in (KEYS, list, tuple):
        return (), 0
    count = len(value)
    return (value if count <= MAX_ITERATIONS else list(value)[:MAX_ITERATIONS]), count


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _double(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    significant = "".join(map(str, digits)).rstrip("0")
    scale = int(exponent) + len(digits) - 1
    return f"{'-' if sign else ''}{significant[0]}.{significant[1:] or '0'}E{scale}"


def _map(value: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}={'null' if member is None else text(member)}" for key, member in value.items()) + "}"


def _json(value: list[Any]) -> str:
    # API Gateway prints a list of its JSONPath as JSON, but a map as Java does.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _array(value: tuple[str, ...]) -> str:
    raise RenderError(f"an array of {len(value)} was printed; take one of its elements")


_PRINTERS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "",
    Missing: lambda _: "",
    bool: lambda value: "true" if value else "false",
    float: _double,
    dict: _map,
    list: _json,
    tuple: _array,
    KEYS: lambda value: "[" + ", ".join(value) + "]",
}

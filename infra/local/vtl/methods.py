"""The methods of Java's String, Map, List and Set that mapping templates may call."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from weir.infra.local.vtl.java import KEYS, RenderError, get_member, text
from weir.infra.local.vtl.regex import between_units, java_pattern, replace_all, split

JavaMethod = Callable[..., Any]

# String.trim takes away every character up to the space.
_TRIMMED = "".join(map(chr, range(0x21)))


def find_method(name: str, argument_count: int) -> JavaMethod | None:
    """Return a function of receiver and arguments; None if no type of the subset has such a method.

    The function returns None where this receiver has no such method, as Velocity does.
    """
    by_type = {
        kind: methods[name, argument_count] for kind, methods in _METHODS.items() if (name, argument_count) in methods
    }
    if not by_type:
        return None

    def call(receiver: Any, *arguments: Any) -> Any:
        method = by_type.get(type(receiver))
        return None if method is None else method(receiver, *arguments)

    return call


def _of_strings(method: JavaMethod) -> JavaMethod:
    """Let a method of String take strings only: Java finds none for another type, and throws on null."""

    def checked(receiver: str, *arguments: Any) -> Any:
        for argument in arguments:
            if argument is None:
                raise RenderError("null was given to a method of a string")
            if type(argument) is not str:
                return None
        return method(receiver, *arguments)

    return checked


def _units(value: str) -> str:
    """Spell a string in UTF-16 code units, which is what Java counts."""
    if value.isascii() or max(value) <= "\uffff":
        return value
    encoded = value.encode("utf-16-le", "surrogatepass")
    return "".join(chr(encoded[at] | encoded[at + 1] << 8) for at in range(0, len(encoded), 2))


def _joined(units: str) -> str:
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _substring(receiver: str, begin: Any, end: Any = None) -> str | None:
    units = _units(receiver)
    stop = len(units) if end is None else end
    if type(begin) is not int or type(stop) is not int:
        return None
    if not 0 <= begin <= stop <= len(units):
        raise RenderError(f"substring({begin}, {stop}) of {len(units)} characters")
    return _joined(units[begin:stop])


def _index_of(receiver: str, wanted: Any) -> int | None:
    return _position(receiver, wanted, str.find)


def _last_index_of(receiver: str, wanted: Any) -> int | None:
    return _position(receiver, wanted, str.rfind)


def _position(receiver: str, wanted: Any, find: Callable[[str, str], int]) -> int | None:
    if wanted is None:
        raise RenderError("null was given to a method of a string")
    if type(wanted) is int:  # Java's int is a code point
        return find(_units(receiver), _units(chr(wanted))) if 0 <= wanted <= 0x10FFFF else -1
    return find(_units(receiver), _units(wanted)) if type(wanted) is str else None


def _replace_all(receiver: str, pattern: str, replacement: str) -> str:
    return replace_all(receiver, java_pattern(pattern), replacement)


def _matches(receiver: str, pattern: str) -> bool:
    return java_pattern(pattern).fullmatch(receiver) is not None


def _replace(receiver: str, target: str, replacement: str) -> str:
    # Java's empty text stands between the two UTF-16 units of one character, too.
    return receiver.replace(target, replacement) if target else between_units(receiver, replacement)


def _split(receiver: str, pattern: str) -> tuple[str, ...]:
    return split(receiver, java_pattern(pattern))


def _equals(receiver: Any, other: Any) -> bool:
    return type(receiver) is type(other) and receiver == other


def _is_empty(receiver: Any) -> bool:
    return len(receiver) == 0


def _positions(receiver: Any, element: Any) -> list[int]:
    return [at for at, each in enumerate(receiver) if _equals(each, element)]


def _contains_key(receiver: dict[str, Any], key: Any) -> bool:
    return type(key) is str and key in receiver


def _replace_entry(receiver: dict[str, Any], key: Any, value: Any) -> Any:
    """Exchange a value that is there and return the old one, as Java's Map does."""
    if not _contains_key(receiver, key):
        return None
    replaced, receiver[key] = receiver[key], value
    return replaced


_ANY: dict[tuple[str, int], JavaMethod] = {("toString", 0): text, ("equals", 1): _equals}
_SIZED: dict[tuple[str, int], JavaMethod] = {("size", 0): len, ("isEmpty", 0): _is_empty}
_SEQUENCE: dict[tuple[str, int], JavaMethod] = {
    **_ANY,
    **_SIZED,
    ("get", 1): get_member,
    ("contains", 1): lambda receiver, element: bool(_positions(receiver, element)),
    ("indexOf", 1): lambda receiver, element: min(_positions(receiver, element), default=-1),
    ("lastIndexOf", 1): lambda receiver, element: max(_positions(receiver, element), default=-1),
}
_METHODS: dict[type, dict[tuple[str, int], JavaMethod]] = {
    str: {
        **_ANY,
        ("concat", 1): _of_strings(str.__add__),
        ("contains", 1): _of_strings(str.__contains__),
        ("endsWith", 1): _of_strings(str.endswith),
        ("indexOf", 1): _index_of,
        ("isEmpty", 0): _is_empty,
        ("lastIndexOf", 1): _last_index_of,
        ("length", 0): lambda receiver: len(_units(receiver)),
        ("matches", 1): _of_strings(_matches),
        ("replace", 2): _of_strings(_replace),
        ("replaceAll", 2): _of_strings(_replace_all),
        ("split", 1): _of_strings(_split),
        ("startsWith", 1): _of_strings(str.startswith),
        ("substring", 1): _substring,
        ("substring", 2): _substring,
        ("toLowerCase", 0): str.lower,
        ("toUpperCase", 0): str.upper,
        ("trim", 0): lambda receiver: receiver.strip(_TRIMMED),
    },
    dict: {
        **_ANY,
        **_SIZED,
        ("containsKey", 1): _contains_key,
        ("get", 1): get_member,
        ("keySet", 0): dict.keys,
        ("replace", 2): _replace_entry,
    },
    list: _SEQUENCE,
    tuple: {**_SEQUENCE, ("equals", 1): operator.is_},
    KEYS: {**_ANY, **_SIZED, ("contains", 1): _contains_key},
    int: _ANY,
    float: _ANY,
    bool: _ANY,
}

"""Structured Field Values for HTTP, RFC 8941: the dictionaries that signatures are made of, read strictly.

Stricter than the RFC in one thing: a key that is there twice is refused, where the RFC takes the last. What is signed
must not depend on which of the two a reader takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from weir.ingest.encodings import decode_base64, encode
from weir.ingest.locations import Unreadable

_KEY = re.compile(r"[a-z*][a-z0-9_.*-]{0,127}")
_SPACES = re.compile(r" *")
_COMMA = re.compile(r"[ \t]*,[ \t]*")
_DECIMAL = re.compile(r"-?[0-9]{1,12}\.[0-9]{1,3}(?![0-9.])")
_INTEGER = re.compile(r"-?[0-9]{1,15}(?![0-9.])")
_STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
_BYTES = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
_BOOLEAN = re.compile(r"\?([01])")
_ESCAPED = re.compile(r'\\(["\\])')
_TO_ESCAPE = re.compile(r'(["\\])')


class Token(str):
    """A word without quotes; its exact type is not `str`, so that it is not taken for a string."""

    __slots__ = ()


class Decimal(str):
    """A number with a fraction, in its canonical spelling."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A value with its parameters."""

    value: Any
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Items:
    """An inner list with its parameters."""

    items: tuple[Item, ...]
    parameters: dict[str, Any] = field(default_factory=dict)


def parse_dictionary(text: str) -> dict[str, Item | Items]:
    """Read a dictionary. Raises: Unreadable. Takes time in proportion to the text."""
    reader = _Reader(text.strip(" "))
    found: dict[str, Item | Items] = {}
    while True:
        key = reader.take(_KEY, "a key")[0]
        if key in found:
            raise Unreadable(f"{key} is there more than once")
        found[key] = reader.member() if reader.skip("=") else Item(True, reader.parameters())
        if reader.is_at_end():
            return found
        reader.take(_COMMA, "a comma")


def serialize(value: Item | Items) -> str:
    """Write an item or an inner list in its one canonical form, RFC 8941, section 4.1."""
    if isinstance(value, Items):
        return f"({' '.join(map(serialize, value.items))}){_parameters(value.parameters)}"
    return _bare(value.value) + _parameters(value.parameters)


def _parameters(parameters: dict[str, Any]) -> str:
    return "".join(f";{key}" if value is True else f";{key}={_bare(value)}" for key, value in parameters.items())


def _bare(value: Any) -> str:
    if isinstance(value, bool):
        return f"?{int(value)}"
    if isinstance(value, bytes):
        return f":{encode(value, 'base64')}:"
    if type(value) is str:
        return '"' + _TO_ESCAPE.sub(r"\\\1", value) + '"'
    return str(value)


class _Reader:
    """A text and how far it has been read."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def is_at_end(self) -> bool:
        return self._at == len(self._text)

    def skip(self, mark: str) -> bool:
        """Pass over one character if it is there."""
        is_there = self._text.startswith(mark, self._at)
        self._at += is_there
        return is_there

    def take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        """Read what must come. Raises: Unreadable."""
        found = pattern.match(self._text, self._at)
        if not found:
            raise Unreadable(f"{what} is missing at character {self._at} of a structured header")
        self._at = found.end()
        return found

    def member(self) -> Item | Items:
        if not self.skip("("):
            return self._item()
        items: list[Item] = []
        while True:
            spaces = self.take(_SPACES, "a space")[0]
            if self.skip(")"):
                return Items(tuple(items), self.parameters())
            if items and not spaces:
                raise Unreadable("two elements of a list in a structured header have no space between them")
            items.append(self._item())

    def parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.skip(";"):
            self.take(_SPACES, "a space")
            key = self.take(_KEY, "a key")[0]
            if key in found:
                raise Unreadable(f"the parameter {key} is there more than once")
            found[key] = self._value() if self.skip("=") else True
        return found

    def _item(self) -> Item:
        value = self._value()
        return Item(value, self.parameters())

    def _value(self) -> Any:
        start = self._text[self._at : self._at + 1]
        if start == '"':
            return _ESCAPED.sub(r"\1", self.take(_STRING, "a string")[1])
        if start == ":":
            return decode_base64(self.take(_BYTES, "base64 between colons")[1])
        if start == "?":
            return self.take(_BOOLEAN, "?0 or ?1")[1] == "1"
        if start.isalpha() or start == "*":
            return Token(self.take(_TOKEN, "a token")[0])
        if _DECIMAL.match(self._text, self._at):
            return _decimal(self.take(_DECIMAL, "a number")[0])
        return int(self.take(_INTEGER, "a value")[0])


def _decimal(text: str) -> Decimal:
    whole, _, fraction = text.removeprefix("-").partition(".")
    sign = "-" if text.startswith("-") else ""
    return Decimal(f"{sign}{int(whole)}.{fraction.rstrip('0') or '0'}")

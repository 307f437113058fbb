"""Python expressions with what is known of their value, the code generator's currency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal as Choice

ValueKind = Choice["any", "bool", "int", "keys", "map", "params", "str"]


@dataclass(frozen=True, slots=True)
class Code:
    """A Python expression.

    ``certain`` means never null. ``map`` is a dict of strings, ``params`` the dict of the three kinds of parameters,
    ``keys`` the key view of a dict. ``constant`` is the value itself where it is known.
    """

    text: str
    kind: ValueKind = "any"
    certain: bool = False
    constant: str | int | bool | None = None
    # Cheap and unable to fail, so that it may be evaluated before it is known to be needed.
    simple: bool = False


def constant(value: str | int | bool) -> Code:
    """Wrap a value of the template."""
    kind: ValueKind = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "str"
    return Code(repr(value), kind, certain=True, constant=value, simple=True)


def joined(pieces: list[Code]) -> Code:
    """Concatenate printed pieces; neighbouring constants become one."""
    merged: list[Code] = []
    for piece in pieces:
        if piece.constant == "":
            continue
        if merged and isinstance(merged[-1].constant, str) and isinstance(piece.constant, str):
            merged[-1] = constant(merged[-1].constant + piece.constant)
        else:
            merged.append(piece)
    if not merged:
        return constant("")
    if len(merged) == 1:
        return merged[0]
    return Code("''.join((" + ", ".join(piece.text for piece in merged) + "))", "str", certain=True)

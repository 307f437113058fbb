"""The tree of a mapping template, as the parser makes it and the code generator reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A position in the template; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Text:
    """Text that is printed as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant of an expression."""

    value: str | int | bool


@dataclass(frozen=True, slots=True)
class Interpolated:
    """A double-quoted string with references or directives in it."""

    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Property:
    """``.name``."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """``.name(arguments)``."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """``[index]``."""

    index: Expression


@dataclass(frozen=True, slots=True)
class Reference:
    """``$root.step.step``; ``backslashes`` stood directly before it, ``literal`` is its own spelling."""

    root: str
    steps: tuple[Property | Call | Index, ...]
    location: Location
    literal: str
    backslashes: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """``left operator right``; operator is one of ``== != < <= > >= && ||``."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Not:
    """``!operand``."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Set:
    """``#set(target = value)``."""

    target: Reference
    value: Expression


@dataclass(frozen=True, slots=True)
class If:
    """``#if`` with its ``#elseif`` and ``#else``, in the order written."""

    branches: tuple[tuple[Expression, tuple[Node, ...]], ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Foreach:
    """``#foreach($variable in iterable)``."""

    variable: str
    iterable: Expression
    body: tuple[Node, ...]
    location: Location


Expression = Literal | Interpolated | Reference | Operation | Not
Node = Text | Reference | Set | If | Foreach

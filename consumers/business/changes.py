"""What business code may ask for: changes of single items, as data.

A change names a table, the key of one item and what shall become of it. The table is a `Table` or its logical name; the
setting ``TABLES`` maps that to a real one. Nothing here makes a call, so an effect can be run dry, tested without AWS,
and run again over the past.

Values are what DynamoDB knows: ``str``, ``int``, ``Decimal``, ``bool``, ``None``, ``bytes``, lists, maps with ``str``
keys, and sets of one kind. ``float`` is refused, because it is not exact. Attributes are named at the top level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

KeyValue: TypeAlias = str | int | Decimal | bytes
Value: TypeAlias = (
    str
    | int
    | Decimal
    | bool
    | bytes
    | Sequence["Value"]
    | Mapping[str, "Value"]
    | Set[str | int | Decimal | bytes]
    | None
)


@dataclass(frozen=True)
class Condition:
    """A test of the stored item, made by the functions below and joined by ``&``, ``|`` and ``~``.

    ``operands`` are an attribute name and perhaps a value, or other conditions.
    """

    operator: str
    operands: tuple[Value | Condition, ...]

    def __and__(self, other: Condition) -> Condition:
        return Condition("AND", (self, other))

    def __or__(self, other: Condition) -> Condition:
        return Condition("OR", (self, other))

    def __invert__(self) -> Condition:
        return Condition("NOT", (self,))


def exists(attribute: str) -> Condition:
    """Demand that the item has the attribute; a key attribute asks for the item itself."""
    return Condition("attribute_exists", (attribute,))


def absent(attribute: str) -> Condition:
    """Demand that the item does not have the attribute; a key attribute asks that there be no item."""
    return Condition("attribute_not_exists", (attribute,))


def equals(attribute: str, value: Value) -> Condition:
    """Demand that the attribute has exactly this value."""
    return Condition("=", (attribute, value))


def below(attribute: str, value: Value) -> Condition:
    """Demand that the attribute exists and is less than the value."""
    return Condition("<", (attribute, value))


def at_most(attribute: str, value: Value) -> Condition:
    """Demand that the attribute exists and is not greater than the value."""
    return Condition("<=", (attribute, value))


def above(attribute: str, value: Value) -> Condition:
    """Demand that the attribute exists and is greater than the value."""
    return Condition(">", (attribute, value))


def at_least(attribute: str, value: Value) -> Condition:
    """Demand that the attribute exists and is not less than the value."""
    return Condition(">=", (attribute, value))


@dataclass(frozen=True)
class Newer:
    """The version or time that the event itself carries.

    The change takes effect only if the stored item has no such attribute or a smaller one; otherwise it is left out and
    the event still counts as applied. Put and Update write the attribute too. A Delete leaves no version behind: an
    older event that comes after it finds no item and is not held back.
    """

    attribute: str
    value: str | int | Decimal


@dataclass(frozen=True)
class Wait:
    """What an event may wait for: that a change's condition holds, as an order that comes after its payment.

    While the condition does not hold, the event is kept as ``waiting`` and is tried again, at first after half a
    minute, later every quarter of an hour. Nothing waits with it, not even the next event of its key. After ``for_s``
    seconds, at most seven days, or so many ``attempts`` it is quarantined as ``not_yet``.
    """

    for_s: int = 3600
    attempts: int = 100


@dataclass(frozen=True)
class Put:
    """Write the whole item: its key and these attributes, whatever was there before."""

    table: str
    key: Mapping[str, KeyValue]
    attributes: Mapping[str, Value] = field(default_factory=dict)
    condition: Condition | None = None
    newer: Newer | None = None
    wait: Wait | None = None


@dataclass(frozen=True)
class Update:
    """Change some attributes of an item, which comes into being if there is none.

    ``add`` adds to numbers (absent counts as 0). An Update of nothing but ``add`` commutes with others like it: any
    number of them share one write.
    """

    table: str
    key: Mapping[str, KeyValue]
    set: Mapping[str, Value] = field(default_factory=dict)
    add: Mapping[str, int | Decimal] = field(default_factory=dict)
    remove: Sequence[str] = ()
    condition: Condition | None = None
    newer: Newer | None = None
    wait: Wait | None = None


@dataclass(frozen=True)
class Delete:
    """Remove an item; if there is none, that is not an error."""

    table: str
    key: Mapping[str, KeyValue]
    condition: Condition | None = None
    newer: Newer | None = None
    wait: Wait | None = None


@dataclass(frozen=True)
class Check:
    """Demand a condition of an item that this event does not change."""

    table: str
    key: Mapping[str, KeyValue]
    condition: Condition
    wait: Wait | None = None


Change: TypeAlias = Put | Update | Delete | Check

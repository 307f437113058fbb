"""Tables of the business code, declared beside it.

From a declaration follow the template's table, the function's rights and settings, the embedded table, and what a
change is checked against before any event comes.

    orders = Table("orders", key={"order_id": str})
    lines = Table("lines", key={"order_id": str, "line": int}, indexes=[Index("by_sku", {"sku": str})])

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from weir.ingest.errors import TableInvalid

KeyType: TypeAlias = type[str] | type[int] | type[Decimal] | type[bytes]
Billing: TypeAlias = Literal["", "on_demand", "provisioned"]
StreamImages: TypeAlias = Literal["", "keys_only", "new_image", "old_image", "new_and_old_images"]

# DynamoDB's name of each type that a key may have.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
WIRE_TYPES: Mapping[type, str] = {str: "S", int: "N", Decimal: "N", bytes: "B"}
# The logical name is a part of CloudFormation's logical id, which is of letters and digits.
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*")
_NAME_CHARS = 64
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
_ATTRIBUTE_NAME_BYTES, _INDEXES, _PROJECTED = 255, 20, 100
_INDEX_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_REAL_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_ARN = re.compile(r"arn:[a-z-]+:dynamodb:[a-z0-9-]+:\d{12}:table/([A-Za-z0-9_.-]{3,255})")
_BILLING = ("", "on_demand", "provisioned")
_STREAMS = ("", "keys_only", "new_image", "old_image", "new_and_old_images")


@dataclass(frozen=True)
class Index:
    """A global secondary index: its key, as a table's, and which attributes it has.

    ``projection`` is ``"all"``, ``"keys_only"``, or a list of attributes beside the keys.
    """

    name: str
    key: Mapping[str, KeyType]
    projection: Literal["all", "keys_only"] | Sequence[str] = "all"

    def __post_init__(self) -> None:
        """Check the declaration. Raises: TableInvalid."""
        where = f"index {self.name!r}"
        if not isinstance(self.name, str) or not _INDEX_NAME.fullmatch(self.name):
            raise TableInvalid(f"{where}: a name has 3 to 255 letters, digits, '_', '-' or '.'.")
        _check_key(where, self.key)
        listed = self.projection
        if isinstance(listed, str):
            if listed not in {"all", "keys_only"}:
                raise TableInvalid(
                    f"{where}: projection is 'all', 'keys_only' or a list of attributes, not {listed!r}."
                )
        elif not 0 < len(listed) <= _PROJECTED or not all(isinstance(name, str) and name for name in listed):
            raise TableInvalid(f"{where}: projection needs 1 to {_PROJECTED} names of attributes.")


class Table(str):
    """A table of the business code. It is its own logical name, so that a change may name either.

    ``key`` maps the partition key, and perhaps a sort key after it, to ``str``, ``int`` (or ``Decimal``) or ``bytes``.
    ``ttl`` is the attribute with the second of an item's expiry. ``stream`` is which images the table's stream has,
    ``""`` for no stream. ``billing`` is ``""`` for what the parameter ``TableMode`` says, or ``on_demand`` or
    ``provisioned`` whatever that says. ``existing`` is the name or ARN of a table that there is already: it is used
    as it is, and nothing is created or changed; on the embedded stack and LocalStack a table of that name is made.

    Raises: TableInvalid, which says what is wrong.
    """

    key: Mapping[str, KeyType]
    ttl: str
    indexes: tuple[Index, ...]
    stream: StreamImages
    billing: Billing
    existing: str

    def __new__(
        cls,
        name: str,
        *,
        key: Mapping[str, KeyType],
        ttl: str = "",
        indexes: Sequence[Index] = (),
        stream: StreamImages = "",
        billing: Billing = "",
        existing: str = "",
    ) -> Table:
        """Check the declaration and return it."""
        table = super().__new__(cls, name)
        table.key, table.ttl, table.indexes = dict(key), ttl, tuple(indexes)
        table.stream, table.billing, table.existing = stream, billing, existing
        _check(table)
        return table

    @property
    def real_name(self) -> str:
        """Return the name of the existing table; empty for one that is made."""
        arn = _ARN.fullmatch(self.existing)
        return arn[1] if arn else self.existing

    def described(self) -> dict[str, Any]:
        """Return key, indexes, TTL and stream as CloudFormation's properties of a table."""
        keys = [self.key, *(index.key for index in self.indexes)]
        types = {name: WIRE_TYPES[kind] for one in keys for name, kind in one.items()}
        properties: dict[str, Any] = {
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": types[name]} for name in sorted(types)],
            "KeySchema": _key_schema(self.key),
        }
        if self.indexes:
            properties["GlobalSecondaryIndexes"] = [
                {"IndexName": index.name, "KeySchema": _key_schema(index.key), "Projection": _projection(index)}
                for index in self.indexes
            ]
        if self.ttl:
            properties["TimeToLiveSpecification"] = {"AttributeName": self.ttl, "Enabled": True}
        if self.stream:
            properties["StreamSpecification"] = {"StreamViewType": self.stream.upper()}
        return properties


def _key_schema(key: Mapping[str, KeyType]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)]


def _projection(index: Index) -> dict[str, Any]:
    if isinstance(index.projection, str):
        return {"ProjectionType": index.projection.upper()}
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": sorted(index.projection)}


def _check(table: Table) -> None:
    where = f"table {str(table)!r}"
    if not _NAME.fullmatch(table) or len(table) > _NAME_CHARS:
        raise TableInvalid(
            f"{where}: a name has at most {_NAME_CHARS} small letters and digits, the first a letter, with '_' or '-' "
            "between them."
        )
    _check_key(where, table.key)
    if len(table.indexes) > _INDEXES:
        raise TableInvalid(f"{where}: a table may have {_INDEXES} indexes, not {len(table.indexes)}.")
    if repeated := _repeated([index.name for index in table.indexes]):
        raise TableInvalid(f"{where}: two indexes have the name {repeated!r}.")
    _check_types(where, table)
    if table.ttl and table.ttl in table.key:
        raise TableInvalid(f"{where}: the TTL attribute {table.ttl!r} cannot be a part of the key.")
    if table.billing not in _BILLING:
        raise TableInvalid(f"{where}: billing is 'on_demand' or 'provisioned', not {table.billing!r}.")
    if table.stream not in _STREAMS:
        raise TableInvalid(f"{where}: stream is one of {', '.join(_STREAMS[1:])}, not {table.stream!r}.")
    if table.existing and not (_ARN.fullmatch(table.existing) or _REAL_NAME.fullmatch(table.existing)):
        raise TableInvalid(f"{where}: existing is the name or the ARN of a table, not {table.existing!r}.")


def _check_key(where: str, key: Mapping[str, KeyType]) -> None:
    if not isinstance(key, Mapping) or not 1 <= len(key) <= 2:
        raise TableInvalid(f"{where}: a key has one attribute, or two: the partition key and the sort key.")
    for name, kind in key.items():
        if not isinstance(name, str) or not 0 < len(name.encode("utf-8", "replace")) <= _ATTRIBUTE_NAME_BYTES:
            raise TableInvalid(f"{where}: the key attribute {name!r} needs 1 to {_ATTRIBUTE_NAME_BYTES} bytes.")
        if kind not in WIRE_TYPES:
            named = getattr(kind, "__name__", repr(kind))
            raise TableInvalid(f"{where}: the key {name!r} is str, int, Decimal or bytes, not {named}.")


def _check_types(where: str, table: Table) -> None:
    """Let no attribute have two types: DynamoDB keeps one for each name."""
    types: dict[str, str] = {}
    for key in (table.key, *(index.key for index in table.indexes)):
        for name, kind in key.items():
            if types.setdefault(name, WIRE_TYPES[kind]) != WIRE_TYPES[kind]:
                raise TableInvalid(f"{where}: the attribute {name!r} is a key of two types.")


def _repeated(names: Sequence[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)

"""The items of a table of the business code, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from weir.consumers.events_table.attributes import from_item, to_wire

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


def key_of(dynamodb: DynamoDBClient, table: str, texts: tuple[str, ...]) -> dict[str, Any]:
    """Return a key in wire form from the texts of its attributes, in their order; one text is the partition key alone.

    Raises: ValueError, with a sentence, when they cannot be the key of this table.
    """
    described = dynamodb.describe_table(TableName=table)["Table"]
    types = {one["AttributeName"]: one["AttributeType"] for one in described["AttributeDefinitions"]}
    names = [part["AttributeName"] for part in described["KeySchema"]]
    if len(texts) > len(names):
        raise ValueError(f"the key has {len(names)} attribute{'s'[: len(names) > 1]}: {', '.join(names)}")
    return {name: _typed(name, types[name], text) for name, text in zip(names, texts, strict=False)}


def items(dynamodb: DynamoDBClient, table: str, key: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the items of a table as plain values: all of them, or those under a partition key, or the one of a key."""
    if not key:
        for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
            yield from map(from_item, page["Items"])
        return
    names = {f"#{at}": name for at, name in enumerate(key)}
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        ConsistentRead=True,
        KeyConditionExpression=" AND ".join(f"{mark} = {mark.replace('#', ':')}" for mark in names),
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={f":{at}": value for at, value in enumerate(key.values())},
    )
    for page in pages:
        yield from map(from_item, page["Items"])


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: exact decimals and bytes as text, sets as sorted lists."""
    if isinstance(value, Mapping):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=str)
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, Decimal) else value


def _typed(name: str, kind: str, text: str) -> Any:
    if kind == "S":
        return to_wire(text)
    try:
        return to_wire(Decimal(text)) if kind == "N" else {"B": bytes.fromhex(text)}  # boto3 writes the base64
    except (ValueError, ArithmeticError) as error:
        wanted = "a number" if kind == "N" else "hexadecimal digits"
        raise ValueError(f"{name} is {wanted}, not {text!r}") from error

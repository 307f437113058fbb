"""Declared tables: refused where DynamoDB would refuse them, and checked where a change names one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from weir.consumers.business.changes import Delete, Put, Update
from weir.consumers.business.tables import Index, Table
from weir.consumers.events_table.actions import compile_changes
from weir.ingest.errors import ChangeInvalid, TableInvalid

KEY = {"id": str}


def test_a_table_is_its_name() -> None:
    """A change may name the declaration or the text: both mean the same."""
    table = Table("orders", key=KEY)
    assert table == "orders"
    assert compile_changes([Put(table, {"id": "a"})], {"orders": "real"})[0].item == ("real", '{"id":{"S":"a"}}')


def test_everything_declared_is_described() -> None:
    """Key, sort key, indexes, TTL and stream are CloudFormation's properties."""
    table = Table(
        "lines",
        key={"order": str, "line": int},
        ttl="expires_at",
        indexes=[Index("by_sku", {"sku": str, "line": int}, ["price"]), Index("raw", {"blob": bytes}, "keys_only")],
        stream="new_image",
    )
    assert table.described() == {
        "AttributeDefinitions": [
            {"AttributeName": "blob", "AttributeType": "B"},
            {"AttributeName": "line", "AttributeType": "N"},
            {"AttributeName": "order", "AttributeType": "S"},
            {"AttributeName": "sku", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "order", "KeyType": "HASH"},
            {"AttributeName": "line", "KeyType": "RANGE"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by_sku",
                "KeySchema": [
                    {"AttributeName": "sku", "KeyType": "HASH"},
                    {"AttributeName": "line", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["price"]},
            },
            {
                "IndexName": "raw",
                "KeySchema": [{"AttributeName": "blob", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
        ],
        "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
        "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
    }


@pytest.mark.parametrize(
    ("existing", "real"),
    [
        ("orders-of-2019", "orders-of-2019"),
        ("arn:aws:dynamodb:eu-central-1:123456789012:table/Old.Orders", "Old.Orders"),
    ],
)
def test_an_existing_table_has_its_own_name(existing: str, real: str) -> None:
    """It is named as it is, or by its ARN."""
    assert Table("orders", key=KEY, existing=existing).real_name == real


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("Orders", {}, "small letters"),
        ("1st", {}, "the first a letter"),
        ("x" * 65, {}, "at most 64"),
        ("t", {"key": {}}, "one attribute, or two"),
        ("t", {"key": {"a": str, "b": str, "c": str}}, "one attribute, or two"),
        ("t", {"key": {"a": float}}, "'a' is str, int, Decimal or bytes, not float"),
        ("t", {"key": {"": str}}, "1 to 255 bytes"),
        ("t", {"ttl": "id"}, "cannot be a part of the key"),
        ("t", {"billing": "free"}, "'on_demand' or 'provisioned', not 'free'"),
        ("t", {"stream": "all"}, "stream is one of"),
        ("t", {"existing": "a table"}, "the name or the ARN"),
        ("t", {"indexes": [Index("one", {"id": int})]}, "'id' is a key of two types"),
        ("t", {"indexes": [Index("one", {"a": str}), Index("one", {"b": str})]}, "two indexes have the name 'one'"),
        ("t", {"indexes": [Index(f"index{n}", {"a": str}) for n in range(21)]}, "20 indexes, not 21"),
    ],
)
def test_a_declaration_that_cannot_be_made_says_why(name: str, given: dict[str, Any], said: str) -> None:
    """The sentence names the table and what is wrong."""
    with pytest.raises(TableInvalid, match=said) as raised:
        Table(name, **{"key": KEY, **given})
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "key", "projection", "said"),
    [("i", {"a": str}, "all", "3 to 255"), ("idx", {}, "all", "one attribute"), ("idx", {"a": str}, [], "1 to 100")],
)
def test_an_index_that_cannot_be_made_says_why(name: str, key: Any, projection: Any, said: str) -> None:
    """The sentence names the index."""
    with pytest.raises(TableInvalid, match=said):
        Index(name, key, projection)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: Put(table, {"order": "a"}), "the key of 'lines' is order, line, not order"),
        (lambda table: Put(table, {"order": "a", "line": "1"}), "line of 'lines' is int, of DynamoDB's type N, not S"),
        (lambda table: Update(table, {"order": 1, "line": 1}, add={"n": 1}), "order of 'lines' is str"),
        (lambda table: Delete(table, {"order": "a", "line": 1, "x": 1}), "not order, line, x"),
    ],
)
def test_a_key_that_is_not_declared_is_no_change(change: Any, said: str) -> None:
    """What the checks before the start cannot see is refused when it comes, before DynamoDB is asked."""
    with pytest.raises(ChangeInvalid, match=said):
        compile_changes([change(Table("lines", key={"order": str, "line": int}))], {"lines": "real"})


def test_every_number_is_a_number() -> None:
    """An int key takes a Decimal, and the other way round: DynamoDB has one type for both."""
    for kind in (int, Decimal):
        for value in (1, Decimal("1.5")):
            assert compile_changes([Delete(Table("t", key={"n": kind}), {"n": value})], {"t": "t"})

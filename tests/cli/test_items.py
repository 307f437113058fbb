"""`weir items` shows tables of business code as they are: every kind of key and value, on one line and as JSON."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from tests.support.stack_env import StackEnv
from weir.operate.lookup import items

pytestmark = pytest.mark.engine


def put(stack_env: StackEnv, table: str, **values: Any) -> None:
    write = TypeSerializer().serialize
    stack_env.dynamodb.put_item(TableName=table, Item={name: write(value) for name, value in values.items()})


def test_tables_and_items_are_listed(stack_env: StackEnv) -> None:
    """Without a table, the tables; with one, its items, the key first; with a key, that item."""
    stack_env.put(stack_env.payment("ann", 5), stack_env.payment("bob", 7))
    stack_env.consume()
    assert stack_env.weir("items").split() == ["balances", stack_env.outputs.table("balances")]
    assert stack_env.weir("items", "balances", "ann") == "account=ann  EUR=5  events=1\n"
    rows = [json.loads(line) for line in stack_env.weir("items", "balances", "--json").splitlines()]
    assert sorted(row["account"] for row in rows) == ["ann", "bob"]
    assert stack_env.weir("items", "balances", "--limit", "1").count("\n") == 1
    assert stack_env.weir("items", "balances", "carl") == ""


def test_what_is_not_there_is_named(stack_env: StackEnv) -> None:
    """A table, and a key that this table cannot have."""
    assert "its tables: balances" in stack_env.invoke("items", "orders").stderr
    assert "the key has 1 attribute: account" in stack_env.invoke("items", "balances", "a", "b").stderr


def test_a_hostile_value_is_one_line(stack_env: StackEnv) -> None:
    """What a sender chose cannot end the line or reach the terminal."""
    put(stack_env, stack_env.outputs.table("balances"), account="a\n\x1b[2Jb", note="x\u202ey")
    text = stack_env.weir("items", "balances")
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()


def test_a_key_may_be_a_number_or_bytes(stack_env: StackEnv) -> None:
    """Given as text: digits, and hexadecimal digits; values come as JSON can hold them."""
    table = f"t{uuid.uuid4().hex[:8]}"
    stack_env.dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "b", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "b", "AttributeType": "B"},
            {"AttributeName": "n", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    put(stack_env, table, b=b"\x00\xff", n=Decimal("1.50"), tags={"x", "y"}, deep={"list": [1, None, b"z"]})
    key = items.key_of(stack_env.dynamodb, table, ("00ff", "1.5"))
    [found] = items.items(stack_env.dynamodb, table, key)
    shown = items.plain(found)
    assert shown == {"b": "00ff", "n": "1.5", "tags": ["x", "y"], "deep": {"list": [1, None, "7a"]}}
    assert json.dumps(shown)
    assert len(list(items.items(stack_env.dynamodb, table, items.key_of(stack_env.dynamodb, table, ("00ff",))))) == 1
    for wrong in (("zz", "1"), ("00", "one")):
        with pytest.raises(ValueError, match=r"is (hexadecimal digits|a number)"):
            items.key_of(stack_env.dynamodb, table, wrong)

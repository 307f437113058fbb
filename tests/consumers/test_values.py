"""Values come back from the real engine as they went in, and what DynamoDB does not take is refused before it is asked.

Where the engine is laxer than DynamoDB, its documented rule counts.
Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.engine_env import EngineEnv
from weir.consumers.business.changes import Put, Update
from weir.consumers.events_table.actions import compile_changes, merged
from weir.consumers.events_table.attributes import from_item
from weir.ingest.errors import ChangeInvalid
from weir.operate.lookup.items import plain

pytestmark = pytest.mark.engine

NUMBERS = st.integers(-(10**38) + 1, 10**38 - 1) | st.decimals(
    -(10**20), 10**20, allow_nan=False, allow_infinity=False, places=10
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | st.binary(max_size=20)
SETS = st.one_of(
    st.sets(TEXTS.filter(bool), min_size=1, max_size=4),
    st.sets(st.integers(-99, 99), min_size=1, max_size=4),
    st.sets(st.binary(min_size=1, max_size=5), min_size=1, max_size=4),
)
VALUES = st.recursive(
    SCALARS | SETS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS.filter(bool), inner, max_size=3),
    max_leaves=8,
)


def write(engine_env: EngineEnv, change: Put | Update) -> None:
    [action] = compile_changes([change], {"balances": engine_env.balances_table})
    engine_env.dynamodb.transact_write_items(TransactItems=[decoded(json.loads(merged([action])))])


def decoded(node: Any) -> Any:
    """Return a request with binary as bytes, as boto3 takes it."""
    from base64 import b64decode

    if isinstance(node, dict):
        if list(node) == ["B"]:
            return {"B": b64decode(node["B"])}
        if list(node) == ["BS"]:
            return {"BS": [b64decode(one) for one in node["BS"]]}
        return {name: decoded(value) for name, value in node.items()}
    return [decoded(one) for one in node] if isinstance(node, list) else node


def read(engine_env: EngineEnv, key: str) -> dict[str, Any]:
    answer = engine_env.dynamodb.get_item(TableName=engine_env.balances_table, Key={"account": {"S": key}})
    return from_item(answer["Item"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from("abcdef"), VALUES, max_size=4))
def test_what_is_put_is_what_is_there(engine_env: EngineEnv, attributes: dict[str, Any]) -> None:
    """Every value that business code may write is read as the same value, and can be shown as JSON."""
    key = uuid.uuid4().hex
    write(engine_env, Put("balances", {"account": key}, attributes))
    found = read(engine_env, key)
    assert found == {"account": key, **attributes}
    assert json.dumps(plain(found))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.decimals(-1000, 1000, places=4) | st.integers(-1000, 1000), min_size=1, max_size=5))
def test_sums_are_exact(engine_env: EngineEnv, amounts: list[Any]) -> None:
    """Additions that share a write come to the exact sum."""
    key = uuid.uuid4().hex
    actions = [
        compile_changes([Update("balances", {"account": key}, add={"n": amount})], {"balances": "t"})[0]
        for amount in amounts
    ]
    request = json.loads(merged(actions).replace('"TableName":"t"', f'"TableName":"{engine_env.balances_table}"'))
    engine_env.dynamodb.transact_write_items(TransactItems=[decoded(request)])
    assert read(engine_env, key)["n"] == sum(map(Decimal, amounts))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.1, "float"),
        ({1: "a"}, "is not text"),
        (set(), "at least one member"),
        ({1, "a"}, "all text, all numbers or all bytes"),
        (Decimal("NaN"), "not a finite number"),
        (Decimal("Infinity"), "not a finite number"),
        (Decimal("1E+126"), "38 digits"),
        (Decimal("1E-131"), "38 digits"),
        (10**38 + 1, "38 digits"),
        (object(), "is not a DynamoDB value"),
    ],
)
def test_what_dynamodb_does_not_take_is_refused(value: Any, said: str) -> None:
    """With the reason, before any call: nested as well as at the top."""
    for attributes in ({"v": value}, {"v": [{"deep": value}]}):
        with pytest.raises(ChangeInvalid, match=said):
            compile_changes([Put("t", {"id": "a"}, attributes)], {"t": "t"})

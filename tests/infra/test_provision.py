"""Tables on the engine follow their declarations: made, given what is new, and never replaced."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from weir.consumers.business.tables import Index, Table
from weir.infra.local.engine.engine import Engine
from weir.infra.local.provision import provision
from weir.infra.place import Place
from weir.infra.template import Resource
from weir.ingest.errors import StackFailed

pytestmark = pytest.mark.engine


@pytest.fixture
def place(engine: Engine) -> Place:
    return Place("embedded", "t", endpoint=engine.endpoint)


def resource(name: str, **declared: Any) -> Resource:
    properties = {**Table("t", **declared).described(), "BillingMode": "PAY_PER_REQUEST"}
    return Resource("TTable", "AWS::DynamoDB::Table", name, properties)


def described(place: Place, name: str) -> Any:
    return place.client("dynamodb").describe_table(TableName=name)["Table"]


def test_a_table_is_as_it_is_declared(place: Place) -> None:
    """Key, index, TTL and stream."""
    name = f"t{uuid.uuid4().hex[:8]}"
    indexes = [Index("by_sku", {"sku": str, "n": int}, "keys_only")]
    made = resource(name, key={"a": str, "n": int}, indexes=indexes, ttl="gone_at", stream="new_image")
    provision(place, {"TTable": made})
    found = described(place, name)
    assert [part["AttributeName"] for part in found["KeySchema"]] == ["a", "n"]
    assert [index["IndexName"] for index in found["GlobalSecondaryIndexes"]] == ["by_sku"]
    assert found["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"
    ttl = place.client("dynamodb").describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert ttl["AttributeName"] == "gone_at"
    provision(place, {"TTable": made})  # and again: nothing happens


def test_a_table_that_is_there_gets_what_is_new(place: Place) -> None:
    """An index and a TTL are added; what is stored stays."""
    name, dynamodb = f"t{uuid.uuid4().hex[:8]}", place.client("dynamodb")
    provision(place, {"TTable": resource(name, key={"a": str})})
    dynamodb.put_item(TableName=name, Item={"a": {"S": "x"}, "sku": {"S": "7"}})
    provision(place, {"TTable": resource(name, key={"a": str}, indexes=[Index("by_sku", {"sku": str})], ttl="gone_at")})
    found = dynamodb.query(
        TableName=name,
        IndexName="by_sku",
        KeyConditionExpression="sku = :s",
        ExpressionAttributeValues={":s": {"S": "7"}},
    )
    assert [item["a"]["S"] for item in found["Items"]] == ["x"]
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert ttl["AttributeName"] == "gone_at"


@pytest.mark.parametrize("key", [{"b": str}, {"a": int}, {"a": str, "n": int}])
def test_another_key_is_refused(place: Place, key: Any) -> None:
    """With both keys, and what to do: nothing is replaced."""
    name = f"t{uuid.uuid4().hex[:8]}"
    provision(place, {"TTable": resource(name, key={"a": str})})
    with pytest.raises(StackFailed, match=r"has the key a \(S\), and .* is declared: a key cannot change"):
        provision(place, {"TTable": replace(resource(name, key=key))})

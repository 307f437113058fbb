"""The patches to MiniStack's DynamoDB, on the module itself."""

from __future__ import annotations

import importlib
import json
import uuid
from typing import Any

import pytest

from weir.infra.local.engine.dynamodb_patches import install


@pytest.fixture
def dynamodb() -> Any:
    install()
    return importlib.import_module("ministack.services.dynamodb")


def call(dynamodb: Any, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
    status, _, body = getattr(dynamodb, f"_{action}")(parameters)
    assert status == 200, body
    return dict(json.loads(body))


def test_a_text_is_read_once_and_its_parameters_every_time(dynamodb: Any) -> None:
    """The same text with other parameters makes other items; a statement that is wrong fails alone, every time."""
    table = f"table-{uuid.uuid4().hex}"
    schema = {
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    }
    call(dynamodb, "create_table", {"TableName": table, "BillingMode": "PAY_PER_REQUEST", **schema})
    language: Any = importlib.import_module("ministack.services._dynamodb_keywords")
    read = language._tokenize.cache_info().misses
    text, wrong = f"""INSERT INTO "{table}" VALUE {{'pk': ?, 'n': ?}}""", f"""INSERT INTO "{table}" VALUE {{"""
    for round_ in range(2):
        keys = [f"{round_}-{number}" for number in range(5)]
        good = [{"Statement": text, "Parameters": [{"S": key}, {"N": str(n)}]} for n, key in enumerate(keys)]
        again = {"Statement": text, "Parameters": [{"S": keys[0]}, {"N": "9"}]}
        answer = call(dynamodb, "batch_execute_statement", {"Statements": [*good, {"Statement": wrong}, again]})
        codes = [response.get("Error", {}).get("Code") for response in answer["Responses"]]
        assert codes == [None] * 5 + ["ValidationError", "DuplicateItem"]
    items = call(dynamodb, "scan", {"TableName": table})["Items"]
    assert {item["pk"]["S"]: item["n"]["N"] for item in items} == {
        f"{round_}-{number}": str(number) for round_ in range(2) for number in range(5)
    }
    assert language._tokenize.cache_info().misses - read == 2

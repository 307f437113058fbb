"""An answer taken as JSON says what botocore reads in it, and other calls of the client are as they were."""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.operate.lookup import answers


@pytest.mark.engine
def test_items_are_the_same_either_way(stack_env: StackEnv) -> None:
    """Keys, texts, numbers and sets of a BatchGetItem have one form; only bytes are still base64."""
    table = stack_env.outputs.events_table
    item: dict[str, Any] = {
        "pk": {"S": "s#é"},
        "n": {"N": "17"},
        "refused": {"SS": ["a", "b"]},
        "blob": {"B": b"\x00x"},
    }
    stack_env.dynamodb.put_item(TableName=table, Item=item)
    asked: Any = {table: {"Keys": [{"pk": {"S": "s#é"}}, {"pk": {"S": "s#absent"}}]}}
    (as_json,) = answers.as_json(stack_env.dynamodb, "batch_get_item")(RequestItems=asked)["Responses"][table]
    (parsed,) = stack_env.dynamodb.batch_get_item(RequestItems=asked)["Responses"][table]
    assert parsed["blob"]["B"] == b"\x00x"
    assert {**as_json, "blob": {"B": b64decode(as_json["blob"]["B"])}} == parsed


@pytest.mark.engine
def test_records_have_base64_and_numbers_where_botocore_has_bytes_and_times(stack_env: StackEnv) -> None:
    """What is left to a caller: the data of a record, and its stamp in seconds."""
    stack_env.put(stack_env.payment("a", 1))
    where = {"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = stack_env.kinesis.get_shard_iterator(StreamName=stack_env.stream, **where)["ShardIterator"]
    (raw,) = answers.as_json(stack_env.kinesis, "get_records")(ShardIterator=iterator)["Records"]
    (parsed,) = stack_env.kinesis.get_records(ShardIterator=iterator)["Records"]
    assert b64decode(raw["Data"]) == parsed["Data"]
    stamp = parsed["ApproximateArrivalTimestamp"]
    assert isinstance(stamp, datetime)
    assert raw["ApproximateArrivalTimestamp"] == pytest.approx(stamp.timestamp(), abs=0.001)


@pytest.mark.engine
def test_an_error_is_an_error(stack_env: StackEnv) -> None:
    """A call that the service refuses raises what botocore raises."""
    call = answers.as_json(stack_env.dynamodb, "batch_get_item")
    with pytest.raises(stack_env.dynamodb.exceptions.ResourceNotFoundException):
        call(RequestItems={"no-such-table": {"Keys": [{"pk": {"S": "x"}}]}})


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (500, "application/x-amz-json-1.0", b"{}"),
        (200, "text/html", b"<html>"),
        (200, "application/x-amz-json-1.0", b"<html>"),
        (200, "application/x-amz-json-1.0", b"[]"),
        (200, "application/x-amz-cbor-1.1", b"\xa0"),
    ],
)
def test_what_is_not_an_answer_in_json_is_left_to_botocore(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: str, body: bytes
) -> None:
    """Errors, pages of a proxy and other encodings keep their body."""
    monkeypatch.setattr(answers._wanted, "now", True)
    response, given = {"status_code": status, "headers": {"content-type": kind}, "body": body}, dict[str, Any]()
    answers._take(response, given)
    assert (response["body"], given) == (body, {})

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from weir.consumers.events_table.bulk import PAUSE_BASE_S, PAUSE_CAP_S, TRIES_MAX, read_items
from weir.ingest.errors import StoreThrottled

TABLE = "events"


@pytest.fixture
def dynamodb() -> Any:
    return boto3.client("dynamodb", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def stubber(dynamodb: Any) -> Iterator[Stubber]:
    """Answer as AWS documents it, and fail at the end if a call that was foreseen was not made.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
    """
    with Stubber(dynamodb) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def keys(*names: object) -> list[dict[str, dict[str, str]]]:
    return [{"pk": {"S": str(name)}} for name in names]


def answer(stubber: Stubber, asked: Sequence[object], *, found: Sequence[object], left: Sequence[object] = ()) -> None:
    """Foresee one call for some keys that brings some items and leaves some keys unprocessed."""
    unprocessed = {TABLE: {"Keys": keys(*left), "ConsistentRead": True}} if left else {}
    stubber.add_response(
        "batch_get_item",
        {"Responses": {TABLE: keys(*found)}, "UnprocessedKeys": unprocessed},
        {"RequestItems": {TABLE: {"Keys": keys(*asked), "ConsistentRead": True}}},
    )


def test_what_is_left_unprocessed_is_asked_for_again(dynamodb: Any, stubber: Stubber) -> None:
    """Only the keys that were left are asked for again, at once as long as each answer brings something."""
    answer(stubber, "abcd", found="a", left="bcd")
    answer(stubber, "bcd", found="b", left="cd")
    answer(stubber, "cd", found="c")  # d is not in the table
    pauses: list[float] = []
    assert read_items(dynamodb, TABLE, keys(*"abcd"), sleep=pauses.append) == keys(*"abc")
    assert pauses == []


def test_a_table_that_gives_nothing_is_asked_less_and_less_often(dynamodb: Any, stubber: Stubber) -> None:
    """Pauses double while nothing comes, begin anew after an item, and end in an error that says which table."""
    for _ in range(3):
        answer(stubber, "ab", found="", left="ab")
    answer(stubber, "ab", found="a", left="b")
    for _ in range(TRIES_MAX):
        answer(stubber, "b", found="", left="b")
    pauses: list[float] = []
    with pytest.raises(StoreThrottled, match=TABLE):
        read_items(dynamodb, TABLE, keys(*"ab"), sleep=pauses.append)
    doubled = [min(PAUSE_CAP_S, PAUSE_BASE_S * 2**number) for number in range(1, TRIES_MAX)]
    assert pauses == doubled[:3] + doubled


def test_a_hundred_keys_make_a_call(dynamodb: Any, stubber: Stubber) -> None:
    """More keys than DynamoDB takes in one call go in several, and no key makes none."""
    answer(stubber, range(100), found=range(100))
    answer(stubber, range(100, 150), found=range(100, 150))
    assert read_items(dynamodb, TABLE, keys(*range(150))) == keys(*range(150))
    assert read_items(dynamodb, TABLE, []) == []


def test_attributes_are_read_under_any_name(dynamodb: Any, stubber: Stubber) -> None:
    """A projection goes through placeholders, since names such as `type` are reserved words."""
    stubber.add_response(
        "batch_get_item",
        {"Responses": {TABLE: []}},
        {
            "RequestItems": {
                TABLE: {
                    "Keys": keys("a"),
                    "ConsistentRead": True,
                    "ProjectionExpression": "#0,#1",
                    "ExpressionAttributeNames": {"#0": "pk", "#1": "type"},
                }
            }
        },
    )
    assert read_items(dynamodb, TABLE, keys("a"), attributes=("pk", "type")) == []

"""Reads in bulk of marks, events and rebuilt tables when DynamoDB leaves keys unprocessed, as it may at any time.

The table is real. Each answer is cut as AWS documents it: some keys are handed back as unprocessed.
Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.marks import Marks
from weir.operate.rebuild.tables import Comparer, Difference
from weir.operate.replay.origins.from_table import FromTable

pytestmark = pytest.mark.engine

COUNT = 7


@pytest.fixture
def cut(stack_env: StackEnv) -> list[int]:
    """Let the engine answer only the first two keys of each call; return the number of keys of every call."""
    asked: list[int] = []
    left: dict[str, Any] = {}

    def shorten(model: Any, params: dict[str, Any], **_: Any) -> None:
        if model.name != "BatchGetItem":
            return
        ((table, request),) = json.loads(params["body"])["RequestItems"].items()
        asked.append(len(request["Keys"]))
        rest = request["Keys"][2:]
        left.update({table: {**request, "Keys": rest}} if rest else {})
        params["body"] = json.dumps({"RequestItems": {table: {**request, "Keys": request["Keys"][:2]}}}).encode()

    def hand_back(parsed: dict[str, Any], **_: Any) -> None:
        parsed["UnprocessedKeys"] = dict(left)
        left.clear()

    events: Any = stack_env.dynamodb.meta.events  # its types know no handler that is the last
    events.register_last("before-call.dynamodb", shorten)
    events.register("after-call.dynamodb.BatchGetItem", hand_back)
    stack_env.put(*(stack_env.payment(f"acct_{number}", 1, message_id=f"m-{number}") for number in range(COUNT)))
    stack_env.consume()
    asked.clear()
    return asked


def test_every_mark_is_read(stack_env: StackEnv, cut: list[int]) -> None:
    """Keys that were handed back are asked for until each has been answered."""
    keys = [f"payments#m-{number}" for number in range(COUNT)]
    found = Marks(stack_env.dynamodb, stack_env.outputs.events_table).read([*keys, "payments#not-there"])
    assert set(found) == set(keys)
    assert cut == [8, 6, 4, 2]


def test_every_event_is_replayed(stack_env: StackEnv, cut: list[int]) -> None:
    """The events table as an origin leaves out no delivery."""
    steps = FromTable(stack_env.table()).read({})
    assert len([step for step in steps if isinstance(step, Delivery)]) == COUNT
    assert cut == [7, 5, 3, 1]


def test_every_item_of_a_rebuild_is_compared(stack_env: StackEnv, cut: list[int]) -> None:
    """An item whose key was handed back is not taken for one that is missing."""
    table = stack_env.outputs.table("balances")
    keys = [{"account": {"S": f"acct_{number}"}} for number in range(COUNT)]
    before = [Difference("balances", key, None, None) for key in keys]
    now = Comparer(stack_env.dynamodb).again(before, table, table)
    assert all(one.present is not None and one.present == one.rebuilt for one in now)
    assert cut == [7, 5, 3, 1] * 2

"""The account names exactly what is missing, and where it was last seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.stage import Stage

pytestmark = pytest.mark.engine


def account(stage: Stage, *arguments: str, code: int) -> dict[str, Any]:
    return json.loads(stage.weir("account", "--json", *arguments, code=code))  # type: ignore[no-any-return]


def test_everything_acknowledged_is_accounted_for(stage: Stage) -> None:
    """Applied, duplicate, ignored, quarantined and in flight add up to what was acknowledged."""
    first = stage.payment("acct_1", 100, message_id="msg_1")
    again = stage.payment("acct_1", 100, message_id="msg_1")
    split = stage.delivery({"events": [{"id": "a", "type": "x"}, {"id": "b", "type": "x"}]}, source="batches")
    stage.put(
        first,
        again,
        stage.delivery({"type": "unknown"}),
        stage.payment("acct_1", 5, secret="whsec_" + "AAAA" * 8),
        stage.delivery({"type": "payment.succeeded", "data": {}}),
        split,
    )
    stage.consume()
    stage.put(stage.payment("acct_2", 1))
    found = account(stage, code=0)
    assert found["acknowledged"] == 7
    assert {name: found[name] for name in ("applied", "duplicate", "ignored", "quarantined", "in_flight")} == {
        "applied": 1,
        "duplicate": 1,
        "ignored": 2,
        "quarantined": 2,
        "in_flight": 1,
    }
    assert found["missing"] == []
    assert "unaccounted               0" in stage.weir("account")


def test_what_was_removed_or_repeated_by_hand_is_named(stage: Stage) -> None:
    """An event removed from the table, one gone from the stream and one put twice: exactly those are named."""
    envelopes = [stage.payment(f"acct_{number % 3}", 10, message_id=f"msg_{number}") for number in range(40)]
    stage.put(*envelopes)
    stage.consume()
    from_table, from_stream, twice = envelopes[7], stage.payment("acct_9", 1), envelopes[20]
    stage.dynamodb.delete_item(TableName=stage.outputs["EventsTable"], Key={"pk": {"S": "payments#msg_7"}})
    stage.log_access([from_stream])  # acknowledged, and gone from the stream before anybody read it
    stage.put(twice, logged=False)
    stage.consume()
    found = account(stage, code=1)
    named = {one["request_id"]: one["last_seen"] for one in found["missing"]}
    assert set(named) == {from_table.request_id, from_stream.request_id}
    assert named[from_table.request_id].startswith("the stream, shardId-")
    assert named[from_stream.request_id].startswith("the access log")
    assert [one["request_id"] for one in found["repeated"]] == [twice.request_id]
    assert found["unaccounted"] == 2
    assert found["acknowledged"] == 41
    assert found["applied"] == 39


def test_a_missing_event_is_found_by_a_replay(stage: Stage) -> None:
    """What the account misses in the table, a replay of what is missing brings back, and the account is even again."""
    envelopes = [stage.payment("acct_1", 10, message_id=f"msg_{number}") for number in range(20)]
    stage.put(*envelopes)
    stage.consume()
    stage.dynamodb.delete_item(TableName=stage.outputs["EventsTable"], Key={"pk": {"S": "payments#msg_3"}})
    stage.dynamodb.update_item(  # as if it had never been applied
        TableName=stage.outputs["BalancesTable"],
        Key={"account": {"S": "acct_1"}},
        UpdateExpression="ADD EUR :less, events :one",
        ExpressionAttributeValues={":less": {"N": "-10"}, ":one": {"N": "-1"}},
    )
    assert account(stage, code=1)["unaccounted"] == 1
    said = json.loads(stage.weir("replay", "--from", "stream", "--to", "consumer", "--outcome", "missing", "--json"))
    assert (said["matched"], said["applied"], said["duplicate"]) == (1, 1, 0)
    assert account(stage, code=0)["applied"] == 20
    assert stage.balances() == {"acct_1": {"EUR": 200, "events": 20}}


def test_the_window_has_both_its_ends(stage: Stage) -> None:
    """Only what arrived between the two times, both included, is accounted for."""
    now_ms = 1_700_000_000_000
    stage.put(*(stage.payment("acct_1", 1, at_ms=now_ms + step * 1000) for step in range(10)))
    stage.consume()
    found = account(stage, "--since", str(now_ms + 2000), "--until", str(now_ms + 5000), code=0)
    assert found["acknowledged"] == found["applied"] == 4

"""The account names exactly what is missing, and where it was last seen."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.ingest.envelope import encode
from weir.ingest.ids import RequestId, SequenceNumber
from weir.operate.audit.account import Acknowledged, compute_account
from weir.operate.audit.sources import ByAge, ByCheckpoints, open_audit_sources, read_line
from weir.operate.lookup.stack import AWS

pytestmark = pytest.mark.engine


def account(stack_env: StackEnv, *arguments: str, code: int) -> dict[str, Any]:
    return json.loads(stack_env.weir("account", "--json", *arguments, code=code))  # type: ignore[no-any-return]


def test_everything_acknowledged_is_accounted_for(stack_env: StackEnv) -> None:
    """Applied, duplicate, ignored, quarantined and in flight add up to what was acknowledged."""
    first = stack_env.payment("acct_1", 100, message_id="msg_1")
    again = stack_env.payment("acct_1", 100, message_id="msg_1")
    split = stack_env.delivery({"events": [{"id": "a", "type": "x"}, {"id": "b", "type": "x"}]}, source="batches")
    stack_env.put(
        first,
        again,
        stack_env.delivery({"type": "unknown"}),
        stack_env.payment("acct_1", 5, secret="whsec_" + "AAAA" * 8),
        stack_env.delivery({"type": "payment.succeeded", "data": {}}),
        split,
    )
    stack_env.consume()
    stack_env.put(stack_env.payment("acct_2", 1))
    found = account(stack_env, code=0)
    assert found["acknowledged"] == 7
    assert {name: found[name] for name in ("applied", "duplicate", "ignored", "quarantined", "in_flight")} == {
        "applied": 1,
        "duplicate": 1,
        "ignored": 2,
        "quarantined": 2,
        "in_flight": 1,
    }
    assert found["missing"] == []
    assert "unaccounted               0" in stack_env.weir("account")


def test_what_was_removed_or_repeated_by_hand_is_named(stack_env: StackEnv) -> None:
    """An event removed from the table, one gone from the stream and one put twice: exactly those are named."""
    envelopes = [stack_env.payment(f"acct_{number % 3}", 10, message_id=f"msg_{number}") for number in range(40)]
    stack_env.put(*envelopes)
    stack_env.consume()
    from_table, from_stream, twice = envelopes[7], stack_env.payment("acct_9", 1), envelopes[20]
    stack_env.dynamodb.delete_item(TableName=stack_env.outputs.events_table, Key={"pk": {"S": "payments#msg_7"}})
    stack_env.log_access([from_stream])  # acknowledged, and gone from the stream before anybody read it
    stack_env.put(twice, logged=False)
    stack_env.consume()
    found = account(stack_env, code=1)
    named = {one["request_id"]: one["last_seen"] for one in found["missing"]}
    assert set(named) == {from_table.request_id, from_stream.request_id}
    assert named[from_table.request_id].startswith("the stream, shardId-")
    assert named[from_stream.request_id].startswith("the access log")
    assert [one["request_id"] for one in found["repeated"]] == [twice.request_id]
    assert found["unaccounted"] == 2
    assert found["acknowledged"] == 41
    assert found["applied"] == 39


def test_a_hole_in_the_archive_is_told_and_can_be_filled(stack_env: StackEnv) -> None:
    """Acknowledged deliveries that the archive lacks are named once it should have them; put again, it has them all."""
    old_ms = round(time.time() * 1000) - 30 * 60_000
    envelopes = [stack_env.payment("acct_1", 1, message_id=f"m-{n}", at_ms=old_ms + n) for n in range(6)]
    young = stack_env.payment("acct_1", 1, message_id="young")
    stack_env.put(*envelopes, young)
    stack_env.consume()
    hour = time.strftime("%Y/%m/%d/%H", time.gmtime(old_ms / 1000))
    bucket = stack_env.outputs.bucket
    stack_env.s3.put_object(Bucket=bucket, Key=f"archive/{hour}/a", Body=b"".join(map(encode, envelopes[:4])))
    found = account(stack_env, code=0)
    assert found["unarchived"] == [one.request_id for one in envelopes[4:]]
    text = stack_env.weir("account", code=0)
    assert "2 that arrived from" in text
    command = text.partition("weir replay ")[2].split()
    target = command[command.index("--to") + 1]
    since, until = command[command.index("--since") + 1], command[command.index("--until") + 1]
    assert target == "stream"
    copy = stack_env.home / "copy.jsonl"
    stack_env.weir("replay", "--from", "stream", "--since", since, "--until", until, "--to", str(copy))
    now = time.strftime("%Y/%m/%d/%H")
    stack_env.s3.put_object(Bucket=bucket, Key=f"archive/{now}/b", Body=copy.read_bytes())  # as the archiver would
    assert account(stack_env, code=0)["unarchived"] == []


def test_without_its_access_log_the_account_says_so(stack_env: StackEnv) -> None:
    """A log that is gone does not show that nothing was acknowledged: then what the stream holds counts."""
    stack_env.put(*(stack_env.payment("acct_1", 1, message_id=f"m-{n}") for n in range(3)), logged=False)
    stack_env.consume()
    stack_env.place.outputs()
    found = account(stack_env, code=0)
    assert (found["acknowledged"], found["applied"], found["unaccounted"]) == (3, 3, 0)
    assert "access.log: what the stream holds counts" in "".join(found["notes"])
    stack_env.log_access([stack_env.payment("acct_1", 1)])  # a log that begins after them
    assert "3 more are stored that the access log does not have, which begins at 20" in stack_env.weir(
        "account", code=1
    )


def test_a_missing_event_is_found_by_a_replay(stack_env: StackEnv) -> None:
    """What the account misses in the table, a replay of what is missing brings back, and the account is even again."""
    envelopes = [stack_env.payment("acct_1", 10, message_id=f"msg_{number}") for number in range(20)]
    stack_env.put(*envelopes)
    stack_env.consume()
    stack_env.dynamodb.delete_item(TableName=stack_env.outputs.events_table, Key={"pk": {"S": "payments#msg_3"}})
    stack_env.dynamodb.update_item(  # as if it had never been applied
        TableName=stack_env.outputs.table("balances"),
        Key={"account": {"S": "acct_1"}},
        UpdateExpression="ADD EUR :less, events :one",
        ExpressionAttributeValues={":less": {"N": "-10"}, ":one": {"N": "-1"}},
    )
    assert account(stack_env, code=1)["unaccounted"] == 1
    said = json.loads(
        stack_env.weir("replay", "--from", "stream", "--to", "consumer", "--outcome", "missing", "--json")
    )
    assert (said["matched"], said["applied"], said["duplicate"]) == (1, 1, 0)
    assert account(stack_env, code=0)["applied"] == 20
    assert stack_env.balances() == {"acct_1": {"EUR": 200, "events": 20}}


def test_the_window_has_both_its_ends(stack_env: StackEnv) -> None:
    """Only what arrived between the two times, both included, is accounted for."""
    now_ms = 1_700_000_000_000
    stack_env.put(*(stack_env.payment("acct_1", 1, at_ms=now_ms + step * 1000) for step in range(10)))
    stack_env.consume()
    found = account(stack_env, "--since", str(now_ms + 2000), "--until", str(now_ms + 5000), code=0)
    assert found["acknowledged"] == found["applied"] == 4


def test_on_aws_the_archive_is_read_first_and_the_stream_for_what_it_lacks(stack_env: StackEnv) -> None:
    """What the archive has and what only the stream has yet are accounted for alike; what neither has is named."""
    now_ms = round(time.time() * 1000)
    hour_ms = 3_600_000
    archived = [stack_env.payment("a", 1, at_ms=now_ms - hour_ms, message_id=f"old-{n}") for n in range(3)]
    late = stack_env.payment("a", 1, at_ms=now_ms - hour_ms, message_id="late")
    fresh = stack_env.payment("a", 1, message_id="fresh")
    waiting = stack_env.payment("a", 1, message_id="waiting")
    stack_env.put(*archived, late, fresh)
    stack_env.consume()
    stack_env.put(waiting)
    gone = stack_env.payment("a", 1, at_ms=now_ms - hour_ms)
    stack_env.log_access([gone])
    folder = datetime.fromtimestamp(now_ms / 1000 - 3600, UTC).strftime("archive/%Y/%m/%d/%H/x")
    stack_env.s3.put_object(Bucket=stack_env.outputs.bucket, Key=folder, Body=b"".join(map(encode, archived)))
    stack = replace(stack_env.stack(), service=replace(AWS, reads_per_s=None), checkpoints=lambda: None)
    sources = replace(
        open_audit_sources(stack, now_ms - 2 * hour_ms, now_ms + 60_000, now_ms + 60_000, grace_ms=0),
        progress=ByAge(waiting.arrived_at_ms),
    )
    found = compute_account(sources, now_ms - 2 * hour_ms, now_ms + 60_000)
    assert (found.acknowledged, found.counts["applied"], found.counts["in_flight"]) == (7, 5, 1)
    assert [one.request_id for one in found.missing] == [gone.request_id]
    assert [one.request_id for one in found.unarchived] == [late.request_id]


def test_only_a_stored_post_that_was_answered_2xx_is_acknowledged() -> None:
    """A line counts as an acknowledgement only if a POST was stored and answered 2xx."""
    stored = {"id": "x=", "at": "17", "method": "POST", "status": "202", "integration_status": "200"}
    assert read_line(json.dumps(stored)) == Acknowledged(RequestId("x="), 17)
    by_function = {**stored, "status": "204", "integration_status": "204"}
    assert read_line(json.dumps(by_function)) == Acknowledged(RequestId("x="), 17)
    for change in ({"method": "GET"}, {"status": "503"}, {"integration_status": "400"}, {"at": "-"}):
        assert read_line(json.dumps({**stored, **change})) is None
    assert read_line('{"id": "cut') is None


def test_progress_is_as_exact_as_the_place_shows_it() -> None:
    """A checkpoint is behind or before a record; without one, the age of what is read decides."""
    shards = {
        "after": {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "50"},
        "at": {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "50"},
        "begin": {"ShardIteratorType": "TRIM_HORIZON"},
        "over": {},
    }
    exact = ByCheckpoints(shards)
    numbers = list(map(SequenceNumber, ("9", "50", "100")))
    found = {(shard, number): exact.has_read(shard, number, 0) for shard in shards for number in numbers}
    assert {pair for pair, done in found.items() if done} == {
        ("after", "9"),
        ("after", "50"),
        ("at", "9"),
        ("over", "9"),
        ("over", "50"),
        ("over", "100"),
    }
    assert not exact.has_read("new", SequenceNumber("1"), 0)
    assert exact.has_passed(0)
    assert [ByAge(100).has_read("x", SequenceNumber("1"), at) for at in (99, 100)] == [True, False]
    assert [ByAge(100).has_passed(at) for at in (99, 100)] == [True, False]

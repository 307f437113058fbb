"""The account names exactly what is missing, and where it was last seen."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.stack_env import Stage
from weir.ingest.envelope import encode
from weir.ingest.ids import RequestId, SequenceNumber
from weir.operate.audit.account import Acknowledged, compute_account
from weir.operate.audit.sources import ByAge, ByCheckpoints, open_audit_sources, read_line
from weir.operate.lookup.stack import AWS

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
    stage.dynamodb.delete_item(TableName=stage.outputs.events_table, Key={"pk": {"S": "payments#msg_7"}})
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


def test_a_hole_in_the_archive_is_told_and_can_be_filled(stage: Stage) -> None:
    """Acknowledged deliveries that the archive lacks are named once it should have them; put again, it has them all."""
    old_ms = round(time.time() * 1000) - 30 * 60_000
    envelopes = [stage.payment("acct_1", 1, message_id=f"m-{n}", at_ms=old_ms + n) for n in range(6)]
    young = stage.payment("acct_1", 1, message_id="young")
    stage.put(*envelopes, young)
    stage.consume()
    hour = time.strftime("%Y/%m/%d/%H", time.gmtime(old_ms / 1000))
    bucket = stage.outputs.bucket
    stage.s3.put_object(Bucket=bucket, Key=f"archive/{hour}/a", Body=b"".join(map(encode, envelopes[:4])))
    found = account(stage, code=0)
    assert found["unarchived"] == [one.request_id for one in envelopes[4:]]
    text = stage.weir("account", code=0)
    assert "2 that arrived from" in text
    command = text.partition("weir replay ")[2].split()
    target = command[command.index("--to") + 1]
    since, until = command[command.index("--since") + 1], command[command.index("--until") + 1]
    assert target == "stream"
    copy = stage.home / "copy.jsonl"
    stage.weir("replay", "--from", "stream", "--since", since, "--until", until, "--to", str(copy))
    now = time.strftime("%Y/%m/%d/%H")
    stage.s3.put_object(Bucket=bucket, Key=f"archive/{now}/b", Body=copy.read_bytes())  # as the archiver would
    assert account(stage, code=0)["unarchived"] == []


def test_without_its_access_log_the_account_says_so(stage: Stage) -> None:
    """A log that is gone does not show that nothing was acknowledged: then what the stream holds counts."""
    stage.put(*(stage.payment("acct_1", 1, message_id=f"m-{n}") for n in range(3)), logged=False)
    stage.consume()
    stage.place.outputs()
    found = account(stage, code=0)
    assert (found["acknowledged"], found["applied"], found["unaccounted"]) == (3, 3, 0)
    assert "access.log: what the stream holds counts" in "".join(found["notes"])
    stage.log_access([stage.payment("acct_1", 1)])  # a log that begins after them
    assert "3 more are stored that the access log does not have, which begins at 20" in stage.weir("account", code=1)


def test_a_missing_event_is_found_by_a_replay(stage: Stage) -> None:
    """What the account misses in the table, a replay of what is missing brings back, and the account is even again."""
    envelopes = [stage.payment("acct_1", 10, message_id=f"msg_{number}") for number in range(20)]
    stage.put(*envelopes)
    stage.consume()
    stage.dynamodb.delete_item(TableName=stage.outputs.events_table, Key={"pk": {"S": "payments#msg_3"}})
    stage.dynamodb.update_item(  # as if it had never been applied
        TableName=stage.outputs.balances_table,
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


def test_on_aws_the_archive_is_read_first_and_the_stream_for_what_it_lacks(stage: Stage) -> None:
    """What the archive has and what only the stream has yet are accounted for alike; what neither has is named."""
    now_ms = round(time.time() * 1000)
    hour_ms = 3_600_000
    archived = [stage.payment("a", 1, at_ms=now_ms - hour_ms, message_id=f"old-{n}") for n in range(3)]
    late = stage.payment("a", 1, at_ms=now_ms - hour_ms, message_id="late")
    fresh = stage.payment("a", 1, message_id="fresh")
    waiting = stage.payment("a", 1, message_id="waiting")
    stage.put(*archived, late, fresh)
    stage.consume()
    stage.put(waiting)
    gone = stage.payment("a", 1, at_ms=now_ms - hour_ms)
    stage.log_access([gone])
    folder = datetime.fromtimestamp(now_ms / 1000 - 3600, UTC).strftime("archive/%Y/%m/%d/%H/x")
    stage.s3.put_object(Bucket=stage.outputs.bucket, Key=folder, Body=b"".join(map(encode, archived)))
    stack = replace(stage.stack(), service=replace(AWS, reads_per_s=None), checkpoints=lambda: None)
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

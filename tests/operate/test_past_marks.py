"""Marks that have expired, by the engine's own TTL: what they can no longer prove is applied only on request."""

from __future__ import annotations

import io
import json
import random
import time
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from tests.support.engine_env import kinesis_event
from tests.support.stack_env import StackEnv
from weir.consumers.batch.batch import Consumer
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId
from weir.ingest.sources import mark_lives
from weir.ingest.sources.mark_lives import MarkLives
from weir.operate.lag import LagReader
from weir.operate.lookup.delivery import Delivery
from weir.operate.rebuild.completeness import what_is_missing

pytestmark = pytest.mark.engine

DAY_MS = 86_400_000


def now_ms() -> int:
    return round(time.time() * 1000)


def grow_old(stack_env: StackEnv, days: float = 500) -> None:
    """Let the table be so many days older: marks have lived as long as they do since then."""
    lives = mark_lives.begun(stack_env.catalogue, round(now_ms() - days * DAY_MS))
    mark_lives.save(stack_env.s3, stack_env.outputs.bucket, lives)


def expire(stack_env: StackEnv, *keys: str, by_ttl: bool = False) -> None:
    """Let the marks of these keys end; ``by_ttl`` waits until the engine has deleted them, which takes a minute."""
    table = stack_env.outputs.events_table
    for key in keys:
        if not by_ttl:
            stack_env.dynamodb.delete_item(TableName=table, Key={"pk": {"S": key}})
            continue
        stack_env.dynamodb.update_item(
            TableName=table,
            Key={"pk": {"S": key}},
            UpdateExpression="SET expires_at = :past",
            ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 10)}},
        )
    deadline = time.monotonic() + 240  # it looks once a minute, and may come late on a busy machine
    while set(keys) & set(stack_env.events()):
        assert time.monotonic() < deadline, "the engine's TTL deletes nothing"
        time.sleep(0.5)


def archive(stack_env: StackEnv, *envelopes: Envelope) -> None:
    """Write an object of the archive, in the folder of its oldest delivery."""
    at_s = min(one.arrived_at_ms for one in envelopes) / 1000
    key = f"archive/{time.strftime('%Y/%m/%d/%H', time.gmtime(at_s))}/{envelopes[0].request_id}"
    body = b"".join(map(encode, envelopes))
    stack_env.s3.put_object(Bucket=stack_env.outputs.bucket, Key=key, Body=body)


def give_up(stack_env: StackEnv, *envelopes: Envelope) -> None:
    """Write what the event source mapping writes when it gives up."""
    records = [
        {
            "eventID": f"shardId-000000000000:{number}",
            "kinesis": {
                "sequenceNumber": str(number),
                "partitionKey": "k",
                "data": b64encode(encode(one)).decode(),
                "approximateArrivalTimestamp": one.arrived_at_ms / 1000,
            },
        }
        for number, one in enumerate(envelopes, 100)
    ]
    document = {
        "requestContext": {"requestId": "r-1", "condition": "RetryAttemptsExhausted"},
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
        "timestamp": "2026-11-23T10:00:00.000Z",
        "payload": json.dumps({"Records": records}),
    }
    key = f"aws/lambda/uuid/shardId-000000000000/2026/11/23/{envelopes[0].request_id}"
    stack_env.s3.put_object(Bucket=stack_env.outputs.bucket, Key=key, Body=json.dumps(document).encode())


def told(stack_env: StackEnv, *arguments: str, code: int = 0) -> dict[str, Any]:
    lines = stack_env.weir(*arguments, "--json", code=code).splitlines()
    return json.loads(lines[-1])  # type: ignore[no-any-return]


def applied_long_ago(stack_env: StackEnv, *, by_ttl: bool = False) -> list[Envelope]:
    """Apply four payments, three of which are 40 days old; their marks are gone, and one of 26 days has its own."""
    old = [stack_env.payment("acct", 10, message_id=f"old-{n}", at_ms=now_ms() - 40 * DAY_MS) for n in range(3)]
    young = stack_env.payment("acct", 10, message_id="young", at_ms=now_ms() - 26 * DAY_MS)
    stack_env.put(*old, young)
    stack_env.consume()
    expire(stack_env, *(f"payments#old-{n}" for n in range(3)), by_ttl=by_ttl)
    grow_old(stack_env)
    assert stack_env.balances() == {"acct": {"EUR": 40, "events": 4}}
    return [*old, young]


@pytest.mark.parametrize("target", ["consumer", "stream"])
def test_a_replay_leaves_alone_what_is_too_old_to_tell(stack_env: StackEnv, target: str) -> None:
    """From the archive: said before, counted in the dry run and in the report, never applied; a flag applies it."""
    envelopes = applied_long_ago(stack_env, by_ttl=target == "consumer")
    fresh = stack_env.payment("acct", 5, message_id="fresh")
    archive(stack_env, *envelopes, fresh)
    said = told(stack_env, "replay", "--from", "archive", "--dry-run", code=1)
    assert (said["too old to tell"], said["already applied"], said["would apply"]) == (3, 1, 1)
    said = told(stack_env, "replay", "--from", "archive", "--to", target, code=1)
    done = {"applied": 1, "duplicate": 1} if target == "consumer" else {"published": 2}
    assert {name: said[name] for name in (*done, "too old to tell")} == {**done, "too old to tell": 3}
    assert said["reasons"] == {"too old to tell: payments": 3}
    stack_env.consume()
    assert stack_env.balances() == {"acct": {"EUR": 45, "events": 5}}
    shown = stack_env.invoke("replay", "--from", "archive", "--to", target)
    assert "too old to tell, where it has no mark: what arrived before" in shown.output
    assert "(payments, others)" in shown.output
    asked = stack_env.invoke("replay", "--from", "archive", "--to", target, "--past-marks")
    if target == "stream":
        assert asked.exit_code == 2
        return
    assert asked.exit_code == 0
    assert stack_env.balances() == {"acct": {"EUR": 75, "events": 8}}


def test_an_age_that_can_be_told_is_applied(stack_env: StackEnv) -> None:
    """Each source has its own horizon, and a table that has lost no mark has none: no mark then means new."""
    at_ms = now_ms() - 40 * DAY_MS
    envelopes = [
        stack_env.payment("acct", 1, message_id="a", at_ms=at_ms),
        stack_env.delivery({"events": [{"id": "b", "type": "x"}]}, source="batches", at_ms=at_ms),
    ]
    archive(stack_env, *envelopes)
    grow_old(stack_env)
    said = told(stack_env, "replay", "--from", "archive", "--to", "consumer", code=1)
    assert (said["too old to tell"], said["ignored"]) == (1, 1)  # marks of `batches` live 400 days
    grow_old(stack_env, 29)
    said = told(stack_env, "replay", "--from", "archive", "--to", "consumer")
    assert (said["applied"], said["duplicate"]) == (1, 1)
    stack_env.s3.delete_object(Bucket=stack_env.outputs.bucket, Key=mark_lives.KEY)
    archive(stack_env, stack_env.delivery({"events": [{"id": "c", "type": "x"}]}, source="batches", at_ms=at_ms))
    said = told(stack_env, "replay", "--from", "archive", "--source", "batches", "--to", "consumer", code=1)
    assert (said["too old to tell"], said["duplicate"]) == (1, 1)  # without a record marks count as living 30 days


def test_a_part_of_a_delivery_may_be_too_old_to_tell(stack_env: StackEnv) -> None:
    """Of a batch whose marks have not all expired the rest is left alone, and the delivery stays where it is."""
    events = [{"id": f"e-{n}", "type": "x"} for n in range(3)]
    whole = stack_env.delivery({"events": events}, source="batches", at_ms=now_ms() - 401 * DAY_MS)
    stack_env.put(whole)
    stack_env.consume()
    expire(stack_env, "batches#e-1")
    grow_old(stack_env)
    archive(stack_env, whole)
    for arguments in (("--dry-run",), ("--to", "consumer")):
        said = told(stack_env, "replay", "--from", "archive", *arguments, code=1)
        assert said["too old to tell"] == 1
        assert said.get("already applied", 0) + said["duplicate"] == 2
    assert "batches#e-1" not in stack_env.events()


@pytest.mark.parametrize("past_marks", [False, True])
def test_a_quarantined_delivery_stays_when_it_is_too_old_to_tell(stack_env: StackEnv, past_marks: bool) -> None:
    """Verified or retried, it is counted apart and keeps its item; with the flag it is applied, and leaves."""
    other = "whsec_" + "QUJD" * 8
    late = stack_env.payment("acct", 7, message_id="late", at_ms=now_ms() - 40 * DAY_MS, secret=other)
    forged = stack_env.payment(
        "acct", 9, message_id="forged", at_ms=now_ms() - 40 * DAY_MS, secret="whsec_" + "WFla" * 8
    )
    stack_env.put(late, forged)
    stack_env.consume()
    grow_old(stack_env)
    from weir.infra import secrets

    secrets.add(stack_env.place, stack_env.catalogue["payments"], other)
    before = stack_env.events()
    (group,) = [json.loads(line) for line in stack_env.weir("failures", "--json").splitlines()]
    flag = ["--past-marks"] * past_marks
    commands = (
        ("failures", "retry", group["group"], "--dry-run"),
        ("failures", "retry", group["group"]),
        ("quarantine", "verify"),
        ("replay", "--from", "quarantine", "--to", "consumer"),
    )
    if not past_marks:
        for command in commands:
            said = told(stack_env, *command, code=1)
            refused = said["quarantined"] + said.get("would be quarantined", 0)
            assert (said["too old to tell"], refused) == (1, 1), command
        assert stack_env.events() == before
        assert stack_env.balances() == {}
        return
    said = told(stack_env, *commands[0], *flag)
    assert said["would apply"] == 1
    said = told(stack_env, *commands[2], *flag)
    assert (said["applied"], said["quarantined"]) == (1, 1)
    assert sorted(stack_env.events()) == [f"payments!{forged.request_id}", "payments#late"]


def test_the_record_of_a_stack_decides_and_not_todays_sources_file(stack_env: StackEnv) -> None:
    """A life that was made longer yesterday does not lengthen marks that were written before."""
    applied_long_ago_ms = now_ms() - 500 * DAY_MS
    lives = mark_lives.begun(stack_env.catalogue, applied_long_ago_ms)
    longer = (
        (stack_env.home / "sources.yaml")
        .read_text()
        .replace("payments: {preset: standard-webhooks}", "payments: {preset: standard-webhooks, dedupe_days: 400}")
    )
    (stack_env.home / "sources.yaml").write_text(longer)
    mark_lives.save(stack_env.s3, stack_env.outputs.bucket, lives)
    archive(stack_env, stack_env.payment("acct", 1, at_ms=now_ms() - 40 * DAY_MS))
    assert told(stack_env, "replay", "--from", "archive", "--to", "consumer", code=1)["too old to tell"] == 1
    assert MarkLives() != lives


def test_account_and_lag_do_not_call_lost_what_they_cannot_tell(stack_env: StackEnv) -> None:
    """Counted apart, with the time from which on it can be told; what is younger and nowhere is still lost."""
    envelopes = applied_long_ago(stack_env)
    lost = stack_env.payment("acct", 1, message_id="lost", at_ms=now_ms() - 3_600_000)
    gone = stack_env.payment("acct", 1, message_id="gone", at_ms=now_ms() - 450 * DAY_MS)
    stack_env.log_access([lost, gone])
    said = json.loads(stack_env.weir("account", "--since", "500d", "--json", code=1))
    assert (said["acknowledged"], said["applied"], said["too_old_to_tell"], said["unaccounted"]) == (6, 1, 4, 1)
    assert [one["request_id"] for one in said["missing"]] == [lost.request_id]
    assert any("(payments, others)" in note for note in said["notes"])
    shown = stack_env.weir("account", "--since", "500d", code=1)
    assert "too old to tell           4" in shown
    assert "too old to tell" not in stack_env.weir("account", "--since", "30d", code=1)
    assert stack_env.stack().statuses.of([Delivery(encode(envelopes[0]), "x", "1")]) == ["too old to tell"]
    assert "nothing waits to be read" in stack_env.weir("lag")


def test_lag_by_halving_is_not_misled_by_marks_that_have_expired(stack_env: StackEnv) -> None:
    """Where no checkpoint shows it, the first record without an outcome is not one whose mark has expired."""
    old = [stack_env.payment("acct", 1, message_id=f"o-{n}", at_ms=now_ms() - 40 * DAY_MS) for n in range(5)]
    done = stack_env.payment("acct", 1, message_id="done")
    stack_env.put(*old, done)
    stack_env.consume()
    stack_env.put(stack_env.payment("acct", 1, message_id="waits"))
    expire(stack_env, *(f"payments#o-{n}" for n in range(5)))
    grow_old(stack_env)
    stack = stack_env.stack()
    reader = LagReader(
        stack.kinesis, stack.stream, stack.statuses, lambda: None, retention_s=stack.retention_s, service=stack.service
    )
    (shard,) = reader.measure(0.1)
    assert shard.unread == 1


def test_failures_that_were_retried_do_not_come_back(stack_env: StackEnv) -> None:
    """What a retry has finished is noted in the bucket; what else has lost its marks is too old to tell."""
    at_ms = now_ms() - 40 * DAY_MS
    retried = [stack_env.payment("acct", 1, message_id=f"r-{n}", at_ms=at_ms) for n in range(2)]
    give_up(stack_env, *retried)
    (group,) = [json.loads(line) for line in stack_env.weir("failures", "--json").splitlines()]
    assert told(stack_env, "failures", "retry", group["group"])["applied"] == 2
    expire(stack_env, "payments#r-0", "payments#r-1")
    grow_old(stack_env)
    assert stack_env.weir("failures") == "no failures\n"
    assert told(stack_env, "replay", "--from", "failures", "--to", "consumer", code=1)["too old to tell"] == 2
    unknown = stack_env.payment("acct", 5, message_id="unknown", at_ms=at_ms)
    give_up(stack_env, unknown)
    (group,) = [json.loads(line) for line in stack_env.weir("failures", "--json").splitlines()]
    assert (group["kind"], group["count"]) == ("too old to tell", 1)
    assert told(stack_env, "failures", "retry", group["group"], code=1)["too old to tell"] == 1
    assert [json.loads(line)["group"] for line in stack_env.weir("failures", "--json").splitlines()] == [group["group"]]
    assert told(stack_env, "failures", "retry", group["group"], "--past-marks")["applied"] == 1
    assert stack_env.weir("failures") == "no failures\n"
    assert stack_env.balances() == {"acct": {"EUR": 7, "events": 3}}


def test_the_live_consumer_does_not_apply_what_its_mark_would_not_outlive(stack_env: StackEnv) -> None:
    """A record that others put into the stream again is a duplicate by its mark, and without one it is quarantined."""
    at_ms = now_ms() - 40 * DAY_MS
    marked, unmarked = (stack_env.payment("acct", 3, message_id=name, at_ms=at_ms) for name in ("marked", "unmarked"))
    stack_env.put(marked)
    stack_env.consume()
    again = replace(marked, request_id=RequestId("again"))
    pipeline = stack_env.pipeline()
    consumer = Consumer(stack_env.settings, pipeline.judge, pipeline.store, stream=io.StringIO())
    event = kinesis_event(again, unmarked, stack_env.payment("acct", 4, message_id="young"))
    for _ in range(2):  # read again, each keeps its outcome
        assert consumer.consume(event, invocation="i", left_s=lambda: 60) == {"batchItemFailures": []}
        assert stack_env.balances() == {"acct": {"EUR": 7, "events": 2}}
        quarantined = {key: item for key, item in stack_env.events().items() if "!" in key}
        assert [item["reason"]["S"] for item in quarantined.values()] == ["too_old_to_tell"]
    assert told(stack_env, "quarantine", "verify")["applied"] == 1  # this table has lost no mark
    assert stack_env.balances() == {"acct": {"EUR": 10, "events": 3}}


def test_a_rebuild_does_not_write_a_part_over_the_whole(stack_env: StackEnv) -> None:
    """From a table that has lost events, or a part of the time: said, refused with --swap; the archive holds all."""
    envelopes = applied_long_ago(stack_env)
    before = stack_env.balances()
    said = told(stack_env, "rebuild", code=1)
    assert "payments (30 days), others (30 days), batches (400 days)" in said["missing"]
    (difference,) = said["tables"]["balances"]["differences"]
    assert (difference["present"]["EUR"], difference["rebuilt"]["EUR"]) == ({"N": "40"}, {"N": "10"})
    for arguments in ((), ("--delete",), ("--from", "stream"), ("--from", "archive"), ("--since", "1d")):
        refused = stack_env.invoke("rebuild", "--swap", *arguments)
        assert refused.exit_code == 2, arguments
        assert "a part over the whole" in refused.stderr, arguments
    assert stack_env.balances() == before
    archive(stack_env, *envelopes[1:])
    assert "but an event of the table" not in told(stack_env, "rebuild", "--from", "archive", code=1)["missing"]
    archive(stack_env, envelopes[0])
    said = told(stack_env, "rebuild", "--from", "archive")
    assert said["missing"] == ""
    assert said["begins_ms"] == {"payments": min(one.arrived_at_ms for one in envelopes)}
    assert "what was read begins: payments" in stack_env.weir("rebuild", "--from", "archive")
    later = stack_env.payment("acct", 1, message_id="unarchived", at_ms=now_ms() - 45 * DAY_MS)
    stack_env.put(later)
    stack_env.consume()
    assert "but an event of the table" in told(stack_env, "rebuild", "--from", "archive", code=1)["missing"]


def test_an_archive_that_has_lost_objects_is_a_part(stack_env: StackEnv) -> None:
    """By its bucket's own rule and the age of the stack, or of its first object where that is not known."""
    s3, bucket = stack_env.s3, stack_env.outputs.bucket
    archive(stack_env, stack_env.payment("acct", 1, at_ms=now_ms() - 20 * DAY_MS))
    rule = {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "archive/"}, "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    for age_days, is_part in ((20, False), (500, True)):
        grow_old(stack_env, age_days)
        assert ("30 days only" in what_is_missing(stack_env.stack(), "archive", None, now_ms())) == is_part
    s3.delete_object(Bucket=bucket, Key=mark_lives.KEY)
    assert what_is_missing(stack_env.stack(), "archive", None, now_ms()) == ""
    assert "30 days only" in what_is_missing(stack_env.stack(), "archive", None, now_ms() + 10 * DAY_MS)
    grow_old(stack_env, 1)
    assert [what_is_missing(stack_env.stack(), name, None, now_ms()) for name in ("events", "stream")] == ["", ""]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_dry_run_says_what_a_replay_does_and_nothing_is_applied_twice(stack_env: StackEnv, seed: int) -> None:
    """Deliveries of all ages, repeated, forged, with marks or without: each account is paid once at most."""
    chosen = random.Random(seed)
    envelopes: list[Envelope] = []
    applied: set[str] = set()
    expired: list[str] = []
    for number in range(40):
        name, age_days = f"id-{number}", chosen.choice([0, 3, 22, 24, 29, 31, 40, 200])
        first_ms = now_ms() - age_days * DAY_MS - 60_000
        secret = {"secret": "whsec_" + "WFla" * 8} if chosen.random() < 0.15 else {}
        deliveries = [stack_env.payment(name, 10, message_id=name, at_ms=first_ms, **secret)]
        if chosen.random() < 0.4:  # the provider repeats it, for three days at most
            again_ms = min(now_ms(), first_ms + round(chosen.random() * 3 * DAY_MS))
            deliveries.append(stack_env.payment(name, 10, message_id=name, at_ms=again_ms, **secret))
        envelopes += deliveries
        if chosen.random() < 0.6:
            stack_env.put(*deliveries)
            applied |= set() if secret else {name}
            expired += [f"payments#{name}"] if age_days > 30 and not secret and chosen.random() < 0.8 else []
    stack_env.consume()
    expire(stack_env, *expired)
    grow_old(stack_env)
    for envelope in envelopes:
        archive(stack_env, envelope)
    before = stack_env.balances()
    assert before == {name: {"EUR": 10, "events": 1} for name in applied}
    dry = told(stack_env, "replay", "--from", "archive", "--dry-run", code=1)
    assert stack_env.balances() == before
    real = told(stack_env, "replay", "--from", "archive", "--to", "consumer", code=1)
    said = {"would apply": "applied", "already applied": "duplicate", "would be quarantined": "quarantined"}
    for would, does in said.items():
        assert dry.get(would, 0) == real[does], would
    assert dry["too old to tell"] == real["too old to tell"] > 0
    after = stack_env.balances()
    assert set(before) <= set(after)
    assert all(balance == {"EUR": 10, "events": 1} for balance in after.values())
    assert real["applied"] == len(after) - len(before) > 0
    again = told(stack_env, "replay", "--from", "archive", "--to", "consumer", code=1)
    assert (again["applied"], again["too old to tell"]) == (0, real["too old to tell"])

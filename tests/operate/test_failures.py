"""Failures by cause, and their retry after a fix."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.infra import secrets
from weir.ingest.envelope import Envelope, encode
from weir.operate.lookup.causes import cause_of
from weir.operate.lookup.kept import lifecycle_days

pytestmark = pytest.mark.engine

NEW_SECRET = "whsec_" + "QUJD" * 8


def groups(stack_env: StackEnv) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack_env.weir("failures", "--json").splitlines()]


def give_up(
    stack_env: StackEnv, name: str, *envelopes: Envelope, as_text: bool = True, error: str | None = "Unhandled"
) -> None:
    """Write what the event source mapping writes when it gives up; LocalStack's form without ``as_text``."""
    records = [
        {
            "eventID": f"shardId-000000000000:{100 + number}",
            "kinesis": {
                "sequenceNumber": str(100 + number),
                "partitionKey": "k",
                "data": b64encode(encode(one)).decode(),
                "approximateArrivalTimestamp": one.arrived_at_ms / 1000,
            },
        }
        for number, one in enumerate(envelopes)
    ]
    event: Any = {"Records": records}
    document = {
        "requestContext": {"requestId": "r-1", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 101},
        "responseContext": {"statusCode": 200, "functionError": error},
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "payload": json.dumps(event) if as_text else event,
    }
    key = f"aws/lambda/uuid/shardId-000000000000/2026/11/23/{name}"
    stack_env.s3.put_object(Bucket=stack_env.outputs.bucket, Key=key, Body=json.dumps(document).encode())


def test_causes_are_grouped_with_count_times_example_and_time_left(stack_env: StackEnv) -> None:
    """A group a cause: reason, source and type; how many, since when, an example, how long its payload is kept."""
    forged = [stack_env.payment("a", 1, secret=NEW_SECRET, at_ms=1_700_000_000_000 + n) for n in range(5)]
    stack_env.put(
        *forged, stack_env.delivery({"type": "payment.succeeded", "data": {"account": "x"}}, message_id="bad")
    )
    stack_env.consume()
    given_up = [stack_env.payment("b", 1) for _ in range(3)]
    give_up(stack_env, "one", *given_up)
    give_up(stack_env, "two", given_up[0], as_text=False)  # again, after a bisection, and in LocalStack's form
    found = {(one["kind"], one["reason"], one["source"], one["type"]): one for one in groups(stack_env)}
    assert {key: one["count"] for key, one in found.items()} == {
        ("quarantined", "signature_mismatch", "payments", ""): 5,
        ("quarantined", "event_rejected", "payments", "payment.succeeded"): 1,
        ("given up", "RetryAttemptsExhausted", "payments", "payment.succeeded"): 3,
    }
    mismatch = found["quarantined", "signature_mismatch", "payments", ""]
    assert (mismatch["first_ms"], mismatch["last_ms"]) == (1_700_000_000_000, 1_700_000_000_004)
    assert mismatch["example"] == f"payments!{forged[0].request_id}"
    assert abs(mismatch["kept_until_ms"] / 1000 - time.time() - 14 * 86_400) < 600
    shown = stack_env.weir("failures")
    assert all(one["group"] in shown for one in found.values())


def test_a_group_is_retried_after_a_mend_and_is_then_gone(stack_env: StackEnv) -> None:
    """After the secret is known, `failures retry` applies the group and nothing else, and nothing of it is left."""
    stack_env.put(*(stack_env.payment("a", 10, secret=NEW_SECRET, message_id=f"m-{n}") for n in range(6)))
    stack_env.put(stack_env.delivery({"type": "payment.succeeded", "data": {"account": "x"}}, message_id="bad"))
    stack_env.consume()
    group = next(one["group"] for one in groups(stack_env) if one["reason"] == "signature_mismatch")
    said = json.loads(stack_env.weir("failures", "retry", group, "--json"))
    assert (said["quarantined"], said["applied"]) == (6, 0)
    secrets.add(stack_env.place, stack_env.catalogue["payments"], NEW_SECRET)
    assert "would apply" in stack_env.weir("failures", "retry", group, "--dry-run")
    assert stack_env.balances() == {}
    said = json.loads(stack_env.weir("failures", "retry", group, "--json"))
    assert (said["read"], said["applied"]) == (6, 6)
    assert stack_env.balances() == {"a": {"EUR": 60, "events": 6}}
    assert [one["reason"] for one in groups(stack_env)] == ["event_rejected"]
    assert sorted(key for key in stack_env.events() if "!" not in key) == [f"payments#m-{n}" for n in range(6)]
    stack_env.weir("failures", "retry", group, code=2)
    assert json.loads(stack_env.weir("account", "--json"))["applied"] == 6


def test_what_the_mapping_gave_up_on_is_retried_from_its_payload(stack_env: StackEnv) -> None:
    """A given-up batch is applied from S3 although the stream knows nothing of it; done ones are not failures."""
    envelopes = [stack_env.payment("b", 2, message_id=f"g-{n}") for n in range(4)]
    stack_env.log_access(envelopes)
    give_up(stack_env, "one", *envelopes[:2], error=None)
    give_up(stack_env, "two", *envelopes[1:])
    named = json.loads(stack_env.weir("account", "--json", code=1))["missing"]
    assert len(named) == 4  # the stream of this test has lost them
    reasons = {(one["reason"], one["exception"]): one["group"] for one in groups(stack_env)}
    assert set(reasons) == {
        ("RetryAttemptsExhausted", "partial response"),
        ("RetryAttemptsExhausted", "Unhandled"),
    }
    said = json.loads(
        stack_env.weir("failures", "retry", reasons["RetryAttemptsExhausted", "partial response"], "--json")
    )
    assert (said["matched"], said["applied"]) == (2, 2)
    said = json.loads(stack_env.weir("replay", "--from", "failures", "--to", "consumer", "--json"))
    assert (said["read"], said["applied"], said["duplicate"]) == (5, 2, 3)
    assert stack_env.balances() == {"b": {"EUR": 8, "events": 4}}
    assert groups(stack_env) == []
    assert stack_env.weir("failures") == "no failures\n"


def test_a_delivery_that_dynamodb_refused_gets_another_chance(stack_env: StackEnv) -> None:
    """A fence holds off every reading of a refused delivery but a retry, which lifts it."""
    from weir.consumers.outcome import Outcome

    stack_env.put(stack_env.payment("c", 3, message_id="m-1"))
    stack_env.consume()
    item = stack_env.events()["payments#m-1"]
    refused = {
        **item,
        "pk": {"S": f"payments!{item['request_id']['S']}"},
        "outcome": {"S": "quarantined"},
        "quarantine": {"S": "payments"},
        "reason": {"S": "condition_failed"},
        "detail": {"S": "A condition does not hold."},
    }
    fence = {
        "pk": {"S": "payments#m-1"},
        "outcome": {"S": Outcome.FENCED},
        "reason": {"S": "condition_failed"},
        "refused": {"SS": [item["request_id"]["S"]]},
    }
    for one in (refused, fence):
        stack_env.dynamodb.put_item(TableName=stack_env.outputs.events_table, Item=one)
    stack_env.dynamodb.delete_item(TableName=stack_env.outputs.table("balances"), Key={"account": {"S": "c"}})
    said = json.loads(stack_env.weir("replay", "--from", "stream", "--to", "consumer", "--json"))
    assert said["quarantined"] == 1
    assert "refused" in stack_env.events()["payments#m-1"]
    (group,) = groups(stack_env)
    said = json.loads(stack_env.weir("failures", "retry", group["group"], "--json"))
    assert said["applied"] == 1
    assert list(stack_env.events()) == ["payments#m-1"]
    assert stack_env.balances() == {"c": {"EUR": 3, "events": 1}}


def test_a_bug_is_named_by_its_exception_and_its_place() -> None:
    """Two bugs at two places are two groups, whatever the ids of their events."""
    text = "The code failed on this event in a way that it did not foresee. builtins.KeyError at {} in book"
    facts = {"reason": "event_failed", "source": "stripe", "type": "charge.succeeded"}
    first, same, other = (
        cause_of({**facts, "event_id": name, "detail": text.format(place)})
        for name, place in (
            ("a", "/var/task/consumers/business/effects/ledger.py:9"),
            ("b", "ledger.py:9"),
            ("c", "ledger.py:12"),
        )
    )
    assert first == same
    assert first.exception == "KeyError at ledger.py:9 in book"
    assert first.group_id == same.group_id != other.group_id


def test_the_buckets_own_rule_says_how_long_payloads_are_kept(stack_env: StackEnv) -> None:
    """The shortest rule that holds for the prefix counts; without one, they are kept until somebody deletes them."""
    bucket = stack_env.outputs.bucket
    stack_env.s3.delete_bucket_lifecycle(Bucket=bucket)
    assert lifecycle_days(stack_env.s3, bucket, "aws/lambda/") is None
    rules = [
        {"ID": name, "Status": status, "Filter": {"Prefix": prefix}, "Expiration": {"Days": days}}
        for name, status, prefix, days in (
            ("a", "Enabled", "aws/lambda/", 30),
            ("b", "Enabled", "archive/", 3),
            ("c", "Disabled", "aws/", 1),
            ("d", "Enabled", "", 400),
        )
    ]
    stack_env.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert lifecycle_days(stack_env.s3, bucket, "aws/lambda/") == 30

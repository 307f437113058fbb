"""Account, lag, control and replays on LocalStack, which keeps no access log and no checkpoint that one could read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from weir.infra import place

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
WEIR = Path(sys.executable).with_name("weir")
STACK = f"replay-{uuid.uuid4().hex[:8]}"

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]


def run(*arguments: str, text: str = "", code: int | None = 0) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEIR_"))}
    done = subprocess.run(
        [WEIR, *arguments], input=text.encode(), env=kept, capture_output=True, check=False, timeout=300
    )
    assert code is None or done.returncode == code, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


def weir(*arguments: str, **options: Any) -> str:
    return run(*arguments, "--endpoint", str(ENDPOINT), "--stack", STACK, **options)


@pytest.fixture(scope="module")
def deployed() -> Iterator[place.Place]:
    there = ("--to", "localstack", "--endpoint", str(ENDPOINT), "--stack", STACK)
    settings = (f"SecretsPrefix=/weir/{STACK}", "StreamMode=PROVISIONED", "ShardCount=2")
    run("deploy", *there, *(part for setting in settings for part in ("--set", setting)))
    weir("secrets", "set", "payments", text="whsec_" + "QUJD" * 8)
    yield place.at_endpoint(str(ENDPOINT), STACK)
    run("destroy", *there, "--delete-data", "--yes")


def account(*arguments: str, code: int = 0) -> dict[str, Any]:
    return json.loads(weir("account", "--json", *arguments, code=code))  # type: ignore[no-any-return]


def unread() -> int:
    return sum(json.loads(line)["unread"] for line in weir("lag", "--json", "--over", "0").splitlines())


def eventually_nothing_waits() -> None:
    deadline = time.monotonic() + 60
    while unread():
        assert time.monotonic() < deadline
        time.sleep(1)


def rule_state(deployed: place.Place) -> str:
    return str(deployed.client("events").describe_rule(Name=deployed.outputs().waiting_rule)["State"])


def test_pause_lag_account_and_replays(deployed: place.Place) -> None:
    """Paused, what waits is counted and in flight; resumed, all is accounted for; a replay of it changes nothing."""
    for _ in range(3):
        weir("send", "payments", "--wait", "0")
    weir("send", "payments", "--tamper", "--wait", "30")
    eventually_nothing_waits()
    weir("pause")
    for _ in range(2):
        weir("send", "payments", "--wait", "0")
    assert unread() == 2
    assert rule_state(deployed) == "DISABLED"
    assert account("--grace", "120s")["in_flight"] == 2
    weir("resume")
    assert rule_state(deployed) == "ENABLED"
    eventually_nothing_waits()
    found = account("--grace", "0s")
    assert (found["acknowledged"], found["applied"], found["quarantined"], found["unaccounted"]) == (6, 5, 1, 0)
    before = sorted(weir("items", "balances", "--json").splitlines())
    for origin in ("stream", "events"):
        said = json.loads(weir("replay", "--from", origin, "--to", "consumer", "--json"))
        assert (said["read"], said["duplicate"], said["applied"], said["quarantined"]) == (6, 5, 0, 1)
    assert json.loads(weir("replay", "--from", "events", "--to", "stream", "--json"))["published"] == 6
    eventually_nothing_waits()
    assert sorted(weir("items", "balances", "--json").splitlines()) == before
    assert "0 different" in weir("rebuild")


def test_an_event_removed_by_hand_is_named(deployed: place.Place) -> None:
    """Account names it with its place in the stream, and the scheduled function does so too, with its metric."""
    said = weir("send", "payments", "--wait", "30")
    request_id = json.loads(said.split("\n")[0].partition(" ")[2])["id"]
    table = deployed.outputs().events_table
    items = deployed.client("dynamodb").scan(TableName=table, ConsistentRead=True)["Items"]
    (item,) = [one for one in items if one["request_id"]["S"] == request_id]
    deployed.client("dynamodb").delete_item(TableName=table, Key={"pk": item["pk"]})
    found = account("--grace", "0s", code=1)
    assert [one["request_id"] for one in found["missing"]] == [request_id]
    assert found["missing"][0]["last_seen"].startswith("the stream, shardId-")
    assert check(deployed)["unaccounted"] == 0  # too young for the scheduled check
    assert check(deployed, settle_s=0, grace_s=0)["unaccounted"] == 1
    lines = log_of(deployed, "unaccounted")
    assert any(request_id in line and "the stream, shardId-" in line for line in lines)
    metric = json.loads(log_of(deployed, '"_aws"')[-1])
    assert (metric["Unaccounted"], metric["Stack"]) == (1, STACK)
    deployed.client("dynamodb").put_item(TableName=table, Item=item)
    assert account("--grace", "0s")["unaccounted"] == 0


def log_of(where: place.Place, word: str) -> list[str]:
    """Return the lines of the scheduled function's log that hold a word."""
    pages = where.client("logs").get_paginator("filter_log_events")
    group = f"/aws/lambda/{where.outputs().account_function}"
    for _ in range(40):
        found = [event["message"] for page in pages.paginate(logGroupName=group) for event in page["events"]]
        lines = [line for line in found if word in line]
        if lines:
            return lines
        time.sleep(0.5)
    raise AssertionError(found)


def check(where: place.Place, **options: int) -> dict[str, Any]:
    """Invoke the scheduled function with what its rule gives it."""
    (rule,) = [
        one for one in where.client("events").list_rules()["Rules"] if one["Name"].startswith(f"{STACK}-AccountRule")
    ]
    (target,) = where.client("events").list_targets_by_rule(Rule=rule["Name"])["Targets"]
    answer = where.client("lambda").invoke(
        FunctionName=where.outputs().account_function,
        Payload=json.dumps({**json.loads(target["Input"]), **options}).encode(),
    )
    payload: Any = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload

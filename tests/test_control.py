"""Pause, resume, lag and the account on a whole embedded stack, as a user has them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.running import Running, payment, running

pytestmark = pytest.mark.engine

SECRET = "whsec_" + "QUJD" * 8


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("control")) as started:
        started.weir("secrets", "set", "payments", text=SECRET)
        yield started


def send(stack: Running, count: int, name: str) -> list[str]:
    ids = []
    for number in range(count):
        data = {"account": name, "amount": 1, "currency": "EUR"}
        body = json.dumps({"type": "payment.succeeded", "data": data}).encode()
        headers = payment(SECRET, body, f"{name}-{number}", int(time.time()))
        status, _, answer = stack.post("/v1/payments", body, headers)
        assert status == 200
        ids.append(json.loads(answer)["id"])
    return ids


def lag(stack: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack.weir("lag", "--json", "--over", "0.5").splitlines()]


def account(stack: Running, *arguments: str) -> dict[str, Any]:
    return json.loads(stack.weir("account", "--json", *arguments))  # type: ignore[no-any-return]


def balance(stack: Running, name: str) -> int:
    rows = map(json.loads, stack.weir("items", "balances", "--json").splitlines())
    return next((row.get("EUR", 0) for row in rows if row["account"] == name), 0)


def eventually(stack: Running, name: str, cents: int) -> None:
    deadline = time.monotonic() + 30
    while balance(stack, name) != cents:
        assert time.monotonic() < deadline, stack.output
        time.sleep(0.2)


def test_a_paused_consumer_applies_nothing_and_loses_nothing(stack: Running) -> None:
    """Paused, deliveries are accepted and wait, in flight, with their time to loss; resumed, they are applied."""
    send(stack, 3, "before")
    eventually(stack, "before", 3)
    assert "paused" in stack.weir("pause")
    send(stack, 12, "during")
    time.sleep(1.5)
    assert balance(stack, "during") == 0
    shards = lag(stack)
    assert sum(one["unread"] for one in shards) == 12
    waiting = [one for one in shards if one["unread"]]
    record_age_s = 172_800  # which is earlier than the retention
    for one in waiting:
        assert one["oldest_age_s"] > 1
        assert one["time_to_loss_s"] == pytest.approx(record_age_s - one["oldest_age_s"])
    assert sum(one["arriving_per_s"] for one in shards) * 60 == pytest.approx(15)
    assert account(stack)["in_flight"] == 12
    assert "weir resume" in stack.weir("lag")
    stack.weir("resume")
    eventually(stack, "during", 12)
    time.sleep(0.5)  # the poller saves its checkpoint now and then
    assert [one["unread"] for one in lag(stack)] == [0, 0]
    assert "nothing waits" in stack.weir("lag")
    found = account(stack)
    assert (found["acknowledged"], found["applied"], found["in_flight"], found["unaccounted"]) == (15, 15, 0, 0)


def test_draining_shows_while_the_consumer_works_off_what_waited(stack: Running) -> None:
    """After a pause the lag shows that more drains than arrives."""
    stack.weir("pause")
    send(stack, 300, "backlog")
    stack.weir("resume")
    shards = [json.loads(line) for line in stack.weir("lag", "--json", "--over", "3").splitlines()]
    drained = sum(one["draining_per_s"] for one in shards)
    assert drained > 0 or sum(one["unread"] for one in shards) == 0
    eventually(stack, "backlog", 300)


def test_the_archive_is_as_complete_as_the_stream(stack: Running) -> None:
    """What was accepted is in the archive within its buffering time, and a replay of it changes nothing."""
    send(stack, 5, "archived")
    eventually(stack, "archived", 5)
    deadline = time.monotonic() + 40
    while True:
        said = json.loads(
            stack.weir("replay", "--from", "archive", "--to", "consumer", "--source", "payments", "--json")
        )
        if said["matched"] >= account(stack)["acknowledged"] or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert said["matched"] == said["duplicate"] == account(stack)["acknowledged"]
    assert balance(stack, "archived") == 5


def test_answers_as_json_and_the_id_of_a_duplicate(stack: Running) -> None:
    """send, pause and resume print JSON alone; the request id of a duplicate finds the event it repeats."""
    # One key: deliveries of different keys may be in two shards, and then either may be the first.
    first, second = map(
        json.loads, stack.weir("send", "payments", "--key", "order-1", "--times", "2", "--json").splitlines()
    )
    assert (first["status"], first["outcome"]) == (200, "applied")
    assert second["outcome"] == f"duplicate of {first['id']}"
    assert json.loads(stack.weir("pause", "--json")) == {"paused": True}
    assert json.loads(stack.weir("resume", "--json")) == {"paused": False}
    found = json.loads(stack.weir("events", second["id"], "--json"))
    assert found["request_id"] == first["id"]
    assert second["id"] in [line["request_id"] for line in found["history"]]
    unknown = stack.call("send", "stranger", "--json")
    assert (unknown.returncode, json.loads(unknown.stdout)["status"]) == (1, 404)


def test_a_pause_outlives_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A stack that was stopped while paused comes back paused, says so, and goes on after `weir resume`."""
    home = tmp_path_factory.mktemp("restart")
    with running(home) as first:
        first.weir("secrets", "set", "payments", text=SECRET)
        first.weir("pause")
        send(first, 2, "kept")
    with running(home) as second:
        assert "the consumer is paused" in second.output
        time.sleep(1)
        assert balance(second, "kept") == 0
        second.weir("resume")
        eventually(second, "kept", 2)

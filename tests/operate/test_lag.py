"""The lag where the service keeps its checkpoints to itself, as Lambda does: found by asking the events table.

The stream and the table are real; the pauses that AWS's quotas ask for are taken by a clock of the test.
Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.infra.consumer_log import LogPart
from weir.ingest.envelope import encode
from weir.operate.lag import LagReader, ShardLag, show, with_reasons
from weir.operate.lookup.stack import EMULATOR, Service

pytestmark = pytest.mark.engine

RETENTION_S = 86_400


def reader(
    stack_env: StackEnv,
    *,
    service: Service = EMULATOR,
    record_age_s: float | None = None,
    sleep: Callable[[float], object] = lambda _: None,
) -> LagReader:
    stack = stack_env.stack()
    return LagReader(
        stack.kinesis,
        stack.stream,
        stack.statuses,
        lambda: None,
        retention_s=RETENTION_S,
        record_age_s=record_age_s,
        service=service,
        sleep=sleep,
    )


RETRIED = {"level": "WARNING", "action": "event", "outcome": "retry", "reason": "store_throttled", "event_id": "e1"}


def test_the_earlier_end_counts(stack_env: StackEnv) -> None:
    """A record is given up at the mapping's record age, which is mostly before the stream's retention."""
    stack_env.put(stack_env.payment("a", 1))
    for record_age_s, ends_s in ((3600.0, 3600.0), (2 * RETENTION_S, RETENTION_S), (None, RETENTION_S), (0.001, None)):
        found = measure(stack_env, record_age_s=record_age_s)
        assert found.oldest_age_s is not None
        expected = 0.0 if ends_s is None else ends_s - found.oldest_age_s
        assert found.time_to_loss_s == pytest.approx(expected)


def test_a_blocked_shard_says_by_what(stack_env: StackEnv) -> None:
    """The last line of a retry there; one that is old, of another shard, or of a shard that drains explains nothing."""
    stack_env.put(stack_env.payment("a", 1))
    found, now_ms = measure(stack_env), round(time.time() * 1000)

    def part(**facts: Any) -> LogPart:
        line = {**RETRIED, "shard_id": found.shard_id, "source": "payments", "at": now_ms - 1000, **facts}
        return LogPart(now_ms - 10_000, [json.dumps(line)])

    (one,) = with_reasons([found], [part(), part(at=now_ms - 5000, event_id="e0")], now_ms)
    assert one.blocked is not None
    assert one.as_dict()["blocked"] == {
        "source": "payments",
        "event_id": "e1",
        "request_id": None,
        "reason": "store_throttled",
        "detail": None,
        "at": now_ms - 1000,
    }
    assert "is blocked: store_throttled at e1 of payments, tried" in "\n".join(show([one]))
    for other in (part(at=now_ms - 600_000), part(shard_id="shardId-9"), part(outcome="applied")):
        assert with_reasons([found], [other], now_ms)[0].blocked is None
    draining = replace(found, draining_per_s=1.0)
    assert with_reasons([draining], [part()], now_ms)[0].blocked is None


def measure(stack_env: StackEnv, **options: Any) -> ShardLag:
    (shard,) = reader(stack_env, **options).measure(0)
    return shard


def test_nothing_waits_in_a_stream_that_is_empty_or_done(stack_env: StackEnv) -> None:
    """Without a record, and with an outcome of each, nothing is unread and no loss draws near."""
    for _ in range(2):
        found = measure(stack_env)
        assert (found.unread, found.oldest_age_s, found.time_to_loss_s) == (0, None, None)
        assert show([found])[-1] == "nothing waits to be read"
        stack_env.put(stack_env.payment("a", 1), stack_env.delivery({"type": "other"}), b"not an envelope")
        stack_env.consume()


def test_the_first_record_without_an_outcome_is_found(stack_env: StackEnv) -> None:
    """What is done stands before it, in the same second or long before: all behind it is unread."""
    stack_env.put(*(stack_env.payment("a", 1) for _ in range(7)))
    stack_env.consume()
    time.sleep(1.2)  # beyond the precision of the search
    before_s = time.time()
    stack_env.put(*(stack_env.payment("a", 1) for _ in range(4)))
    stack_env.consume(limit=3)
    found = measure(stack_env)
    assert (found.unread, found.unread_is_more) == (1, False)
    assert found.oldest_age_s is not None
    assert found.time_to_loss_s == pytest.approx(RETENTION_S - found.oldest_age_s)
    assert found.oldest_age_s <= time.time() - before_s + 1
    assert found.arriving_per_s == pytest.approx(11 / 60)


def test_what_drains_between_two_measurements_is_counted(stack_env: StackEnv) -> None:
    """The consumer does three of five records while the reader waits; the rate is over the time that it took."""
    stack_env.put(*(stack_env.payment("a", 1) for _ in range(5)))

    def drain(_: float) -> None:
        stack_env.consume(limit=3)

    (found,) = reader(stack_env, sleep=drain).measure(1.0)
    assert found.unread == 2
    assert found.draining_per_s > 0


def test_a_delivery_in_an_aggregate_counts_as_its_record_does(stack_env: StackEnv) -> None:
    """A record of many deliveries is open until each of them has an outcome."""
    stack_env.put(*(stack_env.payment("a", 1) for _ in range(3)))
    stack_env.consume()
    stack_env.weir("replay", "--from", "stream", "--to", "stream")
    assert measure(stack_env).unread == 0  # the copies are known by their marks
    late = [encode(stack_env.payment("b", 1, key="b")) for _ in range(3)]
    file = stack_env.home / "late.jsonl"
    file.write_bytes(b"".join(late))
    stack_env.weir("replay", "--from", str(file), "--to", "stream")
    unread = [measure(stack_env).unread]
    for number, line in enumerate(late):
        one = stack_env.home / f"{number}.jsonl"
        one.write_bytes(line)
        stack_env.weir("replay", "--from", str(one), "--to", "consumer")
        unread.append(measure(stack_env).unread)
    assert unread == [1, 1, 1, 0]


def test_reads_are_spaced_as_the_quota_of_a_shard_asks(stack_env: StackEnv) -> None:
    """With two reads a second each GetRecords waits half a second before."""
    stack_env.put(stack_env.payment("a", 1))
    waits: list[float] = []
    measure(stack_env, service=replace(EMULATOR, reads_per_s=2.0), sleep=waits.append)
    assert len(waits) > 3
    assert set(waits) <= {0.5, 0}


def test_the_time_that_is_used_up_is_that_of_the_oldest(stack_env: StackEnv) -> None:
    """Nothing unread has used none of it, whether or not anything reads; what is older than all of it has used all."""
    assert reader(stack_env, record_age_s=100.0).used_up() == 0
    stack_env.put(stack_env.payment("a", 1))
    time.sleep(0.05)
    used = reader(stack_env, record_age_s=100.0).used_up()
    assert 0.05 / 100 <= used < 1
    assert reader(stack_env, record_age_s=0.01).used_up() == 1
    stack_env.consume()
    assert reader(stack_env, record_age_s=100.0).used_up() == 0

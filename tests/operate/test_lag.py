"""The lag where the service keeps its checkpoints to itself, as Lambda does: found by asking the events table.

The stream and the table are real; the pauses that AWS's quotas ask for are taken by a clock of the test.
Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.ingest.envelope import encode
from weir.operate.lag import LagReader, ShardLag, show
from weir.operate.lookup.stack import EMULATOR, Service

pytestmark = pytest.mark.engine

RETENTION_S = 86_400


def reader(
    stack_env: StackEnv, *, service: Service = EMULATOR, sleep: Callable[[float], object] = lambda _: None
) -> LagReader:
    stack = stack_env.stack()
    return LagReader(
        stack.kinesis,
        stack.stream,
        stack.statuses,
        lambda: None,
        retention_s=RETENTION_S,
        service=service,
        sleep=sleep,
    )


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

"""Parents before children: the poller on streams that are split and merged while it works."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import aws
from tests.support.streams import Consumer, StreamUnderTest, data_of, eventually, stream
from weir.infra.local.engine.engine import Engine
from weir.infra.local.engine_client.aws_json import AwsError

LOCALSTACK = os.environ.get("LOCALSTACK_ENDPOINT", "")
MIDDLE = 1 << 127


class PatchedEngine(Engine):
    """The engine with its Kinesis patched, however its process is started."""

    def _environment(self) -> dict[str, str]:
        hook = self.state / "hook"
        hook.mkdir(parents=True, exist_ok=True)
        (hook / "sitecustomize.py").write_text(
            "import weir.infra.local.engine.kinesis_patches as patches\npatches.install()\n"
        )
        environment = super()._environment()
        return environment | {"PYTHONPATH": f"{hook}{os.pathsep}{environment['PYTHONPATH']}"}


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    started = PatchedEngine(tmp_path_factory.mktemp("patched"), access_key=aws.ACCESS_KEY)
    started.start()
    yield started
    started.stop()


def key_of(text: str) -> str:
    return text.partition(":")[0]


async def active(made: StreamUnderTest) -> None:
    for _ in range(200):
        summary = await made.call("DescribeStreamSummary")
        if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
            return
        await asyncio.sleep(0.05)


async def split_and_merge(made: StreamUnderTest, put: Any) -> None:
    """Split the only shard, put, merge its children again, put."""
    (parent,) = await made.shard_ids()
    await made.call("SplitShard", ShardToSplit=parent, NewStartingHashKey=str(MIDDLE))
    await active(made)
    await put()
    one, other = (await made.shard_ids())[-2:]
    await made.call("MergeShards", ShardToMerge=one, AdjacentShardToMerge=other)
    await active(made)
    await put()


@asynccontextmanager
async def in_order(made: StreamUnderTest) -> AsyncIterator[tuple[Consumer, Any]]:
    """Give a slow consumer that checks the order of every key, and a function that puts 120 more records."""
    dice, number = random.Random(3), 0
    last: dict[str, int] = defaultdict(lambda: -1)
    wrong: list[str] = []

    async def behave(records: list[dict[str, Any]]) -> None:
        await asyncio.sleep(0.02)
        if dice.random() < 0.2:
            raise RuntimeError("again")
        for text in map(data_of, records):
            key, _, count = text.partition(":")
            if int(count) > last[key]:
                if int(count) != last[key] + 20:
                    wrong.append(f"{text} after {last[key]}")
                last[key] = int(count)

    async def put() -> None:
        nonlocal number
        await made.put([f"{each % 20}:{each}" for each in range(number, number + 120)], key_of)
        number += 120

    for key in range(20):
        last[str(key)] = key - 20
    consumer = Consumer(behave)
    yield consumer, put
    await eventually(lambda: len(set(consumer.seen)) == number, within_s=30)
    await eventually(lambda: all(last[str(key)] >= number - 20 for key in range(20)))
    assert wrong == []


async def resharded(made: StreamUnderTest) -> None:
    """Everything put before, between and after a split and a merge arrives in order per key, over a restart too."""
    properties = {"BatchSize": 10, "ParallelizationFactor": 2, "BisectBatchOnFunctionError": True}
    async with in_order(made) as (consumer, put):
        await put()
        async with made.polled(consumer, **properties):
            await eventually(lambda: consumer.batches)
            await split_and_merge(made, put)
        async with made.polled(consumer, **properties) as poller:
            await eventually(lambda: len(set(consumer.seen)) == 360, within_s=30)
            newest = (await made.shard_ids())[-1]
            await eventually(lambda: [shard.shard_id for shard in poller.lag()] == [newest], within_s=30)
            await eventually(lambda: poller.lag()[0].records_in_flight == 0)


@pytest.mark.engine
async def test_parents_are_read_to_their_end_before_children(patched: Engine, tmp_path: Path) -> None:
    """A split and a merge with a backlog in every shard, and a restart in the middle, cost no record and no order."""
    async with stream(patched.endpoint, tmp_path) as made:
        await resharded(made)
        assert len(await made.shard_ids()) == 4  # closed shards stay until their records expire
        summary = (await made.call("DescribeStreamSummary"))["StreamDescriptionSummary"]
        assert summary["OpenShardCount"] == 1


@pytest.mark.localstack
@pytest.mark.skipif(not LOCALSTACK, reason="LOCALSTACK_ENDPOINT names no LocalStack")
async def test_parents_are_read_before_children_on_localstack(tmp_path: Path) -> None:
    """The same on LocalStack's Kinesis, an independent implementation of resharding."""
    async with stream(LOCALSTACK, tmp_path) as made:
        await resharded(made)


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["patched", "engine"])
async def test_children_wait_for_the_batch_in_flight_of_their_parent(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A child is not started while a batch of its parent still runs, the parent being read to its end or gone."""
    running: Engine = request.getfixturevalue(kind)
    gate = asyncio.Event()

    async def behave(records: list[dict[str, Any]]) -> None:
        if data_of(records[0]).startswith("parent"):
            await gate.wait()

    consumer = Consumer(behave)
    async with stream(running.endpoint, tmp_path) as made:
        await made.put(["parent"])
        async with made.polled(consumer):
            await eventually(lambda: consumer.batches)
            (parent,) = await made.shard_ids()
            await made.call("SplitShard", ShardToSplit=parent, NewStartingHashKey=str(MIDDLE))
            await made.put(["child 1", "child 2", "child 3"])
            await asyncio.sleep(0.4)
            assert consumer.seen == ["parent"]
            gate.set()
            await eventually(lambda: len(consumer.seen) == 4)


@pytest.mark.engine
async def test_update_shard_count_keeps_what_is_in_the_old_shards(patched: Engine, tmp_path: Path) -> None:
    """Doubling and halving the shards of a stream with a backlog loses nothing; nor does any other count."""
    async with stream(patched.endpoint, tmp_path, shards=2) as made:
        async with in_order(made) as (consumer, put):
            await put()
            await made.call("UpdateShardCount", TargetShardCount=4, ScalingType="UNIFORM_SCALING")
            await put()
            async with made.polled(consumer, BatchSize=10):
                await made.call("UpdateShardCount", TargetShardCount=2, ScalingType="UNIFORM_SCALING")
                await put()
                await eventually(lambda: len(set(consumer.seen)) == 360, within_s=30)
            async with made.polled(consumer, BatchSize=10):
                for count in (5, 3, 7, 1):
                    await made.call("UpdateShardCount", TargetShardCount=count)
                    await put()
                await eventually(lambda: len(set(consumer.seen)) == 840, within_s=30)
        with pytest.raises(AwsError, match="is closed already"):
            await made.call("SplitShard", ShardToSplit="shardId-000000000000", NewStartingHashKey="1")


@pytest.mark.engine
async def test_a_shard_that_vanishes_does_not_hold_up_its_children(engine: Engine, tmp_path: Path) -> None:
    """On an engine that deletes a parent outright, or after its retention, what was read is done and children go on."""
    consumer = Consumer()
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("ab")
        async with made.polled(consumer):
            await eventually(lambda: len(consumer.seen) == 2)
            (parent,) = await made.shard_ids()
            await made.call("SplitShard", ShardToSplit=parent, NewStartingHashKey=str(MIDDLE))
            await made.put("cdef")
            await eventually(lambda: len(consumer.seen) == 6)
    assert sorted(consumer.seen) == list("abcdef")

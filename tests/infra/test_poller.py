"""The poller on the real engine: order, batches, restarts."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support import aws
from tests.support.streams import FAST, Consumer, data_of, eventually, failing_from, stream
from weir.infra.local.engine.engine import Engine
from weir.infra.local.engine_client.stream_calls import Stream
from weir.infra.local.function.invocations import InvocationResult

pytestmark = pytest.mark.engine


def key_of(text: str) -> str:
    return text.partition(":")[0]


async def test_every_record_is_delivered_in_order(engine: Engine, tmp_path: Path) -> None:
    """Records of several shards arrive once each, in order within their shard, as Lambda's events."""
    consumer = Consumer()
    async with stream(engine.endpoint, tmp_path, shards=3) as made:
        texts = [f"{number % 7}:{number}" for number in range(1200)]
        await made.put(texts, key_of)
        async with made.polled(consumer, BatchSize=100) as poller:
            await eventually(lambda: len(consumer.seen) >= 1200)
            await eventually(lambda: all(shard.lag_ms == 0 for shard in poller.lag()))
    assert sorted(consumer.seen) == sorted(texts)
    for key in "0123456":
        assert [text for text in consumer.seen if key_of(text) == key] == [
            text for text in texts if key_of(text) == key
        ]
    assert all(len(batch) <= 100 for batch in consumer.batches)
    first = consumer.events[0]["Records"][0]
    assert first["eventID"] == f"{first['eventID'].partition(':')[0]}:{first['kinesis']['sequenceNumber']}"
    assert first["eventSourceARN"] == made.arn
    assert isinstance(first["kinesis"]["approximateArrivalTimestamp"], float)


async def test_order_per_key_holds_under_parallel_batches_and_random_failures(engine: Engine, tmp_path: Path) -> None:
    """With 4 lanes a shard and errors, partial responses and throttles at random, every key is done in order."""
    dice = random.Random(11)
    done: dict[str, list[str]] = defaultdict(list)
    running: set[str] = set()
    shared: set[str] = set()
    most = 0

    async def behave(records: list[dict[str, Any]]) -> Any:
        nonlocal most
        keys = {key_of(data_of(record)) for record in records}
        shared.update(keys & running)
        running.update(keys)
        most = max(most, len(running))
        await asyncio.sleep(dice.random() * 0.01)
        running.difference_update(keys)
        lot = dice.random()
        upto = len(records) if lot > 0.6 else dice.randrange(len(records))
        for record in records[:upto]:
            text = data_of(record)
            if text not in done[key_of(text)]:
                done[key_of(text)].append(text)
        if upto == len(records):
            return None
        if lot < 0.2:
            raise RuntimeError("half done")
        return InvocationResult(429, "") if lot < 0.3 else failing_from(records[upto])

    consumer = Consumer(behave)
    async with stream(engine.endpoint, tmp_path, shards=2) as made:
        texts = [f"{number % 40}:{number}" for number in range(1000)]
        await made.put(texts, key_of)
        properties: dict[str, Any] = {"BatchSize": 20, "ParallelizationFactor": 4, "BisectBatchOnFunctionError": True}
        async with made.polled(consumer, FunctionResponseTypes=["ReportBatchItemFailures"], **properties):
            await eventually(lambda: sum(map(len, done.values())) == 1000, within_s=30)
    assert shared == set(), "two batches held the same key at once"
    for key, found in done.items():
        assert found == [text for text in texts if key_of(text) == key]
    assert most > 20  # keys of more than one batch at once, or this shows nothing
    assert {"done", "partial", "failed", "not_reached"} <= set(made.outcomes())


async def test_a_restart_resumes_and_skips_nothing(engine: Engine, tmp_path: Path) -> None:
    """Stopped and killed pollers resume from their checkpoints: everything arrives, what was done before only once."""
    dice = random.Random(5)

    async def behave(records: list[dict[str, Any]]) -> Any:
        await asyncio.sleep(dice.random() * 0.02)
        if dice.random() < 0.2:
            raise RuntimeError

    consumer = Consumer(behave)
    async with stream(engine.endpoint, tmp_path, shards=2) as made:
        texts = [str(number) for number in range(900)]
        for start in range(0, 900, 300):
            await made.put(texts[start : start + 300])
            async with made.polled(consumer, BatchSize=25, ParallelizationFactor=3):
                await asyncio.sleep(0.15)
        # A kill: nothing is saved at the end, what the last save says is all there is.
        poller = made.poller(consumer, {"BatchSize": 25, "ParallelizationFactor": 3})
        running = asyncio.create_task(poller.run())
        await asyncio.sleep(0.1)
        kept = (tmp_path / f"{made.name}.json").read_bytes()
        running.cancel()
        await asyncio.wait({running})
        (tmp_path / f"{made.name}.json").write_bytes(kept)
        async with made.polled(consumer, BatchSize=25, ParallelizationFactor=3):
            await eventually(lambda: set(consumer.seen) == set(texts))
            await eventually(lambda: "done" in made.outcomes() and not any(s.lag_ms for s in poller.lag()))
        before = len(consumer.batches)
        async with made.polled(consumer, BatchSize=25, ParallelizationFactor=3):
            await eventually(lambda: set(consumer.seen) == set(texts))
            await asyncio.sleep(0.2)
    assert set(consumer.seen) == set(texts)
    assert len(consumer.batches) - before <= 6  # at most what was in flight at the stop


async def test_a_checkpoint_waits_for_the_slowest_lane(engine: Engine, tmp_path: Path) -> None:
    """While one lane is stuck, the others go on and the checkpoint stays at the stuck record."""
    texts = [f"{number % 10}:{number}" for number in range(200)]

    def behave(records: list[dict[str, Any]]) -> Any:
        return failing_from(records[0]) if any(data_of(r) == "3:13" for r in records) else None

    consumer = Consumer(behave)
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put(texts, key_of)
        properties = {"BatchSize": 1, "ParallelizationFactor": 10, "FunctionResponseTypes": ["ReportBatchItemFailures"]}
        async with made.polled(consumer, **properties) as poller:
            await eventually(lambda: len(set(consumer.seen)) > 100 and consumer.seen.count("3:13") > 3)
            assert poller.lag()[0].records_in_flight >= 1
            assert poller.lag()[0].lag_ms > 0
        state = json.loads((tmp_path / f"{made.name}.json").read_text())
        (shard,) = state["shards"].values()
        stuck = next(
            record["kinesis"]["sequenceNumber"]
            for event in consumer.events
            for record in event["Records"]
            if data_of(record) == "3:13"
        )
        assert shard["position"]["kind"] == "AT_SEQUENCE_NUMBER"
        assert shard["position"]["sequence_number"] == stuck
        consumer.behave = lambda records: None
        consumer.batches.clear()
        async with made.polled(consumer, **properties):
            await eventually(lambda: "3:13" in consumer.seen and "9:199" in consumer.seen)
    assert "2:12" not in consumer.seen


async def test_a_window_gathers_records(engine: Engine, tmp_path: Path) -> None:
    """A batch waits for its window, or for its size, whichever comes first."""
    consumer = Consumer()
    async with (
        stream(engine.endpoint, tmp_path) as made,
        made.polled(consumer, BatchSize=5, MaximumBatchingWindowInSeconds=1),
    ):
        await made.put("a")
        await asyncio.sleep(0.3)
        await made.put("bc")
        assert consumer.batches == []
        await eventually(lambda: consumer.batches, within_s=3)
        assert consumer.batches == [["a", "b", "c"]]
        await made.put("defghi")
        await eventually(lambda: len(consumer.batches) == 2, within_s=0.8)
    assert consumer.batches[1] == list("defgh")


async def test_a_batch_closes_at_6_mb(engine: Engine, tmp_path: Path) -> None:
    """Records of 1 MiB, a third larger in base64, go four at a time: the event never exceeds 6 MB."""
    consumer = Consumer(lambda records: None)
    async with stream(engine.endpoint, tmp_path) as made:
        for number in range(10):
            await made.put([f"{number}" + "x" * (1024 * 1024 - 1)], lambda text: text[0])
        async with made.polled(consumer, BatchSize=100):
            await eventually(lambda: len(consumer.seen) == 10)
    sizes = [len(json.dumps(event, separators=(",", ":"))) for event in consumer.events]
    assert max(sizes) <= 6 * 1024 * 1024
    assert [len(batch) for batch in consumer.batches][:2] == [4, 4]
    assert [text[0] for text in consumer.seen] == list("0123456789")


async def test_latest_means_from_now_on(engine: Engine, tmp_path: Path) -> None:
    """LATEST leaves out what was there before, and a restart before the first record does not move it."""
    consumer = Consumer()
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("ab")
        await asyncio.sleep(0.01)
        async with made.polled(consumer, StartingPosition="LATEST") as poller:
            await eventually(poller.lag)
            await asyncio.sleep(0.1)
        await made.put("cd")
        async with made.polled(consumer, StartingPosition="LATEST"):
            await eventually(lambda: consumer.seen == ["c", "d"])


async def test_filtered_records_never_reach_the_function(engine: Engine, tmp_path: Path) -> None:
    """What the filter does not want is passed over, and the checkpoint with it."""
    consumer = Consumer()
    pattern = json.dumps({"data": {"type": ["paid"]}})
    criteria = {"Filters": [{"Pattern": pattern}]}
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put(
            ['{"type":"paid","n":1}', "no json", '{"type":"other"}', '{"type":"paid","n":2}', '{"type":"x"}']
        )
        async with made.polled(consumer, FilterCriteria=criteria):
            await eventually(lambda: len(consumer.seen) == 2)
            await asyncio.sleep(0.1)
        async with made.polled(consumer, FilterCriteria=criteria):
            await asyncio.sleep(0.2)
    assert consumer.seen == ['{"type":"paid","n":1}', '{"type":"paid","n":2}']


async def test_a_disabled_mapping_reads_nothing(engine: Engine, tmp_path: Path) -> None:
    """Enabled false polls nothing and stops like any other."""
    consumer = Consumer()
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("a")
        async with made.polled(consumer, Enabled=False):
            await asyncio.sleep(0.2)
    assert consumer.seen == []


async def test_stopping_waits_for_the_invocation_in_flight(engine: Engine, tmp_path: Path) -> None:
    """stop() lets a running batch end and checkpoints it; beyond the grace time it is cut off and comes again."""

    async def slowly(_: list[dict[str, Any]]) -> None:
        await asyncio.sleep(0.3)

    consumer = Consumer(slowly)
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("abc")
        async with made.polled(consumer, BatchSize=1):
            await eventually(lambda: consumer.batches)
        assert made.outcomes() == ["done"]
        poller = made.poller(consumer, {"BatchSize": 1})
        running = asyncio.create_task(poller.run())
        await eventually(lambda: len(consumer.batches) == 2)
        await poller.stop(grace_s=0.01)
        await running
        consumer.behave = lambda records: None
        async with made.polled(consumer, BatchSize=1):
            await eventually(lambda: len(consumer.batches) == 4)
    assert consumer.seen == ["a", "b", "b", "c"]


async def test_a_stream_made_anew_is_read_from_its_start(engine: Engine, tmp_path: Path) -> None:
    """A checkpoint of an earlier stream of the same name is not used for the new one."""
    consumer = Consumer()
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("ab")
        async with made.polled(consumer):
            await eventually(lambda: len(consumer.seen) == 2)
        path = tmp_path / f"{made.name}.json"
        path.write_text(path.read_text().replace('"AFTER_SEQUENCE_NUMBER"', '"SHARD_END"'))
        state = json.loads(path.read_text())
        state["stream"]["created_at_s"] -= 60
        path.write_text(json.dumps(state))
        async with made.polled(consumer):
            await eventually(lambda: len(consumer.seen) == 4)
        path.write_text("{ damaged")
        async with made.polled(consumer):
            await eventually(lambda: len(consumer.seen) == 6)


async def test_an_engine_that_is_away_is_waited_for(engine: Engine, tmp_path: Path) -> None:
    """A poller that starts before its engine says so once, and works when the engine comes."""
    own = Engine(tmp_path / "engine", access_key=aws.ACCESS_KEY)
    consumer = Consumer()
    async with stream(engine.endpoint, tmp_path) as made:
        poller = made.poller(consumer, {}, endpoint=own.endpoint)
        running = asyncio.create_task(poller.run())
        await eventually(lambda: made.notices)
        await asyncio.sleep(0.2)
        assert len(made.notices) == 1
        assert "EndpointUnreachable" in made.notices[0]
        await asyncio.to_thread(own.start)
        try:
            async with stream(own.endpoint, tmp_path) as other:
                await other.client.call("Kinesis_20131202.CreateStream", {"StreamName": made.name, "ShardCount": 1})
                body = {"StreamName": made.name, "PartitionKey": "k", "Data": "eA=="}
                await other.client.call("Kinesis_20131202.PutRecord", body)
                await eventually(lambda: consumer.seen == ["x"])
                await poller.stop()
                await running
        finally:
            await asyncio.to_thread(own.stop)


async def test_a_wide_stream_is_read_whole(engine: Engine, tmp_path: Path) -> None:
    """Every shard is found, also when ListShards answers in pages."""
    consumer = Consumer()
    async with stream(engine.endpoint, tmp_path, shards=12) as made:
        ids = await made.shard_ids()
        paged = await Stream(made.client, made.arn).shards(page_shards=5)
        assert [shard.id for shard in paged] == ids
        texts = [str(number) for number in range(200)]
        await made.put(texts)
        async with made.polled(consumer) as poller:
            await eventually(lambda: len(consumer.seen) == 200)
            assert [shard.shard_id for shard in poller.lag()] == ids
    assert all(later > earlier for earlier, later in pairwise(ids))
    assert sorted(consumer.seen) == sorted(texts)


def test_backoff_grows_to_its_limit() -> None:
    """The wait after failed tries doubles up to the limit."""
    assert [FAST.backoff(stalls) for stalls in (1, 2, 3, 4, 5, 100)] == [0.01, 0.02, 0.04, 0.08, 0.1, 0.1]

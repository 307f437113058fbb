"""The poller with real functions: what a dying, hanging or greedy handler does to a batch."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.streams import Bucket, eventually, stream
from weir.infra.local.engine.engine import Engine
from weir.infra.local.function.function import Function

pytestmark = pytest.mark.engine

# Notes each record that it has done in a file of its own process; some records make it misbehave once, or always.
CODE = """
import base64, os, pathlib, time

done = pathlib.Path(os.environ["DONE"]) / str(os.getpid())
once = pathlib.Path(os.environ["DONE"]) / "once"

def handler(event, context):
    for record in event["Records"]:
        text = base64.b64decode(record["kinesis"]["data"]).decode()
        first = not once.exists()
        if text in ("killed", "hangs", "grows") and first:
            once.touch()
            if text == "killed":
                os.kill(os.getpid(), 9)
            if text == "hangs":
                time.sleep(60)
            kept = []
            while text == "grows":
                kept.append(bytearray(8 << 20))
                time.sleep(0.01)
        if text == "poison":
            return {"batchItemFailures": [{"itemIdentifier": record["kinesis"]["sequenceNumber"]}]}
        with done.open("a") as file:
            file.write(text + "\\n")
        time.sleep(float(os.environ.get("PAUSE_S", "0")))
    return {"batchItemFailures": []}
"""
REPORTED = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


@asynccontextmanager
async def handler(tmp_path: Path, *, pause_s: float = 0, **options: Any) -> AsyncIterator[Function]:
    (tmp_path / "business.py").write_text(CODE)
    (tmp_path / "done").mkdir()
    environment = {"DONE": str(tmp_path / "done"), "PAUSE_S": str(pause_s)}
    made = Function("business.handler", environment, root=tmp_path, log_path=tmp_path / "log", **options)
    try:
        yield made
    finally:
        await made.close()


def done(tmp_path: Path) -> Counter[str]:
    files = [path for path in (tmp_path / "done").iterdir() if path.name != "once"]
    return Counter(line for path in files for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("poison", "kind"),
    [("killed", "Runtime.ExitError"), ("hangs", "Sandbox.Timedout"), ("grows", "Runtime.OutOfMemory")],
)
async def test_a_batch_whose_process_dies_comes_again(engine: Engine, tmp_path: Path, poison: str, kind: str) -> None:
    """A handler killed, timed out or out of memory in mid-batch has the whole batch again, in a new process."""
    async with handler(tmp_path, timeout_s=1, memory_mb=100) as function, stream(engine.endpoint, tmp_path) as made:
        await made.put(["a", poison, "b"])
        async with made.polled(function.invoke, BatchSize=10, **REPORTED):
            await eventually(lambda: "b" in done(tmp_path))
            await eventually(lambda: "done" in made.outcomes())
    assert made.outcomes() == ["failed", "done"]
    assert str(made.reports[0].error).startswith(kind)
    assert done(tmp_path) == {"a": 2, poison: 1, "b": 1}


async def test_handlers_killed_at_random_lose_nothing(engine: Engine, tmp_path: Path) -> None:
    """Six kills -9 of whatever process is there, in the middle of 400 records, cost repetitions and no record."""
    dice = random.Random(2)
    texts = [str(number) for number in range(400)]
    async with (
        handler(tmp_path, pause_s=0.002, timeout_s=10, memory_mb=500) as function,
        stream(engine.endpoint, tmp_path, shards=2) as made,
    ):
        await made.put(texts)
        async with made.polled(function.invoke, BatchSize=25, ParallelizationFactor=2, **REPORTED):
            for _ in range(6):
                await asyncio.sleep(0.05)
                await eventually(lambda: function.environment_pids)
                os.kill(dice.choice(function.environment_pids), signal.SIGKILL)
            await eventually(lambda: set(done(tmp_path)) == set(texts), within_s=30)
    assert "failed" in made.outcomes()


async def test_a_poison_record_reported_by_the_handler_is_kept(engine: Engine, tmp_path: Path) -> None:
    """A record reported again and again goes to S3 with what follows it in its batch; the shard goes on behind it."""
    bucket = Bucket(engine.endpoint)
    properties = REPORTED | {"DestinationConfig": {"OnFailure": {"Destination": bucket.arn}}}
    async with handler(tmp_path, timeout_s=10, memory_mb=500) as function, stream(engine.endpoint, tmp_path) as made:
        await made.put(["a", "b", "poison", "c", "d"])
        async with made.polled(function.invoke, BatchSize=4, MaximumRetryAttempts=1, **properties):
            await eventually(lambda: "d" in done(tmp_path))
    assert bucket.payloads() == ["poison", "c"]
    (document,) = bucket.documents().values()
    assert document["responseContext"]["functionError"] is None
    assert done(tmp_path) == {"a": 1, "b": 1, "d": 1}


async def test_a_throttled_function_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    """Less reserved concurrency than lanes is waiting, not failing, even without a retry."""
    texts = [str(number) for number in range(60)]
    async with (
        handler(tmp_path, pause_s=0.001, timeout_s=10, memory_mb=500, reserved_concurrency=1) as function,
        stream(engine.endpoint, tmp_path) as made,
    ):
        await made.put(texts)
        async with made.polled(function.invoke, BatchSize=5, ParallelizationFactor=4, MaximumRetryAttempts=0):
            await eventually(lambda: set(done(tmp_path)) == set(texts), within_s=30)
        assert len(function.environment_pids) == 1
    assert "not_reached" in made.outcomes()
    assert "discarded" not in made.outcomes()
    assert done(tmp_path) == Counter(texts)


async def test_stopping_leaves_a_checkpoint_behind_the_batch_in_flight(engine: Engine, tmp_path: Path) -> None:
    """Stopped in mid-batch with time enough, the batch ends, is checkpointed and does not come again."""
    async with (
        handler(tmp_path, pause_s=0.1, timeout_s=10, memory_mb=500) as function,
        stream(engine.endpoint, tmp_path) as made,
    ):
        await made.put(["a", "b", "c", "d", "e"])
        async with made.polled(function.invoke, BatchSize=3):
            await eventually(lambda: "a" in done(tmp_path))
        assert done(tmp_path) == {"a": 1, "b": 1, "c": 1}
        (shard,) = json.loads((tmp_path / f"{made.name}.json").read_text())["shards"].values()
        assert shard["position"]["kind"] == "AT_SEQUENCE_NUMBER"  # d was read and waits
        async with made.polled(function.invoke, BatchSize=3):
            await eventually(lambda: "e" in done(tmp_path))
    assert done(tmp_path) == dict.fromkeys("abcde", 1)

"""A consumer is killed at every point between two calls of a commit, and the batch is read again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from functools import cache
from pathlib import Path

import pytest

from tests.support.batches import of_record, run
from tests.support.crash_child import batch, earlier, records
from tests.support.model import Model, plain
from tests.support.stores import RealBench, real_bench
from weir.infra.local.engine.engine import Engine

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
NEVER = 10_000


@cache
def bench_of(endpoint: str) -> RealBench:
    return real_bench(endpoint)


def consume(bench: RealBench, key: str, point: int, concurrency: int) -> subprocess.CompletedProcess[str]:
    """Let a process of its own commit the batch, to be killed at a point."""
    command = [sys.executable, "-m", "tests.support.crash_child"]
    arguments = [bench.endpoint, bench.prefix, key, str(point), str(concurrency)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def prepare(bench: RealBench, key: str) -> None:
    """Write what came before the batch."""
    assert {result.outcome for result in run([of_record(one) for one in earlier(key)], bench.store).results} == {
        "applied"
    }


def check(bench: RealBench, key: str) -> None:
    """Read the batch again: outcomes and tables are those of the exact model."""
    report = run(batch(key), bench.store, concurrency=4)
    before, those = earlier(key), records(key)
    model = Model().apply_all([*before, *those])
    assert [result.outcome for result in report.results] == model.outcomes[len(before) :]
    for table in ("balances", "things"):
        stored = {name: plain(item) for name, item in bench.items(table).items() if name.startswith(key)}
        assert stored == model.tables[table]
    events = {name: item["outcome"]["S"] for name, item in bench.items("events").items() if key in name}
    expected = {
        f"shop!{one.request_id}" if outcome == "quarantined" else f"shop#{one.event_id}": outcome
        for one, outcome in zip([*before, *those], model.outcomes, strict=True)
        if outcome != "duplicate"
    }
    assert {name: outcome for name, outcome in events.items() if outcome != "fenced"} == expected


@pytest.mark.parametrize(("concurrency", "every"), [(1, 1), (4, 3)])
def test_a_kill_between_any_two_calls_changes_nothing(engine: Engine, concurrency: int, every: int) -> None:
    """Whatever the point of death, the batch read again ends in the one right table, each record with its outcome."""
    bench = bench_of(engine.endpoint)
    whole = f"w{uuid.uuid4().hex[:8]}"
    prepare(bench, whole)
    finished = consume(bench, whole, NEVER, concurrency)
    assert finished.returncode == 0, finished.stderr
    points_count = int(finished.stdout)
    assert points_count >= 2 * 8
    check(bench, whole)
    points, killed = range(0, points_count, every), 0
    for point in points:
        key = f"k{uuid.uuid4().hex[:8]}"
        prepare(bench, key)
        died = consume(bench, key, point, concurrency).returncode
        # With several calls at once their number may differ by some; the last points may lie behind the end.
        assert died in {-signal.SIGKILL, 0}
        killed += died != 0
        check(bench, key)
    assert killed >= len(points) - 2

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest import pacer, results
from loadtest.attack import Limits
from loadtest.mix import Mix
from loadtest.plan import Timing
from loadtest.run import conduct
from tests.support.load import plan


@pytest.fixture
def null_server() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest.null_server", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process.stdout.readline().split()[1]
        process.terminate()


def test_a_run_sends_all_in_time(null_server: str, tmp_path: Path) -> None:
    """Every planned request is sent once and answered, by several workers, at its time, and the file can be read."""
    planned = plan(f"{null_server}/v1", Timing("poisson", pacer.constant(500, 2)), mix=Mix(duplicates=0.1))
    run = conduct(planned, Limits(), tmp_path / "results.jsonl", workers=2)
    count = sum(1 for _ in pacer.poisson(pacer.constant(500, 2), planned.seed))
    assert sorted(result.seq for result in run.results) == list(range(count))
    assert Counter(result.status for result in run.results) == {200: count}
    lags = sorted(result.send_lag_ms for result in run.results)
    assert lags[0] >= 0
    assert lags[len(lags) // 2] < 10
    assert run.end is not None
    assert run.end["sent"] == run.end["attempts"] == count
    assert run.header["workers"] == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "results.jsonl"]


def test_saturation_sends_as_fast_as_answers_come(null_server: str, tmp_path: Path) -> None:
    """Without a rate the driver keeps its connections busy for the time given, then stops."""
    planned = plan(f"{null_server}/v1", Timing("saturate", duration_s=1))
    run = conduct(planned, Limits(connections=8, send_for_s=1.0), tmp_path / "results.jsonl")
    assert run.end is not None
    assert run.end["most_open"] <= 8
    assert run.end["unsent"] > 0
    # Far above what the embedded gateway takes; how far is printed by `weir load figures`.
    assert len(run.accepted) > 3000


def test_a_results_file_that_was_cut_can_be_read(tmp_path: Path) -> None:
    """A line cut in the middle, as by a full disk, ends the file; what stands before it counts."""
    path = tmp_path / "results.jsonl"
    path.write_text(results.header("r", 1) + '{"seq": 1, "ki', encoding="utf-8")
    run = results.read(path)
    assert (run.name, run.results, run.end) == ("r", (), None)

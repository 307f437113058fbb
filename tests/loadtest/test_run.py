from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support import load_env
from tests.support.load import plan
from weir.ingest.errors import OptionInvalid
from weir.loadtest.sending import pacer, results
from weir.loadtest.sending.attack import Limits
from weir.loadtest.sending.mix import Mix
from weir.loadtest.sending.plan import Timing
from weir.loadtest.sending.run import conduct


@pytest.fixture
def null_server() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "weir.loadtest.bench.null_server", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
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
    planned = plan(f"{null_server}/v1", Timing("saturate", duration_s=0.5))
    run = conduct(planned, Limits(connections=8, send_for_s=0.5, ahead_count=20_000), tmp_path / "results.jsonl")
    assert run.end is not None
    assert run.end["most_open"] <= 8
    sent_at_ms = [result.sent_at_ms for result in run.results]
    assert 400 <= max(sent_at_ms) - min(sent_at_ms) < 2000
    # Far above what the embedded gateway takes; how far is printed by `weir load figures`.
    assert len(run.accepted) > 1500


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Take SIGINT, which a shell lets its background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_sending_and_keeps_the_results(null_server: str, tmp_path: Path) -> None:
    """Interrupted, a run of a minute is over at once; its file holds what was sent, and why it is short."""
    planned = plan(f"{null_server}/v1", Timing("even", pacer.constant(200, 60)))
    interrupt = threading.Timer(1.0, signal.raise_signal, (signal.SIGINT,))
    started_s = time.monotonic()
    run = conduct(planned, Limits(), tmp_path / "results.jsonl", workers=2, on_start=lambda _: interrupt.start())
    assert time.monotonic() - started_s < 20
    assert 50 < len(run.results) < 2000
    assert {result.status for result in run.results} == {200}
    assert run.stopped
    assert list(tmp_path.iterdir()) == [tmp_path / "results.jsonl"]


def test_a_run_that_was_killed_can_be_read(tmp_path: Path) -> None:
    """What the workers of a killed run wrote counts once, in their files, gathered, or both; a torn line ends one."""
    path = tmp_path / "results.jsonl"
    rows = [json.dumps(asdict(one)) + "\n" for one in load_env.results()]
    path.write_text(results.header("r", 1) + "".join(rows[:3]), encoding="utf-8")
    path.with_name("results.jsonl.0").write_text("".join(rows[:6]), encoding="utf-8")
    path.with_name("results.jsonl.1").write_text("".join(rows[6:10]) + rows[10][:40], encoding="utf-8")
    run = results.read(path)
    assert [one.seq for one in run.results] == [one.seq for one in load_env.results()[:10]]
    assert run.end is None
    assert not run.stopped


def test_results_that_cannot_be_kept_are_a_sentence(null_server: str, tmp_path: Path) -> None:
    """A folder that cannot be made and a disk that is full end the run with the reason, not with a traceback."""
    planned = plan(f"{null_server}/v1", Timing("even", pacer.constant(200, 30)))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OptionInvalid, match=r"cannot be kept in .*file/results\.jsonl: (Not a directory|File exists)"):
        conduct(planned, Limits(), tmp_path / "file" / "results.jsonl")
    (tmp_path / "results.jsonl.0").symlink_to("/dev/full")
    started_s = time.monotonic()
    with pytest.raises(OptionInvalid, match="No space left on device"):
        conduct(planned, Limits(), tmp_path / "results.jsonl", workers=1)
    assert time.monotonic() - started_s < 20


def test_a_results_file_that_was_cut_can_be_read(tmp_path: Path) -> None:
    """A line cut in the middle, as by a full disk, ends the file; what stands before it counts."""
    path = tmp_path / "results.jsonl"
    path.write_text(results.header("r", 1) + '{"seq": 1, "ki', encoding="utf-8")
    run = results.read(path)
    assert (run.name, run.results, run.end) == ("r", (), None)

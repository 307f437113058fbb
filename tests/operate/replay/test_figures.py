"""The figures of `weir bench`: what they count is counted rightly; how fast this machine is, is not judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stack_env import StackEnv
from weir.operate import bench


def test_memory_stays_flat_while_a_file_is_replayed(tmp_path: Path) -> None:
    """From the first tenth of 30,000 events to the last the peak grows by less than a tenth of what went through."""
    said: list[str] = []
    peaks = bench.memory(tmp_path, 30_000, 1000, said.append)
    assert len(peaks) == 10
    assert peaks[-1] - peaks[0] < (tmp_path / "events.jsonl").stat().st_size / 2**20 / 10
    assert (tmp_path / "copy.jsonl").read_bytes() == (tmp_path / "events.jsonl").read_bytes()


@pytest.mark.engine
def test_aggregates_take_few_records_and_the_same_bytes(stack_env: StackEnv) -> None:
    """3,000 events of 1 KB: a hundredth of the entries, a tenth of the billed units, and no more bytes on the wire."""
    said: list[str] = []
    ours, plain = bench.republish(stack_env.kinesis, 3000, 1000, said.append)
    assert (ours.events, plain.events, plain.entries) == (3000, 3000, 3000)
    assert ours.entries < 60
    assert ours.units < plain.units / 10
    assert ours.request_bytes <= plain.request_bytes
    assert ours.shard_s < plain.shard_s * 2
    assert any(line.startswith("ratio") for line in said)

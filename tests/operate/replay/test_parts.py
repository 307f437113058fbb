"""The small parts of a replay: pace, figures, checkpoint file, the scheduled account's lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.consumers.outcome import Outcome
from weir.ingest.errors import OptionInvalid
from weir.ingest.ids import RequestId
from weir.operate.audit.account import Account, Missing
from weir.operate.audit.check import report
from weir.operate.lookup.delivery import Advance, Delivery, Estimate
from weir.operate.replay.checkpoint import Checkpoint, load
from weir.operate.replay.pace import Pace
from weir.operate.replay.ports import Result
from weir.operate.replay.progress import Progress, Report
from weir.operate.replay.waits import backoff_s, rest


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


@given(
    st.floats(0.5, 5000),
    st.lists(st.tuples(st.integers(1, 500), st.floats(0, 2)), min_size=1, max_size=40),
)
def test_a_pace_is_never_exceeded(rate_per_s: float, chunks: list[tuple[int, float]]) -> None:
    """From any moment on, no more passes than the rate allows and the chunk that was first."""
    clock = Clock()
    pace = Pace(rate_per_s, clock=clock, sleep=clock.sleep)
    passed: list[tuple[float, int]] = []
    for count, work_s in chunks:
        assert pace.wait(count, lambda: False)
        passed.append((clock.now_s, count))
        clock.now_s += work_s
    for start, (began_s, first) in enumerate(passed):
        total = sum(count for _, count in passed[start:])
        assert total - passed[-1][1] <= (passed[-1][0] - began_s) * rate_per_s + 1e-6 or start == len(passed) - 1
        assert first > 0


def test_a_pace_lets_go_when_it_is_stopped() -> None:
    """A long wait ends soon after somebody says stop, and nothing passes."""
    clock = Clock()
    pace = Pace(0.01, clock=clock, sleep=clock.sleep)
    assert pace.wait(1, lambda: False)
    assert not pace.wait(1, lambda: clock.now_s > 101)
    assert clock.now_s < 102


def test_a_rest_ends_soon_after_it_is_stopped() -> None:
    """A rest lasts as long as it should, and a stop is seen within a quarter of a second."""
    clock = Clock()
    assert rest(3.1, stopped=lambda: False, sleep=clock.sleep)
    assert clock.now_s >= 103.1
    assert not rest(60, stopped=lambda: clock.now_s > 105, sleep=clock.sleep)
    assert clock.now_s <= 105.5


def test_waits_grow_up_to_the_longest_and_never_beyond_a_float() -> None:
    """Twice as long each time; after a night of attempts the wait is still the longest one, not an overflow."""
    assert [backoff_s(attempt, longest_s=5) for attempt in range(1, 7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5]
    assert backoff_s(10_000, longest_s=10) == 10


def test_progress_tells_rate_position_and_time_left() -> None:
    """The rate is of the last seconds, the time left follows from the estimate, the position is a time."""
    progress = Progress(Estimate(1000), Report(), position_ms=1_700_000_000_000)
    for second in range(30):
        progress.report.read = second * 10
        progress.note(float(second))
    assert progress.rate_per_s == pytest.approx(10)
    assert progress.left_s == pytest.approx((1000 - 290) / 10)
    line = progress.line(1_700_000_060_000)
    assert "290 of about 1,000 read" in line
    assert "at 2023-11-14T22:13:20.000Z, 60 s ago" in line
    assert "71 s left" in line


def test_a_report_always_has_the_figures_that_one_asks_for() -> None:
    """read, matched, applied, duplicate, quarantined and failed are there even when they are nothing."""
    empty = Report()
    assert {empty.as_dict()[name] for name in ("read", "matched", "applied", "duplicate", "quarantined", "failed")} == {
        0
    }
    empty.add([Result(Outcome.QUARANTINED, "signature_mismatch"), Result(Outcome.APPLIED)])
    again = Report.restored(json.loads(json.dumps(empty.saved())))
    assert again.as_dict() == empty.as_dict()
    assert any("signature_mismatch" in line for line in again.lines())


def test_a_checkpoint_knows_what_an_interrupted_attempt_may_have_delivered(tmp_path: Path) -> None:
    """What was begun and not done is marked, lane by lane, until as much of each lane has been done."""
    path = tmp_path / "c.json"
    first = Checkpoint(path)
    begun = [Delivery(b"", "a", "1"), Delivery(b"", "a", "2"), Delivery(b"", "b", "1")]
    first.begin(begun, now_ms=77)
    resumed = load(path)
    assert (resumed.cursor, resumed.again_since_ms) == ({}, 77)
    later = [Delivery(b"", "b", "1"), Delivery(b"", "b", "2"), Delivery(b"", "a", "1")]
    assert resumed.repeats(later) == [True, False, True]
    resumed.begin(later, now_ms=99)
    assert resumed.again_since_ms == 77
    resumed.done([*later, Advance("c", "end")])
    assert resumed.cursor == {"a": "1", "b": "2", "c": "end"}
    rest = [Delivery(b"", "a", "2"), Delivery(b"", "a", "3")]
    assert resumed.repeats(rest) == [True, False]
    resumed.done([*rest, Advance("c", "")])
    resumed.save()
    assert load(path).cursor == {"a": "3", "b": "2"}
    assert load(path).repeats([Delivery(b"", "a", "4")]) == [False]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version": 99}', b"\xff"])
def test_what_is_no_checkpoint_file_is_refused_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    """A file of something else never starts a replay from the wrong place."""
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(OptionInvalid):
        load(path)
    with pytest.raises(OptionInvalid):
        load(tmp_path / "nothing")


def test_the_scheduled_account_names_what_is_missing_and_counts_it() -> None:
    """A line for the sum, one for each missing delivery, and the metric that raises the alarm."""
    account = Account(1, 2, acknowledged=5, missing=[Missing(RequestId("r-1"), 1, "stripe", "the access log")])
    account.counts["in_flight"] = 1
    total, named, metric = map(json.loads, report(account, "live", 0.5))
    assert (total["level"], total["unaccounted"], total["acknowledged"]) == ("ERROR", 1, 5)
    assert (named["request_id"], named["last_seen"]) == ("r-1", "the access log")
    assert (metric["Stack"], metric["Unaccounted"], metric["InFlight"]) == ("live", 1, 1)
    assert json.loads(report(Account(1, 2), "live", 0.0)[0])["level"] == "INFO"

from __future__ import annotations

from pathlib import Path

import pytest

from weir.ingest.errors import OptionInvalid
from weir.loadtest import session
from weir.loadtest.sending import profiles
from weir.loadtest.sending.pacer import constant, ramp, soak, spike
from weir.loadtest.session import Asked, timing


def capacity() -> float:
    return 200.0


@pytest.mark.parametrize(
    ("asked", "shape"),
    [
        (Asked(rate="50", duration_s=10), constant(50, 10)),
        (Asked(rate="auto", duration_s=10), constant(100, 10)),
        (Asked(rate="50", duration_s=10, shape="ramp"), ramp(0, 50, 10)),
        (Asked(rate="10..50", duration_s=10, shape="ramp"), ramp(10, 50, 10)),
        (Asked(rate="50", duration_s=10, shape="spike"), spike(50, 200, 10)),
        (Asked(rate="10..50", duration_s=10, shape="spike"), spike(10, 50, 10)),
        (Asked(rate="50", duration_s=10, shape="soak"), soak(50, 10)),
        (Asked(profile="smoke"), constant(80, 15)),
    ],
)
def test_options_become_a_shape(asked: Asked, shape: object) -> None:
    """Rate and shape mean what the help says, and a rate that follows the target is half of what it takes."""
    assert timing(asked, capacity).shape == shape


def test_a_trace_is_played(tmp_path: Path) -> None:
    """A recording takes the place of rate and shape."""
    (tmp_path / "t").write_text("1\n3\n", encoding="utf-8")
    assert timing(Asked(trace=tmp_path / "t", speed=2), capacity).offsets == (0.0, 1.0)


def test_profiles_last_as_long_as_their_names_say() -> None:
    """Five minutes are five minutes, the night's run is hours, and both adapt to the target."""
    assert profiles.named("five-minutes").shape(100).duration_s == 300
    assert profiles.named("nightly").shape(100).duration_s == 4 * 3600
    assert profiles.named("five-minutes").shape(100).peak_per_s == 150
    with pytest.raises(OptionInvalid, match="five-minutes"):
        profiles.named("forever")


def test_without_a_run_there_is_nothing_to_report(tmp_path: Path) -> None:
    """Asking for the newest of no runs says how to make one."""
    with pytest.raises(OptionInvalid, match="weir load attack"):
        session.latest(tmp_path)

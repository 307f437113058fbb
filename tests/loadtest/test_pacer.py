from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.ingest.errors import OptionInvalid
from weir.loadtest.sending import pacer
from weir.loadtest.sending.pacer import Shape

rates = st.floats(0, 500).map(lambda rate: round(rate, 2))


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    times = [0.0]
    for gap in draw(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=5)):
        times.append(times[-1] + gap)
    times[-1] += 0.5
    return Shape(tuple((time_s, draw(rates)) for time_s in times))


def area(shape: Shape, until_s: float) -> float:
    """Integrate the shape up to a time, by its lines."""
    total = 0.0
    for (start_s, rate), (end_s, end_rate) in pairwise(shape.points):
        if until_s <= start_s or end_s == start_s:
            continue
        length_s = min(until_s, end_s) - start_s
        reached = rate + (end_rate - rate) * length_s / (end_s - start_s)
        total += length_s * (rate + reached) / 2
    return total


@given(shapes())
def test_even_arrivals_are_the_area(shape: Shape) -> None:
    """The n-th even arrival is where the area under the shape reaches n, and none is missing or too many."""
    times = list(pacer.even(shape))
    assert abs(len(times) - shape.request_count) <= 1
    assert times == sorted(times)
    for index, time_s in enumerate(times, start=1):
        assert area(shape, time_s) == pytest.approx(index, abs=1e-3)


@given(shapes(), st.integers())
def test_nothing_is_sent_outside_the_run(shape: Shape, seed: int) -> None:
    """Poisson arrivals are in order, within the run and the same for the same seed."""
    times = list(pacer.poisson(shape, seed))
    assert times == sorted(times) == list(pacer.poisson(shape, seed))
    assert all(0 <= time_s <= shape.duration_s for time_s in times)


def test_poisson_arrivals_have_poisson_counts() -> None:
    """Counts a second of Poisson arrivals vary as much as their mean, unlike those of even ones."""
    counts = [0] * 200
    for time_s in pacer.poisson(pacer.constant(100, 200), seed=7):
        counts[int(time_s)] += 1
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert mean == pytest.approx(100, rel=0.05)
    assert variance == pytest.approx(mean, rel=0.35)


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        (pacer.constant(50, 10), 500),
        (pacer.ramp(0, 100, 10), 500),
        (pacer.spike(10, 100, 100), 900 + 1000),
        (pacer.soak(20, 100), 2000),
    ],
)
def test_shapes_send_what_they_say(shape: Shape, count: int) -> None:
    """Each shape's arrivals add up to the sum that its description gives."""
    assert abs(len(list(pacer.even(shape))) - count) <= 1


@pytest.mark.parametrize("points", [((0.0, 1.0),), ((1.0, 1.0), (2.0, 1.0)), ((0.0, 1.0), (1.0, -1.0))])
def test_an_impossible_shape_is_refused(points: tuple[tuple[float, float], ...]) -> None:
    """A shape without length, without a start or with a rate below 0 is refused in a sentence."""
    with pytest.raises(OptionInvalid):
        Shape(points)


def test_a_recording_is_played_again(tmp_path: Path) -> None:
    """Times of results, access logs or plain lines become offsets from the first, in order, faster if asked."""
    recorded = tmp_path / "trace.jsonl"
    lines = [{"format": "header"}, {"intended_at_ms": 5000.0}, {"intended_at_ms": 1000.0}, {"at": "2000"}]
    recorded.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert pacer.trace(recorded) == pytest.approx([0.0, 1.0, 4.0])
    assert pacer.trace(recorded, speed=2) == pytest.approx([0.0, 0.5, 2.0])
    recorded.write_text("0.5\n1.5\n", encoding="utf-8")
    assert pacer.trace(recorded) == pytest.approx([0.0, 1.0])
    recorded.write_text("noon\n", encoding="utf-8")
    with pytest.raises(OptionInvalid, match="line 1"):
        pacer.trace(recorded)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.loadtest.judging import series

spans = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 3000)).map(lambda pair: (pair[0], sum(pair))), max_size=30
)


@given(spans)
def test_lag_is_the_age_of_the_oldest_event_not_applied(of: list[tuple[int, int]]) -> None:
    """At each step lag is what a look at every event says."""
    steps = series.lag_s(of, 0, step_ms=250, count=40)
    for index, lag in enumerate(steps):
        now_ms = index * 250
        waiting = [received for received, applied in of if received <= now_ms < applied]
        assert lag == pytest.approx((now_ms - min(waiting)) / 1000 if waiting else 0.0)


@given(spans)
def test_concurrency_is_the_most_spans_at_once(of: list[tuple[int, int]]) -> None:
    """In each second it is the most spans that hold one moment of it."""
    most = series.concurrency(of, 0, 9)
    for second, value in enumerate(most):
        moments = {second * 1000, *(begin for begin, _ in of if second * 1000 <= begin < (second + 1) * 1000)}
        assert value == max(sum(begin <= moment < end for begin, end in of) for moment in moments)


def test_quantiles_are_exact_to_three_digits() -> None:
    """HDR quantiles of 1 to 1000 ms are within a thousandth of the true ones."""
    found = series.quantiles(float(value) for value in range(1, 1001))
    assert found["count"] == 1000
    for name, wanted in (("p50", 500), ("p90", 900), ("p99", 990), ("p99_9", 999), ("max", 1000)):
        assert found[name] == pytest.approx(wanted, rel=0.002)
    assert series.quantiles([]) == {"count": 0}


def test_seconds_are_counted_from_the_start() -> None:
    """Counts, sums and quantiles fall into the second they belong to; what is outside is left out."""
    times = [999.0, 1000.0, 1500.0, 2999.9, 3000.0, 9000.0]
    assert series.per_second(times, 1000, 3) == [2, 1, 1]
    assert series.sum_per_second([(time, 2.0) for time in times], 1000, 3) == [4.0, 2.0, 2.0]
    assert series.quantile_per_second([(1000.0, 5.0), (1100.0, 7.0)], 1000, 2, 0.5) == [5.0, None]

"""Figures over time: counts a second, quantiles, lag, concurrency. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from weir.loadtest import load_packages

_LONGEST_US = 3_600_000_000
_DIGITS = 3
QUANTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}


def quantiles(values_ms: Iterable[float]) -> dict[str, float]:
    """Return count, quantiles, maximum and mean of an HDR histogram of milliseconds, exact to three digits.

    Source: https://github.com/HdrHistogram/HdrHistogram_py
    """
    histogram = _histogram()
    for value_ms in values_ms:
        histogram.record_value(min(_LONGEST_US, max(1, round(value_ms * 1000))))
    count = histogram.get_total_count()
    if not count:
        return {"count": 0}
    named = {name: histogram.get_value_at_percentile(share) / 1000 for name, share in QUANTILES.items()}
    mean = histogram.get_mean_value() / 1000
    return {"count": count, **named, "max": histogram.get_max_value() / 1000, "mean": round(mean, 3)}


def per_second(times_ms: Iterable[float], start_ms: float, length_s: int) -> list[int]:
    """Count times by the second since the start."""
    counts = [0] * length_s
    for time_ms in times_ms:
        if 0 <= (index := int((time_ms - start_ms) // 1000)) < length_s:
            counts[index] += 1
    return counts


def quantile_per_second(
    values: Iterable[tuple[float, float]], start_ms: float, length_s: int, share: float
) -> list[float | None]:
    """Return a quantile of the values of each second, None where there is none; values are (time_ms, value)."""
    cells: list[list[float]] = [[] for _ in range(length_s)]
    for time_ms, value in values:
        if 0 <= (index := int((time_ms - start_ms) // 1000)) < length_s:
            cells[index].append(value)
    return [nearest(cell, share) for cell in cells]


def nearest(values: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank quantile."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def sum_per_second(values: Iterable[tuple[float, float]], start_ms: float, length_s: int) -> list[float]:
    """Sum values by the second since the start; values are (time_ms, value)."""
    sums = [0.0] * length_s
    for time_ms, value in values:
        if 0 <= (index := int((time_ms - start_ms) // 1000)) < length_s:
            sums[index] += value
    return sums


def lag_s(spans_ms: Iterable[tuple[float, float]], start_ms: float, *, step_ms: float, count: int) -> list[float]:
    """Return the age of the oldest event that is not yet applied, at each step; spans are (received, applied)."""
    waiting: list[tuple[float, float]] = []
    coming = iter(sorted(spans_ms))
    following = next(coming, None)
    found = []
    for index in range(count):
        now_ms = start_ms + index * step_ms
        while following is not None and following[0] <= now_ms:
            heapq.heappush(waiting, following)
            following = next(coming, None)
        while waiting and waiting[0][1] <= now_ms:
            heapq.heappop(waiting)
        found.append((now_ms - waiting[0][0]) / 1000 if waiting else 0.0)
    return found


def concurrency(spans_ms: Iterable[tuple[float, float]], start_ms: float, length_s: int) -> list[int]:
    """Return the most spans that overlap in each second."""
    edges = sorted(edge for begin, end in spans_ms for edge in ((begin, 1), (end, -1)))
    most, now = [0] * length_s, 0
    at = 0
    for second in range(length_s):
        from_ms = start_ms + second * 1000
        while at < len(edges) and edges[at][0] <= from_ms:
            now += edges[at][1]
            at += 1
        most[second] = max(0, now)
        while at < len(edges) and edges[at][0] < from_ms + 1000:
            now += edges[at][1]
            at += 1
            most[second] = max(most[second], now)
    return most


def _histogram() -> Any:
    load_packages.require()
    from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]  # noqa: PLC0415 - of the extra `load`

    make: Callable[[int, int, int], Any] = HdrHistogram
    return make(1, _LONGEST_US, _DIGITS)

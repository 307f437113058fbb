r"""When requests are meant to be sent: arrival times from a shape of rate over time, without a clock.

An open loop: the times are fixed before the first answer, so a slow server cannot slow its senders down, and latency
from these times omits nothing. A shape is straight lines between points; arrivals are its area, turned around:

    rate          ____            n-th arrival = the time at which the area under the line reaches n (even)
      |      ____/    \___        or the sum of n exponential gaps of mean 1 (Poisson)
      |_____/             \____
      +------------------------ time
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path

from weir.ingest.errors import OptionInvalid

_SOAK_TIDES = 10
_MOST_PER_S = 1_000_000.0
_LONGEST_TRACE_S = 31 * 86_400.0
_TIME_FIELDS = {"at_s": 1.0, "offset_s": 1.0, "intended_at_ms": 0.001, "at": 0.001}


@dataclass(frozen=True, slots=True)
class Shape:
    """A rate over time: straight lines between ``(time_s, rate_per_s)`` points, times rising."""

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        times = [time_s for time_s, _ in self.points]
        if len(times) < 2 or times[0] != 0 or sorted(times) != times or not 0 < times[-1] < math.inf:
            raise OptionInvalid(
                "A load must last longer than 0 s; its points begin at 0 s and are in the order of time."
            )
        if not all(0 <= rate <= _MOST_PER_S for _, rate in self.points):
            raise OptionInvalid(f"A rate is a number of requests a second, from 0 to {_MOST_PER_S:,.0f}.")

    @property
    def duration_s(self) -> float:
        return self.points[-1][0]

    @property
    def peak_per_s(self) -> float:
        return max(rate for _, rate in self.points)

    @property
    def request_count(self) -> float:
        """The area under the lines: how many requests are to be expected."""
        return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(self.points))


def constant(rate_per_s: float, duration_s: float) -> Shape:
    """Return the same rate all the time."""
    return Shape(((0.0, rate_per_s), (duration_s, rate_per_s)))


def ramp(from_per_s: float, to_per_s: float, duration_s: float) -> Shape:
    """Return a rate that grows, or falls, evenly."""
    return Shape(((0.0, from_per_s), (duration_s, to_per_s)))


def spike(base_per_s: float, peak_per_s: float, duration_s: float) -> Shape:
    """Return a base rate with a peak that begins at once and lasts the middle tenth."""
    start_s, end_s = duration_s * 0.45, duration_s * 0.55
    points = [(0.0, base_per_s), (start_s, base_per_s), (start_s, peak_per_s)]
    return Shape((*points, (end_s, peak_per_s), (end_s, base_per_s), (duration_s, base_per_s)))


def soak(rate_per_s: float, duration_s: float) -> Shape:
    """Return a tide around a rate: ten times up by half and down by half."""
    step_s = duration_s / (2 * _SOAK_TIDES)
    points = [(index * step_s, rate_per_s * (1.5 if index % 2 else 0.5)) for index in range(2 * _SOAK_TIDES + 1)]
    return Shape(tuple(points))


def even(shape: Shape) -> Iterator[float]:
    """Yield arrival times in seconds, as evenly as the shape allows."""
    return _turned_around(shape, repeat(1.0))


def poisson(shape: Shape, seed: int | str) -> Iterator[float]:
    """Yield the arrival times of independent senders; the same seed gives the same times."""
    generator = random.Random(seed)  # noqa: S311 - a load test must be repeatable
    return _turned_around(shape, iter(lambda: generator.expovariate(1.0), None))


def trace(path: Path, *, speed: float = 1.0) -> list[float]:
    """Return the arrival times of a recording: results of an earlier run, an access log, or lines of plain seconds.

    Raises: OptionInvalid, with the line that contains no time.
    """
    with path.open(encoding="utf-8", errors="replace") as lines:
        times = (_time_of(line, path, number) for number, line in enumerate(lines, start=1))
        found = sorted(time_s for time_s in times if time_s is not None)
    if not found:
        raise OptionInvalid(f"{path} contains no times.")
    offsets_s = [(time_s - found[0]) / speed for time_s in found]
    if not offsets_s[-1] <= _LONGEST_TRACE_S:
        raise OptionInvalid(f"{path}: its times are {offsets_s[-1]:,.0f} s apart; are they all in one unit?")
    return offsets_s


def _turned_around(shape: Shape, gaps: Iterable[float]) -> Iterator[float]:
    """Yield the times at which the area under the shape reaches the running sum of the gaps.

    Within a line from rate r at its start, with slope k, the area a is reached after t:
    a = r t + k t^2 / 2, so t = 2 a / (r + sqrt(r^2 + 2 k a)), which holds for k = 0 too.
    """
    lines = pairwise(shape.points)
    (start_s, rate), (end_s, end_rate) = next(lines)
    wanted = 0.0
    for gap in gaps:
        wanted += gap
        while wanted > (area := (end_s - start_s) * (rate + end_rate) / 2):
            wanted -= area
            following = next(lines, None)
            if following is None:
                return
            (start_s, rate), (end_s, end_rate) = following
        slope = (end_rate - rate) / (end_s - start_s)
        yield min(end_s, start_s + 2 * wanted / (rate + math.sqrt(max(0.0, rate * rate + 2 * slope * wanted))))


def _time_of(line: str, path: Path, number: int) -> float | None:
    """Return the time in one line of a recording, None for a line that is about something else."""
    try:
        content = json.loads(line)
        if isinstance(content, dict):
            named = (_finite(content[name]) * factor for name, factor in _TIME_FIELDS.items() if name in content)
            return next(named, None)
        return _finite(content)
    except (ValueError, TypeError) as error:
        raise OptionInvalid(f"{path}, line {number}: {line.strip()[:40]!r} contains no time.") from error


def _finite(value: object) -> float:
    """Raises: ValueError and TypeError for what is not a number."""
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(value)
    return number

"""PNG plots of a run, or of two, over time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

# Title, unit, and the series that it shows.
PLOTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("accepted", "Accepted per second", "requests/s", ("offered", "accepted")),
    ("latency", "Latency from the intended time", "ms", ("p50", "p90", "p99", "max")),
    ("lag", "Stream lag: age of the oldest event not yet applied", "s", ("lag_s",)),
    ("batches", "Consumer: batches a second and at once", "batches", ("batches", "concurrency")),
    ("calls", "Database calls and write units per second", "per second", ("calls", "write_units")),
    ("outcomes", "Outcomes per second", "events/s", ("applied", "ignored", "duplicate", "quarantined", "retried")),
    ("refusals", "Requests not accepted, by their last answer", "requests/s", ("status_",)),
)
_LAG_STEP_S = 0.25
_LOGARITHMIC = {"latency"}


def draw(runs: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return PNG files by name; a plot without any series is left out. Two runs share each plot."""
    found = {}
    for name, title, unit, wanted in PLOTS:
        lines = [line for run in runs for line in _lines(run, wanted, prefix=f"{run['run']} " if len(runs) > 1 else "")]
        if lines:
            found[name] = _draw(title, unit, lines, logarithmic=name in _LOGARITHMIC)
    return found


Line = tuple[str, list[float], list[float]]


def _lines(run: Mapping[str, Any], wanted: Sequence[str], *, prefix: str) -> list[Line]:
    found: list[Line] = []
    for name, values in run["series"].items():
        if not any(name == one or (one.endswith("_") and name.startswith(one)) for one in wanted):
            continue
        step_s = _LAG_STEP_S if name == "lag_s" else 1.0
        # A second without a value is a gap in the line, not a zero.
        points = [float("nan") if value is None else float(value) for value in values]
        if any(point > 0 for point in points):
            found.append((f"{prefix}{name}", [index * step_s for index in range(len(points))], points))
    return found


def _draw(title: str, unit: str, lines: Sequence[Line], *, logarithmic: bool) -> bytes:
    figure = _figure()
    axes = figure.add_subplot()
    for name, times_s, values in lines:
        axes.plot(times_s, values, label=name, linewidth=1.2)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("seconds since the start", fontsize=8)
    axes.set_ylabel(unit, fontsize=8)
    if logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _figure() -> Any:
    # Without pyplot: no display is looked for and nothing is kept between figures.
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    return Figure(figsize=(8.5, 2.8), layout="constrained")

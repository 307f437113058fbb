"""PNG plots of a run, or of two, over time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from weir.loadtest import load_packages

# Title, unit, and the series that it shows with what each is called.
PLOTS: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    ("accepted", "Accepted per second", "requests/s", {"offered": "offered", "accepted": "accepted"}),
    (
        "latency",
        "Latency from the intended time",
        "ms",
        {"max": "max", "p99": "p99", "p90": "p90", "p50": "p50"},
    ),
    ("lag", "Stream lag: age of the oldest event not yet applied", "s", {"lag_s": "lag"}),
    (
        "batches",
        "Consumer: batches a second, and at once",
        "batches",
        {"batches": "a second", "concurrency": "at once"},
    ),
    ("calls", "Database calls per second", "calls/s", {"calls": "calls"}),
    ("units", "Write units per second", "units/s", {"write_units": "write units"}),
    (
        "outcomes",
        "Outcomes per second",
        "events/s",
        {name: name for name in ("applied", "ignored", "duplicate", "quarantined", "retried")},
    ),
    ("refusals", "Requests not accepted, by their last answer", "requests/s", {"status_": ""}),
)
_LAG_STEP_S = 0.25
_LOGARITHMIC = {"latency"}
_STYLES = ("-", (0, (4, 1.5)))  # the second run is dashed
# Okabe and Ito's, which everyone can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")


class Line(NamedTuple):
    """One series of one run: its label, its colour's number, the run's number, and its points."""

    label: str
    colour: int
    run: int
    times_s: list[float]
    values: list[float]


def draw(runs: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return PNG files by name; a plot without any series is left out. Two runs share each plot."""
    found = {}
    for name, title, unit, wanted in PLOTS:
        lines = [line for number, run in enumerate(runs) for line in _lines(run, wanted, number, several=len(runs) > 1)]
        if lines:
            found[name] = _draw(title, unit, lines, logarithmic=name in _LOGARITHMIC)
    return found


def _lines(run: Mapping[str, Any], wanted: Mapping[str, str], number: int, *, several: bool) -> list[Line]:
    prefix = f"{run['run']} " if several else ""
    found: list[Line] = []
    for colour, (name, label) in enumerate(_series(run, wanted)):
        step_s = _LAG_STEP_S if name == "lag_s" else 1.0
        # A second without a value is a gap in the line, not a zero.
        points = [float("nan") if value is None else float(value) for value in run["series"][name]]
        if any(point > 0 for point in points):
            times_s = [index * step_s for index in range(len(points))]
            # Where there is one series, the runs differ by colour too.
            found.append(Line(f"{prefix}{label}", colour if len(wanted) > 1 else number, number, times_s, points))
    return found


def _series(run: Mapping[str, Any], wanted: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the series of a run that are wanted, each with its label; a name that ends in _ wants all that follow."""
    found = []
    for name, label in wanted.items():
        if name.endswith("_"):
            matching = [one for one in run["series"] if one.startswith(name)]
            found += [(one, _status(one.removeprefix(name))) for one in matching]
        elif name in run["series"]:
            found.append((name, label))
    return found


def _status(code: str) -> str:
    return "no answer" if code == "0" else code


def _draw(title: str, unit: str, lines: Sequence[Line], *, logarithmic: bool) -> bytes:
    figure = _figure()
    axes = figure.add_subplot()
    for line in lines:
        style, colour = _STYLES[line.run], _COLOURS[line.colour % len(_COLOURS)]
        axes.plot(line.times_s, line.values, label=line.label, linewidth=1.2, linestyle=style, color=colour)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("seconds since the start", fontsize=8)
    axes.set_ylabel(unit, fontsize=8)
    axes.tick_params(labelsize=8)
    if logarithmic:
        _logarithmic(axes)
    else:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")  # beside the lines, never over them
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _logarithmic(axes: Any) -> None:
    """Scale the y axis by powers of ten, with numbers as people write them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - as below

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _figure() -> Any:
    load_packages.require()
    # Without pyplot: no display is looked for and nothing is kept between figures.
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and of the extra `load`

    return Figure(figsize=(8.5, 2.8), layout="constrained")

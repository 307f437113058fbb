"""From options to runs: what a command of `weir load` does, with the place and the keys that it was given."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weir.ingest.errors import OptionInvalid, StackFailed
from weir.ingest.sources.catalogue import Catalogue
from weir.loadtest import Say
from weir.loadtest.judging import judge_run
from weir.loadtest.judging.stores import Place, Stores
from weir.loadtest.judging.verdict import mark_keys
from weir.loadtest.report import html_report, plots, summary
from weir.loadtest.sending import pacer, profiles, results
from weir.loadtest.sending.attack import Limits
from weir.loadtest.sending.mix import Mix
from weir.loadtest.sending.pacer import Shape
from weir.loadtest.sending.plan import Plan, Timing, left_out
from weir.loadtest.sending.results import Run
from weir.loadtest.sending.run import conduct

_PROBE_S = 4.0
_NEWEST, _REST_S = 200, 120.0
_USUAL_SHARE = 0.5
# Shapes that go from one rate to another.
_BETWEEN = ("ramp", "spike")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send and as whom; ``dictionary`` is what stored blobs were deflated with."""

    place: Place
    catalogue: Catalogue
    signing_keys: Mapping[str, str]
    dictionary: bytes
    folder: Path
    say: Say

    @property
    def endpoint(self) -> str:
        return self.place.outputs().endpoint

    def plan(self, timing: Timing, mix: Mix, *, seed: int = 1, **rest: Any) -> Plan:
        """Return a plan of a new run."""
        return Plan(run_name(), self.endpoint, self.catalogue.dump(), self.signing_keys, mix, timing, seed, **rest)


def run_name() -> str:
    """Return a name that no other run has, and that sorts by time."""
    return f"{datetime.now(UTC):%m%d-%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True, slots=True)
class Asked:
    """How the requests of `attack` come in time; ``rate`` is ``500``, ``100..2000`` or ``auto``."""

    rate: str = "auto"
    duration_s: float = 30.0
    shape: str = "constant"
    arrivals: str = "poisson"
    trace: Path | None = None
    speed: float = 1.0
    profile: str | None = None


def timing(asked: Asked, capacity: Callable[[], float]) -> Timing:
    """Return when to send; ``capacity`` measures what the target takes, if the rate is to follow it."""
    if asked.trace is not None:
        return Timing("recorded", offsets=tuple(pacer.trace(asked.trace, speed=asked.speed)))
    if asked.profile is not None:
        return Timing("poisson", profiles.named(asked.profile).shape(capacity()))
    kind: Any = "even" if asked.arrivals == "even" else "poisson"
    return Timing(kind, _shape(asked, capacity))


def _shape(asked: Asked, capacity: Callable[[], float]) -> Shape:
    if asked.rate == "auto":
        low = high = capacity() * _USUAL_SHARE
    else:
        low, high = _rates(asked.rate)
    if low != high and asked.shape not in _BETWEEN:
        raise OptionInvalid(f"{asked.rate} is two rates, for --shape {' or '.join(_BETWEEN)}; {asked.shape} takes one.")
    if asked.shape == "ramp":
        return pacer.ramp(low if low != high else 0.0, high, asked.duration_s)
    if asked.shape == "spike":
        return pacer.spike(low, high if low != high else 4 * low, asked.duration_s)
    if asked.shape == "soak":
        return pacer.soak(high, asked.duration_s)
    return pacer.constant(high, asked.duration_s)


def _rates(text: str) -> tuple[float, float]:
    low, _, high = text.partition("..")
    try:
        rates = float(low), float(high or low)
    except ValueError:
        rates = math.nan, math.nan
    if not all(map(math.isfinite, rates)):
        raise OptionInvalid(f"{text!r} is not a rate. Examples of rates: 500, 100..2000, auto.")
    return rates


def measure_capacity(target: Target, mix: Mix, *, connections: int = 16, length_s: float = _PROBE_S) -> float:
    """Return how many requests a second the target can accept and consume for long.

    A few senders do nothing but wait for it for a while; until all of that is applied, the clock runs.
    """
    planned = target.plan(Timing("saturate", duration_s=length_s), mix)
    limits = Limits(
        connections=connections,
        warm_connections=connections,
        send_for_s=length_s,
        patience_s=60.0,
        ahead_count=int(length_s * 2000),
    )
    run = conduct(planned, limits, target.folder / planned.run / summary.RESULTS_FILE)
    if run.stopped:
        raise KeyboardInterrupt
    if not run.accepted:
        raise StackFailed("Nothing was accepted.", endpoint=target.endpoint, said=_first_words(run))
    come_to_rest(target, run)
    rate = float(len(run.accepted) / (time.time() - run.header["started_at_ms"] / 1000))
    target.say(f"{target.place.label} accepts and consumes {rate:,.0f} a second from {connections} senders")
    return rate


def come_to_rest(target: Target, run: Run) -> None:
    """Wait until the newest events of a run are stored, so that what follows starts without a backlog."""
    newest = sorted(run.accepted, key=lambda result: result.done_at_ms)[-_NEWEST:]
    keys = set(mark_keys(result for result in newest if result.kind != "bad_signature"))
    stores, deadline_s = Stores(target.place, target.dictionary), time.monotonic() + _REST_S
    while len(stores.items(keys)) < len(keys) and time.monotonic() < deadline_s:
        time.sleep(0.5)


def _first_words(run: Run) -> str:
    return next((f"{result.status} {result.said}" for result in run.results if not result.accepted), "nothing")


def attack(target: Target, planned: Plan, limits: Limits, *, workers: int = 0) -> Path:
    """Run a plan and keep its results; return their file."""
    length_s = planned.timing.length_s
    for name, reason in left_out(planned.mix, target.catalogue, target.signing_keys).items():
        target.say(f"left out: {name}: {reason}")
    target.say(f"run {planned.run}: {length_s:,.0f} s against {planned.endpoint}; making the requests ...")
    path = target.folder / planned.run / summary.RESULTS_FILE
    run = conduct(planned, limits, path, workers=workers)
    if run.stopped:
        target.say(f"stopped: {len(run.results):,} were sent and will be judged; Ctrl-C again ends that, too")
    return path


def reconcile(target: Target, path: Path, *, wait_s: float, expected_reasons: tuple[str, ...] = ()) -> bool:
    """Judge a run, keep the verdict beside its results and say it; return whether it passed."""
    file, _ = summary.load(path)
    run = results.read(file)
    if not run.results:
        raise OptionInvalid(f"{file} contains no answer to any request, so there is nothing to judge.")
    stores = Stores(target.place, target.dictionary)
    verdict, observed = judge_run.judge_run(
        run, stores, wait_s=wait_s, say=target.say, expected_reasons=expected_reasons
    )
    judge_run.write(file.with_name(summary.VERDICT_FILE), verdict, observed)
    for line in judge_run.lines(verdict):
        target.say(line)
    return verdict.passed


def write_report(paths: list[Path], folder: Path | None, say: Say) -> dict[str, Any]:
    """Write JSON, page and plots of one run, or of two side by side; return the figures of the first."""
    figures = []
    for path in paths:
        file, observed = summary.load(path)
        figures.append(summary.compute(results.read(file), observed))
    out = folder or (summary.load(paths[-1])[0].parent)
    out.mkdir(parents=True, exist_ok=True)
    drawn = plots.draw(figures)
    name = "report" if len(paths) == 1 else "comparison"
    for plot, image in drawn.items():
        (out / f"{name}-{plot}.png").write_bytes(image)
    (out / f"{name}.html").write_text(html_report.page(figures, drawn), encoding="utf-8")
    content = figures[0] if len(figures) == 1 else {"runs": figures}
    (out / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    lines = summary.summary(figures[0]) if len(figures) == 1 else summary.comparison_lines(figures[0], figures[1])
    for line in lines:
        say(line)
    say(f"report: {out / f'{name}.html'}")
    return figures[0]


def latest(folder: Path) -> Path:
    """Return the newest run's folder. Raises: OptionInvalid when there is none."""
    runs = sorted(folder.glob(f"*/{summary.RESULTS_FILE}"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise OptionInvalid(f"There is no run in {folder} yet: `weir load attack`.")
    return runs[-1].parent

"""Running the fault matrix: scenarios one after the other on one stack, each judged, all reported in the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from weir.ingest.errors import OptionInvalid, ServiceError
from weir.loadtest import Say
from weir.loadtest.faults import scenarios as faults  # noqa: F401 - each registers its scenarios
from weir.loadtest.faults import scenarios_edges as faults_edges  # noqa: F401
from weir.loadtest.faults import scenarios_state as faults_state  # noqa: F401
from weir.loadtest.faults import scenarios_strangers as faults_strangers  # noqa: F401
from weir.loadtest.faults.fault_stack import FaultStack, RunStack
from weir.loadtest.faults.scenario import SCENARIOS, Scenario
from weir.loadtest.faults.scenario_run import Ending, ScenarioRun
from weir.loadtest.sending.results import machine
from weir.loadtest.session import Target


def chosen(names: Sequence[str], *, anywhere: bool) -> list[Scenario]:
    """Return scenarios by name; ``all``, or none named, are all that can run there. Raises: OptionInvalid."""
    if unknown := [name for name in names if name != "all" and name not in SCENARIOS]:
        raise OptionInvalid(f"There is no scenario {unknown[0]!r}; there are: {', '.join(SCENARIOS)}.")
    wanted = list(SCENARIOS) if not names or "all" in names else list(names)
    runnable = [SCENARIOS[name] for name in wanted if SCENARIOS[name].anywhere or not anywhere]
    if not runnable:
        raise OptionInvalid(
            f"{', '.join(wanted)}: only on the embedded stack, whose processes and engine can be stopped."
        )
    return runnable


def run_embedded(
    scenarios: Sequence[Scenario],
    run_stack: RunStack,
    target: Callable[[Path], Target],
    say: Say,
    *,
    scale: float = 1.0,
    keep: Path | None = None,
) -> list[Ending]:
    """Start a stack of its own, run the scenarios on it and stop it."""
    with FaultStack(run_stack, target, keep=keep) as stack:
        return [run_scenario(scenario, ScenarioRun(stack.target, stack, scale), say) for scenario in scenarios]


def run_elsewhere(
    scenarios: Sequence[Scenario], target: Target, say: Say, *, scale: float, rate: float
) -> list[Ending]:
    """Run scenarios against a stack that runs already."""
    return [run_scenario(scenario, ScenarioRun(target, None, scale, rate), say) for scenario in scenarios]


def document(endings: Sequence[Ending]) -> dict[str, Any]:
    """Return the matrix for machines."""
    rows = [
        {
            "scenario": ending.name,
            "passed": ending.passed,
            "faults": list(ending.faults),
            "late": list(ending.late),
            **ending.figures,
        }
        for ending in endings
    ]
    return {"passed": all(ending.passed for ending in endings), **machine(), "scenarios": rows}


def write(path: Path, endings: Sequence[Ending]) -> None:
    """Keep the matrix as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(endings), indent=1), encoding="utf-8")


def run_scenario(scenario: Scenario, run: ScenarioRun, say: Say) -> Ending:
    """Run one scenario, say how it ended and return that. What is left of a stack that broke down is started again."""
    started_s = time.monotonic()
    say(f"{scenario.name}: {scenario.claim}")
    try:
        scenario.inject(run)
        ending = run.judge(scenario.name, scenario.bounds, lambda _: None)
    except Exception as error:  # noqa: BLE001 - whatever broke down, the other scenarios run
        said = [str(error) if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}"]
        if run.stack is not None and (words := run.stack.last_words()):
            said.append(f"the stack had ended; it last said: {words}")
        ending = Ending(scenario.name, tuple(said), {"runs": []})
        if run.stack is not None:  # what is left of the stack must not spoil the next scenario
            run.stack.kill()
            run.stack.start()
    for line in _lines(ending, time.monotonic() - started_s):
        say(line)
    return ending


def _lines(ending: Ending, length_s: float) -> list[str]:
    runs = ending.figures["runs"]
    counts = {name: sum(one[name] for one in runs) for name in ("acknowledged", "applied", "ignored", "quarantined")}
    shown = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    worst = max((run["delay_max_s"] for run in runs), default=0.0)
    recovered = max((run["recovered_after_s"] for run in runs), default=0.0)
    word = "passed" if ending.passed else "FAILED" if ending.faults else "LATE"
    hits = ", ".join(f"{count:,} {what}" for what, count in ending.figures.get("hits", {}).items())
    speed = f"slowest event {worst:.1f} s, recovered {recovered:.1f} s after"
    return [
        f"  {word} in {length_s:.0f} s: {shown}; {speed}; {hits}",
        *(f"  {fault}" for fault in (*ending.faults, *ending.late)),
    ]

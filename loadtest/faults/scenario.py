"""What a fault scenario is, where they are kept by name, and the bounds that they are held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from weir.loadtest.faults.proxy import Rule
from weir.loadtest.faults.scenario_run import Bounds, ScenarioRun

LOOSE = Bounds(typical_s=float("inf"), worst_s=float("inf"), recovery_s=float("inf"))
# Where everything stops, nothing can keep flowing; but all of it must come back.
OUTAGE = Bounds(typical_s=float("inf"), worst_s=40.0)
# An event that has to wait holds up its shard, for the whole outage and until the mapping tries again.
HELD_UP = Bounds(typical_s=float("inf"), worst_s=40.0, recovery_s=30.0)
# The database's calls that write, and all that the consumer makes.
WRITES = frozenset({"TransactWriteItems", "BatchExecuteStatement", "PutItem", "ExecuteStatement"})
DATABASE = WRITES | {"BatchGetItem", "GetItem"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """``claim`` says what must hold; ``anywhere`` that no proxy and no process of ours is needed."""

    name: str
    claim: str
    inject: Callable[[ScenarioRun], None]
    bounds: Bounds
    anywhere: bool


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str, claim: str, bounds: Bounds | None = None, *, anywhere: bool = False
) -> Callable[[Callable[[ScenarioRun], None]], Callable[[ScenarioRun], None]]:
    def register(inject: Callable[[ScenarioRun], None]) -> Callable[[ScenarioRun], None]:
        SCENARIOS[name] = Scenario(name, claim, inject, bounds or Bounds(), anywhere)
        return inject

    return register


def break_calls(run: ScenarioRun, seconds: float, *rules: Rule) -> None:
    """Keep rules in force for a while, in the middle of traffic, and note how many calls they met."""
    proxy = run.own_stack.proxy
    before = proxy.met.copy()
    with run.traffic():
        run.pass_time(1)
        with proxy.rules(*rules):
            run.pass_time(seconds)
            run.await_hit(lambda: all(proxy.met[rule] > before[rule] for rule in rules))
        run.fault_ends()
    for rule in rules:
        run.hits[rule.what or f"calls to {rule.service}"] = proxy.met[rule] - before[rule]

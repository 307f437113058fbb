"""What a fault scenario is, where they are kept by name, and the bounds that they are held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from weir.loadtest.faults.proxy import Rule
from weir.loadtest.faults.scenario_run import Bounds, Stage

LOOSE = Bounds(typical_s=float("inf"), worst_s=float("inf"), recovery_s=float("inf"))
# Where everything stands still, nobody can be asked to keep flowing; all the more, all must come back.
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
    play: Callable[[Stage], None]
    bounds: Bounds
    anywhere: bool


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str, claim: str, bounds: Bounds | None = None, *, anywhere: bool = False
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    def register(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        SCENARIOS[name] = Scenario(name, claim, play, bounds or Bounds(), anywhere)
        return play

    return register


def broken(stage: Stage, seconds: float, *rules: Rule) -> None:
    """Keep rules in force for a while, in the middle of traffic, and note how many calls they met."""
    proxy = stage.broken.proxy
    before = proxy.met.copy()
    with stage.traffic():
        stage.pass_time(1)
        with proxy.rules(*rules):
            stage.pass_time(seconds)
            stage.await_bite(lambda: all(proxy.met[rule] > before[rule] for rule in rules))
        stage.fault_ends()
    for rule in rules:
        stage.bites[rule.what or f"calls to {rule.service}"] = proxy.met[rule] - before[rule]

"""Runs scenarios in one place, several at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.conformance.bench import Place, Refused, Unavailable
from tests.conformance.scenarios import CANNOT, Observation, Scenario


@dataclass(frozen=True)
class Outcome:
    """What one scenario brought; ``error`` is the trace of one that broke, which is never an observation."""

    observed: Observation | None
    error: str | None
    took_s: float

    def complaint(self, place: Place | type[Place], scenario: Scenario) -> str | None:
        """Say what keeps it from being published; None when nothing does."""
        if self.observed is None:
            return f"{scenario.name} broke on {place.name}:\n{self.error}"
        return scenario.complaint(place.name, self.observed)


Report = Callable[[Scenario, Outcome], None]


def run_all(place: Place, scenarios: Iterable[Scenario]) -> dict[str, Outcome]:
    """Run every scenario that can be shown in this place."""
    outcomes: dict[str, Outcome] = {}

    def report(scenario: Scenario, outcome: Outcome) -> None:
        outcomes[scenario.name] = outcome

    asyncio.run(run_each(place, shown_in(place, scenarios), report))
    return outcomes


def shown_in(place: Place | type[Place], scenarios: Iterable[Scenario]) -> list[Scenario]:
    """Return those that can be shown in a place."""
    return [each for each in scenarios if place.name not in each.cannot]


async def run_each(place: Place, scenarios: list[Scenario], report: Report) -> None:
    """Run these scenarios and report the outcome of each when it is known, and again when a second try changes it.

    When it is cancelled, it ends after every scenario has taken away what it made, and the place has.
    """
    # A scenario's calls wait in threads, and several scenarios wait at a time.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    room = asyncio.Semaphore(place.at_once)
    again: list[Scenario] = []

    async def once(scenario: Scenario, room: asyncio.Semaphore | None = None) -> None:
        outcome = await _run(place, scenario, room)
        report(scenario, outcome)
        if outcome.complaint(place, scenario):
            again.append(scenario)

    async with place.opened():
        async with asyncio.TaskGroup() as tasks:
            for each in scenarios:
                if each.long:
                    tasks.create_task(once(each))
            for each in scenarios:
                if each.heavy:
                    await once(each)
            for each in scenarios:
                if not each.long and not each.heavy:
                    tasks.create_task(once(each, room))
        for _ in range(place.tries - 1):
            repeated, again = again, []
            for each in repeated:
                await once(each)


async def _run(place: Place, scenario: Scenario, room: asyncio.Semaphore | None = None) -> Outcome:
    async with room or contextlib.nullcontext():
        started_s = time.monotonic()
        observed, error = None, None
        try:
            async with asyncio.timeout(place.limit_s), contextlib.AsyncExitStack() as undo:
                aws = place.aws(undo)
                observed = await scenario.run(place.bench(aws))
                assert aws.shards <= scenario.shards, f"{aws.shards} shards made, {scenario.shards} announced"
        except Refused as refusal:
            observed = {"refused": str(refusal)}
        except Unavailable as unavailable:
            observed = {CANNOT: str(unavailable)}
        except Exception:  # noqa: BLE001 - one that breaks must not take the others with it
            observed, error = None, traceback.format_exc()
        return Outcome(observed, error, time.monotonic() - started_s)

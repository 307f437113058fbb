"""Runs scenarios in one emulator, several at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.conformance.aws import Aws
from tests.conformance.bench import Emulator, Refused
from tests.conformance.scenarios import Observation, Scenario


@dataclass(frozen=True)
class Outcome:
    """What one scenario brought; ``error`` is the trace of one that broke, which is never an observation."""

    observed: Observation | None
    error: str | None
    took_s: float

    def complaint(self, emulator: Emulator | type[Emulator], scenario: Scenario) -> str | None:
        """Say what keeps it from being published; None when nothing does."""
        if self.observed is None:
            return f"{scenario.name} broke on {emulator.name}:\n{self.error}"
        return scenario.complaint(emulator.name, self.observed)


def run_all(emulator: Emulator, scenarios: Iterable[Scenario]) -> dict[str, Outcome]:
    """Run every scenario that can be shown in this emulator."""
    return asyncio.run(_run_all(emulator, [each for each in scenarios if emulator.name not in each.cannot]))


async def _run_all(emulator: Emulator, scenarios: list[Scenario]) -> dict[str, Outcome]:
    # A scenario's calls wait in threads, and several scenarios wait at a time.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    room = asyncio.Semaphore(emulator.at_once)
    light = [each for each in scenarios if not each.heavy and not each.long]
    async with emulator.opened():
        waiting = {each.name: asyncio.create_task(_run(emulator, each)) for each in scenarios if each.long}
        outcomes = {each.name: await _run(emulator, each) for each in scenarios if each.heavy}
        ran = await asyncio.gather(*(_run(emulator, each, room) for each in light))
        outcomes |= dict(zip((each.name for each in light), ran, strict=True))
        outcomes |= {name: await run for name, run in waiting.items()}
        for each in scenarios:
            for _ in range(emulator.tries - 1):
                if outcomes[each.name].complaint(emulator, each):
                    outcomes[each.name] = await _run(emulator, each)
    return outcomes


async def _run(emulator: Emulator, scenario: Scenario, room: asyncio.Semaphore | None = None) -> Outcome:
    async with room or contextlib.nullcontext():
        started_s = time.monotonic()
        observed, error = None, None
        try:
            async with asyncio.timeout(emulator.limit_s), contextlib.AsyncExitStack() as undo:
                observed = await scenario.run(emulator.bench(Aws(emulator.endpoint, undo, emulator.patience)))
        except Refused as refusal:
            observed = {"refused": str(refusal)}
        except Exception:  # noqa: BLE001 - one that breaks must not take the others with it
            error = traceback.format_exc()
        return Outcome(observed, error, time.monotonic() - started_s)

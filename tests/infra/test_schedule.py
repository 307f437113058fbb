"""The template's schedule on the embedded stack."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from weir.infra.local.function.invocations import InvocationResult
from weir.infra.local.schedule import Schedule
from weir.ingest.errors import TemplateUnsupported

RULE = {"ScheduleExpression": "rate(1 minute)", "Targets": [{"Input": json.dumps({"action": "retry_waiting"})}]}


def schedule(invoke: Any, said: list[str], **options: Any) -> Schedule:
    made = Schedule(RULE, invoke, said.append, **options)
    made._every_s = 0.01  # type: ignore[assignment] # a minute in the template
    return made


async def test_it_rests_while_the_consumer_is_paused() -> None:
    """It invokes with the rule's input, not while paused, and goes on after it."""
    seen: list[Any] = []
    paused = [False]

    async def invoke(event: Any) -> InvocationResult:
        seen.append(event)
        return InvocationResult(200, "r")

    running = asyncio.create_task(schedule(invoke, [], is_paused=lambda: paused[0]).run())
    while not seen:
        await asyncio.sleep(0.01)
    assert seen[0] == {"action": "retry_waiting"}
    paused[0] = True
    await asyncio.sleep(0.05)
    count = len(seen)
    await asyncio.sleep(0.2)
    assert len(seen) == count
    paused[0] = False
    while len(seen) == count:
        await asyncio.sleep(0.01)
    running.cancel()


async def test_a_failure_is_said_once() -> None:
    """The same failure is not said again each minute; another one is."""
    said: list[str] = []
    errors = iter(["no memory", "no memory", "", "no memory"])

    async def invoke(event: Any) -> InvocationResult:
        error = next(errors)
        payload = {"errorMessage": error}
        return InvocationResult(200, "r", payload, "Unhandled") if error else InvocationResult(200, "r")

    made = schedule(invoke, said)
    for _ in range(4):
        await made.invoke()
    assert len(said) == 2
    assert all("the scheduled run of retry_waiting failed: " in one and "no memory" in one for one in said)


def test_what_is_no_rate_is_refused() -> None:
    """Only the kind of schedule that the template has."""
    with pytest.raises(TemplateUnsupported):
        Schedule({**RULE, "ScheduleExpression": "cron(0 12 * * ? *)"}, None, print)  # type: ignore[arg-type]

"""The template's schedule for the consumer: EventBridge starts it, here this process does.

On AWS the call is asynchronous and made again if it fails; here the next run makes up for a lost one, as its work waits
in the table.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from weir.infra import Say
from weir.infra.local.function.invocations import Invoke
from weir.ingest.errors import TemplateUnsupported

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_UNIT_S = {"minute": 60, "hour": 3600, "day": 86_400}


class Schedule:
    """Invokes a function at a rate, one run after another, but while it ``is_paused``."""

    def __init__(
        self, rule: Mapping[str, Any], invoke: Invoke, say: Say, *, is_paused: Callable[[], bool] = lambda: False
    ) -> None:
        """Read the properties of an AWS::Events::Rule with one target. Raises: TemplateUnsupported."""
        matched = _RATE.fullmatch(rule["ScheduleExpression"])
        if matched is None:
            raise TemplateUnsupported("A schedule is not a rate.", schedule=rule["ScheduleExpression"])
        self._every_s = int(matched[1]) * _UNIT_S[matched[2]]
        (target,) = rule["Targets"]
        self._event: dict[str, Any] = json.loads(target["Input"])
        self._invoke, self._say, self._is_paused = invoke, say, is_paused
        self._told = ""

    async def run(self) -> None:
        """Invoke until it is cancelled. A failure is said once, until it is another."""
        while True:
            await asyncio.sleep(self._every_s)
            if not self._is_paused():
                await self.invoke()

    async def invoke(self) -> None:
        """Invoke once."""
        error = (await self._invoke(self._event)).error or ""
        if error and error != self._told:
            self._say(f"the scheduled run of {self._event.get('action')} failed: {error}")
        self._told = error

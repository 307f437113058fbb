"""The function's entry: `handler(event, context)` for the stream's event source mapping.

Importing this module makes no call and imports next to nothing; everything is made at the first invocation and kept for
those that follow.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from weir.consumers.batch.batch import Consumer
    from weir.consumers.waiting.retry import WaitingRun

# What the schedule's event asks for; infra/template.yaml has it, too.
RETRY_WAITING = "retry_waiting"


class LambdaContext(Protocol):
    """What Lambda says about an invocation, as far as it is used here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function is killed."""


def handler(event: Mapping[str, Any], context: LambdaContext) -> Mapping[str, Any]:
    """Consume one batch; return the lowest sequence number not done as `batchItemFailures`, or nothing.

    Started by the schedule, it tries again what waits, and returns how often each outcome came.
    Raises: ConfigError when the set-up is wrong and no record could succeed.
    """
    left_s: Callable[[], float] = lambda: context.get_remaining_time_in_millis() / 1000  # noqa: E731
    if event.get("action") == RETRY_WAITING:
        return _waiting_run().run(invocation=context.aws_request_id, left_s=left_s)
    return _consumer().consume(event, invocation=context.aws_request_id, left_s=left_s)


@cache
def _waiting_run() -> WaitingRun:
    from weir.consumers import settings, wiring  # noqa: PLC0415 - a batch of the stream has no need of it

    settings.skip_plugin_search()
    return wiring.waiting_run(sys.stdout)


@cache
def _consumer() -> Consumer:
    # Imports make a hundred thousand objects that stay: looking for garbage among them is a tenth of the cold start.
    gc.disable()
    try:
        # A cold start imports what its first batch needs, and nothing else.
        from weir.consumers import settings  # noqa: PLC0415

        settings.skip_plugin_search()
        from weir.consumers import wiring  # noqa: PLC0415

        return wiring.consumer(sys.stdout)
    finally:
        gc.freeze()
        gc.enable()

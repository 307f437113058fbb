"""What an invocation of a function gives back: the seam between the stream poller and whatever runs the function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

# Request and response of a synchronous invocation.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PAYLOAD_LIMIT_BYTES = 6 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """The answer to one synchronous invocation, as Lambda's Invoke gives it.

    ``status_code`` 200 means that the function ran, well or not: then ``function_error`` is ``None`` or ``"Unhandled"``
    and ``payload`` is the decoded response or the error document (``errorType``, ``errorMessage``, ``stackTrace``).
    Any other status (429 throttled, 5xx) means that the function was not reached.
    """

    status_code: int
    request_id: str
    payload: Any = None
    function_error: str | None = None
    duration_ms: float = 0.0
    max_memory_mb: int = 0
    executed_version: str = "$LATEST"

    @property
    def reached(self) -> bool:
        return self.status_code == 200

    @property
    def succeeded(self) -> bool:
        return self.reached and self.function_error is None

    @property
    def error(self) -> str | None:
        """Return one line that says what went wrong; None after a success."""
        if self.succeeded:
            return None
        document = self.payload if isinstance(self.payload, dict) else {}
        kind = document.get("errorType") or document.get("Reason") or f"status {self.status_code}"
        message = document.get("errorMessage") or document.get("message") or ""
        return f"{kind}: {message}" if message else str(kind)


Invoke = Callable[[dict[str, Any]], Awaitable[InvocationResult]]

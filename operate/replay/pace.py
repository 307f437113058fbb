"""How fast a replay may go: an even rate, without a burst after a pause."""

from __future__ import annotations

from collections.abc import Callable

# Sleeping in pieces lets Ctrl-C be seen.
_NAP_S = 0.25


class Pace:
    """Keeps what passes at a rate; None means as fast as it goes. ``clock`` is monotonic seconds."""

    def __init__(
        self, rate_per_s: float | None, *, clock: Callable[[], float], sleep: Callable[[float], object]
    ) -> None:
        self.rate_per_s = rate_per_s
        self._clock = clock
        self._sleep = sleep
        self._due_s = clock()

    def wait(self, count: int, stopped: Callable[[], bool]) -> bool:
        """Wait until ``count`` more may pass; return False if it was stopped meanwhile."""
        if not self.rate_per_s:
            return not stopped()
        now_s = self._clock()
        self._due_s = max(self._due_s, now_s)
        while (left_s := self._due_s - self._clock()) > 0:
            if stopped():
                return False
            self._sleep(min(left_s, _NAP_S))
        self._due_s += count / self.rate_per_s
        return not stopped()

"""How fast a replay may go: an even rate, without a burst after a pause."""

from __future__ import annotations

import time
from collections.abc import Callable

from weir.operate.replay.waits import rest


class Pace:
    """Keeps what passes at a rate; None means as fast as it goes. ``clock`` is monotonic seconds."""

    def __init__(
        self,
        rate_per_s: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
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
        if not rest(self._due_s - now_s, stopped=stopped, sleep=self._sleep):
            return False
        self._due_s += count / self.rate_per_s
        return not stopped()

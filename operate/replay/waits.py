"""Waiting that can be stopped, and that grows from attempt to attempt."""

from __future__ import annotations

from collections.abc import Callable

# Sleeping in pieces lets Ctrl-C be seen.
_PIECE_S = 0.25
_FIRST_S = 0.1
_DOUBLINGS = 20  # far beyond any longest wait, and far from where a float ends


def rest(wait_s: float, *, stopped: Callable[[], bool], sleep: Callable[[float], object]) -> bool:
    """Sleep for some seconds, in pieces; return False as soon as it is stopped."""
    while wait_s > 0:
        if stopped():
            return False
        sleep(min(wait_s, _PIECE_S))
        wait_s -= _PIECE_S
    return True


def backoff_s(attempt: int, *, longest_s: float) -> float:
    """Return the seconds to wait after a failed attempt, the first being 1: 0.2, twice as long each time, bounded."""
    return min(longest_s, _FIRST_S * float(2 ** min(attempt, _DOUBLINGS)))

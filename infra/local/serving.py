"""What the stack's server processes share: they end with their supervisor, and when is its decision alone."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

_PR_SET_PDEATHSIG = 1  # prctl(2), Linux


def end_with_parent() -> None:
    """Ask for SIGTERM when the parent dies, and leave Ctrl-C, which reaches the whole terminal, to it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class SupervisedServer(uvicorn.Server):
    """A server that SIGTERM alone stops; uvicorn itself would take SIGINT too."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM while serving."""
        before = signal.signal(signal.SIGTERM, self.handle_exit)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

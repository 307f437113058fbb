"""What the stack's server processes share: they end with their supervisor, when is its decision alone, and an answer
is one piece."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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


class OnePieceProtocol(HttpToolsProtocol):
    """uvicorn's HTTP with one write an answer, where its own are two: head and body, each a system call for us and a
    turn of the event loop for the task that reads them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(_Joining(transport))  # type: ignore[arg-type]


class _Joining:
    """A transport that writes at the end of the event loop's turn what was given to it meanwhile."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parts: list[bytes] = []
        self._later = asyncio.get_running_loop().call_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._later(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

"""The two readers of the stream: the event source mapping, which a person may pause, and the archive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from weir.infra import Say
from weir.infra.control import PAUSE_FILE, RUNNING_FILE
from weir.infra.local.archiver import Archiver
from weir.infra.local.poller.poller import Poller


class StreamReaders:
    """Starts, pauses and stops them; each goes on where its own checkpoints say."""

    def __init__(self, make_poller: Callable[[], Poller], archiver: Archiver | None, *, home: Path, say: Say) -> None:
        self._make_poller = make_poller
        self._archiver = archiver
        self._pause, self._running = home / PAUSE_FILE, home / RUNNING_FILE
        self._say = say
        self._poller: Poller | None = None
        self._polling: asyncio.Task[None] | None = None
        self._archiving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start both, unless the consumer is to stay paused."""
        if self._archiver is not None:
            self._archiving = asyncio.create_task(self._archiver.run())
        if self._pause.exists():
            self._running.unlink(missing_ok=True)
            self._say("the consumer is paused; `weir resume` starts it again")
        else:
            self._begin()

    async def look(self) -> str | None:
        """Pause or go on as the file says; return what ended by itself, if anything did."""
        if self._polling is not None and self._polling.done():
            return f"the poller ended: {self._polling.exception()!r}"
        if self._archiving is not None and self._archiving.done():
            return f"the archiver ended: {self._archiving.exception()!r}"
        if self._pause.exists() and self._poller is not None:
            await self._end()
            self._say("paused: the stream keeps what arrives; `weir resume` starts the consumer again")
        elif self._poller is None and not self._pause.exists():
            self._begin()
            self._say("the consumer runs again")
        return None

    async def stop(self) -> None:
        """Stop both; what is in flight is finished, what is buffered is archived."""
        await self._end()
        if self._archiver is not None and self._archiving is not None:
            await self._archiver.stop()
            await asyncio.wait([self._archiving])

    def _begin(self) -> None:
        self._poller = self._make_poller()
        self._polling = asyncio.create_task(self._poller.run())
        self._running.touch()

    async def _end(self) -> None:
        poller, polling, self._poller, self._polling = self._poller, self._polling, None, None
        if poller is not None and polling is not None:
            await poller.stop()
            await asyncio.wait([polling])
        self._running.unlink(missing_ok=True)

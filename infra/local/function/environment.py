"""One execution environment: a child process that runs one invocation at a time and is killed when it oversteps.

The parent keeps the time and watches the memory; the child (``weir.infra.local.function.runtime``) cannot outlive it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from weir.infra.local.function.runtime import HEADER

# Lambda gives initialisation 10 s; a laptop that compiles every import for the first time needs more.
INIT_LIMIT_S = 60.0
_MEMORY_CHECK_S = 0.2
_EXIT_WAIT_S = 5.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Fate = Literal["timeout", "memory", "exit"]


class EnvironmentLostError(Exception):
    """The process ended, or had to be ended, before it answered; ``how`` is ``signal: killed`` or ``exit status N``."""

    def __init__(self, fate: Fate, how: str) -> None:
        super().__init__(f"{fate}: {how}")
        self.fate = fate
        self.how = how


@dataclass(frozen=True, slots=True)
class Reply:
    """What the child sent back: JSON bytes of a response, or of an error document when ``ok`` is false."""

    ok: bool
    payload: bytes
    max_memory_mb: int


class HandlerImportError(Exception):
    """The handler cannot be imported; ``reply`` holds Lambda's error document, the process ends by itself."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("The handler cannot be imported")
        self.reply = reply


class Environment:
    """A started child process; ``start`` makes one."""

    def __init__(self, process: subprocess.Popen[bytes], streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]):
        self._process = process
        self._reader, self._writer = streams

    @classmethod
    async def start(cls, handler: str, *, root: Path, variables: Mapping[str, str], log: int) -> Environment:
        """Start the process; its output goes to the file descriptor ``log``. ``initialise`` says whether it can work.

        Raises: OSError when the machine has no process to give.
        """
        ours, theirs = socket.socketpair()
        try:
            # A group of its own: Ctrl-C in the terminal reaches the parent alone, which then stops in good order. No
            # session of its own: Linux would divide the machine by sessions, and every environment get a whole share.
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and the template's handler
                [sys.executable, "-m", "weir.infra.local.function.runtime", handler, str(theirs.fileno())],
                cwd=root,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, await asyncio.open_connection(sock=ours))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None and not self._reader.at_eof()

    async def initialise(self, *, memory_mb: int) -> None:
        """Wait for the handler's import. Raises: HandlerImportError, EnvironmentLostError."""
        reply = await self._reply(INIT_LIMIT_S, memory_mb)
        if not reply.ok:
            raise HandlerImportError(reply)

    async def invoke(self, call: Mapping[str, Any], event: bytes, *, timeout_s: float, memory_mb: int) -> Reply:
        """Run one invocation; ``call`` is what the context object is made from.

        Raises: EnvironmentLostError; the process is gone then; a call that is cancelled ends it, too.
        """
        for frame in (json.dumps(call).encode(), event):
            self._writer.write(HEADER.pack(len(frame)) + frame)
        return await self._reply(timeout_s, memory_mb)

    def kill(self) -> None:
        """End the process and everything it started, now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End the process and wait until it is gone; an idle one ends by itself when its socket closes."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        try:
            await asyncio.to_thread(self._process.wait, _EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()
            self._process.wait()

    async def _reply(self, timeout_s: float, memory_mb: int) -> Reply:
        reading = asyncio.ensure_future(self._read())
        try:
            fate = await self._watch(reading, time.monotonic() + timeout_s, memory_mb)
            if fate is None:
                return reading.result()
        except (EOFError, OSError):
            fate = "exit"
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            reading.cancel()
        if fate != "exit":
            self.kill()
        raise EnvironmentLostError(fate, await self._ending())

    async def _watch(self, reading: asyncio.Future[Reply], deadline_s: float, memory_mb: int) -> Fate | None:
        while True:
            remaining_s = deadline_s - time.monotonic()
            done, _ = await asyncio.wait({reading}, timeout=max(0.0, min(_MEMORY_CHECK_S, remaining_s)))
            if done:
                return None
            if remaining_s <= 0:
                return "timeout"
            if resident_mb(self.pid) > memory_mb:
                return "memory"

    async def _read(self) -> Reply:
        status: dict[str, Any] = json.loads(await self._frame())
        return Reply(status["ok"], await self._frame(), status["max_memory_mb"])

    async def _frame(self) -> bytes:
        (size,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        return await self._reader.readexactly(size)

    async def _ending(self) -> str:
        """Say how the process ended, in Lambda's words."""
        try:
            status = await asyncio.to_thread(self._process.wait, _EXIT_WAIT_S)
        except subprocess.TimeoutExpired:  # it closed its socket and lives on
            self.kill()
            status = await asyncio.to_thread(self._process.wait)
        if status < 0:
            return f"signal: {(signal.strsignal(-status) or str(-status)).lower()}"
        return f"exit status {status}"


def resident_mb(pid: int) -> int:
    """Return the memory that a process holds; 0 where the system has no /proc, so that no limit is enforced there."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * _PAGE_BYTES // (1024 * 1024)

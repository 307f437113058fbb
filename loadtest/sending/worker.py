"""One process of a run: an event loop that sends, and a child that makes its requests ahead of their time."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from weir.loadtest.sending.attack import Attack, Driver, Limits
from weir.loadtest.sending.plan import Plan, Planned, Planner

_CHUNK_COUNT, _CHUNK_BYTES = 256, 1 << 20
_AHEAD_BYTES = 256 << 20
_HEADER = struct.Struct(">I")


class Part(NamedTuple):
    """Which worker, of how many."""

    worker: int
    worker_count: int


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """What a worker says of itself when it is done; the times are those of its own process while it sent."""

    driver: Driver
    cpu_s: float
    wall_s: float
    failed: str = ""  # why its results could not be kept


class _Kept:
    """A worker's results; when they cannot be written, the sending ends, and the report says so."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1 << 16)
        self.failed = ""
        self.on_failure: Callable[[], None] = lambda: None

    def write(self, line: str) -> None:
        self._attempt(lambda: self._file.write(line))

    def flush(self) -> None:
        self._attempt(self._file.flush)

    def _attempt(self, act: Callable[[], object]) -> None:
        if self.failed:
            return
        try:
            act()
        except OSError as error:
            self.failed = error.strerror or str(error)
            self.on_failure()


def make(plan: Plan, part: Part, out: int, started_at_ms: int) -> None:
    """Write a worker's requests as pickled lists to the descriptor ``out``; ends when its reader has gone."""
    os.nice(5)  # the sender goes first: a plan is ahead of its time
    chunk: list[Planned] = []
    size = 0
    with os.fdopen(out, "wb") as pipe:
        try:
            for planned in Planner(plan, started_at_ms).requests(part.worker, part.worker_count):
                chunk.append(planned)
                size += len(planned.request)
                if len(chunk) >= _CHUNK_COUNT or size >= _CHUNK_BYTES:
                    _write(pipe, chunk)
                    chunk, size = [], 0
            _write(pipe, chunk)
            _write(pipe, [])
        except BrokenPipeError:
            os._exit(0)  # closing the pipe would raise again


def _write(pipe: Any, chunk: list[Planned]) -> None:
    content = pickle.dumps(chunk, pickle.HIGHEST_PROTOCOL)
    pipe.write(_HEADER.pack(len(content)) + content)
    pipe.flush()


class _Feed(asyncio.Protocol):
    """Reads the planner's pipe into an attack, and stops reading while far enough ahead."""

    def __init__(self, attack: Attack, ahead_count: int) -> None:
        self._attack, self._ahead_count = attack, ahead_count
        self._buffer = bytearray()
        self._transport: Any = None
        self._average_bytes = 0.0
        self.ready = asyncio.Event()
        self.failed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            (size,) = _HEADER.unpack_from(self._buffer)
            if len(self._buffer) < 4 + size:
                break
            self._take(pickle.loads(memoryview(self._buffer)[4 : 4 + size]))  # noqa: S301 - our own child's
            del self._buffer[: 4 + size]
        if self._far_enough():
            self.ready.set()
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on once there is room."""
        if self._transport is not None and not self._transport.is_closing() and not self._far_enough():
            self._transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self.failed = not self.ready.is_set()
        self._attack.end_feed()
        self.ready.set()

    def _take(self, chunk: list[Planned]) -> None:
        if not chunk:
            self.ready.set()
            self._attack.end_feed()
            return
        size = sum(len(planned.request) for planned in chunk) / len(chunk)
        self._average_bytes = max(size, self._average_bytes * 0.9)
        self._attack.feed(chunk)

    def _far_enough(self) -> bool:
        return self._attack.queued >= min(self._ahead_count, _AHEAD_BYTES / max(1.0, self._average_bytes))


def work(plan: Plan, limits: Limits, part: Part, path: Path, pipe: Pipe) -> None:
    """Run one worker: say ``ready`` on the pipe, take the start time from it, send, give its own figures back.

    Anything more on the pipe, its end too, stops the sending: Ctrl-C is for the process that started the workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_work(plan, limits, part, path, pipe))


async def _work(plan: Plan, limits: Limits, part: Part, path: Path, pipe: Pipe) -> None:
    reading, writing = os.pipe()
    started_at_ms = int(time.time() * 1000)
    planner = get_context("fork").Process(
        target=_planner, args=(plan, part, (reading, writing), started_at_ms), daemon=True
    )
    planner.start()
    os.close(writing)
    kept = _Kept(path)
    attack = Attack(plan.endpoint, limits, kept.write)
    kept.on_failure = attack.stop
    feed = _Feed(attack, limits.ahead_count)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: feed, os.fdopen(reading, "rb"))
    await feed.ready.wait()
    pipe.send("failed" if feed.failed else "ready")
    start_at_s: float = await loop.run_in_executor(None, pipe.recv)
    gc.collect()
    gc.freeze()  # the requests ahead are many objects, and a full collection over them would hold up the sending
    topping = asyncio.create_task(_top_up(feed, kept))
    loop.add_reader(pipe.fileno(), lambda: _stop(attack, pipe))
    before = os.times()
    await attack.run(start_at_s)
    after = os.times()
    topping.cancel()
    loop.remove_reader(pipe.fileno())
    kept.flush()
    planner.kill()
    cpu_s = after.user + after.system - before.user - before.system
    with suppress(BrokenPipeError):  # its reader has gone, but its results are kept
        pipe.send(WorkerEnd(attack.driver, cpu_s, after.elapsed - before.elapsed, kept.failed))


def _stop(attack: Attack, pipe: Pipe) -> None:
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    attack.stop()


async def _top_up(feed: _Feed, kept: _Kept) -> None:
    """Now and then make requests ahead, and write the results out, so that they can be read meanwhile."""
    while True:
        await asyncio.sleep(0.25)
        feed.resume()
        kept.flush()


def _planner(plan: Plan, part: Part, pipe: tuple[int, int], started_at_ms: int) -> None:
    os.close(pipe[0])
    make(plan, part, pipe[1], started_at_ms)

"""The open loop: sends each request when it is due, whatever became of those before it, and retries as a sender does.

Latency counts from the intended time. What the driver itself adds is measured apart: how late its own clock tick came,
how often it had no connection left, how often its requests were not made in time.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from weir.loadtest.sending.connection import Answer, Connection
from weir.loadtest.sending.plan import Planned

_TICK_S = 0.001
_SWEEP_S = 0.5
# API Gateway answers within 29 s: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_ANSWER_LIMIT_S = 30.0
_RETRIED = {0, 429, 503}
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
_SAID_BYTES = 200

Write = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """Connections at most, how long a sender tries again, and when sending ends though not all is sent.

    ``ahead_count`` is how many requests each worker has ready before the start.
    """

    connections: int = 256
    warm_connections: int = 8
    patience_s: float = 120.0
    send_for_s: float = float("inf")
    ahead_count: int = 100_000


@dataclass(slots=True)
class Driver:
    """What the driver itself did; ``late_tenths_ms`` counts its ticks by how late they came, in tenths of a ms."""

    sent: int = 0
    unsent: int = 0
    attempts: int = 0
    most_open: int = 0
    waited_for_connection: int = 0
    starved: int = 0
    late_tenths_ms: Counter[int] = field(default_factory=Counter)


class Exchange:
    """One request under way, over all its attempts."""

    __slots__ = ("attempts", "due_s", "first_status", "intended_s", "planned", "refused", "sent_s", "started_s")

    def __init__(self, planned: Planned, intended_s: float) -> None:
        self.planned = planned
        self.intended_s = intended_s
        self.due_s = intended_s
        self.sent_s = 0.0  # of the first attempt
        self.started_s = 0.0  # of the attempt under way
        self.attempts = 0
        self.first_status = -1
        self.refused: Answer | None = None  # the answer after which it is to come again

    def __lt__(self, other: Exchange) -> bool:
        return self.due_s < other.due_s


class Attack:
    """One event loop's share of a run. ``feed`` gives planned requests, in the order of time; ``end_feed`` ends it."""

    def __init__(self, endpoint: str, limits: Limits, write: Write) -> None:
        target = urlsplit(endpoint)
        self._host = target.hostname or ""
        self._port = target.port or (443 if target.scheme == "https" else 80)
        self._tls = target.scheme == "https" or None
        self._limits, self._write = limits, write
        self._queue: deque[Planned] = deque()
        self._fed = False
        self._stopped = False
        self._retries: list[Exchange] = []
        self._waiting: deque[Exchange] = deque()
        self._idle: list[Connection] = []
        self._busy: dict[Connection, Exchange] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._open_count = 0
        self._random = random.Random()  # noqa: S311 - jitter
        self._start_s, self._epoch_s = float("inf"), 0.0
        self.driver = Driver()

    @property
    def queued(self) -> int:
        return len(self._queue)

    def feed(self, planned: list[Planned]) -> None:
        """Add requests; call it ahead of their time."""
        if not self._stopped:
            self._queue.extend(planned)

    def end_feed(self) -> None:
        """Say that nothing more will be fed."""
        self._fed = True

    def stop(self) -> None:
        """Send nothing more and try nothing again; answers under way are waited for."""
        self._stopped = True
        retries = [*self._retries, *(one for one in self._waiting if one.refused is not None)]
        self._drop_unsent()
        self._retries.clear()
        now_s = time.perf_counter()
        for exchange in retries:
            if exchange.refused is not None:
                self._write(self._line(exchange, exchange.refused, now_s))

    async def run(self, start_at_s: float) -> None:
        """Send everything and wait for the answers; ``start_at_s`` is the epoch time of offset 0."""
        await asyncio.gather(
            *(self._connect() for _ in range(min(self._limits.warm_connections, self._limits.connections)))
        )
        self._start_s = time.perf_counter() + start_at_s - time.time()
        self._epoch_s = start_at_s - self._start_s
        await asyncio.sleep(max(0.0, start_at_s - time.time() - _TICK_S))
        sweeping = asyncio.create_task(self._sweep())
        try:
            while not self._done():
                await self._tick()
        finally:
            sweeping.cancel()
            for task in list(self._opening):
                task.cancel()
            for connection in [*self._idle, *self._busy]:
                connection.abort("the run ended")

    def _done(self) -> bool:
        elapsed_s = time.perf_counter() - self._start_s
        if elapsed_s > self._limits.send_for_s and (self._queue or self._waiting or not self._fed):
            self._drop_unsent()
        return self._fed and not (self._queue or self._waiting or self._busy or self._retries)

    def _drop_unsent(self) -> None:
        self.driver.unsent += len(self._queue) + sum(exchange.attempts == 0 for exchange in self._waiting)
        self._queue.clear()
        self._waiting.clear()
        self._fed = True

    # --- time

    async def _tick(self) -> None:
        """Send what is due, then sleep."""
        now_s = time.perf_counter()
        self._send_due(now_s)
        if not self._queue and not self._fed and not self._waiting:
            self.driver.starved += 1
        # The event loop counts whole milliseconds; anything shorter would spin, and cost who is tested its processor.
        wake_s = time.perf_counter() + _TICK_S
        await asyncio.sleep(_TICK_S)
        self.driver.late_tenths_ms[int((time.perf_counter() - wake_s) * 10_000)] += 1

    def _send_due(self, now_s: float) -> None:
        while self._retries and self._retries[0].due_s <= now_s:
            self._begin(heapq.heappop(self._retries))
        queue, start_s = self._queue, self._start_s
        # A request that waits for a connection blocks those behind it: their order is kept, their lateness is counted.
        while queue and not self._waiting and start_s + queue[0].at_s <= now_s:
            planned = queue.popleft()
            self._begin(Exchange(planned, start_s + planned.at_s))

    def _begin(self, exchange: Exchange) -> None:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                self._send(connection, exchange)
                return
        self._waiting.append(exchange)
        if self._open_count + len(self._opening) < self._limits.connections:
            task = asyncio.ensure_future(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        else:
            self.driver.waited_for_connection += 1

    def _send(self, connection: Connection, exchange: Exchange) -> None:
        now_s = time.perf_counter()
        if exchange.attempts == 0:
            exchange.sent_s = now_s
            self.driver.sent += 1
        exchange.started_s = now_s
        exchange.attempts += 1
        self.driver.attempts += 1
        self._busy[connection] = exchange
        connection.send(exchange, exchange.planned.request)

    # --- connections

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._answered, self._lost), self._host, self._port, ssl=self._tls
            )
        except OSError as error:
            if self._waiting:
                self._concluded(self._waiting.popleft(), Answer(0, "", "", str(error).encode()))
            return
        self._open_count += 1
        self.driver.most_open = max(self.driver.most_open, self._open_count)
        self._free(connection)

    def _free(self, connection: Connection) -> None:
        if not connection.open:
            return
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)
        if self._queue and self._idle:
            self._send_due(time.perf_counter())

    def _lost(self, _: Connection) -> None:
        self._open_count -= 1

    async def _sweep(self) -> None:
        """End attempts that have had no answer for longer than a gateway may take, and open what is missing."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            limit_s = time.perf_counter() - _ANSWER_LIMIT_S
            for connection, exchange in list(self._busy.items()):
                if exchange.started_s < limit_s:
                    connection.abort("no answer in time")
            if self._waiting and self._open_count + len(self._opening) == 0:
                await self._connect()

    # --- answers

    def _answered(self, connection: Connection, exchange: Exchange, answer: Answer) -> None:
        self._busy.pop(connection, None)
        self._concluded(exchange, answer)
        self._free(connection)

    def _concluded(self, exchange: Exchange, answer: Answer) -> None:
        now_s = time.perf_counter()
        if exchange.first_status < 0:
            exchange.first_status = answer.status
        if exchange.attempts == 0:  # it never got a connection
            exchange.attempts, exchange.sent_s = 1, now_s
        patient = now_s - exchange.intended_s < self._limits.patience_s and not self._stopped
        if answer.status in _RETRIED and patient:
            exchange.refused = answer
            exchange.due_s = now_s + self._wait_s(exchange.attempts, answer.retry_after)
            heapq.heappush(self._retries, exchange)
            return
        self._write(self._line(exchange, answer, now_s))

    def _wait_s(self, attempts: int, retry_after: str) -> float:
        """Return how long a sender waits: Retry-After, or twice as long each time; never less, a little more."""
        given_s = float(retry_after) if retry_after.isdigit() else 0.0
        wait_s = given_s or min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (attempts - 1))
        return wait_s * (1 + self._random.random() * 0.2)

    def _line(self, exchange: Exchange, answer: Answer, now_s: float) -> str:
        epoch_s = self._epoch_s
        accepted = 200 <= answer.status < 300
        what = f'"request_id": {_request_id(answer)}' if accepted else f'"said": {_said(answer)}'
        return (
            f"{{{exchange.planned.facts}, "
            f'"intended_at_ms": {(epoch_s + exchange.intended_s) * 1000:.3f}, '
            f'"sent_at_ms": {(epoch_s + exchange.sent_s) * 1000:.3f}, "done_at_ms": {(epoch_s + now_s) * 1000:.3f}, '
            f'"status": {answer.status}, "first_status": {exchange.first_status}, '
            f'"attempts": {exchange.attempts}, {what}}}\n'
        )


def _request_id(answer: Answer) -> str:
    if answer.body.startswith(b'{"id":"') and answer.body.endswith(b'"}') and answer.body.count(b'"') == 4:
        return answer.body[6:-1].decode("ascii")  # Weir's own answer, its id still quoted
    try:
        return json.dumps(json.loads(answer.body)["id"])
    except (ValueError, KeyError, TypeError):
        return json.dumps(answer.request_id)


def _said(answer: Answer) -> str:
    return json.dumps(answer.body[:_SAID_BYTES].decode("utf-8", "replace"))

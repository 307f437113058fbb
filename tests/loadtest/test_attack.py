from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from tests.support.load import Reply, ToldServer, plan, stored
from weir.loadtest.sending import pacer
from weir.loadtest.sending.attack import Attack, Limits
from weir.loadtest.sending.mix import Mix
from weir.loadtest.sending.plan import Planner, Timing


async def sent(server: ToldServer, timing: Timing, limits: Limits | None = None) -> tuple[list[dict[str, Any]], Attack]:
    lines: list[str] = []
    attack = Attack(server.url, limits or Limits(), lines.append)
    attack.feed(list(Planner(plan(server.url, timing, mix=Mix()), int(time.time() * 1000)).requests()))
    attack.end_feed()
    await attack.run(time.time() + 0.05)
    return [json.loads(line) for line in lines], attack


async def test_a_throttled_request_is_sent_again_after_the_wait_it_was_told() -> None:
    """A 503 is retried no sooner than Retry-After says, with the same bytes, and its latency holds all of it."""
    seen: dict[str, list[float]] = {}

    def reply(headers: dict[str, str], _: bytes) -> Reply:
        times = seen.setdefault(headers["X-Weir-Seq"], [])
        times.append(time.monotonic())
        return (503, {"Retry-After": "1"}, b"{}") if len(times) == 1 else stored("id-1")

    async with ToldServer(reply) as server:
        rows, _ = await sent(server, Timing("even", pacer.constant(10, 0.5)))
    assert len(rows) == 5
    for row in rows:
        first, second = seen[str(row["seq"])]
        assert second - first >= 1.0
        assert (row["status"], row["first_status"], row["attempts"], row["request_id"]) == (200, 503, 2, "id-1")
        assert row["done_at_ms"] - row["intended_at_ms"] >= 1000


async def test_a_final_refusal_is_not_retried() -> None:
    """A 413 is taken for what it is, and what was said is kept."""
    async with ToldServer(lambda *_: (413, {}, b'{"error":"too_large"}')) as server:
        rows, attack = await sent(server, Timing("even", pacer.constant(20, 0.5)))
    assert {row["status"] for row in rows} == {413}
    assert rows[0]["said"] == '{"error":"too_large"}'
    assert attack.driver.attempts == len(rows) == 10


async def test_a_cut_connection_is_an_attempt_without_answer() -> None:
    """A sender whose connection breaks before the answer does not know, and sends the same again."""
    first = iter([None, None])
    async with ToldServer(lambda *_: next(first, stored("x"))) as server:
        rows, _ = await sent(server, Timing("even", pacer.constant(10, 0.3)))
    assert {row["status"] for row in rows} == {200}
    assert sum(row["first_status"] == 0 for row in rows) == 2


async def test_a_sender_s_patience_ends() -> None:
    """What is refused for longer than the sender's patience is given up and says so."""
    async with ToldServer(lambda *_: (503, {}, b"busy")) as server:
        rows, _ = await sent(server, Timing("even", pacer.constant(10, 0.2)), Limits(patience_s=1.5))
    assert [(row["status"], row["said"]) for row in rows] == [(503, "busy")] * 2
    assert all(row["attempts"] >= 2 for row in rows)


async def test_a_slow_server_omits_nothing() -> None:
    """Behind one connection and a server of 50 ms, requests due every 10 ms show the whole wait in their latency."""

    class Slow(ToldServer):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                await asyncio.sleep(0.05)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with Slow(lambda *_: None) as server:
        limits = Limits(connections=1, warm_connections=1)
        rows, attack = await sent(server, Timing("even", pacer.constant(100, 0.2)), limits)
    latencies = sorted(row["done_at_ms"] - row["intended_at_ms"] for row in rows)
    assert len(latencies) == 20
    assert latencies[-1] >= 20 * 50 - 200
    assert attack.driver.waited_for_connection > 0


async def test_an_address_without_a_listener_is_reported() -> None:
    """Without a server every request ends with status 0 and the reason."""
    async with ToldServer(lambda *_: None) as server:
        pass
    rows, _ = await sent(server, Timing("even", pacer.constant(10, 0.3)), Limits(patience_s=0.1))
    assert {row["status"] for row in rows} == {0}
    assert "Connect call failed" in rows[0]["said"]


async def test_stopped_it_tries_nothing_again() -> None:
    """Who stops an attack gets the last answer of what was waiting to be sent again, and nothing more is sent."""
    lines: list[str] = []
    async with ToldServer(lambda *_: (503, {"Retry-After": "60"}, b"{}")) as server:
        attack = Attack(server.url, Limits(), lines.append)
        timing = Timing("even", pacer.constant(20, 60))
        attack.feed(list(Planner(plan(server.url, timing, mix=Mix()), int(time.time() * 1000)).requests()))
        asyncio.get_running_loop().call_later(1.0, attack.stop)
        started_s = time.monotonic()
        await attack.run(time.time() + 0.05)
        assert time.monotonic() - started_s < 10
        await asyncio.sleep(0.05)  # until the server has seen that its senders have gone
    rows = [json.loads(line) for line in lines]
    assert {(row["status"], row["attempts"]) for row in rows} == {(503, 1)}
    assert 5 < len(rows) == attack.driver.sent < 60
    assert attack.driver.unsent == 1200 - len(rows)

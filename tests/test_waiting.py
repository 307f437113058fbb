"""A payment before its order, on a whole stack: it waits, holds up nothing, and the stack's own schedule applies it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.running import Running
from weir.infra import place, secrets
from weir.ingest.schemes import signatures
from weir.ingest.sources.sources_file import SourceEntry, resolve

pytestmark = pytest.mark.engine

CODE = """
from weir import Event, Put, Table, Update, Wait, effect, exists

orders = Table("orders", key={"order": str})


@effect("payments", "order.created")
def create(event: Event):
    return [Put(orders, {"order": event.payload["order"]})]


@effect("payments", "order.paid")
def pay(event: Event):
    order = {"order": event.payload["order"]}
    return [Update(orders, order, set={"paid": True}, condition=exists("order"), wait=Wait(for_s=600))]
"""
PAYMENTS = resolve("payments", SourceEntry(preset="standard-webhooks"))
# The schedule of one minute, twice, since the first may come before the event is due.
PATIENCE_S = 150


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text(CODE)
    (tmp_path / "pyproject.toml").write_text('[tool.weir]\npackage = "shop"\n')
    (tmp_path / "sources.yaml").write_text("payments: {preset: standard-webhooks}\n")
    running = Running(tmp_path / ".weir", WEIR_PROJECT=str(tmp_path)).wait_ready()
    yield running
    running.stop()


def post(stack: Running, kind: str, order: str) -> None:
    """Send one signed delivery."""
    secret = secrets.live(place.embedded(stack.home), PAYMENTS)[0].value
    body = json.dumps({"type": kind, "order": order}).encode()
    now_ms, name = round(time.time() * 1000), f"msg_{kind}_{order}"
    proof = signatures.sign(PAYMENTS.scheme, secret, body, at_ms=now_ms, message_id=name)

    async def send() -> None:
        headers = {"Content-Type": "application/json", **proof}
        url = f"http://127.0.0.1:{stack.port}/v1/payments"
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200

    asyncio.run(send())


def test_a_payment_before_its_order(stack: Running) -> None:
    """While it waits everything else goes on, and the account says so; then it is applied, and said to be."""

    def orders() -> dict[str, Any]:
        rows = map(json.loads, stack.weir("items", "orders", "--json").splitlines())
        return {row["order"]: row.get("paid") for row in rows}

    def account() -> dict[str, Any]:
        return json.loads(stack.weir("account", "--json"))  # type: ignore[no-any-return]

    post(stack, "order.paid", "7")
    post(stack, "order.created", "8")
    post(stack, "order.paid", "8")
    deadline_s = time.monotonic() + PATIENCE_S
    while (found := account())["waiting"] != 1 or found["applied"] != 2:
        assert time.monotonic() < deadline_s, found
        time.sleep(0.3)
    assert orders() == {"8": True}
    assert "waits_until" in stack.weir("events", "msg_order.paid_7")
    post(stack, "order.created", "7")
    while orders() != {"7": True, "8": True}:
        assert time.monotonic() < deadline_s, (orders(), stack.output)
        time.sleep(0.5)
    assert stack.weir("events", "--outcome", "waiting") == ""
    found = account()
    assert (found["applied"], found["waiting"], found["unaccounted"]) == (4, 0, 0)
    assert "applied" in stack.weir("events", "msg_order.paid_7")

"""A proxy in front of the engines that breaks calls by rules, so that the product needs no flag for it.

It runs in a thread of its own. Rules are asked in their order; the first that matches a call decides what happens:
an error instead of the call, a delay, another request, or an answer that never arrives though the call was made.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

_HOP_HEADERS = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "content-encoding",
    "host",
    "date",
    "expect",
}
_JSON = "application/x-amz-json-1.0"
_START_S = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the engine: ``service`` in lower case, ``action`` such as PutRecord or, for S3, its method.

    ``from_port`` is the caller's end of the connection.
    """

    service: str
    action: str
    body: bytes
    from_port: int = 0

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of a JSON call."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the proxy's own; with status 0 the connection is cut instead."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    sent_bytes: int | None = None  # cut after so much of the body


Forward = Callable[[Call], Awaitable[Reply]]
Behaviour = Callable[[Call, Forward], Awaitable[Reply]]
CUT = Reply(0)


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do with some share of the calls of a service, or of some of its actions; the first call is of that share.

    ``what`` says in words what it does, for the count of how often it did.
    """

    service: str
    behaviour: Behaviour
    actions: frozenset[str] = frozenset()
    share: float = 1.0
    what: str = ""

    def matches(self, call: Call, drawn: float) -> bool:
        """Tell whether this rule is for a call; ``drawn`` is a random number below 1."""
        return call.service == self.service and (not self.actions or call.action in self.actions) and drawn < self.share


class Proxy:
    """Listens on a free loopback port; ``with proxy.rules(...)`` breaks calls until the block ends.

    ``kinesis`` is the engine of the stream where that is another. ``hits`` counts the calls that each service's rules
    met, ``met`` those that each rule did.
    """

    def __init__(self, port: int, engine: str, *, kinesis: str | None = None) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.hits: Counter[str] = Counter()
        self.met: Counter[Rule] = Counter()
        self._port, self._engine, self._kinesis = port, engine, kinesis or engine
        self._rules: tuple[Rule, ...] = ()
        self._random = random.Random()  # noqa: S311 - which calls are broken
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopping = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="engine-proxy")

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._ready.wait(_START_S)

    def stop(self) -> None:
        """Stop listening; calls under way are cut."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_START_S)

    @contextmanager
    def rules(self, *rules: Rule) -> Iterator[None]:
        """Put rules in force, before those that are, until the block ends."""
        before = self._rules
        self._rules = (*rules, *before)
        try:
            yield
        finally:
            self._rules = before

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.run_until_complete(_end_tasks())
        self._loop.close()

    async def _serve(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=120), auto_decompress=False
        )
        # A call that its caller cut ends here, too.
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect"):
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        try:
            body = await request.content.read()  # request.read() would stop at 1 MiB
        except ConnectionError:
            return web.Response(status=500)  # the caller has gone
        target = request.headers.get("X-Amz-Target", "")
        service = _service(request.headers.get("Authorization", ""))
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        call = Call(service, target.rpartition(".")[2] or request.method, body, peer[1] if peer else 0)

        async def forward(changed: Call) -> Reply:
            return await self._forward(request, changed)

        drawn = self._random.random()
        # Chance must not leave a rule without any call.
        rule = next((rule for rule in self._rules if rule.matches(call, drawn if self.met[rule] else 0.0)), None)
        if rule is None:
            reply = await forward(call)
        else:
            self.hits[service] += 1
            self.met[rule] += 1
            reply = await rule.behaviour(call, forward)
        if reply.status == 0:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if reply.sent_bytes is not None:
            return await _cut_short(request, reply)
        return web.Response(status=reply.status, body=io.BytesIO(reply.body), headers=dict(reply.headers))

    async def _forward(self, request: web.BaseRequest, call: Call) -> Reply:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS}
        if encoding := request.headers.get("Content-Encoding"):
            headers["Content-Encoding"] = encoding
        session = self._session
        if session is None:
            return CUT
        try:
            engine = self._kinesis if call.service == "kinesis" else self._engine
            url = URL(f"{engine}{request.raw_path}", encoded=True)
            async with session.request(request.method, url, data=io.BytesIO(call.body), headers=headers) as answer:
                content = await answer.read()
                kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_HEADERS]
                return Reply(answer.status, content, tuple(kept))
        except (aiohttp.ClientError, OSError, TimeoutError):
            return CUT


async def _cut_short(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Begin an answer and cut the connection in the middle of its body."""
    answer = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
    answer.content_length = len(reply.body)
    await answer.prepare(request)
    await answer.write(reply.body[: reply.sent_bytes])
    if request.transport is not None:
        request.transport.close()
    return answer


async def _end_tasks() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _service(authorization: str) -> str:
    """Return the service in the credential scope."""
    _, _, scope = authorization.partition("Credential=")
    parts = scope.partition(",")[0].split("/")
    return parts[3].lower() if len(parts) > 3 else ""


# ---------------------------------------------------------------------------------------------- behaviours


def refuse(type_: str, message: str = "injected", *, status: int = 400) -> Behaviour:
    """Answer with an error; the engine never hears of the call."""
    body = json.dumps({"__type": f"com.amazonaws#{type_}", "message": message, "Message": message}).encode()

    async def behaviour(_call: Call, _forward: Forward) -> Reply:
        return Reply(status, body, (("Content-Type", _JSON),))

    return behaviour


def refuse_xml(code: str, *, status: int) -> Behaviour:
    """Answer with an error as S3 writes it."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>injected</Message></Error>'.encode()

    async def behaviour(_call: Call, _forward: Forward) -> Reply:
        return Reply(status, body, (("Content-Type", "application/xml"),))

    return behaviour


async def conflict(call: Call, forward: Forward) -> Reply:
    """Cancel a transaction because another one holds an item; other calls pass."""
    if call.action != "TransactWriteItems":
        return await forward(call)
    return _cancelled([True] + [False] * (len(call.parameters()["TransactItems"]) - 1))


def _cancelled(busy: Sequence[bool]) -> Reply:
    """Return the cancellation of a transaction; ``busy`` tells of each action whether its item was held by others."""
    held = {"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}
    reasons = [held if one else {"Code": "None"} for one in busy]
    said = ", ".join(reason["Code"] for reason in reasons)
    content = {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": f"Transaction cancelled, please refer cancellation reasons for specific reasons [{said}]",
        "CancellationReasons": reasons,
    }
    return Reply(400, json.dumps(content).encode(), (("Content-Type", _JSON),))


async def cut(_call: Call, _forward: Forward) -> Reply:
    """Close the connection; the engine never hears of the call."""
    return CUT


async def lose_answer(call: Call, forward: Forward) -> Reply:
    """Let the call happen and close the connection before its answer."""
    await forward(call)
    return CUT


async def cut_short(call: Call, forward: Forward) -> Reply:
    """Let the call happen and cut its answer in the middle of the body."""
    reply = await forward(call)
    return replace(reply, sent_bytes=len(reply.body) // 2) if reply.status else reply


async def garble(call: Call, forward: Forward) -> Reply:
    """Let the call happen and answer with success, but in no language that the caller knows."""
    await forward(call)
    return Reply(200, b"<html><body>It works!</body></html>", (("Content-Type", "text/html"),))


async def pose(_call: Call, _forward: Forward) -> Reply:
    """Answer with success in the service's place, as a captive portal does; it never hears of the call."""
    return Reply(200, b"<html><body>Please log in.</body></html>", (("Content-Type", "text/html"),))


async def bad_gateway(_call: Call, _forward: Forward) -> Reply:
    """Answer as a middleman does that cannot reach the service."""
    return Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", (("Content-Type", "text/html"),))


def conflict_over(text: str) -> Behaviour:
    """Cancel transactions with an action that names ``text``, as if others kept its item busy; other calls pass."""

    async def behaviour(call: Call, forward: Forward) -> Reply:
        actions = call.parameters().get("TransactItems", [])
        busy = [text in json.dumps(action.get("Update", {}).get("Key", {})) for action in actions]
        return _cancelled(busy) if any(busy) else await forward(call)

    return behaviour


def late(delay_s: float) -> Behaviour:
    """Make the call at once and hold its answer back."""

    async def behaviour(call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        await asyncio.sleep(delay_s)
        return reply

    return behaviour


def slow(delay_s: float) -> Behaviour:
    """Hold the call back before it is made."""

    async def behaviour(call: Call, forward: Forward) -> Reply:
        await asyncio.sleep(delay_s)
        return await forward(call)

    return behaviour


def rewrite(change: Callable[[bytes], bytes]) -> Behaviour:
    """Change a call's body on its way."""

    async def behaviour(call: Call, forward: Forward) -> Reply:
        return await forward(replace(call, body=change(call.body)))

    return behaviour


def once(behaviour: Behaviour) -> Behaviour:
    """Apply a behaviour to one call only; the others pass."""
    left = [1]

    async def first(call: Call, forward: Forward) -> Reply:
        if left[0]:
            left[0] -= 1
            return await behaviour(call, forward)
        return await forward(call)

    return first


def flood(size_bytes: int) -> Behaviour:
    """Answer with more than any function has memory for."""

    async def behaviour(_call: Call, _forward: Forward) -> Reply:
        return Reply(200, b'"' + b"x" * size_bytes, (("Content-Type", _JSON),))

    return behaviour

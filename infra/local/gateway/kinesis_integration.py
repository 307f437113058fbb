"""The gateway's calls to the engine: bytes in, bytes out, over connections that stay open.

An HTTP/1.1 client of its own, since a general one costs more for each delivery than all the rest of the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools


class UnreachableError(Exception):
    """The engine gave no answer: not there, or it closed the connection."""


@dataclass(frozen=True, slots=True)
class IntegrationAnswer:
    """What the engine answered; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class KinesisIntegration:
    """Calls one engine; made and used inside one event loop."""

    def __init__(self, endpoint: str, *, region: str, access_key: str) -> None:
        address = urlsplit(endpoint)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        # The engine routes by the credential scope and checks the key, not the signature.
        scope = f"{access_key}/20260101/{region}/kinesis/aws4_request"
        self._head = (
            f"POST / HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={scope}, "
            f"SignedHeaders=host, Signature={'0' * 64}\r\n"
        )
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def call(
        self, target: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float
    ) -> IntegrationAnswer:
        """Send one request and never a second one: the first may have been stored.

        Raises: TimeoutError, UnreachableError.
        """
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"{self._head}X-Amz-Target: {target}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        connection = self._idle.pop() if self._idle else await self._connect(timeout_s)
        return await connection.exchange((head.encode("latin-1"), body), timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        for connection in list(self._open):
            connection.close()
        while self._open:
            await asyncio.sleep(0)

    async def _connect(self, timeout_s: float) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._idle, self._open), self._host, self._port
                )
        except TimeoutError:
            raise
        except OSError as error:
            raise UnreachableError(str(error)) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, with at most one request on its way; it puts itself among the idle ones after each answer."""

    def __init__(self, idle: list[_Connection], open_: set[_Connection]) -> None:
        self._idle = idle
        self._open = open_
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._waiting: asyncio.Future[IntegrationAnswer] | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    async def exchange(self, request: tuple[bytes, bytes], timeout_s: float) -> IntegrationAnswer:
        """Send a request and wait for its answer."""
        waiting: asyncio.Future[IntegrationAnswer] = self._loop.create_future()
        self._waiting = waiting
        self._transport.writelines(request)
        timer = self._loop.call_later(timeout_s, self._fail, TimeoutError())
        try:
            return await waiting
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close it; a call that waits for an answer gets none."""
        self._transport.close()

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(UnreachableError(f"no HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if self in self._idle:
            self._idle.remove(self)
        self._fail(UnreachableError(str(exc) if exc else "the engine closed the connection"))

    def _fail(self, reason: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(reason)
        self._transport.abort()

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.done():
            self.close()
            return
        if self._parser.should_keep_alive():
            self._idle.append(self)
        else:
            self.close()
        waiting.set_result(IntegrationAnswer(self._parser.get_status_code(), self._headers, b"".join(self._body)))

"""One keep-alive HTTP/1.1 connection: a request at a time, bytes in, status, Retry-After and body out.

A raw protocol instead of an HTTP client: requests are made before they are due, so that sending one is a single write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import httptools


class Answer(NamedTuple):
    """What came back; ``status`` is 0 when nothing did, and ``body`` then says why."""

    status: int
    retry_after: str
    request_id: str
    body: bytes


class Connection(asyncio.Protocol):
    """Sends one request at a time; ``on_answer`` gets the exchange and its answer, or its failure."""

    def __init__(self, on_answer: Callable[[Connection, Any, Answer], None], on_lost: Callable[[Connection], None]):
        self._on_answer, self._on_lost = on_answer, on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._exchange: Any = None
        self._reset()

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, exchange: Any, request: bytes) -> None:
        """Write a request; ``exchange`` comes back with its answer."""
        self._exchange = exchange
        cast("asyncio.Transport", self._transport).write(request)

    def abort(self, reason: str) -> None:
        """Close without waiting; a request under way ends with status 0 and the reason."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._fail(reason)

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._on_lost(self)
        self._fail(str(error or "the connection was closed before the answer"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.abort(f"not HTTP: {error}")

    # --- httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"retry-after":
            self._retry_after = value.decode("latin-1")
        elif lowered == b"x-amz-apigw-id":
            self._request_id = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 100:
            return
        answer = Answer(status, self._retry_after, self._request_id, self._body)
        keeps = self._parser.should_keep_alive()
        self._reset()
        exchange, self._exchange = self._exchange, None
        if not keeps and self._transport is not None:
            self._transport.close()
            self._transport = None
        if exchange is not None:
            self._on_answer(self, exchange, answer)

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._retry_after = self._request_id = ""
        self._body = b""

    def _fail(self, reason: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._on_answer(self, exchange, Answer(0, "", "", reason.encode()))

"""A server that accepts everything at once and does nothing, to see how fast the driver alone is.

python -m weir.loadtest.bench.null_server PORT        prints `listening` once it does; port 0 takes a free one
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools

from weir.loadtest.bench.loopback_server import run

_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"id":"nothing"}'


class NullProtocol(asyncio.Protocol):
    """Reads requests to their end and answers each with 200."""

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._transport is not None:
            self._transport.write(_ANSWER)


if __name__ == "__main__":
    run(NullProtocol)

"""A deployed API and what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """An HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """Return the body as JSON, or as text when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body.decode("utf-8", "replace")


class Api(ABC):
    """A deployed API; ``url`` is its stage, ``via`` the host and port of the emulator that answers for its host."""

    url: str
    via: str | None = None

    async def send(
        self, path: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = (), *, method: str = "POST"
    ) -> Answer:
        """Send one request with exactly these headers beside Host and Content-Length."""
        return await asyncio.to_thread(self._send, path, body, list(headers), method)

    def _send(self, path: str, body: bytes, headers: list[tuple[str, str]], method: str) -> Answer:
        address = urlsplit(self.url)
        connection = self._connection()
        try:
            connection.putrequest(method, address.path + path, skip_host=True, skip_accept_encoding=True)
            for name, value in [("Host", address.netloc), ("Content-Length", str(len(body))), *headers]:
                connection.putheader(name, value)
            connection.endheaders()
            # Refused before the body was read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                connection.send(body)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        address = urlsplit(self.url)
        if self.via is None and address.scheme == "https":
            return http.client.HTTPSConnection(address.netloc, timeout=60)
        return http.client.HTTPConnection(self.via or address.netloc, timeout=60)

    @abstractmethod
    async def log_lines(self, count: int) -> list[str]:
        """Return the access log, once it has this many lines or nothing comes any more."""

"""Plans for load tests, and a server that answers as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from tests.support.ledger import SOURCES
from weir.ingest.schemes import signatures
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import load
from weir.loadtest.sending.mix import Mix
from weir.loadtest.sending.plan import Plan, Timing

CATALOGUE = load(SOURCES)
# A served request's number and body -> status, headers, body; None cuts the connection.
Reply = tuple[int, dict[str, str], bytes] | None


def secrets_of(catalogue: Catalogue) -> dict[str, str]:
    """Return a signing key for each source, the same every time."""
    return {
        name: signatures.generate_secret(source.scheme, sha256(name.encode()).digest()).sign_with
        for name, source in catalogue.items()
    }


def plan(endpoint: str, timing: Timing, *, mix: Mix | None = None, run: str = "test", **rest: Any) -> Plan:
    """Return a plan over the project's own sources file."""
    return Plan(run, endpoint, CATALOGUE.dump(), secrets_of(CATALOGUE), mix or Mix(), timing, **rest)


class ToldServer:
    """Serves on a free loopback port; ``reply`` decides the answer to each request from its headers and body."""

    def __init__(self, reply: Callable[[dict[str, str], bytes], Reply]) -> None:
        self._reply = reply
        self._server: asyncio.Server | None = None
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def __aenter__(self) -> ToldServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 22)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = (line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:] if line)
                headers = {name: value for name, _, value in lines}
                body = await reader.readexactly(int(headers["Content-Length"]))
                self.requests.append((headers, body))
                reply = self._reply(headers, body)
                if reply is None:
                    break
                status, extra, content = reply
                text = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{text}\r\n".encode() + content)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def stored(request_id: str) -> Reply:
    """Return the gateway's answer for a stored delivery."""
    return 200, {}, json.dumps({"id": request_id}, separators=(",", ":")).encode()

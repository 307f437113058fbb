"""The gateway as a process of its own: ``python -m weir.infra.local.gateway.gateway_process CONFIGURATION.json``.

The configuration holds ``definition``, ``stage_variables``, ``method_settings``, ``access_log``, ``access_log_format``,
``engine`` (its address), ``access_key`` (which the engine wants to be called with), ``port``, and ``functions``: for
each name ``handler``, ``environment``, ``log_path``, ``timeout_s`` and ``memory_mb``.

On SIGHUP it reads the file again and serves what that says from the next request on, without a pause; then it writes
the configuration's ``generation`` into a file beside it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httptools
import uvicorn

from weir.infra import CODE
from weir.infra.local.asgi import Receive, Scope, Send
from weir.infra.local.function.function import Function
from weir.infra.local.gateway import GENERATION_FILE
from weir.infra.local.gateway.gateway import Gateway
from weir.infra.local.serving import OnePieceProtocol, SupervisedServer, end_with_parent
from weir.ingest.errors import ServiceError, StackFailed

# AWS closes idle connections after a while too; a sender's next request opens another.
_KEEP_ALIVE_S = 60
_STOP_S = 10
# API Gateway gives an integration 29 s: by then every request is done with the gateway that it began with.
_LONGEST_S = 30
_BACKLOG = 2048


class GatewayProtocol(OnePieceProtocol):
    """uvicorn's HTTP as API Gateway's front has it: names of headers as spelled, offers of another protocol ignored.

    uvicorn ignores an ``Upgrade`` too, but its parser has dropped the body by then, and Java's client offers HTTP/2
    with every delivery it sends.
    """

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header as it came, where ASGI would have its name in lower case."""
        if len(name) == 6 and name.lower() == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the request, unless it is about to be read again."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request, unless it is about to be read again."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._read_again(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _read_again(self, rest: bytes) -> None:
        """Read the request again without the offer; ``rest`` is what came after its headers."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("Not a proxy.")
            return
        kept = [b"%s: %s\r\n" % pair for pair in self.headers if pair[0].lower() != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"%s %s HTTP/1.1\r\n%s\r\n" % (method, self.url, b"".join(kept)) + rest)


class _Changing:
    """The gateway that serves now; another one may take its place between two requests."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._retired: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._gateway(scope, receive, send)

    async def open(self) -> None:
        """Open what needs the event loop."""
        await self._gateway.startup()

    async def change(self, gateway: Gateway) -> None:
        """Serve with another gateway; requests under way end with the one that they began with."""
        await gateway.startup()
        retired, self._gateway = self._gateway, gateway
        task = asyncio.create_task(_close_later(retired))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def close(self) -> None:
        """Close what is open."""
        for task in self._retired:
            task.cancel()
        await self._gateway.aclose()


async def _close_later(gateway: Gateway) -> None:
    try:
        await asyncio.sleep(_LONGEST_S)
    finally:
        await gateway.aclose()


class _Server(SupervisedServer):
    """A server whose application opens and closes inside its event loop."""

    def __init__(self, serving: _Changing, config: uvicorn.Config, path: Path) -> None:
        super().__init__(config)
        self._serving, self._path = serving, path
        self._changes: set[asyncio.Task[None]] = set()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serving.open()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hangup)
        try:
            await super().serve(sockets)
        finally:
            await self._serving.close()

    def _on_hangup(self) -> None:
        task = asyncio.create_task(self._read_again())
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)

    async def _read_again(self) -> None:
        try:
            configuration = json.loads(self._path.read_text(encoding="utf-8"))
            await self._serving.change(make(configuration))
        except (ServiceError, OSError, ValueError, KeyError) as error:
            sys.stderr.write(f"the configuration was not taken: {error}\n")
            sys.stderr.flush()
            return
        told = self._path.with_name(GENERATION_FILE)
        draft = told.with_suffix(".new")
        draft.write_text(str(configuration["generation"]), encoding="ascii")
        draft.replace(told)


def serve(gateway: Gateway, host: str, port: int, path: Path) -> None:
    """Serve until SIGTERM; requests under way are answered first. ``path`` is the file that SIGHUP has read again.

    Raises: StackFailed when the port is in use.
    """
    listener = bind(host, port)
    serving = _Changing(gateway)
    config = uvicorn.Config(
        serving,
        http=GatewayProtocol,
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
    )
    _Server(serving, config, path).run([listener])


def bind(host: str, port: int) -> socket.socket:
    """Listen on a port.

    Raises: StackFailed when it is in use.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StackFailed(f"Port {port} is in use; choose another with PORT=, as in `make run PORT=8081`.") from error
    return listener


def main() -> None:
    """Serve what the configuration says; end when the parent dies."""
    end_with_parent()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that closes is the parent's business
    path = Path(sys.argv[1])
    configuration = json.loads(path.read_text(encoding="utf-8"))
    try:
        serve(make(configuration), "127.0.0.1", configuration["port"], path)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


def make(configuration: Mapping[str, Any]) -> Gateway:
    """Return the gateway that a configuration describes. Raises: TemplateUnsupported."""
    return Gateway(
        configuration["definition"],
        stage_variables=configuration["stage_variables"],
        engine_endpoint=configuration["engine"],
        access_key=configuration["access_key"],
        access_log=Path(configuration["access_log"]),
        access_log_format=configuration["access_log_format"],
        method_settings=configuration["method_settings"],
        functions={
            name: _function(name, given, configuration["access_key"])
            for name, given in configuration.get("functions", {}).items()
        },
    )


def _function(name: str, given: dict[str, Any], access_key: str) -> Function:
    return Function(
        given["handler"],
        given["environment"],
        root=CODE,
        log_path=Path(given["log_path"]),
        name=name,
        timeout_s=given["timeout_s"],
        memory_mb=given["memory_mb"],
        reserved_concurrency=given["reserved_concurrency"],
        access_key=access_key,
    )


if __name__ == "__main__":
    main()

"""The gateway as a process of its own: ``python -m weir.infra.local.gateway.gateway_process CONFIGURATION.json``.

The configuration holds ``definition``, ``stage_variables``, ``method_settings``, ``access_log``, ``access_log_format``,
``engine`` (its address), ``access_key`` (which the engine wants to be called with), ``port``, and ``functions``: for
each name ``handler``, ``environment``, ``log_path``, ``timeout_s`` and ``memory_mb``.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import httptools
import uvicorn

from weir.infra import CODE
from weir.infra.local.function.function import Function
from weir.infra.local.gateway.gateway import Gateway
from weir.infra.local.serving import OnePieceProtocol, SupervisedServer, end_with_parent
from weir.ingest.errors import ServiceError, StackFailed

# AWS closes idle connections after a while too; a sender's next request opens another.
_KEEP_ALIVE_S = 60
_STOP_S = 10
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


class _Server(SupervisedServer):
    """A server whose application opens and closes inside its event loop."""

    def __init__(self, gateway: Gateway, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._gateway = gateway

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._gateway.startup()
        try:
            await super().serve(sockets)
        finally:
            await self._gateway.aclose()


def serve(gateway: Gateway, host: str, port: int) -> None:
    """Serve until SIGTERM; requests under way are answered first.

    Raises: StackFailed when the port is in use.
    """
    listener = bind(host, port)
    config = uvicorn.Config(
        gateway,
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
    _Server(gateway, config).run([listener])


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
    configuration = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        gateway = Gateway(
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
        serve(gateway, "127.0.0.1", configuration["port"])
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


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

"""A gateway that listens on a free port inside the test's event loop, an HTTP client that sends exact bytes, and an
engine that answers what a test wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
import uvicorn.server

from weir.infra.local.gateway.gateway import Gateway
from weir.infra.local.gateway.gateway_process import GatewayProtocol, bind
from weir.ingest.contract import routes
from weir.ingest.sources.catalogue import Source

STAGE_VARIABLES = {"stream": "weir-stream", "maxRecordKiB": "1024", "maxBodyKiB": "560"}


SUBSTITUTIONS = {"partition": "aws", "region": "us-east-1", "credentials": "arn:aws:iam::000000000000:role/gateway"}


def definition(*sources: str) -> dict[str, Any]:
    """Return the product's own API definition."""
    return routes.api_definition(sources or ("github",), SUBSTITUTIONS)


def definition_of(sources: Mapping[str, Source]) -> dict[str, Any]:
    """Return the product's own API definition for a catalogue."""
    return routes.api_definition(sources, SUBSTITUTIONS)


def integration(document: dict[str, Any], path: str = "/v1/github", method: str = "post") -> dict[str, Any]:
    """Return one integration of a definition, to change it."""
    found: dict[str, Any] = document["paths"][path][method]["x-amazon-apigateway-integration"]
    return found


def mock_definition(**settings: Any) -> dict[str, Any]:
    """Return an API with one mock: GET /hello. ``settings`` replace members of its integration."""
    mock = {
        "type": "mock",
        "passthroughBehavior": "never",
        "requestTemplates": {"application/json": '{"statusCode":200}'},
        "responses": {"default": {"statusCode": "200", "responseTemplates": {"application/json": "hello"}}},
        **settings,
    }
    responses = {status: {"description": "", "headers": {"X-Any": {}, "Content-Type": {}}} for status in ("200", "404")}
    operation = {"responses": responses, "x-amazon-apigateway-integration": mock}
    return copy.deepcopy({"openapi": "3.0.1", "info": {}, "paths": {"/hello": {"get": operation}}})


@dataclass(frozen=True)
class Answer:
    """An HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A listening gateway."""

    port: int
    gateway: Gateway

    async def post(
        self, path: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = (), *, method: str = "POST"
    ) -> Answer:
        """Send one request with these headers, Host and Content-Length, on a connection of its own."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    async def send(self, request: bytes) -> Answer:
        """Send exact bytes and read one response."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            return await read_answer(reader)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one response with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(status_line.split()[1]), headers, body)


@asynccontextmanager
async def serving(
    document: Mapping[str, Any], engine_endpoint: str, *, access_log: Path | None = None, **options: Any
) -> AsyncIterator[Served]:
    """Serve a definition on a free port until the block ends."""
    options.setdefault("stage_variables", STAGE_VARIABLES)
    gateway = Gateway(document, engine_endpoint=engine_endpoint, access_log=access_log, **options)
    config = uvicorn.Config(gateway, ws="none", lifespan="off", log_level="critical", proxy_headers=False)
    config.load()
    state = uvicorn.server.ServerState()
    listener = bind("127.0.0.1", 0)
    await gateway.startup()
    # The protocol without uvicorn's Server, which takes a fifth of a second to stop.
    server = await asyncio.get_running_loop().create_server(lambda: GatewayProtocol(config, state, {}), sock=listener)
    try:
        yield Served(listener.getsockname()[1], gateway)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        while state.connections:
            await asyncio.sleep(0.002)
        await gateway.aclose()


@dataclass
class AnsweringEngine:
    """A real HTTP server in the engine's place that gives one answer to everything.

    ``fault``: ``hang`` never answers, ``reset`` closes the connection instead. ``requests`` are what came, as JSON.
    """

    status: int = 200
    body: bytes = b'{"SequenceNumber":"1","ShardId":"shardId-000000000000"}'
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    requests: list[Any] = field(default_factory=list)
    received_headers: list[Mapping[str, str]] = field(default_factory=list)
    endpoint: str = ""

    async def __aenter__(self) -> AnsweringEngine:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._writers: set[asyncio.StreamWriter] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0)

    def answers(self, code: str, message: str = "", *, status: int = 400) -> None:
        """Answer with an error of Kinesis."""
        self.status, self.body = status, json.dumps({"__type": code, "message": message}).encode()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._exchange(reader, writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        self.received_headers.append(headers)
        self.requests.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
        if self.fault == "hang":
            await reader.read(1)
        if self.fault:
            raise ConnectionResetError
        kept = {"Content-Type": "application/x-amz-json-1.1", "Content-Length": str(len(self.body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} OK", *(f"{name}: {value}" for name, value in kept.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + self.body)

"""The gateway with the product's own definition, against the real engine and against one that fails in every way."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import uuid
import zlib
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateways import (
    STAGE_VARIABLES,
    Answer,
    AnsweringEngine,
    Served,
    definition,
    definition_of,
    integration,
    read_answer,
    serving,
)
from weir.infra.local.engine.engine import Engine, free_port
from weir.infra.local.engine_client.aws_json import AwsClient
from weir.ingest.envelope import Envelope, decode
from weir.ingest.sources.sources_file import SourceEntry, resolve

EVERY_BYTE = bytes(range(256))


@asynccontextmanager
async def stream_of(engine: Engine) -> AsyncIterator[tuple[AwsClient, str]]:
    """Make a stream of one shard on the shared engine."""
    name = f"gateway-{uuid.uuid4().hex[:8]}"
    async with AwsClient(engine.endpoint) as client:
        await client.call("Kinesis_20131202.CreateStream", {"StreamName": name, "ShardCount": 1})
        while True:
            summary = await client.call("Kinesis_20131202.DescribeStreamSummary", {"StreamName": name})
            if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                break
            await asyncio.sleep(0.02)
        yield client, name
        await client.call("Kinesis_20131202.DeleteStream", {"StreamName": name})


async def records_of(client: AwsClient, stream: str) -> list[dict[str, Any]]:
    shard = {"StreamName": stream, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = await client.call("Kinesis_20131202.GetShardIterator", shard)
    answer = await client.call("Kinesis_20131202.GetRecords", {"ShardIterator": iterator["ShardIterator"]})
    records: list[dict[str, Any]] = answer["Records"]
    return records


@asynccontextmanager
async def stack(engine: Engine, **options: Any) -> AsyncIterator[tuple[Served, AwsClient, str]]:
    """Serve the product's definition in front of a fresh stream."""
    async with stream_of(engine) as (client, stream):
        options.setdefault("stage_variables", STAGE_VARIABLES | {"stream": stream})
        async with serving(definition("github", "stripe"), engine.endpoint, **options) as served:
            yield served, client, stream


async def delivered(engine: Engine, request: bytes) -> tuple[Answer, Envelope]:
    """Send one request to a fresh stack and return the answer with the one envelope that is then stored."""
    async with stack(engine) as (served, client, stream):
        answer = await served.send(request)
        assert answer.status == 200, answer
        (record,) = await records_of(client, stream)
        return answer, decode(b64decode(record["Data"]))


def request_of(path: str, body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


# --- what is stored


async def test_a_delivery_is_stored_byte_for_byte(engine: Engine) -> None:
    """Body, headers, path, key, query and address of a request are in the record, and the answer names its id."""
    headers = [
        "X-Q: it's \"q\" $foo #if(1) \\ \\' \xe9\x85 end",
        "x-lower: a: b",
        "X-Empty:",
        "Content-Type: text/plain",
    ]
    path = "/v1/github/a%2Fb%20%F0%9F%98%80?a=1&b=%22%24x&c&a=2;d=e+f"
    answer, envelope = await delivered(engine, request_of(path, EVERY_BYTE, *headers))
    assert answer.document == {"id": envelope.request_id}
    assert envelope.body == EVERY_BYTE
    assert envelope.headers == (
        ("Host", "localhost"),
        ("X-Q", "it's \"q\" $foo #if(1) \\ \\' \xe9\x85 end"),
        ("x-lower", "a: b"),
        ("X-Empty", ""),
        ("Content-Type", "text/plain"),
    )
    assert envelope.path == "/v1/github/a%2Fb%20%F0%9F%98%80"
    assert (envelope.source, envelope.key, envelope.source_ip) == ("github", "a/b 😀", "127.0.0.1")
    assert envelope.query == {"a": "2", "b": '"$x', "c": "", "d": "e f"}


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: 127.0.0.1:8080", "Sec-Fetch-Site: cross-site"),
        ("Host: localhost:8080", "Sec-Fetch-Site: same-site"),
        ("Host: 127.0.0.1:8080", "Origin: https://evil.example"),
        ("Host: LOCALHOST:8080", "origin: null"),
        ("Host: [::1]:8080", "Origin: https://evil.example"),
        ("Host: rebound.evil.example:8080", "Origin: http://rebound.evil.example:8080"),
        ("Host: rebound.evil.example", "Origin: http://rebound.evil.example"),
    ],
)
async def test_a_web_page_stores_nothing(engine: Engine, headers: tuple[str, ...]) -> None:
    """What a page sends by itself, or under a name of its own for this machine, is answered 403 and not stored."""
    async with stack(engine) as (served, client, stream):
        for method in ("POST", "OPTIONS", "GET"):
            request = "\r\n".join((f"{method} /v1/github HTTP/1.1", *headers, "Content-Length: 2", "", "{}"))
            answer = await served.send(request.encode())
            assert answer.status == 403
            assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert await records_of(client, stream) == []


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: abc.tunnel.example",),
        ("Host: abc.tunnel.example", "X-Forwarded-Host: abc.tunnel.example", "X-Forwarded-For: 192.0.2.1"),
        ("Host: abc.tunnel.example", "Origin: https://provider.example"),
        ("Host: 127.0.0.1:8080",),
        ("Host: localhost", "Sec-Fetch-Mode: cors"),
        ("Host: localhost", "Sec-Fetch-Site: none"),
    ],
)
async def test_a_sender_behind_a_tunnel_is_stored(engine: Engine, headers: tuple[str, ...]) -> None:
    """Any Host is taken, with what servers send: Node's fetch has a Sec-Fetch-Mode, some senders an Origin."""
    request = "\r\n".join(("POST /v1/github HTTP/1.1", *headers, "Content-Length: 2", "", "{}"))
    answer, envelope = await delivered(engine, request.encode())
    assert (answer.status, envelope.source) == (200, "github")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-8",
        "multipart/form-data; boundary=----x",
        "text/plain; charset=UTF-8",
        "application/cloudevents+json; charset=utf-8",
        "application/octet-stream",
        "application/xml",
    ],
)
async def test_every_content_type_of_senders_is_stored(engine: Engine, content_type: str | None) -> None:
    """Bytes 0 to 255 come through unchanged under each Content-Type that webhook senders use, and under none."""
    headers = [f"Content-Type: {content_type}"] if content_type else []
    _, envelope = await delivered(engine, request_of("/v1/github", EVERY_BYTE, *headers))
    assert envelope.body == EVERY_BYTE


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'  {\n "a" : 10.00 }\r\n', '{"a":"😀"}'.encode(), b"a=1&b=%20", b"\xff\xfe"]
)
async def test_bodies_come_through(engine: Engine, body: bytes) -> None:
    """Empty bodies, odd white space, numbers, emoji and broken UTF-8 are stored as they came."""
    _, envelope = await delivered(engine, request_of("/v1/github", body, "Content-Type: application/json"))
    assert envelope.body == body or (body == b"" and envelope.alternative_body == body)


async def test_a_slash_at_the_end_changes_nothing(engine: Engine) -> None:
    """A provider may end the URL with a slash."""
    _, envelope = await delivered(engine, request_of("/v1/github/", b"{}", "Content-Type: application/json"))
    assert (envelope.source, envelope.key, envelope.body) == ("github", "", b"{}")


async def test_chunked_and_large_bodies_come_through(engine: Engine) -> None:
    """A body in chunks without a length, and one of 500 KB, are stored whole."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (b"abc", EVERY_BYTE, b"x" * 500_000))
    head = b"POST /v1/github HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    _, envelope = await delivered(engine, head + chunks + b"0\r\n\r\n")
    assert envelope.body == b"abc" + EVERY_BYTE + b"x" * 500_000
    assert [name for name, _ in envelope.headers] == ["Host"]


@pytest.mark.parametrize(
    "content_type",
    ["application/vnd.acme+json", "application/vnd.Acme+JSON", "application/VND.ACME+json; charset=utf-8", "X-A/b"],
)
async def test_content_types_of_one_source(engine: Engine, content_type: str) -> None:
    """A type that a source names is stored for that source, in any case of its letters, and for no other."""
    entry = {"preset": "hmac", "content_types": ["application/vnd.Acme+JSON", "x-a/B"]}
    sources = {name: resolve(name, SourceEntry.model_validate(entry if name == "own" else {"preset": "hmac"}))
               for name in ("own", "other")}  # fmt: skip
    async with stream_of(engine) as (client, stream):
        variables = STAGE_VARIABLES | {"stream": stream}
        async with serving(definition_of(sources), engine.endpoint, stage_variables=variables) as served:
            answer = await served.post("/v1/own", EVERY_BYTE, [("Content-Type", content_type)])
            assert answer.status == 200
            (record,) = await records_of(client, stream)
            assert decode(b64decode(record["Data"])).body == EVERY_BYTE
            answer = await served.post("/v1/other", b"", [("Content-Type", content_type)])
            assert answer.status == 415
            assert "content_types" in answer.document["message"]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(EVERY_BYTE)),
        ("gzip", gzip.compress(EVERY_BYTE[:100]) + gzip.compress(EVERY_BYTE[100:])),
        ("GZIP", gzip.compress(EVERY_BYTE)),
        ("deflate", zlib.compress(EVERY_BYTE)),
        ("deflate", zlib.compress(EVERY_BYTE, wbits=-15)),
        ("identity", EVERY_BYTE),
    ],
    ids=["gzip", "gzip-members", "upper-case", "zlib", "raw-deflate", "identity"],
)
async def test_content_encoding_is_undone(engine: Engine, encoding: str, body: bytes) -> None:
    """Compressed bodies are stored unpacked, as API Gateway unpacks them before the template."""
    _, envelope = await delivered(engine, request_of("/v1/github", body, f"Content-Encoding: {encoding}"))
    assert envelope.body == EVERY_BYTE
    assert envelope.header("content-encoding") == encoding


async def test_repeated_headers_keep_the_last_value(engine: Engine) -> None:
    """Of a header that comes twice, in whatever spelling, the last value is stored."""
    _, envelope = await delivered(engine, request_of("/v1/github", b"x", "X-Twice: 1", "x-twice: 2"))
    assert [pair for pair in envelope.headers if pair[0].lower() == "x-twice"] == [("x-twice", "2")]


async def test_an_offer_of_http_2_is_ignored(engine: Engine) -> None:
    """A sender that offers to switch protocols, as Java's client does, has its body stored like any other."""
    offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQ"]
    _, envelope = await delivered(engine, request_of("/v1/github", EVERY_BYTE, *offer))
    assert envelope.body == EVERY_BYTE
    assert [name for name, _ in envelope.headers] == ["Host", "HTTP2-Settings"]


async def test_bytes_may_come_one_by_one(engine: Engine) -> None:
    """However a request is cut into packets, offer of another protocol included, it is stored whole."""
    request = request_of("/v1/github", b"a body", "Connection: Upgrade", "Upgrade: h2c", "X-Last: 1")
    async with stack(engine) as (served, client, stream):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for at in range(len(request)):
            writer.write(request[at : at + 1])
            await asyncio.sleep(0)
        assert (await read_answer(reader)).status == 200
        writer.write(request)
        assert (await read_answer(reader)).status == 200
        writer.close()
        await writer.wait_closed()
        bodies = [decode(b64decode(record["Data"])).body for record in await records_of(client, stream)]
        assert bodies == [b"a body", b"a body"]


@pytest.mark.parametrize("request_", [b"CONNECT localhost:80 HTTP/1.1\r\nHost: x\r\n\r\n", b"no HTTP\r\n\r\n"])
async def test_what_is_no_request_is_400(request_: bytes) -> None:
    """A proxy's request, and what is not HTTP at all, is 400 and the connection ends."""
    async with AnsweringEngine() as engine, serving(definition(), engine.endpoint) as served:
        assert (await served.send(request_)).status == 400


async def test_requests_follow_each_other_on_a_connection() -> None:
    """Pipelined requests on one connection are answered in order, errors among them."""
    async with AnsweringEngine() as engine, serving(definition(), engine.endpoint) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        too_large = b"POST /v1/github HTTP/1.1\r\nHost: x\r\nContent-Length: 11000000\r\n\r\n" + b"x" * 11_000_000
        paths = ["/v1/github", "/v1/none", "/v1/github/key"]
        writer.write(b"".join(request_of(path, b"x") for path in paths) + too_large + request_of("/v1/github", b"y"))
        statuses = [(await read_answer(reader)).status for _ in range(5)]
        assert statuses == [200, 404, 200, 413, 200]
        writer.close()
        await writer.wait_closed()


async def test_many_at_once_are_stored_once_each(engine: Engine) -> None:
    """Two hundred deliveries at a time get two hundred ids, each stored exactly once with its own body."""
    async with stack(engine) as (served, client, stream):
        answers = await asyncio.gather(*(served.post("/v1/stripe", b"%d" % number) for number in range(200)))
        records = [decode(b64decode(record["Data"])) for record in await records_of(client, stream)]
        assert {answer.status for answer in answers} == {200}
        assert {envelope.request_id: envelope.body for envelope in records} == {
            answer.document["id"]: b"%d" % number for number, answer in enumerate(answers)
        }
        assert len(records) == 200


async def test_a_caller_that_leaves_stores_nothing(engine: Engine) -> None:
    """A connection that ends before the body is whole leaves no record, and the gateway goes on."""
    async with stack(engine) as (served, client, stream):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"POST /v1/github HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b""
        assert (await served.post("/v1/github", b"whole")).status == 200
        assert [decode(b64decode(record["Data"])).body for record in await records_of(client, stream)] == [b"whole"]


# --- what is refused


async def refused(request: bytes, **options: Any) -> Answer:
    """Send one request that must never reach the engine."""
    async with AnsweringEngine() as engine, serving(definition(), engine.endpoint, **options) as served:
        answer = await served.send(request)
        assert engine.requests == []
        assert answer.headers["content-type"] == "application/json"
        return answer


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/", "POST"),
        ("/v1", "POST"),
        ("/v1/unknown", "POST"),
        ("/v1/github/a/b", "POST"),
        ("/V1/github", "POST"),
        ("/v1/GitHub", "POST"),
        ("//v1/github", "POST"),
        ("/v2/github", "GET"),
    ],
)
async def test_unknown_routes(path: str, method: str) -> None:
    """Any path without a source is 404 in the one shape of errors."""
    answer = await refused(request_of(path, b"x", method=method))
    assert (answer.status, answer.document["error"]) == (404, "not_found")
    assert answer.document["id"] == answer.headers["x-amz-apigw-id"]
    assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v1/github", "/v1/github/key"])
async def test_other_methods(method: str, path: str) -> None:
    """A method other than POST is 405 and says which one there is."""
    answer = await refused(request_of(path, method=method))
    assert (answer.status, answer.document["error"], answer.headers["allow"]) == (405, "method_not_allowed", "POST")


async def test_head_gets_no_body() -> None:
    """HEAD is answered like GET, without the body."""
    async with AnsweringEngine() as engine, serving(definition(), engine.endpoint) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request_of("/v1/github", method="HEAD") + b"")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405 ")
        writer.write(request_of("/v1/none"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("content_type", ["application/x-unheard-of", "image/gif", "json", "*/*", ";"])
async def test_unlisted_content_types(content_type: str) -> None:
    """A Content-Type without a template is refused, never passed through."""
    answer = await refused(request_of("/v1/github", b'{"StreamName":"other"}', f"Content-Type: {content_type}"))
    assert (answer.status, answer.document["error"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"x"),
        ("gzip", b"not gzip"),
        ("gzip", gzip.compress(b"x" * 99)[:-9]),
        ("gzip, gzip", b"x"),
        ("deflate", b"\xff"),
    ],
)
async def test_false_encodings(encoding: str, body: bytes) -> None:
    """An encoding that API Gateway does not undo, or that is not the body's, is 415."""
    answer = await refused(request_of("/v1/github", body, f"Content-Encoding: {encoding}"))
    assert (answer.status, answer.document) == (415, {"message": "Unsupported Media Type"})


@pytest.mark.parametrize("form", ["length", "chunked", "bomb", "expect"])
async def test_more_than_10_mb(form: str) -> None:
    """More than 10 MB, declared, streamed or unpacked, is API Gateway's own 413."""
    size = 10 * 1024 * 1024 + 1
    head = b"POST /v1/github HTTP/1.1\r\nHost: x\r\n"
    request = {
        "length": head + b"Content-Length: %d\r\n\r\n" % size,
        "chunked": head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n",
        "bomb": request_of("/v1/github", gzip.compress(b"x" * size), "Content-Encoding: gzip"),
        "expect": head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size,
    }[form]
    answer = await refused(request)
    assert (answer.status, answer.document) == (413, {"message": "Request Too Long"})


async def test_10_mb_are_taken() -> None:
    """Exactly 10 MB go through to the integration."""
    async with AnsweringEngine() as engine, serving(definition(), engine.endpoint) as served:
        assert (await served.post("/v1/github", b"x" * (10 * 1024 * 1024))).status == 200
        (put,) = engine.requests
        assert len(decode(b64decode(put["Data"])).body) == 10 * 1024 * 1024


async def test_long_headers_and_urls() -> None:
    """10,240 bytes of headers and as many characters of URL are the limits."""
    answer = await refused(request_of("/v1/github", b"x", "X-Long: " + "x" * 10_200))
    assert (answer.status, answer.document) == (431, {"message": "Request Header Fields Too Large"})
    answer = await refused(request_of("/v1/github?" + "x" * 10_240, b"x"))
    assert (answer.status, answer.document) == (414, {"message": "Request-URI Too Long"})


async def test_very_many_headers_come_through(engine: Engine) -> None:
    """Headers up to the limit are all stored, in order."""
    headers = [f"X-{number}: {'v' * 20}" for number in range(300)]
    _, envelope = await delivered(engine, request_of("/v1/github", b"x", *headers))
    assert [f"{name}: {value}" for name, value in envelope.headers[1:]] == headers


async def test_throttled_methods() -> None:
    """Each method has its own bucket: what is over the burst is 429 with Retry-After until the rate refills it."""
    now = [1000.0]
    everywhere = {"ResourcePath": "/*", "HttpMethod": "*", "MetricsEnabled": True, "LoggingLevel": "OFF"}
    throttle = {
        "ResourcePath": "/~1v1~1github",
        "HttpMethod": "POST",
        "ThrottlingRateLimit": 2,
        "ThrottlingBurstLimit": 3,
    }
    async with (
        AnsweringEngine() as engine,
        serving(definition(), engine.endpoint, method_settings=[everywhere, throttle], timer=lambda: now[0]) as served,
    ):
        statuses = [(await served.post("/v1/github", b"x")).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        answer = await served.post("/v1/github", b"x")
        assert (answer.document["error"], answer.headers["retry-after"]) == ("throttled", "5")
        assert (await served.post("/v1/github/key", b"x")).status == 200
        assert (await served.post("/v1/github", b"x", method="GET")).status == 405
        now[0] += 0.5
        assert [(await served.post("/v1/github", b"x")).status for _ in range(2)] == [200, 429]
        assert len(engine.requests) == 5


async def test_every_method_has_the_stage_s_limit() -> None:
    """By the stage's settings, each method of each path has a bucket of its own: GET and what is answered 405, too."""
    limits = {"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 2}
    everywhere = {"ResourcePath": "/*", "HttpMethod": "*", **limits}
    async with (
        AnsweringEngine() as engine,
        serving(definition(), engine.endpoint, method_settings=[everywhere], timer=lambda: 7.0) as served,
    ):
        for path in ("/v1/github", "/v1/github/key"):
            assert [(await served.post(path, b"x")).status for _ in range(3)] == [200, 200, 429]
            answers = [await served.post(path, b"x", method="GET") for _ in range(3)]
            assert [answer.status for answer in answers] == [405, 405, 429]
            assert answers[-1].headers["retry-after"] == "5"


# --- what the integration answers

UNAVAILABLE = (503, "unavailable", "5")
TOO_LARGE = (413, "too_large", None)
# Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html
KINESIS_ERRORS: list[tuple[str, str, int, tuple[int, str, str | None]]] = [
    ("AccessDeniedException", "User is not authorized to perform: kinesis:PutRecord", 400, UNAVAILABLE),
    ("ExpiredTokenException", "The security token included in the request is expired", 400, UNAVAILABLE),
    ("InternalFailureException", "", 500, UNAVAILABLE),
    ("ValidationException", "PartitionKey is required", 400, (400, "too_many_names", None)),
    ("KMSAccessDeniedException", "The ciphertext refers to a key that does not exist", 400, UNAVAILABLE),
    ("KMSDisabledException", "key is disabled", 400, UNAVAILABLE),
    ("KMSInvalidStateException", "pending deletion", 400, UNAVAILABLE),
    ("KMSNotFoundException", "no such key", 400, UNAVAILABLE),
    ("KMSOptInRequired", "subscription needed", 400, UNAVAILABLE),
    ("KMSThrottlingException", "Rate exceeded", 400, UNAVAILABLE),
    ("ProvisionedThroughputExceededException", "Rate exceeded for shard shardId-000000000000", 400, UNAVAILABLE),
    ("ResourceNotFoundException", "Stream weir under account 1 not found.", 400, UNAVAILABLE),
    ("ServiceUnavailable", "", 503, UNAVAILABLE),
    (
        "ValidationException",
        "1 validation error detected: Value at 'data' failed to satisfy constraint: less than or equal to 1048576",
        400,
        TOO_LARGE,
    ),
    (
        "ValidationException",
        "1 validation error detected: Value at 'partitionKey' failed to satisfy constraint: less than or equal to 256",
        400,
        (400, "key_too_long", None),
    ),
    (
        "ValidationException",
        "Value '' at 'partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1",
        400,
        (400, "too_many_names", None),
    ),
]


@pytest.mark.parametrize(("code", "message", "status", "expected"), KINESIS_ERRORS)
async def test_each_error_of_kinesis(
    code: str, message: str, status: int, expected: tuple[int, str, str | None]
) -> None:
    """No error of PutRecord becomes a 2xx: the answer lets the sender try again, or says why not."""
    async with AnsweringEngine() as engine, serving(definition(), engine.endpoint) as served:
        engine.answers(code, message, status=status)
        answer = await served.post("/v1/github", b"{}")
        assert (answer.status, answer.document["error"], answer.headers.get("retry-after")) == expected
        assert answer.document.keys() == {"error", "message", "id"}
        assert answer.headers["content-type"] == "application/json"
        assert len(engine.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b'<html>it\'s "broken" $x #end'), (400, b""), (500, b"\xff\x00"), (418, b"[]"), (302, b"{}"), (503, b"")],
)
async def test_garbage_is_never_an_acknowledgement(status: int, body: bytes) -> None:
    """Whatever else comes back with another status than 200 is answered 503 in the one shape of errors."""
    async with AnsweringEngine(status, body) as engine, serving(definition(), engine.endpoint) as served:
        answer = await served.post("/v1/github", b"{}")
        assert (answer.status, answer.document["error"], answer.headers["retry-after"]) == UNAVAILABLE


@pytest.mark.parametrize("fault", ["hang", "reset", "no listener"])
async def test_an_engine_that_does_not_answer(fault: str) -> None:
    """A hanging, closing or absent engine is 503 after the integration's timeout, and the request is sent once."""
    document = definition()
    integration(document)["timeoutInMillis"] = 100
    async with AnsweringEngine(fault=fault) as engine:
        endpoint = f"http://127.0.0.1:{free_port()}" if fault == "no listener" else engine.endpoint
        async with serving(document, endpoint) as served:
            answer = await served.post("/v1/github", b"{}")
            assert (answer.status, answer.document["error"], answer.headers["retry-after"]) == UNAVAILABLE
            assert len(engine.requests) == (0 if fault == "no listener" else 1)
            engine.fault = ""
            if fault != "no listener":
                assert (await served.post("/v1/github", b"{}")).status == 200


async def test_the_integration_request() -> None:
    """The engine gets PutRecord as the definition maps it, signed for Kinesis."""
    async with AnsweringEngine() as engine, serving(definition(), engine.endpoint) as served:
        await served.post("/v1/github/my%20key", b"{}", [("Content-Type", "text/plain"), ("Authorization", "mine")])
        (put,) = engine.requests
        (headers,) = engine.received_headers
        assert put.keys() == {"StreamName", "PartitionKey", "Data"}
        assert (put["StreamName"], put["PartitionKey"]) == ("weir-stream", "my key")
        assert headers["x-amz-target"] == "Kinesis_20131202.PutRecord"
        assert headers["content-type"] == "application/x-amz-json-1.1"
        assert "/us-east-1/kinesis/aws4_request" in headers["authorization"]


# --- ids and logs


async def test_request_ids() -> None:
    """A caller chooses the request id only as a UUID, and never the extended one, which is in the answer's header."""
    mine = str(uuid.uuid4())
    async with AnsweringEngine() as engine, serving(definition(), engine.endpoint) as served:
        chosen = await served.post("/v1/github", b"x", [("x-amzn-RequestId", mine)])
        answers = [chosen, await served.post("/v1/github", b"x", [("X-Amzn-RequestId", "no uuid " + "x" * 28)])]
        answers += [await served.post("/v1/github", b"x") for _ in range(20)]
        assert chosen.headers["x-amzn-requestid"] == mine
        assert answers[1].headers["x-amzn-requestid"] != "no uuid " + "x" * 28
        extended = {answer.headers["x-amz-apigw-id"] for answer in answers}
        assert len(extended) == len({answer.headers["x-amzn-requestid"] for answer in answers}) == len(answers)
        assert all(re.fullmatch(r"[\w-]{15}=", each) for each in extended)
        assert [answer.document["id"] for answer in answers] == [answer.headers["x-amz-apigw-id"] for answer in answers]


LOG_FORMAT = (
    '{"id":"$context.extendedRequestId","resource":"$context.resourcePath","method":"$context.httpMethod",'
    '"status":"$context.status","integration":"$context.integration.status","ms":"$context.integration.latency",'
    '"latency":"$context.responseLatency","bytes":"$context.responseLength","error":"$context.error.responseType",'
    '"ip":"$context.identity.sourceIp","at":"$context.requestTime","epoch":"$context.requestTimeEpoch",'
    '"rid":"$context.integration.requestId","why":"$context.integration.error","path":"$context.path"}'
)


async def test_the_access_log(tmp_path: Path) -> None:
    """Every answered request is a line in the stage's format; what a request does not have is a dash."""
    log = tmp_path / "access.log"
    options: dict[str, Any] = {"access_log_format": LOG_FORMAT, "clock": lambda: 1_775_738_096.789}
    async with (
        AnsweringEngine(headers={"x-amzn-RequestId": "kinesis-id"}) as engine,
        serving(definition(), engine.endpoint, access_log=log, **options) as served,
    ):
        stored = await served.post("/v1/github/k", b"x")
        unknown = await served.post("/v1/none?secret=1", b"x")
        engine.fault = "reset"
        await served.post("/v1/github", b"x")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines] == ["200", "404", "503"]
    assert lines[0]["id"] == stored.document["id"]
    assert (lines[0]["resource"], lines[0]["method"], lines[0]["path"]) == ("/v1/github/{key}", "POST", "/v1/github/k")
    assert (lines[0]["integration"], lines[0]["rid"], lines[0]["error"]) == ("200", "kinesis-id", "-")
    assert int(lines[0]["ms"]) <= int(lines[0]["latency"])
    assert lines[0]["bytes"] == str(len(stored.body))
    assert (lines[0]["at"], lines[0]["epoch"]) == ("09/Apr/2026:12:34:56 +0000", "1775738096789")
    assert (lines[1]["resource"], lines[1]["integration"], lines[1]["ip"]) == ("-", "-", "127.0.0.1")
    assert lines[1]["error"] == "MISSING_AUTHENTICATION_TOKEN"
    assert lines[1]["id"] == unknown.document["id"]
    assert (lines[2]["error"], lines[2]["integration"]) == ("INTEGRATION_FAILURE", "-")
    assert lines[2]["why"] != "-"

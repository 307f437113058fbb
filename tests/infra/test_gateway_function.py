"""Proxy integrations of the embedded gateway: real functions, in processes of their own."""

from __future__ import annotations

import json
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.deliveries import source_of
from tests.support.gateways import Served, definition, integration, serving
from weir.infra.local.function.function import Function
from weir.infra.local.gateway.definition import load
from weir.ingest.contract.routes import api_definition
from weir.ingest.errors import TemplateUnsupported
from weir.operate.audit.sources import read_line

NAME = "weir-handshake"
SUBSTITUTIONS = {
    "partition": "aws",
    "region": "us-east-1",
    "credentials": "arn:aws:iam::000000000000:role/gateway",
    "handshake_function": f"arn:aws:lambda:us-east-1:000000000000:function:{NAME}",
}
CODE = """
import json, os, time

def handler(event, context):
    kind = (event["queryStringParameters"] or {}).get("kind")
    if kind == "raise":
        raise ValueError("no")
    if kind == "die":
        os._exit(3)
    if kind == "sleep":
        time.sleep(5)
    if kind == "nonsense":
        return {"answer": 42}
    if kind == "text":
        return "text"
    return {"statusCode": 201, "headers": {"X-Seen": "yes"}, "body": json.dumps(event)}
"""


def proxied() -> dict[str, Any]:
    slack = source_of("slack").model_copy(update={"handshake_function": True})
    return api_definition({"slack": slack}, SUBSTITUTIONS)


@asynccontextmanager
async def function(folder: Path, document: dict[str, Any] | None = None) -> AsyncIterator[Served]:
    (folder / "answering.py").write_text(textwrap.dedent(CODE))
    made = Function("answering.handler", {}, root=folder, log_path=folder / "log", name=NAME, timeout_s=4)
    async with serving(document or proxied(), "http://127.0.0.1:1", functions={NAME: made}) as served:
        yield served


async def test_the_event_is_api_gateways(tmp_path: Path) -> None:
    """The function gets method, resource, headers, query, key, address and exact bytes, and answers for itself."""
    async with function(tmp_path) as served:
        body = bytes(range(256))
        answer = await served.post(
            "/v1/slack/a%20key?q=a+b&q=c", body, [("X-Any", "é"), ("content-type", "text/x-any")]
        )
    event = answer.document
    assert (answer.status, answer.headers["x-seen"]) == (201, "yes")
    assert (event["resource"], event["httpMethod"]) == ("/v1/slack/{key}", "POST")
    assert (event["pathParameters"], event["queryStringParameters"]) == ({"key": "a key"}, {"q": "c"})
    assert event["multiValueHeaders"]["X-Any"] == ["é"]
    assert event["isBase64Encoded"]
    import base64

    assert base64.b64decode(event["body"]) == body
    context = event["requestContext"]
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert answer.headers["x-amz-apigw-id"] == context["extendedRequestId"]
    assert isinstance(context["requestTimeEpoch"], int)


async def test_the_access_log_has_the_status_that_the_code_returned(tmp_path: Path) -> None:
    """Not Lambda's own 200; and a delivery that it stored and answered so counts as acknowledged."""
    log = tmp_path / "access.log"
    shown = '{"id":"$context.extendedRequestId","at":"$context.requestTimeEpoch","method":"$context.httpMethod",'
    shown += '"status":"$context.status","integration_status":"$context.integration.status"}'
    (tmp_path / "answering.py").write_text(textwrap.dedent(CODE))
    made = Function("answering.handler", {}, root=tmp_path, log_path=tmp_path / "log", name=NAME, timeout_s=4)
    options: dict[str, Any] = {"functions": {NAME: made}, "access_log": log, "access_log_format": shown}
    async with serving(proxied(), "http://127.0.0.1:1", **options) as served:
        answer = await served.post("/v1/slack", b"{}")
    (line,) = log.read_text().splitlines()
    assert (json.loads(line)["status"], json.loads(line)["integration_status"]) == ("201", "201")
    acknowledged = read_line(line)
    assert acknowledged is not None
    assert acknowledged.request_id == answer.headers["x-amz-apigw-id"]


@pytest.mark.parametrize("kind", ["raise", "die", "nonsense", "text"])
async def test_a_function_that_fails_is_503(tmp_path: Path, kind: str) -> None:
    """Whatever is wrong with the function, the answer lets the sender try again."""
    async with function(tmp_path) as served:
        answer = await served.post(f"/v1/slack?kind={kind}", b"{}")
    assert (answer.status, answer.document["error"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"


async def test_a_function_that_is_slow_is_503(tmp_path: Path) -> None:
    """An answer that does not come in time is 503, and the function goes on serving others."""
    document = proxied()
    integration(document, "/v1/slack")["timeoutInMillis"] = 1000
    async with function(tmp_path, document) as served:
        assert (await served.post("/v1/slack?kind=sleep", b"{}")).status == 503
        assert (await served.post("/v1/slack", b"{}")).status == 201


async def test_a_function_that_is_not_there_is_503(tmp_path: Path) -> None:
    """An API whose function is missing tells the sender to send again, and other sources are untouched."""
    async with serving(proxied(), "http://127.0.0.1:1") as served:
        assert (await served.post("/v1/slack", b"{}")).status == 503
        assert (await served.post("/v1/slack", b"", method="GET")).status == 405


def test_only_the_source_that_asks_has_code_in_its_path() -> None:
    """A source that does not ask for the function has Kinesis behind POST, whatever its provider asks."""
    sources = {"slack": source_of("slack"), "github": source_of("github"), "x": source_of("x")}
    sources["x"] = sources["x"].model_copy(update={"handshake_function": True})
    paths = api_definition(sources, SUBSTITUTIONS)["paths"]
    kinds = {
        (path, method): operation["x-amazon-apigateway-integration"]["type"]
        for path, item in paths.items()
        for method, operation in item.items()
        if isinstance(operation, dict)
    }
    assert {where for where, kind in kinds.items() if kind == "aws_proxy"} == {
        ("/v1/x", "get"),
        ("/v1/x/{key}", "get"),
    }
    assert kinds["/v1/slack", "post"] == kinds["/v1/x", "post"] == "aws"


def test_a_proxy_to_anything_else_is_refused() -> None:
    """A definition with a proxy that is not a POST to a function is refused when it is loaded."""
    for change in ({"uri": "https://example.com"}, {"httpMethod": "GET"}):
        document = definition()
        integration(document).update({"type": "aws_proxy", **integration(proxied(), "/v1/slack"), **change})
        with pytest.raises(TemplateUnsupported, match="POST to a Lambda function"):
            load(document)

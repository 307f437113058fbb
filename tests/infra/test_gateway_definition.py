"""What a definition can say: mocks, mappings, gateway responses; and what is refused when it is loaded."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateways import (
    STAGE_VARIABLES,
    Answer,
    AnsweringEngine,
    definition,
    integration,
    mock_definition,
    serving,
)
from weir.infra.local.engine.engine import free_port
from weir.infra.local.gateway.gateway import Gateway
from weir.infra.local.gateway.gateway_process import bind
from weir.infra.local.gateway.request import query
from weir.infra.local.gateway.routes import Routes
from weir.infra.local.gateway.throttle import Bucket
from weir.ingest.errors import StackFailed, TemplateUnsupported

ROOT = Path(__file__).parents[2]


async def hello(
    document: dict[str, Any], path: str = "/hello", body: bytes = b"", headers: list[tuple[str, str]] | None = None
) -> Answer:
    """GET a mock."""
    async with serving(document, "http://127.0.0.1:1") as served:
        return await served.post(path, body, headers or [], method="GET")


def answering(template: str, content_type: str = "application/json", **settings: Any) -> dict[str, Any]:
    return {"default": {"statusCode": "200", "responseTemplates": {content_type: template}, **settings}}


# --- mocks, the handshakes' kind of integration


async def test_a_mock_echoes_a_query_parameter() -> None:
    """A template answers a provider's challenge by itself, as text if the definition says so."""
    mapped = {"method.response.header.Content-Type": "'text/plain'"}
    responses = answering("$input.params().querystring.get('challenge')", responseParameters=mapped)
    document = mock_definition(responses=responses)
    answer = await hello(document, "/hello?challenge=a%20%F0%9F%98%80&x=1")
    assert (answer.status, answer.body.decode(), answer.headers["content-type"]) == (200, "a 😀", "text/plain")


async def test_a_mock_echoes_a_header() -> None:
    """A response header can be made of a request's header."""
    template = "#set($context.responseOverride.header.X-Echo = $input.params().header.get('X-Hook-Secret')){}"
    answer = await hello(mock_definition(responses=answering(template)), headers=[("X-Hook-Secret", "abc")])
    assert (answer.headers["x-echo"], answer.body) == ("abc", b"{}")


async def test_a_mock_has_the_status_of_its_request_template() -> None:
    """The request template's statusCode chooses the integration response; quotes may be missing."""
    responses = {
        **answering("default"),
        r"4\d{2}": {"statusCode": "404", "responseTemplates": {"application/json": "no"}},
    }
    for template, expected in [
        ('{"statusCode": 404}', (404, b"no")),
        ("{statusCode: 404}", (404, b"no")),
        ("#set($s = 200)#if($input.params('x') == '1')#set($s = 404)#end{\"statusCode\":$s}", (200, b"default")),
        ('{"statusCode": 1404}', (200, b"default")),
        ('{"statusCode": "404"}', (500, b'{"message":"Internal server error"}')),
        ("{}", (500, b'{"message":"Internal server error"}')),
    ]:
        document = mock_definition(requestTemplates={"application/json": template}, responses=responses)
        answer = await hello(document)
        assert (answer.status, answer.body) == expected, template


async def test_an_override_of_the_request_template_survives() -> None:
    """What a request template overrides is in the response, unless the response template overrides it too."""
    override = "$context.responseOverride"
    request = f'#set({override}.status = 404)#set({override}.header.X-Any = "1"){{"statusCode":200}}'
    answer = await hello(mock_definition(requestTemplates={"application/json": request}))
    assert (answer.status, answer.headers["x-any"]) == (404, "1")
    second = answering("#set($context.responseOverride.status = 200)x")
    answer = await hello(mock_definition(requestTemplates={"application/json": request}, responses=second))
    assert (answer.status, answer.headers["x-any"]) == (200, "1")


async def test_a_header_cannot_be_broken_up() -> None:
    """A value with a line end never becomes a header: the request fails instead."""
    template = "#set($context.responseOverride.header.X-Echo = $input.params('x')){}"
    answer = await hello(mock_definition(responses=answering(template)), "/hello?x=a%0d%0aSet-Cookie:%20b")
    assert answer.status == 500
    assert "set-cookie" not in answer.headers


async def test_templates_are_chosen_by_accept() -> None:
    """Of several response templates the Accept header's is taken, else JSON's."""
    templates = {"text/plain": "plain", "application/json": "json"}
    document = mock_definition(responses={"default": {"statusCode": "200", "responseTemplates": templates}})
    assert (await hello(document, headers=[("Accept", "text/plain")])).body == b"plain"
    assert (await hello(document, headers=[("Accept", "image/png")])).body == b"json"
    assert (await hello(document)).body == b"json"


async def test_text_bodies() -> None:
    """Without binary media types a body is text, and looking into it as JSON fails with 400 when it is none."""
    template = "{\"statusCode\":$input.path('$.status')}"
    responses = {**answering("x"), "404": {"statusCode": "404", "responseTemplates": {"application/json": "y"}}}
    document = mock_definition(requestTemplates={"application/json": template}, responses=responses)
    assert (await hello(document, body=b'{"status": 404}')).status == 404
    answer = await hello(document, body=b"no JSON")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "BadRequestException")
    assert answer.document["message"].startswith("Could not parse request body into json: ")


async def test_two_overrides_of_one_key_fail() -> None:
    """A template that sets a key twice, or cannot be rendered, is a 500."""
    twice = "#set($context.responseOverride.status = 200)#set($context.responseOverride.status = 404)x"
    assert (await hello(mock_definition(responses=answering(twice)))).status == 500
    failing = "$util.parseJson($input.params('x'))"
    assert (await hello(mock_definition(responses=answering(failing)), "/hello?x=%7B")).status == 500
    assert (await hello(mock_definition(responses=answering(failing)), "/hello?x=%7B%7D")).body == b"{}"


# --- integration responses


async def test_headers_of_the_integration_are_mapped() -> None:
    """Response headers come from constants and the integration's own headers, case ignored; none without a source."""
    document = definition()
    declared = document["paths"]["/v1/github"]["post"]["responses"]["200"]
    declared["headers"] = {"X-From": {}, "X-Absent": {}, "X-Constant": {}}
    integration(document)["responses"]["200"]["responseParameters"] = {
        "method.response.header.X-From": "integration.response.header.X-Amzn-RequestId",
        "method.response.header.X-Absent": "integration.response.header.X-Absent",
        "method.response.header.X-Constant": "'it''s'",
    }
    async with (
        AnsweringEngine(headers={"x-amzn-RequestId": "k"}) as engine,
        serving(document, engine.endpoint) as served,
    ):
        answer = await served.post("/v1/github", b"x")
        assert (answer.headers["x-from"], answer.headers["x-constant"]) == ("k", "it''s")
        assert "x-absent" not in answer.headers


async def test_selection_patterns_match_whole_statuses() -> None:
    """A pattern must match all of the status, as Java's does, and without a default the rest is a 500."""
    document = definition()
    responses = integration(document)["responses"]
    del responses["default"]
    responses["20"] = responses.pop("200")
    async with AnsweringEngine() as engine, serving(document, engine.endpoint) as served:
        answer = await served.post("/v1/github", b"x")
        assert (answer.status, answer.headers["x-amzn-errortype"]) == (503, "InternalServerErrorException")


async def test_an_answer_passes_through_without_a_template() -> None:
    """An integration response without templates hands the integration's body on."""
    document = definition()
    del integration(document)["responses"]["200"]["responseTemplates"]
    async with AnsweringEngine() as engine, serving(document, engine.endpoint) as served:
        assert (await served.post("/v1/github", b"x")).document["SequenceNumber"] == "1"


async def test_request_headers_are_mapped() -> None:
    """Integration headers come from constants, headers, query and path of the request."""
    document = definition()
    integration(document, "/v1/github/{key}")["requestParameters"] |= {
        "integration.request.header.X-Header": "method.request.header.X-Mine",
        "integration.request.header.X-Query": "method.request.querystring.q",
        "integration.request.header.X-Key": "method.request.path.key",
        "integration.request.header.X-Absent": "method.request.header.None",
    }
    async with AnsweringEngine() as engine, serving(document, engine.endpoint) as served:
        await served.post("/v1/github/k?q=1", b"x", [("X-Mine", "2")])
        (headers,) = engine.received_headers
        assert (headers["x-header"], headers["x-query"], headers["x-key"]) == ("2", "1", "k")
        assert "x-absent" not in headers


# --- gateway responses


async def test_gateway_responses_by_default() -> None:
    """Without configuration an unknown route is API Gateway's own 403."""
    answer = await hello(mock_definition(), "/none")
    assert (answer.status, answer.document) == (403, {"message": "Missing Authentication Token"})
    assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"


async def test_default_4xx_and_5xx_cover_what_is_not_configured() -> None:
    """DEFAULT_4XX and DEFAULT_5XX answer for every type without its own response, status included."""
    document = mock_definition(requestTemplates={"application/json": "{}"})
    document["x-amazon-apigateway-gateway-responses"] = {
        "DEFAULT_4XX": {
            "statusCode": "418",
            "responseParameters": {"gatewayresponse.header.X-Who": "'me'"},
            "responseTemplates": {"text/plain": "$context.error.responseType $context.error.message"},
        },
        "DEFAULT_5XX": {
            "responseTemplates": {"application/json": '{"m":$context.error.messageString,"s":"$stageVariables.stream"}'}
        },
        "UNSUPPORTED_MEDIA_TYPE": {"statusCode": 499},
    }
    answer = await hello(document, "/none")
    assert (answer.status, answer.body) == (418, b"MISSING_AUTHENTICATION_TOKEN Missing Authentication Token")
    assert (answer.headers["x-who"], answer.headers["content-type"]) == ("me", "text/plain")
    answer = await hello(document)
    assert (answer.status, answer.document) == (500, {"m": "Internal server error", "s": "weir-stream"})
    answer = await hello(document, headers=[("Content-Type", "text/html")])
    assert (answer.status, answer.document) == (499, {"message": "Unsupported Media Type"})


# --- refused when loaded


def mocked(**settings: Any) -> Callable[[], dict[str, Any]]:
    return lambda: mock_definition(**settings)


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[], dict[str, Any]]:
    def build() -> dict[str, Any]:
        document = definition()
        change(document)
        return document

    return build


def with_integration(**settings: Any) -> Callable[[], dict[str, Any]]:
    return changed(lambda document: integration(document).update(settings))


REFUSED: dict[str, Callable[[], dict[str, Any]]] = {
    "an authorizer": changed(lambda document: document["paths"]["/v1/github"]["post"].update(security=[{"key": []}])),
    "a validator": changed(lambda document: document.update({"x-amazon-apigateway-request-validator": "all"})),
    "compression": changed(lambda document: document.update({"x-amazon-apigateway-minimum-compression-size": 0})),
    "a proxy": with_integration(type="aws_proxy"),
    "another service": with_integration(uri="arn:aws:apigateway:us-east-1:sqs:path/1/queue"),
    "a path uri": with_integration(uri="arn:aws:apigateway:us-east-1:kinesis:path/PutRecord"),
    "passing through": with_integration(passthroughBehavior="when_no_match"),
    "no templates": with_integration(requestTemplates={}),
    "raw bytes": with_integration(contentHandling=None),
    "to binary": with_integration(contentHandling="CONVERT_TO_BINARY"),
    "a long timeout": with_integration(timeoutInMillis=29_001),
    "a cache": with_integration(cacheKeyParameters=["method.request.path.key"]),
    "a query mapping": with_integration(requestParameters={"integration.request.querystring.a": "'b'"}),
    "a forbidden header": with_integration(requestParameters={"integration.request.header.Authorization": "'b'"}),
    "an unquoted value": with_integration(requestParameters={"integration.request.header.A": "b"}),
    "a body mapping": with_integration(requestParameters={"integration.request.header.A": "method.request.body.a"}),
    "no responses": with_integration(responses={}),
    "a bad pattern": mocked(responses={"(": {"statusCode": "200"}}),
    "an undeclared status": mocked(responses={"default": {"statusCode": "201"}}),
    "an undeclared header": mocked(responses=answering("x", responseParameters={"method.response.header.X-No": "'a'"})),
    "a response body mapping": mocked(
        responses=answering("x", responseParameters={"method.response.header.X-Any": "integration.response.body.a"})
    ),
    "a response to binary": mocked(responses=answering("x", contentHandling="CONVERT_TO_BINARY")),
    "a binary answer": changed(lambda document: integration(document)["responses"][r"4\d{2}"].pop("contentHandling")),
    "a mock's answer that is bytes": changed(
        lambda document: document["paths"]["/v1/github"]["x-amazon-apigateway-any-method"][
            "x-amazon-apigateway-integration"
        ]["responses"]["default"].pop("contentHandling")
    ),
    "mapped to a mock": mocked(requestParameters={"integration.request.header.A": "'a'"}),
    "a bad template": mocked(responses=answering("#macro(x)#end")),
    "a greedy path": changed(lambda document: document["paths"].update({"/{all+}": document["paths"]["/v1/github"]})),
    "no integration": changed(
        lambda document: document["paths"]["/v1/github"]["post"].pop("x-amazon-apigateway-integration")
    ),
    "an unknown gateway response": changed(
        lambda document: document["x-amazon-apigateway-gateway-responses"].update(TEAPOT={})
    ),
    "a template in a gateway response": changed(
        lambda document: document["x-amazon-apigateway-gateway-responses"]["THROTTLED"].update(
            responseTemplates={"application/json": "#set($a = 1)$a"}
        )
    ),
    "a log variable in a gateway response": changed(
        lambda document: document["x-amazon-apigateway-gateway-responses"]["THROTTLED"].update(
            responseTemplates={"application/json": "$context.status"}
        )
    ),
    "a mapped gateway response": changed(
        lambda document: document["x-amazon-apigateway-gateway-responses"]["THROTTLED"].update(
            responseParameters={"gatewayresponse.header.A": "method.request.header.B"}
        )
    ),
}


@pytest.mark.parametrize("build", REFUSED.values(), ids=REFUSED)
def test_what_is_not_known_is_refused(build: Callable[[], dict[str, Any]]) -> None:
    """A definition that asks for more than the gateway does is an error when it is loaded, never ignored."""
    with pytest.raises(TemplateUnsupported) as refused:
        Gateway(build(), stage_variables=STAGE_VARIABLES, engine_endpoint="http://127.0.0.1:1")
    assert str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"CachingEnabled": True},
        {"ThrottlingRateLimit": 5},
        {"DataTraceEnabled": True, "Unknown": 1},
    ],
)
def test_unknown_method_settings_are_refused(settings: dict[str, Any]) -> None:
    """A stage setting that would change answers and is not done here is refused."""
    every = {"ResourcePath": "/*", "HttpMethod": "*", **settings}
    with pytest.raises(TemplateUnsupported):
        Gateway(mock_definition(), stage_variables={}, engine_endpoint="http://x", method_settings=[every])


@pytest.mark.parametrize(
    "format_",
    ["no id", "$context.requestId\n", "$context.requestId $context.unknown", "$context.requestId" + "x" * 3072],
)
def test_bad_access_log_formats_are_refused(format_: str, tmp_path: Path) -> None:
    """A format that API Gateway would not take, or with a variable unknown here, is refused."""
    with pytest.raises(TemplateUnsupported):
        Gateway(
            mock_definition(),
            stage_variables={},
            engine_endpoint="http://x",
            access_log=tmp_path / "log",
            access_log_format=format_,
        )


# --- parts


def test_routes_prefer_literals() -> None:
    """A literal segment wins over a parameter, a slash at the end is ignored, and parameters are decoded."""
    routes = Routes({"/v1/a": {"POST": "a"}, "/v1/{x}": {"ANY": "x"}, "/v1/{x}/c": {"GET": "c"}, "/": {"GET": "root"}})
    assert routes.match("POST", "/v1/a") == ("a", {})
    assert routes.match("POST", "/v1/a/") == ("a", {})
    assert routes.match("GET", "/v1/a") is None
    assert routes.match("GET", "/v1/%C3%BC+b") == ("x", {"x": "ü+b"})
    assert routes.match("GET", "/v1/a/c") == ("c", {"x": "a"})
    assert routes.match("GET", "/") == ("root", {})
    assert routes.match("GET", "/v1//c") is None
    assert routes.match("GET", "/v1") is None


def test_query_strings() -> None:
    """Names and values are decoded, the last of several wins, and a semicolon separates."""
    assert query("a=1&a=2&b&c=&=d&e=%26%3D+f;g=1") == {"a": "2", "b": "", "c": "", "": "d", "e": "&= f", "g": "1"}
    assert query("&&") == {}


def test_a_bucket_never_lets_more_than_rate_and_burst_through() -> None:
    """Over any time a bucket lets at most burst plus rate times that time through."""
    bucket = Bucket(10, 5, 0.0)
    through = sum(bucket.take(step / 100) for step in range(1001))
    assert 5 + 10 * 10 - 1 <= through <= 5 + 10 * 10


# --- the process


def configuration(tmp_path: Path, port: int) -> Path:
    path = tmp_path / "gateway.json"
    settings = {
        "definition": definition(),
        "stage_variables": STAGE_VARIABLES,
        "method_settings": [],
        "access_log": str(tmp_path / "access.log"),
        "access_log_format": "$context.requestId $context.status",
        "engine": "http://127.0.0.1:1",
        "access_key": "weir",
        "port": port,
    }
    path.write_text(json.dumps(settings))
    return path


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "weir.infra.local.gateway.gateway_process", str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_process_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """The gateway's process answers on its port, is not ended by Ctrl-C, and ends cleanly and silently on SIGTERM."""
    port = free_port()
    with start(configuration(tmp_path, port)) as process:
        deadline = time.monotonic() + 20
        while not listens(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/none", timeout=5)
        answer.value.close()
        assert answer.value.code == 404
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=15)
        assert (process.returncode, output) == (0, "")
    assert (tmp_path / "access.log").read_text().endswith(" 404\n")


def test_a_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    """A port that somebody has is named, with what to do, and no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackFailed, match=f"Port {port} is in use.*PORT="):
            bind("127.0.0.1", port)
        with start(configuration(tmp_path, port)) as process:
            output, _ = process.communicate(timeout=20)
        assert process.returncode == 1
        assert f"Port {port} is in use" in output
        assert "Traceback" not in output

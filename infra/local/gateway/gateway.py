"""The embedded API Gateway: serves the API definition with its Kinesis, Lambda and mock integrations, as AWS documents.

It parses, verifies and looks up nothing of a delivery: the request template makes a PutRecord request of it, and the
integration responses make the answer of what the engine said.

Where AWS does not say what happens: headers over 10,240 bytes are answered 431, URLs over 10,240 characters 414, and a
wrong Content-Encoding with the fixed body of a failure before the API is known. There is no stage in the path, as with
a custom domain name.

One thing it does that API Gateway does not: it refuses web pages, as a web application firewall would. Any page in the
developer's browser can send requests to this machine, and what is stored takes its memory and disk.
"""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from weir.infra.local import vtl
from weir.infra.local.asgi import Receive, Scope, Send
from weir.infra.local.function.function import Function
from weir.infra.local.gateway import definition as gateway_definition
from weir.infra.local.gateway import parameter_mapping as gateway_mapping
from weir.infra.local.gateway import request as gateway_request
from weir.infra.local.gateway.definition import Method
from weir.infra.local.gateway.exchange import Exchange, Fault, new_extended_request_id
from weir.infra.local.gateway.kinesis_integration import IntegrationAnswer, KinesisIntegration, UnreachableError
from weir.infra.local.gateway.proxy_integration import LambdaIntegration
from weir.infra.local.gateway.request import DisconnectedError, EncodingError, TooLargeError
from weir.infra.local.gateway.responses import JSON, GatewayResponses, Response, fixed
from weir.infra.local.gateway.routes import Routes
from weir.infra.local.gateway.text import AccessLog
from weir.infra.local.gateway.throttle import Bucket, Throttles

_ONLY_JSON = [("Content-Type", JSON)]
_CONFIGURATION = "API_CONFIGURATION_ERROR"
_INTERNAL = "Internal server error"
_UNQUOTED_STATUS = re.compile(r"""\{\s*['"]?statusCode['"]?\s*:\s*(\d{3})\b""")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Gateway:
    """One API and its stage, as an ASGI application; ``startup`` before the first request, ``aclose`` after the last.

    Raises: TemplateUnsupported for anything in the definition or the stage that it would not do as API Gateway does.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        *,
        stage_variables: Mapping[str, str],
        engine_endpoint: str,
        access_log: Path | None = None,
        access_log_format: str = "$context.requestId",
        method_settings: Iterable[Mapping[str, Any]] = (),
        functions: Mapping[str, Function] | None = None,
        stage: str = "live",
        region: str = "us-east-1",
        access_key: str = "weir",
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        new_request_id: Callable[[], str] = new_extended_request_id,
    ) -> None:
        api = gateway_definition.load(definition)
        self._stage_variables = {name: str(value) for name, value in stage_variables.items()}
        self._responses = GatewayResponses(api.gateway_responses, self._stage_variables)
        throttles = Throttles(method_settings)
        self._routes = Routes(
            {
                path: {name: (method, throttles.bucket(path, name, timer())) for name, method in methods.items()}
                for path, methods in api.methods.items()
            }
        )
        self._log = AccessLog(access_log, access_log_format) if access_log is not None else None
        self._engine: tuple[str, str, str] = engine_endpoint, region, access_key
        self._integration: KinesisIntegration | None = None
        self._functions = LambdaIntegration(functions or {})
        self._stage = stage
        self._clock, self._timer, self._new_request_id = clock, timer, new_request_id

    async def startup(self) -> None:
        """Open what needs the event loop."""
        endpoint, region, access_key = self._engine
        self._integration = KinesisIntegration(endpoint, region=region, access_key=access_key)

    async def aclose(self) -> None:
        """Close the connections to the engine, the functions and the access log."""
        if self._integration is not None:
            await self._integration.close()
        await self._functions.close()
        if self._log is not None:
            self._log.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        exchange = self._exchange(scope)
        try:
            response = await self._respond(receive, exchange)
        except DisconnectedError:
            return
        exchange.status, exchange.response_bytes = response.status, len(response.body)
        headers = [
            (b"x-amzn-RequestId", exchange.context["requestId"].encode("ascii")),
            (b"x-amz-apigw-id", exchange.extended_request_id.encode("ascii")),
            (b"Content-Length", b"%d" % len(response.body)),
            *((name.encode("ascii"), value.encode("latin-1")) for name, value in response.headers),
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        exchange.responded_s = self._timer()
        if self._log is not None:
            self._log.write(exchange)

    def _exchange(self, scope: Scope) -> Exchange:
        client = scope.get("client")
        return Exchange(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query_string=scope["query_string"].decode("latin-1"),
            headers=gateway_request.headers(scope),
            stage=self._stage,
            source_ip=client[0] if client else "",
            arrived_at_s=self._clock(),
            started_s=self._timer(),
            extended_request_id=self._new_request_id(),
        )

    async def _respond(self, receive: Receive, exchange: Exchange) -> Response:
        if len(exchange.path) + len(exchange.query_string) > gateway_request.MAX_URL_CHARACTERS:
            return fixed(414, "Request-URI Too Long")
        if exchange.headers.size_bytes > gateway_request.MAX_HEADER_BYTES:
            return fixed(431, "Request Header Fields Too Large")
        try:
            return await self._invoke(receive, exchange)
        except Fault as fault:
            return self._responses.answer(fault, exchange)
        except TooLargeError:
            return fixed(413, "Request Too Long")
        except EncodingError:
            return fixed(415, "Unsupported Media Type")

    async def _invoke(self, receive: Receive, exchange: Exchange) -> Response:
        if gateway_request.is_of_web_page(exchange.headers.lower):
            raise Fault("WAF_FILTERED", "Forbidden: the embedded stack takes no request of a web page")
        method = self._method(exchange)
        content = await gateway_request.body(receive, exchange.headers.lower)
        exchange.query = gateway_request.query(exchange.query_string) if exchange.query_string else {}
        if method.function is not None:
            return await self._functions.call(
                method.function, exchange, content, self._stage_variables, timeout_s=method.timeout_s
            )
        request, overrides = self._map_request(method, exchange, content)
        if method.target is None:
            return self._map_answer(method, exchange, _mock_answer(request), overrides)
        answer = await self._call(method, exchange, request)
        return self._map_answer(method, exchange, answer, overrides)

    def _method(self, exchange: Exchange) -> Method:
        found = self._routes.match(exchange.method, exchange.path)
        if found is None:
            raise Fault("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")
        (method, bucket), exchange.path_parameters = found
        exchange.context["resourcePath"] = method.resource_path
        if bucket is not None and not self._take(bucket):
            raise Fault("THROTTLED", "Too Many Requests")
        return method

    def _take(self, bucket: Bucket) -> bool:
        return bucket.take(self._timer())

    def _map_request(self, method: Method, exchange: Exchange, content: bytes) -> tuple[str, vtl.Overrides]:
        media_type = exchange.header(b"content-type") or JSON
        chosen = method.templates.get(media_type)
        if chosen is None:
            # API Gateway compares without parameters such as charset; that case is ignored too is RFC 9110's word.
            bare = media_type.partition(";")[0].strip()
            chosen = method.templates.get(bare) or method.templates.get(bare.lower())
        if chosen is None:
            raise Fault("UNSUPPORTED_MEDIA_TYPE", "Unsupported Media Type")
        text = b64encode(content).decode("ascii") if chosen.base64 else content.decode("utf-8", "replace")
        overrides = vtl.Overrides()
        try:
            return self._render(chosen.template, exchange, text, overrides), overrides
        except vtl.BodyNotJsonError as error:
            raise Fault("BAD_REQUEST_BODY", f"Could not parse request body into json: {error}") from error
        except vtl.RenderError as error:
            raise Fault(_CONFIGURATION, _INTERNAL, integration_error=str(error)) from error

    def _render(self, template: vtl.Template, exchange: Exchange, text: str, overrides: vtl.Overrides) -> str:
        if template.constant is not None:
            return template.constant
        given = vtl.Input(
            text, path=exchange.path_parameters, querystring=exchange.query, header=exchange.headers.shown
        )
        return template.render(given, exchange.context, self._stage_variables, overrides)

    async def _call(self, method: Method, exchange: Exchange, request: str) -> IntegrationAnswer:
        if self._integration is None or method.target is None:
            raise RuntimeError("startup was not called")
        mapped = ((mapping.name, mapping.value(exchange)) for mapping in method.headers)
        headers = {"Content-Type": exchange.header(b"content-type") or JSON}
        headers |= {name: value for name, value in mapped if value is not None}
        started_s = self._timer()
        try:
            answer = await self._integration.call(
                method.target, headers, request.encode("utf-8"), timeout_s=method.timeout_s
            )
        except TimeoutError as error:
            raise Fault(
                "INTEGRATION_TIMEOUT", "Endpoint request timed out", integration_error="Endpoint request timed out"
            ) from error
        except UnreachableError as error:
            raise Fault("INTEGRATION_FAILURE", _INTERNAL, integration_error=str(error)) from error
        finally:
            exchange.integration_latency_ms = int((self._timer() - started_s) * 1000)
        exchange.integration_status = answer.status
        exchange.integration_request_id = answer.headers.get("x-amzn-requestid")
        return answer

    def _map_answer(
        self, method: Method, exchange: Exchange, answer: IntegrationAnswer, requested: vtl.Overrides
    ) -> Response:
        chosen = gateway_mapping.choose(method.answers, answer.status)
        if chosen is None:
            raise Fault(_CONFIGURATION, _INTERNAL, integration_error=f"no integration response for {answer.status}")
        overrides = vtl.Overrides()
        template = chosen.template(exchange.header(b"accept"))
        body = answer.body
        if template is not None:
            binary = chosen.to_text and answer.headers.get("content-type", JSON) in chosen.binary
            text = b64encode(body).decode("ascii") if binary and body else body.decode("utf-8", "replace")
            try:
                body = self._render(template, exchange, text, overrides).encode("utf-8", "replace")
            except vtl.RenderError as error:
                raise Fault(_CONFIGURATION, _INTERNAL, integration_error=str(error)) from error
        mapped = {
            name: answer.headers.get(source) if constant is None else constant
            for name, constant, source in chosen.headers
        }
        layers = [layer for layer in (mapped, requested.headers, overrides.headers) if layer]
        headers = _headers({"Content-Type": JSON}, *layers) if layers else _ONLY_JSON
        return Response(overrides.status or requested.status or chosen.status, headers, body)


def _mock_answer(request: str) -> IntegrationAnswer:
    """Read what a mock's request template says its answer's status is.

    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-mock-integration.html
    """
    try:
        status = json.loads(request)["statusCode"]
    except (ValueError, TypeError, KeyError):
        unquoted = _UNQUOTED_STATUS.match(request.strip())
        status = int(unquoted[1]) if unquoted else None
    if type(status) is not int:
        raise Fault(_CONFIGURATION, _INTERNAL, integration_error="the mock's request template gives no statusCode")
    return IntegrationAnswer(status, {}, b"")


def _headers(*layers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Merge headers, later ones over earlier ones whatever their case; a value that HTTP cannot carry is a fault."""
    merged: dict[str, tuple[str, str]] = {}
    for layer in layers:
        for name, value in layer.items():
            if value is not None:
                merged[name.lower()] = (name, str(value))
    for name, value in merged.values():
        if _UNPRINTABLE.search(value) or not value.isascii():
            raise Fault(_CONFIGURATION, _INTERNAL, integration_error=f"the header {name} cannot hold its value")
    return list(merged.values())

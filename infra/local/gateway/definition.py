"""The API definition as API Gateway imports it: an OpenAPI document with its integrations, checked and made ready.

What the document uses and this gateway does not do is refused when it is loaded, with the place in the document.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from weir.infra.local import vtl
from weir.infra.local.gateway.parameter_mapping import HeaderMapping, IntegrationResponse, answers, header_mappings
from weir.ingest.errors import TemplateUnsupported

ANY_METHOD = "x-amazon-apigateway-any-method"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_INTEGRATION = "x-amazon-apigateway-integration"
_ROOT = {
    *("openapi", "info", "paths", "components", "servers", "tags", "externalDocs"),
    *("x-amazon-apigateway-binary-media-types", "x-amazon-apigateway-gateway-responses"),
    "x-amazon-apigateway-endpoint-configuration",
}
_PATH_ITEM = {*_METHODS, ANY_METHOD, "parameters", "summary", "description"}
_OPERATION = {_INTEGRATION, "responses", "parameters", "summary", "description", "operationId", "tags", "requestBody"}
_INTEGRATION_KEYS = {
    *("type", "httpMethod", "uri", "credentials", "passthroughBehavior", "contentHandling", "timeoutInMillis"),
    *("requestParameters", "requestTemplates", "responses"),
}
_URI = re.compile(r"arn:[\w-]+:apigateway:([\w-]+):kinesis:action/(PutRecord|PutRecords)")
_INVOKE_URI = re.compile(
    r"arn:[\w-]+:apigateway:[\w-]+:lambda:path/2015-03-31/functions/arn:[\w-]+:lambda:[\w-]+:\d+:function:([\w-]+)/invocations"
)
_KINESIS_VERSION = "Kinesis_20131202"
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
_TIMEOUT_MS = range(50, 29_001)


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """A request template; ``base64`` says whether the body reaches it so, its media type being binary."""

    template: vtl.Template
    base64: bool


@dataclass(frozen=True, slots=True)
class Method:
    """One method of one resource. ``target`` is the action to call, ``function`` a function's name; none is a mock."""

    resource_path: str
    http_method: str
    target: str | None
    timeout_s: float
    templates: Mapping[str, RequestTemplate]
    headers: tuple[HeaderMapping, ...]
    answers: tuple[IntegrationResponse, ...]
    function: str | None = None


@dataclass(frozen=True, slots=True)
class Api:
    """A whole API: its methods by resource path and name, and its gateway responses as configured."""

    methods: Mapping[str, Mapping[str, Method]]
    gateway_responses: Mapping[str, Any]


def load(definition: Mapping[str, Any]) -> Api:
    """Check a definition and load its templates.

    Raises: TemplateUnsupported, with the place in the document.
    """
    _known("definition", definition, _ROOT)
    binary = BinaryTypes(definition.get("x-amazon-apigateway-binary-media-types", ()))
    methods: dict[str, dict[str, Method]] = {}
    for path, item in definition["paths"].items():
        _known(path, item, _PATH_ITEM)
        methods[path] = {
            "ANY" if name == ANY_METHOD else name.upper(): _method(path, name, operation, binary)
            for name, operation in item.items()
            if name in (*_METHODS, ANY_METHOD)
        }
    return Api(methods, definition.get("x-amazon-apigateway-gateway-responses", {}))


class BinaryTypes:
    """The media types whose bodies are bytes: ``*/*``, ``type/*`` or ``type/subtype``."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = frozenset(patterns)

    def __contains__(self, media_type: object) -> bool:
        name = str(media_type).partition(";")[0].strip().lower()
        return not self._patterns.isdisjoint((name, name.partition("/")[0] + "/*", "*/*"))


def refuse(where: str, complaint: str, **facts: object) -> TemplateUnsupported:
    """Make the error for a place in the document."""
    return TemplateUnsupported(complaint, where=where, **facts)


def _known(where: str, members: Mapping[str, Any], known: set[str]) -> None:
    """Let extensions of others be, as API Gateway does; its own must be known."""
    unknown = [name for name in members if name not in known and (not name.startswith("x-") or "amazon" in name)]
    if unknown:
        raise refuse(where, "the gateway does not know", found=sorted(unknown))


def _method(path: str, name: str, operation: Mapping[str, Any], binary: BinaryTypes) -> Method:
    where = f"{path} {name}"
    _known(where, operation, _OPERATION)
    integration = operation.get(_INTEGRATION)
    if integration is None:
        raise refuse(where, "a method without an integration")
    _known(where, integration, _INTEGRATION_KEYS)
    timeout_ms = int(integration.get("timeoutInMillis", _TIMEOUT_MS[-1]))
    if timeout_ms not in _TIMEOUT_MS:
        raise refuse(where, "timeoutInMillis is 50 to 29000", found=timeout_ms)
    if str(integration.get("type")).lower() == "aws_proxy":
        function = _function(where, integration)
        return Method(path, name.upper(), None, timeout_ms / 1000, {}, (), (), function)
    target = _target(where, integration)
    return Method(
        resource_path=path,
        http_method=name.upper(),
        target=target,
        timeout_s=timeout_ms / 1000,
        templates=_request_templates(where, integration, binary),
        headers=header_mappings(where, integration.get("requestParameters") or {}, used=target is not None),
        answers=answers(where, integration.get("responses") or {}, operation.get("responses") or {}, binary),
    )


def _function(where: str, integration: Mapping[str, Any]) -> str:
    invoked = _INVOKE_URI.fullmatch(integration["uri"])
    if invoked is None or str(integration.get("httpMethod")).upper() != "POST":
        raise refuse(where, "a proxy integration is a POST to a Lambda function", found=integration["uri"])
    return invoked[1]


def _target(where: str, integration: Mapping[str, Any]) -> str | None:
    kind = str(integration.get("type")).lower()
    if kind == "mock":
        return None
    if kind != "aws":
        raise refuse(where, "the gateway has integrations of the types aws, aws_proxy and mock", found=kind)
    action = _URI.fullmatch(integration["uri"])
    if action is None or str(integration.get("httpMethod")).upper() != "POST":
        raise refuse(
            where, "an aws integration is a POST to Kinesis' PutRecord or PutRecords", found=integration["uri"]
        )
    return f"{_KINESIS_VERSION}.{action[2]}"


def _request_templates(where: str, integration: Mapping[str, Any], binary: BinaryTypes) -> dict[str, RequestTemplate]:
    templates: Mapping[str, str] = integration.get("requestTemplates") or {}
    behaviour = str(integration.get("passthroughBehavior", "when_no_match")).lower()
    if behaviour == "when_no_match" or not templates:
        raise refuse(
            where,
            "without passthroughBehavior: never and request templates, a caller would write the integration's request",
        )
    handling = integration.get("contentHandling")
    if handling not in (None, "CONVERT_TO_TEXT"):
        raise refuse(where, "contentHandling is CONVERT_TO_TEXT or absent", found=handling)
    loaded = {}
    for media_type, source in templates.items():
        template = vtl.load(source, where)
        is_binary = media_type in binary
        if is_binary and handling is None and template.uses_body:
            raise refuse(where, "a binary body without contentHandling: CONVERT_TO_TEXT", found=media_type)
        loaded[media_type] = RequestTemplate(template, is_binary)
    return loaded

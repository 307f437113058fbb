"""Parameter mappings and integration responses: how one message's parts become another's.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-parameter-mapping.html
Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-integration-settings-integration-response.html
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from weir.infra.local import vtl
from weir.infra.local.gateway.exchange import Exchange
from weir.infra.local.vtl.java import RenderError
from weir.infra.local.vtl.regex import java_pattern
from weir.ingest.errors import TemplateUnsupported

KINESIS_JSON = "application/x-amz-json-1.1"
_REQUEST_HEADER = "integration.request.header."
_RESPONSE_HEADER = "method.response.header."
_FROM_METHOD = re.compile(r"method\.request\.(header|querystring|path)\.(.+)")
_FROM_INTEGRATION = re.compile(r"integration\.response\.header\.(.+)")
_STATIC = re.compile(r"'(.*)'", re.DOTALL)
# API Gateway answers 500 to every request when one of these is mapped.
# Source: LocalStack's test_apigateway_header_remapping_aws, recorded against AWS on 2024-12-11.
_FORBIDDEN = {
    *("authorization", "connection", "content-length", "expect", "proxy-authenticate", "te", "transfer-encoding"),
    "x-amzn-trace-id",
}
_ANSWER_KEYS = {"statusCode", "responseTemplates", "responseParameters", "contentHandling"}


@dataclass(frozen=True, slots=True)
class HeaderMapping:
    """A header and where its value comes from: a constant, or a member of the method's request."""

    name: str
    constant: str | None
    kind: str = ""
    parameter: str = ""

    def value(self, exchange: Exchange) -> str | None:
        """Return the value for one request, None to send no such header."""
        if self.constant is not None:
            return self.constant
        source = {"header": exchange.headers.shown, "querystring": exchange.query, "path": exchange.path_parameters}
        return source[self.kind].get(self.parameter)


@dataclass(frozen=True, slots=True)
class IntegrationResponse:
    """One integration response: for which statuses, and what it becomes.

    ``pattern`` None is the default. ``headers`` map a name to a constant or, as the second of the pair, to a header of
    the integration's answer. ``to_text`` and ``binary`` decide whether the template sees base64.
    """

    pattern: re.Pattern[str] | None
    status: int
    templates: Mapping[str, vtl.Template]
    headers: tuple[tuple[str, str | None, str], ...]
    to_text: bool
    binary: Container[str]

    def template(self, accept: str) -> vtl.Template | None:
        """Choose the template: the Accept header's, else JSON's, else the first. None passes the body through."""
        if len(self.templates) <= 1:
            return next(iter(self.templates.values()), None)
        first = next(iter(self.templates.values()))
        return self.templates.get(accept) or self.templates.get("application/json") or first


def choose(candidates: tuple[IntegrationResponse, ...], status: int) -> IntegrationResponse | None:
    """Return the integration response for a status: the first whose pattern matches all of it, else the default."""
    default = None
    for candidate in candidates:
        if candidate.pattern is None:
            default = default or candidate
        elif candidate.pattern.fullmatch(str(status)):
            return candidate
    return default


def header_mappings(where: str, parameters: Mapping[str, str], *, used: bool) -> tuple[HeaderMapping, ...]:
    """Load ``integration.request.header.X`` mappings; a mock (``used`` false) can have none.

    Raises: TemplateUnsupported.
    """
    if parameters and not used:
        raise TemplateUnsupported("a mock has no request to map parameters to", where=where)
    return tuple(_header_mapping(where, name, value) for name, value in parameters.items())


def answers(
    where: str, responses: Mapping[str, Any], declared: Mapping[str, Any], binary: Container[str]
) -> tuple[IntegrationResponse, ...]:
    """Load integration responses against the method's ``declared`` ones, in the order given.

    Raises: TemplateUnsupported.
    """
    if not responses:
        raise TemplateUnsupported("an integration without responses answers 500 to everything", where=where)
    return tuple(_answer(f"{where} {key}", key, each, declared, binary) for key, each in responses.items())


def _header_mapping(where: str, name: str, value: str) -> HeaderMapping:
    if not name.startswith(_REQUEST_HEADER):
        raise TemplateUnsupported("only integration.request.header.X is mapped", where=where, found=name)
    header = name.removeprefix(_REQUEST_HEADER)
    if header.lower() in _FORBIDDEN:
        raise TemplateUnsupported("API Gateway answers 500 when this header is mapped:", where=where, found=header)
    if static := _STATIC.fullmatch(value):
        return HeaderMapping(header, static[1])
    if source := _FROM_METHOD.fullmatch(value):
        return HeaderMapping(header, None, source[1], source[2])
    raise TemplateUnsupported("a mapping from this is not known", where=where, found=value)


def _answer(
    where: str, key: str, settings: Mapping[str, Any], declared: Mapping[str, Any], binary: Container[str]
) -> IntegrationResponse:
    if unknown := set(settings) - _ANSWER_KEYS:
        raise TemplateUnsupported("unknown settings of an integration response:", where=where, found=sorted(unknown))
    handling = settings.get("contentHandling")
    if handling not in (None, "CONVERT_TO_TEXT"):
        raise TemplateUnsupported("contentHandling is CONVERT_TO_TEXT or absent", where=where, found=handling)
    status = str(settings["statusCode"])
    if status not in declared:
        raise TemplateUnsupported("API Gateway answers 500 for a status that the method does not declare", where=where)
    templates = {
        media_type: vtl.load(source, where) for media_type, source in (settings.get("responseTemplates") or {}).items()
    }
    # Where every Accept is a binary type, an answer with a template is 500 otherwise, a mock's too.
    # Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-payload-encodings-workflow.html
    if handling is None and KINESIS_JSON in binary and templates:
        raise TemplateUnsupported("an answer with a template needs contentHandling: CONVERT_TO_TEXT", where=where)
    return IntegrationResponse(
        pattern=None if key == "default" else _pattern(where, key),
        status=int(status),
        templates=templates,
        headers=tuple(
            _response_header(where, name, value, declared[status])
            for name, value in (settings.get("responseParameters") or {}).items()
        ),
        to_text=handling is not None,
        binary=binary,
    )


def _pattern(where: str, key: str) -> re.Pattern[str]:
    try:
        return java_pattern(key)
    except RenderError as error:
        raise TemplateUnsupported(str(error), where=where) from error


def _response_header(where: str, name: str, value: str, declared: Mapping[str, Any]) -> tuple[str, str | None, str]:
    header = name.removeprefix(_RESPONSE_HEADER)
    if header == name or header not in (declared.get("headers") or {}):
        raise TemplateUnsupported(
            "API Gateway imports no mapping to a header that is not declared", where=where, found=name
        )
    if static := _STATIC.fullmatch(value):
        return header, static[1], ""
    if source := _FROM_INTEGRATION.fullmatch(value):
        return header, None, source[1].lower()
    raise TemplateUnsupported("a mapping from this is not known", where=where, found=value)

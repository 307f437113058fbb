"""Gateway responses: what API Gateway itself answers when a request gets no answer from its integration.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir.infra.local.gateway.exchange import Exchange, Fault
from weir.infra.local.gateway.text import PlainText, response_text
from weir.ingest.errors import TemplateUnsupported

# Type -> default status and the name in the x-amzn-ErrorType header.
TYPES: dict[str, tuple[int, str]] = {
    "ACCESS_DENIED": (403, "AccessDeniedException"),
    "API_CONFIGURATION_ERROR": (500, "InternalServerErrorException"),
    "AUTHORIZER_CONFIGURATION_ERROR": (500, "AuthorizerConfigurationException"),
    "AUTHORIZER_FAILURE": (500, "AuthorizerFailureException"),
    "BAD_REQUEST_BODY": (400, "BadRequestException"),
    "BAD_REQUEST_PARAMETERS": (400, "BadRequestException"),
    "DEFAULT_4XX": (400, "BadRequestException"),
    "DEFAULT_5XX": (500, "InternalServerErrorException"),
    "EXPIRED_TOKEN": (403, "ExpiredTokenException"),
    "INTEGRATION_FAILURE": (504, "InternalServerErrorException"),
    "INTEGRATION_TIMEOUT": (504, "InternalServerErrorException"),
    "INVALID_API_KEY": (403, "ForbiddenException"),
    "INVALID_SIGNATURE": (403, "InvalidSignatureException"),
    "MISSING_AUTHENTICATION_TOKEN": (403, "MissingAuthenticationTokenException"),
    "QUOTA_EXCEEDED": (429, "LimitExceededException"),
    "REQUEST_TOO_LARGE": (413, "RequestTooLargeException"),
    "RESOURCE_NOT_FOUND": (404, "ResourceNotFoundException"),
    "THROTTLED": (429, "TooManyRequestsException"),
    "UNAUTHORIZED": (401, "UnauthorizedException"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "BadRequestException"),
    "WAF_FILTERED": (403, "ForbiddenException"),
}
JSON = "application/json"
_DEFAULT_TEMPLATE = '{"message":$context.error.messageString}'
_HEADER = "gatewayresponse.header."


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back to the caller."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class _GatewayResponse:
    status: int
    content_type: str
    text: PlainText
    headers: tuple[tuple[str, str], ...]


class GatewayResponses:
    """Every type's answer: the API's own, the API's DEFAULT_4XX or DEFAULT_5XX, or API Gateway's."""

    def __init__(self, configured: Mapping[str, Any], stage_variables: Mapping[str, str]) -> None:
        if unknown := set(configured) - set(TYPES):
            raise TemplateUnsupported("no such gateway response:", found=sorted(unknown))
        self._by_type = {type_: _load(type_, _settings(type_, configured), stage_variables) for type_ in TYPES}

    def answer(self, fault: Fault, exchange: Exchange) -> Response:
        """Render the answer to a fault, which the exchange gets to know."""
        exchange.fault = fault
        configured = self._by_type[fault.type]
        headers = [
            ("Content-Type", configured.content_type),
            ("x-amzn-ErrorType", TYPES[fault.type][1]),
            *configured.headers,
        ]
        return Response(configured.status, headers, configured.text.render(exchange).encode("utf-8"))


def fixed(status: int, message: str) -> Response:
    """Answer as API Gateway does before it knows the API: nothing of it can be configured."""
    return Response(status, [("Content-Type", JSON)], b'{"message":"' + message.encode("ascii") + b'"}')


def _settings(type_: str, configured: Mapping[str, Any]) -> Mapping[str, Any]:
    default = "DEFAULT_4XX" if TYPES[type_][0] < 500 else "DEFAULT_5XX"
    settings: Mapping[str, Any] = configured.get(type_, configured.get(default, {}))
    return settings


def _load(type_: str, settings: Mapping[str, Any], stage_variables: Mapping[str, str]) -> _GatewayResponse:
    where = f"x-amazon-apigateway-gateway-responses.{type_}"
    if unknown := set(settings) - {"statusCode", "responseParameters", "responseTemplates"}:
        raise TemplateUnsupported("unknown settings of a gateway response:", where=where, found=sorted(unknown))
    templates = settings.get("responseTemplates") or {JSON: _DEFAULT_TEMPLATE}
    if len(templates) != 1:
        raise TemplateUnsupported("a gateway response has one template here", where=where, found=sorted(templates))
    content_type, source = next(iter(templates.items()))
    return _GatewayResponse(
        status=int(settings.get("statusCode") or TYPES[type_][0]),
        content_type=content_type,
        text=response_text(source, where, stage_variables),
        headers=tuple(
            _header(name, value, where) for name, value in (settings.get("responseParameters") or {}).items()
        ),
    )


def _header(name: str, value: str, where: str) -> tuple[str, str]:
    if not name.startswith(_HEADER) or not (value.startswith("'") and value.endswith("'") and len(value) >= 2):
        raise TemplateUnsupported(
            "only gatewayresponse.header.X with a value in single quotes is mapped",
            where=where,
            found=f"{name}: {value}",
        )
    return name.removeprefix(_HEADER), value[1:-1]

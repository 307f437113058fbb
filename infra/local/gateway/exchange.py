"""One request and what is known of it: the $context of templates, gateway responses and access logs."""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from weir.infra.local.gateway.request import Headers
from weir.infra.local.vtl.names import CONTEXT

# Twelve bytes less one: sixteen characters that end in "=", as AWS writes them.
_EXTENDED_ID_BYTES = 11
# The identity of the API, as far as it has one on this machine.
API = {"accountId": "000000000000", "apiId": "weir", "protocol": "HTTP/1.1"}


def new_extended_request_id() -> str:
    """Return an id that the caller cannot choose, in the form of API Gateway's."""
    return base64.urlsafe_b64encode(os.urandom(_EXTENDED_ID_BYTES)).decode("ascii")


def request_id(offered: str) -> str:
    """Return the caller's x-amzn-RequestId if it is a UUID, else a new one.

    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
    """
    if len(offered) == 36:
        try:
            return str(uuid.UUID(offered))
        except ValueError:
            pass
    digits = os.urandom(16).hex()
    # A random UUID (version 4, variant 1), spelled without the cost of the uuid module.
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


@lru_cache(maxsize=4)
def _request_time(epoch_s: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(epoch_s))


class Fault(Exception):
    """A request that ends in a gateway response of this type."""

    def __init__(self, type_: str, message: str, *, integration_error: str | None = None) -> None:
        super().__init__(f"{type_}: {message}")
        self.type = type_
        self.message = message
        self.integration_error = integration_error


@dataclass(slots=True)
class Exchange:
    """A request on its way through; times are of the monotonic clock."""

    method: str
    path: str
    query_string: str
    headers: Headers
    stage: str
    source_ip: str
    arrived_at_s: float
    started_s: float
    extended_request_id: str
    context: dict[str, Any] = field(default_factory=dict)
    path_parameters: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    status: int = 0
    response_bytes: int = 0
    responded_s: float = 0.0
    fault: Fault | None = None
    integration_status: int | None = None
    integration_latency_ms: int | None = None
    integration_request_id: str | None = None

    def __post_init__(self) -> None:
        host = self.header(b"host")
        self.context = {
            **API,
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "extendedRequestId": self.extended_request_id,
            "httpMethod": self.method,
            "identity": {
                "sourceIp": self.source_ip,
                "userAgent": self.header(b"user-agent"),
            },
            "path": self.path,
            "requestId": request_id(self.header(b"x-amzn-requestid")),
            "requestTime": _request_time(int(self.arrived_at_s)),
            "requestTimeEpoch": int(self.arrived_at_s * 1000),
            "resourcePath": "",
            "stage": self.stage,
        }

    def header(self, lower_name: bytes) -> str:
        """Return a header's value, "" if there is none."""
        return self.headers.lower.get(lower_name, b"").decode("latin-1")


def _from_context(name: str) -> Callable[[Exchange], Any]:
    return lambda exchange: exchange.context[name] or None


def _from_identity(name: str) -> Callable[[Exchange], Any]:
    return lambda exchange: exchange.context["identity"][name] or None


def _of_fault(value: Callable[[Fault], Any]) -> Callable[[Exchange], Any]:
    return lambda exchange: None if exchange.fault is None else value(exchange.fault)


def _response_latency_ms(exchange: Exchange) -> int:
    return int((exchange.responded_s - exchange.started_s) * 1000)


# What plain text may name after `$context.`; a value of None is blank.
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
VARIABLES: dict[str, Callable[[Exchange], Any]] = {
    **{name: _from_context(name) for name in sorted(CONTEXT)},
    "identity.sourceIp": _from_identity("sourceIp"),
    "identity.userAgent": _from_identity("userAgent"),
    "error.message": _of_fault(lambda fault: fault.message),
    "error.messageString": _of_fault(lambda fault: json.dumps(fault.message)),
    "error.responseType": _of_fault(lambda fault: fault.type),
    "error.validationErrorString": lambda _: None,
    "status": lambda exchange: exchange.status,
    "responseLength": lambda exchange: exchange.response_bytes,
    "responseLatency": _response_latency_ms,
    "integration.error": _of_fault(lambda fault: fault.integration_error),
    "integration.latency": lambda exchange: exchange.integration_latency_ms,
    "integration.requestId": lambda exchange: exchange.integration_request_id,
    "integration.status": lambda exchange: exchange.integration_status,
    "integrationLatency": lambda exchange: exchange.integration_latency_ms,
}
# Known only when the answer is on its way.
LOG_ONLY = frozenset(
    name
    for name in VARIABLES
    if name.startswith("integration") or name in ("status", "responseLength", "responseLatency")
)

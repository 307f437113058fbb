"""API Gateway's proxy event, read as the mapping template reads the same request, and the answer to it.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from weir.ingest.envelope import Envelope
from weir.ingest.errors import InvocationInvalid


class ProxyRequest(NamedTuple):
    """One request: its method, and the envelope that it would be stored in."""

    method: str
    envelope: Envelope


def read(event: Mapping[str, Any]) -> ProxyRequest:
    """Read a proxy event.

    Raises: InvocationInvalid if it is not one: the function is for API Gateway alone.
    """
    try:
        context = event["requestContext"]
        envelope = Envelope(
            request_id=context["extendedRequestId"],
            arrived_at_ms=int(context["requestTimeEpoch"]),
            source=event["resource"].removeprefix("/v1/").partition("/")[0],
            key=(event.get("pathParameters") or {}).get("key", ""),
            source_ip=context["identity"]["sourceIp"],
            path=context["path"],
            query=dict(event.get("queryStringParameters") or {}),
            headers=tuple(_headers(event)),
            body=_body(event),
        )
        return ProxyRequest(event["httpMethod"], envelope)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvocationInvalid("Not a proxy event of API Gateway.", cause=repr(error)) from error


def response(status: int, headers: Mapping[str, str], body: str) -> dict[str, Any]:
    """Return an answer in the form that API Gateway takes."""
    return {"statusCode": status, "headers": dict(headers), "body": body, "isBase64Encoded": False}


def _headers(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    several = event.get("multiValueHeaders")
    if several:
        for name, values in several.items():
            yield from ((name, value) for value in values)
    else:
        yield from (event.get("headers") or {}).items()


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body") or ""
    return b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode("utf-8")

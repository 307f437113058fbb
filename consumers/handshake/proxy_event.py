"""API Gateway's proxy event, read as the mapping template reads the same request, and the answer to it.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from weir.ingest.envelope import Envelope
from weir.ingest.errors import ConfigError

# As in `put_record.vtl`: a plain ordering key is the partition key itself, so that it can be recognised.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9._~:@+=, -]+")


class Request(NamedTuple):
    """One request: its method, and the envelope that it would be stored in."""

    method: str
    envelope: Envelope


def read(event: Mapping[str, Any]) -> Request:
    """Read a proxy event.

    Raises: ConfigError if it is none: the function is for API Gateway alone.
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
        return Request(event["httpMethod"], envelope)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError("This is no request of a proxy integration.", cause=repr(error)) from error


def partition_key(envelope: Envelope) -> str:
    """Return the partition key that the mapping template would give."""
    if not envelope.key:
        return envelope.request_id
    if _PLAIN_KEY.fullmatch(envelope.key):
        return envelope.key
    return b64encode(envelope.key.encode("utf-8")).decode("ascii")


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

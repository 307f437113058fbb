"""Reading requests: API Gateway's limits, headers and query as templates see them, Content-Encoding undone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from weir.infra.local.asgi import Receive, Scope

# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_HEADER_BYTES = 10_240
MAX_URL_CHARACTERS = 10_240
# They belong to one connection, or API Gateway makes them anew; templates never see them.
# Source: LocalStack's header_utils, checked against AWS.
_DROPPED = frozenset(
    {
        *(b"connection", b"content-length", b"content-md5", b"expect", b"max-forwards", b"proxy-authenticate"),
        *(b"server", b"te", b"transfer-encoding", b"trailer", b"upgrade", b"www-authenticate"),
    }
)
_LOOPBACK = frozenset((b"127.0.0.1", b"localhost", b"[::1]"))
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class TooLargeError(Exception):
    """The body is larger than API Gateway takes."""


class EncodingError(Exception):
    """The Content-Encoding is not one that API Gateway undoes, or the body is not encoded so."""


class DisconnectedError(Exception):
    """The caller went away before its request was whole."""


@dataclass(frozen=True, slots=True)
class Headers:
    """A request's headers: ``shown`` as a template sees them, ``lower`` all of them by lower-case name.

    ``size_bytes`` counts names, values, colons, spaces and line ends, as they came.
    """

    shown: dict[str, str]
    lower: dict[bytes, bytes]
    size_bytes: int


def headers(scope: Scope) -> Headers:
    """Read the headers: text whose code points are the bytes that came, names as they are spelled in the scope.

    One value a name, the last one: API Gateway does not say which of several it takes, but does for query strings.
    """
    lower: dict[bytes, bytes] = {}
    spelled: dict[bytes, bytes] = {}
    size_bytes = 0
    for name, value in scope["headers"]:
        key = name.lower()
        lower[key], spelled[key] = value, name
        size_bytes += len(name) + len(value) + 4
    shown = {
        spelled[key].decode("latin-1"): value.decode("latin-1") for key, value in lower.items() if key not in _DROPPED
    }
    return Headers(shown, lower, size_bytes)


def is_of_web_page(lower: Mapping[bytes, bytes]) -> bool:
    """Tell whether a page in a browser makes the request: by fetch metadata, or by an ``Origin`` to a name of loopback.

    ``lower`` are the headers by lower-case name. A page can neither set nor remove these two. Browsers leave fetch
    metadata out where a page has a name of its own for this address over plain HTTP; then its origin is that name. A
    sender that happens to have an ``Origin`` comes through a tunnel, whose name is another.
    Source: https://fetch.spec.whatwg.org/#forbidden-request-header
    Source: https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
    """
    if lower.get(b"sec-fetch-site", b"none").strip().lower() != b"none":
        return True
    origin = lower.get(b"origin")
    if origin is None:
        return False
    host = lower.get(b"host", b"").strip().lower()
    return host.rpartition(b":")[0] in _LOOPBACK or host in _LOOPBACK or origin.lower().rpartition(b"//")[2] == host


def query(query_string: str) -> dict[str, str]:
    """Decode a query string; of a name that comes more than once, the last value. A ``;`` separates too.

    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
    """
    parameters = {}
    for pair in query_string.replace(";", "&").split("&"):
        if pair:
            name, _, value = pair.partition("=")
            parameters[unquote_plus(name, errors="replace")] = unquote_plus(value, errors="replace")
    return parameters


async def body(receive: Receive, lower: Mapping[bytes, bytes]) -> bytes:
    """Read the whole body, decompressed.

    Raises: TooLargeError, EncodingError, DisconnectedError.
    """
    declared = lower.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise TooLargeError
    message = await receive()
    content: bytes = message.get("body", b"")
    if message.get("more_body") or message["type"] != "http.request":
        content = await _rest(receive, message)
    encoding = lower.get(b"content-encoding")
    return content if encoding is None else _decompressed(content, encoding.strip().lower())


async def _rest(receive: Receive, message: MutableMapping[str, Any]) -> bytes:
    parts = bytearray()
    while True:
        if message["type"] != "http.request":
            raise DisconnectedError
        parts += message.get("body", b"")
        if len(parts) > MAX_BODY_BYTES:
            raise TooLargeError
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()


def _decompressed(content: bytes, encoding: bytes) -> bytes:
    """Undo a Content-Encoding.

    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-make-request-with-compressed-payload.html
    """
    if encoding in (b"identity", b""):
        return content
    if encoding not in (b"gzip", b"deflate"):
        raise EncodingError
    try:
        return _inflated(content, _GZIP_OR_ZLIB)
    except zlib.error as error:
        if encoding == b"gzip":
            raise EncodingError from error
    try:
        return _inflated(content, -zlib.MAX_WBITS)  # what many send as "deflate"
    except zlib.error as error:
        raise EncodingError from error


def _inflated(content: bytes, window_bits: int) -> bytes:
    parts = bytearray()
    while content:
        stream = zlib.decompressobj(window_bits)
        parts += stream.decompress(content, MAX_BODY_BYTES + 1 - len(parts))
        if len(parts) > MAX_BODY_BYTES:
            raise TooLargeError
        if not stream.eof:
            raise EncodingError
        content = stream.unused_data  # another gzip member
    return bytes(parts)

"""The envelope: the record of one stored delivery, written by ``put_record.vtl`` alone and read here.

One line of JSON that ends with a newline, so that Firehose's plain concatenation is JSON Lines. All that a caller
controls (key, path, query, headers, body) is base64 inside it: API Gateway's engines escape JavaScript strings in three
different ways, but base64 is the same in all of them.

Header names and values are text whose code points are the bytes that came (ISO 8859-1), as HTTP servers read them;
``value.encode("latin-1")`` gives the bytes back.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weir.ingest.calendar import MAX_MS
from weir.ingest.errors import EnvelopeMalformed
from weir.ingest.ids import RequestId, SourceName

VERSION = 1

# API Gateway renders an empty body as `{}`, `e30=` in base64.
# Source: LocalStack's test_input_body_formatting, recorded against AWS on 2025-03-19.
_EMPTY_OBJECT = b"{}"

# As in `put_record.vtl`: an ordering key of these characters is the partition key itself, so that people recognise it.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9._~:@+=, -]+")


class _Wire(BaseModel):
    """The JSON members of an envelope, in the order in which the mapping template writes them."""

    model_config = ConfigDict(strict=True, extra="ignore")

    v: Literal[1]
    id: RequestId = Field(min_length=1, max_length=256)
    at: int = Field(ge=0, le=MAX_MS)
    source: SourceName = Field(min_length=1, max_length=64)
    key: str
    ip: str
    path: str
    query: dict[str, str]
    headers: str
    body: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """One delivery as it arrived.

    ``arrived_at_ms`` is epoch milliseconds; ``key`` is the ordering key from the URL or ``""``; ``headers`` keep the
    order and spelling in which the gateway gave them. ``alternative_body`` is set only where the gateway cannot tell an
    empty body from ``{}``: verifying with the secret then shows which of the two was signed.
    """

    request_id: RequestId
    arrived_at_ms: int
    source: SourceName
    key: str
    source_ip: str
    path: str
    query: dict[str, str]
    headers: tuple[tuple[str, str], ...]
    body: bytes
    alternative_body: bytes | None = None

    def header(self, name: str) -> str | None:
        """Return the first value of a header, whatever the case of its name; None if it is absent."""
        wanted = name.lower()
        return next((value for given, value in self.headers if given.lower() == wanted), None)

    def with_alternative_body(self) -> Envelope | None:
        """Return the same delivery with the other body that may have been sent; None if there is only one."""
        if self.alternative_body is None:
            return None
        return replace(self, body=self.alternative_body, alternative_body=None)


def decode(record_data: bytes) -> Envelope:
    """Read the data of one Kinesis record.

    Raises: EnvelopeMalformed, which says what is wrong but never quotes the data.
    """
    try:
        wire = _Wire.model_validate_json(record_data)
        headers = _parse_headers(_text(wire.headers))
        body, alternative = _body(wire.body, headers)
        return Envelope(
            request_id=wire.id,
            arrived_at_ms=wire.at,
            source=wire.source,
            key=_text(wire.key),
            source_ip=wire.ip,
            path=_text(wire.path),
            query={_text(name): _text(value) for name, value in wire.query.items()},
            headers=headers,
            body=body,
            alternative_body=alternative,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise EnvelopeMalformed(f"{where or 'record'}: {first['msg']}", bytes=len(record_data)) from error
    except ValueError as error:  # base64 and UTF-8
        raise EnvelopeMalformed(str(error), bytes=len(record_data)) from error


def encode(envelope: Envelope) -> bytes:
    """Write an envelope exactly as the mapping template would."""
    block = "".join(f"{name}: {value}\n" for name, value in envelope.headers)
    body = envelope.body or _EMPTY_OBJECT
    wire = {
        "v": VERSION,
        "id": envelope.request_id,
        "at": envelope.arrived_at_ms,
        "source": envelope.source,
        "key": _base64(envelope.key),
        "ip": envelope.source_ip,
        "path": _base64(envelope.path),
        "query": {_base64(name): _base64(value) for name, value in envelope.query.items()},
        "headers": _base64(block),
        "body": b64encode(body).decode("ascii"),
    }
    return json.dumps(wire, separators=(",", ":")).encode("ascii") + b"\n"


def partition_key(envelope: Envelope) -> str:
    """Return the partition key that the mapping template gives a delivery: its ordering key, or else its request id.

    A key of other than plain characters is base64. Kinesis refuses a key of more than 256 characters; this cuts none.
    """
    if not envelope.key:
        return envelope.request_id
    if _PLAIN_KEY.fullmatch(envelope.key):
        return envelope.key
    return _base64(envelope.key)


def _text(encoded: str) -> str:
    return binascii.a2b_base64(encoded, strict_mode=True).decode("utf-8") if encoded else ""


def _base64(text: str) -> str:
    return b64encode(text.encode("utf-8")).decode("ascii")


def _parse_headers(block: str) -> tuple[tuple[str, str], ...]:
    # Split at "\n" alone: str.splitlines would also cut at U+0085, a byte that a header value may hold.
    if block.startswith(": ") or "\n: " in block:
        raise ValueError("headers: a line has no name")
    return tuple([(name, value) for line in block.split("\n") if line for name, _, value in (line.partition(": "),)])


def _body(encoded: str, headers: tuple[tuple[str, str], ...]) -> tuple[bytes, bytes | None]:
    if encoded in {"", "{}"}:  # a plain `{}` is not base64: it is how LocalStack renders an empty body
        return b"", None
    body = binascii.a2b_base64(encoded, strict_mode=True)
    if body != _EMPTY_OBJECT:
        return body, None
    given = {name.lower(): value.strip() for name, value in headers}
    if "content-length" in given:
        return (b"" if given["content-length"] == "0" else body), None
    if "transfer-encoding" in given:
        return body, None
    # API Gateway may drop Content-Length. A sender of `{}` gives its Content-Type; a sender of nothing rarely does.
    return (body, b"") if "content-type" in given else (b"", body)

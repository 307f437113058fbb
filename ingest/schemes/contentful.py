"""Contentful: an HMAC over method, path, the headers that the delivery lists, and body.

Source: https://www.contentful.com/developers/docs/extensibility/app-framework/request-verification/ and
@contentful/node-apps-toolkit 3.16.1 (npm).
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMissing
from weir.ingest.locations import OF_BODY, Unreadable, one_header
from weir.ingest.schemes.base import Draft, Scheme
from weir.ingest.schemes.parts.checks import MAX_SIGNATURES, check_age, public_urls
from weir.ingest.schemes.parts.header_hmac import HeaderHmacProver
from weir.ingest.times import format_ms, parse_ms

_TIME = "x-contentful-timestamp"


class ContentfulScheme(Scheme):
    """HMAC-SHA256 over method, path, the headers that the delivery lists, and body."""

    alg: Literal["contentful"]
    tolerance_s: int | None = Field(default=30, ge=1, description="how long before its arrival the signed time may be")
    url: str = Field(default="", description="the public URL, if it is signed; a source may give it as its own `url`")
    reads_url: ClassVar[bool] = True

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return a header that providers may list among the signed ones."""
        return frozenset({"authorization"})

    def covers(self, place: str, _payload_field: str = "") -> bool:
        """See `Scheme.covers`: body, query and time; which other headers are signed, each delivery says itself."""
        return place == "sha256" or place.startswith((*OF_BODY, "query:")) or place.lower() == f"header:{_TIME}"

    def prover(self) -> ContentfulProver:
        """See `Scheme.prover`."""
        return ContentfulProver(self)


class ContentfulProver(HeaderHmacProver):
    """Method, path, the headers that the delivery lists, and body, line by line.

    Source: https://www.contentful.com/developers/docs/extensibility/app-framework/request-verification/
    """

    header = "X-Contentful-Signature"
    encoding = "hex"
    _time = _TIME
    _list = "x-contentful-signed-headers"

    def __init__(self, scheme: ContentfulScheme) -> None:
        super().__init__(scheme.label)
        self._scheme = scheme

    def texts(self, envelope: Envelope) -> list[bytes]:
        """Return the text with each spelling of the query."""
        listed = one_header(envelope, self._list)
        if not listed:
            raise SignatureMissing(f"There is no header {self._list}.")
        names = sorted({name.strip().lower() for name in listed.split(",")})
        if len(names) > MAX_SIGNATURES or not {self._time, self._list} <= set(names):
            raise Unreadable(f"header {self._list} does not list itself and {self._time}, or lists too many")
        headers = ";".join(f"{name}:{(one_header(envelope, name) or '').strip()}" for name in names)
        paths = [_path(url) for url in public_urls(self._scheme.url, envelope)]
        return [f"POST\n{path}\n{headers}\n".encode() + envelope.body for path in paths]

    def prepare(self, draft: Draft) -> None:
        """Add the time and the list of signed headers."""
        draft.headers["X-Contentful-Timestamp"] = format_ms(draft.at_ms, "ms")
        names = ({name.lower() for name in draft.headers} | {self._time, self._list}) - {self.header.lower()}
        draft.headers["X-Contentful-Signed-Headers"] = ",".join(sorted(names))

    def check_time(self, envelope: Envelope) -> None:
        """Compare the signed time with the arrival."""
        sent_at_ms = parse_ms(one_header(envelope, self._time) or "", "ms")
        check_age(sent_at_ms, envelope, past_s=self._scheme.tolerance_s, future_s=None)


def _path(url: str) -> str:
    cut = urlsplit(url)
    return urlunsplit(("", "", cut.path or "/", cut.query, ""))

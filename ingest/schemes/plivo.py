"""Plivo, version 3: an HMAC over URL, sorted parameters and a nonce.

Source: https://www.plivo.com/docs/messaging/concepts/signature-validation and the validator of plivo 4.63.0 (PyPI).
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMissing
from weir.ingest.locations import OF_BODY, Unreadable, one_header, signed_form
from weir.ingest.schemes.base import Draft, Scheme
from weir.ingest.schemes.parts.checks import public_urls
from weir.ingest.schemes.parts.header_hmac import HeaderHmacProver, query_text, sorted_pairs

# Between the signed parts are only "&", "=" and ".": whatever could move one of them is refused.
_NONCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AMBIGUOUS_NAME, _AMBIGUOUS_VALUE = re.compile(r"[&=.]"), re.compile(r"[&.]")


class PlivoScheme(Scheme):
    """HMAC-SHA256 over URL, sorted parameters and a nonce (version 3)."""

    alg: Literal["plivo-v3"]
    url: str = Field(default="", description="the public URL, if it is signed; a source may give it as its own `url`")
    reads_url: ClassVar[bool] = True

    def covers(self, place: str, _payload_field: str = "") -> bool:
        """See `Scheme.covers`: query and fields, although neighbours may be merged into one."""
        return place == "sha256" or place.startswith((*OF_BODY, "query:"))

    def signed_content(self, envelope: Envelope) -> bytes:
        """Return query and fields as they are signed."""
        return _parameters(envelope).encode("utf-8", "surrogateescape")

    def prover(self) -> PlivoProver:
        """See `Scheme.prover`."""
        return PlivoProver(self)


class PlivoProver(HeaderHmacProver):
    """URL with its sorted query, sorted parameters and a nonce.

    Source: https://www.plivo.com/docs/messaging/concepts/signature-validation
    """

    header = "X-Plivo-Signature-V3"

    def __init__(self, scheme: PlivoScheme) -> None:
        super().__init__(scheme.label)
        self._url = scheme.url

    def texts(self, envelope: Envelope) -> list[bytes]:
        """Return the one text."""
        nonce = one_header(envelope, "x-plivo-signature-v3-nonce")
        if not nonce:
            raise SignatureMissing("There is no header x-plivo-signature-v3-nonce.")
        if not _NONCE.fullmatch(nonce):
            raise Unreadable("the nonce is not 1 to 64 letters, digits, underscores and hyphens")
        url = public_urls(self._url, envelope)[0].partition("?")[0]
        parameters = _parameters(envelope)
        mark = "?" if parameters else ""
        return [f"{url}{mark}{parameters}.{nonce}".encode("utf-8", "surrogateescape")]

    def prepare(self, draft: Draft) -> None:
        """Add the nonce."""
        draft.headers["X-Plivo-Signature-V3-Nonce"] = re.sub(r"[^A-Za-z0-9_-]", "-", draft.message_id)[:64]


def _parameters(envelope: Envelope) -> str:
    """Return query and form fields as Plivo signs them. Raises: Unreadable where that has two readings."""
    for name, value in envelope.query.items():
        if _AMBIGUOUS_NAME.search(name) or _AMBIGUOUS_VALUE.search(value):
            raise Unreadable(f"the query parameter {name!r} holds a separator of what is signed")
    query, fields = query_text(envelope), sorted_pairs(signed_form(envelope))
    return f"{query}.{fields}" if query and fields else query + fields

"""Plivo, version 3: an HMAC over URL, sorted parameters and a nonce.

Source: https://www.plivo.com/docs/messaging/concepts/signature-validation and the validator of plivo 4.63.0 (PyPI).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMissing
from weir.ingest.locations import form_pairs, one_header
from weir.ingest.schemes.base import Draft, Scheme
from weir.ingest.schemes.parts.checks import public_urls
from weir.ingest.schemes.parts.header_hmac import HeaderHmacProver, sorted_pairs


class PlivoScheme(Scheme):
    """HMAC-SHA256 over URL, sorted parameters and a nonce (version 3)."""

    alg: Literal["plivo-v3"]
    url: str = Field(default="", description="the public URL, if it is signed; a source may give it as its own `url`")
    reads_url: ClassVar[bool] = True

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
        query = "&".join(f"{name}={value}" for name, value in sorted(envelope.query.items()))
        fields = sorted_pairs(form_pairs(envelope))
        url = public_urls(self._url, envelope)[0].partition("?")[0]
        mark = "?" if query or fields else ""
        dot = "." if query and fields else ""
        return [f"{url}{mark}{query}{dot}{fields}.{nonce}".encode("utf-8", "surrogateescape")]

    def prepare(self, draft: Draft) -> None:
        """Add the nonce."""
        draft.headers["X-Plivo-Signature-V3-Nonce"] = draft.message_id

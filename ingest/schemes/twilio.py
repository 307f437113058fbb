"""Twilio: an HMAC over the URL and the sorted form fields, or over a URL that contains the body's hash.

Source: https://www.twilio.com/docs/usage/security#validating-requests and the validator of twilio 9.13.0 (PyPI).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMismatch
from weir.ingest.locations import FORM, OF_BODY, Unreadable, media_type, signed_form
from weir.ingest.schemes.base import Draft, Scheme
from weir.ingest.schemes.parts.checks import public_urls
from weir.ingest.schemes.parts.header_hmac import HeaderHmacProver, query_text, sorted_pairs


class TwilioScheme(Scheme):
    """An HMAC over the URL and the sorted form fields, or over a URL that contains the body's hash."""

    alg: Literal["twilio"]
    hash: Literal["sha1", "sha256"] = Field(default="sha1", description="sha256: signed with a SharedKey")
    url: str = Field(default="", description="the public URL, if it is signed; a source may give it as its own `url`")
    reads_url: ClassVar[bool] = True

    def covers(self, place: str, _payload_field: str = "") -> bool:
        """See `Scheme.covers`: query and fields, although neighbours may be merged into one."""
        return place == "sha256" or place.startswith((*OF_BODY, "query:"))

    def signed_content(self, envelope: Envelope) -> bytes:
        """Return query and fields as they are signed; the hash of another body is in the query. Raises: Unreadable."""
        try:
            return (query_text(envelope) + _fields(envelope)).encode("utf-8", "surrogateescape")
        except SignatureMismatch as error:  # commands read what nothing has proven, too
            raise Unreadable(error.detail or str(error)) from error

    def prover(self) -> TwilioProver:
        """See `Scheme.prover`."""
        return TwilioProver(self)


class TwilioProver(HeaderHmacProver):
    """The URL and each sorted form field; or the URL alone, which then contains the hash of the body.

    Source: https://www.twilio.com/docs/usage/security#validating-requests
    """

    header = "X-Twilio-Signature"

    def __init__(self, scheme: TwilioScheme) -> None:
        super().__init__(scheme.label)
        self.hash = scheme.hash
        self._url = scheme.url

    def texts(self, envelope: Envelope) -> list[bytes]:
        """Return the text with each spelling of the URL, without and with its port."""
        suffix = _fields(envelope)
        spelled = [text for url in public_urls(self._url, envelope) for text in _port_spellings(url)]
        return [(url + suffix).encode("utf-8", "surrogateescape") for url in spelled]

    def prepare(self, draft: Draft) -> None:
        """Put the hash of a body that is not a form into the query."""
        if draft.body and media_type(draft.envelope()) != FORM:
            draft.query["bodySHA256"] = hashlib.sha256(draft.body).hexdigest()


def _fields(envelope: Envelope) -> str:
    """Return what is signed behind the URL: the fields of a form, nothing for a body whose hash is in the URL.

    Raises: SignatureMismatch when that hash is another body's; Unreadable when nothing covers the body.
    """
    given = envelope.query.get("bodySHA256", "")
    actual = hashlib.sha256(envelope.body).hexdigest()
    if given and not hmac.compare_digest(actual.encode("ascii"), given.lower().encode("utf-8", "replace")):
        raise SignatureMismatch("bodySHA256 is not the hash of the body.")
    if not envelope.body or media_type(envelope) == FORM:
        return sorted_pairs(signed_form(envelope))
    if not given:
        raise Unreadable("the URL has no bodySHA256, and so the body is not signed")
    return ""


def _port_spellings(url: str) -> list[str]:
    # Twilio's own SDKs try both: "sig generation on back end is inconsistent".
    cut = urlsplit(url)
    host = cut.hostname or ""
    port = cut.port or (443 if cut.scheme == "https" else 80)
    return list(
        dict.fromkeys([url, urlunsplit(cut._replace(netloc=host)), urlunsplit(cut._replace(netloc=f"{host}:{port}"))])
    )

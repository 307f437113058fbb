"""HMACs over a canonical form that no list of parts describes: Twilio, Plivo and Contentful.

Source: the validators of twilio 9.13.0, plivo 4.63.0 (PyPI) and @contentful/node-apps-toolkit 3.16.1 (npm).
"""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import Unreadable, form_pairs, media_type, one_header
from weir.ingest.schemes.models import ContentfulScheme, PlivoScheme, TwilioScheme
from weir.ingest.schemes.prover import (
    MAX_SIGNATURES,
    Draft,
    Fetch,
    SecretPair,
    Verdict,
    bounded,
    check_age,
    decode,
    encode,
    public_urls,
)
from weir.ingest.times import format_ms, parse_ms

_FORM = "application/x-www-form-urlencoded"


class _CanonicalProver(ABC):
    """One header with HMACs over a text that a subclass makes; several texts where the provider is inconsistent."""

    header: str
    hash: str = "sha256"
    encoding: str = "base64"

    def __init__(self, label: str) -> None:
        self._label = label

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`."""
        live = bounded(secrets)
        try:
            signatures = self._signatures(envelope)
            texts = self.texts(envelope)
            for index, secret in enumerate(live):
                if self._is_match(secret.encode("utf-8"), texts, signatures):
                    self.check_time(envelope)
                    return Verdict(self._label, index)
        except ValueError as error:
            raise SignatureMalformed(str(error)) from error
        raise SignatureMismatch

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        self.prepare(draft)
        text = self.texts(draft.envelope())[0]
        draft.headers[self.header] = encode(hmac.digest(secret.encode("utf-8"), text, self.hash), self.encoding)

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        if not secret.strip():
            raise ValueError("the secret is empty")

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        return SecretPair(entropy[:32].hex(), entropy[:32].hex())

    @abstractmethod
    def texts(self, envelope: Envelope) -> list[bytes]:
        """Return what may have been signed, the likeliest first. Raises: ValueError."""

    def prepare(self, draft: Draft) -> None:  # noqa: B027 - not every provider signs more
        """Add to a draft what is signed besides its body."""

    def check_time(self, envelope: Envelope) -> None:  # noqa: B027 - not every provider signs a time
        """Raises: SignatureExpired, Unreadable."""

    def _signatures(self, envelope: Envelope) -> list[bytes]:
        value = one_header(envelope, self.header.lower())
        if not value:
            raise SignatureMissing(f"There is no header {self.header.lower()}.")
        pieces = value.split(",")
        if len(pieces) > MAX_SIGNATURES:
            raise Unreadable(f"there are {len(pieces)} signatures, at most {MAX_SIGNATURES} are tried")
        return [decode(piece.strip(), self.encoding) for piece in pieces]

    def _is_match(self, key: bytes, texts: list[bytes], signatures: list[bytes]) -> bool:
        expected = [hmac.digest(key, text, self.hash) for text in texts]
        return any(hmac.compare_digest(one, given) for one in expected for given in signatures)


class TwilioProver(_CanonicalProver):
    """The URL and each sorted form field; or the URL alone, which then holds the hash of the body.

    Source: https://www.twilio.com/docs/usage/security#validating-requests
    """

    header = "X-Twilio-Signature"

    def __init__(self, scheme: TwilioScheme) -> None:
        super().__init__(scheme.label)
        self.hash = scheme.hash
        self._url = scheme.url

    def texts(self, envelope: Envelope) -> list[bytes]:
        """Return the text with each spelling of the URL, without and with its port."""
        suffix = "" if self._is_hashed(envelope) else _sorted_pairs(form_pairs(envelope))
        spelled = [text for url in public_urls(self._url, envelope) for text in _port_spellings(url)]
        return [(url + suffix).encode("utf-8", "surrogateescape") for url in spelled]

    def prepare(self, draft: Draft) -> None:
        """Put the hash of a body that is no form into the query."""
        if draft.body and media_type(draft.envelope()) != _FORM:
            draft.query["bodySHA256"] = hashlib.sha256(draft.body).hexdigest()

    def _is_hashed(self, envelope: Envelope) -> bool:
        if not envelope.body or media_type(envelope) == _FORM:
            return False
        given = envelope.query.get("bodySHA256", "")
        if not given:
            raise Unreadable("the URL has no bodySHA256, and so the body is not signed")
        actual = hashlib.sha256(envelope.body).hexdigest()
        if not hmac.compare_digest(actual.encode("ascii"), given.lower().encode("utf-8", "replace")):
            raise SignatureMismatch("bodySHA256 is not the hash of the body.")
        return True


class PlivoProver(_CanonicalProver):
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
        fields = _sorted_pairs(form_pairs(envelope))
        url = public_urls(self._url, envelope)[0].partition("?")[0]
        mark = "?" if query or fields else ""
        dot = "." if query and fields else ""
        return [f"{url}{mark}{query}{dot}{fields}.{nonce}".encode("utf-8", "surrogateescape")]

    def prepare(self, draft: Draft) -> None:
        """Add the nonce."""
        draft.headers["X-Plivo-Signature-V3-Nonce"] = draft.message_id


class ContentfulProver(_CanonicalProver):
    """Method, path, the headers that the delivery lists, and body, line by line.

    Source: https://www.contentful.com/developers/docs/extensibility/app-framework/request-verification/
    """

    header = "X-Contentful-Signature"
    encoding = "hex"
    _time = "x-contentful-timestamp"
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


def _sorted_pairs(pairs: list[tuple[str, str]]) -> str:
    return "".join(name + value for name, value in sorted(set(pairs)))


def _port_spellings(url: str) -> list[str]:
    # Twilio's own SDKs try both: "sig generation on back end is inconsistent".
    cut = urlsplit(url)
    host = cut.hostname or ""
    port = cut.port or (443 if cut.scheme == "https" else 80)
    return list(
        dict.fromkeys([url, urlunsplit(cut._replace(netloc=host)), urlunsplit(cut._replace(netloc=f"{host}:{port}"))])
    )


def _path(url: str) -> str:
    cut = urlsplit(url)
    return urlunsplit(("", "", cut.path or "/", cut.query, ""))

"""RSA signatures whose certificate the delivery names by URL.

The URL must be one of the provider's own, so that a forger cannot use another certificate. A certificate pinned in the
secret is used without any network; else the caller's ``fetch`` gets it, e.g. `CertificateCache.fetch`.

The secret is not secret here, but it ties a delivery to this receiver: the ARN of the topic (anyone may have a topic
that SNS signs for), the id of the webhook at PayPal. A PEM certificate may follow it in the next line.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from weir.ingest.encodings import encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureMalformed, SignatureMismatch
from weir.ingest.locations import Unreadable
from weir.ingest.schemes.base import Draft, Fetch, Scheme, SecretPair, Verdict
from weir.ingest.schemes.crypto import rsa
from weir.ingest.schemes.parts.checks import bounded


@dataclass(frozen=True, slots=True)
class Claim:
    """What a delivery claims: its signature, the URL of the certificate, and the hash."""

    signature: bytes
    certificate_url: str
    hash: str


class CertificateProver(ABC):
    """Finds the secret that a delivery is for and its certificate, and verifies."""

    def __init__(self, scheme: Scheme) -> None:
        self._label = scheme.label

    def verify(self, secrets: Sequence[str], envelope: Envelope, fetch: Fetch | None) -> Verdict:
        """See `Prover.verify`."""
        live = bounded(secrets)
        try:
            claim = self.claim(envelope)
            for index, secret in enumerate(live):
                identity, _, pinned = secret.strip().partition("\n")
                _check_pinned(pinned)
                content = self.content(envelope, identity.strip())
                if content is not None and self._is_valid(claim, content, pinned, envelope, fetch):
                    self.check_time(envelope)
                    return Verdict(self._label, index)
        except ValueError as error:
            raise SignatureMalformed(str(error)) from error
        raise SignatureMismatch

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        identity, _, private = secret.partition("\n")
        self.prepare(draft, identity)
        content = self.content(draft.envelope(), identity)
        self.place(draft, encode(rsa.sign(private, content or b"", "sha256"), "base64"))

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        identity, _, pinned = secret.strip().partition("\n")
        if not identity or identity.startswith("-----"):
            raise ValueError("the secret does not begin with the id of the topic or webhook")
        if pinned:
            rsa.check_certificate(pinned)

    def _generate(self, identity: str) -> SecretPair:
        private, certificate = rsa.generate()
        return SecretPair(f"{identity}\n{private}", f"{identity}\n{certificate}")

    def _is_valid(self, claim: Claim, content: bytes, pinned: str, envelope: Envelope, fetch: Fetch | None) -> bool:
        if not pinned and fetch is None:
            raise SecretAbsent("The certificate is not pinned in the secret, and must not be fetched here.")
        pem = pinned or (fetch(claim.certificate_url).decode("ascii") if fetch else "")
        return rsa.is_valid(pem, content, claim.signature, claim.hash, at_ms=envelope.arrived_at_ms)

    @abstractmethod
    def claim(self, envelope: Envelope) -> Claim:
        """Read the signature and what it was made with. Raises: RecordError, ValueError."""

    @abstractmethod
    def content(self, envelope: Envelope, identity: str) -> bytes | None:
        """Return the signed text if the delivery is for this identity. Raises: ValueError."""

    @abstractmethod
    def prepare(self, draft: Draft, identity: str) -> None:
        """Write into a draft all that is signed."""

    @abstractmethod
    def place(self, draft: Draft, signature: str) -> None:
        """Write the signature into a draft."""

    def check_time(self, envelope: Envelope) -> None:  # noqa: B027 - not every provider judges it
        """Raises: SignatureExpired, Unreadable."""


def _check_pinned(pinned: str) -> None:
    try:
        if pinned:
            rsa.check_certificate(pinned)
    except ValueError as error:
        raise SecretAbsent(f"A secret of the source cannot be used: {error}.") from error


def allowed(url: object, pattern: re.Pattern[str]) -> str:
    """Return the certificate's URL. Raises: Unreadable unless all of it fits the pattern of the provider's own URLs."""
    if not isinstance(url, str) or not pattern.fullmatch(url):
        raise Unreadable("the certificate's URL is not one of the provider's")
    return url

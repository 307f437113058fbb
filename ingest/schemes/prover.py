"""What every way of proving a delivery shares: its interface, its limits and the reading of keys and signatures."""

from __future__ import annotations

import binascii
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, quote_plus, urlencode

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureExpired

# DocuSign sends one header per active key, up to 100: https://developers.docusign.com/platform/webhooks/connect/hmac/
MAX_SIGNATURES = 100
MAX_SECRETS = 16

# Returns the PEM certificate that a URL names. Raises: TransientError when it cannot be had now.
Fetch = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a delivery was proven: the scheme's name and which of the secrets it was.

    ``alternative_body`` tells that `Envelope.with_alternative_body` is what was signed.
    """

    scheme: str
    secret_index: int
    alternative_body: bool = False


@dataclass(slots=True)
class Draft:
    """A delivery in the making: signing fills ``headers`` and, for some providers, changes ``body`` and ``query``.

    ``url`` is where the provider posts to; ``source`` and ``path`` are what the gateway makes of that.
    """

    body: bytes
    at_ms: int
    message_id: str
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    query: dict[str, str] = field(default_factory=dict)
    source: str = ""
    path: str = ""

    def envelope(self) -> Envelope:
        """Return the envelope that the gateway would make of it."""
        return Envelope(
            request_id=self.message_id,
            arrived_at_ms=self.at_ms,
            source=self.source,
            key="",
            source_ip="",
            path=self.path,
            query=self.query,
            headers=tuple(self.headers.items()),
            body=self.body,
        )


@dataclass(frozen=True, slots=True)
class SecretPair:
    """A secret for trying things out: what signs, and what the source verifies with (the same where it is shared)."""

    sign_with: str
    verify_with: str


class Prover(Protocol):
    """A compiled scheme. It holds no secret longer than a small cache and reads no clock."""

    def verify(self, secrets: Sequence[str], envelope: Envelope, fetch: Fetch | None, /) -> Verdict:
        """Prove a delivery. Raises: RecordError; TransientError only from ``fetch``."""

    def sign(self, secret: str, draft: Draft) -> None:
        """Make a delivery that `verify` accepts."""

    def check_secret(self, secret: str) -> None:
        """Raises: ValueError when the secret cannot be one of this scheme."""

    def generate(self, entropy: bytes) -> SecretPair:
        """Make a secret of the right form from at least 32 random bytes."""


def decode_base64(text: str, *, is_url_safe: bool = False) -> bytes:
    """Decode strictly, with or without padding. Raises: ValueError."""
    if is_url_safe:
        text = text.replace("-", "+").replace("_", "/")
    raw = text.encode("ascii")
    return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True)


def decode(text: str, encoding: str) -> bytes:
    """Decode ``hex``, ``base64``, ``base64url`` or ``hex-base64``. Raises: ValueError."""
    if encoding == "hex-base64":
        return binascii.unhexlify(decode_base64(text))
    return binascii.unhexlify(text) if encoding == "hex" else decode_base64(text, is_url_safe=encoding == "base64url")


def encode(raw: bytes, encoding: str) -> str:
    """Encode as ``hex``, ``base64``, ``base64url`` without padding, or ``hex-base64``."""
    if encoding == "hex-base64":
        return b64encode(raw.hex().encode("ascii")).decode("ascii")
    if encoding == "hex":
        return raw.hex()
    return (b64encode(raw) if encoding == "base64" else urlsafe_b64encode(raw).rstrip(b"=")).decode("ascii")


def bounded(secrets: Sequence[str]) -> Sequence[str]:
    """Return the newest secrets, as many as are tried. Raises: SecretAbsent if there is none, or an empty one."""
    if not secrets:
        raise SecretAbsent("The source has no secret yet.")
    if not all(map(str.strip, secrets)):  # an empty key is one that everybody has
        raise SecretAbsent("One of the source's secrets is empty.")
    return secrets[:MAX_SECRETS]


def check_age(sent_at_ms: int, envelope: Envelope, *, past_s: int | None, future_s: int | None) -> None:
    """Compare the signed time with the arrival time. Raises: SignatureExpired."""
    age_ms = envelope.arrived_at_ms - sent_at_ms
    if past_s is not None and age_ms > past_s * 1000:
        raise SignatureExpired(age_s=age_ms // 1000, tolerance_s=past_s)
    if future_s is not None and -age_ms > future_s * 1000:
        raise SignatureExpired("It is ahead of its arrival.", ahead_s=-age_ms // 1000, tolerance_s=future_s)


def public_urls(base: str, envelope: Envelope) -> list[str]:
    """Return the URLs that the provider may have signed, the likeliest first; more than one if there is a query.

    The gateway hands the query over decoded, so its exact spelling has to be guessed from a few usual ones.
    """
    marker = f"/v1/{envelope.source}/"
    tail = envelope.path.partition(marker)[2] if envelope.source else ""
    url = f"{base.rstrip('/')}/{tail}" if tail else base
    if not envelope.query:
        return [url]
    pairs = list(envelope.query.items())
    spelled = [
        urlencode(pairs, quote_via=quote),
        urlencode(pairs, quote_via=quote_plus),
        "&".join(f"{name}={value}" for name, value in pairs),
    ]
    return [f"{url}?{query}" for query in dict.fromkeys(spelled)]

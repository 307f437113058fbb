"""RSA signatures whose certificate the delivery names by URL: AWS SNS and PayPal.

The URL must be one of the provider's own, so that a forger cannot point at his certificate. A certificate pinned in the
secret is used without any network; else the caller's ``fetch`` gets it, e.g. `CertificateCache.fetch`.

The secret is not secret here, but it is what ties a delivery to this receiver: the ARN of the topic (anyone may have a
topic of his own signed by SNS), the id of the webhook at PayPal. A PEM certificate may follow it in the next line.
"""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import Unreadable, one_header, parse_json
from weir.ingest.schemes import rsa
from weir.ingest.schemes.drafts import rewrite_json
from weir.ingest.schemes.models import Scheme, SnsScheme
from weir.ingest.schemes.prover import Draft, Fetch, SecretPair, Verdict, bounded, check_age, decode_base64, encode
from weir.ingest.times import format_ms, parse_ms

# Source: npm sns-validator 0.3.5, narrowed to the name that AWS gives the file.
_SNS_CERTIFICATE = re.compile(
    r"https://sns\.[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?/SimpleNotificationService-[a-z0-9]{8,64}\.pem"
)
_PAYPAL_CERTIFICATE = re.compile(
    r"https://api(\.[a-z-]{1,20})?\.paypal\.com/v1/notifications/certs/[A-Za-z0-9_-]{4,80}"
)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a delivery says of itself: the text that is signed, for one secret, and by what."""

    signature: bytes
    certificate_url: str
    hash: str


class _CertificateProver(ABC):
    """Finds the secret that the delivery is for, its certificate, and verifies."""

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

    def _is_valid(self, claim: _Claim, content: bytes, pinned: str, envelope: Envelope, fetch: Fetch | None) -> bool:
        if not pinned and fetch is None:
            raise SecretAbsent("The certificate is neither pinned in the secret nor may it be fetched.")
        pem = pinned or (fetch(claim.certificate_url).decode("ascii") if fetch else "")
        return rsa.is_valid(pem, content, claim.signature, claim.hash, at_ms=envelope.arrived_at_ms)

    @abstractmethod
    def claim(self, envelope: Envelope) -> _Claim:
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


class SnsProver(_CertificateProver):
    """AWS SNS. Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html"""

    _NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    _CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")

    def __init__(self, scheme: SnsScheme) -> None:
        super().__init__(scheme)
        self._scheme = scheme

    def claim(self, envelope: Envelope) -> _Claim:
        """Read version, certificate and signature from the body."""
        message = self._message(envelope)
        if not message.get("Signature"):
            raise SignatureMissing("The body has no Signature; raw message delivery is not signed, switch it off.")
        version = message.get("SignatureVersion")
        if version not in self._scheme.versions:
            raise Unreadable(f"SignatureVersion is none of {', '.join(self._scheme.versions)}")
        url = _allowed(message.get("SigningCertURL"), _SNS_CERTIFICATE)
        return _Claim(decode_base64(str(message["Signature"])), url, "sha1" if version == "1" else "sha256")

    def content(self, envelope: Envelope, identity: str) -> bytes | None:
        """Return the members that are signed, if the topic is this one."""
        message = self._message(envelope)
        if message.get("TopicArn") != identity:
            return None
        names = self._NOTIFICATION if message.get("Type") == "Notification" else self._CONFIRMATION
        lines = [f"{name}\n{message[name]}\n" for name in names if message.get(name) is not None]
        return "".join(lines).encode("utf-8")

    def check_time(self, envelope: Envelope) -> None:
        """Compare the signed time with the arrival, where the scheme asks for it."""
        if self._scheme.tolerance_s is not None:
            sent_at_ms = parse_ms(str(self._message(envelope).get("Timestamp")), "rfc3339")
            check_age(sent_at_ms, envelope, past_s=self._scheme.tolerance_s, future_s=self._scheme.tolerance_s)

    def prepare(self, draft: Draft, identity: str) -> None:
        """Write topic, time and certificate into the body."""
        host = "https://sns.eu-west-1.amazonaws.com"
        rewrite_json(
            draft,
            TopicArn=identity,
            Timestamp=format_ms(draft.at_ms, "rfc3339"),
            SignatureVersion="2",
            SigningCertURL=f"{host}/SimpleNotificationService-{'0' * 32}.pem",
        )

    def place(self, draft: Draft, signature: str) -> None:
        """Write the signature into the body."""
        rewrite_json(draft, Signature=signature)

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`; the RSA key takes its randomness from the system."""
        return self._generate(f"arn:aws:sns:eu-west-1:123456789012:weir-{entropy[:4].hex()}")

    @staticmethod
    def _message(envelope: Envelope) -> dict[str, Any]:
        message = parse_json(envelope.body)
        if not isinstance(message, dict):
            raise Unreadable("the body is no JSON object")
        return message


class PaypalProver(_CertificateProver):
    """PayPal. Source: https://developer.paypal.com/api/rest/webhooks/rest/#link-verifywebhooksignature"""

    def claim(self, envelope: Envelope) -> _Claim:
        """Read certificate and signature from the headers."""
        signature = one_header(envelope, "paypal-transmission-sig")
        if not signature:
            raise SignatureMissing("There is no header paypal-transmission-sig.")
        if one_header(envelope, "paypal-auth-algo") != "SHA256withRSA":
            raise Unreadable("header paypal-auth-algo is not SHA256withRSA")
        url = _allowed(one_header(envelope, "paypal-cert-url"), _PAYPAL_CERTIFICATE)
        return _Claim(decode_base64(signature), url, "sha256")

    def content(self, envelope: Envelope, identity: str) -> bytes | None:
        """Return the transmission, the webhook's id and the body's checksum."""
        sent = [one_header(envelope, f"paypal-transmission-{name}") for name in ("id", "time")]
        if not all(sent):
            raise SignatureMissing("There is no header paypal-transmission-id or paypal-transmission-time.")
        return f"{sent[0]}|{sent[1]}|{identity}|{zlib.crc32(envelope.body)}".encode("latin-1")

    def prepare(self, draft: Draft, _identity: str) -> None:
        """Write transmission and certificate into the headers."""
        draft.headers |= {
            "PAYPAL-TRANSMISSION-ID": draft.message_id,
            "PAYPAL-TRANSMISSION-TIME": format_ms(draft.at_ms, "rfc3339"),
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
            "PAYPAL-CERT-URL": "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-7a47cba9",
        }

    def place(self, draft: Draft, signature: str) -> None:
        """Write the signature into its header."""
        draft.headers["PAYPAL-TRANSMISSION-SIG"] = signature

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`; the RSA key takes its randomness from the system."""
        return self._generate(entropy[:9].hex().upper())


def _check_pinned(pinned: str) -> None:
    try:
        if pinned:
            rsa.check_certificate(pinned)
    except ValueError as error:
        raise SecretAbsent(f"A secret of the source cannot be used: {error}.") from error


def _allowed(url: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(url, str) or not pattern.fullmatch(url):
        raise Unreadable("the certificate's URL is not one of the provider's")
    return url

"""PayPal: RSA over transmission and checksum.

Source: https://developer.paypal.com/api/rest/webhooks/rest/#link-verifywebhooksignature
"""

from __future__ import annotations

import re
import zlib
from typing import ClassVar, Literal

from pydantic import Field

from weir.ingest.encodings import decode_base64
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMissing
from weir.ingest.locations import Unreadable, one_header
from weir.ingest.schemes.base import Draft, Scheme, SecretPair
from weir.ingest.schemes.parts.certificates import CertificateProver, Claim, allowed
from weir.ingest.schemes.parts.checks import check_age
from weir.ingest.times import format_ms, parse_ms

# Live and sandbox, and no other host: a name that the delivery makes up would have to be resolved before its proof.
_PAYPAL_CERTIFICATE = re.compile(r"https://api(\.sandbox)?\.paypal\.com/v1/notifications/certs/[A-Za-z0-9_-]{4,80}")


class PaypalScheme(Scheme):
    """PayPal: RSA over transmission and checksum; the secret is the webhook's id, then a certificate if pinned."""

    alg: Literal["paypal"]
    tolerance_s: int | None = Field(
        default=None, ge=1, description="how far the signed time may be from the arrival; null: any"
    )
    is_asymmetric: ClassVar[bool] = True
    has_certificate_url: ClassVar[bool] = True

    def covers(self, place: str, _payload_field: str = "") -> bool:
        """See `Scheme.covers`: id and time of the transmission. A CRC-32 fixes no body: any can be given the same."""
        return place.lower() in {"header:paypal-transmission-id", "header:paypal-transmission-time"}

    def prover(self) -> PaypalProver:
        """See `Scheme.prover`."""
        return PaypalProver(self)


class PaypalProver(CertificateProver):
    """PayPal. Source: https://developer.paypal.com/api/rest/webhooks/rest/#link-verifywebhooksignature"""

    def __init__(self, scheme: PaypalScheme) -> None:
        super().__init__(scheme)
        self._tolerance_s = scheme.tolerance_s

    def check_time(self, envelope: Envelope) -> None:
        """Compare the time of the transmission with the time of arrival, if the scheme has a tolerance."""
        if self._tolerance_s is not None:
            sent_at_ms = parse_ms(one_header(envelope, "paypal-transmission-time") or "", "rfc3339")
            check_age(sent_at_ms, envelope, past_s=self._tolerance_s, future_s=self._tolerance_s)

    def claim(self, envelope: Envelope) -> Claim:
        """Read certificate and signature from the headers."""
        signature = one_header(envelope, "paypal-transmission-sig")
        if not signature:
            raise SignatureMissing("There is no header paypal-transmission-sig.")
        if one_header(envelope, "paypal-auth-algo") != "SHA256withRSA":
            raise Unreadable("header paypal-auth-algo is not SHA256withRSA")
        url = allowed(one_header(envelope, "paypal-cert-url"), _PAYPAL_CERTIFICATE)
        return Claim(decode_base64(signature), url, "sha256")

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

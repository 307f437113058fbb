"""AWS SNS: RSA over some members of the body.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import Field

from weir.ingest.encodings import decode_base64
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMissing
from weir.ingest.locations import Unreadable, parse_json
from weir.ingest.schemes.base import Draft, Scheme, SecretPair
from weir.ingest.schemes.parts.certificates import CertificateProver, Claim, allowed
from weir.ingest.schemes.parts.checks import check_age
from weir.ingest.schemes.parts.drafts import rewrite_json
from weir.ingest.times import format_ms, parse_ms

# Source: npm sns-validator 0.3.5, narrowed to the name that AWS gives the file.
_SNS_CERTIFICATE = re.compile(
    r"https://sns\.[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?/SimpleNotificationService-[a-z0-9]{8,64}\.pem"
)
_TOPIC = re.compile(r"arn:(?P<partition>aws[a-z-]{0,20}):sns:(?P<region>[a-z0-9-]{3,40}):\d{12}:\S{1,256}")


# What notifications and confirmations both have signed.
_SIGNED = frozenset({"Message", "MessageId", "Timestamp", "TopicArn", "Type"})


class SnsScheme(Scheme):
    """AWS SNS: RSA over some members of the body; the secret is the ARN of the topic, then a certificate if pinned."""

    alg: Literal["aws-sns"]
    versions: tuple[Literal["1", "2"], ...] = Field(
        default=("2", "1"), description="the signature versions that are accepted"
    )
    tolerance_s: int | None = Field(
        default=None, ge=1, description="how far the signed time may be from the arrival; null: any"
    )
    is_asymmetric: ClassVar[bool] = True
    has_certificate_url: ClassVar[bool] = True
    confirms_subscriptions: ClassVar[bool] = True

    def covers(self, place: str, _payload_field: str = "") -> bool:
        """See `Scheme.covers`: the members that each kind of message signs."""
        return place.removeprefix("$.") in _SIGNED

    def prover(self) -> SnsProver:
        """See `Scheme.prover`."""
        return SnsProver(self)


class SnsProver(CertificateProver):
    """AWS SNS. Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html"""

    _NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    _CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")

    def __init__(self, scheme: SnsScheme) -> None:
        super().__init__(scheme)
        self._scheme = scheme

    def claim(self, envelope: Envelope) -> Claim:
        """Read version, certificate and signature from the body."""
        message = self._message(envelope)
        if not message.get("Signature"):
            raise SignatureMissing("The body has no Signature; raw message delivery is not signed, switch it off.")
        version = message.get("SignatureVersion")
        if version not in self._scheme.versions:
            raise Unreadable(f"SignatureVersion must be one of {', '.join(self._scheme.versions)}")
        url = allowed(message.get("SigningCertURL"), _SNS_CERTIFICATE)
        return Claim(decode_base64(str(message["Signature"])), url, "sha1" if version == "1" else "sha256")

    def content(self, envelope: Envelope, identity: str) -> bytes | None:
        """Return the members that are signed, if the topic is this one; its certificate must be of its own Region."""
        message = self._message(envelope)
        if message.get("TopicArn") != identity:
            return None
        if not str(message.get("SigningCertURL")).startswith(f"https://{_host(identity)}/"):
            raise Unreadable("the certificate's URL is not in the Region of the topic")
        names = self._NOTIFICATION if message.get("Type") == "Notification" else self._CONFIRMATION
        return "".join([_line(message, name) for name in names]).encode("utf-8")

    def check_time(self, envelope: Envelope) -> None:
        """Compare the signed time with the time of arrival, if the scheme has a tolerance."""
        if self._scheme.tolerance_s is not None:
            sent_at_ms = parse_ms(str(self._message(envelope).get("Timestamp")), "rfc3339")
            check_age(sent_at_ms, envelope, past_s=self._scheme.tolerance_s, future_s=self._scheme.tolerance_s)

    def prepare(self, draft: Draft, identity: str) -> None:
        """Write topic, time and certificate into the body."""
        rewrite_json(
            draft,
            TopicArn=identity,
            Timestamp=format_ms(draft.at_ms, "rfc3339"),
            SignatureVersion="2",
            SigningCertURL=f"https://{_host(identity)}/SimpleNotificationService-{'0' * 32}.pem",
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
            raise Unreadable("the body is not a JSON object")
        return message


def _host(topic: str) -> str:
    """Return the SNS endpoint of a topic's Region, where its certificates are. Raises: Unreadable.

    Source: https://docs.aws.amazon.com/general/latest/gr/sns.html
    """
    arn = _TOPIC.fullmatch(topic)
    if not arn:
        raise Unreadable("the secret does not begin with the ARN of a topic")
    return f"sns.{arn['region']}.amazonaws.com{'.cn' if arn['partition'] == 'aws-cn' else ''}"


def _line(message: dict[str, Any], name: str) -> str:
    """Return the lines that are signed of a member. Raises: Unreadable where they could be those of several members."""
    value = message.get(name)
    if value is None and name == "Subject":  # the only one that may be left out
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"{name} is not a text")
    if name != "Message" and not value.isprintable():  # a message comes first, and may have lines of its own
        raise Unreadable(f"{name} has a line end or a control character")
    return f"{name}\n{value}\n"

"""Hygraph: an HMAC over a JSON text that holds the body as a string, the environment and a time.

Source: @hygraph/utils 1.2.1 (npm), verifyWebhookSignature.
"""

from __future__ import annotations

import hmac
import json
from typing import Literal

from pydantic import Field

from weir.ingest.encodings import decode_base64, encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMissing
from weir.ingest.locations import OF_BODY, Unreadable, one_header
from weir.ingest.schemes.base import Draft, Scheme
from weir.ingest.schemes.parts.checks import check_age
from weir.ingest.schemes.parts.header_hmac import HeaderHmacProver
from weir.ingest.times import format_ms, parse_ms

_ENVIRONMENT = "master"


class HygraphScheme(Scheme):
    """HMAC-SHA256 over body, environment and time, as one JSON text."""

    alg: Literal["hygraph"]
    tolerance_s: int | None = Field(
        default=None, ge=1, description="how long before its arrival the signed time may be"
    )

    def covers(self, place: str, _payload_field: str = "") -> bool:
        """See `Scheme.covers`: the body."""
        return place == "sha256" or place.startswith(OF_BODY)

    def prover(self) -> HygraphProver:
        """See `Scheme.prover`."""
        return HygraphProver(self)


class HygraphProver(HeaderHmacProver):
    """The header is ``sign=BASE64, env=NAME, t=MILLISECONDS``."""

    header = "gcms-signature"

    def __init__(self, scheme: HygraphScheme) -> None:
        super().__init__(scheme.label)
        self._tolerance_s = scheme.tolerance_s

    def texts(self, envelope: Envelope) -> list[bytes]:
        """Return the text as JavaScript writes it: no blanks, only what JSON demands is escaped."""
        said = self._said(envelope)
        return [_text(envelope.body, said["env"], parse_ms(said["t"], "ms"))]

    def check_time(self, envelope: Envelope) -> None:
        """See `HeaderHmacProver.check_time`."""
        if self._tolerance_s is not None:
            signed_at_ms = parse_ms(self._said(envelope)["t"], "ms")
            check_age(signed_at_ms, envelope, past_s=self._tolerance_s, future_s=None)

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        digest = hmac.digest(secret.encode("utf-8"), _text(draft.body, _ENVIRONMENT, draft.at_ms), self.hash)
        at = format_ms(draft.at_ms, "ms")
        draft.headers[self.header] = f"sign={encode(digest, self.encoding)}, env={_ENVIRONMENT}, t={at}"

    def _signatures(self, envelope: Envelope) -> list[bytes]:
        return [decode_base64(self._said(envelope)["sign"])]

    def _said(self, envelope: Envelope) -> dict[str, str]:
        value = one_header(envelope, self.header)
        if not value:
            raise SignatureMissing(f"There is no header {self.header}.")
        pieces = [piece.strip().partition("=") for piece in value.split(",")]
        if [name for name, _, _ in pieces] != ["sign", "env", "t"]:
            raise Unreadable(f"header {self.header} is not sign=, env= and t=")
        return {name: text for name, _, text in pieces}


def _text(body: bytes, environment: str, at_ms: int) -> bytes:
    signed = {"Body": body.decode("utf-8"), "EnvironmentName": environment, "TimeStamp": at_ms}
    return json.dumps(signed, separators=(",", ":"), ensure_ascii=False).encode("utf-8")

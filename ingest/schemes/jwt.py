"""JSON Web Tokens beside a body: HS256 under a shared secret (Netlify, LiveKit), ES256 under a configured JWK (Plaid).

The algorithm is the scheme's own and never the token's: a token that names another algorithm is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from weir.ingest.calendar import MAX_MS
from weir.ingest.encodings import Encoding, decode, decode_base64, encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureExpired, SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import (
    MAX_HEADER_CHARS,
    Location,
    Unreadable,
    View,
    header_names,
    parse_json,
    reader,
    text_of,
)
from weir.ingest.schemes.base import Draft, Fetch, Scheme, SecretPair, Verdict
from weir.ingest.schemes.crypto import public_keys
from weir.ingest.schemes.parts.checks import bounded, check_age
from weir.ingest.schemes.parts.drafts import place

_LIFETIME_S = 300


class JwtScheme(Scheme):
    """A JSON Web Token beside the body, with or without a claim that has the body's hash."""

    alg: Literal["jwt-hs256", "jwt-es256"]
    at: Location = Field(description="where the token is")
    prefix: str = Field(default="", description="what is in front of the token")
    issuer: str = Field(default="", description="the issuer that the token must name; empty: any")
    body_claim: str = Field(
        default="", description="the claim with the SHA-256 of the body; empty: the body is not covered"
    )
    body_encoding: Encoding = Field(default="hex", description="how that claim is written")
    tolerance_s: int | None = Field(default=None, ge=1, description="how long before its arrival `iat` may be")

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether the token is signed with a key pair."""
        return self.alg == "jwt-es256"

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the header that carries the token."""
        return frozenset(header_names(self.at))

    def prover(self) -> JwtProver:
        """See `Scheme.prover`."""
        return JwtProver(self)


class JwtProver:
    """A compiled `JwtScheme`. For ES256 a secret is the provider's public key as a JWK, in JSON."""

    def __init__(self, scheme: JwtScheme) -> None:
        self._scheme = scheme
        self._read = reader(scheme.at)
        self._alg = scheme.alg.removeprefix("jwt-").upper()

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`."""
        live = bounded(secrets)
        try:
            signed, header, claims, signature = self._parse(envelope)
            index = self._prove(live, signed, header, signature)
            self._check_body(claims, envelope.body)
            self._check_times(claims, envelope)
        except (ValueError, RecursionError) as error:
            raise SignatureMalformed(str(error)) from error
        return Verdict(self._scheme.label, index)

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        issued_s = draft.at_ms // 1000
        claims: dict[str, Any] = {"iat": issued_s, "nbf": issued_s, "exp": issued_s + _LIFETIME_S}
        claims["iss"] = self._scheme.issuer or "weir"
        if self._scheme.body_claim:
            claims[self._scheme.body_claim] = encode(hashlib.sha256(draft.body).digest(), self._scheme.body_encoding)
        header = {"alg": self._alg, "typ": "JWT"}
        if self._alg == "ES256":
            header["kid"] = json.loads(secret).get("kid", "")
        signed = ".".join(encode(json.dumps(part).encode(), "base64url") for part in (header, claims)).encode()
        token = f"{signed.decode()}.{encode(self._compute(secret, signed), 'base64url')}"
        place(draft, self._scheme.at, self._scheme.prefix + token, "")

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        if self._alg == "ES256":
            public_keys.check_jwk(secret)

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        if self._alg == "ES256":
            return SecretPair(*public_keys.generate_jwk(entropy))
        return SecretPair(entropy[:32].hex(), entropy[:32].hex())

    def _parse(self, envelope: Envelope) -> tuple[bytes, dict[str, Any], dict[str, Any], bytes]:
        text = text_of(self._read(View(envelope)))
        if not text:
            raise SignatureMissing(f"There is nothing at {self._scheme.at}.")
        if len(text) > MAX_HEADER_CHARS or not text.startswith(self._scheme.prefix):
            raise Unreadable(f"{self._scheme.at} is too long or does not begin with {self._scheme.prefix!r}")
        signed, _, signature = text.removeprefix(self._scheme.prefix).strip().rpartition(".")
        head, _, body = signed.partition(".")
        header, claims = (parse_json(decode_base64(part, is_url_safe=True)) for part in (head, body))
        if not isinstance(header, dict) or not isinstance(claims, dict):
            raise Unreadable("the token does not hold two JSON objects")
        if header.get("alg") != self._alg:
            raise Unreadable(f"the token's algorithm is not {self._alg}")
        return signed.encode("ascii"), header, claims, decode_base64(signature, is_url_safe=True)

    def _prove(self, secrets: Sequence[str], signed: bytes, header: dict[str, Any], signature: bytes) -> int:
        if self._alg == "ES256":
            return self._prove_by_key(secrets, signed, header, signature)
        for index, secret in enumerate(secrets):
            if hmac.compare_digest(self._compute(secret, signed), signature):
                return index
        raise SignatureMismatch

    def _prove_by_key(self, secrets: Sequence[str], signed: bytes, header: dict[str, Any], signature: bytes) -> int:
        usable = 0
        for index, secret in enumerate(secrets):
            try:
                key_id, key = public_keys.from_jwk(secret)
            except ValueError:
                continue
            usable += 1
            if (not key_id or key_id == header.get("kid")) and public_keys.is_valid_raw_p256(key, signed, signature):
                return index
        if not usable:
            raise SecretAbsent("None of the source's secrets is a P-256 key in JWK form.")
        raise SignatureMismatch(f"{usable} keys were tried; fetch the one that the token's kid names.")

    def _compute(self, secret: str, signed: bytes) -> bytes:
        if self._alg == "ES256":
            return public_keys.sign_raw_p256(secret, signed)
        return hmac.digest(secret.encode("utf-8"), signed, "sha256")

    def _check_body(self, claims: dict[str, Any], body: bytes) -> None:
        name = self._scheme.body_claim
        if self._scheme.issuer and claims.get("iss") != self._scheme.issuer:
            raise SignatureMismatch(f"The token is not issued by {self._scheme.issuer}.")
        if not name:
            return
        given = decode(text_of(claims.get(name)) or "", self._scheme.body_encoding)
        if not hmac.compare_digest(given, hashlib.sha256(body).digest()):
            raise SignatureMismatch(f"The token's {name} is not the hash of the body.")

    def _check_times(self, claims: dict[str, Any], envelope: Envelope) -> None:
        if (expires_s := _seconds(claims, "exp")) is not None and envelope.arrived_at_ms > expires_s * 1000:
            raise SignatureExpired("The token has expired.", exp=expires_s)
        if (starts_s := _seconds(claims, "nbf")) is not None:
            check_age(starts_s * 1000, envelope, past_s=None, future_s=_LIFETIME_S)
        if self._scheme.tolerance_s is None:
            return
        issued_s = _seconds(claims, "iat")
        if issued_s is None:
            raise Unreadable("the token has no iat")
        check_age(issued_s * 1000, envelope, past_s=self._scheme.tolerance_s, future_s=self._scheme.tolerance_s)


def _seconds(claims: dict[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise Unreadable(f"the token's {name} is not a number")
    if not 0 <= value <= MAX_MS // 1000:  # as an int, 1e999999999 would take a gigabyte
        raise Unreadable(f"the token's {name} is not a time")
    return int(value)

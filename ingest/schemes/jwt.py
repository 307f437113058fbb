"""JSON Web Tokens: HS256 under a shared secret, ES256 under a JWK, RS256 under a PEM key, which the source is given.

A token is beside a body (Netlify, LiveKit, Plaid), or is the body (Wix). The algorithm is the scheme's own and never
the token's: a token that names another algorithm is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from weir.ingest.encodings import Encoding, decode, encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import (
    MAX_HEADER_CHARS,
    MAX_JWS_CHARS,
    OF_BODY,
    Location,
    Unreadable,
    View,
    header_names,
    parse_json,
    reader,
    reads_body,
    text_of,
)
from weir.ingest.schemes.base import Draft, Fetch, Scheme, SecretPair, Verdict
from weir.ingest.schemes.crypto import public_keys
from weir.ingest.schemes.parts import tokens
from weir.ingest.schemes.parts.checks import bounded
from weir.ingest.schemes.parts.drafts import place

_BODY = "body"
_RSA = "rsa-sha256"


class JwtScheme(Scheme):
    """A JSON Web Token beside the body, with or without a claim that has the body's hash, or one that is the body."""

    alg: Literal["jwt-hs256", "jwt-es256", "jwt-rs256"]
    at: Location = Field(description="where the token is; `body`: it is the body")
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
        return self.alg != "jwt-hs256"

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the header that carries the token."""
        return frozenset(header_names(self.at))

    @cached_property
    def is_bearer(self) -> bool:
        """Tell whether the token says nothing of the body."""
        return not self.body_claim and not reads_body(self.at) and self.at != "body"

    def covers(self, place: str, _payload_field: str = "") -> bool:
        """See `Scheme.covers`: the token, and the body, if the token has its hash."""
        if place == "sha256":
            return bool(self.body_claim) or self.at == _BODY
        return place == self.at or (bool(self.body_claim) and place.startswith(OF_BODY))

    def signed_content(self, envelope: Envelope) -> bytes:
        """See `Scheme.signed_content`: of a token that is the body, all but its signature."""
        return envelope.body.strip().rpartition(b".")[0] if self.at == _BODY else envelope.body

    def prover(self) -> JwtProver:
        """See `Scheme.prover`."""
        return JwtProver(self)


class JwtProver:
    """A compiled `JwtScheme`. A secret is the provider's public key: for ES256 as a JWK, in JSON, for RS256 as PEM."""

    def __init__(self, scheme: JwtScheme) -> None:
        self._scheme = scheme
        self._read = reader(scheme.at)
        self._alg = scheme.alg.removeprefix("jwt-").upper()

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`."""
        live = bounded(secrets)
        try:
            token = tokens.parse(self._text(envelope), self._alg)
            index = self._prove(live, token)
            self._check_body(token.claims, envelope.body)
            tokens.check_times(token.claims, envelope, tolerance_s=self._scheme.tolerance_s)
        except (ValueError, RecursionError) as error:
            raise SignatureMalformed(str(error)) from error
        return Verdict(self._scheme.label, index)

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`. Where the token is the body, the draft's body holds the claims."""
        scheme, issued_s = self._scheme, draft.at_ms // 1000
        claims: dict[str, Any] = {"iat": issued_s, "nbf": issued_s, "exp": issued_s + tokens.LIFETIME_S}
        claims["iss"] = scheme.issuer or "weir"
        if scheme.at == _BODY:
            claims |= parse_json(draft.body)
        if scheme.body_claim:
            claims[scheme.body_claim] = encode(hashlib.sha256(draft.body).digest(), scheme.body_encoding)
        header = {"alg": self._alg, "typ": "JWT"}
        if self._alg == "ES256":
            header["kid"] = json.loads(secret).get("kid", "")
        token = tokens.written(header, claims, lambda signed: self._signature(secret, signed))
        place(draft, scheme.at, scheme.prefix + token, "")

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        if self._alg == "ES256":
            public_keys.check_jwk(secret)
        elif self._alg == "RS256":
            public_keys.check(_RSA, public_keys.from_pem(secret))

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        if self._alg == "ES256":
            return SecretPair(*public_keys.generate_jwk(entropy))
        if self._alg == "RS256":
            private, public = public_keys.generate(_RSA, entropy, is_der=True)
            return SecretPair(public_keys.pem("PRIVATE", private), public_keys.pem("PUBLIC", public))
        return SecretPair(entropy[:32].hex(), entropy[:32].hex())

    def _text(self, envelope: Envelope) -> str:
        at, prefix = self._scheme.at, self._scheme.prefix
        text = text_of(self._read(View(envelope)))
        if not text:
            raise SignatureMissing(f"There is nothing at {at}.")
        if len(text) > (MAX_JWS_CHARS if at == _BODY else MAX_HEADER_CHARS) or not text.startswith(prefix):
            raise Unreadable(f"{at} is too long or does not begin with {prefix!r}")
        return text.removeprefix(prefix)

    def _prove(self, secrets: Sequence[str], token: tokens.WebToken) -> int:
        if self._alg != "HS256":
            return self._prove_by_key(secrets, token)
        for index, secret in enumerate(secrets):
            if hmac.compare_digest(self._signature(secret, token.signed), token.signature):
                return index
        raise SignatureMismatch

    def _prove_by_key(self, secrets: Sequence[str], token: tokens.WebToken) -> int:
        usable = 0
        for index, secret in enumerate(secrets):
            try:
                is_proven = self._is_proven(secret, token)
            except ValueError:
                continue
            usable += 1
            if is_proven:
                return index
        if not usable:
            form = "P-256 key in JWK form" if self._alg == "ES256" else "RSA key in PEM form"
            raise SecretAbsent(f"None of the source's secrets is a {form}.")
        raise SignatureMismatch(f"{usable} keys were tried; set the one that the provider signs with now.")

    def _is_proven(self, secret: str, token: tokens.WebToken) -> bool:
        """Tell whether a public key proves the token. Raises: ValueError when the secret is not such a key."""
        if self._alg == "RS256":
            return public_keys.is_valid(_RSA, public_keys.from_pem(secret), token.signed, token.signature)
        key_id, key = public_keys.from_jwk(secret)
        if key_id and key_id != token.header.get("kid"):
            return False
        return public_keys.is_valid_raw_p256(key, token.signed, token.signature)

    def _signature(self, secret: str, signed: bytes) -> bytes:
        if self._alg == "ES256":
            return public_keys.sign_raw_p256(secret, signed)
        if self._alg == "RS256":
            return public_keys.sign(_RSA, public_keys.from_pem(secret), signed)
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

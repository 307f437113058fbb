"""OpenID Connect tokens beside a body: RS256 under keys that the issuer publishes, at an address that is fixed here.

Google signs so for push subscriptions of Pub/Sub, and for what else calls as a service account. The token says who
sent a delivery, not what was sent.

Sources: https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions and
https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field

from weir.ingest.envelope import Envelope
from weir.ingest.errors import CertificateAbsent, SecretAbsent, SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import MAX_HEADER_CHARS, Location, Unreadable, View, header_names, reader, text_of
from weir.ingest.schemes.base import Draft, Fetch, Scheme, SecretPair, Verdict
from weir.ingest.schemes.crypto import public_keys
from weir.ingest.schemes.parts import tokens
from weir.ingest.schemes.parts.checks import bounded
from weir.ingest.schemes.parts.drafts import place

# By issuer: how it may call itself, and where its keys are, as JSON Web Keys. Never taken from a token.
_ISSUERS = {
    "google": (
        frozenset({"https://accounts.google.com", "accounts.google.com"}),
        "https://www.googleapis.com/oauth2/v3/certs",
    )
}
_RSA = "rsa-sha256"
_SAMPLE = "https://hooks.example.com/v1/google-pubsub push@example.iam.gserviceaccount.com"


class OidcScheme(Scheme):
    """An OpenID Connect token of a service account; the body is not covered.

    The secret is the token's audience and the account's e-mail address, in one line; neither is secret, but they tie a
    token to this receiver. A JSON Web Key Set may follow in the lines after it, if none is to be fetched.
    """

    alg: Literal["oidc"]
    issuer: Literal["google"] = Field(description="who signs the token, and so where its keys are fetched")
    at: Location = Field(default="header:Authorization", description="where the token is")
    prefix: str = Field(default="Bearer ", description="what is in front of the token")
    tolerance_s: int | None = Field(default=None, ge=1, description="how long before its arrival `iat` may be")
    is_asymmetric: ClassVar[bool] = True
    has_certificate_url: ClassVar[bool] = True

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the header that carries the token."""
        return frozenset(header_names(self.at))

    @cached_property
    def names_certificates(self) -> bool:
        """Tell that keys are fetched from one address, whatever a delivery says."""
        return False

    @cached_property
    def is_bearer(self) -> bool:
        """Tell that the token says nothing of the body."""
        return True

    def prover(self) -> OidcProver:
        """See `Scheme.prover`."""
        return OidcProver(self)


class OidcProver:
    """A compiled `OidcScheme`."""

    def __init__(self, scheme: OidcScheme) -> None:
        self._scheme = scheme
        self._read = reader(scheme.at)
        self._names, self._url = _ISSUERS[scheme.issuer]

    def verify(self, secrets: Sequence[str], envelope: Envelope, fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`. No key is fetched for a token whose claims are not this receiver's."""
        live = bounded(secrets)
        try:
            token = tokens.parse(self._text(envelope), "RS256")
            tokens.check_times(token.claims, envelope, tolerance_s=self._scheme.tolerance_s)
            for index, secret in enumerate(live):
                identity, _, pinned = secret.strip().partition("\n")
                if self._is_for(identity, token.claims) and self._is_signed(token, pinned, fetch):
                    return Verdict(self._scheme.label, index)
        except (ValueError, RecursionError) as error:
            raise SignatureMalformed(str(error)) from error
        raise SignatureMismatch

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        identity, _, made = secret.partition("\n")
        audience, _, email = identity.partition(" ")
        issued_s = draft.at_ms // 1000
        key = json.loads(made)
        claims = {"aud": audience, "email": email, "email_verified": True, "iss": min(self._names)}
        claims |= {"iat": issued_s, "exp": issued_s + tokens.LIFETIME_S}
        private = public_keys.from_pem(key["private"])
        header = {"alg": "RS256", "typ": "JWT", "kid": key["kid"]}
        token = tokens.written(header, claims, lambda signed: public_keys.sign(_RSA, private, signed))
        place(draft, self._scheme.at, self._scheme.prefix + token, "")

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        identity, _, pinned = secret.strip().partition("\n")
        audience, _, email = identity.partition(" ")
        if not audience or "@" not in email or " " in email:
            raise ValueError("the secret is not the audience and the service account's e-mail address in one line")
        if pinned and not public_keys.from_jwks(pinned):
            raise ValueError("what follows the first line is not a JSON Web Key Set with an RSA key")

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`; audience and account are those of the sample."""
        private, public = public_keys.generate(_RSA, entropy, is_der=True)
        key = {"private": public_keys.pem("PRIVATE", private), "kid": entropy[:8].hex()}
        jwks = public_keys.to_jwks(public, key["kid"])
        return SecretPair(f"{_SAMPLE}\n{json.dumps(key)}", f"{_SAMPLE}\n{jwks}")

    def _text(self, envelope: Envelope) -> str:
        text = text_of(self._read(View(envelope)))
        if not text:
            raise SignatureMissing(f"There is nothing at {self._scheme.at}.")
        if len(text) > MAX_HEADER_CHARS or not text.startswith(self._scheme.prefix):
            raise Unreadable(f"{self._scheme.at} is too long or does not begin with {self._scheme.prefix!r}")
        return text.removeprefix(self._scheme.prefix)

    def _is_for(self, identity: str, claims: dict[str, Any]) -> bool:
        audience, _, email = identity.strip().partition(" ")
        if not audience or not email.strip():
            raise SecretAbsent("The source's secret does not name the audience and the service account.")
        given = [text_of(claims.get(name)) or "" for name in ("aud", "email")]
        is_same = all(map(_same, given, (audience, email.strip())))
        return is_same and claims.get("email_verified") is True and text_of(claims.get("iss")) in self._names

    def _is_signed(self, token: tokens.WebToken, pinned: str, fetch: Fetch | None) -> bool:
        key_id = text_of(token.header.get("kid")) or ""
        if not pinned and fetch is None:
            raise SecretAbsent("The keys are not pinned in the secret, and must not be fetched here.")
        published = pinned or (fetch(f"{self._url}#{key_id}").decode("utf-8") if fetch else "")
        key = public_keys.from_jwks(published).get(key_id)
        if key is None and pinned:
            return False
        if key is None:
            raise CertificateAbsent("The issuer does not publish the key that the token names.")
        return public_keys.is_valid(_RSA, key, token.signed, token.signature)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode("utf-8", "surrogatepass"))

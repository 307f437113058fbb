"""Tokens of Google's service accounts, and tokens that are the body: keys are fetched seldom, and not for others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of, with_header
from weir.ingest.envelope import Envelope
from weir.ingest.errors import (
    CertificateAbsent,
    CertificateUnavailable,
    RecordError,
    SecretAbsent,
    SignatureExpired,
    SignatureMalformed,
    SignatureMismatch,
)
from weir.ingest.schemes import signatures
from weir.ingest.schemes.crypto import public_keys
from weir.ingest.schemes.crypto.certificate_cache import LIFE_S, RENEW_S, CertificateCache
from weir.ingest.schemes.parts import tokens
from weir.ingest.sources import events

GOOGLE = source_of("google-pubsub-oidc")
PAIR = pair_of(GOOGLE)
IDENTITY, _, JWKS = PAIR.verify_with.partition("\n")
AUDIENCE, _, EMAIL = IDENTITY.partition(" ")
KEYS_URL = "https://www.googleapis.com/oauth2/v3/certs"
CLAIMS: dict[str, Any] = {"aud": AUDIENCE, "email": EMAIL, "email_verified": True, "iss": "https://accounts.google.com"}
CLAIMS |= {"iat": AT_MS // 1000, "exp": AT_MS // 1000 + 3600, "sub": "113774264463038321964", "azp": "1"}


def delivery(*, secret: str = PAIR.sign_with, header: dict[str, Any] | None = None, **claims: Any) -> Envelope:
    """Return a delivery whose token has these claims, and is signed by the key that the first secret holds."""
    key = json.loads(secret.partition("\n")[2])
    made = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    private = public_keys.from_pem(key["private"])
    token = tokens.written(
        {"alg": "RS256", "kid": key["kid"], **(header or {})},
        made,
        lambda signed: public_keys.sign("rsa-sha256", private, signed),
    )
    genuine = envelope_of(GOOGLE, draft_of(GOOGLE, PAIR))
    return with_header(genuine, "Authorization", lambda _: f"Bearer {token}")


def verify(envelope: Envelope, secret: str = PAIR.verify_with, fetch: Callable[[str], bytes] | None = None) -> None:
    assert signatures.verify(GOOGLE.scheme, [secret], envelope, fetch=fetch).scheme == "google-oidc"


def never(url: str) -> bytes:
    """A fetch that must not happen."""
    raise AssertionError(url)


def test_token_of_the_account() -> None:
    """A token of the audience and the account proves the sender under pinned keys and under fetched ones."""
    verify(delivery())
    verify(delivery(iss="accounts.google.com"))
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url.partition("#")[0])
        return JWKS.encode()

    verify(delivery(), IDENTITY, fetch)
    assert asked == [KEYS_URL]
    (event,) = events.extract(GOOGLE, delivery())
    assert (event.type, event.at_ms) == ("OBJECT_FINALIZE", AT_MS)


@pytest.mark.parametrize(
    "claims",
    [{"aud": "https://other.example/"}, {"aud": [AUDIENCE]}, {"aud": None}, {"email": "other@example.com"},
     {"email": None}, {"email_verified": False}, {"email_verified": "true"}, {"email_verified": None},
     {"iss": "https://accounts.example.com"}, {"iss": None}, {"aud": "\ud800"}],
)  # fmt: skip
def test_token_of_somebody_else(claims: dict[str, Any]) -> None:
    """A genuine token of Google's for another receiver or account is refused, and no key is fetched for it."""
    with pytest.raises(SignatureMismatch):
        verify(delivery(**claims), IDENTITY, never)


@pytest.mark.parametrize(
    ("envelope", "error"),
    [
        (delivery(exp=AT_MS // 1000 - 1), SignatureExpired),
        (delivery(iat=AT_MS // 1000 - 3601, exp=None), SignatureExpired),
        (delivery(iat=None), SignatureMalformed),
        (delivery(header={"alg": "HS256"}), SignatureMalformed),
        (delivery(header={"alg": "none"}), SignatureMalformed),
        (delivery(secret=pair_of(GOOGLE, "another").sign_with), SignatureMismatch),
    ],
)
def test_token_that_proves_nothing(envelope: Envelope, error: type[RecordError]) -> None:
    """A token that is too old, of another algorithm, or of a key that is not pinned, is refused."""
    with pytest.raises(error):
        verify(envelope)


def test_key_that_is_not_published() -> None:
    """A token that names a key which Google does not publish is the delivery's own fault; it does not wait."""
    other = pair_of(GOOGLE, "another").sign_with
    with pytest.raises(CertificateAbsent):
        verify(delivery(secret=other), IDENTITY, lambda _: JWKS.encode())
    same_name = json.loads(JWKS)["keys"][0]["kid"]
    with pytest.raises(SignatureMismatch):
        verify(delivery(secret=other, header={"kid": same_name}), IDENTITY, lambda _: JWKS.encode())
    for published in (b"", b"[]", b"{}", b'{"keys":7}', b'{"keys":[{"kty":"RSA","kid":"x"}]}', b"\xff"):
        with pytest.raises((CertificateAbsent, SignatureMalformed)):
            verify(delivery(), IDENTITY, lambda _, published=published: published)  # type: ignore[misc]
    with pytest.raises(SecretAbsent):
        verify(delivery(), IDENTITY)


@pytest.mark.parametrize("secret", ["", AUDIENCE, EMAIL, f"{AUDIENCE} {EMAIL} x", f"{IDENTITY}\n{{}}", JWKS])
def test_secret_of_another_form(secret: str) -> None:
    """A secret that is not audience and account is refused when it is set."""
    with pytest.raises(ValueError, match=r"secret|first line"):
        signatures.check_secret(GOOGLE.scheme, secret)
    signatures.check_secret(GOOGLE.scheme, IDENTITY)


class Issuer:
    """Publishes keys at one URL, which change with time, and counts who asks; ``error`` is what it fails with."""

    def __init__(self) -> None:
        self.now_s, self.asked = 0.0, 0
        self.keys = b'{"keys":["one"]}'
        self.error: OSError | None = None
        self.cache = CertificateCache(lambda: self.now_s, self.get)

    def get(self, _url: str) -> bytes:
        self.asked += 1
        if self.error:
            raise self.error
        return self.keys


def test_keys_are_read_again_when_one_is_missing() -> None:
    """A new key is seen after at most RENEW_S; invented names cost one request in that time."""
    issuer = Issuer()
    for _ in range(3):
        assert issuer.cache.fetch(f"{KEYS_URL}#one") == issuer.keys
    assert issuer.asked == 1
    issuer.keys = b'{"keys":["one","two"]}'
    for n in range(100):
        assert b"two" not in issuer.cache.fetch(f"{KEYS_URL}#invented-{n}")
    assert issuer.asked == 1
    issuer.now_s += RENEW_S
    assert b"two" in issuer.cache.fetch(f"{KEYS_URL}#two")
    for n in range(100):
        issuer.cache.fetch(f"{KEYS_URL}#invented-{n}")
    assert issuer.asked == 2
    issuer.now_s += LIFE_S
    issuer.keys = b'{"keys":["two"]}'
    assert b"one" not in issuer.cache.fetch(f"{KEYS_URL}#two")
    assert issuer.asked == 3


def test_silent_issuer_makes_nobody_wait() -> None:
    """While the issuer does not answer, known keys are used, and an unknown one is the delivery's own fault."""
    issuer = Issuer()
    issuer.error = OSError("no route")
    with pytest.raises(CertificateUnavailable):
        issuer.cache.fetch(f"{KEYS_URL}#one")
    issuer.error, issuer.now_s = None, issuer.now_s + RENEW_S
    known = issuer.cache.fetch(f"{KEYS_URL}#one")
    issuer.error, issuer.now_s = OSError("no route"), issuer.now_s + LIFE_S
    assert issuer.cache.fetch(f"{KEYS_URL}#one") == known
    assert issuer.cache.fetch(f"{KEYS_URL}#invented") == known


WIX = source_of("wix")
WIX_PAIR = pair_of(WIX)


def test_token_that_is_the_body() -> None:
    """Wix's event is JSON in JSON in a token, which is the whole body; under another key it proves nothing."""
    envelope = envelope_of(WIX, draft_of(WIX, WIX_PAIR))
    assert signatures.verify(WIX.scheme, [WIX_PAIR.verify_with], envelope).scheme == "wix-rs256"
    (event,) = events.extract(WIX, envelope)
    assert (event.type, event.at_ms, event.key) == (
        "wix.ecom.v1.order_created",
        AT_MS,
        "7f1c1d1e-0000-4000-8000-000000000000",
    )
    spaced = replace(envelope, body=b" " + envelope.body + b"\r\n")
    assert [one.event_id for one in events.extract(WIX, spaced)] == [event.event_id]
    with pytest.raises(SignatureMismatch):
        signatures.verify(WIX.scheme, [pair_of(WIX, "another").verify_with], envelope)
    for body in (b"", b"a.b.c", b"{}", b"\xff", envelope.body[:-4], b"x" * 200_000):
        with pytest.raises(RecordError):
            signatures.verify(WIX.scheme, [WIX_PAIR.verify_with], replace(envelope, body=body))

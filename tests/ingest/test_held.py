"""Attacks on every preset that hold: what a stranger changes of a genuine delivery, and how algorithms are confused."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

import pytest

from tests.support.deliveries import draft_of, draft_with, envelope_of, first_option, pair_of, source_of, with_headers
from weir.ingest.envelope import Envelope
from weir.ingest.errors import RecordError, SignatureMalformed
from weir.ingest.schemes import signatures
from weir.ingest.schemes.content import ContentScheme
from weir.ingest.schemes.jwt import JwtScheme
from weir.ingest.sources import presets

TOKENS = [name for name in presets.names() if isinstance(first_option(source_of(name).scheme), JwtScheme)]
KEY_PAIRS = [name for name in presets.names() if source_of(name).scheme.needs_cryptography]
PLAIN_HASHES = [
    name
    for name in presets.names()
    if isinstance(option := first_option(source_of(name).scheme), ContentScheme)
    and option.alg.startswith("sha")
    and "{secret}" not in option.content
]


def encoded(part: object) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("preset", presets.names())
def test_without_its_headers_nothing_is_proven(preset: str) -> None:
    """Without any header, a delivery is refused, unless all of its proof is in the body or the query."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    envelope = envelope_of(source, draft_of(source, pair))
    kept = tuple(header for header in envelope.headers if header[0].lower() == "content-type")
    if source.scheme.header_names:
        with pytest.raises(RecordError):
            signatures.verify(source.scheme, [pair.verify_with], replace(envelope, headers=kept))


@pytest.mark.parametrize("preset", presets.names())
def test_each_header_that_is_read_is_there_once(preset: str) -> None:
    """Each header that the scheme reads is refused if it is there twice, with the same value or another."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    envelope = envelope_of(source, draft_of(source, pair))
    for name in source.scheme.header_names:
        value = envelope.header(name)
        for other in (value, "x") if value else ():
            doubled = replace(envelope, headers=(*envelope.headers, (name.upper(), other or "")))
            with pytest.raises(RecordError):
                signatures.verify(source.scheme, [pair.verify_with], doubled)


def token_of(envelope: Envelope, scheme: JwtScheme) -> str:
    """Return the token of a delivery, in its header or as its body."""
    is_header = scheme.at.startswith("header:")
    text = envelope.header(scheme.at.removeprefix("header:")) if is_header else envelope.body.decode()
    return (text or "").removeprefix(scheme.prefix)


def with_token(envelope: Envelope, scheme: JwtScheme, token: str) -> Envelope:
    """Return the delivery with another token in its place."""
    if scheme.at.startswith("header:"):
        return with_headers(envelope, {scheme.at.removeprefix("header:"): scheme.prefix + token})
    return replace(envelope, body=token.encode())


@pytest.mark.parametrize("preset", TOKENS)
@pytest.mark.parametrize("alg", ["none", "None", "HS512", "RS256", "HS256 ", "hs256", "ES512", None])
def test_a_token_chooses_no_algorithm(preset: str, alg: str | None) -> None:
    """A token that names another algorithm is refused, signed by it or not at all."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    envelope = envelope_of(source, draft_of(source, pair))
    scheme = first_option(source.scheme)
    assert isinstance(scheme, JwtScheme)
    head, claims, signature = token_of(envelope, scheme).split(".")
    header = json.loads(urlsafe_b64decode(head + "=="))
    for last in ("",) if alg == header["alg"] else ("", signature):
        forged = f"{encoded({**header, 'alg': alg})}.{claims}.{last}"
        with pytest.raises(RecordError):
            signatures.verify(source.scheme, [pair.verify_with], with_token(envelope, scheme, forged))


@pytest.mark.parametrize("preset", [name for name in TOKENS if name in KEY_PAIRS])
def test_a_public_key_is_no_shared_secret(preset: str) -> None:
    """An HMAC under the public key, which everyone has, is not taken for a signature of the key pair."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    envelope = envelope_of(source, draft_of(source, pair))
    scheme = first_option(source.scheme)
    assert isinstance(scheme, JwtScheme)
    _, claims, _ = token_of(envelope, scheme).split(".")
    signed = f"{encoded({'alg': 'HS256'})}.{claims}"
    mac = urlsafe_b64encode(hmac.digest(pair.verify_with.encode(), signed.encode(), "sha256")).rstrip(b"=").decode()
    with pytest.raises(RecordError):
        signatures.verify(source.scheme, [pair.verify_with], with_token(envelope, scheme, f"{signed}.{mac}"))


def extended(message_bytes: int) -> bytes:
    """Return the padding of SHA-256 behind so many bytes: FIPS 180-4, section 5.1.1."""
    zeros = (55 - message_bytes) % 64
    return b"\x80" + b"\x00" * zeros + (message_bytes * 8).to_bytes(8, "big")


def test_the_padding_is_sha_256s() -> None:
    """A message with its padding fills blocks, so that its hash's state is that of a message which goes on behind."""
    assert all(len(b"x" * size + extended(size)) % 64 == 0 for size in range(130))


@pytest.mark.parametrize("preset", PLAIN_HASHES)
def test_a_plain_hash_is_not_extended(preset: str) -> None:
    """Who extends a captured hash knows that of the body, the padding and more; a delivery of it is refused.

    The secret makes here what length extension makes without it: the same hash.
    """
    source, pair = source_of(preset), pair_of(source_of(preset))
    genuine = draft_of(source, pair)
    for size in range(len(genuine.body), len(genuine.body) + 200):
        longer = draft_with(source, pair, genuine.body + extended(size) + b'{"id":1}')
        with pytest.raises(SignatureMalformed, match="extended"):
            signatures.verify(source.scheme, [pair.verify_with], envelope_of(source, longer))

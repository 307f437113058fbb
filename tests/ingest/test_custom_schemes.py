"""Shapes of signature that no preset has, written as a source's own scheme: what an operator can say without code."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.deliveries import AT_MS, envelope_of
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.sources.catalogue import Catalogue, Source, parse_compiled
from weir.ingest.sources.sources_file import SourceEntry, resolve

BODY = b'{"token":"t-1","at":7,"id":"e1"}'
AT = str(AT_MS // 1000)
URL = "https://hooks.example.com/v1/own"
SHARED = "a shared secret"


@lru_cache
def private(kind: str) -> Any:
    """Return a private key, made once."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()


def public(kind: str, encoding: str = "PEM", form: str = "SubjectPublicKeyInfo") -> bytes:
    """Return its public half."""
    key = private(kind).public_key()
    return bytes(key.public_bytes(getattr(serialization.Encoding, encoding), getattr(serialization.PublicFormat, form)))


def hmac_hex(content: bytes, hash_name: str = "sha256", key: bytes = SHARED.encode()) -> str:
    """Return the HMAC in hex."""
    return hmac.new(key, content, hash_name).hexdigest()


def b64(raw: bytes) -> str:
    """Return base64 as text."""
    return b64encode(raw).decode()


def raw_ecdsa(content: bytes) -> bytes:
    """Return an ECDSA signature as its two numbers."""
    numbers = decode_dss_signature(private("ec").sign(content, ec.ECDSA(hashes.SHA256())))
    return b"".join(number.to_bytes(32) for number in numbers)


def pss(content: bytes) -> bytes:
    """Return an RSA-PSS signature with SHA-512."""
    how = padding.PSS(padding.MGF1(hashes.SHA512()), hashes.SHA512.digest_size)
    return bytes(private("rsa").sign(content, how, hashes.SHA512()))


@dataclass(frozen=True)
class Shape:
    """A scheme as its YAML, the secret that verifies, and the headers that a sender makes of a body."""

    scheme: str
    headers: Callable[[bytes], dict[str, str]]
    secret: Callable[[], str] = lambda: SHARED


SHAPES = {
    "prefix that ends with a space": Shape(
        "{signature: {at: 'header:Signature', prefix: 'sha256 '}}",
        lambda body: {"Signature": f"sha256 {hmac_hex(body)}"},
    ),
    "SHA-384": Shape(
        "{alg: hmac-sha384, signature: {at: 'header:X-Sig'}}", lambda body: {"X-Sig": hmac_hex(body, "sha384")}
    ),
    "version, time and body, time in a header": Shape(
        "{signature: {at: 'header:X-Sig'}, timestamp: {at: 'header:X-Time'}, content: 'v0:{timestamp}:{body}',"
        " tolerance_s: 300}",
        lambda body: {"X-Sig": hmac_hex(f"v0:{AT}:".encode() + body), "X-Time": AT},
    ),
    "pairs of other names": Shape(
        "{signature: {at: 'header:X-Sig', split: ',', prefix: 'sig1='}, timestamp: {prefix: 'time='},"
        " content: '{timestamp}.{body}'}",
        lambda body: {"X-Sig": f"time={AT},sig1={hmac_hex(AT.encode() + b'.' + body)}"},
    ),
    "a list of such pairs, one for each live secret": Shape(
        "{signature: {at: 'header:X-Sig', split: [' ', ','], prefix: 'v1='}, timestamp: {prefix: 't='},"
        " content: '{timestamp}.{body}', tolerance_s: 300}",
        lambda body: {"X-Sig": f"t={AT},v1={hmac_hex(AT.encode() + b'.' + body)} t={AT},v1={'0' * 64}"},
    ),
    "base64 of hex over URL, salt, time, secret and body": Shape(
        "{signature: {at: 'header:signature', encoding: hex-base64}, timestamp: {at: 'header:timestamp'},"
        " content: '{url}{header:salt}{timestamp}rak_1{secret}{body}'}",
        lambda body: {
            "signature": b64(hmac_hex(f"{URL}c2FsdA{AT}rak_1{SHARED}".encode() + body).encode()),
            "salt": "c2FsdA",
            "timestamp": AT,
        },
    ),
    "hash with the secret at the end": Shape(
        "{alg: sha1, signature: {at: 'header:X-Sig'}, content: '{body}{secret}'}",
        lambda body: {"X-Sig": hashlib.sha1(body + SHARED.encode(), usedforsecurity=False).hexdigest()},
    ),
    "hash with the secret in front": Shape(
        "{alg: sha512, signature: {at: 'header:X-Sig'}}",
        lambda body: {"X-Sig": hashlib.sha512(SHARED.encode() + body).hexdigest()},
    ),
    "key that is the secret's hash": Shape(
        "{key: {decode: sha256}, signature: {at: 'header:X-Sig'}}",
        lambda body: {"X-Sig": hmac_hex(body, key=hashlib.sha256(SHARED.encode()).digest())},
    ),
    "RSA with SHA-256": Shape(
        "{alg: rsa-sha256, key: {decode: pem}, signature: {at: 'header:X-Sig', encoding: base64}}",
        lambda body: {"X-Sig": b64(private("rsa").sign(body, padding.PKCS1v15(), hashes.SHA256()))},
        lambda: public("rsa").decode(),
    ),
    "RSA with SHA-512, the key in one line": Shape(
        "{alg: rsa-sha512, key: {decode: pem}, signature: {at: 'header:X-Sig', encoding: base64}}",
        lambda body: {"X-Sig": b64(private("rsa").sign(body, padding.PKCS1v15(), hashes.SHA512()))},
        lambda: public("rsa").decode().strip().replace("\n", "\\n"),
    ),
    "RSA, the key as PKCS #1": Shape(
        "{alg: rsa-sha256, key: {decode: pem}, signature: {at: 'header:X-Sig', encoding: hex}}",
        lambda body: {"X-Sig": private("rsa").sign(body, padding.PKCS1v15(), hashes.SHA256()).hex()},
        lambda: public("rsa", form="PKCS1").decode(),
    ),
    "RSA-PSS, the key as base64 alone": Shape(
        "{alg: rsa-pss-sha512, key: {decode: pem}, signature: {at: 'header:X-Sig', encoding: base64},"
        """ timestamp: {at: 'header:X-Time'}, content: "{timestamp}\\n{body}\\n"}""",
        lambda body: {"X-Sig": b64(pss(f"{AT}\n".encode() + body + b"\n")), "X-Time": AT},
        lambda: b64(public("rsa", "DER")),
    ),
    "ECDSA as two numbers": Shape(
        "{alg: ecdsa-p256-sha256-raw, key: {decode: pem}, signature: {at: 'header:X-Sig', encoding: base64url}}",
        lambda body: {"X-Sig": b64(raw_ecdsa(body)).replace("+", "-").replace("/", "_")},
        lambda: public("ec").decode(),
    ),
    "Ed25519 with a PEM key": Shape(
        "{alg: ed25519, key: {decode: pem}, signature: {at: 'header:X-Sig', encoding: base64}}",
        lambda body: {"X-Sig": b64(private("ed").sign(body))},
        lambda: public("ed").decode(),
    ),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def source(shape: Shape) -> Source:
    """Return the source, as the function reads it."""
    scheme = yaml.safe_load(shape.scheme)
    url = {"url": URL} if "{url}" in shape.scheme else {}
    made = resolve("own", SourceEntry.model_validate({"scheme": scheme, "event": {"id": "$.id"}, **url}))
    return parse_compiled(Catalogue({"own": made}).dump())["own"]


def delivery(shape: Shape, body: bytes = BODY) -> Envelope:
    """Return a delivery that the sender signed, with nothing of Weir's signing in it."""
    return Envelope(
        RequestId("r"),
        AT_MS,
        SourceName("own"),
        "",
        "192.0.2.1",
        "/v1/own",
        {},
        tuple(shape.headers(body).items()),
        body,
    )


@every_shape
def test_others_signature_verifies(shape: Shape) -> None:
    """What others' code signs verifies, with any bytes as the body; with a byte more it is refused.

    A plain hash with the secret in front can be extended with bytes that are not UTF-8: there the body is text.
    """
    for body in (BODY, b"", "\u00fc\0\u6c34".encode() if "alg: sha" in shape.scheme else bytes(range(256))):
        signed = delivery(shape, body)
        assert signatures.verify(source(shape).scheme, [shape.secret()], signed).secret_index == 0
        with pytest.raises(SignatureMismatch):
            signatures.verify(source(shape).scheme, [shape.secret()], replace(signed, body=body + b"1"))


@every_shape
def test_rotation(shape: Shape) -> None:
    """With another secret alone it is refused; with both the verdict names the one that signed."""
    scheme = source(shape).scheme
    other = signatures.generate_secret(scheme, bytes(range(32)))
    with pytest.raises(SignatureMismatch):
        signatures.verify(scheme, [other.verify_with], delivery(shape))
    assert signatures.verify(scheme, [other.verify_with, shape.secret()], delivery(shape)).secret_index == 1


@every_shape
def test_weir_signs_it_too(shape: Shape) -> None:
    """`weir send` can sign for the source, with a secret that Weir made."""
    own = source(shape)
    pair = signatures.generate_secret(own.scheme, bytes(range(32)))
    draft = unsigned(shape)
    signatures.sign_draft(own.scheme, pair.sign_with, draft)
    assert signatures.verify(own.scheme, [pair.verify_with], envelope_of(own, draft)).secret_index == 0


def unsigned(shape: Shape) -> signatures.Draft:
    """Return a draft with the headers of the sender that are signed and that no scheme makes."""
    kept = {name: value for name, value in shape.headers(BODY).items() if name == "salt"}
    return signatures.Draft(BODY, AT_MS, "m", kept, URL)


@every_shape
@pytest.mark.parametrize("junk", ["", " ", ",", "=", "v1=", "AAAA", "0" * 64, "\x00", "é", "A" * 4096, "t=,v1="])
def test_junk_is_refused(shape: Shape, junk: str) -> None:
    """Whatever is in the signature's header, the answer is a reason for quarantine."""
    name = next(iter(shape.headers(BODY)))
    headers = tuple({**shape.headers(BODY), name: junk}.items())
    with pytest.raises((SignatureMalformed, SignatureMismatch, SignatureMissing)):
        signatures.verify(source(shape).scheme, [shape.secret()], replace(delivery(shape), headers=headers))


@pytest.mark.parametrize("secret", ["", "text", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "AAAA"])
def test_key_of_another_kind(secret: str) -> None:
    """A secret that is not a key of the algorithm is reported without being quoted, and nothing is judged with it."""
    shape = SHAPES["RSA with SHA-256"]
    for wrong in (secret, public("ec").decode()):
        with pytest.raises(ValueError, match=r"key|pem|empty") as caught:
            signatures.check_secret(source(shape).scheme, wrong)
        assert not wrong or wrong not in str(caught.value)
        with pytest.raises(SecretAbsent):
            signatures.verify(source(shape).scheme, [wrong], delivery(shape))


def test_small_rsa_key_is_refused() -> None:
    """An RSA key that can be broken proves nothing."""
    small = rsa.generate_private_key(65537, 1024).public_key()
    pem = small.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ValueError, match="key"):
        signatures.check_secret(source(SHAPES["RSA with SHA-256"]).scheme, pem)


def test_public_key_is_no_secret() -> None:
    """A scheme that puts a public key into what is signed is refused: it would prove nothing."""
    with pytest.raises(ValueError, match="is public"):
        SourceEntry.model_validate(
            {"scheme": {"alg": "rsa-sha256", "signature": {"at": "header:X"}, "content": "{secret}{body}"}}
        )


def test_two_different_times_are_refused() -> None:
    """A time that stands beside each of several signatures must be the same, or none of them is the signed one."""
    shape = SHAPES["a list of such pairs, one for each live secret"]
    text = shape.headers(BODY)["X-Sig"] + f" t={int(AT) + 1},v1={'1' * 64}"
    with pytest.raises(SignatureMalformed, match="times"):
        signatures.verify(source(shape).scheme, [SHARED], replace(delivery(shape), headers=(("X-Sig", text),)))

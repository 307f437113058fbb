"""Public-key signatures, for those sources that have them; `cryptography` is imported with the first of them only."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from ingest.locations import Unreadable, parse_json
from ingest.prover import decode_base64, encode

_JWS_P256_BYTES = 64
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def is_valid(alg: str, key: bytes, content: bytes, signature: bytes) -> bool:
    """Verify with a public key: 32 raw bytes of Ed25519, or the DER of a P-256 key with a DER signature.

    Raises: Unreadable when the key is none.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    public = _public(alg, key)
    try:
        if alg == "ed25519":
            public.verify(signature, content)
        else:
            public.verify(signature, content, _ecdsa())
    except InvalidSignature:
        return False
    return True


def check(alg: str, key: bytes) -> None:
    """Raises: ValueError when the bytes are no public key of the algorithm."""
    _public(alg, key)


def sign(alg: str, private: bytes, content: bytes) -> bytes:
    """Sign with a private key as `generate` makes it."""
    key = _private(alg, private)
    signature: bytes = key.sign(content) if alg == "ed25519" else key.sign(content, _ecdsa())
    return signature


def generate(alg: str, entropy: bytes) -> tuple[bytes, bytes]:
    """Return private and public key, the same for the same 32 bytes."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415

    private = entropy[:32] if alg == "ed25519" else _p256_number(entropy)
    public = _private(alg, private).public_key()
    if alg == "ed25519":
        return private, public.public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    return private, public.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=256)
def _public(alg: str, key: bytes) -> Any:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415

    try:
        if alg == "ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(key)
        public = serialization.load_der_public_key(key)
    except ValueError as error:
        raise Unreadable(f"the source's public key is no {alg} key") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise Unreadable(f"the source's public key is no {alg} key")
    return public


def _private(alg: str, private: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415

    if alg == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(private)
    return ec.derive_private_key(int.from_bytes(private), ec.SECP256R1())


def _p256_number(entropy: bytes) -> bytes:
    return (int.from_bytes(entropy[:32]) % (_P256_ORDER - 1) + 1).to_bytes(32)


def _ecdsa() -> Any:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    return ec.ECDSA(hashes.SHA256())


def check_jwk(text: str) -> None:
    """Raises: ValueError when the text is no P-256 key in JWK form."""
    from_jwk(text)


@lru_cache(maxsize=64)
def from_jwk(text: str) -> tuple[str, Any]:
    """Return a JWK's ``kid`` (or ``""``) and its public key. Raises: ValueError."""
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    jwk = parse_json(text.encode("utf-8"))
    if not isinstance(jwk, dict) or jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
        raise ValueError("the secret is no JWK of an EC key on P-256")
    x, y = (int.from_bytes(decode_base64(str(jwk.get(name, "")), is_url_safe=True)) for name in "xy")
    return str(jwk.get("kid", "")), ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def is_valid_raw_p256(key: Any, content: bytes, signature: bytes) -> bool:
    """Verify a signature of two 32-byte numbers, as JWS writes them: RFC 7518, section 3.4."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature  # noqa: PLC0415

    if len(signature) != _JWS_P256_BYTES:
        return False
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    try:
        key.verify(encode_dss_signature(r, s), content, _ecdsa())
    except InvalidSignature:
        return False
    return True


def sign_raw_p256(private_jwk: str, content: bytes) -> bytes:
    """Sign as JWS does, with a private key in JWK form."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature  # noqa: PLC0415

    private = decode_base64(parse_json(private_jwk.encode("utf-8"))["d"], is_url_safe=True)
    r, s = decode_dss_signature(_private("es256", private).sign(content, _ecdsa()))
    return bytes(r.to_bytes(32) + s.to_bytes(32))


def generate_jwk(entropy: bytes) -> tuple[str, str]:
    """Return private and public key as JWK, the same for the same 32 bytes."""
    key = _private("es256", _p256_number(entropy))
    numbers = key.private_numbers()
    public = {"kty": "EC", "crv": "P-256", "kid": entropy[:8].hex(), "use": "sig", "alg": "ES256"}
    for name, value in (("x", numbers.public_numbers.x), ("y", numbers.public_numbers.y)):
        public[name] = encode(value.to_bytes(32), "base64url")
    private = public | {"d": encode(numbers.private_value.to_bytes(32), "base64url")}
    return json.dumps(private), json.dumps(public)

"""Public-key signatures, for those sources that have them; `cryptography` is imported with the first of them only."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ingest.locations import Unreadable

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


def sign(alg: str, private: bytes, content: bytes) -> bytes:
    """Sign with a private key as `generate` makes it."""
    key = _private(alg, private)
    signature: bytes = key.sign(content) if alg == "ed25519" else key.sign(content, _ecdsa())
    return signature


def generate(alg: str, entropy: bytes) -> tuple[bytes, bytes]:
    """Return private and public key, the same for the same 32 bytes."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415

    private = entropy[:32]
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
    return ec.derive_private_key(int.from_bytes(private) % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def _ecdsa() -> Any:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    return ec.ECDSA(hashes.SHA256())

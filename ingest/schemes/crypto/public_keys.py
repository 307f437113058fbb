"""Public-key signatures, for those sources that have them; `cryptography` is imported with the first of them only."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from weir.ingest.encodings import decode_base64, encode
from weir.ingest.locations import Unreadable, parse_json

MIN_RSA_BITS = 2048

_RAW_BYTES = 32
_JWS_P256_BYTES = 64
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_PEM_LINE = re.compile(r"-----(?:BEGIN|END) [A-Z ]{1,40}-----")


def is_valid(alg: str, key: bytes, content: bytes, signature: bytes) -> bool:
    """Verify with a public key: 32 raw bytes of Ed25519, or the DER of any.

    Raises: Unreadable when the key is not one of the algorithm.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    public = _public(alg, key)
    if alg == "ecdsa-p256-sha256-raw":
        return is_valid_raw_p256(public, content, signature)
    try:
        public.verify(signature, content, *_how(alg))
    except InvalidSignature:
        return False
    return True


def check(alg: str, key: bytes) -> None:
    """Raises: ValueError when the bytes are not a public key of the algorithm."""
    _public(alg, key)


def sign(alg: str, private: bytes, content: bytes) -> bytes:
    """Sign with a private key as `generate` makes it."""
    signature: bytes = _private(alg, private).sign(content, *_how(alg))
    return _raw_p256(signature) if alg == "ecdsa-p256-sha256-raw" else signature


def generate(alg: str, entropy: bytes, *, is_der: bool) -> tuple[bytes, bytes]:
    """Return private and public key, the same for the same 32 bytes but for RSA, whose keys are always DER."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    short = entropy[:32] if alg == "ed25519" else _p256_number(entropy)
    key = rsa.generate_private_key(65537, MIN_RSA_BITS) if alg.startswith("rsa-") else _private(alg, short)
    public = key.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    if is_der or alg.startswith("rsa-"):
        return key.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption()), public
    return short, public[-_RAW_BYTES:] if alg == "ed25519" else public


def pem(half: str, der: bytes) -> str:
    """Write the ``PUBLIC`` or ``PRIVATE`` half of a key pair as PEM does."""
    return f"-----BEGIN {half} KEY-----\n{encode(der, 'base64')}\n-----END {half} KEY-----\n"


def from_pem(text: str) -> bytes:
    """Return the DER of a PEM text, or of its base64 alone, however its lines are broken. Raises: ValueError."""
    try:
        return decode_base64("".join(_PEM_LINE.sub("", text.replace("\\n", "\n")).split()))
    except ValueError:
        raise ValueError("the secret is not PEM") from None


@lru_cache(maxsize=256)
def _public(alg: str, key: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    try:
        if alg == "ed25519" and len(key) == _RAW_BYTES:
            return ed25519.Ed25519PublicKey.from_public_bytes(key)
        public = serialization.load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unreadable(f"the source's public key is not an {alg} key") from error
    if not _fits(alg, public):
        raise Unreadable(f"the source's public key is not an {alg} key")
    return public


def _fits(alg: str, public: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    if alg == "ed25519":
        return isinstance(public, ed25519.Ed25519PublicKey)
    if alg.startswith("rsa-"):
        return isinstance(public, rsa.RSAPublicKey) and public.key_size >= MIN_RSA_BITS
    return isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256r1"


def _private(alg: str, private: bytes) -> Any:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415

    if len(private) != _RAW_BYTES:
        return serialization.load_der_private_key(private, None)
    if alg == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(private)
    return ec.derive_private_key(int.from_bytes(private), ec.SECP256R1())


def _p256_number(entropy: bytes) -> bytes:
    return (int.from_bytes(entropy[:32]) % (_P256_ORDER - 1) + 1).to_bytes(32)


def _how(alg: str) -> tuple[Any, ...]:
    """Return what signing and verifying take beside signature and content."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

    if alg == "ed25519":
        return ()
    if not alg.startswith("rsa-"):
        return (_ecdsa(),)
    digest = hashes.SHA512() if alg.endswith("sha512") else hashes.SHA256()
    if not alg.startswith("rsa-pss-"):
        return padding.PKCS1v15(), digest
    # RFC 8017 leaves the salt's length to the signer; the digest's is what RFC 7518 and RFC 9421 prescribe.
    return padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest


def _ecdsa() -> Any:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    return ec.ECDSA(hashes.SHA256())


def check_jwk(text: str) -> None:
    """Raises: ValueError when the text is not a P-256 key as a JWK."""
    from_jwk(text)


@lru_cache(maxsize=64)
def from_jwk(text: str) -> tuple[str, Any]:
    """Return a JWK's ``kid`` (or ``""``) and its public key. Raises: ValueError."""
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    jwk = parse_json(text.encode("utf-8"))
    if not isinstance(jwk, dict) or jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
        raise ValueError("the secret is not a JWK of an EC key on P-256")
    x, y = (int.from_bytes(decode_base64(str(jwk.get(name, "")), is_url_safe=True)) for name in "xy")
    return str(jwk.get("kid", "")), ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


@lru_cache(maxsize=8)
def from_jwks(text: str) -> dict[str, bytes]:
    """Return the RSA keys of a JSON Web Key Set (RFC 7517) by their ``kid``, as DER; empty if it is none."""
    try:
        keys = parse_json(text.encode("utf-8"))["keys"]
        return dict(_rsa_from_jwk(key) for key in keys if isinstance(key, dict) and key.get("kty") == "RSA")
    except (ValueError, TypeError, KeyError):
        return {}


def _rsa_from_jwk(jwk: dict[str, Any]) -> tuple[str, bytes]:
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    n, e = (int.from_bytes(decode_base64(str(jwk.get(name, "")), is_url_safe=True)) for name in "ne")
    public = rsa.RSAPublicNumbers(e, n).public_key()
    der: bytes = public.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    return str(jwk.get("kid", "")), der


def to_jwks(der: bytes, key_id: str) -> str:
    """Return a JSON Web Key Set of one RSA key."""
    numbers = _public("rsa-sha256", der).public_numbers()
    jwk = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": key_id}
    for name, value in (("n", numbers.n), ("e", numbers.e)):
        jwk[name] = encode(value.to_bytes((value.bit_length() + 7) // 8), "base64url")
    return json.dumps({"keys": [jwk]})


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
    private = decode_base64(parse_json(private_jwk.encode("utf-8"))["d"], is_url_safe=True)
    return _raw_p256(_private("es256", private).sign(content, _ecdsa()))


def _raw_p256(signature: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature  # noqa: PLC0415

    r, s = decode_dss_signature(signature)
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

"""RSA with PKCS #1 v1.5 padding and X.509 certificates; `cryptography` is imported with the first use only."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from weir.ingest.locations import Unreadable
from weir.ingest.schemes.crypto.public_keys import MIN_RSA_BITS

_VALID_FROM, _VALID_UNTIL = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def is_valid(pem: str, content: bytes, signature: bytes, hash_name: str, *, at_ms: int) -> bool:
    """Verify with a certificate that was valid at ``at_ms``. Raises: Unreadable when it is not one."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

    certificate = _certificate(pem)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start.timestamp() * 1000 <= at_ms <= end.timestamp() * 1000:
        raise Unreadable("the certificate was not valid when the delivery arrived")
    try:
        certificate.public_key().verify(signature, content, padding.PKCS1v15(), _hash(hash_name))
    except InvalidSignature:
        return False
    return True


def check_certificate(pem: str) -> None:
    """Raises: ValueError when the text is not a PEM certificate of an RSA key."""
    _certificate(pem)


def sign(private_pem: str, content: bytes, hash_name: str) -> bytes:
    """Sign with a private key as `generate` makes it."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

    key: Any = serialization.load_pem_private_key(private_pem.encode("ascii"), None)
    signature: bytes = key.sign(content, padding.PKCS1v15(), _hash(hash_name))
    return signature


def generate() -> tuple[str, str]:
    """Return a new private key and a self-signed certificate, both PEM."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    key = rsa.generate_private_key(65537, MIN_RSA_BITS)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weir.invalid")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, _VALID_FROM, _VALID_UNTIL)
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return private.decode("ascii"), certificate.public_bytes(form.Encoding.PEM).decode("ascii")


@lru_cache(maxsize=64)
def _certificate(pem: str) -> Any:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    try:
        certificate = x509.load_pem_x509_certificate(pem.encode("ascii"))
    except ValueError as error:
        raise Unreadable("the certificate is not one in PEM form") from error
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise Unreadable(f"the certificate has no RSA key of {MIN_RSA_BITS} bits or more")
    return certificate


def _hash(name: str) -> Any:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415

    return hashes.SHA1() if name == "sha1" else hashes.SHA256()  # noqa: S303 - SNS signs version 1 with it

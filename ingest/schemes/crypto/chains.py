"""Chains of X.509 certificates that a delivery brings with it, under a root that the source pins."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from weir.ingest.locations import Unreadable

# Apple's marks of a leaf and of an intermediate that sign App Store data.
# Source: app-store-server-library 3.1.2 (PyPI), signed_data_verifier.
LEAF_MARK, INTERMEDIATE_MARK = "1.2.840.113635.100.6.11.1", "1.2.840.113635.100.6.2.1"

_LENGTH = 3  # leaf, intermediate, root
_VALID_FROM, _VALID_UNTIL = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def leaf_key(chain: tuple[bytes, ...], root_pem: str, *, at_ms: int) -> Any:
    """Return the P-256 key of a chain's leaf if the chain ends in the pinned root and was valid at ``at_ms``.

    None when another root signed it. Raises: Unreadable when it is not a chain of such certificates.
    """
    if len(chain) != _LENGTH:
        raise Unreadable(f"the chain has {len(chain)} certificates, not {_LENGTH}")
    found = _proven(chain[:2], root_pem)
    if found is None:
        return None
    key, start_ms, end_ms = found
    if not start_ms <= at_ms <= end_ms:
        raise Unreadable("a certificate of the chain was not valid when the delivery arrived")
    return key


def check_root(pem: str) -> None:
    """Raises: ValueError when the text is not a PEM certificate."""
    _root(pem)


@lru_cache(maxsize=32)
def _proven(chain: tuple[bytes, ...], root_pem: str) -> tuple[Any, float, float] | None:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    root, (leaf, intermediate) = _root(root_pem), map(_certificate, chain)
    if not _is_issued_by(intermediate, root) or not _is_issued_by(leaf, intermediate):
        return None
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise Unreadable("the key of the leaf certificate is not on P-256")
    if not (_has(leaf, LEAF_MARK) and _has(intermediate, INTERMEDIATE_MARK) and _is_authority(intermediate)):
        raise Unreadable("the chain is not one for App Store data")
    both = (leaf, intermediate)
    return key, max(_ms(one.not_valid_before_utc) for one in both), min(_ms(one.not_valid_after_utc) for one in both)


def _is_issued_by(certificate: Any, issuer: Any) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _has(certificate: Any, mark: str) -> bool:
    return any(extension.oid.dotted_string == mark for extension in certificate.extensions)


def _is_authority(certificate: Any) -> bool:
    from cryptography.x509 import BasicConstraints  # noqa: PLC0415

    constraints = (one.value for one in certificate.extensions if isinstance(one.value, BasicConstraints))
    return any(one.ca for one in constraints)


def _ms(moment: datetime) -> float:
    return moment.timestamp() * 1000


def _certificate(der: bytes) -> Any:
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise Unreadable("the chain holds what is not a certificate") from error


@lru_cache(maxsize=32)
def _root(pem: str) -> Any:
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.load_pem_x509_certificate(pem.encode("ascii"))
    except ValueError:
        raise ValueError("the secret's certificate is not PEM") from None


def generate(entropy: bytes) -> tuple[str, str, list[bytes]]:
    """Return root (PEM), the leaf's private key (PEM) and the chain (DER), for trying things out."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    keys = [ec.derive_private_key(int.from_bytes(entropy[:31]) + number, ec.SECP256R1()) for number in (1, 2, 3)]
    root = _signed("root", keys[0], "root", keys[0], None)
    intermediate = _signed("intermediate", keys[1], "root", keys[0], INTERMEDIATE_MARK)
    leaf = _signed("leaf", keys[2], "intermediate", keys[1], LEAF_MARK)
    private = keys[2].private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    chain = [one.public_bytes(form.Encoding.DER) for one in (leaf, intermediate, root)]
    return root.public_bytes(form.Encoding.PEM).decode("ascii"), private.decode("ascii"), chain


def _signed(name: str, key: Any, issuer_name: str, issuer: Any, mark: str | None) -> Any:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415

    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{one}.weir.invalid")]) for one in (name, issuer_name)
    ]
    builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), 1, _VALID_FROM, _VALID_UNTIL)
    is_authority = name != "leaf"
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    builder = builder.add_extension(_usage(is_authority=is_authority), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
    )
    if mark:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(mark), b"\x05\x00")
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer, hashes.SHA256())


def _usage(*, is_authority: bool) -> Any:
    from cryptography.x509 import KeyUsage  # noqa: PLC0415

    return KeyUsage(not is_authority, False, False, False, False, is_authority, is_authority, False, False)

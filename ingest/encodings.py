"""Bytes as text, the way that headers and keys spell them; read strictly."""

from __future__ import annotations

import binascii
from base64 import b64encode, urlsafe_b64encode
from typing import Literal

Encoding = Literal["hex", "base64", "base64url"]


def decode_base64(text: str, *, is_url_safe: bool = False) -> bytes:
    """Decode strictly, with or without padding. Raises: ValueError."""
    if is_url_safe:
        text = text.replace("-", "+").replace("_", "/")
    raw = text.encode("ascii")
    return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True)


def decode(text: str, encoding: str) -> bytes:
    """Decode ``hex``, ``base64``, ``base64url`` or ``hex-base64``. Raises: ValueError."""
    if encoding == "hex-base64":
        return binascii.unhexlify(decode_base64(text))
    return binascii.unhexlify(text) if encoding == "hex" else decode_base64(text, is_url_safe=encoding == "base64url")


def encode(raw: bytes, encoding: str) -> str:
    """Encode as ``hex``, ``base64``, ``base64url`` without padding, or ``hex-base64``."""
    if encoding == "hex-base64":
        return b64encode(raw.hex().encode("ascii")).decode("ascii")
    if encoding == "hex":
        return raw.hex()
    return (b64encode(raw) if encoding == "base64" else urlsafe_b64encode(raw).rstrip(b"=")).decode("ascii")

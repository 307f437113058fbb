"""JSON Web Tokens as text: cut, read and written; RFC 7515 and RFC 7519."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from weir.ingest.calendar import MAX_MS
from weir.ingest.encodings import decode_base64, encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureExpired
from weir.ingest.locations import Unreadable, parse_json
from weir.ingest.schemes.parts.checks import check_age

LIFETIME_S = 300  # of a token that is made here, and how far `nbf` may be ahead


@dataclass(frozen=True, slots=True)
class WebToken:
    """A token's parts; ``signed`` is what its signature is over."""

    signed: bytes
    header: dict[str, Any]
    claims: dict[str, Any]
    signature: bytes


def parse(text: str, alg: str) -> WebToken:
    """Cut a token of the algorithm that the scheme has. Raises: ValueError."""
    signed, _, signature = text.strip().rpartition(".")
    head, _, body = signed.partition(".")
    header, claims = (parse_json(decode_base64(part, is_url_safe=True)) for part in (head, body))
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Unreadable("the token does not hold two JSON objects")
    if header.get("alg") != alg:
        raise Unreadable(f"the token's algorithm is not {alg}")
    return WebToken(signed.encode("ascii"), header, claims, decode_base64(signature, is_url_safe=True))


def written(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """Return a token with its signature."""
    parts = (json.dumps(part, default=float).encode() for part in (header, claims))
    signed = ".".join(encode(part, "base64url") for part in parts)
    return f"{signed}.{encode(sign(signed.encode('ascii')), 'base64url')}"


def check_times(claims: Mapping[str, Any], envelope: Envelope, *, tolerance_s: int | None) -> None:
    """Judge ``exp``, ``nbf`` and, with a tolerance, ``iat`` by the time of arrival.

    Raises: SignatureExpired, Unreadable.
    """
    if (expires_s := _seconds(claims, "exp")) is not None and envelope.arrived_at_ms > expires_s * 1000:
        raise SignatureExpired("The token has expired.", exp=expires_s)
    if (starts_s := _seconds(claims, "nbf")) is not None:
        check_age(starts_s * 1000, envelope, past_s=None, future_s=LIFETIME_S)
    if tolerance_s is None:
        return
    issued_s = _seconds(claims, "iat")
    if issued_s is None:
        raise Unreadable("the token has no iat")
    check_age(issued_s * 1000, envelope, past_s=tolerance_s, future_s=tolerance_s)


def _seconds(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise Unreadable(f"the token's {name} is not a number")
    if not 0 <= value <= MAX_MS // 1000:  # as an int, 1e999999999 would take a gigabyte
        raise Unreadable(f"the token's {name} is not a time")
    return int(value)

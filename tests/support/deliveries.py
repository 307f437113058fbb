"""Deliveries of every preset, whole and spoilt in each way that a verifier must tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from weir.ingest.envelope import Envelope
from weir.ingest.schemes import signatures
from weir.ingest.schemes.any_of import AnyOf
from weir.ingest.schemes.base import Draft, Scheme, SecretPair
from weir.ingest.schemes.content import ContentScheme
from weir.ingest.schemes.jwt import JwtScheme
from weir.ingest.schemes.token import TokenScheme
from weir.ingest.sources import presets, samples
from weir.ingest.sources.catalogue import Source
from weir.ingest.sources.sources_file import SourceEntry, resolve

AT_MS = 1_767_225_600_000  # 2026-01-01
LATE_MS = 40 * 86_400_000
URL = "https://hooks.example.com/v1/"

# What to change in a sample where not all of the body is signed.
SIGNED_PART = {
    "adyen": (b"AUTHORISATION", b"CANCELLATION"),
    "aws-sns": (b"Hello world", b"Hello owlrd"),
    "dropbox-sign": (b"signature_request_sent", b"signature_request_signed"),
    "mailgun": (b'"token":"', b'"token":"0'),
    "braintree": (b"bt_payload=I", b"bt_payload=J"),
    "favro": (b'"payloadId":"', b'"payloadId":"0'),
    "paymob": (b'"currency":"EGP"', b'"currency":"EGQ"'),
    "wix": (b"eyJpYXQiOiAxNzY3", b"eyJpYXQiOiAxNzY2"),  # of the claims, as base64
}
_HEADERS = {
    "basic": "Authorization",
    "twilio": "X-Twilio-Signature",
    "plivo-v3": "X-Plivo-Signature-V3",
    "contentful": "X-Contentful-Signature",
    "paypal": "PAYPAL-TRANSMISSION-SIG",
    "http-message-signatures": "Signature",
    "hygraph": "gcms-signature",
    "oidc": "Authorization",
}


@dataclass(frozen=True)
class Case:
    """One delivery with the secrets that it meets; ``name`` says what was done to it."""

    name: str
    envelope: Envelope
    secrets: tuple[str, ...]


def source_of(preset: str) -> Source:
    """Return the source that two lines of a sources file make of a preset."""
    url = {"url": URL + preset} if presets.preset(preset).scheme.needs_url else {}
    return resolve(preset, SourceEntry.model_validate({"preset": preset, **url}))


_pairs: dict[tuple[str, str, str], SecretPair] = {}


def pair_of(source: Source, label: str = "first") -> SecretPair:
    """Return a secret of the source's form, another one for each label, and the same again for the same label."""
    known = (source.name, label, source.scheme.model_dump_json())
    if known not in _pairs:  # RSA keys cannot be made from entropy
        _pairs[known] = signatures.generate_secret(source.scheme, sha256(f"{source.name}/{label}".encode()).digest())
    return _pairs[known]


def draft_of(source: Source, pair: SecretPair, *, n: int = 1, at_ms: int = AT_MS) -> Draft:
    """Return the signed sample of a source."""
    return samples.delivery(source, pair.sign_with, n, at_ms=at_ms)


def draft_with(source: Source, pair: SecretPair, body: bytes) -> Draft:
    """Return a signed delivery of a source with the headers of its sample and another body."""
    _, headers = samples.sample(source.preset, at_ms=AT_MS)
    draft = Draft(body, AT_MS, "msg_1", headers)
    signatures.sign_draft(source.scheme, pair.sign_with, draft)
    return draft


def envelope_of(source: Source, draft: Draft, **changes: Any) -> Envelope:
    """Return what the gateway would store of a delivery."""
    return replace(draft.envelope(), source=source.name, path=f"/v1/{source.name}", **changes)


def first_option(scheme: Scheme) -> Scheme:
    """Return the scheme that signing uses."""
    return scheme.any_of[0] if isinstance(scheme, AnyOf) else scheme


def signature_header(scheme: Scheme) -> str | None:
    """Return the name of the header that proves a delivery, None if the body does."""
    first = first_option(scheme)
    if isinstance(first, ContentScheme):
        return first.signature.at[7:].replace("-*", "-1") if first.signature.is_in_header else None
    if isinstance(first, (TokenScheme, JwtScheme)):
        return first.at[7:] if first.at.startswith("header:") else None
    return _HEADERS.get(getattr(first, "alg", ""))


def has_tolerance(scheme: Scheme) -> bool:
    """Tell whether old deliveries are refused."""
    first = first_option(scheme)
    return getattr(first, "tolerance_s", None) is not None or (isinstance(first, JwtScheme))


def has_several_signatures(scheme: Scheme) -> bool:
    """Tell whether one header can carry several signatures."""
    first = first_option(scheme)
    return isinstance(first, ContentScheme) and first.signature.is_in_header and bool(first.signature.split)


def is_hex(scheme: Scheme) -> bool:
    """Tell whether the signature is hex in a header."""
    first = first_option(scheme)
    if isinstance(first, ContentScheme):
        return first.signature.encoding == "hex" and first.signature.is_in_header
    return getattr(first, "alg", "") == "contentful"


def with_header(envelope: Envelope, name: str, change: Callable[[str], str | None]) -> Envelope:
    """Return the envelope with one header's value changed, or without the header if the change gives None."""
    changed = ((given, change(value) if given.lower() == name.lower() else value) for given, value in envelope.headers)
    return replace(envelope, headers=tuple((given, value) for given, value in changed if value is not None))


def with_headers(envelope: Envelope, headers: dict[str, str]) -> Envelope:
    """Return the envelope with these headers in place of its own of the same names."""
    names = {name.lower() for name in headers}
    kept = tuple((name, value) for name, value in envelope.headers if name.lower() not in names)
    return replace(envelope, headers=kept + tuple(headers.items()))


def tampered(envelope: Envelope) -> Envelope:
    """Return the envelope with something changed in the signed part of its body, which stays well-formed."""
    if envelope.source in SIGNED_PART:
        return replace(envelope, body=envelope.body.replace(*SIGNED_PART[envelope.source], 1))
    position = max(envelope.body.rfind(byte) for byte in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8"))
    body = bytearray(envelope.body)
    body[position] += 1
    return replace(envelope, body=bytes(body))


def upper_case(scheme: Scheme, value: str) -> str:
    """Return a header's value with its hex digits in upper case, and prefixes and times as they were."""
    first = first_option(scheme)
    if not isinstance(first, ContentScheme):
        return value.upper()
    head, prefix, signature = value.rpartition(first.signature.prefix) if first.signature.prefix else ("", "", value)
    return head + prefix + signature.upper()


def second_valid(scheme: Scheme, value: str, other: str) -> str:
    """Return a header's value in which a wrong signature stands before the right one."""
    first = first_option(scheme)
    assert isinstance(first, ContentScheme)
    at = first.signature
    if at.skip:
        comma = at.separators[-1]
        return comma.join([*value.split(comma)[: at.skip], *(text.split(comma)[at.skip] for text in (other, value))])
    if not at.prefix:
        return f"{other}{at.separators[-1]}{value}"
    head, prefix, signature = value.rpartition(at.prefix)
    return f"{head}{prefix}{other.rpartition(at.prefix)[2]}{at.separators[-1]}{prefix}{signature}"


def judged_cases(source: Source, pair: SecretPair, at_ms: int) -> list[Case]:
    """Return the deliveries on which a provider's own verifier has an opinion too."""
    header, secrets = signature_header(source.scheme), (pair.verify_with,)
    other = pair_of(source, "another")
    genuine = envelope_of(source, draft_of(source, pair, at_ms=at_ms))
    late = envelope_of(source, draft_of(source, pair, at_ms=at_ms - LATE_MS), arrived_at_ms=at_ms)
    cases = [
        Case("genuine", genuine, secrets),
        Case("tampered body", tampered(genuine), secrets),
        Case("another secret", genuine, (other.verify_with,)),
        Case("old", late, secrets),
    ]
    if header is None:
        return cases
    cases.append(Case("signature missing", with_header(genuine, header, lambda _: None), secrets))
    if is_hex(source.scheme):
        upper = with_header(genuine, header, lambda value: upper_case(source.scheme, value))
        cases.append(Case("upper-case hex", upper, secrets))
    if has_several_signatures(source.scheme):
        wrong = envelope_of(source, draft_of(source, other, at_ms=at_ms)).header(header) or ""
        two = with_header(genuine, header, lambda value: second_valid(source.scheme, value, wrong))
        cases.append(Case("second signature valid", two, secrets))
    return cases

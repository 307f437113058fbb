"""Is this delivery from the sender that it claims? `verify` answers, for its time of arrival and without a network.

A delivery, however malformed, never raises anything but a `RecordError` here. ``fetch`` is for the schemes whose
certificates are at a URL; only it may raise a `TransientError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SampleInvalid, SignatureMismatch
from weir.ingest.schemes.base import Draft, Fetch, Prover, Scheme, SecretPair, Verdict
from weir.ingest.schemes.parts.checks import fixed_query

__all__ = [
    "Draft",
    "Fetch",
    "SecretPair",
    "Verdict",
    "check_secret",
    "generate_secret",
    "option_of",
    "sign",
    "sign_draft",
    "verify",
]

_MAX_COMPILED = 4096
_compiled: dict[int, tuple[Scheme, Prover]] = {}


def verify(scheme: Scheme, secrets: Sequence[str], envelope: Envelope, *, fetch: Fetch | None = None) -> Verdict:
    """Prove a delivery with the live secrets, newest first.

    Raises: SignatureMissing, SignatureMalformed, SignatureMismatch, SignatureExpired; SecretAbsent when there is no
    secret of the scheme's form, so that nothing could be verified.
    """
    prover = _prover(scheme)
    try:
        return prover.verify(secrets, envelope, fetch)
    except SignatureMismatch:
        other = envelope.with_alternative_body()
        if other is None:
            raise
        return replace(prover.verify(secrets, other, fetch), alternative_body=True)


def sign(
    scheme: Scheme,
    secret: str,
    body: bytes,
    *,
    at_ms: int,
    message_id: str,
    url: str = "",
    headers: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the headers that prove ``body``; ``headers`` are sent with it and may be signed too.

    Raises: SampleInvalid for the providers that sign inside the body: use `sign_draft`.
    """
    draft = Draft(body, at_ms, message_id, dict(headers or {}), url)
    sign_draft(scheme, secret, draft)
    if draft.body != body or draft.query:
        raise SampleInvalid("This scheme signs inside the body or the query.", scheme=scheme.label)
    return {name: value for name, value in draft.headers.items() if (headers or {}).get(name) != value}


def sign_draft(scheme: Scheme, secret: str, draft: Draft) -> None:
    """Complete a delivery with its proof, in the headers, body or query as its scheme has it.

    The query that the scheme's URL has is a part of the delivery's.
    """
    draft.query = {**fixed_query(public_url(scheme)), **draft.query}
    _prover(scheme).sign(secret, draft)


def public_url(scheme: Scheme) -> str:
    """Return the public URL that a source gave its scheme, empty if there is none."""
    options = getattr(scheme, "any_of", (scheme,))
    return next((url for option in options if (url := getattr(option, "url", ""))), "")


def option_of(scheme: Scheme, secret: str) -> Scheme:
    """Return the option of a scheme that signs with a secret: the first whose form it has."""
    for option in scheme.options:
        try:
            check_secret(option, secret)
        except ValueError:
            continue
        return option
    return scheme.options[0]


def check_secret(scheme: Scheme, secret: str) -> None:
    """Raises: ValueError, with a sentence that does not quote it, when the secret does not have the scheme's form."""
    _prover(scheme).check_secret(secret)


def generate_secret(scheme: Scheme, entropy: bytes) -> SecretPair:
    """Make a secret from 32 random bytes, to try things out with."""
    return _prover(scheme).generate(entropy)


def _prover(scheme: Scheme) -> Prover:
    found = _compiled.get(id(scheme))
    if found is None:
        if len(_compiled) >= _MAX_COMPILED:
            _compiled.clear()
        # The scheme is kept beside its prover, so that its id cannot become another's.
        found = _compiled[id(scheme)] = (scheme, scheme.prover())
    return found[1]

"""Was this delivery sent by whom it claims? `verify` answers, at its arrival time and without any network of its own.

Deliveries never make anything but a `RecordError` come out of here, however malformed they are. ``fetch`` is for the
schemes whose certificates are named by a URL; only it may raise a `TransientError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import cast

from weir.ingest.envelope import Envelope
from weir.ingest.errors import (
    RecordError,
    SampleInvalid,
    SecretAbsent,
    SignatureExpired,
    SignatureMalformed,
    SignatureMismatch,
    SignatureMissing,
)
from weir.ingest.schemes.content import ContentProver
from weir.ingest.schemes.models import AnyOf, ContentScheme, Scheme
from weir.ingest.schemes.prover import Draft, Fetch, Prover, SecretPair, Verdict

__all__ = ["Draft", "Fetch", "SecretPair", "Verdict", "check_secret", "generate_secret", "sign", "sign_draft", "verify"]

# The special schemes' modules, imported with the first source that has one.
_SPECIAL = {
    "token": "weir.ingest.schemes.tokens.TokenProver",
    "basic": "weir.ingest.schemes.tokens.BasicProver",
    "twilio": "weir.ingest.schemes.canonical.TwilioProver",
    "plivo-v3": "weir.ingest.schemes.canonical.PlivoProver",
    "contentful": "weir.ingest.schemes.canonical.ContentfulProver",
    "jwt-hs256": "weir.ingest.schemes.jwt.JwtProver",
    "jwt-es256": "weir.ingest.schemes.jwt.JwtProver",
    "aws-sns": "weir.ingest.schemes.certificates.SnsProver",
    "paypal": "weir.ingest.schemes.certificates.PaypalProver",
    "http-message-signatures": "weir.ingest.schemes.http_signatures.HttpSignatureProver",
}

# The most that a delivery got right comes first: of several ways, that is the one worth telling.
_CLOSEST_FIRST = (SignatureExpired, SignatureMismatch, SignatureMalformed, SignatureMissing, SecretAbsent)

_MAX_COMPILED = 4096
_compiled: dict[int, tuple[Scheme, Prover]] = {}


def verify(scheme: Scheme, secrets: Sequence[str], envelope: Envelope, *, fetch: Fetch | None = None) -> Verdict:
    """Prove a delivery with the live secrets, newest first.

    Raises: SignatureMissing, SignatureMalformed, SignatureMismatch, SignatureExpired; SecretAbsent when there is no
    secret of the scheme's form, so that nothing was judged.
    """
    prover = _prover(scheme)
    try:
        return prover.verify(secrets, envelope, fetch)
    except SignatureMismatch:
        other = envelope.with_alternative_body()
        if other is None:
            raise
        verdict = prover.verify(secrets, other, fetch)
        return Verdict(verdict.scheme, verdict.secret_index, alternative_body=True)


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
    """Return the headers that prove ``body``; ``headers`` are those that go with it and may be signed too.

    Raises: SampleInvalid for the providers that sign inside the body: use `sign_draft`.
    """
    draft = Draft(body, at_ms, message_id, dict(headers or {}), url)
    sign_draft(scheme, secret, draft)
    if draft.body != body or draft.query:
        raise SampleInvalid("This scheme signs inside the body or the query.", scheme=scheme.label)
    return {name: value for name, value in draft.headers.items() if (headers or {}).get(name) != value}


def sign_draft(scheme: Scheme, secret: str, draft: Draft) -> None:
    """Complete a delivery, wherever its scheme keeps the proof: in its headers, body or query."""
    _prover(scheme).sign(secret, draft)


def check_secret(scheme: Scheme, secret: str) -> None:
    """Raises: ValueError, with a sentence that does not quote it, when the secret has not the scheme's form."""
    _prover(scheme).check_secret(secret)


def generate_secret(scheme: Scheme, entropy: bytes) -> SecretPair:
    """Make a secret from 32 random bytes, to try things out with."""
    return _prover(scheme).generate(entropy)


class AnyProver:
    """Tries several schemes in their order; signs with the first whose form the secret has."""

    def __init__(self, scheme: AnyOf) -> None:
        self._options = [_prover(option) for option in scheme.any_of]

    def verify(self, secrets: Sequence[str], envelope: Envelope, fetch: Fetch | None) -> Verdict:
        """See `Prover.verify`. Raises: of all the reasons, the one that came closest."""
        reasons: list[RecordError] = []
        for option in self._options:
            try:
                return option.verify(secrets, envelope, fetch)
            except RecordError as error:
                reasons.append(error)
        raise min(reasons, key=_distance)

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        self._fitting(secret).sign(secret, draft)

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        self._fitting(secret).check_secret(secret)

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        return self._options[0].generate(entropy)

    def _fitting(self, secret: str) -> Prover:
        for option in self._options:
            try:
                option.check_secret(secret)
            except ValueError:
                continue
            return option
        return self._options[0]


def _distance(error: RecordError) -> int:
    return next((place for place, kind in enumerate(_CLOSEST_FIRST) if isinstance(error, kind)), len(_CLOSEST_FIRST))


def _prover(scheme: Scheme) -> Prover:
    found = _compiled.get(id(scheme))
    if found is None:
        if len(_compiled) >= _MAX_COMPILED:
            _compiled.clear()
        # The scheme is kept beside its prover, so that its id cannot become another's.
        found = _compiled[id(scheme)] = (scheme, _compile(scheme))
    return found[1]


def _compile(scheme: Scheme) -> Prover:
    if isinstance(scheme, ContentScheme):
        return ContentProver(scheme)
    if isinstance(scheme, AnyOf):
        return AnyProver(scheme)
    module, _, name = _SPECIAL[scheme.alg].rpartition(".")  # type: ignore[attr-defined]
    kind = cast("Callable[[Scheme], Prover]", getattr(import_module(module), name))
    return kind(scheme)

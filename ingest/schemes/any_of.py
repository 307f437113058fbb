"""Several ways, of which one must prove the delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from pydantic import Field

from weir.ingest.envelope import Envelope
from weir.ingest.errors import (
    CertificateAbsent,
    RecordError,
    SecretAbsent,
    SignatureExpired,
    SignatureMalformed,
    SignatureMismatch,
    SignatureMissing,
)
from weir.ingest.schemes.base import AnyScheme, Draft, Fetch, Prover, Scheme, SecretPair, Verdict

# The closest to a proof comes first: of several reasons, that one is reported.
_CLOSEST_FIRST = (
    SignatureExpired,
    SignatureMismatch,
    CertificateAbsent,
    SignatureMalformed,
    SignatureMissing,
    SecretAbsent,
)


class AnyOf(Scheme):
    """Several ways, of which one must prove the delivery; tried in this order."""

    any_of: tuple[AnyScheme, ...] = Field(
        min_length=2, max_length=6, description="the schemes, of which one must prove the delivery"
    )

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether one of them needs the package."""
        return any(option.needs_cryptography for option in self.any_of)

    @cached_property
    def fetches_certificates(self) -> bool:
        """Tell whether one of them does."""
        return any(option.fetches_certificates for option in self.any_of)

    @cached_property
    def names_certificates(self) -> bool:
        """Tell whether the deliveries of one of them do."""
        return any(option.names_certificates for option in self.any_of)

    @cached_property
    def needs_url(self) -> bool:
        """Tell whether one of them signs the URL."""
        return any(option.needs_url for option in self.any_of)

    @cached_property
    def accepts_for_s(self) -> int | None:
        """Return the longest of them; None if one of them accepts for ever."""
        spans_s = [option.accepts_for_s for option in self.any_of]
        return None if None in spans_s else max(span_s or 0 for span_s in spans_s)

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return what any of them reads."""
        return frozenset().union(*(option.header_names for option in self.any_of))

    @cached_property
    def unproven_headers(self) -> tuple[frozenset[str], ...]:
        """Return for each option what only the others sign."""
        return tuple(self.header_names - option.header_names for option in self.any_of)

    @cached_property
    def options(self) -> tuple[Scheme, ...]:
        """Return the schemes."""
        return self.any_of

    @cached_property
    def is_bearer(self) -> bool:
        """Tell whether all of them are."""
        return all(option.is_bearer for option in self.any_of)

    def covers(self, place: str, payload_field: str = "") -> bool:
        """Tell whether each of them does."""
        return all(option.covers(place, payload_field) for option in self.any_of)

    def signed_content(self, envelope: Envelope) -> bytes:
        """Return what the first of them signs: of one provider's schemes all sign the same of a body."""
        return self.any_of[0].signed_content(envelope)

    def own_hmac(self, secret: str, value: bytes) -> bytes | None:
        """Return the HMAC of the first of them that makes one."""
        return next((made for one in self.any_of if (made := one.own_hmac(secret, value)) is not None), None)

    def key_name(self, secret: str) -> str | None:
        """Return the name that the first of them finds."""
        return next((name for one in self.any_of if (name := one.key_name(secret)) is not None), None)

    def prover(self) -> AnyOfProver:
        """See `Scheme.prover`."""
        return AnyOfProver(self)


class AnyOfProver:
    """Tries several schemes in their order; signs with the first whose form the secret has."""

    def __init__(self, scheme: AnyOf) -> None:
        self._schemes = scheme.any_of
        self._options = [option.prover() for option in scheme.any_of]
        self._unproven = scheme.unproven_headers

    def verify(self, secrets: Sequence[str], envelope: Envelope, fetch: Fetch | None) -> Verdict:
        """See `Prover.verify`. Raises: of all the reasons, the one closest to a proof."""
        reasons: list[RecordError] = []
        for scheme, option, unproven in zip(self._schemes, self._options, self._unproven, strict=True):
            try:
                verdict = option.verify(secrets, envelope, fetch)
            except RecordError as error:
                reasons.append(error)
            else:
                return replace(verdict, unproven_headers=verdict.unproven_headers | unproven, option=scheme)
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

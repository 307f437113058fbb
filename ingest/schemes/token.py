"""A secret that is sent as it is: it proves who sent a delivery, not what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from pydantic import Field

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMalformed, SignatureMissing
from weir.ingest.locations import Location, Unreadable, View, header_names, reader, text_of
from weir.ingest.schemes.base import Draft, Fetch, Scheme, SecretPair, Verdict
from weir.ingest.schemes.parts.checks import bounded, matching
from weir.ingest.schemes.parts.drafts import place


class TokenScheme(Scheme):
    """A secret that is sent as it is: it proves who sent a delivery, not what was sent."""

    alg: Literal["token"]
    at: Location = Field(description="where the token is")
    each: Location | None = Field(default=None, description="the array whose elements each carry the token")
    prefix: str = Field(default="", description="what is in front of the token")

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the header that carries the token."""
        return frozenset(header_names(self.at))

    @cached_property
    def is_bearer(self) -> bool:
        """Tell that it is a secret."""
        return True

    def prover(self) -> TokenProver:
        """See `Scheme.prover`."""
        return TokenProver(self)


class TokenProver:
    """A compiled `TokenScheme`."""

    def __init__(self, scheme: TokenScheme) -> None:
        self._scheme = scheme
        self._read = reader(scheme.at)
        self._each = reader(scheme.each) if scheme.each else None

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`."""
        view, live = View(envelope), bounded(secrets)
        try:
            index = max(self._prove(live, one) for one in self._views(view))
        except ValueError as error:
            raise SignatureMalformed(str(error)) from error
        return Verdict(self._scheme.label, index)

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        if self._each is None:
            place(draft, self._scheme.at, self._scheme.prefix + secret, "")
            return
        count = len(self._views(View(draft.envelope())))
        for index in range(count):
            location = f"{self._scheme.each}[{index}]{self._scheme.at.removeprefix('$')}"
            place(draft, location, self._scheme.prefix + secret, "")

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        if not secret.strip():
            raise ValueError("the secret is empty")

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        return SecretPair(entropy[:32].hex(), entropy[:32].hex())

    def _views(self, view: View) -> list[View]:
        if self._each is None:
            return [view]
        elements = self._each(view)
        if not isinstance(elements, list) or not elements:
            raise SignatureMissing(f"{self._scheme.each} has no element with a token.")
        return [view.split(element) for element in elements]

    def _prove(self, secrets: Sequence[str], view: View) -> int:
        text = text_of(self._read(view))
        if not text:
            raise SignatureMissing(f"There is nothing at {self._scheme.at}.")
        if not text.startswith(self._scheme.prefix):
            raise Unreadable(f"{self._scheme.at} does not begin with {self._scheme.prefix!r}")
        given = text[len(self._scheme.prefix) :].encode("utf-8", "surrogatepass")
        return matching(secrets, given)

"""Secrets that are sent as they are: they prove who sent, not what."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Sequence

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import Unreadable, View, one_header, reader, text_of
from weir.ingest.schemes.drafts import place
from weir.ingest.schemes.models import BasicScheme, TokenScheme
from weir.ingest.schemes.prover import Draft, Fetch, SecretPair, Verdict, bounded, decode_base64


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
            raise SignatureMissing(f"{self._scheme.each} holds no element with a token.")
        return [view.split(element) for element in elements]

    def _prove(self, secrets: Sequence[str], view: View) -> int:
        text = text_of(self._read(view))
        if not text:
            raise SignatureMissing(f"There is nothing at {self._scheme.at}.")
        if not text.startswith(self._scheme.prefix):
            raise Unreadable(f"{self._scheme.at} does not begin with {self._scheme.prefix!r}")
        given = text[len(self._scheme.prefix) :].encode("utf-8", "surrogatepass")
        return matching(secrets, given)


class BasicProver:
    """A compiled `BasicScheme`."""

    def __init__(self, scheme: BasicScheme) -> None:
        self._scheme = scheme

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`."""
        live = bounded(secrets)
        try:
            text = one_header(envelope, "authorization")
            if not text:
                raise SignatureMissing("There is no header authorization.")
            kind, _, encoded = text.partition(" ")
            if kind.lower() != "basic":
                raise Unreadable("header authorization is not Basic")
            return Verdict(self._scheme.label, matching(live, decode_base64(encoded.strip())))
        except ValueError as error:
            raise SignatureMalformed(str(error)) from error

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        draft.headers["Authorization"] = "Basic " + b64encode(secret.encode("utf-8")).decode("ascii")

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        if ":" not in secret:
            raise ValueError("the secret is not user:password")

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        return SecretPair(f"weir:{entropy[:32].hex()}", f"weir:{entropy[:32].hex()}")


def matching(secrets: Sequence[str], given: bytes) -> int:
    """Return the index of the secret that was given. Raises: SignatureMismatch."""
    for index, secret in enumerate(secrets):
        if hmac.compare_digest(secret.encode("utf-8"), given):
            return index
    raise SignatureMismatch

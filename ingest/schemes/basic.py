"""HTTP basic authentication: it proves who sent a delivery, not what was sent."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from weir.ingest.encodings import decode_base64
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMalformed, SignatureMissing
from weir.ingest.locations import Unreadable, one_header
from weir.ingest.schemes.base import Draft, Fetch, Scheme, SecretPair, Verdict
from weir.ingest.schemes.parts.checks import bounded, matching


class BasicScheme(Scheme):
    """HTTP basic authentication; the secret is ``user:password``."""

    alg: Literal["basic"]

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the header that carries the credentials."""
        return frozenset({"authorization"})

    @cached_property
    def is_bearer(self) -> bool:
        """Tell that it is a secret."""
        return True

    def prover(self) -> BasicProver:
        """See `Scheme.prover`."""
        return BasicProver(self)


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

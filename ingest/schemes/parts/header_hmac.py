"""HMACs in one header, over a canonical text that no list of parts describes."""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Sequence

from weir.ingest.encodings import decode, encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import Unreadable, one_header
from weir.ingest.schemes.base import Draft, Fetch, SecretPair, Verdict
from weir.ingest.schemes.parts.checks import MAX_SIGNATURES, bounded


class HeaderHmacProver(ABC):
    """One header with HMACs over a text that a subclass makes; several texts where the provider is inconsistent."""

    header: str
    hash: str = "sha256"
    encoding: str = "base64"

    def __init__(self, label: str) -> None:
        self._label = label

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`."""
        live = bounded(secrets)
        try:
            signatures = self._signatures(envelope)
            texts = self.texts(envelope)
            for index, secret in enumerate(live):
                if self._is_match(secret.encode("utf-8"), texts, signatures):
                    self.check_time(envelope)
                    return Verdict(self._label, index)
        except ValueError as error:
            raise SignatureMalformed(str(error)) from error
        raise SignatureMismatch

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        self.prepare(draft)
        text = self.texts(draft.envelope())[0]
        draft.headers[self.header] = encode(hmac.digest(secret.encode("utf-8"), text, self.hash), self.encoding)

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        if not secret.strip():
            raise ValueError("the secret is empty")

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        return SecretPair(entropy[:32].hex(), entropy[:32].hex())

    @abstractmethod
    def texts(self, envelope: Envelope) -> list[bytes]:
        """Return what may have been signed, the likeliest first. Raises: ValueError."""

    def prepare(self, draft: Draft) -> None:  # noqa: B027 - not every provider signs more
        """Add to a draft what is signed besides its body."""

    def check_time(self, envelope: Envelope) -> None:  # noqa: B027 - not every provider signs a time
        """Raises: SignatureExpired, Unreadable."""

    def _signatures(self, envelope: Envelope) -> list[bytes]:
        value = one_header(envelope, self.header.lower())
        if not value:
            raise SignatureMissing(f"There is no header {self.header.lower()}.")
        pieces = value.split(",")
        if len(pieces) > MAX_SIGNATURES:
            raise Unreadable(f"there are {len(pieces)} signatures, at most {MAX_SIGNATURES} are tried")
        return [decode(piece.strip(), self.encoding) for piece in pieces]

    def _is_match(self, key: bytes, texts: list[bytes], signatures: list[bytes]) -> bool:
        expected = [hmac.digest(key, text, self.hash) for text in texts]
        return any(hmac.compare_digest(one, given) for one in expected for given in signatures)


def query_text(envelope: Envelope) -> str:
    """Return the query as names and values, decoded and sorted."""
    return "&".join(f"{name}={value}" for name, value in sorted(envelope.query.items()))


def sorted_pairs(pairs: list[tuple[str, str]]) -> str:
    """Return names and values of a form, each different pair once, sorted, with nothing between them."""
    return "".join(name + value for name, value in sorted(set(pairs)))

"""What a scheme is: a model in the sources file that makes its own prover. Each scheme is one file in this folder.

To add a scheme that needs code, add one file: a `Scheme` whose ``alg`` is a Literal, and the `Prover` that it makes.
The file is named after the ``alg``, or after its first words, with ``_`` for ``-``: `plivo.py` has ``plivo-v3``. No
list names the file: it is imported with the first source that needs it, and a class is known once it is defined. An
``alg`` that no file is named after is a `ContentScheme`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Protocol, Union, get_args

from pydantic import Discriminator, Field, GetCoreSchemaHandler, Tag
from pydantic_core import CoreSchema

from weir.ingest.envelope import Envelope
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.strict import Strict

# Returns the PEM certificate at a URL. Raises: CertificateAbsent, CertificateUnavailable.
Fetch = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a delivery was proven: the scheme's name and which of the secrets it was.

    ``alternative_body`` tells that `Envelope.with_alternative_body` is what was signed. ``unproven_headers`` are the
    lower-case names of headers that only other schemes of the source sign: anyone may have added them. ``contents``
    are the texts that were signed, where the scheme can sign a question's text, too. ``option`` is which of several
    schemes it was, None where the source has only one.
    """

    scheme: str
    secret_index: int
    alternative_body: bool = False
    unproven_headers: frozenset[str] = frozenset()
    contents: tuple[bytes, ...] = field(default=(), compare=False, repr=False)
    option: Scheme | None = field(default=None, compare=False, repr=False)

    def proven(self, envelope: Envelope) -> Envelope:
        """Return the delivery as it was proven: with the body that was signed, without the unproven headers."""
        signed = (envelope.with_alternative_body() if self.alternative_body else None) or envelope
        return without_headers(signed, self.unproven_headers)


def without_headers(envelope: Envelope, lower_names: frozenset[str]) -> Envelope:
    """Return the envelope without some headers, the same one if it has none of them."""
    if not lower_names:
        return envelope
    kept = tuple(header for header in envelope.headers if header[0].lower() not in lower_names)
    return envelope if len(kept) == len(envelope.headers) else replace(envelope, headers=kept)


_NO_SOURCE = SourceName("")


@dataclass(slots=True)
class Draft:
    """A delivery that is being made: signing fills ``headers`` and, for some providers, changes ``body`` and ``query``.

    ``url`` is where the provider posts to; ``source`` and ``path`` are what the gateway reads from that.
    """

    body: bytes
    at_ms: int
    message_id: str
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    query: dict[str, str] = field(default_factory=dict)
    source: SourceName = _NO_SOURCE
    path: str = ""

    def envelope(self) -> Envelope:
        """Return the envelope that the gateway would store."""
        return Envelope(
            request_id=RequestId(self.message_id),
            arrived_at_ms=self.at_ms,
            source=self.source,
            key="",
            source_ip="",
            path=self.path,
            query=self.query,
            headers=tuple(self.headers.items()),
            body=self.body,
        )


@dataclass(frozen=True, slots=True)
class SecretPair:
    """A secret for trying things out: what signs, and what the source verifies with (the same where it is shared)."""

    sign_with: str
    verify_with: str


class Prover(Protocol):
    """A compiled scheme. It keeps no secret longer than a small cache does and reads no clock."""

    def verify(self, secrets: Sequence[str], envelope: Envelope, fetch: Fetch | None, /) -> Verdict:
        """Prove a delivery. Raises: RecordError; TransientError only from ``fetch``."""

    def sign(self, secret: str, draft: Draft) -> None:
        """Make a delivery that `verify` accepts."""

    def check_secret(self, secret: str) -> None:
        """Raises: ValueError when the secret cannot be one of this scheme."""

    def generate(self, entropy: bytes) -> SecretPair:
        """Make a secret of the right form from at least 32 random bytes."""


_PACKAGE = __name__.rpartition(".")[0]
_DEFAULT, _DEFAULT_ALG = "content", "hmac-sha256"  # the file of the schemes that are data alone, and what it takes
_ANY_OF = "any-of"  # what a scheme without `alg` is known under
_ALG = re.compile(r"[a-z][a-z0-9-]{0,39}")
_by_alg: dict[str, type[Scheme]] = {}


class Scheme(Strict, ABC):
    """A way of proving a delivery, pinned by the source: ``alg`` is never taken from the request."""

    name: str = Field(default="", max_length=40, description="what is stored as the scheme of a verified event")

    # What a subclass may set; a property below is overridden where the answer depends on fields.
    reads_url: ClassVar[bool] = False
    is_asymmetric: ClassVar[bool] = False
    has_certificate_url: ClassVar[bool] = False
    confirms_subscriptions: ClassVar[bool] = False  # the sender wants a URL opened before it sends

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Register the scheme. Raises: TypeError when another one has its `alg`."""
        for alg in get_args(cls.model_fields["alg"].annotation) if "alg" in cls.model_fields else (_ANY_OF,):
            if (other := _by_alg.setdefault(alg, cls)) is not cls:
                raise TypeError(f"{cls.__name__} and {other.__name__} both have the alg {alg!r}: rename one")

    @abstractmethod
    def prover(self) -> Prover:
        """Compile the scheme into what verifies deliveries, and signs them."""

    @cached_property
    def fetches_certificates(self) -> bool:
        """Tell whether certificates or keys are fetched, unless they are pinned in the secret."""
        return self.has_certificate_url

    @cached_property
    def names_certificates(self) -> bool:
        """Tell whether a delivery names by URL what is fetched."""
        return self.has_certificate_url

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether the function needs the package `cryptography` for this scheme."""
        return self.is_asymmetric

    @cached_property
    def needs_url(self) -> bool:
        """Tell whether the source must give its public URL."""
        return self.reads_url

    @cached_property
    def label(self) -> str:
        """Return the name that is stored with a verified event."""
        return self.name or getattr(self, "alg", "any")

    @cached_property
    def accepts_for_s(self) -> int | None:
        """Return for how long after its signed time a delivery is accepted, in seconds; None: for ever."""
        tolerance_s: int | None = getattr(self, "tolerance_s", None)
        return tolerance_s

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the lower-case names of the headers that proving needs."""
        return frozenset()

    @cached_property
    def unproven_headers(self) -> tuple[frozenset[str], ...]:
        """Return for each of its ways the lower-case names of headers that only the others sign."""
        return (frozenset(),)

    @cached_property
    def options(self) -> tuple[Scheme, ...]:
        """Return the ways, of which one must prove the delivery, in the order of `unproven_headers`."""
        return (self,)

    @cached_property
    def is_bearer(self) -> bool:
        """Tell whether the proof is a secret that fits any content: who has seen one delivery can send any other."""
        return False

    def covers(self, _place: str, _payload_field: str = "") -> bool:
        """Tell whether the proof fixes what is at a location: no one can change it without the secret.

        The location is one of `locations.places`; ``sha256`` stands for what `signed_content` returns. A path is read
        in the form field ``_payload_field``, where one is given and sent. It is a fact of the scheme: each delivery
        that it proves has it.
        """
        return False

    def demands(self, _place: str) -> bool:
        """Tell whether no delivery is proven in which nothing is at a location."""
        return False

    def signed_content(self, envelope: Envelope) -> bytes:
        """Return what is signed of a body, without times: other bytes that the same signature proves give the same.

        Raises: Unreadable.
        """
        return envelope.body

    def own_hmac(self, _secret: str, _value: bytes) -> bytes | None:
        """Return the HMAC of a value as the scheme makes one of a delivery, None if it makes none.

        Raises: ValueError that never quotes the secret.
        """
        return None

    def key_name(self, _secret: str) -> str | None:
        """Return the name that the secret gives its key, None if it gives none."""
        return None


class _Union:
    """Makes pydantic validate by the scheme that a document's `alg` names.

    All schemes are imported when something is first validated. The function never validates (see
    `catalogue.parse_compiled`), and so imports only those that its sources use.
    """

    @staticmethod
    def __get_pydantic_core_schema__(_source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        options = tuple(Annotated[scheme, Tag(_tag(scheme))] for scheme in all_schemes())
        return handler.generate_schema(Annotated[Union[options], Discriminator(_tag_of)])  # noqa: UP007 - made at run time


AnyScheme = Annotated[Scheme, _Union]


def scheme_class(document: Mapping[str, Any]) -> type[Scheme]:
    """Return the model that describes a scheme's document, and import its file if need be."""
    alg = _ANY_OF if "any_of" in document else str(document.get("alg"))
    for name in (*_files(alg), _DEFAULT):
        if alg in _by_alg:
            return _by_alg[alg]
        _import(name)
    return _by_alg.get(alg, _by_alg[_DEFAULT_ALG])


def all_schemes() -> list[type[Scheme]]:
    """Return every scheme that this folder has: the default one first, the others by their names."""
    import pkgutil  # noqa: PLC0415 - a cold start does not list the folder

    for module in pkgutil.iter_modules(import_module(_PACKAGE).__path__):
        import_module(f"{_PACKAGE}.{module.name}")
    default = scheme_class({})
    return [default, *sorted(set(_by_alg.values()) - {default}, key=lambda scheme: scheme.__name__)]


def _files(alg: str) -> Iterator[str]:
    """Yield the names that the file of an `alg` may have."""
    if _ALG.fullmatch(alg):
        yield from accumulate(alg.split("-"), "{}_{}".format)


def _import(name: str) -> None:
    try:
        import_module(f"{_PACKAGE}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{_PACKAGE}.{name}":
            raise


def _tag(scheme: type[Scheme]) -> str:
    return f"[{scheme.__name__}]"  # the brackets tell it from the name of a field where an error is located


def _tag_of(value: Any) -> str:
    if isinstance(value, Scheme):
        return _tag(type(value))
    return _tag(scheme_class(value if isinstance(value, dict) else {}))

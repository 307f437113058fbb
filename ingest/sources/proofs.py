"""What a preset or a source promises against a person who has seen one of its deliveries, in words for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from weir.ingest.schemes.base import Scheme
from weir.ingest.sources.catalogue import Definition
from weir.ingest.sources.identity import Basis, Identity, identity_of

_MARKS: dict[Basis, str] = {
    "signed id": "the id, which is signed",
    "each delivery": "none: each delivery is an event of its own",
    "bearer": "the id, which is not signed: a delivery holds the secret itself",
    "unsigned body": "the id, which is not signed, and neither is the body",
    "repeats": "the id, which is not signed",
    "digest": "a digest of what is signed; the id, which is not, is to search by",
    "digest and type": "a digest of what is signed, and the type, which is not; the id is to search by",
}
_DURING: dict[Basis, str] = {
    "signed id": "a duplicate while its mark lives",
    "each delivery": "applied again each time",
    "bearer": "a pattern for any other",
    "unsigned body": "a pattern for any other body under the same signature",
    "repeats": "applied again under any other id",
    "digest": "a duplicate while its mark lives, whatever is changed",
    "digest and type": "applied again once under each other type",
}


def signed(known: Definition) -> str:
    """Return what the signature covers: of body, time, id, type and URL those that no one else can change."""
    return "; or ".join(dict.fromkeys(", ".join(_covered(known, one)) or "nothing" for one in _identities(known)))


def marked_by(known: Definition) -> str:
    """Return what the mark is made of, and why if that is not what is signed."""
    marks = "; or ".join(dict.fromkeys(_MARKS[one.basis] for one in _identities(known)))
    return f"{marks}. {known.event.repeats_because}".removesuffix(" ")


def captured(known: Definition) -> str:
    """Return what a captured delivery can be used for, and for how long."""
    return "; or ".join(dict.fromkeys(f"{_DURING[one.basis]}{_bound(one.option)}" for one in _identities(known)))


def _bound(option: Scheme) -> str:
    tolerance_s = getattr(option, "tolerance_s", None)
    return f", and refused {tolerance_s:,} s after it was signed" if tolerance_s else ""


def _covered(known: Definition, identity: Identity) -> Iterator[str]:
    option = identity.option
    if option.covers("sha256"):
        yield "body"
    if getattr(option, "tolerance_s", None):
        yield "time"
    if identity.basis == "signed id":
        yield "id"
    if known.event.type and identity.is_type_proven:
        yield "type"
    if option.needs_url:
        yield "URL"


def _identities(known: Definition) -> Iterable[Identity]:
    return [identity_of(known, option) for option in known.scheme.options]

"""What an event is recognised by: its id where the sender's signature covers the id, else a digest of what is signed.

Who has seen one signed delivery can send it again with any header that is not signed. If such a header made the mark,
each new value of it would apply the event again. So `identity_of` follows, for each option of a scheme, what the
signature covers. docs/duplicates.md has the rule as a whole.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from weir.ingest.envelope import Envelope
from weir.ingest.locations import canonical_json, header_names, parse_json, places, steps
from weir.ingest.schemes.base import Scheme
from weir.ingest.sources.catalogue import Definition

# What a digest begins with where an id would stand.
DIGEST = "="
_DIGEST_BYTES = 16

# Why the mark is made of what it is made of.
Basis = Literal["signed id", "each delivery", "bearer", "unsigned body", "repeats", "digest", "digest and type"]


@dataclass(frozen=True, slots=True)
class Identity:
    """The rule of one option of a source: what makes the mark, and whether the type of an event is signed.

    ``is_type_signed`` is also true where that does not matter: the type is a part of the mark, or nothing is signed.
    """

    basis: Basis
    is_type_signed: bool
    is_type_proven: bool
    option: Scheme
    varies: tuple[tuple[str | int, ...], ...] = ()

    @property
    def is_digest(self) -> bool:
        """Tell whether a digest of what is signed makes the mark, and not the id."""
        return self.basis in {"digest", "digest and type"}

    def digests(self, envelope: Envelope, types: Sequence[str]) -> list[str]:
        """Return what stands for the id of each event of a delivery, given their types. Raises: Unreadable."""
        content = sha256(self._content(envelope)).digest()
        names = [_written(content + kind.encode() if self.basis == "digest and type" else content) for kind in types]
        return names if len(names) == 1 else [f"{name}.{index}" for index, name in enumerate(names)]

    def _content(self, envelope: Envelope) -> bytes:
        """Return what is signed, without the members that differ from attempt to attempt."""
        content = self.option.signed_content(envelope)
        if not self.varies:
            return content
        try:
            value = parse_json(content)
        except ValueError:
            return content
        for path in self.varies:
            value = _without(value, path)
        return canonical_json(value)


def identity_of(source: Definition, option: Scheme) -> Identity:
    """Return the rule for deliveries of a source, or a preset, that one of its scheme's options has proven."""
    spec = source.event
    dropped = source.scheme.unproven_headers[_place(source.scheme, option)]

    def is_covered(location: str) -> bool:
        return _is_covered(option, location, dropped, spec.payload_field)

    is_type_signed = all(map(is_covered, _texts(spec.type)))
    basis = _basis(source, option, is_id_signed=all(map(is_covered, _texts(spec.id))))
    at = getattr(getattr(option, "timestamp", None), "at", None) or ""
    varies = (*((at,) if at.startswith("$") else ()), *spec.varies)
    return Identity(
        basis,
        is_type_signed or basis == "digest and type" or option.is_bearer,
        is_type_signed,
        option,
        tuple(tuple(steps(path)) for path in varies) if basis.startswith("digest") else (),
    )


def _basis(source: Definition, option: Scheme, *, is_id_signed: bool) -> Basis:
    spec = source.event
    if any("request" in places(text) for text in _texts(spec.id)):
        return "each delivery"
    if is_id_signed:
        return "signed id"
    if option.is_bearer:
        return "bearer"
    if not option.covers("sha256"):
        return "unsigned body"
    if spec.repeats == "id":
        return "repeats"
    return "digest and type" if spec.repeats == "type" else "digest"


def _is_covered(option: Scheme, location: str, dropped: frozenset[str], payload_field: str) -> bool:
    """Tell whether nothing that is not signed can change what is read at a location with its alternatives."""
    for place in places(location):
        if dropped.issuperset(names := header_names(place)) and names:
            continue  # it is taken from the delivery before it is read
        if not option.covers(place, payload_field):
            return False
        if option.demands(place):
            return True
    return True


def _place(scheme: Scheme, option: Scheme) -> int:
    return next(place for place, one in enumerate(scheme.options) if one is option)


def _texts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _written(content: bytes) -> str:
    digest = sha256(content).digest()[:_DIGEST_BYTES]
    return DIGEST + urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _without(value: Any, path: Sequence[str | int]) -> Any:
    """Return a parsed value without the member at a path, the same value if it has none."""
    step, *rest = path
    is_there = step in value if isinstance(value, dict) else isinstance(value, list) and isinstance(step, int)
    if not is_there or (isinstance(value, list) and isinstance(step, int) and step >= len(value)):
        return value
    made = copy(value)
    if rest:
        made[step] = _without(made[step], rest)
    elif isinstance(made, dict):
        del made[step]
    else:
        made[step] = None
    return made

"""The pieces of a `ContentScheme`, each a model or a text and the function that it compiles into.

Where signatures and time are, and what is signed.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from weir.ingest.encodings import Encoding
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMissing
from weir.ingest.locations import MAX_HEADER_CHARS, Location, Reader, Unreadable, View, reader, text_of
from weir.ingest.schemes.parts.drafts import NUMBERED
from weir.ingest.strict import Strict
from weir.ingest.times import TimeUnit

_PART = re.compile(r"\{([^{}]*)\}")

# What HubSpot decodes in the URL before it signs.
# Source: https://developers.hubspot.com/docs/guides/apps/authentication/validating-requests
_URL_DECODED = re.compile(r"%(?:3A|2F|40|26|3D|2B|24|60|22|2C|3B|3E|3C|3F)", re.IGNORECASE)

# All elements of the signature's text, and those of them that are signatures.
Elements = Callable[[View], tuple[list[str], list[str]]]
# The signed time as it was sent, given also the elements.
Stamp = Callable[[View, list[str]], str]
# A piece of what is signed, given the time, the URL and the key.
Part = Callable[[View, str, str, bytes], bytes]


class SignatureAt(Strict):
    """Where the signatures are and how they are written."""

    at: Location = Field(description="header:Name (header:Name-* for numbered headers), $.path, field:name")
    split: str | tuple[str, ...] = Field(
        default="", max_length=4, description="what separates the elements: one text, or a list of several"
    )
    skip: int = Field(default=0, ge=0, le=4, description="how many leading elements are not signatures")
    prefix: str = Field(default="", description="what a signature begins with; elements without it are ignored")
    after: str = Field(default="", description="the signature is what follows this text, such as a key's name")
    encoding: Literal[Encoding, "hex-base64"] = Field(default="hex", description="hex-base64: base64 of the hex digits")

    @field_validator("split")
    @classmethod
    def _separates(cls, split: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(split, tuple) and not all(split):
            raise ValueError("an empty text cannot separate elements: write the characters between them")
        return split

    @property
    def separators(self) -> tuple[str, ...]:
        """Return what separates elements, the innermost last; empty if there is only one element."""
        return self.split if isinstance(self.split, tuple) else (self.split,) * bool(self.split)

    @property
    def is_in_header(self) -> bool:
        """Tell whether a header carries the signature, and not the body."""
        return self.at.startswith("header:")


class TimestampAt(Strict):
    """Where the signed time is; without ``at`` it is an element of the signature's own header."""

    at: Location | None = Field(
        default=None, description="where the time is; null: among the elements of the signature's header"
    )
    prefix: str = Field(default="", description="what the time begins with among the elements; it is removed")
    index: int | None = Field(
        default=None, ge=0, le=4, description="its number among the elements, from 0, if it has no prefix"
    )
    unit: TimeUnit = Field(default="s", description="how the time is written")


def compile_elements(at: SignatureAt, limit: int) -> Elements:
    """Return a function that gives all elements of the signature's text, and those that are signatures.

    It raises Unreadable when more than ``limit`` are signatures.
    """
    raw, separators = _compile_raw(at), at.separators

    def elements(view: View) -> tuple[list[str], list[str]]:
        values = raw(view)
        if not values:
            raise SignatureMissing(f"There is nothing at {at.at}.")
        for separator in separators:
            values = [piece.strip() for value in values for piece in value.split(separator)]
        texts = values[at.skip :]
        if at.prefix:
            texts = [text[len(at.prefix) :] for text in texts if text.startswith(at.prefix)]
        if at.after:
            texts = [text.rpartition(at.after)[2] for text in texts]
        if not texts:
            raise Unreadable(f"{at.at} has no {at.prefix or 'signature'!r}")
        if len(texts) > limit:
            raise Unreadable(f"there are {len(texts)} signatures, at most {limit} are tried")
        return values, texts

    return elements


def _compile_raw(at: SignatureAt) -> Callable[[View], list[str]]:
    if at.is_in_header and at.at.endswith(NUMBERED):
        stem = at.at[7:-1].lower()
        return lambda view: _numbered(view.envelope, stem)
    read = reader(at.at)

    def single(view: View) -> list[str]:
        text = text_of(read(view))
        if text and len(text) > MAX_HEADER_CHARS:
            raise Unreadable(f"{at.at} is longer than {MAX_HEADER_CHARS} characters")
        return [text] if text else []

    return single


def _numbered(envelope: Envelope, stem: str) -> list[str]:
    return [
        value
        for name, value in envelope.headers
        if value and name.lower().startswith(stem) and name[len(stem) :].isdigit() and len(value) <= MAX_HEADER_CHARS
    ]


def compile_time(at: TimestampAt | None, signature: SignatureAt) -> Stamp | None:
    """Return a function that gives the signed time as it was sent; None where none is signed."""
    if at is None:
        return None
    if at.at is not None:
        read, place = reader(at.at), at.at

        def beside(view: View, _elements: list[str]) -> str:
            text = text_of(read(view))
            if not text:
                raise SignatureMissing(f"There is no time at {place}.")
            return text

        return beside

    def among(_view: View, elements: list[str]) -> str:
        if at.index is not None:
            found = elements[at.index : at.index + 1]
        else:
            found = [text[len(at.prefix) :] for text in elements if text.startswith(at.prefix)]
        if len(set(found)) != 1:  # one beside each signature is the same for all
            raise Unreadable(f"{signature.at} has {len(found)} times")
        return found[0]

    return among


def compile_part(part: bytes | str, id_at: str | None) -> Part:
    """Return a function that gives one part of what is signed; ``id_at`` is where ``{id}`` is read."""
    if isinstance(part, bytes):
        return lambda _view, _stamp, _url, _key: part
    if part == "id" and id_at:
        return _value_part(reader(id_at), id_at)
    return _PLAIN[part] if part in _PLAIN else _value_part(reader(part), part)


def _value_part(read: Reader, place: str) -> Part:
    is_required = place.startswith("header:")

    def value(view: View, _stamp: str, _url: str, _key: bytes) -> bytes:
        text = text_of(read(view))
        if text is None and is_required:
            raise Unreadable(f"nothing was sent at {place}, which the signature covers")
        return to_bytes(text or "", is_header=is_required)

    return value


def to_bytes(text: str, *, is_header: bool) -> bytes:
    """Return the bytes that a text was on the wire: headers are ISO 8859-1 in an envelope. Raises: ValueError."""
    return text.encode("latin-1") if is_header else text.encode("utf-8", "surrogateescape")


def _path_and_query(url: str) -> str:
    cut = urlsplit(url)
    return cut.path + (f"?{cut.query}" if cut.query else "")


_PLAIN: dict[str, Part] = {
    "body": lambda view, _stamp, _url, _key: view.envelope.body,
    "timestamp": lambda _view, stamp, _url, _key: to_bytes(stamp, is_header=True),
    "method": lambda _view, _stamp, _url, _key: b"POST",
    "url": lambda _view, _stamp, url, _key: url.encode("utf-8"),
    "url-decoded": lambda _view, _stamp, url, _key: _URL_DECODED.sub(lambda hit: chr(int(hit[0][1:], 16)), url).encode(
        "utf-8"
    ),
    "path": lambda _view, _stamp, url, _key: _path_and_query(url).encode("utf-8"),
    "sha256": lambda view, _stamp, _url, _key: hashlib.sha256(view.envelope.body).hexdigest().encode("ascii"),
    "secret": lambda _view, _stamp, _url, key: key,
    "crc32": lambda view, _stamp, _url, _key: str(zlib.crc32(view.envelope.body)).encode("ascii"),
}


def parts_of(content: str) -> list[bytes | str]:
    """Cut a content text into its literal bytes and the names of its parts, in order."""
    pieces = _PART.split(content)
    return [piece.encode("utf-8") if index % 2 == 0 else piece for index, piece in enumerate(pieces) if piece]


def check_part(name: str) -> None:
    """Raises: ValueError when no such part exists."""
    if name != "id" and name not in _PLAIN:
        reader(name)

"""One element of an XML document that a delivery carries, read in bounded, linear time.

A document type declaration is refused, and with it every entity that is not XML's own: no document grows while it is
read, and none names a file or an address. Reading stops at the element, and after `MAX_XML_BYTES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from weir.ingest.encodings import decode_base64

MAX_XML_BYTES = 64 * 1024


class _Found(Exception):
    """The element is read; what follows it is not looked at."""


class _Search:
    """Follows a path of element names; ``text`` is what stands directly in the element at its end."""

    def __init__(self, path: Sequence[str]) -> None:
        self._path = path
        self._depth = 0
        self._matched = 0
        self.text: list[str] = []

    def start(self, name: str, _attributes: object) -> None:
        if self._matched == self._depth < len(self._path) and name.rpartition(":")[2] == self._path[self._depth]:
            self._matched += 1
        self._depth += 1

    def end(self, _name: str) -> None:
        if self._matched == self._depth:
            if self._matched == len(self._path):
                raise _Found
            self._matched -= 1
        self._depth -= 1

    def characters(self, text: str) -> None:
        if self._matched == self._depth == len(self._path):
            self.text.append(text)


def element_text(document: str, path: Sequence[str]) -> str | None:
    """Return the text of the first element at ``path``, names from the root's on; None if there is none.

    ``document`` is XML, or its base64 if it does not begin with ``<``. Namespace prefixes count for nothing.
    Raises: ValueError when it is not XML as far as it is read, or has a document type declaration.
    """
    from xml.parsers import expat  # noqa: PLC0415 - few sources send XML

    search = _Search(path)
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = search.start, search.end
    parser.CharacterDataHandler = search.characters
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(_bytes(document), False)
    except _Found:
        return "".join(search.text).strip()
    except expat.ExpatError as error:
        raise ValueError(f"it is not well-formed: {error}") from error
    return None


def _bytes(document: str) -> bytes:
    """Return the beginning of a document. A line end in base64, and what stands behind its padding, is left out."""
    if document.lstrip()[:1] == "<":
        return document.encode("utf-8")[:MAX_XML_BYTES].lstrip()
    digits = "".join(document[: MAX_XML_BYTES * 4 // 3].split()).partition("=")[0]
    return decode_base64(digits[: len(digits) - (len(digits) % 4 == 1)]).lstrip()


def _refuse(*_: object) -> NoReturn:
    raise ValueError("it has a document type declaration")

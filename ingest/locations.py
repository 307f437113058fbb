"""Where in a delivery a value is, as one short text, and how it is read.

=====================  ==========================================================================================
``header:X-Request``   a header; refused if it is there more than once, since it is unknown which one was meant
``query:name``         a query parameter
``field:name``         a field of a form body
``$.data.id``          a member of the JSON body; of the element when the body is split. ``[n]`` takes from an array
``$$.source``          a member of the whole JSON body, whatever the split
``$.{one,two=other}``  the name of the first of these members that is there; ``other`` for ``two``
``body``               the body as a text
``json:PLACE#$.b``     a member of the JSON text at another location
``jws:PLACE#$.b``      a member of the payload of the JSON Web Signature at another location
``xml:PLACE#$.a.b``    the text of an element of the XML at another location, plain or in base64; ``a`` is the root
``sha256``             the SHA-256 of the body, or of what is signed of it, or of the split element: equal in a retry
``request``            the request id: each delivery is an event of its own
``a | b``              the first of them that is there
=====================  ==========================================================================================
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import parse_qsl

from pydantic import AfterValidator

from weir.ingest.charsets import UTF8_MARK, is_marked, is_wide, text_of_body
from weir.ingest.encodings import decode_base64
from weir.ingest.envelope import Envelope
from weir.ingest.xml_text import element_text

MAX_HEADER_CHARS = 8192
MAX_JWS_CHARS = 128 * 1024
_JWS_PARTS = 3  # header, payload, signature
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,6})\]")
_NAMED = re.compile(r"(header|query|field):(\S+)")
_INSIDE = re.compile(r"(json|jws|xml):(.+)#(\$[^#]*)")
_FIRST_NAME = re.compile(r"(\$\$?(?:[.\[].*)?)\.\{([^{}]+)\}")
_LABELLED = re.compile(r"([^\s=,]+)(?:=([^\s=,]+))?")
# What places begin with that are read in the body.
OF_BODY = ("$", "field:", "body")
FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_JSON = frozenset({"application/json", "application/x-json", "text/json"})
# How a JSON body begins, and no form.
_JSON_STARTS = (b"{", b"[", UTF8_MARK + b"{", UTF8_MARK + b"[")
_BOUNDARY = re.compile(r'boundary="?([^";,]{1,70})', re.IGNORECASE)
# Anchored to the start of a line, so that a line is searched once however often it repeats itself.
_PART_NAME = re.compile(rb'(?im)^content-disposition:[^\r\n]*[; ]name="([^"\r\n]{1,256})"')
_LIKE_JSON = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*[\[{]")
_LIKE_FORM = re.compile(rb"[A-Za-z0-9%+&._~*!'(),:@/?$;-]{1,256}=[A-Za-z0-9%+&=._~*!'(),:@/?$;-]*")
_MAX_FIELDS = 1000
_MAX_PARTS = 100
_MAX_PART_HEAD = 8192


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Made once: `json.loads` makes a decoder of its own for each call that has options.
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)


class Unreadable(ValueError):
    """A value is there but cannot be used; the caller decides what that means for the delivery."""


@dataclass(slots=True)
class View:
    """A delivery and what has been read of it so far.

    ``payload_field`` names the form or multipart field that has the JSON body, for providers that send one;
    ``element`` is the part that ``$`` means once a batch is split; ``signed_content`` gives what ``sha256`` hashes of a
    delivery that is not split, its body if it is None.
    """

    envelope: Envelope
    payload_field: str = ""
    element: Any = None
    is_split: bool = False
    signed_content: Callable[[Envelope], bytes] | None = None
    _root: list[Any] = field(default_factory=list)
    _fields: list[dict[str, str]] = field(default_factory=list)

    def root(self) -> Any:
        """Return the parsed body: of JSON its value, of a form its fields; None if it is neither."""
        if not self._root:
            self._root.append(_parse_body(self.envelope, self.payload_field))
        return self._root[0]

    def fields(self) -> dict[str, str]:
        """Return the first value of each field of a form body; empty if the body is not a form."""
        if not self._fields:
            self._fields.append(dict(reversed(form_pairs(self.envelope))))
        return self._fields[0]

    def complaint(self) -> str:
        """Return why the body is not the JSON or form that it is called, empty if it is, or is called neither."""
        kind, body = media_type(self.envelope), self.envelope.body
        if self.root() is not None or not body.strip() or body.strip() == b"null":
            return ""
        if kind in {FORM, _MULTIPART}:
            return f"the body is called {kind}, and cannot be read as a form of up to {_MAX_FIELDS} fields in UTF-8"
        if kind in _JSON or kind.endswith("+json"):
            return "the body is called JSON, and cannot be read as JSON in UTF-8, UTF-16, UTF-32 or its charset"
        return ""

    def split(self, element: Any) -> View:
        """Return the view of one element of the batch."""
        return View(self.envelope, self.payload_field, element, True, self.signed_content, self._root, self._fields)


Reader = Callable[[View], Any]


@lru_cache(maxsize=4096)
def reader(text: str) -> Reader:
    """Compile a location into a function that returns the value, or None where there is none.

    The function raises Unreadable. Raises: ValueError that says what to write when the text is not a location.
    """
    options = [_single(option.strip()) for option in text.split(" | ")]
    if len(options) == 1:
        return options[0]

    def first(view: View) -> Any:
        return next((value for option in options if (value := option(view)) not in (None, "")), None)

    return first


def _checked(text: str) -> str:
    reader(text)
    return text


Location = Annotated[str, AfterValidator(_checked)]


def places(text: str) -> list[str]:
    """Return the options of a location, each without what it reads inside of a text: ``jws:$.a#$.b`` is at ``$.a``."""
    return [_outermost(option.strip()) for option in text.split(" | ")]


def _outermost(option: str) -> str:
    while inside := _INSIDE.fullmatch(option):
        option = inside[2]
    return option


def header_names(text: str) -> list[str]:
    """Return the lower-case names of the headers that a location reads."""
    return [place[7:].lower() for place in places(text) if place.startswith("header:")]


def reads_body(text: str) -> bool:
    """Tell whether a location may read a member of a JSON body, or a field of a form."""
    return any(place.startswith(("$", "field:")) for place in places(text))


def steps(path: str) -> list[str | int]:
    """Cut ``$.a.b[0]`` into its steps. Raises: ValueError."""
    rest = path.removeprefix("$").removeprefix("$")
    found = list(_STEP.finditer(rest))
    if "".join(match.group(0) for match in found) != rest or "{" in rest:
        raise ValueError(f"{path!r} is not a path: write $.name.other[0]")
    return [match.group(1) if match.group(1) is not None else int(match.group(2)) for match in found]


def follow(value: Any, path_steps: list[str | int]) -> Any:
    """Follow steps into a parsed body; None where there is nothing."""
    for step in path_steps:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
    return value


def one_header(envelope: Envelope, lower_name: str) -> str | None:
    """Return the header's value, or None. Raises: Unreadable if it is there twice or is too long."""
    length, found = len(lower_name), None
    for name, value in envelope.headers:
        if len(name) == length and name.lower() == lower_name:
            if found is not None:
                raise Unreadable(f"header {lower_name} is there more than once")
            found = value
    if found is not None and len(found) > MAX_HEADER_CHARS:
        raise Unreadable(f"header {lower_name} is longer than {MAX_HEADER_CHARS} characters")
    return found


def text_of(value: Any) -> str | None:
    """Return a scalar as text, numbers as they were sent; None for null, objects and arrays."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, Decimal)) else None


def parse_json(body: bytes, content_type: str = "") -> Any:
    """Parse JSON with exact decimals: UTF-8, and what `text_of_body` reads beside it.

    Raises: ValueError, also for NaN, endless nesting and endless exponents.
    """
    try:
        return _DECODER.decode(text_of_body(body, content_type))
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    except ArithmeticError as error:  # 1e99999999999999999999
        raise ValueError("JSON has a number that no decimal can hold") from error


def canonical_json(value: Any) -> bytes:
    """Serialise a parsed value so that equal values give equal bytes. Raises: Unreadable when nested too deeply."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, ensure_ascii=True)
    except RecursionError as error:  # JSON that could just be parsed can still be too deep to serialise
        raise Unreadable("the body is nested too deeply") from error
    return text.encode("ascii")


def media_type(envelope: Envelope) -> str:
    """Return the lower-case media type without its parameters, ``""`` if none was sent."""
    return (envelope.header("content-type") or "").partition(";")[0].strip().lower()


def form_pairs(envelope: Envelope) -> list[tuple[str, str]]:
    """Return the fields of a form body in their order; empty if the body is not a form, or too large a one.

    No provider signs the Content-Type. So what is written like JSON is not a form, and what is written like one is,
    whatever that header says: who changes it must not change what is read.
    """
    kind = media_type(envelope)
    try:
        start = text_of_body(envelope.body).encode() if is_wide(envelope.body) else envelope.body
        if _LIKE_JSON.match(start):
            return []
        if kind == _MULTIPART and (pairs := _multipart_pairs(envelope)):
            return pairs
        return _urlencoded_pairs(envelope.body) if kind == FORM or _LIKE_FORM.fullmatch(envelope.body) else []
    except ValueError:
        return []


def signed_form(envelope: Envelope) -> list[tuple[str, str]]:
    """Return the fields of an urlencoded body in their order, none of an empty body.

    Raises: Unreadable for a body that has no such field, or that `View.root` may read as JSON: it is not signed.
    """
    if not envelope.body:
        return []
    if media_type(envelope) != FORM or envelope.body.startswith(_JSON_STARTS) or is_marked(envelope.body):
        raise Unreadable("the body is not a form, and so it is not signed")
    try:
        pairs = _urlencoded_pairs(envelope.body)
    except ValueError as error:
        raise Unreadable(f"the body is a form that cannot be read: not UTF-8, or above {_MAX_FIELDS} fields") from error
    if not pairs:
        raise Unreadable("the body is a form without a field, and so it is not signed")
    return pairs


def _urlencoded_pairs(body: bytes) -> list[tuple[str, str]]:
    text = text_of_body(body)
    return parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="surrogateescape")


def _single(text: str) -> Reader:
    if inside := _INSIDE.fullmatch(text):
        return _inside(inside[1], inside[2], steps(inside[3]))
    if named := _FIRST_NAME.fullmatch(text):
        return _first_name(_single(named[1]), named[2])
    if text.startswith("$$"):
        path = steps(text)
        return lambda view: follow(view.root(), path)
    if text.startswith("$"):
        path = steps(text)
        return lambda view: follow(view.element if view.is_split else view.root(), path)
    if text in _WHOLE:
        return _WHOLE[text]
    named = _NAMED.fullmatch(text)
    if not named:
        raise ValueError(f"{text!r} is not a location: write header:Name, query:name, field:name or $.path")
    return _named(*named.groups())


def _named(kind: str, name: str) -> Reader:
    if kind == "header":
        lower_name = name.lower()
        return lambda view: one_header(view.envelope, lower_name)
    if kind == "query":
        return lambda view: view.envelope.query.get(name)
    return lambda view: view.fields().get(name)


def _first_name(read: Reader, names: str) -> Reader:
    labels = {}
    for name in names.split(","):
        if not (one := _LABELLED.fullmatch(name.strip())):
            raise ValueError(f"{{{names}}} is not a list of names: write $.{{one,two=other}}")
        labels[one[1]] = one[2] or one[1]

    def first_name(view: View) -> Any:
        found = read(view)
        if not isinstance(found, dict):
            return None
        return next((label for name, label in labels.items() if found.get(name) is not None), None)

    return first_name


def _inside(kind: str, place: str, path: list[str | int]) -> Reader:
    read = _single(place)
    if kind == "xml":
        return _element(read, place, [str(step) for step in path])
    parse = _payload if kind == "jws" else _document

    def member(view: View) -> Any:
        text = text_of(read(view))
        return follow(parse(text), path) if text and len(text) <= MAX_JWS_CHARS else None

    return member


def _element(read: Reader, place: str, path: list[str]) -> Reader:
    def element(view: View) -> Any:
        text = text_of(read(view))
        try:
            return element_text(text, path) if text else None
        except ValueError as error:
            raise Unreadable(f"the XML at {place} cannot be read: {error}") from error

    return element


@lru_cache(maxsize=8)
def _payload(text: str) -> Any:
    """Return the parsed payload of a JWS, None if it is none. Whether it is genuine is for the scheme to say."""
    parts = text.strip().split(".")
    try:
        return parse_json(decode_base64(parts[1], is_url_safe=True)) if len(parts) == _JWS_PARTS else None
    except ValueError:
        return None


@lru_cache(maxsize=8)
def _document(text: str) -> Any:
    """Return the parsed JSON of a text, None if it is none."""
    try:
        return parse_json(text.encode("utf-8"))
    except ValueError:
        return None


def _body(envelope: Envelope) -> bytes:
    return envelope.body


def _digest(view: View) -> str:
    whole = view.signed_content or _body
    content = canonical_json(view.element) if view.is_split else whole(view.envelope)
    return hashlib.sha256(content).hexdigest()


_WHOLE: dict[str, Reader] = {
    "sha256": _digest,
    "request": lambda view: view.envelope.request_id,
    "body": lambda view: _body_text(view.envelope),
}


def _body_text(envelope: Envelope) -> str | None:
    try:
        return text_of_body(envelope.body, envelope.header("content-type") or "")
    except ValueError:
        return None


def _parse_body(envelope: Envelope, payload_field: str) -> Any:
    if pairs := form_pairs(envelope):
        fields = dict(reversed(pairs))
        if payload_field not in fields:
            return fields
        body = fields[payload_field].encode("utf-8", "surrogateescape")
    else:
        body = envelope.body
    try:
        return parse_json(body)
    except UnicodeDecodeError:
        return _parse_in_charset(envelope, body)
    except ValueError:
        return None


def _parse_in_charset(envelope: Envelope, body: bytes) -> Any:
    try:
        return parse_json(body, envelope.header("content-type") or "")
    except ValueError:
        return None


def _multipart_pairs(envelope: Envelope) -> list[tuple[str, str]]:
    """Return the fields of a multipart body. Raises: ValueError when it has too many parts. Takes linear time."""
    boundary = _BOUNDARY.search(envelope.header("content-type") or "")
    if not boundary:
        return []
    delimiter = b"--" + boundary.group(1).encode("latin-1", "replace")
    pieces = envelope.body.split(delimiter, _MAX_PARTS + 2)
    if len(pieces) > _MAX_PARTS + 2:  # what is before the first part and behind the last one is a piece too
        raise ValueError(f"the form has more than {_MAX_PARTS} parts")
    return [pair for piece in pieces[1:] if (pair := _part(piece))]


def _part(piece: bytes) -> tuple[str, str] | None:
    head, _, content = piece.partition(b"\r\n\r\n")
    name = _PART_NAME.search(head[:_MAX_PART_HEAD])
    if not name:
        return None
    return name.group(1).decode("utf-8", "replace"), content.removesuffix(b"\r\n").decode("utf-8", "surrogateescape")

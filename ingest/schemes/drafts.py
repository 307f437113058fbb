"""Making deliveries: where a time, an id and signatures go before a delivery is sent, the reverse of reading them."""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import urlencode

from weir.ingest.errors import SampleInvalid
from weir.ingest.locations import View, form_pairs, media_type, reader, steps
from weir.ingest.schemes.models import NUMBERED, ContentScheme, SignatureAt
from weir.ingest.schemes.prover import Draft
from weir.ingest.times import format_ms


def place_time(draft: Draft, scheme: ContentScheme) -> str:
    """Write the signed time where the scheme has it; return its text. A time that the body already has is kept."""
    if scheme.timestamp is None:
        return ""
    text = format_ms(draft.at_ms, scheme.timestamp.unit)
    if scheme.timestamp.at is None:
        return text
    place(draft, scheme.timestamp.at, text, scheme.payload_field)
    return text


def place_id(draft: Draft, scheme: ContentScheme) -> None:
    """Write the message id into its header; an id in the body is the sample's own."""
    if scheme.id and scheme.id.startswith("header:"):
        place(draft, scheme.id, draft.message_id, "")


def place_signatures(draft: Draft, scheme: ContentScheme, stamp: str, signatures: list[str]) -> None:
    """Write one signature, or one into each element of a batch."""
    at = scheme.signature
    if scheme.each is not None:
        document = _document(draft, scheme.payload_field)
        elements = reader(scheme.each)(View(draft.envelope(), scheme.payload_field))
        for element, signature in zip(elements, signatures, strict=True):
            _put(element, steps(at.at), signature)
        _put(document, steps(scheme.each), elements)
        _rewrite(draft, document, scheme.payload_field)
        return
    place(draft, at.at, _header_text(scheme, at, stamp, signatures[0]), scheme.payload_field)


def place(draft: Draft, location: str, text: str, payload_field: str) -> None:
    """Write a value at a location of a delivery in the making."""
    kind, _, name = location.split(" | ", maxsplit=1)[0].partition(":")
    if kind == "header":
        draft.headers[name.replace(NUMBERED, "-1")] = text
    elif kind == "field":
        draft.body = urlencode([*((n, v) for n, v in form_pairs(draft.envelope()) if n != name), (name, text)]).encode()
    elif kind == "query":
        draft.query[name] = text
    elif location.startswith("$"):
        document = _document(draft, payload_field)
        _put(document, steps(location), text)
        _rewrite(draft, document, payload_field)


def _header_text(scheme: ContentScheme, at: SignatureAt, stamp: str, signature: str) -> str:
    text = at.prefix + (f"key{at.after}" if at.after else "") + signature
    if scheme.timestamp is not None and scheme.timestamp.at is None:
        return f"{scheme.timestamp.prefix}{stamp}{at.separators[-1]}{text}"
    return text


def _document(draft: Draft, payload_field: str) -> Any:
    document = View(draft.envelope(), payload_field).root()
    if document is None:
        raise SampleInvalid("This scheme signs inside the JSON body, and the body is not JSON.")
    return document


def _rewrite(draft: Draft, document: Any, payload_field: str) -> None:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, default=float)
    pairs = form_pairs(draft.envelope())
    if not pairs:
        draft.body = text.encode("utf-8")
    elif media_type(draft.envelope()).startswith("multipart/"):
        draft.body = draft.body.replace(dict(pairs)[payload_field].encode("utf-8"), text.encode("utf-8"), 1)
    else:
        fields = {payload_field: text} if payload_field else {name: str(value) for name, value in document.items()}
        draft.body = urlencode(fields).encode()


def _put(document: Any, path: list[str | int], value: Any) -> None:
    if not path:
        return
    for step, following in itertools.pairwise(path):
        if isinstance(document, dict) and isinstance(following, str):
            document.setdefault(step, {})
        document = document[step]
    last = path[-1]
    # A number stays a number: Linear's webhookTimestamp, for one, is not text.
    is_number = isinstance(document, dict) and isinstance(document.get(last), int)
    document[last] = int(value) if is_number and str(value).isdigit() else value


def rewrite_json(draft: Draft, **members: str) -> None:
    """Set members of a JSON body."""
    _rewrite(draft, {**_document(draft, ""), **members}, "")

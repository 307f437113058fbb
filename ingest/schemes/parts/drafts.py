"""Writing into a delivery that is being made: the reverse of `weir.ingest.locations`."""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import urlencode

from weir.ingest.errors import SampleInvalid
from weir.ingest.locations import View, form_pairs, media_type, steps
from weir.ingest.schemes.base import Draft

# A location that ends so means one header per signature, numbered from 1.
NUMBERED = "-*"


def place(draft: Draft, location: str, text: str, payload_field: str) -> None:
    """Write a value at a location of a delivery in the making."""
    kind, _, name = location.split(" | ", maxsplit=1)[0].partition(":")
    if location == "body":
        draft.body = text.encode("utf-8")
    elif kind == "header":
        draft.headers[name.replace(NUMBERED, "-1")] = text
    elif kind == "field":
        draft.body = urlencode([*((n, v) for n, v in form_pairs(draft.envelope()) if n != name), (name, text)]).encode()
    elif kind == "query":
        draft.query[name] = text
    elif location.startswith("$"):
        document = document_of(draft, payload_field)
        put(document, steps(location), text)
        rewrite(draft, document, payload_field)


def document_of(draft: Draft, payload_field: str) -> Any:
    """Return the parsed JSON body, or that of a form field. Raises: SampleInvalid."""
    document = View(draft.envelope(), payload_field).root()
    if document is None:
        raise SampleInvalid("This scheme signs inside the JSON body, and the body is not JSON.")
    return document


def rewrite(draft: Draft, document: Any, payload_field: str) -> None:
    """Make a document the JSON body, or that of a form field."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, default=float)
    pairs = form_pairs(draft.envelope())
    if not pairs:
        draft.body = text.encode("utf-8")
    elif media_type(draft.envelope()).startswith("multipart/"):
        draft.body = draft.body.replace(dict(pairs)[payload_field].encode("utf-8"), text.encode("utf-8"), 1)
    else:
        fields = {payload_field: text} if payload_field else {name: str(value) for name, value in document.items()}
        draft.body = urlencode(fields).encode()


def put(document: Any, path: list[str | int], value: Any) -> None:
    """Write a value into a document, at the steps of a path."""
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
    rewrite(draft, {**document_of(draft, ""), **members}, "")

"""Under which keys the events of a delivery must be found: the rule of docs/duplicates.md, read a second time.

It shares no code with what makes the keys: it reads which header the id is in, and looks for that header in what the
source's scheme says is signed.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import parse_qsl

from weir.ingest.schemes.base import Draft
from weir.ingest.sources.catalogue import Source

_FORM_SCHEMES = ("twilio", "plivo-v3")
_BEARER_SCHEMES = ("token", "basic", "oidc")  # they say who sends, and sign nothing


def marks(source: Source, draft: Draft, event_ids: Sequence[str], types: Sequence[str]) -> list[str]:
    """Return the keys of the events of a signed delivery, in their order."""
    if _is_id_signed(source):
        return [f"{source.name}#{event_id}" for event_id in event_ids]
    content = hashlib.sha256(_signed(source, draft)).digest()
    names = [_name(content + (kind.encode() if source.event.repeats == "type" else b"")) for kind in types]
    several = len(names) > 1
    return [f"{source.name}#={name}{f'.{index}' if several else ''}" for index, name in enumerate(names)]


def _is_id_signed(source: Source) -> bool:
    """Tell whether the id cannot be changed, or is to be the mark although it can."""
    said = source.scheme.model_dump_json().lower()
    if source.event.repeats == "id" or any(f'"alg":"{alg}"' in said for alg in _BEARER_SCHEMES):
        return True
    places = source.event.id if isinstance(source.event.id, tuple) else (source.event.id,)
    headers = [next((one for one in place.split(" | ") if one.startswith("header:")), "") for place in places]
    return all(header.lower() in said for header in headers)


def _signed(source: Source, draft: Draft) -> bytes:
    scheme = getattr(source.scheme, "any_of", (source.scheme,))[0]
    if getattr(scheme, "alg", "") in _FORM_SCHEMES and not draft.query.get("bodySHA256"):
        fields = sorted(set(parse_qsl(draft.body.decode(), keep_blank_values=True)))
        query = "&".join(f"{name}={value}" for name, value in sorted(draft.query.items()))
        return (query + "".join(name + value for name, value in fields)).encode()
    time_at = getattr(getattr(scheme, "timestamp", None), "at", None) or ""
    changing = [path.removeprefix("$.").split(".") for path in (time_at, *source.event.varies) if path[:2] == "$."]
    return _without(draft.body, changing) if changing else draft.body


def _without(body: bytes, paths: Sequence[Sequence[str]]) -> bytes:
    value = json.loads(body, parse_float=Decimal)
    for *way, last in paths:
        part = value
        for name in way:
            part = part.get(name, {})
        part.pop(last, None)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _name(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()[:16]).decode().rstrip("=")

"""A sample for a source of one's own: what the source reads of a delivery, put where it reads it.

The generic sample has an id and a type of its own. A source in the sources file may read them from anywhere, and a
sample without them would be refused as malformed.
"""

from __future__ import annotations

import json
from typing import Any

from weir.ingest.errors import RecordError, SampleInvalid
from weir.ingest.locations import follow, steps
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.schemes.parts.drafts import put
from weir.ingest.sources import events, samples
from weir.ingest.sources.catalogue import EventSpec, Source

TYPE = "sample.created"
_ANY_TIME_MS = 1_700_000_000_000


def check(source: Source, signing_key: str) -> None:
    """Raises: SampleInvalid, with the reason, when no sample of the source can be made or it holds no event."""
    body, headers = samples.sample(source.preset, at_ms=_ANY_TIME_MS)
    query = samples.query(source.preset, at_ms=_ANY_TIME_MS)
    draft = Draft(body, _ANY_TIME_MS, samples.message_id(0), headers, query=query)
    fit(source, draft)
    try:
        signatures.sign_draft(source.scheme, signing_key, draft)
        events.extract(source, draft.envelope())
    except RecordError as error:
        raise SampleInvalid(f"The sample of {source.name} holds no event: {error}") from error


def fit(source: Source, draft: Draft, *, keep_body: bool = False) -> None:
    """Put the id and a type where a source without a preset reads them, before the draft is signed.

    What is there already stays, and what signing sets is left to it. With ``keep_body`` only headers and query change.
    """
    if source.preset is not None:
        return
    body = None if keep_body else _Json.of(draft.body, source.event)
    wanted = [*((place, draft.message_id) for place in _texts(source.event.id))]
    wanted += [(place, TYPE) for place in _texts(source.event.type)]
    for place, value in wanted:
        options = [option.strip() for option in place.split(" | ")]
        if not any(_has(source, draft, body, option) for option in options):
            any(_put(draft, body, option, value) for option in options)
    if body is not None:
        draft.body = body.bytes()


class _Json:
    """A JSON body that can be added to; ``element`` is the event in it."""

    def __init__(self, root: Any, element: dict[str, Any]) -> None:
        self.root, self.element = root, element

    @classmethod
    def of(cls, body: bytes, spec: EventSpec) -> _Json | None:
        """Return the body as one with an event, in the array that the source splits; None if it is not an object."""
        try:
            root = json.loads(body)
        except ValueError:
            return None
        if not isinstance(root, dict):
            return None
        if spec.split is None:
            return cls(root, root)
        path = steps(spec.split.split(" | ")[0])
        return cls(_nested(path, [root]), root)

    def bytes(self) -> bytes:
        return json.dumps(self.root, separators=(",", ":")).encode()

    def put(self, path: list[str | int], value: str, *, at_root: bool) -> bool:
        """Put a text at a path of names; return whether there is room for it."""
        try:
            put(self.root if at_root else self.element, path, value)
        except (KeyError, IndexError, TypeError):  # a text or a short list is in the way
            return False
        return bool(path)


def _nested(path: list[str | int], value: Any) -> Any:
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [value]
    return value


def _has(source: Source, draft: Draft, body: _Json | None, option: str) -> bool:
    kind, _, name = option.partition(":")
    if option in {"sha256", "request"}:
        return True
    if kind == "header":
        return name.lower() in {*(known.lower() for known in draft.headers), *source.scheme.header_names}
    if kind == "query":
        return name in draft.query
    if body is None or not option.startswith("$"):
        return False
    return follow(body.root if option.startswith("$$") else body.element, steps(option)) not in (None, "")


def _put(draft: Draft, body: _Json | None, option: str, value: str) -> bool:
    kind, _, name = option.partition(":")
    if kind == "header":
        draft.headers[name] = value
    elif kind == "query":
        draft.query[name] = value
    else:
        return (
            body is not None
            and option.startswith("$")
            and body.put(steps(option), value, at_root=option.startswith("$$"))
        )
    return True


def _texts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value

"""From a verified delivery to its events: one as a rule, several where the provider sends batches.

Every delivery gives at least one event, so that it can be accounted for: an empty batch is an event of type
``batch.empty``. An id never depends on the order of a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed
from weir.ingest.ids import EventId, SourceName
from weir.ingest.locations import Reader, Unreadable, View, reader, text_of
from weir.ingest.sources.catalogue import EventSpec, Source
from weir.ingest.times import NUMBER_UNITS, parse_ms

# One Kinesis record cannot have more than this of the smallest event.
MAX_EVENTS = 10_000
EMPTY_BATCH = "batch.empty"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened at a provider.

    ``payload`` is the parsed body or element (numbers with a point are Decimal), None when the body is neither JSON nor
    a form. ``at_ms`` is the provider's time of the event, if it gives one; ``index`` is the place in a batch, from 0.
    """

    source: SourceName
    event_id: EventId
    type: str
    at_ms: int | None
    key: str
    payload: Any
    index: int
    envelope: Envelope


def extract(source: Source, envelope: Envelope) -> list[Event]:
    """Return the events of a verified delivery. Raises: EventMalformed."""
    compiled = _compiled(source)
    view = View(envelope, source.event.payload_field)
    try:
        if source.event.split is None:
            return [compiled.event(view, view.root(), 0)]
        return _batch(compiled, view)
    except (Unreadable, UnicodeError) as error:
        raise EventMalformed(str(error)) from error


def _batch(compiled: _Compiled, view: View) -> list[Event]:
    spec = compiled.source.event
    elements = reader(spec.split or "$")(view)
    if not isinstance(elements, list):
        raise EventMalformed(f"{spec.split} is not an array.")
    if len(elements) > MAX_EVENTS:
        raise EventMalformed(f"{spec.split} has {len(elements)} events; at most {MAX_EVENTS} are accepted.")
    if not elements:
        digest = reader("sha256")(view)
        return [
            Event(compiled.source.name, digest, EMPTY_BATCH, None, view.envelope.key, view.root(), 0, view.envelope)
        ]
    found = [compiled.event(view.split(element), element, index) for index, element in enumerate(elements)]
    return found if compiled.has_own_ids else _told_apart(found)


def _told_apart(events: list[Event]) -> list[Event]:
    """Number the equal events among those whose ids are hashes of their content: each of them happened."""
    seen: Counter[str] = Counter()
    found = []
    for event in events:
        repeats = seen[event.event_id]
        seen[event.event_id] += 1
        found.append(_renamed(event, EventId(f"{event.event_id}.{repeats}")) if repeats else event)
    return found


def _renamed(event: Event, event_id: EventId) -> Event:
    return Event(event.source, event_id, event.type, event.at_ms, event.key, event.payload, event.index, event.envelope)


class _Compiled:
    """An `EventSpec` as a few readers."""

    def __init__(self, source: Source) -> None:
        spec = source.event
        self.source = source
        options = {option for text in _texts(spec.id) for option in text.split(" | ")}
        self.has_own_ids = not options & {"sha256", "request"}
        self._id = _compile_id(spec)
        self._type = _compile_type(spec)
        self._time = reader(spec.time.at) if spec.time else None
        self._key = reader(spec.key) if spec.key else None

    def event(self, view: View, payload: Any, index: int) -> Event:
        """Read one event. Raises: EventMalformed, Unreadable, UnicodeError."""
        envelope = view.envelope
        return Event(
            source=self.source.name,
            event_id=self._id(view),
            type=self._type(view),
            at_ms=self._at_ms(view),
            key=envelope.key or (_printable(self._key(view)) if self._key else ""),
            payload=payload,
            index=index,
            envelope=envelope,
        )

    def _at_ms(self, view: View) -> int | None:
        spec = self.source.event.time
        if self._time is None or spec is None:
            return None
        try:
            text = text_of(self._time(view))
            return parse_ms(text.partition(".")[0] if spec.unit in NUMBER_UNITS else text, spec.unit) if text else None
        except Unreadable:
            return None


def _compile_id(spec: EventSpec) -> Callable[[View], EventId]:
    readers = [(text, reader(text)) for text in _texts(spec.id)]

    def read(view: View) -> EventId:
        return EventId(":".join([_id_text(text, part, view) for text, part in readers]))

    return read


def _id_text(place: str, read: Reader, view: View) -> str:
    text = text_of(read(view))
    if not text:
        raise EventMalformed(f"There is no event id at {place}.")
    text.encode("utf-8")  # a lone surrogate cannot be stored
    return text


def _compile_type(spec: EventSpec) -> Callable[[View], str]:
    readers = [reader(text) for text in _texts(spec.type)]

    def read(view: View) -> str:
        return ".".join([text for part in readers if (text := _printable(part(view)))])

    return read


def _printable(value: Any) -> str:
    return (text_of(value) or "").encode("utf-8", "replace").decode("utf-8")


def _texts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


_compiled_sources: dict[int, _Compiled] = {}


def _compiled(source: Source) -> _Compiled:
    found = _compiled_sources.get(id(source))
    if found is None:
        if len(_compiled_sources) >= 4096:
            _compiled_sources.clear()
        found = _compiled_sources[id(source)] = _Compiled(source)
    return found

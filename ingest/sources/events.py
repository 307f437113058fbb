"""From a verified delivery to its events: one as a rule, several where the provider sends batches.

Every delivery gives at least one event, so that it can be accounted for: an empty batch is an event of type
``batch.empty``. An id never depends on the order of a batch. One bad element of a batch is
refused alone, and the others are events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed
from weir.ingest.ids import EventId, SourceName
from weir.ingest.locations import Reader, Unreadable, View, reader, reads_body, text_of
from weir.ingest.schemes.base import Scheme
from weir.ingest.sources.catalogue import EventSpec, Source
from weir.ingest.sources.identity import identity_of
from weir.ingest.times import NUMBER_UNITS, parse_ms

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    P = TypeVar("P", default=Any)
else:  # the default is for type checkers alone, and typing knows it only from 3.13 on
    from typing import TypeVar

    P = TypeVar("P")

# One Kinesis record cannot have more than this of the smallest event.
MAX_EVENTS = 10_000
EMPTY_BATCH = "batch.empty"


@dataclass(frozen=True, slots=True)
class Event(Generic[P]):
    """What happened at a provider.

    ``payload`` is the parsed body or element (numbers with a point are Decimal), None when the body is neither JSON nor
    a form; its type is the parameter, for type checkers. ``at_ms`` is the provider's time of the event, if it gives
    one; ``index`` is the place in a batch, from 0. ``digest`` stands for the id where that is not signed, ``""`` where
    the id counts; ``is_type_signed`` tells whether only the sender can have chosen the type.
    """

    source: SourceName
    event_id: EventId
    type: str
    at_ms: int | None
    key: str
    payload: P
    index: int
    envelope: Envelope
    digest: str = field(default="", kw_only=True)
    is_type_signed: bool = field(default=True, kw_only=True)

    @property
    def identity(self) -> EventId:
        """Return what the event is recognised by: its id, or the digest that stands for it."""
        return EventId(self.digest) or self.event_id


@dataclass(frozen=True, slots=True)
class RefusedEvent(Event):
    """An element of a batch that cannot be an event, in its place among the others; it has no id and no type."""

    error: EventMalformed


def extract(
    source: Source, envelope: Envelope, option: Scheme | None = None, *, names_only: bool = False
) -> list[Event]:
    """Return the events of a verified delivery; among several, what cannot be one is a RefusedEvent.

    ``option`` is which of the source's schemes has proven it, the first if it is None. With ``names_only`` time and
    payload may be missing, so that a body is parsed only where id or type are in it. Raises: EventMalformed when there
    is nothing but one element that cannot be an event, or no batch.
    """
    compiled = _compiled(source, option or source.scheme.options[0], names_only)
    view = View(envelope, source.event.payload_field, signed_content=compiled.option.signed_content)
    try:
        if source.event.split is None:
            return compiled.named([compiled.event(view, compiled.payload(view), 0, compiled.own_id(view))])
        return compiled.named(_batch(compiled, view))
    except (Unreadable, UnicodeError) as error:
        raise EventMalformed(str(error)) from error


def _batch(compiled: _Compiled, view: View) -> list[Event]:
    elements = compiled.elements(view)
    if not elements:
        digest = reader("sha256")(view)
        return [
            Event(compiled.source.name, digest, EMPTY_BATCH, None, view.envelope.key, view.root(), 0, view.envelope)
        ]
    if len(elements) == 1:
        element_view = view.split(elements[0])
        return [compiled.event(element_view, elements[0], 0, compiled.element_id(element_view)[0])]
    ids = _Ids()
    return [_element(compiled, view.split(element), ids, index) for index, element in enumerate(elements)]


def _element(compiled: _Compiled, view: View, ids: _Ids, index: int) -> Event:
    source, envelope = compiled.source.name, view.envelope
    try:
        event_id, is_derived = compiled.element_id(view)
        return compiled.event(view, view.element, index, ids.told_apart(event_id) if is_derived else event_id)
    except EventMalformed as error:
        refused = error
    except (Unreadable, UnicodeError) as error:
        refused = EventMalformed(str(error))
    return RefusedEvent(source, EventId(""), "", None, envelope.key, view.element, index, envelope, refused)


class _Ids:
    """The ids of one batch that are hashes of content: equal ones are numbered, since each of the events happened."""

    def __init__(self) -> None:
        self._seen: Counter[EventId] = Counter()

    def told_apart(self, event_id: EventId) -> EventId:
        repeats = self._seen[event_id]
        self._seen[event_id] += 1
        return EventId(f"{event_id}.{repeats}") if repeats else event_id


class _Compiled:
    """An `EventSpec` as a few readers, for what one option of the scheme has proven."""

    def __init__(self, source: Source, option: Scheme, names_only: bool) -> None:
        spec = source.event
        self.source = source
        self.option = option
        self._identity = identity_of(source, option)
        options = {option for text in _texts(spec.id) for option in text.split(" | ")}
        self._has_own_ids = not options & {"sha256", "request"}
        self._batches = [reader(option.strip()) for option in (spec.split or "").split(" | ")] if spec.split else []
        self.own_id = _compile_id(spec)
        self._type = _compile_type(spec)
        self._has_type_in_body = any(map(reads_body, _texts(spec.type)))
        self._time = reader(spec.time.at) if spec.time and not names_only else None
        self._key = reader(spec.key) if spec.key else None
        # To look for the JSON in a form's field can fail, and a delivery in which it does has no event.
        self._leaves_payload = names_only and not spec.payload_field

    def payload(self, view: View) -> Any:
        """Return the parsed body of a delivery that is one event, None where only the names of events are wanted."""
        return None if self._leaves_payload else view.root()

    def elements(self, view: View) -> list[Any]:
        """Return the elements of the first array there is, or an object as the only one. Raises: EventMalformed."""
        split = self.source.event.split
        for batch in self._batches:
            found = batch(view)
            if isinstance(found, list):
                if len(found) > MAX_EVENTS:
                    raise EventMalformed(f"{split} has {len(found)} events; at most {MAX_EVENTS} are accepted.")
                return found
            if isinstance(found, dict) and found:
                return [found]
        raise EventMalformed(_because(f"There is neither an array nor an object at {split}", view))

    def element_id(self, view: View) -> tuple[EventId, bool]:
        """Return the id of an element, and whether it is a hash of the element: an object without an id gets one.

        Raises: EventMalformed, Unreadable, UnicodeError.
        """
        try:
            return self.own_id(view), not self._has_own_ids
        except EventMalformed:
            if not isinstance(view.element, dict):
                raise
        return EventId(str(reader("sha256")(view))), True

    def event(self, view: View, payload: Any, index: int, event_id: EventId) -> Event:
        """Read one event. Raises: EventMalformed, Unreadable, UnicodeError."""
        envelope = view.envelope
        event_type = self._type(view)
        if not event_type and self._has_type_in_body and view.complaint():
            raise EventMalformed(_because("There is no event type", view))
        return Event(
            source=self.source.name,
            event_id=event_id,
            type=event_type,
            at_ms=self._at_ms(view),
            key=envelope.key or (_printable(self._key(view)) if self._key else ""),
            payload=payload,
            index=index,
            envelope=envelope,
            is_type_signed=self._identity.is_type_signed,
        )

    def named(self, found: list[Event]) -> list[Event]:
        """Give events whose id is not signed the digests that stand for the ids. Raises: Unreadable."""
        if not self._identity.is_digest:
            return found
        digests = self._identity.digests(found[0].envelope, [event.type for event in found])
        for event, digest in zip(found, digests, strict=True):
            object.__setattr__(event, "digest", digest)  # no one else has it yet; a copy takes as long as the rest
        return found

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
        raise EventMalformed(_because(f"There is no event id at {place}", view))
    text.encode("utf-8")  # a lone surrogate cannot be stored
    return text


def _because(sentence: str, view: View) -> str:
    """Return the sentence, with why the body gives nothing if it is not what it is called."""
    complaint = view.complaint()
    return f"{sentence}: {complaint}." if complaint else f"{sentence}."


def _compile_type(spec: EventSpec) -> Callable[[View], str]:
    readers = [reader(text) for text in _texts(spec.type)]

    def read(view: View) -> str:
        return ".".join([text for part in readers if (text := _printable(part(view)))])

    return read


def _printable(value: Any) -> str:
    return (text_of(value) or "").encode("utf-8", "replace").decode("utf-8")


def _texts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


_compiled_sources: dict[tuple[int, int, bool], _Compiled] = {}


def _compiled(source: Source, option: Scheme, names_only: bool) -> _Compiled:
    key = id(source), id(option), names_only
    found = _compiled_sources.get(key)
    if found is None:
        if len(_compiled_sources) >= 4096:
            _compiled_sources.clear()
        found = _compiled_sources[key] = _Compiled(source, option, names_only)
    return found

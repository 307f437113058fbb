"""What can be known of a delivery without its secret: source, time, and the ids under which it would be marked.

Nothing here is verified. It serves to choose and to look up; what is applied is judged by the consumer's own judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from weir.consumers.events_table.mark import Mark, delivery_names, mark_key, quarantined_key
from weir.ingest.envelope import Envelope, decode
from weir.ingest.errors import RecordError
from weir.ingest.ids import MarkKey
from weir.ingest.schemes.base import Scheme, without_headers
from weir.ingest.sources import events
from weir.ingest.sources.catalogue import Source
from weir.ingest.sources.events import Event
from weir.operate.lookup.delivery import Delivery

# Larger bodies are read only where the events table does not have the delivery as quarantined.
UNPROVEN_BYTES = 8 * 1024
# Larger bodies of what nothing has proven are not read only to show a type and an id.
SHOWN_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Preview:
    """A delivery read without proof; ``readings`` are its events, several where a scheme or a body has several."""

    envelope: Envelope | None = None
    readings: tuple[tuple[Event, ...], ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """Return the events of the likelier reading."""
        return self.readings[0] if self.readings else ()

    def mark_keys(self) -> list[tuple[MarkKey, ...]]:
        """Return, for each reading, the keys that all exist once the delivery is applied or is a duplicate."""
        return [tuple(mark_key(event.source, event.identity) for event in found) for found in self.readings]

    def known(self, marks: Mapping[str, Mark]) -> list[tuple[Mark | None, ...]]:
        """Return, for each reading, the mark of each event: None where it has none, or another type's that is unsigned.

        An event whose mark is older than digests in marks has it under its id.
        """
        return [tuple(_known(event, marks) for event in found) for found in self.readings]

    def all_keys(self) -> list[MarkKey]:
        """Return every key that `known` looks for."""
        found = [event for reading in self.readings for event in reading]
        older = [mark_key(event.source, event.event_id) for event in found if event.digest]
        return list(dict.fromkeys([*(mark_key(event.source, event.identity) for event in found), *older]))

    def quarantine_keys(self) -> list[str]:
        """Return the keys under which the delivery, or single events of it, may be quarantined."""
        if self.envelope is None:
            return []
        count = max((len(found) for found in self.readings), default=0)
        names = delivery_names(self.envelope.request_id, count)
        return [quarantined_key(self.envelope.source, name) for name in names]


class Previewer:
    """Looks at deliveries with one catalogue; each delivery is looked at once."""

    def __init__(self, catalogue: Mapping[str, Source]) -> None:
        self._catalogue = catalogue

    def preview(self, delivery: Delivery) -> Preview:
        """Return what can be known of a delivery."""
        if delivery.preview is None:
            delivery.preview = self._preview(delivery)
        return delivery.preview  # type: ignore[no-any-return]

    def likeliest(self, delivery: Delivery) -> tuple[Event, ...]:
        """Return the events of the first reading that has any, as `Preview.events`; time and payload may be missing.

        That is all there is to know of most deliveries, and the other readings are not made for it.
        """
        if delivery.preview is not None:
            return delivery.preview.events  # type: ignore[no-any-return]
        envelope = self.envelope(delivery)
        source = None if envelope is None else self._catalogue.get(envelope.source)
        if envelope is None or source is None:
            return ()
        readings = (_extract(source, *spelled, names_only=True) for spelled in _spellings(source, envelope))
        return next(filter(None, readings), ())

    def envelope(self, delivery: Delivery) -> Envelope | None:
        """Return the envelope of a delivery without reading its body; None if there is none."""
        if delivery.opened is None:
            try:
                delivery.opened = (decode(delivery.data),)
            except RecordError:
                delivery.opened = (None,)
        return delivery.opened[0]  # type: ignore[no-any-return]

    def glance(self, delivery: Delivery) -> Preview:
        """Return what is worth showing of a delivery that nothing has proven: a large body is not read for it."""
        envelope = self.envelope(delivery)
        is_large = envelope is not None and len(envelope.body) > SHOWN_BYTES
        return Preview(envelope) if is_large and delivery.preview is None else self.preview(delivery)

    def _preview(self, delivery: Delivery) -> Preview:
        envelope = self.envelope(delivery)
        if envelope is None:
            return Preview()
        source = self._catalogue.get(envelope.source)
        if source is None:
            return Preview(envelope)
        readings = [_extract(source, *spelled) for spelled in _spellings(source, envelope)]
        return Preview(envelope, _each_once(found for found in readings if found))


def _spellings(source: Source, envelope: Envelope) -> Iterator[tuple[Envelope, Scheme]]:
    """Yield the delivery as each scheme of its source may have proven it, the likeliest first."""
    for body in (envelope, envelope.with_alternative_body()):
        for option, names in zip(source.scheme.options, source.scheme.unproven_headers, strict=True):
            if body is not None:
                yield without_headers(body, names), option


def _extract(source: Source, envelope: Envelope, option: Scheme, *, names_only: bool = False) -> tuple[Event, ...]:
    try:
        return tuple(events.extract(source, envelope, option, names_only=names_only))
    except RecordError:
        return ()


def _each_once(readings: Iterable[tuple[Event, ...]]) -> tuple[tuple[Event, ...], ...]:
    """Return the readings that differ in what the events are, the first of those that do not."""
    found: dict[object, tuple[Event, ...]] = {}
    for reading in readings:
        found.setdefault(tuple((one.event_id, one.digest, one.type, one.key) for one in reading), reading)
    return tuple(found.values())


def _known(event: Event, marks: Mapping[str, Mark]) -> Mark | None:
    mark = marks.get(mark_key(event.source, event.identity))
    if event.digest and (mark is None or mark.request_id != event.envelope.request_id):
        older = marks.get(mark_key(event.source, event.event_id))
        # The delivery's own mark says what became of it, although another delivery has been applied under the digest.
        is_own = older is not None and older.request_id == event.envelope.request_id
        if older is not None and older.is_done and (is_own or mark is None):
            mark = older
    if mark is None or not mark.is_done:
        return mark
    is_other = mark.is_other_type(event.envelope.request_id, event.type, is_signed=event.is_type_signed)
    return None if is_other else mark

"""What can be known of a delivery without its secret: source, time, and the ids under which it would be marked.

Nothing here is verified. It serves to choose and to look up; what is applied is judged by the consumer's own judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weir.consumers.events_table.mark import delivery_names, mark_key, quarantined_key
from weir.ingest.envelope import Envelope, decode
from weir.ingest.errors import RecordError
from weir.ingest.ids import MarkKey
from weir.ingest.schemes.base import without_headers
from weir.ingest.sources import events
from weir.ingest.sources.catalogue import Source
from weir.ingest.sources.events import Event
from weir.operate.lookup.delivery import Delivery


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
        return [tuple(mark_key(event.source, event.event_id) for event in found) for found in self.readings if found]

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
            delivery.preview = self._preview(delivery.data)
        return delivery.preview  # type: ignore[no-any-return]

    def _preview(self, data: bytes) -> Preview:
        try:
            envelope = decode(data)
        except RecordError:
            return Preview()
        source = self._catalogue.get(envelope.source)
        if source is None:
            return Preview(envelope)
        readings = [_extract(source, spelled) for spelled in _spellings(source, envelope)]
        return Preview(envelope, tuple(found for found in readings if found))


def _spellings(source: Source, envelope: Envelope) -> list[Envelope]:
    """Return the delivery as each scheme of its source may have proven it, the likeliest first, each once."""
    bodies = [envelope, envelope.with_alternative_body()]
    made = [without_headers(one, names) for one in bodies if one for names in source.scheme.unproven_headers]
    return list({(one.body, one.headers): one for one in made}.values())


def _extract(source: Source, envelope: Envelope) -> tuple[Event, ...]:
    try:
        return tuple(events.extract(source, envelope))
    except RecordError:
        return ()

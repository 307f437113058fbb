"""What the present events table proves of the past: a delivery that a rebuild reads is believed only as it was stored.

An archive, a stream and a file can be written by others than the gateway. A mark is written after a verdict, and its
item keeps what was proven: the delivery, its digest, and the scheme. So what another place says of that delivery is
compared with it, and what its secret no longer proves is read as the item has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from weir.consumers.events_table.bulk import read_items
from weir.consumers.events_table.mark import mark_key
from weir.consumers.outcome import DONE
from weir.ingest.envelope import Envelope
from weir.ingest.errors import RecordError, StackFailed
from weir.ingest.schemes.base import Scheme, Verdict, without_headers
from weir.ingest.sources import events
from weir.ingest.sources.catalogue import Catalogue, Source
from weir.operate.lookup.events import Table
from weir.operate.lookup.preview import Preview

_FACTS = ("pk", "source", "request_id", "outcome", "received_at", "key", "scheme", "secret", "body_sha256")
_DELIVERY = ("pk", "source", "request_id", "received_at", "key", "envelope", "payload_s3")

Item = Mapping[str, Any]


@dataclass(slots=True)
class Evidence:
    """The items of the events that deliveries have been proven to hold, by request id.

    The deliveries in them are read only when one is needed, and then all at once.
    """

    table: Table
    catalogue: Catalogue
    _items: dict[str, list[Item]] = field(default_factory=dict)
    _deliveries: dict[str, Item] = field(default_factory=dict)

    def read(self, previews: Iterable[Preview]) -> None:
        """Read the items of these deliveries; those of earlier ones are forgotten."""
        keys = dict.fromkeys(key for preview in previews for key in preview.all_keys())
        self._items, self._deliveries = {}, {}
        for item in self._read(keys, _FACTS):
            if item.get("outcome", {}).get("S") in DONE:
                self._items.setdefault(item["request_id"]["S"], []).append(item)

    def contradicts(self, envelope: Envelope) -> str:
        """Return what of a delivery is not as it was proven under its request id; '' if nothing is, or none was."""
        for item in self._items.get(envelope.request_id, ()):
            if item["source"]["S"] != envelope.source:
                return "source"
            if item["received_at"]["N"] != str(envelope.arrived_at_ms):
                return "arrival time"
            if _is_alternative(item, envelope) is None:
                return "body"
        return ""

    def verdict(self, envelope: Envelope) -> Verdict | None:
        """Return how a delivery was proven when it came; None if it was not, or not as it is now.

        A header that the stored delivery does not have, or that only another scheme of the source signs, is unproven.
        """
        items = self._items.get(envelope.request_id, [])
        source = self.catalogue.get(envelope.source)
        if not items or source is None or self.contradicts(envelope):
            return None
        stored = self._stored(envelope.request_id)
        if stored is None or not _is_same(stored, envelope):
            return None
        proven = _option(source, stored, items)
        if proven is None:
            return None
        option, unproven = proven
        added = {name.lower() for name, _ in envelope.headers} - {name.lower() for name, _ in stored.headers}
        return Verdict(
            scheme=items[0].get("scheme", {}).get("S", ""),
            secret_index=int(items[0].get("secret", {}).get("N", 0)),
            alternative_body=_is_alternative(items[0], envelope) is True,
            unproven_headers=unproven | added,
            option=option,
        )

    def _stored(self, request_id: str) -> Envelope | None:
        if not self._deliveries:
            first = [items[0]["pk"]["S"] for items in self._items.values()]
            self._deliveries = {item["request_id"]["S"]: item for item in self._read(first, _DELIVERY)}
        try:
            stored = self.table.stored(self._deliveries[request_id])
        except (KeyError, StackFailed, self.table.s3.exceptions.NoSuchKey):  # expired or deleted meanwhile
            return None
        return stored if isinstance(stored, Envelope) else None

    def _read(self, keys: Iterable[str], attributes: Sequence[str]) -> list[Item]:
        wanted = [{"pk": {"S": key}} for key in keys]
        return read_items(self.table.dynamodb, self.table.name, wanted, attributes=attributes)


def _option(source: Source, stored: Envelope, items: Sequence[Item]) -> tuple[Scheme, frozenset[str]] | None:
    """Return the scheme that proved a delivery, and the headers that only the others of the source sign.

    By that scheme the stored delivery has the item's key; among several, the one whose name the item has.
    """
    options = list(zip(source.scheme.options, source.scheme.unproven_headers, strict=True))
    if len(options) == 1:
        return options[0]
    name, keys = items[0].get("scheme", {}).get("S", ""), {item["pk"]["S"] for item in items}
    for option, unproven in sorted(options, key=lambda pair: pair[0].label != name):
        if keys & _keys(source, option, without_headers(stored, unproven)):
            return option, unproven
    return None


def _keys(source: Source, option: Scheme, envelope: Envelope) -> set[str]:
    try:
        found = events.extract(source, envelope, option)
    except RecordError:
        return set()
    return {mark_key(source.name, name) for one in found for name in (one.identity, one.event_id)}


def _is_alternative(item: Item, envelope: Envelope) -> bool | None:
    """Tell whether an item's digest is that of the other body which the gateway may have meant; None if of neither."""
    digest = bytes(item["body_sha256"]["B"])
    if sha256(envelope.body).digest() == digest:
        return False
    other = envelope.with_alternative_body()
    return True if other is not None and sha256(other.body).digest() == digest else None


def _is_same(stored: Envelope, envelope: Envelope) -> bool:
    """Tell whether a delivery has all that is stored of it, and of a header that is stored nothing else.

    Redacted headers are not stored. The stored key is the event's, which the URL's is unless it has none.
    """
    names = {name.lower() for name, _ in stored.headers}
    return (
        (stored.source_ip, stored.path, stored.query) == (envelope.source_ip, envelope.path, envelope.query)
        and envelope.key in {"", stored.key}
        and stored.headers == tuple(header for header in envelope.headers if header[0].lower() in names)
    )

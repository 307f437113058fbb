"""The dedupe mark: the keys of the events table, and what an item there says of an event id.

`{source}#{event_id}` is the key of a verified event, `{source}#={digest}` where the sender does not sign the id, and
`{source}!{delivery}` that of a quarantined one, so that a forgery can never look like the real event.
docs/duplicates.md tells how duplicates are recognised by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple
from zlib import crc32

from weir.consumers.events_table.attributes import clean
from weir.consumers.outcome import DONE, Outcome
from weir.ingest.ids import EventId, MarkKey, RequestId, SourceName

# A partition key may have 2,048 bytes; half of it keeps the index entries of a quarantine small.
KEY_BYTES_MAX = 1024

# What stands for the source of a record whose source is unknown; no source can have this name.
UNREADABLE = "!"

# In how many parts of the index a source's refused deliveries lie. One part takes 1,000 write units a second,
# and a full one throttles the table's own writes. It may be raised, never lowered: readers ask for this many.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/gsi-throttling.html
QUARANTINE_PARTS = 16

# In how many parts of their index events wait. It may be raised, never lowered.
WAITING_PARTS = 4

# The attributes that `read_mark` reads, for a projection.
MARK_ATTRIBUTES = ("pk", "request_id", "outcome", "reason", "refused", "applied_at", "type")

# The attribute that an item has whose mark is a digest: the key that its unsigned id would have. An index has it.
SENT_ID = "sent_id"

# How much of a text that a sender chose is an attribute of its own; the blob has the whole.
TEXT_CHARS_MAX = 1024


class Mark(NamedTuple):
    """What the table says of an event id: which delivery wrote it and when, and which deliveries of it were refused.

    ``outcome`` is the text of an `Outcome`, "" if the item has none. ``applied_at_ms`` is when the item was written,
    whatever the outcome; 0 where the attribute was not read, or on a fence, which has none. ``type`` is the event's.
    """

    request_id: RequestId
    outcome: str
    reason: str = ""
    refused: frozenset[str] = frozenset()
    key: MarkKey = MarkKey("")
    applied_at_ms: int = 0
    type: str = ""

    @property
    def is_done(self) -> bool:
        """Return whether the event has had its effect, or is stored because no business code wants it."""
        return self.outcome in DONE

    @property
    def is_fence(self) -> bool:
        """Return whether this only keeps refused deliveries out, and another delivery may still become the event."""
        return self.outcome == Outcome.FENCED

    def is_other_type(self, request_id: RequestId, event_type: str, *, is_signed: bool) -> bool:
        """Return whether the event of a delivery cannot be this mark's: its type is another, and is not signed.

        The delivery that wrote the mark is always the mark's.
        """
        return not is_signed and self.request_id != request_id and self.type != stored_text(event_type)

    def keeps_out(self, delivery: str) -> bool:
        """Return whether this is a fence that is final for a delivery, by its `delivery_name`."""
        return self.is_fence and self.has_refused(delivery)

    def has_refused(self, delivery: str) -> bool:
        """Return whether a delivery, by its `delivery_name`, was refused before, for good or for now."""
        return not self.refused.isdisjoint(refusals(delivery))

    def lets_wait(self, delivery: str) -> bool:
        """Return whether it was refused for now."""
        return refusals(delivery)[1] in self.refused


def read_mark(item: Mapping[str, Any]) -> Mark:
    """Read a mark from an item in wire form, which may be a projection of it; what it lacks is empty."""
    return Mark(
        item.get("request_id", _ABSENT).get("S", ""),
        item.get("outcome", _ABSENT).get("S", ""),
        item.get("reason", _ABSENT).get("S", ""),
        frozenset(item.get("refused", _ABSENT).get("SS", ())),
        item.get("pk", _ABSENT).get("S", ""),
        int(item.get("applied_at", _ABSENT).get("N", 0)),
        item.get("type", _ABSENT).get("S", ""),
    )


_ABSENT: Mapping[str, Any] = {}


def stored_text(text: str) -> str:
    """Return a text that a sender chose as an attribute holds it."""
    short = text if len(text) <= TEXT_CHARS_MAX else text[:TEXT_CHARS_MAX]
    return short if short.isascii() else clean(short)


def mark_key(source: SourceName, event_id: EventId) -> MarkKey:
    """Return the key under which an event id is marked: the id itself, or its hash if a key cannot hold it.

    Where the sender does not sign the id, the digest of what it signs is given for it: `Event.identity`.
    """
    key = f"{source}#{event_id}"
    encoded = key.encode("utf-8", "surrogatepass")
    if len(encoded) <= KEY_BYTES_MAX and key.isascii():
        return MarkKey(key)
    if len(encoded) <= KEY_BYTES_MAX and clean(key) == key:
        return MarkKey(key)
    return MarkKey(f"{source}#sha256:{sha256(event_id.encode('utf-8', 'surrogatepass')).hexdigest()}")


def delivery_name(request_id: RequestId, index: int, count: int) -> str:
    """Return how a fence and a quarantine call a delivery; of ``count`` events in it, if several, the one at ``index``.

    A refusal is final for exactly this name.
    """
    return f"{request_id}.{index}" if count > 1 else request_id


def refusals(delivery: str) -> tuple[str, str]:
    """Return what a fence calls a delivery that is refused for good, and one that waits, by its `delivery_name`."""
    return delivery, f"{delivery}~"


def delivery_names(request_id: RequestId, count: int) -> list[str]:
    """Return every name that a delivery of ``count`` events may have been refused under: as a whole, or each event."""
    return [request_id, *(delivery_name(request_id, index, count) for index in range(count if count > 1 else 0))]


def quarantined_key(source: SourceName, delivery: str) -> str:
    """Return the key of the quarantined item of a delivery by its `delivery_name`."""
    return f"{source}!{delivery}"


def quarantine_part(source: SourceName, name: str) -> str:
    """Return the hash key of a quarantined item in the index; ``name`` says which delivery it is.

    A sender cannot choose the part: it follows from the request id, which API Gateway makes.
    """
    return f"{source or UNREADABLE}#{crc32(name.encode('utf-8', 'surrogatepass')) % QUARANTINE_PARTS}"


def quarantine_parts(source: str) -> list[str]:
    """Return every hash key under which a source's items may lie; before there were parts it was the source alone."""
    return [source, *(f"{source}#{number}" for number in range(QUARANTINE_PARTS))]


def waiting_part(key: str) -> str:
    """Return the hash key in its index of an event that waits, by the key of its item."""
    return str(crc32(key.encode("utf-8", "surrogatepass")) % WAITING_PARTS)


def waiting_parts() -> list[str]:
    """Return every hash key of the index of what waits."""
    return [str(number) for number in range(WAITING_PARTS)]


def source_of_part(part: str) -> str:
    """Return the source of a hash key of the index, `!` if it is unknown."""
    return part.partition("#")[0]


def unreadable_key(position: str) -> str:
    """Return the key of the quarantined item of a record that is not an envelope, by its position in the stream."""
    return f"{UNREADABLE}{position}"

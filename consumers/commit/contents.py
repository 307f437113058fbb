"""Where the blobs go: into the items or, if those are too small for them, into the bucket before."""

from __future__ import annotations

from collections.abc import Iterable

from weir.consumers.commit.pending import PendingEvent
from weir.consumers.events_table.item import (
    BLOB_BYTES_MAX,
    UNPROVEN_BYTES_MAX,
    JudgedEvent,
    is_large,
    pack,
    payload_key,
)
from weir.ingest.errors import PayloadBucketUnset, TransientError

# JSON or UTF-8 spells text longer than it is, up to six times; what is shorter than a sixth of what fits surely does.
SURELY_SMALL_BYTES = 60 * 1024
_SURELY_SMALL_UNPROVEN_BYTES = UNPROVEN_BYTES_MAX // 6

# Without a bucket each event of a delivery has a copy of it; all of them are in memory at once.
_COPIES_BYTES_MAX = 16 * 1024 * 1024


def may_be_large(event: PendingEvent) -> bool:
    """Return whether the event's blob has to be packed before it is known where it goes."""
    judged = event.judged
    if event.size_bytes >= SURELY_SMALL_BYTES or judged.count > 1:
        return True
    return judged.decision == "quarantine" and judged.is_unproven and event.size_bytes >= _SURELY_SMALL_UNPROVEN_BYTES


class Contents:
    """The blobs of one commit. The events of one delivery share one object of the bucket."""

    def __init__(self, *, has_bucket: bool) -> None:
        self._has_bucket = has_bucket
        self._uploaded: set[str] = set()
        self._packed: dict[str, bytes] = {}

    def decide(self, event: PendingEvent) -> TransientError | None:
        """Decide where the event's blob goes, if it may be large; return what is in the way, if anything is."""
        judged = event.judged
        if not may_be_large(event):
            return None
        blob = self._pack(judged)
        if not is_large(judged, len(blob)):
            event.keep_inline(blob)
        elif self._has_bucket:
            event.keep_in_bucket(blob)
        elif len(blob) > BLOB_BYTES_MAX or judged.count * len(blob) > _COPIES_BYTES_MAX:
            return PayloadBucketUnset(bytes=len(blob))
        else:
            event.keep_inline(blob)
        return None

    def missing(self, events: Iterable[PendingEvent]) -> tuple[str, bytes] | None:
        """Return the key and the blob of the first object that must be in the bucket before these are written."""
        for event in events:
            if event.blob is not None and (key := payload_key(event.judged)) not in self._uploaded:
                return key, event.blob
        return None

    def uploaded(self, key: str) -> None:
        """Take note that the bucket has an object."""
        self._uploaded.add(key)

    def _pack(self, judged: JudgedEvent) -> bytes:
        if judged.count == 1:
            return pack(judged)
        key = payload_key(judged)
        if key not in self._packed:
            self._packed[key] = pack(judged)
        return self._packed[key]

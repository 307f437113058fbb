"""One event on its way through a commit.

An event is written in one of two forms. *Applied*: its mark (a Put that demands that the id be free) and its changes.
*Refused*, after its changes turned out to be impossible: its quarantined item and a fence on its id. The fence makes
the refusal final for this delivery: when the batch is read again, or is being read by another consumer at this moment,
the event cannot be applied late and out of order. Another delivery of the same event passes the fence, judged anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from weir.consumers.commit.plan import Unit
from weir.consumers.events_table.actions import ADDS, Action
from weir.consumers.events_table.attributes import Field
from weir.consumers.events_table.item import (
    BLOB_BYTES_MAX,
    EventResult,
    Prepared,
    detail,
    inline,
    is_large,
    pack,
    payload_key,
    pointer,
    quarantine_key,
    refusal_key,
)
from weir.consumers.events_table.mark import Mark, mark_key
from weir.consumers.outcome import Outcome
from weir.ingest.errors import (
    CommitConflict,
    PayloadBucketUnset,
    QuarantineRefused,
    RecordError,
    ServiceError,
    TransientError,
)

# Text that JSON or UTF-8 spells longer than it is; what is shorter than a sixth of an item surely fits.
SURELY_SMALL_BYTES = 60 * 1024

# Without a bucket each event of a delivery has a copy of it; all of them are in memory at once.
_COPIES_BYTES_MAX = 16 * 1024 * 1024

# What an item of the events table holds beside the blob, roughly; only for the 4 MB of a transaction.
_FACTS_BYTES = 1024


@dataclass(slots=True, eq=False)
class Work:
    """One event: what is to be written, what the table said of it so far, and in the end its outcome.

    ``size_bytes`` is that of its envelope before any packing.
    ``head`` is the first event of the batch with the same id, ``followers`` those after it. ``fence`` holds the
    refused deliveries if the id is fenced by others. ``doubtful`` means that its mark must be read,
    ``was_present`` that it was there before, ``is_planned`` that some step has it.
    """

    index: int
    prepared: Prepared
    key: str
    size_bytes: int = 0
    actions: list[Action] = field(default_factory=list)
    refusal: ServiceError | None = None
    fence: frozenset[str] = frozenset()
    doubtful: bool = False
    was_present: bool = False
    is_planned: bool = False
    outcome: EventResult | None = None
    head: Work | None = None
    followers: list[Work] = field(default_factory=list)
    content: Field | None = None
    blob: bytes | None = None

    @property
    def is_cheap(self) -> bool:
        """Return whether one conditional insert keeps all promises: nothing else has to happen with it."""
        if self.actions or self.refusal or self.fence:
            return False
        return not any(other.actions for other in self.followers)

    @property
    def is_phantom(self) -> bool:
        """Return whether the event waits for an earlier one with the same id."""
        return self.head is not None and self.head.outcome is None and self.head.refusal is None

    def pack(self) -> Field:
        """Return the attribute that holds, or points to, the event's blob; packed when it is first asked for."""
        if self.content is None:
            self.content = inline(pack(self.prepared))
        return self.content

    def settle(self, outcome: Outcome, reason: str = "", words: str = "", error: TransientError | None = None) -> None:
        """Set the outcome, once, and let go of what was to be written."""
        if self.outcome is None:
            self.outcome = EventResult(outcome, reason, words, error)
            self.content = self.blob = None

    def settle_written(self) -> None:
        """Set the outcome of what has just been written."""
        error = self.refusal or (self.prepared.error if self.prepared.fate == "quarantine" else None)
        if error is None:
            self.settle(Outcome.IGNORED if self.prepared.fate == "ignore" else Outcome.APPLIED)
        else:
            self.settle(Outcome.QUARANTINED, error.code, detail(error))

    def refuse(self, error: RecordError) -> None:
        """Quarantine the event instead of applying it; what cannot even be quarantined is left for the next batch."""
        if self.refusal is not None or self.prepared.fate == "quarantine":
            self.settle(Outcome.RETRY, error=QuarantineRefused(cause=str(error)))
        self.refusal = error
        self.actions = []

    def hold_back_behind(self, waiting: Mapping[tuple[str, str], str], contents: Contents) -> None:
        """Leave the event to the next batch if it must not overtake one that waits, or if there is no place for it."""
        if any(resource in waiting for resource in self.resources()):
            self.settle(
                Outcome.RETRY, error=CommitConflict("It waits behind an earlier event of its key or its items.")
            )
        elif error := contents.look(self):
            self.settle(Outcome.RETRY, error=error)

    def resources(self) -> list[tuple[str, str]]:
        """Return what the event has in common with those that it must not overtake; nothing if it has no effect."""
        if self.prepared.fate != "wait" and not (self.actions or self.refusal):
            return []
        return [("", self.prepared.partition_key), *[action.item for action in self.actions if action.shares != ADDS]]

    def spread(self) -> Work | None:
        """Let the later events with the same id follow this one; return the one to try if this was refused."""
        followers, promoted = self.followers, None
        if self.outcome is None or not followers:
            return None
        if self.outcome.outcome is Outcome.RETRY or self.prepared.fate == "quarantine":
            for follower in followers:
                follower.settle(self.outcome.outcome, self.outcome.reason, self.outcome.detail, self.outcome.error)
        elif self.outcome.outcome is Outcome.QUARANTINED:
            promoted = followers[0]
            promoted.promote()
        else:
            for follower in followers:
                follower.settle(Outcome.DUPLICATE)
        self.followers = []
        return promoted

    def promote(self) -> None:
        """Become the first of the batch with its id: the one before was refused, and this delivery is judged anew."""
        if self.head is not None:
            self.followers = self.head.followers[1:]
            for follower in self.followers:
                follower.head = self
        self.head = None
        self.doubtful = True

    def meet(self, mark: Mark) -> None:
        """Take note of the mark that holds the event's id: this delivery's own, another's, or a fence."""
        self.doubtful = False
        self.was_present = mark.outcome != Outcome.FENCED
        if refusal_key(self.prepared) in mark.refused:
            self.settle(Outcome.QUARANTINED, mark.reason)
        elif mark.outcome == Outcome.FENCED:
            self.fence = mark.refused
        elif mark.request_id != self.prepared.request_id:
            self.settle(Outcome.DUPLICATE)
        else:
            # Our own write whose answer was lost, or this very record read again: one record, one outcome.
            self.settle(Outcome.IGNORED if mark.outcome == Outcome.IGNORED else Outcome.APPLIED)

    def unit(self) -> Unit:
        """Return what the plan needs to know."""
        shared = self.key if self.head is not None or self.followers else ""
        return Unit(
            self.prepared.partition_key,
            self.size_bytes + _FACTS_BYTES,
            self.actions,
            mark=shared,
            phantom=self.head is not None,
            slow=self.blob is not None,
        )


def content_bytes(prepared: Prepared) -> int:
    """Return the size of what is to be stored before any packing."""
    envelope = prepared.envelope
    if envelope is None:
        return len(prepared.record_data)
    head = sum([len(name) + len(value) for name, value in envelope.headers])
    return len(envelope.body) + len(envelope.path) + head


@dataclass(slots=True, eq=False)
class Contents:
    """Where each event's blob goes: into its item or, if that is too small for it, into the bucket before.

    The events of one delivery share one object. ``kept`` are the keys of the objects that are in the bucket.
    """

    has_bucket: bool
    kept: set[str] = field(default_factory=set)
    _packed: dict[str, bytes] = field(default_factory=dict)

    def look(self, work: Work) -> TransientError | None:
        """Find out whether the event needs the bucket; return what is in the way, if anything is."""
        prepared = work.prepared
        if prepared.count == 1 and work.size_bytes < SURELY_SMALL_BYTES:
            return None
        blob = self._pack(prepared)
        if not is_large(prepared, len(blob)):
            work.content = inline(blob)
        elif self.has_bucket:
            work.blob = blob
            work.content = pointer(payload_key(prepared))
        elif len(blob) > BLOB_BYTES_MAX or prepared.count * len(blob) > _COPIES_BYTES_MAX:
            return PayloadBucketUnset(bytes=len(blob))
        else:
            work.content = inline(blob)
        return None

    def _pack(self, prepared: Prepared) -> bytes:
        if prepared.count == 1:
            return pack(prepared)
        key = payload_key(prepared)
        if key not in self._packed:
            self._packed[key] = pack(prepared)
        return self._packed[key]

    def missing(self, works: Iterable[Work]) -> tuple[str, bytes] | None:
        """Return the first object that must be in the bucket before these are written."""
        for work in works:
            if work.blob is not None and (key := payload_key(work.prepared)) not in self.kept:
                return key, work.blob
        return None


def key_of(prepared: Prepared) -> str:
    """Return the key of the item that the event is to become."""
    if prepared.fate == "quarantine":
        return quarantine_key(prepared)
    return mark_key(prepared.source, prepared.event_id)

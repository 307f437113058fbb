"""What the handler hands to the commit for each event, and the item of the events table that it becomes.

The item is the dedupe mark, the record of the outcome and the stored envelope in one. Its keys are made in
`weir.consumers.events_table.mark`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, NamedTuple

from weir.consumers.business.changes import Change, Wait
from weir.consumers.events_table import blob as codec
from weir.consumers.events_table.attributes import Field, binary, clean, string
from weir.consumers.events_table.mark import (
    SENT_ID,
    delivery_name,
    mark_key,
    quarantine_part,
    quarantined_key,
    stored_text,
    unreadable_key,
    waiting_part,
)
from weir.consumers.outcome import Outcome
from weir.ingest.calendar import is_time
from weir.ingest.envelope import Envelope
from weir.ingest.errors import RecordError, ServiceError, TransientError
from weir.ingest.ids import EventId, RequestId, SourceName
from weir.ingest.sources.catalogue import MARK_MARGIN_S

if TYPE_CHECKING:
    from weir.ingest.schemes.base import Verdict
    from weir.ingest.sources.events import Event

Decision = Literal["apply", "ignore", "quarantine", "wait"]

# An item has 400 KB. Beside the blob stand six texts, a key and a detail: under 32 KB even if the caller chose all of
# them to be long; the blob has the whole of what is cut here.
BLOB_BYTES_MAX = 365 * 1024
DETAIL_CHARS_MAX = 1000

# Many events of one delivery would each store all of it. From this many bytes in sum, one object in S3 costs less than
# the write units: a PUT is priced like 8 units, four transactional kilobytes.
SHARED_BYTES_MAX = 8 * 1024


# What no secret has proven must not fill the table: with more packed bytes than this it lies in the bucket, where a PUT
# is priced like 8 write units, however large it is.
UNPROVEN_BYTES_MAX = 8 * 1024
UNPROVEN_PREFIX = "unproven/"


# How long after its first try an event that waits is tried again; the pause doubles each time, up to the cap.
TRY_PAUSE_S = 30
TRY_PAUSE_CAP_S = 900


# What is not known of a record that is not an envelope.
_NO_SOURCE, _NO_EVENT_ID, _NO_REQUEST_ID = SourceName(""), EventId(""), RequestId("")


@dataclass(frozen=True, slots=True)
class JudgedEvent:
    """One event of one record, judged and ready to be committed; made by the functions below.

    ``position`` is the place of its record in the batch, ``index`` its own place among the ``count`` events of the
    delivery. Events of one ``partition_key`` are applied in the order in which they are given. ``digest`` stands for
    the id in the mark where the sender does not sign the id, and is empty where it does. The item is kept for
    ``retention_s``, for ``quarantine_s`` if the table shows that the type is not proven. ``replaces_ignored``: it takes
    the place of its own item that says that no business code wanted it; if it cannot, that stays. ``earlier_tries`` is
    how often an event that waits was tried before, 0 for any other; its item says waiting, and stays if it is refused.
    ``stored_at_ms`` is when the stream took the record, 0 if that is not known.
    """

    position: int
    partition_key: str
    decision: Decision
    source: SourceName = _NO_SOURCE
    event_id: EventId = _NO_EVENT_ID
    request_id: RequestId = _NO_REQUEST_ID
    type: str = ""
    digest: str = ""
    is_type_signed: bool = True
    key: str = ""
    received_at_ms: int = 0
    event_at_ms: int | None = None
    scheme: str = ""
    secret_index: int | None = None
    retention_s: int = 0
    quarantine_s: int = 0
    index: int = 0
    count: int = 1
    envelope: Envelope | None = None
    record_data: bytes = b""
    stream_position: str = ""
    changes: tuple[Change, ...] = ()
    error: ServiceError | None = None
    replaces_ignored: bool = False
    earlier_tries: int = 0
    stored_at_ms: int = 0

    @property
    def is_unproven(self) -> bool:
        """Return whether it is a delivery that anybody may have sent: no secret has proven it."""
        return self.decision == "quarantine" and not self.scheme and self.envelope is not None

    @property
    def identity(self) -> EventId:
        """Return what the event is recognised by: its id, or the digest that stands for it; `""` if it has neither."""
        return EventId(self.digest) or self.event_id


class EventResult(NamedTuple):
    """What became of one event; ``reason`` and ``detail`` of a quarantine, ``error`` of what is to be read again."""

    outcome: Outcome
    reason: str = ""
    detail: str = ""
    error: TransientError | None = None


def apply(
    event: Event,
    changes: Iterable[Change] | None,
    *,
    position: int,
    partition_key: str,
    retention_s: int,
    quarantine_s: int = 0,
    verdict: Verdict | None = None,
    count: int = 1,
    stored_at_ms: int = 0,
) -> JudgedEvent:
    """Prepare a verified event; ``changes`` is None when no business code wants it."""
    envelope = event.envelope
    return JudgedEvent(
        position=position,
        partition_key=partition_key,
        decision="ignore" if changes is None else "apply",
        source=event.source,
        event_id=event.event_id,
        request_id=envelope.request_id,
        type=event.type,
        digest=event.digest,
        is_type_signed=event.is_type_signed,
        key=event.key,
        received_at_ms=envelope.arrived_at_ms,
        event_at_ms=event.at_ms,
        scheme=verdict.scheme if verdict else "",
        secret_index=verdict.secret_index if verdict else None,
        retention_s=retention_s,
        quarantine_s=quarantine_s or retention_s,
        index=event.index,
        count=count,
        envelope=envelope,
        changes=tuple(changes or ()),
        stored_at_ms=stored_at_ms,
    )


def quarantine(
    error: RecordError,
    envelope: Envelope,
    *,
    position: int,
    partition_key: str,
    retention_s: int,
    event: Event | None = None,
    verdict: Verdict | None = None,
    count: int = 1,
) -> JudgedEvent:
    """Prepare a delivery, or one event of it, that can never succeed."""
    return JudgedEvent(
        position=position,
        partition_key=partition_key,
        decision="quarantine",
        source=envelope.source,
        event_id=event.event_id if event else _NO_EVENT_ID,
        request_id=envelope.request_id,
        type=event.type if event else "",
        digest=event.digest if event else "",
        key=event.key if event else envelope.key,
        received_at_ms=envelope.arrived_at_ms,
        event_at_ms=event.at_ms if event else None,
        scheme=verdict.scheme if verdict else "",
        secret_index=verdict.secret_index if verdict else None,
        retention_s=retention_s,
        index=event.index if event else 0,
        count=count,
        envelope=envelope,
        error=error,
    )


def unreadable(
    error: RecordError,
    record_data: bytes,
    *,
    position: int,
    partition_key: str,
    stream_position: str,
    received_at_ms: int,
    retention_s: int,
) -> JudgedEvent:
    """Prepare a record that is not an envelope; ``stream_position`` is `shard:sequence.sub`."""
    return JudgedEvent(
        position=position,
        partition_key=partition_key,
        decision="quarantine",
        received_at_ms=received_at_ms,
        retention_s=retention_s,
        record_data=record_data,
        stream_position=stream_position,
        error=error,
    )


def wait(error: TransientError, *, position: int, partition_key: str) -> JudgedEvent:
    """Prepare what could not be judged yet: it is read again, and no later event of its key overtakes it."""
    return JudgedEvent(position=position, partition_key=partition_key, decision="wait", error=error)


def quarantine_key(judged: JudgedEvent) -> str:
    """Return the key under which a delivery, or one event of several in it, is quarantined."""
    if judged.stream_position:
        return unreadable_key(judged.stream_position)
    return quarantined_key(judged.source, refusal_key(judged))


def refusal_key(judged: JudgedEvent) -> str:
    """Return the name of the delivery, or of one event of several in it, that a fence remembers."""
    return delivery_name(judged.request_id, judged.index, judged.count)


def payload_key(judged: JudgedEvent) -> str:
    """Return where in the bucket the blob of a large delivery lies: the same for each try and each of its events.

    An arrival that no calendar has, which only a record from elsewhere can say, has a folder of its own. What is not
    proven has a prefix of its own, which the bucket empties by itself; no day, so that a flood has no hot prefix.
    """
    at_ms = judged.received_at_ms
    day = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y/%m/%d") if is_time(at_ms) else "undated"
    name = judged.stream_position or f"{judged.source}!{judged.request_id}"
    digest = sha256(name.encode()).hexdigest()[:32]
    return f"{UNPROVEN_PREFIX}{digest}" if judged.is_unproven else f"payloads/{day}/{digest}"


def pack(judged: JudgedEvent) -> bytes:
    """Return the blob that the item or the bucket keeps."""
    return codec.pack(judged.envelope) if judged.envelope else codec.pack_raw(judged.record_data)


def is_large(judged: JudgedEvent, blob_bytes: int) -> bool:
    """Return whether the blob belongs in the bucket."""
    if blob_bytes > (UNPROVEN_BYTES_MAX if judged.is_unproven else BLOB_BYTES_MAX):
        return True
    return judged.count > 1 and judged.count * blob_bytes > SHARED_BYTES_MAX


def event_fields(judged: JudgedEvent, outcome: Outcome, now_ms: int, content: Field) -> list[Field]:
    """Return the item of an applied or ignored event; ``content`` is the blob or the pointer to it."""
    key = mark_key(judged.source, judged.identity)
    facts = _facts(judged, now_ms)
    if judged.earlier_tries:
        facts.append(("attempts", f'{{"N":"{judged.earlier_tries + 1}"}}'))
    return [("pk", string(key)), ("outcome", string(outcome)), *_sent_id(judged), *facts, content]


def _sent_id(judged: JudgedEvent) -> list[Field]:
    """Return what the index finds an event by whose mark is a digest; any other event pays nothing for the index."""
    return [(SENT_ID, string(mark_key(judged.source, judged.event_id)))] if judged.digest else []


def quarantined_fields(judged: JudgedEvent, error: ServiceError, now_ms: int, content: Field) -> list[Field]:
    """Return the item of a quarantined delivery; its attribute `quarantine` puts it into the index."""
    return [
        ("pk", string(quarantine_key(judged))),
        ("outcome", string(Outcome.QUARANTINED)),
        ("quarantine", string(quarantine_part(judged.source, judged.request_id or judged.stream_position))),
        ("reason", string(error.code)),
        ("detail", string(detail(error))),
        *_facts(judged, now_ms),
        content,
    ]


def waiting_fields(judged: JudgedEvent, wait: Wait, error: ServiceError, now_ms: int, content: Field) -> list[Field]:
    """Return the item of an event that waits; its attributes `waits` and `due_at` put it into the index."""
    latest_ms = judged.received_at_ms + (judged.retention_s - 2 * MARK_MARGIN_S) * 1000
    until_ms = max(now_ms, min(now_ms + wait.for_s * 1000, latest_ms))
    kept = replace(judged, retention_s=judged.quarantine_s + wait.for_s)
    key = quarantine_key(judged)
    return [
        ("pk", string(key)),
        ("outcome", string(Outcome.WAITING)),
        ("waits", string(waiting_part(key))),
        ("due_at", f'{{"N":"{next_try_ms(1, now_ms, until_ms)}"}}'),
        ("waits_until", f'{{"N":"{until_ms}"}}'),
        ("attempts", '{"N":"1"}'),
        ("attempts_max", f'{{"N":"{wait.attempts}"}}'),
        ("mark", string(mark_key(judged.source, judged.identity))),
        ("index", f'{{"N":"{judged.index}"}}'),
        ("reason", string(error.code)),
        ("detail", string(detail(error))),
        *_facts(kept, now_ms),
        content,
    ]


def next_try_ms(attempts: int, now_ms: int, until_ms: int) -> int:
    """Return when an event that was tried so often is tried again: at the latest when its time is over."""
    pause_s: int = min(TRY_PAUSE_CAP_S, TRY_PAUSE_S << min(attempts - 1, 16))
    return min(now_ms + pause_s * 1000, max(until_ms, now_ms))


def inline(blob: bytes) -> Field:
    """Return the attribute that holds a blob in the item itself."""
    return "envelope", binary(blob)


def pointer(key: str) -> Field:
    """Return the attribute that says where in the bucket the blob is."""
    return "payload_s3", string(key)


def detail(error: ServiceError) -> str:
    """Return what a person should read of an error, in bounds."""
    return clean(str(error))[:DETAIL_CHARS_MAX] or error.code


def _facts(judged: JudgedEvent, now_ms: int) -> list[Field]:
    body = judged.envelope.body if judged.envelope else judged.record_data
    facts = [
        ("received_at", f'{{"N":"{judged.received_at_ms}"}}'),
        ("applied_at", f'{{"N":"{now_ms}"}}'),
        ("expires_at", f'{{"N":"{now_ms // 1000 + judged.retention_s}"}}'),
        ("body_sha256", binary(sha256(body).digest())),
    ]
    for name, value in (
        ("source", judged.source),
        ("event_id", judged.event_id),
        ("request_id", judged.request_id),
        ("type", judged.type),
        ("key", judged.key),
        ("scheme", judged.scheme),
    ):
        if value:
            facts.append((name, string(stored_text(value))))
    if judged.event_at_ms is not None:
        facts.append(("event_at", f'{{"N":"{judged.event_at_ms}"}}'))
    if judged.secret_index is not None:
        facts.append(("secret", f'{{"N":"{judged.secret_index}"}}'))
    return facts

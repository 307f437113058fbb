"""Makes what the handler would hand to the commit, from records of the model and by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from tests.support.model import Record
from weir.consumers.business.changes import Change
from weir.consumers.commit.commit import CommitReport, commit
from weir.consumers.commit.recent_marks import RecentMarks
from weir.consumers.events_table import item
from weir.consumers.events_table.item import JudgedEvent
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SignatureMismatch
from weir.ingest.ids import EventId, RequestId, SourceName
from weir.ingest.sources.events import Event

NOW_MS = 1_790_000_000_000
RETENTION_S = 86_400
SOURCE = "shop"


def envelope(request_id: str = "r1", body: bytes = b'{"id":1}', *, age_ms: int = 5) -> Envelope:
    headers = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    return Envelope(
        RequestId(request_id), NOW_MS - age_ms, SourceName(SOURCE), "", "192.0.2.1", "/v1/shop", {}, headers, body
    )


def judged(
    event_id: str,
    changes: Sequence[Change] | None = (),
    *,
    request_id: str = "",
    key: str = "",
    body: bytes = b"",
    index: int = 0,
    count: int = 1,
    position: int = 0,
    age_ms: int = 5,
    event_type: str = "order.paid",
    signs_type: bool = True,
) -> JudgedEvent:
    """Prepare a verified event; its delivery has an id of its own unless one is given."""
    delivery = envelope(request_id or f"r-{event_id}", body or json.dumps({"id": event_id}).encode(), age_ms=age_ms)
    source, made_ms = SourceName(SOURCE), NOW_MS - 9
    event = Event(source, EventId(event_id), event_type, made_ms, key, None, index, delivery, is_type_signed=signs_type)
    return item.apply(
        event,
        changes,
        position=position,
        partition_key=key or f"{delivery.request_id}.{index}",
        retention_s=RETENTION_S,
        count=count,
    )


def forged(request_id: str) -> JudgedEvent:
    """Prepare a delivery whose signature is wrong."""
    return item.quarantine(
        SignatureMismatch(), envelope(request_id), position=0, partition_key=request_id, retention_s=RETENTION_S
    )


def of_record(record: Record) -> JudgedEvent:
    """Prepare a record of the model."""
    if record.is_forged:
        return forged(record.request_id)
    age_ms = RETENTION_S * 1000 if record.is_past else 5
    return judged(
        record.event_id,
        record.changes,
        request_id=record.request_id,
        key=record.partition_key,
        age_ms=age_ms,
        event_type=record.type,
        signs_type=record.signs_type,
    )


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self, left_s: float) -> None:
        self.left_s = left_s
        self.slept: list[float] = []

    def left(self) -> float:
        return self.left_s

    def sleep(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        self.left_s -= duration_s


def run(
    batch: Sequence[JudgedEvent],
    store: object,
    *,
    clock: Clock | None = None,
    recent: RecentMarks | None = None,
    seed: int | None = None,
    concurrency: int = 1,
    now_ms: int = NOW_MS,
) -> CommitReport:
    """Commit a batch, on time that stands still unless something waits."""
    clock = clock or Clock(60.0)
    return commit(
        batch,
        store,  # type: ignore[arg-type]
        deadline=clock.left,
        concurrency=concurrency,
        rng=Random(seed),  # seeded by the system if it need not be the same: no two commits may use a token twice
        sleep=clock.sleep,
        now_ms=now_ms,
        recent=recent,
        refuses_past=True,
    )


def words(report: CommitReport) -> list[str]:
    """Return each outcome as a word, a quarantine with its reason."""
    return [f"{result.outcome} {result.reason}".strip() for result in report.results]

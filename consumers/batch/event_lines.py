"""The log line of an event: the same form whatever commits it, and how a reader finds the event's item by it.

The log is in the order of time, which the events table is not: `weir events` lists the newest events by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir.consumers.batch.logs import LONGEST_VALUE_CHARS, Log
from weir.consumers.events_table.item import EventResult, JudgedEvent, quarantine_key
from weir.consumers.events_table.mark import mark_key, quarantined_key
from weir.consumers.outcome import HELD_BACK, Outcome
from weir.consumers.settings import LOG_LEVELS
from weir.ingest.errors import EventFailed
from weir.ingest.ids import EventId, SourceName

ACTION = "event"
# The reason of a failure that no code foresaw; its detail names a place in the code, never a value.
BUG = EventFailed.code

_LEVELS = {outcome: LOG_LEVELS["INFO" if outcome.is_done else "WARNING"] for outcome in Outcome}


def add_event(log: Log, judged: JudgedEvent, result: EventResult, *, detail: str | None = None, **more: object) -> None:
    """Add the line of one event. ``detail`` holds only words of our own: any other reason may quote the payload."""
    log.add(
        LOG_LEVELS["ERROR"] if result.reason == BUG else _LEVELS[result.outcome],
        ACTION,
        outcome=result.outcome,
        reason=result.reason or (result.error.code if result.error else None),
        detail=detail,
        source=judged.source,
        event_id=judged.event_id,
        type=judged.type,
        request_id=judged.request_id,
        received_at=judged.received_at_ms or None,
        item=_unusual_key(judged, result.outcome),
        **more,
    )


def item_key(line: Mapping[str, Any]) -> str:
    """Return the key of the item of an event's line, as JSON has it."""
    if "item" in line:
        return str(line["item"])
    source = SourceName(line.get("source", ""))
    if line["outcome"] in HELD_BACK:
        return quarantined_key(source, line.get("request_id", ""))
    return mark_key(source, EventId(line.get("event_id", "")))


def _unusual_key(judged: JudgedEvent, outcome: Outcome) -> str | None:
    """Return the key of an event's item if it does not follow from the source, event id and request id of its line."""
    if outcome in HELD_BACK:
        key = quarantine_key(judged)
        return None if key == quarantined_key(judged.source, judged.request_id) else key
    if judged.digest or len(judged.event_id) > LONGEST_VALUE_CHARS:
        return mark_key(judged.source, judged.identity)
    return None

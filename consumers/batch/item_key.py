"""How a log line names the item of its event, so that a reader of the log finds it.

The log is in the order of time, which the events table is not: `weir events` lists the newest events by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir.consumers.batch.logs import LONGEST_VALUE_CHARS
from weir.consumers.events_table.item import JudgedEvent, quarantine_key
from weir.consumers.events_table.mark import mark_key, quarantined_key
from weir.consumers.outcome import HELD_BACK, Outcome
from weir.ingest.ids import EventId, SourceName


def unusual_key(judged: JudgedEvent, outcome: Outcome) -> str | None:
    """Return the key of an event's item if it does not follow from the source, event id and request id of its line."""
    if outcome in HELD_BACK:
        key = quarantine_key(judged)
        return None if key == quarantined_key(judged.source, judged.request_id) else key
    if judged.digest or len(judged.event_id) > LONGEST_VALUE_CHARS:
        return mark_key(judged.source, judged.identity)
    return None


def item_key(line: Mapping[str, Any]) -> str:
    """Return the key of the item of a line whose action is ``event``, as JSON has it."""
    if "item" in line:
        return str(line["item"])
    source = SourceName(line.get("source", ""))
    if line["outcome"] in HELD_BACK:
        return quarantined_key(source, line.get("request_id", ""))
    return mark_key(source, EventId(line.get("event_id", "")))

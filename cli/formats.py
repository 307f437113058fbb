"""How events are printed for people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weir.cli.output import emit, emit_json

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.operate.lookup.events import Table

_PREVIEW_BYTES = 2000
_CLOCKS_MS = 60_000  # by how much two clocks of AWS may differ, and more


def show_row(event: Mapping[str, Any]) -> str:
    """Return one line of the list of events."""
    identity = event["event_id"] or event["request_id"] or event["pk"]
    outcome = f"{event['outcome']}: {event['reason']}" if event["reason"] else event["outcome"]
    return f"{event['received_at']}  {event['source'] or '?':14} {event['type'] or '-':28} {identity:40} {outcome}"


def show_event(place: Place, stored: Table, item: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one event: its facts and its history."""
    from weir.operate.lookup import events as history

    facts = history.summary(item)
    received_at_ms = facts["received_at_ms"] or 0  # of a record from elsewhere any number
    since_ms = min(max(0, received_at_ms - _CLOCKS_MS), round(time.time() * 1000) - _CLOCKS_MS)
    deliveries = place.log_lines(_identifiers(item), since_ms=since_ms)
    if as_json:
        emit_json({**facts, "history": deliveries})
        return
    for name, value in facts.items():
        if value is not None and not name.endswith("_ms"):
            emit(f"{name:14} {value}")
    emit(f"{'body':14} {len(stored.body(item)):,} bytes; --body writes them")
    emit("history")
    emit(f"  {facts['received_at']} received, request {facts['request_id']}")
    for line in deliveries:
        reason = f": {line['reason']}" if line.get("reason") else ""
        emit(f"  {line['time']} {line['outcome']}{reason}, request {line.get('request_id', '?')}")


def _identifiers(item: Mapping[str, Any]) -> list[str]:
    """Return what the consumer's log calls this event."""
    return [item[name]["S"] for name in ("event_id", "request_id") if name in item]


def preview(body: bytes) -> list[str]:
    """Return the start of a body as lines, marked so that none is taken for a line of ours."""
    lines = body[:_PREVIEW_BYTES].decode("utf-8", "backslashreplace").split("\n")
    rest = len(body) - _PREVIEW_BYTES
    if rest > 0:
        lines[-1] += f" ... {rest:,} bytes more; --body writes them all"
    return [f"| {line}" for line in lines]

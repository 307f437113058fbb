"""Whether an origin holds all of the past: tables that are rebuilt from a part of it say less than the present ones."""

from __future__ import annotations

from weir.consumers.outcome import DONE
from weir.ingest.sources.catalogue import DAY_S
from weir.operate.lookup.kept import lifecycle_days
from weir.operate.lookup.stack import Stack
from weir.operate.lookup.times import show_time
from weir.operate.replay.origins.archive_objects import PREFIX, Archive, starts_ms
from weir.operate.replay.origins.from_table import FromTable

_DAY_MS = DAY_S * 1000
# An object of the archive may go up to two days before its rule seems to say: rules count whole days.
_RULE_SLACK_DAYS = 2
_HOUR_MS = 3_600_000


def what_is_missing(stack: Stack, origin: str, since_ms: int | None, now_ms: int) -> str:
    """Return what an origin may not hold of the past, as a part of a sentence; '' if it holds all of it."""
    if since_ms is not None:
        return f"what arrived before {show_time(since_ms)} is left out"
    if origin == "events":
        return _of_table(stack, now_ms)
    if origin == "stream":
        return _of_stream(stack, now_ms)
    return _of_archive(stack, now_ms)


def _of_table(stack: Stack, now_ms: int) -> str:
    lives = stack.lives
    expired = [source for source in stack.catalogue.values() if lives.has_expired(source, now_ms)]
    days = [f"{one.name} ({min(era.life_s for era in lives.of(one)) // DAY_S} days)" for one in expired]
    return f"the events table keeps events only for a while: {', '.join(days)}" if days else ""


def _of_stream(stack: Stack, now_ms: int) -> str:
    begins_ms = stack.lives.begins_ms
    if begins_ms and now_ms < begins_ms + stack.retention_s * 1000:
        return ""
    return f"the stream keeps records for {stack.retention_s // DAY_S} days only"


def _of_archive(stack: Stack, now_ms: int) -> str:
    begins_ms = first_archived_ms(stack)
    if begins_ms is None:
        return "the archive is empty"
    days = lifecycle_days(stack.table.s3, stack.table.bucket, PREFIX)
    made_ms = stack.lives.begins_ms or begins_ms
    if days is not None and now_ms - made_ms > (days - _RULE_SLACK_DAYS) * _DAY_MS:
        return f"the archive keeps objects for {days} days only and begins at {show_time(begins_ms)}"
    oldest_ms = _oldest_event_ms(stack)
    if oldest_ms is not None and oldest_ms < begins_ms - _HOUR_MS:
        return (
            f"the archive begins at {show_time(begins_ms)}, but an event of the table arrived at {show_time(oldest_ms)}"
        )
    return ""


def first_archived_ms(stack: Stack) -> int | None:
    """Return the hour with which the archive begins; None if it holds nothing."""
    archive = Archive(stack.table.s3, stack.table.bucket)
    hours = (at_ms for one in archive.objects() if (at_ms := starts_ms(one.folder)) is not None)
    return next(hours, None)


def _oldest_event_ms(stack: Stack) -> int | None:
    found = FromTable(stack.table, wants=lambda facts: facts["outcome"] in DONE).scan()
    return min((facts["received_at_ms"] for facts in found), default=None)

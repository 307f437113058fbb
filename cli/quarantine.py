"""`weir quarantine`."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from weir.cli import project
from weir.cli.exit_codes import BAD_ANSWER, FINE
from weir.cli.formats import preview, show_event, show_row
from weir.cli.framework import DefaultGroup, IdCommand
from weir.cli.options import SINCE, at_place, json_option, past_marks_option
from weir.cli.output import emit, emit_bytes, emit_json, emit_lines, note
from weir.cli.stacks import consumer_target, events_table
from weir.consumers.outcome import Outcome

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.operate.quarantine import Selection
    from weir.operate.replay.progress import Report

_NONE = "nothing like that is in quarantine"


@click.group(cls=DefaultGroup, default="groups")
def quarantine() -> None:
    """Deliveries that could not be applied. Without a command: groups."""


def selecting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose a part of the quarantine, and hand it the selection."""

    @click.option("--source", default="", metavar="NAME", help="Only this source; `!`: records without an envelope.")
    @click.option("--reason", default="", metavar="CODE", help="Only this reason, as the list shows it.")
    @click.option("--since", metavar="TIME", help=SINCE)
    @click.option("--until", metavar="TIME", help="Only what arrived until then.")
    @functools.wraps(command)
    def with_selection(source: str, reason: str, since: str | None, until: str | None, **options: Any) -> None:
        from weir.operate.lookup.times import parse_window_ms
        from weir.operate.quarantine import Selection

        since_ms, until_ms = parse_window_ms(since, until, int(time.time() * 1000))
        command(selection=Selection(source, reason, since_ms, until_ms), **options)

    return with_selection


@quarantine.command(short_help="Group what is in quarantine by cause. The default.")
@json_option("JSON Lines, one object for each group")
@selecting
@at_place
def groups(place: Place, selection: Selection, as_json: bool) -> None:
    """Group what is in quarantine by cause: how many, first and last arrival, an example."""
    from weir.operate import quarantine as cases
    from weir.operate.lookup.causes import group_quarantined
    from weir.operate.lookup.events import iso

    found = group_quarantined(cases.listing(events_table(place), selection))
    if not found and not as_json:
        note(_NONE)
    for group in found:
        if as_json:
            emit_json(group.as_dict())
            continue
        cause = group.cause
        what = f"{cause.source or '!'} {cause.type}".strip()
        emit(f"{group.count:>8,}  {cause.reason:22} {what:40} {iso(group.first_ms)} to {iso(group.last_ms)}")
        emit(f"{'':>8}  {group.detail}")
        emit(f"{'':>8}  weir quarantine show {group.example}")


@quarantine.command("list", short_help="List what is in quarantine, oldest first.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the N newest.")
@json_option("JSON Lines, one object for each delivery")
@selecting
@at_place
def list_(place: Place, selection: Selection, limit: int | None, as_json: bool) -> None:
    """List what is in quarantine, oldest first."""
    from weir.operate import quarantine as cases

    found = False
    for facts in cases.listing(events_table(place), selection, limit):
        found = True
        if as_json:
            emit_json(dict(facts))
        else:
            emit(show_row(facts))
    if not found and not as_json:
        note(_NONE)


@quarantine.command(cls=IdCommand, short_help="Show one delivery: why, its headers, its bytes.")
@click.argument("identifier", metavar="ID")
@json_option("one JSON object")
@click.option("--body", is_flag=True, help="Write the exact bytes of the body to standard output.")
@at_place
def show(place: Place, identifier: str, as_json: bool, body: bool) -> None:
    """Show one delivery: why it is here, its headers and its bytes. ID is of an event or a request."""
    from weir.ingest.envelope import Envelope
    from weir.operate import quarantine as cases

    stored = events_table(place)
    item = cases.find_delivery(stored, identifier, project.catalogue())
    if body:
        emit_bytes(stored.body(item))
        return
    show_event(place, stored, item, as_json=as_json)
    if as_json:
        return
    delivery = stored.stored(item)
    if isinstance(delivery, Envelope):
        emit(f"{'request':14} {delivery.path} from {delivery.source_ip} {delivery.query or ''}".rstrip())
        for name, value in delivery.headers:
            emit(f"{'':14} {name}: {value}")
    emit_lines(preview(stored.body(item)))


@quarantine.command(short_help="Judge again, and apply what passes now.")
@past_marks_option
@json_option("the report as one JSON object")
@selecting
@at_place
def verify(place: Place, selection: Selection, as_json: bool, past_marks: bool) -> None:
    """Judge again, as of arrival, with today's secrets, schemes and business code; apply what passes now.

    Runs this working tree's business code. Exit code 1 when something failed, that is, could not be judged or applied
    now, or is too old to tell.
    """
    from weir.operate import quarantine as cases
    from weir.operate.replay.progress import NOT_DONE

    def watch(report: Report) -> None:
        note(f"{report.read:,} judged, {report.counts[Outcome.APPLIED]:,} applied")

    table, target = events_table(place), consumer_target(place, project.catalogue(), past_marks=past_marks)
    report = cases.verify(table, selection, target, watch=watch, say=note)
    if as_json:
        emit_json(report.as_dict())
    else:
        emit_lines(report.lines())
    sys.exit(BAD_ANSWER if any(map(report.counts.get, NOT_DONE)) else FINE)


@quarantine.command(cls=IdCommand, short_help="Take deliveries out of the quarantine for good.")
@click.argument("identifiers", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", required=True, metavar="WHY", help="Why; kept with the delivery.")
@json_option("JSON Lines, one object for each delivery")
@at_place
def discard(place: Place, identifiers: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Take deliveries out of the quarantine for good; they stay stored, with the reason."""
    from weir.operate import quarantine as cases

    table, now_ms = events_table(place), int(time.time() * 1000)
    for identifier in identifiers:
        for item in cases.find(table, identifier, project.catalogue()):
            key = item["pk"]["S"]
            done = cases.discard(table, key, reason, now_ms=now_ms)
            if as_json:
                emit_json({"pk": key, "discarded": done})
            else:
                emit(f"{key} {'discarded' if done else 'is not in quarantine any more'}")

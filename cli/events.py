"""`weir events`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from weir.cli import project
from weir.cli.formats import show_event, show_row
from weir.cli.framework import IdCommand
from weir.cli.options import SINCE, at_place, json_option
from weir.cli.output import emit, emit_bytes, emit_json, note
from weir.cli.stacks import events_table, open_stack
from weir.consumers.outcome import LISTED
from weir.ingest.errors import IdUnknown

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.operate.lookup.events import Table


_SHOWN = 100  # how many a person is shown who does not say how many


@click.command(cls=IdCommand)
@click.argument("identifier", required=False, metavar="[ID]")
@click.option("--source", metavar="NAME", help="Only events of this source.")
@click.option("--outcome", type=click.Choice([*map(str, LISTED)]), help="Only events with this outcome.")
@click.option("--type", "event_type", metavar="TYPE", help="Only events of this type; * stands for anything.")
@click.option("--since", metavar="TIME", help=SINCE)
@click.option("--until", metavar="TIME", help="Only what arrived until then.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help=f"Only the N newest. Default: {_SHOWN}; with --json or --since all.",
)
@json_option("JSON Lines, one object for each event")
@click.option("--body", is_flag=True, help="With ID: write the exact bytes of the body to standard output.")
@at_place
def events(
    place: Place,
    identifier: str | None,
    source: str | None,
    as_json: bool,
    body: bool,
    **listed: Any,
) -> None:
    """List what is stored, the newest first; with ID, of an event or a request, show one event with its history.

    \b
    weir events --limit 10
    weir events --source github --type push --since 2h
    weir events --json > events.jsonl     # every event, in the table's order
    """
    stored = events_table(place)
    if identifier is None:
        if body:
            raise click.UsageError("--body needs the ID of an event.")
        _list(place, stored, as_json=as_json, source=source, **listed)
        return
    try:
        matching = _find(place, stored, identifier, [source] if source else list(project.catalogue()))
    except IdUnknown:
        if not _show_given_up(place, identifier, as_json=as_json, body=body):
            raise
        return
    if body:
        emit_bytes(stored.body(matching[0]))
        return
    for item in matching:
        show_event(place, stored, item, as_json=as_json)


def _list(
    place: Place,
    stored: Table,
    *,
    as_json: bool,
    source: str | None,
    outcome: str | None,
    event_type: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
) -> None:
    """Print events, the newest first; all of them as JSON in the table's order, so that none has to be held."""
    from weir.infra import consumer_log
    from weir.operate.lookup.newest import Listed, newest
    from weir.operate.lookup.times import parse_window_ms

    since_ms, until_ms = parse_window_ms(since, until, round(time.time() * 1000))
    wanted = Listed(source or "", outcome or "", event_type or "", since_ms, until_ms)
    if as_json and limit is None and since is None:
        for event in filter(wanted.wants, stored.scan(source=source, outcome=outcome)):
            emit_json(event)
        return
    most = _SHOWN if limit is None and since is None else limit
    found = newest(stored, consumer_log.backwards(place), wanted, most, note)
    for event in found:
        if as_json:
            emit_json(event)
        else:
            emit(show_row(event))
    if not found and not as_json:
        note("no events")
    elif len(found) == most and limit is None:
        note(f"the {most} newest; --limit N lists more")


def _show_given_up(place: Place, identifier: str, *, as_json: bool, body: bool) -> bool:
    """Print a delivery that is in no table, since the event source mapping gave up on it; tell whether it is one."""
    from weir.operate.failures import find_failures
    from weir.operate.lookup.events import iso

    found = find_failures(open_stack(place), place.log_lines, note).given_up(identifier)
    if found is None:
        return False
    content: bytes = found.pop("body")
    if body:
        emit_bytes(content)
        return True
    if as_json:
        emit_json(found)
        return True
    for name, value in found.items():
        if value and not name.endswith("_ms"):
            emit(f"{name:14} {value}")
    emit(f"{'received_at':14} {iso(found['received_at_ms'])}")
    emit(f"{'body':14} {len(content):,} bytes; --body writes them")
    emit(f"weir failures retry {found['group']}")
    return True


def _find(place: Place, stored: Table, identifier: str, sources: Sequence[str]) -> list[dict[str, Any]]:
    """Return the items with this id; of a request that was a duplicate, which has none, those of its event.

    Raises: IdUnknown when neither the table nor the consumer's log knows the id.
    """
    try:
        return stored.find(identifier, sources)
    except IdUnknown:
        lines = place.log_lines([identifier])
        events = {line["event_id"]: line["outcome"] for line in lines if line.get("event_id")}
        if not events:
            raise
        note(f"request {identifier} was a {', '.join(sorted(set(events.values())))}; this is its event:")
        return [item for event_id in events for item in stored.find(event_id, sources)]

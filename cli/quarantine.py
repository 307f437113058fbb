"""The commands of the quarantine: flags to functions and nothing more."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from weir.consumers.outcome import Outcome

if TYPE_CHECKING:
    from weir.ingest.sources.catalogue import Catalogue
    from weir.operate.lookup.events import Table
    from weir.operate.quarantine import Selection
    from weir.operate.replay.loop import Target
    from weir.operate.replay.progress import Report

_PREVIEW_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Tools:
    """What the command line lends: how to find a place (its clients and outputs), its table, sources, how to print."""

    command: type[click.Command]
    group: type[click.Group]
    at_place: Callable[[Callable[..., None]], Callable[..., None]]
    catalogue: Callable[[], Catalogue]
    events_table: Callable[[Any], Table]
    show_row: Callable[[Mapping[str, Any]], str]
    show_event: Callable[..., None]
    say: Callable[[str], None]


def add_commands(main: click.Group, tools: Tools) -> None:
    """Add the group `quarantine`; alone it groups by cause."""

    @main.group(cls=tools.group, invoke_without_command=True)
    @click.pass_context
    def quarantine(ctx: click.Context) -> None:
        """Deliveries that could not be applied; alone: what is in it, grouped by cause."""
        if ctx.invoked_subcommand is None:
            ctx.invoke(quarantine.commands["groups"])

    for add in (_groups, _list, _show, _verify, _discard):
        add(quarantine, tools)


def selecting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose a part of the quarantine, and hand it the selection."""

    @click.option("--source", default="", help="Only of this source; `!` is what is no delivery at all.")
    @click.option("--reason", default="", help="Only for this reason, as the list shows it.")
    @click.option("--since", metavar="TIME", help="Arrived no earlier: 2026-11-23T10:00Z, or 2h for two hours ago.")
    @click.option("--until", metavar="TIME", help="Arrived no later.")
    @functools.wraps(command)
    def with_selection(source: str, reason: str, since: str | None, until: str | None, **options: Any) -> None:
        from weir.operate.lookup.times import parse_window_ms
        from weir.operate.quarantine import Selection

        since_ms, until_ms = parse_window_ms(since, until, int(time.time() * 1000))
        command(selection=Selection(source, reason, since_ms, until_ms), **options)

    return with_selection


def _groups(quarantine: click.Group, tools: Tools) -> None:
    @quarantine.command("groups", cls=tools.command)
    @click.option("--json", "as_json", is_flag=True, help="JSON Lines, one object a group.")
    @selecting
    @tools.at_place
    def groups(place: Any, selection: Selection, as_json: bool) -> None:
        """Group what is in quarantine by cause: how many, first and last arrival, an example."""
        from weir.operate import quarantine as ward
        from weir.operate.lookup.events import iso

        for group in ward.groups(ward.listing(tools.events_table(place), selection)):
            if as_json:
                tools.say(json.dumps(group.as_dict()))
                continue
            cause = group.cause
            what = f"{cause.source or '!'} {cause.type}".strip()
            tools.say(f"{group.count:>8,}  {cause.reason:22} {what:40} {iso(group.first_ms)} to {iso(group.last_ms)}")
            tools.say(f"{'':>8}  {group.detail}")
            tools.say(f"{'':>8}  weir quarantine show {group.example}")


def _list(quarantine: click.Group, tools: Tools) -> None:
    @quarantine.command("list", cls=tools.command)
    @click.option("--limit", type=click.IntRange(1), help="At most so many, the newest.")
    @click.option("--json", "as_json", is_flag=True, help="JSON Lines, one object a delivery.")
    @selecting
    @tools.at_place
    def listing(place: Any, selection: Selection, limit: int | None, as_json: bool) -> None:
        """List what is in quarantine, oldest first."""
        from weir.operate import quarantine as ward

        for facts in ward.listing(tools.events_table(place), selection)[-limit if limit else None :]:
            tools.say(json.dumps(dict(facts)) if as_json else tools.show_row(facts))


def _show(quarantine: click.Group, tools: Tools) -> None:
    @quarantine.command("show", cls=tools.command)
    @click.argument("identifier", metavar="ID")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object.")
    @click.option("--body", is_flag=True, help="Write the exact bytes of the body to standard output.")
    @tools.at_place
    def show(place: Any, identifier: str, as_json: bool, body: bool) -> None:
        """Show one delivery: why it is here, its headers and its bytes."""
        from weir.ingest.envelope import Envelope
        from weir.operate import quarantine as ward

        stored = tools.events_table(place)
        item = ward.find(stored, identifier, tools.catalogue())[0]
        if body:
            sys.stdout.buffer.write(stored.body(item))
            return
        tools.show_event(place, stored, item, as_json=as_json)
        if as_json:
            return
        delivery = stored.stored(item)
        if isinstance(delivery, Envelope):
            tools.say(f"{'request':14} {delivery.path} from {delivery.source_ip} {delivery.query or ''}".rstrip())
            for name, value in delivery.headers:
                tools.say(f"{'':14} {name}: {value}")
        tools.say(preview(stored.body(item)))


def _verify(quarantine: click.Group, tools: Tools) -> None:
    @quarantine.command("verify", cls=tools.command)
    @click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
    @selecting
    @tools.at_place
    def verify(place: Any, selection: Selection, as_json: bool) -> None:
        """Judge again, as of arrival, with today's secrets, schemes and business code; apply what passes now."""
        from weir.operate import quarantine as ward

        def watch(report: Report) -> None:
            click.echo(f"{report.read:,} judged, {report.counts[Outcome.APPLIED]:,} applied", err=True)

        table, target = tools.events_table(place), consumer_target(place, tools.catalogue())
        report = ward.verify(table, selection, target, watch=watch, say=functools.partial(click.echo, err=True))
        tools.say(json.dumps(report.as_dict()) if as_json else "\n".join(report.lines()))


def _discard(quarantine: click.Group, tools: Tools) -> None:
    @quarantine.command("discard", cls=tools.command)
    @click.argument("identifiers", metavar="ID...", nargs=-1, required=True)
    @click.option("--reason", required=True, help="Why; kept with the delivery.")
    @tools.at_place
    def discard(place: Any, identifiers: tuple[str, ...], reason: str) -> None:
        """Take deliveries out of the quarantine for good; they stay stored, with the reason."""
        from weir.operate import quarantine as ward

        table, now_ms = tools.events_table(place), int(time.time() * 1000)
        for identifier in identifiers:
            for item in ward.find(table, identifier, tools.catalogue()):
                done = ward.discard(table, item["pk"]["S"], reason, now_ms=now_ms)
                tools.say(f"{item['pk']['S']} {'discarded' if done else 'is not in quarantine any more'}")


def consumer_target(place: Any, sources: Catalogue) -> Target:
    """Return the consumer in this process, which gives what was refused another chance."""
    from weir.consumers.events_table.store import client_config
    from weir.operate.lookup.marks import Marks
    from weir.operate.lookup.preview import Looker
    from weir.operate.replay.targets import in_process
    from weir.operate.replay.targets.release import Release
    from weir.operate.replay.targets.to_consumer import ToConsumer

    configured = in_process.settings_of(place.outputs())
    dynamodb = place.client_with("dynamodb", client_config(configured.commit_concurrency))
    judge = in_process.make_judge(sources, place.client, configured)
    way = in_process.make_pipeline(judge, dynamodb, configured, s3=place.client("s3"))
    marks = Marks(place.client("dynamodb"), configured.events_table)
    release = Release(place.client("dynamodb"), configured.events_table, marks)
    return ToConsumer(way, marks, Looker(sources), release, retries=True)


def preview(body: bytes) -> str:
    """Return the start of a body in letters that no terminal takes for a command."""
    text = body[:_PREVIEW_BYTES].decode("utf-8", "backslashreplace")
    shown = "".join(letter if letter.isprintable() or letter == "\n" else f"\\x{ord(letter):02x}" for letter in text)
    rest = len(body) - _PREVIEW_BYTES
    return f"{shown} ... {rest:,} bytes more; --body writes them all" if rest > 0 else shown

"""The commands of replay, account and failures: flags to functions and nothing more."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weir.cli import bench as bench_cli
from weir.consumers.outcome import LISTED

if TYPE_CHECKING:
    from weir.ingest.sources.catalogue import Catalogue
    from weir.operate.audit.sources import Stack
    from weir.operate.replay.factory import Bench
    from weir.operate.replay.terminal import Terminal

_TOLD_S = 5.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What the command line lends: where Weir runs, its sources, a folder for checkpoints, how to print and control.

    ``at_place`` gives a command the options that say where, and hands it a place as ``place``: its clients and outputs.
    ``checkpoints`` returns the positions of a place's consumer, None where the service keeps them to itself.
    """

    command: type[click.Command]
    group: type[click.Group]
    at_place: Callable[[Callable[..., None]], Callable[..., None]]
    catalogue: Callable[[], Catalogue]
    folder: Callable[[], Path]
    checkpoints: Callable[[Any], dict[str, dict[str, Any]] | None]
    pause: Callable[[Any], None]
    resume: Callable[[Any], None]
    is_paused: Callable[[Any], bool]
    say: Callable[[str], None]


def add_commands(main: click.Group, tools: Tools) -> None:
    """Add every command of this room."""
    for add in (_replay, _listen, _rebuild, _account, _failures, _lag, bench_cli.add_commands):
        add(main, tools)


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose deliveries."""
    for option in (
        click.option("--where", multiple=True, metavar="TEST", help="Such as '$.data.amount >= 100'; all must hold."),
        click.option("--reason", "reasons", multiple=True, metavar="CODE", help="Reason of a quarantine."),
        click.option(
            "--outcome",
            "outcomes",
            multiple=True,
            type=click.Choice([*map(str, LISTED), "missing"]),
            help="What the table says; missing: nothing.",
        ),
        click.option("--since", metavar="TIME", help="Arrived no earlier: 2026-11-23T10:00Z, or 2h for two hours ago."),
        click.option("--key", "keys", multiple=True, metavar="KEY", help="Ordering key."),
        click.option("--id", "ids", multiple=True, metavar="ID", help="Event id or request id."),
        click.option("--type", "types", multiple=True, metavar="GLOB", help="Type of event, such as 'charge.*'."),
        click.option("--source", "sources", multiple=True, metavar="GLOB", help="Source, such as stripe or 'pay*'."),
    ):
        command = option(command)
    return command


def open_stack(place: Any, tools: Tools) -> Stack:
    """Return the clients and names behind a place."""
    from weir.operate.audit.sources import Stack
    from weir.operate.lookup.events import Table
    from weir.operate.replay.origins.from_stream import AWS, EMULATOR

    outputs = place.outputs()
    return Stack(
        table=Table(place.client("dynamodb"), outputs["EventsTable"], place.client("s3"), outputs["Bucket"]),
        kinesis=place.client("kinesis"),
        stream=outputs["StreamName"],
        service=EMULATOR if place.emulated else AWS,
        catalogue=tools.catalogue(),
        access_log=Path(outputs["AccessLog"]) if "AccessLog" in outputs else None,
        # LocalStack makes the log group and never writes to it.
        access_group=outputs["AccessLogGroup"] if place.kind == "aws" else "",
        logs=place.client("logs") if place.kind == "aws" else None,
        cloudwatch=place.client("cloudwatch") if place.kind == "aws" else None,
        function=outputs["FunctionName"],
        checkpoints=lambda: tools.checkpoints(place),
        has_archive="ArchiveName" in outputs,
    )


def _bench(place: Any, tools: Tools, terminal: Terminal) -> Bench:
    from weir.operate.replay.factory import Bench
    from weir.operate.replay.targets.in_process import settings_of

    return Bench(
        stack=open_stack(place, tools),
        settings=settings_of(place.outputs()),
        client=place.client,
        client_with=place.client_with,
        say=terminal.say,
        stopped=terminal.stopped,
        place=f"{place.label}, {place.outputs().get('Home') or place.outputs()['EventsTable']}",
    )


# ------------------------------------------------------------------------------------------------ replay


def _replay(main: click.Group, tools: Tools) -> None:
    @main.command("replay", cls=tools.command)
    @click.option(
        "--from", "origin", metavar="ORIGIN", help="stream, archive, failures, quarantine, events, or a file."
    )
    @click.option("--to", "target", metavar="TARGET", help="consumer, stream, an http address, or a file.")
    @filters
    @click.option("--until", metavar="TIME", help="Arrived no later; by default now.")
    @click.option("--shard", "shards", multiple=True, metavar="ID", help="Of the stream: only this shard.")
    @click.option("--from-sequence", default="", metavar="N", help="Of one shard: from this sequence number.")
    @click.option("--to-sequence", default="", metavar="N", help="Of one shard: up to this sequence number.")
    @click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="At most so many a second.")
    @click.option("--dry-run", is_flag=True, help="Only say what would become of each event.")
    @click.option("--diff", is_flag=True, help="With --dry-run: and which items would change.")
    @click.option("--plain", is_flag=True, help="To the stream: an entry each, no aggregates.")
    @click.option("--checkpoint", type=click.Path(dir_okay=False, path_type=Path), help="Where to keep the position.")
    @click.option("--resume", type=click.Path(dir_okay=False, path_type=Path), help="Go on from a checkpoint file.")
    @click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
    @tools.at_place
    def replay(place: Any, checkpoint: Path | None, resume: Path | None, as_json: bool, **options: Any) -> None:
        """Send deliveries of the past to the consumer, the stream, an address or a file.

        \b
        weir replay --from stream --since 2h --dry-run --diff
        weir replay --from archive --source stripe --since 2026-11-01 --until 2026-11-08 --to consumer
        weir replay --from quarantine --reason signature_expired --to consumer --rate 50
        weir replay --from stream --to ./today.jsonl.gz
        weir replay --from ./today.jsonl.gz --to http://127.0.0.1:3000/hooks/{source}

        Idempotent: what is applied already stays as it is. Ctrl-C stops cleanly; --resume goes on. Exit code 1 when
        something failed, 2 when it could not begin, 130 when it was stopped.
        """
        from weir.operate.replay import request, runner
        from weir.operate.replay.terminal import Terminal

        if resume:
            request.check_resumed({**options, "checkpoint": checkpoint})
        asked = None if resume else request.asked(options)
        path = resume or checkpoint or tools.folder() / f"replay-{runner.default_name()}.json"
        rate = options["rate"]
        with Terminal(tools.say) as terminal:
            bench = _bench(place, tools, terminal)
            sys.exit(runner.replay(bench, asked, path, terminal, as_json=as_json, rate_per_s=rate))


def _listen(main: click.Group, tools: Tools) -> None:
    @main.command("listen", cls=tools.command)
    @click.option("--to", "target", required=True, metavar="URL", help="{source} and {key} in it are filled in.")
    @filters
    @click.option("--new", "afresh", is_flag=True, help="Begin now, not where it stopped the last time.")
    @tools.at_place
    def listen(place: Any, afresh: bool, **options: Any) -> None:
        """Forward what arrives to a server of your own, as it came; later it goes on where it was stopped."""
        from weir.operate.replay import runner
        from weir.operate.replay.terminal import Terminal

        with Terminal(tools.say) as terminal:
            sys.exit(runner.listen(_bench(place, tools, terminal), options, tools.folder(), terminal, afresh=afresh))


def _rebuild(main: click.Group, tools: Tools) -> None:
    @main.command("rebuild", cls=tools.command)
    @click.argument("tables", nargs=-1, metavar="[TABLE]...")
    @click.option("--from", "origin", default="events", type=click.Choice(["events", "archive", "stream"]))
    @click.option("--since", metavar="TIME", help="Only what arrived since; by default everything.")
    @click.option("--pause", is_flag=True, help="Pause the consumer for the comparison.")
    @click.option("--swap", is_flag=True, help="Pause the consumer and write what differs into the present tables.")
    @click.option("--delete", is_flag=True, help="With --swap: also delete items that no event explains.")
    @click.option("--clean", is_flag=True, help="Only delete the fresh tables that killed or kept rebuilds have left.")
    @click.option("--keep", is_flag=True, help="Keep the fresh tables.")
    @click.option("--json", "as_json", is_flag=True, help="JSON.")
    @tools.at_place
    def rebuild(place: Any, tables: tuple[str, ...], as_json: bool, **options: Any) -> None:
        """Run this working tree's business code over the past into fresh tables and compare with the present ones.

        TABLE is a logical name, such as balances; by default all. Exit code 1 when something differs.
        """
        from weir.operate.rebuild import job as rebuilding
        from weir.operate.replay.terminal import Terminal

        with Terminal(tools.say) as terminal:
            bench = _bench(place, tools, terminal)
            control = rebuilding.Control(lambda: tools.pause(place), lambda: tools.resume(place))
            job = rebuilding.Job(bench, terminal, control, tools.folder(), tables, **options)
            sys.exit(job.run(as_json=as_json))


# ------------------------------------------------------------------------------------------------ account


def _account(main: click.Group, tools: Tools) -> None:
    @main.command("account", cls=tools.command)
    @click.option("--since", default="1d", show_default=True, metavar="TIME", help="Arrived no earlier.")
    @click.option("--until", default="now", show_default=True, metavar="TIME", help="Arrived no later.")
    @click.option(
        "--grace", default="", metavar="SPAN", help="How young may be on its way; 60s on AWS, 10s on LocalStack."
    )
    @click.option("--json", "as_json", is_flag=True, help="JSON.")
    @tools.at_place
    def account(place: Any, since: str, until: str, grace: str, as_json: bool) -> None:
        """Show that everything acknowledged is applied, duplicate, ignored, quarantined or in flight.

        Joins the access log, the stream (the archive, for what is older) and the table. Exit code 1 when something is
        unaccounted for: it is named, with where it was last seen.
        """
        import time

        from weir.operate.audit import account as accounts
        from weir.operate.audit.sources import open_books
        from weir.operate.lookup.times import parse_span_s, parse_window_ms

        now_ms = round(time.time() * 1000)
        usual_s = {"embedded": 0, "localstack": 10}.get(place.kind, 60)
        grace_ms = round(parse_span_s(grace) * 1000) if grace else usual_s * 1000
        since_ms, until_ms = parse_window_ms(since, until, now_ms)
        stack = open_stack(place, tools)
        books = open_books(stack, since_ms or 0, until_ms or now_ms, now_ms, grace_ms=grace_ms)
        closed = accounts.take(books, since_ms or 0, until_ms or now_ms, _teller())
        if books.acknowledged is None:
            none = f"there is no {stack.access_log}" if stack.access_log else f"{place.label} keeps no access log"
            closed.notes.append(f"{none}: what the stream holds counts as acknowledged.")
        for line in [json.dumps(closed.as_dict())] if as_json else closed.lines():
            tools.say(line)
        sys.exit(0 if closed.is_even else 1)


def _teller() -> Callable[[int], None]:
    """Return what says now and then how many deliveries have been looked at."""
    import time

    due_s = time.monotonic() + _TOLD_S

    def tell(count: int) -> None:
        nonlocal due_s
        if time.monotonic() > due_s:
            due_s = time.monotonic() + _TOLD_S
            click.echo(f"{count:,} deliveries looked at", err=True)

    return tell


def _failures(main: click.Group, tools: Tools) -> None:
    group = _with_default(tools.group, "list")("failures", help="What failed and why, grouped by cause.")
    main.add_command(group)

    @group.command("list", cls=tools.command)
    @click.option("--json", "as_json", is_flag=True, help="JSON Lines, one object a group.")
    @tools.at_place
    def failures_list(place: Any, as_json: bool) -> None:
        """List quarantined events and what the mapping gave up on, by cause. The default.

        Of each cause: how many, the first and the last, an example, and for how long the payload is kept.
        """
        from weir.operate.replay import runner

        groups = runner.find_failures(open_stack(place, tools), place.log_lines, tools.say).groups()
        for group in groups:
            tools.say(json.dumps(group.as_dict()) if as_json else runner.show_group(group))
        if not groups and not as_json:
            tools.say("no failures")

    @group.command("retry", cls=tools.command)
    @click.argument("group_id", metavar="GROUP")
    @click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="At most so many a second.")
    @click.option("--dry-run", is_flag=True, help="Only say what would become of each event.")
    @click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
    @tools.at_place
    def failures_retry(place: Any, group_id: str, as_json: bool, **options: Any) -> None:
        """After a mend: judge and apply a group again, in this process. What still fails stays where it is."""
        from weir.operate.replay import runner
        from weir.operate.replay.terminal import Terminal

        with Terminal(tools.say) as terminal:
            bench = _bench(place, tools, terminal)
            found = runner.find_failures(bench.stack, place.log_lines, terminal.say)
            sys.exit(runner.retry(bench, found, group_id, options, terminal, as_json=as_json))


def _with_default(kind: type[click.Group], name: str) -> type[click.Group]:
    """Return a kind of group that takes its arguments for those of one command unless they name another."""

    class WithDefault(kind):  # type: ignore[valid-type,misc]
        def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
            if not args or args[0] not in {*self.commands, "-h", "--help"}:
                args = [name, *args]
            return super().parse_args(ctx, args)  # type: ignore[no-any-return]

    return WithDefault


def _lag(main: click.Group, tools: Tools) -> None:
    @main.command("lag", cls=tools.command)
    @click.option(
        "--over", "over_s", default=2.0, show_default=True, type=click.FloatRange(0), help="Seconds to watch."
    )
    @click.option("--json", "as_json", is_flag=True, help="JSON Lines, one object a shard.")
    @tools.at_place
    def lag(place: Any, over_s: float, as_json: bool) -> None:
        """Show each shard: how far the consumer is behind, what arrives and drains, and the time to loss.

        Time to loss is the stream's retention minus the age of the oldest record that is not done.
        """
        from weir.operate.lag import LagReader, show

        stack = open_stack(place, tools)
        reader = LagReader(
            stack.kinesis,
            stack.stream,
            stack.settled,
            stack.checkpoints,
            retention_s=stack.retention_s,
            service=stack.service,
        )
        shards = reader.measure(over_s)
        for line in [json.dumps(one.as_dict()) for one in shards] if as_json else show(shards):
            tools.say(line)
        if not as_json and tools.is_paused(place):
            tools.say("the consumer is paused: weir resume")

"""`weir replay` and `weir listen`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weir.cli import project
from weir.cli.framework import Command
from weir.cli.options import SINCE, Number, at_place, json_option, past_marks_option
from weir.cli.stacks import replay_context
from weir.cli.terminal import Terminal
from weir.consumers.outcome import LISTED
from weir.operate.replay import origins, targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from weir.infra.place import Place


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose deliveries."""
    for option in (
        click.option(
            "--where", multiple=True, metavar="TEST", help="Only where this holds, such as '$.data.amount >= 100'."
        ),
        click.option(
            "--reason", "reasons", multiple=True, metavar="CODE", help="Only what is quarantined for this reason."
        ),
        click.option(
            "--outcome",
            "outcomes",
            multiple=True,
            type=click.Choice([*map(str, LISTED), "missing"]),
            help="Only with this outcome in the events table; missing: with none.",
        ),
        click.option("--since", metavar="TIME", help=SINCE),
        click.option("--key", "keys", multiple=True, metavar="KEY", help="Only this ordering key."),
        click.option("--id", "ids", multiple=True, metavar="ID", help="Only this event or delivery, by its id."),
        click.option(
            "--type", "types", multiple=True, metavar="GLOB", help="Only this type of event, such as 'charge.*'."
        ),
        click.option(
            "--source", "sources", multiple=True, metavar="GLOB", help="Only this source, such as stripe or 'pay*'."
        ),
    ):
        command = option(command)
    return command


def all_headers_option(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --all-headers."""
    return click.option(
        "--all-headers",
        is_flag=True,
        help="With an HTTP address: send Authorization, Cookie and forwarding headers, too. Default: without.",
    )(command)


@click.command(cls=Command)
@click.option("--from", "origin", metavar="ORIGIN", help=f"Read from {origins.choices()}.")
@click.option("--to", "target", metavar="TARGET", help=f"Deliver to {targets.choices()}.")
@filters
@click.option("--until", metavar="TIME", help="Only what arrived until then. Default: now.")
@click.option("--shard", "shards", multiple=True, metavar="SHARD", help="Read only this shard of the stream.")
@click.option("--from-sequence", default="", metavar="NUMBER", help="Read one shard from this sequence number on.")
@click.option("--to-sequence", default="", metavar="NUMBER", help="Read one shard up to this sequence number.")
@click.option("--rate", type=Number(0, min_open=True), metavar="N", help="At most N deliveries a second.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen to each event.")
@past_marks_option
@click.option("--diff", is_flag=True, help="With --dry-run: also say which items would change.")
@click.option("--plain", is_flag=True, help="With --to stream: one record for each delivery, no KPL aggregates.")
@all_headers_option
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to keep the position. Default: a new file in .weir/replays.",
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Continue the replay of a checkpoint file.",
)
@json_option("the report as one JSON object; with --dry-run JSON Lines, one object for each event before it")
@at_place
def replay(place: Place, checkpoint: Path | None, resume: Path | None, as_json: bool, **options: Any) -> None:
    """Send deliveries of the past to the consumer, the stream, an address or a file.

    \b
    weir replay --from stream --since 2h --dry-run --diff
    weir replay --from archive --source stripe --since 2026-11-01 --until 2026-11-08 --to consumer
    weir replay --from quarantine --reason signature_expired --to consumer --rate 50
    weir replay --from stream --to ./today.jsonl.gz
    weir replay --from ./today.jsonl.gz --to http://127.0.0.1:3000/hooks/{source}

    Idempotent: what is applied already is not applied again, and what is too old to tell is left where it is. Ctrl-C
    stops cleanly; --resume continues. Exit code 1 when something failed or is too old to tell, 2 when it could not
    begin or a service did not answer, 130 when it was stopped.
    """
    from weir.operate.replay import options as replay_options
    from weir.operate.replay import runner

    if resume:
        replay_options.check_resumed({**options, "checkpoint": checkpoint})
    request = None if resume else replay_options.request_of(options)
    path = resume or checkpoint or project.home() / "replays" / f"replay-{runner.default_name()}.json"
    rate = options["rate"]
    with Terminal(as_json=as_json) as terminal:
        context = replay_context(place, terminal)
        sys.exit(runner.replay(context, request, path, rate_per_s=rate))


@click.command(cls=Command)
@click.option(
    "--to", "target", required=True, metavar="URL", help="Where to POST; {source} and {key} in it are filled in."
)
@filters
@all_headers_option
@click.option("--new", "is_new", is_flag=True, help="Begin now, not where it stopped the last time.")
@json_option("JSON Lines, one object for each answer of the server")
@at_place
def listen(place: Place, is_new: bool, as_json: bool, **options: Any) -> None:
    """Forward what arrives to a server of your own, byte for byte; the next call continues where this one stopped."""
    from weir.operate.replay.listen import listen as forward

    with Terminal(as_json=as_json) as terminal:
        context, folder = replay_context(place, terminal), project.home() / "replays"
        sys.exit(forward(context, options, folder, is_new=is_new))

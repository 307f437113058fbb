"""`weir failures`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from weir.cli.framework import DefaultGroup, IdCommand
from weir.cli.options import Number, at_place, json_option, past_marks_option
from weir.cli.output import comments, emit, emit_json, emit_lines
from weir.cli.stacks import open_stack, replay_context
from weir.cli.terminal import Terminal

if TYPE_CHECKING:
    from weir.infra.place import Place


@click.group(cls=DefaultGroup, default="list")
def failures() -> None:
    """What failed and why, grouped by cause. Without a command: list."""


@failures.command("list", short_help="List what failed, by cause. The default.")
@click.option("--source", metavar="NAME", help="Only this source; `!`: records without an envelope.")
@json_option("JSON Lines, one object for each group")
@at_place
def list_(place: Place, source: str | None, as_json: bool) -> None:
    """List quarantined events and what the event source mapping gave up on, by cause.

    For each cause: how many, the first and the last, an example, and how long the payload is kept.
    """
    from weir.consumers.events_table.mark import UNREADABLE
    from weir.operate.failures import find_failures

    found = find_failures(open_stack(place), place.log_lines, comments(as_json=as_json)).groups()
    groups = [group for group in found if source in (None, group.cause.source or UNREADABLE)]
    for group in groups:
        if as_json:
            emit_json(group.as_dict())
        else:
            emit_lines(group.lines())
    if not groups and not as_json:
        emit("no failures" if source is None else f"no failures of source {source}")


@failures.command(cls=IdCommand, short_help="Judge and apply a group again, after the cause is fixed.")
@click.argument("group_id", metavar="GROUP")
@click.option("--rate", type=Number(0, min_open=True), metavar="N", help="At most N deliveries a second.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen to each event.")
@past_marks_option
@json_option("the report as one JSON object; with --dry-run JSON Lines, one object for each event before it")
@at_place
def retry(place: Place, group_id: str, rate: float | None, dry_run: bool, past_marks: bool, as_json: bool) -> None:
    """After the cause is fixed: judge and apply a group again, in this process. What still fails stays where it is.

    Runs this working tree's business code. GROUP is an id that `weir failures` prints. Exit code 1 when something
    failed, that is, could not be judged or applied now, or is too old to tell.
    """
    from weir.operate import failures as cases

    with Terminal(as_json=as_json) as terminal:
        context = replay_context(place, terminal)
        found = cases.find_failures(context.stack, place.log_lines, terminal.say)
        code = cases.retry(context, found, group_id, rate_per_s=rate, dry_run=dry_run, past_marks=past_marks)
        sys.exit(code)

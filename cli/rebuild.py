"""`weir rebuild`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from weir.cli import project
from weir.cli.framework import Command
from weir.cli.options import at_place, json_option
from weir.cli.stacks import replay_context
from weir.cli.terminal import Terminal
from weir.operate.replay.origins import ORIGINS

if TYPE_CHECKING:
    from weir.infra.place import Place


@click.command(cls=Command)
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option(
    "--from",
    "origin",
    default="events",
    show_default=True,
    type=click.Choice([name for name, kind in ORIGINS.items() if kind.holds_all]),
    help="Where the past is read.",
)
@click.option("--since", metavar="TIME", help="Only what arrived since. Default: everything.")
@click.option("--pause", is_flag=True, help="Pause the consumer during the comparison.")
@click.option("--swap", is_flag=True, help="Pause the consumer and write what differs into the present tables.")
@click.option("--delete", is_flag=True, help="With --swap: also delete items that no event explains.")
@click.option("--partial", is_flag=True, help="With --swap: also if the origin holds only a part of the past.")
@click.option("--clean", is_flag=True, help="Only delete the fresh tables that earlier rebuilds have left.")
@click.option("--keep", is_flag=True, help="Keep the fresh tables.")
@json_option("report and differences as one JSON object")
@at_place
def rebuild(place: Place, tables: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Run this working tree's business code over the past into fresh tables and compare with the present ones.

    TABLE is a logical name, such as balances; by default all. Exit code 1 when something differs. An origin that holds
    only a part of the past is named; --swap refuses it, since sums of a part would be written over the whole.
    """
    from weir.infra import control
    from weir.operate.rebuild import job as rebuilding

    with Terminal(as_json=as_json) as terminal:
        context = replay_context(place, terminal)
        switch = rebuilding.Control(lambda: control.pause(place), lambda: control.resume(place))
        job = rebuilding.Job(context, switch, project.home() / "replays", tables, **options)
        sys.exit(job.run())

"""`weir lag`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weir.cli.framework import Command
from weir.cli.options import Number, at_place, json_option
from weir.cli.output import emit, emit_json
from weir.cli.stacks import open_stack

if TYPE_CHECKING:
    from weir.infra.place import Place


@click.command(cls=Command)
@click.option(
    "--over",
    "over_s",
    default=2.0,
    show_default=True,
    type=Number(0),
    metavar="SECONDS",
    help="How long to watch what arrives and drains.",
)
@json_option("JSON Lines, one object for each shard")
@at_place
def lag(place: Place, over_s: float, as_json: bool) -> None:
    """Show each shard: how far the consumer is behind, what arrives and drains, and the time to loss.

    Time to loss is the stream's retention minus the age of the oldest record that is not done.
    """
    from weir.infra import control
    from weir.operate.lag import LagReader, show

    stack = open_stack(place)
    reader = LagReader(
        stack.kinesis,
        stack.stream,
        stack.statuses,
        stack.checkpoints,
        retention_s=stack.retention_s,
        service=stack.service,
    )
    shards = reader.measure(over_s)
    if as_json:
        for one in shards:
            emit_json(one.as_dict())
        return
    for line in show(shards):
        emit(line)
    if control.is_paused(place):
        emit("the consumer is paused; `weir resume` lets it continue")

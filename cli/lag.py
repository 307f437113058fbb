"""`weir lag`."""

from __future__ import annotations

import time
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

    Time to loss is what is left until the oldest record that is not done is given up (MaxRecordAgeSeconds), or gone
    (RetentionHours), whichever comes first. A shard on which nothing drains is shown with what stops it.
    """
    from weir.infra import consumer_log, control
    from weir.operate.lag import LagReader, show, with_reasons

    stack, record_age = open_stack(place), place.outputs().max_record_age_seconds
    reader = LagReader(
        stack.kinesis,
        stack.stream,
        stack.statuses,
        stack.checkpoints,
        retention_s=stack.retention_s,
        record_age_s=float(record_age) if record_age else None,
        service=stack.service,
    )
    shards, is_paused = reader.measure(over_s), control.is_paused(place)
    if not is_paused:
        shards = with_reasons(shards, consumer_log.backwards(place), round(time.time() * 1000))
    if as_json:
        for one in shards:
            emit_json(one.as_dict())
        return
    for line in show(shards):
        emit(line)
    if is_paused:
        emit("the consumer is paused; `weir resume` lets it continue")

"""`weir pause` and `weir resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weir.cli.framework import Command
from weir.cli.options import at_place, json_option
from weir.cli.output import emit, emit_json

if TYPE_CHECKING:
    from weir.infra.place import Place


@click.command(cls=Command)
@json_option("the new state as one JSON object")
@at_place
def pause(place: Place, as_json: bool) -> None:
    """Let the consumer finish what it has begun and rest; the stream keeps what arrives, the table what waits."""
    from weir.infra import control

    control.pause(place)
    if as_json:
        emit_json({"paused": True})
    else:
        emit(
            "paused; `weir resume` lets the consumer continue. `weir lag` shows the time that is left: a record older "
            "than MaxRecordAgeSeconds is given up, and kept as a failure"
        )


@click.command(cls=Command)
@json_option("the new state as one JSON object")
@at_place
def resume(place: Place, as_json: bool) -> None:
    """Let the consumer continue where it stopped."""
    from weir.infra import control

    control.resume(place)
    if as_json:
        emit_json({"paused": False})
    else:
        emit("the consumer continues")

"""The commands of `weir bench`: flags to functions and nothing more."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from weir.cli.replay import Tools


def add_commands(main: click.Group, tools: Tools) -> None:
    """Add the group `bench`."""
    group = main.commands.get("bench") or tools.group("bench", help="Figures, measured in one run.")
    if not isinstance(group, click.Group):
        raise TypeError(group)
    main.add_command(group)

    @group.command("republish", cls=tools.command)
    @click.option("--events", "count", default=100_000, show_default=True, type=click.IntRange(1))
    @click.option("--body", "body_bytes", default=1000, show_default=True, type=click.IntRange(100), help="Bytes.")
    @click.option("--rounds", default=1, show_default=True, type=click.IntRange(1), help="Of each way, in turns.")
    @tools.at_place
    def republish(place: Any, count: int, body_bytes: int, rounds: int) -> None:
        """Put events back into a stream as KPL aggregates and with an entry each: speed, requests, bytes, cost."""
        from weir.operate import bench

        bench.republish(place.client("kinesis"), count, body_bytes, tools.say, rounds)

    @group.command("memory", cls=tools.command)
    @click.option("--events", "count", default=1_000_000, show_default=True, type=click.IntRange(10))
    @click.option("--body", "body_bytes", default=1000, show_default=True, type=click.IntRange(100), help="Bytes.")
    def memory(count: int, body_bytes: int) -> None:
        """Replay a file of events into another one and show that the peak of memory stays where it was."""
        from weir.operate import bench

        with tempfile.TemporaryDirectory(prefix="weir-") as folder:
            bench.memory(Path(folder), count, body_bytes, tools.say)

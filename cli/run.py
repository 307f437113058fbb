"""`weir run`."""

from __future__ import annotations

import sys

import click

from weir.cli import project
from weir.cli.framework import Command
from weir.cli.options import parameters, set_option
from weir.cli.output import emit


@click.command(cls=Command)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="PORT",
    default=8080,
    metavar="PORT",
    help="Port of the gateway on 127.0.0.1. Default: the variable PORT, then 8080.",
)
@set_option
@click.option("--engine-ports", type=(int, int), default=(0, 0), hidden=True, help="Of the stream and of the store.")
@click.option("--engine-via", default="", hidden=True, help="What the parts call instead of the engines: a proxy.")
def run(port: int, settings: tuple[str, ...], engine_ports: tuple[int, int], engine_via: str) -> None:
    """Run everything on this machine until Ctrl-C.

    The state is kept in .weir, or in the folder that WEIR_HOME names, and comes back with the next start. Exit code 1
    when a part ended by itself.
    """
    from weir.cli.project_files import Files
    from weir.infra.local import stack

    code = stack.run(
        project.home(),
        Files(parameters(settings)),
        port=port,
        say=emit,
        engines=stack.EngineAddresses(*engine_ports, engine_via),
        disaggregate=_disaggregate,
    )
    sys.exit(code)


def _disaggregate(data: bytes) -> list[bytes]:
    """Return the records in what may be an aggregate."""
    from weir.consumers.judging import aggregate

    return aggregate.disaggregate(data) if aggregate.looks_aggregated(data) else [data]

"""`weir env`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weir.cli.framework import Command, NoAnswer
from weir.cli.options import at_place
from weir.cli.output import emit

if TYPE_CHECKING:
    from weir.infra.place import Place


@click.command(cls=Command)
@at_place
def env(place: Place) -> None:
    """Print the environment in which the AWS CLI talks to the stack, NAME=VALUE a line.

    The embedded engines answer only calls with the access key of the session, which is new with each start.

    \b
    env $(weir env) aws dynamodb list-tables
    env $(weir env) aws kinesis list-streams
    """
    variables = place.variables()
    if not variables:
        raise NoAnswer("The AWS CLI talks to AWS with your own credentials: there is nothing to set.")
    for name, value in variables.items():
        emit(f"{name}={value}")

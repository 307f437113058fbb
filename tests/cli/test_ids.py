"""Ids as arguments, also those that begin with a minus sign."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from weir.cli.framework import IdCommand


@click.command(cls=IdCommand)
@click.argument("ids", nargs=-1)
@click.option("--reason", default="")
@click.option("--json", "as_json", is_flag=True)
def command(ids: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Print what it was given."""
    click.echo(json.dumps([list(ids), reason, as_json]))


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["-x5STq91YMFOM3w="], [["-x5STq91YMFOM3w="], "", False]),
        (["--5STq91YMFOM3w="], [["--5STq91YMFOM3w="], "", False]),
        (["-hSTq91YMFOM3w="], [["-hSTq91YMFOM3w="], "", False]),
        (["--json", "-N_firebase", "x"], [["x", "-N_firebase"], "", True]),
        (["--reason", "-because", "-x5STq91YMFOM3w="], [["-x5STq91YMFOM3w="], "-because", False]),
        (["--reason=-r", "a"], [["a"], "-r", False]),
        (["a", "--", "-h", "--json"], [["a", "-h", "--json"], "", False]),
    ],
)
def test_an_id_may_begin_with_a_minus_sign(arguments: list[str], given: list[object]) -> None:
    """An argument that begins with a minus sign and is not an option of the command is an id."""
    assert json.loads(CliRunner().invoke(command, arguments).output) == given


@pytest.mark.parametrize("argument", ["--jsn", "--reasn=x", "-q"])
def test_a_mistyped_option_is_still_one(argument: str) -> None:
    """What has the form of an option and not that of a request id stays an error."""
    assert CliRunner().invoke(command, [argument]).exit_code == 2

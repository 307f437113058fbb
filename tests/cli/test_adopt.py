"""`weir deploy --adopt` as a command: what it asks for, and what it refuses before it calls anything."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from weir.cli import deploy
from weir.cli.main import main


@pytest.mark.parametrize(
    ("given", "left", "names"),
    [
        (["--adopt"], True, {}),
        (["--adopt", "--yes"], True, {}),
        (["--adopt", "EventsTable=t"], False, {"EventsTable": "t"}),
        (["--adopt=Bucket=b", "--adopt", "--adopt", "Stream=s"], True, {"Bucket": "b", "Stream": "s"}),
    ],
)
def test_what_is_left_and_what_is_named_go_together(given: list[str], left: bool, names: dict[str, str]) -> None:
    """The bare option asks for what was left; each name goes over that."""
    with deploy.deploy.make_context("deploy", [*given, "--at", "aws"]) as context:
        wish = deploy._wish(context.params["adopt"])
    assert wish is not None
    assert (wish.left, dict(wish.names)) == (left, names)


def test_without_the_option_nothing_is_adopted() -> None:
    """A usual deployment."""
    assert deploy._wish(()) is None


@pytest.mark.parametrize("given", ["EventsTable", "EventsTable=", "=name"])
def test_a_name_that_is_none_is_refused(given: str) -> None:
    """As a wrong option, with the form that is right."""
    with pytest.raises(click.BadParameter):
        deploy._wish([given])
    done = CliRunner().invoke(main, ["deploy", "--at", "aws", "--adopt", given])
    assert (done.exit_code, "Traceback" in done.output) == (2, False)
    assert "--adopt" in done.output


def test_localstack_cannot_import() -> None:
    """It is said at once: a half of the way there would leave a stack without its table."""
    done = CliRunner().invoke(main, ["deploy", "--at", "localstack", "--adopt"])
    assert done.exit_code == 2
    assert "LocalStack 4.14 cannot import" in done.output

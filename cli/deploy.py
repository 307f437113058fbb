"""`weir deploy` and `weir destroy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from weir.cli import project
from weir.cli.framework import Command
from weir.cli.options import choose_place, json_option, parameters, place_options, set_option
from weir.cli.output import comments, emit, emit_json

if TYPE_CHECKING:
    from weir.infra.place import Place

F = TypeVar("F", bound=Callable[..., None])

_DEPLOYABLE = click.Choice(["localstack", "aws"])


def _old_names(*names: str) -> Callable[[F], F]:
    """Return the hidden alias of ``--at`` from before every command had that."""
    return click.option(*names, "to", type=_DEPLOYABLE, hidden=True)


def _deployable(at: str | None, to: str | None, endpoint: str | None, stack: str) -> Place:
    """Return the place to deploy to. Raises: UsageError unless one is named that a stack can be deployed to."""
    if at and to and at != to and click.get_current_context().get_parameter_source("at") is ParameterSource.COMMANDLINE:
        raise click.UsageError(f"--at {at} and --to {to} name two places; --to is the old name of --at.")
    kind = to or at
    if kind not in {"localstack", "aws"}:
        raise click.UsageError("Say where: --at localstack or --at aws. The embedded stack is started by `weir run`.")
    return choose_place(kind, endpoint, stack)


@click.command(cls=Command)
@place_options
@_old_names("--to")
@set_option
@json_option("the outputs as one JSON object")
def deploy(settings: tuple[str, ...], as_json: bool, **where: Any) -> None:
    """Create or update the stack: package, upload, change set, wait, outputs.

    \b
    weir deploy --at localstack
    weir deploy --at aws --stack weir --set RetentionHours=168
    """
    from weir.consumers.business import effects
    from weir.infra import deploy as deployment

    place, given = _deployable(**where), parameters(settings)
    effects.load()  # code that cannot be imported would hold up every event
    if place.kind == "localstack":  # an emulator's data is for throwing away, and its Firehose has to download Java
        given = {"DeletionProtection": "false", "ArchiveMode": "none", **given}
    say = comments(as_json=as_json)
    outputs = deployment.deploy(place, project.catalogue(), given, cache=project.root() / "build", say=say)
    if as_json:
        emit_json(dict(sorted(outputs.as_dict().items())))
        return
    for name, value in sorted(outputs.as_dict().items()):
        emit(f"{name:20} {value}")


@click.command(cls=Command)
@place_options
@_old_names("--to", "--from")
@click.option("--delete-data", is_flag=True, help="Also delete stream, tables and bucket, for good.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option("what was kept as one JSON object")
def destroy(delete_data: bool, yes: bool, as_json: bool, **where: Any) -> None:
    """Delete the stack, after asking; stream, tables and bucket are kept unless --delete-data is given."""
    from weir.infra import deploy as deployment

    place = _deployable(**where)
    if not yes:
        data = "and all its data" if delete_data else "and keep stream, tables and bucket"
        question = f"Delete stack {place.stack} in {place.label} {data}? Its URLs answer nothing from then on"
        click.confirm(question, abort=True, err=True)
    kept = deployment.destroy(place, delete_data=delete_data, say=comments(as_json=as_json))
    if as_json:
        emit_json({"kept": kept})
        return
    for one in kept:
        emit(f"kept {one}")

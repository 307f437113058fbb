"""`weir deploy`, `weir destroy` and `weir record`."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from weir.cli import project
from weir.cli.framework import Command, NoAnswer
from weir.cli.options import at_place, choose_place, json_option, parameters, place_options, set_option
from weir.cli.output import comments, emit, emit_json, note

if TYPE_CHECKING:
    from weir.infra.adopt import Wish
    from weir.infra.business import Business
    from weir.infra.change_sets import Change
    from weir.infra.deploy import Wanted
    from weir.infra.place import Place
    from weir.infra.project_file import EnvironmentSettings

F = TypeVar("F", bound=Callable[..., None])

_IMPORT = """
import sys, time
from pathlib import Path
from weir.consumers import wiring
from weir.consumers.business import effects
began_s = time.perf_counter()
effects.load(sys.argv[1], Path(sys.argv[2]))
print((time.perf_counter() - began_s) * 1000)
"""
_DEPLOYABLE = click.Choice(["localstack", "aws"])


def _old_names(*names: str) -> Callable[[F], F]:
    """Return the hidden alias of ``--at`` from before every command had that."""
    return click.option(*names, "to", type=_DEPLOYABLE, hidden=True)


def _deployable(at: str | None, to: str | None, endpoint: str | None, stack: str | None, env: str | None) -> Place:
    """Return the place to deploy to. Raises: UsageError unless one is named that a stack can be deployed to."""
    if at and to and at != to and click.get_current_context().get_parameter_source("at") is ParameterSource.COMMANDLINE:
        raise click.UsageError(f"--at {at} and --to {to} name two places; --to is the old name of --at.")
    kind = to or at or project.current().environment(env).at
    if kind not in {"localstack", "aws"}:
        raise click.UsageError("Say where: --at localstack or --at aws. The embedded stack is started by `weir run`.")
    return choose_place(kind, endpoint, stack, env)


def stack_options(command: F) -> F:
    """Give a command what a stack is made with: parameters, tags, role, boundary."""
    for option in (
        click.option("--permissions-boundary", metavar="ARN", help="Permissions boundary of every role of the stack."),
        click.option("--role-arn", metavar="ARN", help="Service role that CloudFormation acts with."),
        click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag of the stack; repeatable."),
        set_option,
    ):
        command = option(command)
    return command


def wanted(environment: EnvironmentSettings, options: dict[str, Any]) -> Wanted:
    """Return what to deploy with: an environment's settings, and over them the options given. Takes these out."""
    from weir.infra.change_sets import Options
    from weir.infra.deploy import Wanted
    from weir.infra.project_file import text

    given = {**text(environment.parameters), **parameters(options.pop("settings"))}
    tags = {**environment.tags, **parameters(options.pop("tags"), hint="--tag")}
    role_arn = options.pop("role_arn") or environment.role_arn
    boundary = options.pop("permissions_boundary") or environment.permissions_boundary or ""
    return Wanted(given, Options(tags, role_arn), boundary)


@click.command(cls=Command)
@place_options
@_old_names("--to")
@stack_options
@click.option(
    "--adopt",
    multiple=True,
    is_flag=False,
    flag_value="",
    metavar="[RESOURCE=NAME]",
    help="Take up data that is there: what the last deleted stack of this name has left, or, repeatable, a stream, "
    "table or bucket by its name or ARN, such as EventsTable=NAME.",
)
@click.option("--plan", is_flag=True, help="Show what changes and ask before it does.")
@click.option("--yes", is_flag=True, help="With --plan: do not ask.")
@json_option("the outputs as one JSON object")
def deploy(as_json: bool, plan: bool, yes: bool, adopt: tuple[str, ...], **options: Any) -> None:
    """Create or update the stack: synth, upload, change set, wait, outputs.

    \b
    weir deploy --at localstack
    weir deploy --at aws --stack shop --set RetentionHours=168
    weir deploy --env prod --plan
    weir deploy --at aws --adopt                                  # after weir destroy
    weir deploy --at aws --adopt EventsTable=shop-events-restored # after a restore
    """
    from weir.infra import deploy as deployment

    environment = project.current().environment(options["env"])
    asked = wanted(environment, options)._replace(adopt=_wish(adopt))
    place = _deployable(**options)
    if place.kind == "localstack":
        if adopt:
            raise NoAnswer("LocalStack 4.14 cannot import resources into a stack: --adopt is for AWS alone.")
        # An emulator's data is for throwing away, and its Firehose has to download Java.
        asked = asked._replace(at_first={"DeletionProtection": "false", "ArchiveMode": "none"})
    say = comments(as_json=as_json)
    business = project.business()  # checked: code that cannot be imported would hold up every event
    if business.package:
        say(f"  business code {business.package}: {_import_ms(business):.0f} ms of each cold start, on this machine")
    outputs = deployment.deploy(
        place,
        project.catalogue(),
        business,
        asked,
        cache=project.root() / "build",
        say=say,
        confirm=_ask if plan and not yes else lambda _: True,
    )
    if as_json:
        emit_json(dict(sorted(outputs.as_dict().items())))
        return
    for name, value in sorted(outputs.as_dict().items()):
        emit(f"{name:20} {value}")


def _wish(adopt: Sequence[str]) -> Wish | None:
    """Return what `--adopt` asks for; None without it. Raises: BadParameter."""
    from weir.consumers.events_table.readable import unreadable
    from weir.infra.adopt import Wish

    names = parameters(tuple(one for one in adopt if one), hint="--adopt")
    if empty := [name for name, value in names.items() if not name or not value]:
        raise click.BadParameter(f"{empty[0]}= names nothing.", param_hint="--adopt")
    return Wish("" in adopt, names, unreadable) if adopt else None


def _import_ms(business: Business) -> float:
    """Return how long the import of business code takes where everything of Weir's is imported already; the median.

    Raises: NoAnswer when it cannot be imported in a process of its own.
    """
    command = [sys.executable, "-P", "-c", _IMPORT, business.package, str(business.folder)]
    times = []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            raise NoAnswer(f"The business code {business.package} cannot be imported in a new process: {last}")
        times.append(float(done.stdout.splitlines()[-1]))
    return statistics.median(times)


def _ask(changes: Sequence[Change]) -> bool:
    replaced = sum(bool(change.replaces) for change in changes)
    warning = f", {replaced} of them with a replacement: a replaced table or stream begins empty" if replaced else ""
    return click.confirm(f"Make these {len(changes)} changes{warning}?", err=True)


@click.command(cls=Command)
@place_options
@_old_names("--to", "--from")
@click.option("--delete-data", is_flag=True, help="Also delete stream, tables and bucket, for good.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option("what was kept as one JSON object")
def destroy(delete_data: bool, yes: bool, as_json: bool, **where: Any) -> None:
    """Delete the stack, after asking; stream, tables and bucket are kept unless --delete-data is given."""
    from weir.infra import destroy as destruction

    place = _deployable(**where)
    if not yes:
        for resource in destruction.at_stake(place) if delete_data else []:
            note(f"  {resource}")
        data = "and all its data" if delete_data else "and keep stream, tables and bucket"
        question = f"Delete stack {place.stack} in {place.label} {data}? Its URLs answer nothing from then on"
        click.confirm(question, abort=True, err=True)
    kept = destruction.destroy(place, delete_data=delete_data, say=comments(as_json=as_json))
    if as_json:
        emit_json({"kept": kept})
        return
    for one in kept:
        emit(f"kept {one}")


@click.command(cls=Command)
@at_place
def record(place: Place) -> None:
    """Record how long marks live, after another tool has deployed the stack; `weir deploy` does so by itself.

    Without a record, marks are taken to live for 30 days at most, and more of the past is too old to tell.
    """
    from weir.infra import lifetimes

    outputs, catalogue = place.outputs(), project.catalogue()
    table = place.client("dynamodb").describe_table(TableName=outputs.events_table)["Table"]
    made_ms = round(table["CreationDateTime"].timestamp() * 1000)
    lifetimes.record_after(place, outputs.bucket, catalogue, made_ms=made_ms)
    emit(f"recorded for {', '.join(catalogue)}")

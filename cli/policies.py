"""`weir policies`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weir.cli import project
from weir.cli.framework import Command, NoAnswer
from weir.cli.options import json_option, parameters, set_option
from weir.cli.output import emit_json, emit_lines, note

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.infra.policies.documents import Document, Subject
    from weir.infra.project_file import EnvironmentSettings

_ROLES = ("reader", "operator", "deployer", "cloudformation")
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
_PARTITION = re.compile(r"aws(-[a-z]+)*")


@click.command(cls=Command)
@click.argument("role", type=click.Choice(_ROLES))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write a file for each policy into this folder. Default: print them.",
)
@click.option(
    "--account",
    metavar="ID",
    envvar="AWS_ACCOUNT_ID",
    help="Account, 12 digits. Default: AWS_ACCOUNT_ID, then that of the credentials.",
)
@click.option("--region", metavar="REGION", help="Region. Default: the environment's, then AWS_REGION.")
@click.option("--partition", metavar="NAME", help="Such as aws-cn. Default: the Region's.")
@click.option(
    "--stack", metavar="NAME", envvar="WEIR_STACK", help="Name of the stack. Default: the project's, then weir."
)
@click.option("--env", envvar="WEIR_ENV", metavar="NAME", help="Environment of the project. Default: WEIR_ENV.")
@click.option(
    "--permissions-boundary", metavar="ARN", help="The deployer makes no role without this permissions boundary."
)
@click.option(
    "--role-arn", metavar="ARN", help="CloudFormation acts with this role: the deployer may do less, and pass it."
)
@set_option
@json_option("JSON Lines, one object for each policy, with its name and size")
def policies(role: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Print the IAM policies of a role for one stack: all that its commands need, and no more.

    reader looks at what is stored, operator keeps the stack going, deployer makes and changes it; cloudformation is
    the service role of `weir deploy --role-arn ARN`. Give the same --set as to `weir deploy`: keys of your own, a
    domain, a prefix of the secrets are named. Without --account, AWS is asked whose the credentials are.

    \b
    weir policies operator --stack shop --account 123456789012 --region eu-central-1
    weir policies deployer --env prod --out policies
    """
    from weir.infra.policies import documents

    subject = _subject(role, options)
    made = documents.documents(role, subject)
    names = _names(f"{subject.stack}-{role}", len(made))
    files = [out / f"{name}.json" for name in names] if out else []
    if out:
        _write(out, f"{subject.stack}-{role}", dict(zip(files, made, strict=True)))
    if as_json:
        for number, (name, one) in enumerate(zip(names, made, strict=True)):
            told: dict[str, Any] = {"name": name, "characters": documents.chars(one), "policy": one}
            emit_json({**told, "file": str(files[number])} if files else told)
        return
    if files:
        emit_lines(f"{documents.chars(one):>6,} characters  {path}" for path, one in zip(files, made, strict=True))
        return
    for one in made:
        emit_lines(_pretty(one).splitlines())
    if len(made) > 1:
        note(
            f"{len(made)} policies, one after the other: one may have {documents.MAX_CHARS:,} characters. "
            "--out FOLDER writes each into a file."
        )


def _subject(role: str, options: dict[str, Any]) -> Subject:
    """Return the stack that the options, the project and the credentials name.

    Raises: BadParameter, UsageError, NoAnswer, ProjectInvalid, ParameterInvalid; EffectsInvalid where tables matter.
    """
    from weir.infra import template
    from weir.infra.policies import documents
    from weir.infra.project_file import DEFAULT_STACK, STACK_NAME, text

    environment = project.current().environment(options["env"])
    place = _place(environment, options["region"])
    stack = options["stack"] or environment.stack or DEFAULT_STACK
    region = options["region"] or place.region
    partition = options["partition"] or _partition(region)
    given = {**text(environment.parameters), **parameters(options["settings"])}
    for value, form, hint in (
        (stack, STACK_NAME, "--stack"),
        (region, _REGION, "--region"),
        (partition, _PARTITION, "--partition"),
    ):
        if not re.fullmatch(form, value):
            raise click.BadParameter(f"{value!r} cannot be a name.", param_hint=hint)
    account = _account(options["account"], place)
    loaded = template.load()
    made_of = dict.fromkeys(("ArtifactBucket", "ApiDefinitionKey", "FunctionKey"), "x")
    here = documents.Subject(stack, account, region, partition)
    wanted = documents.lists_of(role)
    return documents.Subject(
        stack,
        account,
        region,
        partition,
        parameters=template.parameters(loaded, {**made_of, **given}),
        boundary=_arn("--permissions-boundary", options["permissions_boundary"] or environment.permissions_boundary),
        role_arn=_arn("--role-arn", options["role_arn"] or environment.role_arn),
        tables=_existing(here) if "tables" in wanted else (),
        secrets=_secrets(here) if "secrets" in wanted else (),
    )


def _place(environment: EnvironmentSettings, region: str | None) -> Place:
    from weir.infra.place import Account, Place

    return Place("aws", "", endpoint=None, account=Account(region or environment.region, environment.profile))


def _partition(region: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return str(boto3.Session().get_partition_for_region(region))
    except BotoCoreError as error:
        raise click.BadParameter(f"{error} Name its --partition.", param_hint="--region") from error


def _account(given: str | None, place: Place) -> str:
    """Return the account that is given, or else that of the credentials."""
    from botocore.exceptions import BotoCoreError, ClientError

    if given is None:
        try:
            return place.account()
        except (BotoCoreError, ClientError) as error:
            raise NoAnswer(f"Whose account it is cannot be asked: {error}\n  Name it: --account ID.") from error
    if not (given.isascii() and given.isdigit() and len(given) == 12):
        raise click.BadParameter(f"{given!r} is not 12 digits.", param_hint="--account")
    return given


def _arn(hint: str, value: str | None) -> str:
    if value and not re.fullmatch(r"arn:[^:*?]+:iam::[^:*?]*:(role|policy)/[^*?]+", value):
        raise click.BadParameter(f"{value!r} is not the ARN of a role or a policy.", param_hint=hint)
    return value or ""


def _existing(subject: Subject) -> Sequence[str]:
    """Return the ARNs of the tables that the project's business code declares as existing."""
    arn = f"arn:{subject.partition}:dynamodb:{subject.region}:{subject.account}:table/"
    tables = [table for table in project.business().tables if table.existing]
    return [one.existing if one.existing.startswith("arn:") else f"{arn}{one.existing}" for one in tables]


def _secrets(subject: Subject) -> Sequence[str]:
    """Return the ARNs of the secrets that the sources keep in Secrets Manager; none without a sources file."""
    from weir.infra.synth import sources_parameters

    if not project.sources_file().exists():
        return ()
    made = sources_parameters(
        project.catalogue(), partition=subject.partition, region=subject.region, account=subject.account
    )
    return [arn for arn in made["SecretsManagerArns"].split(",") if arn]


def _names(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


def _write(folder: Path, name: str, files: dict[Path, Document]) -> None:
    """Write the files, and remove those that an earlier run made of the same role and this one did not."""
    folder.mkdir(parents=True, exist_ok=True)
    stale: Iterable[Path] = (folder / f"{name}.json", *(folder / f"{name}-{number}.json" for number in range(1, 11)))
    for path in stale:
        if path not in files:
            path.unlink(missing_ok=True)
    for path, one in files.items():
        path.write_text(_pretty(one) + "\n", encoding="utf-8")


def _pretty(document: Document) -> str:
    return json.dumps(document, indent=2)

"""`weir synth`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from weir.cli import project
from weir.cli.deploy import stack_options, wanted
from weir.cli.framework import Command
from weir.cli.options import json_option
from weir.cli.output import comments, emit, emit_json


@click.command(cls=Command)
@click.option(
    "--out",
    default="dist",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where to write.",
)
@click.option(
    "--account", metavar="ID", envvar="AWS_ACCOUNT_ID", required=True, help="Account, 12 digits. AWS_ACCOUNT_ID."
)
@click.option("--region", metavar="REGION", help="Region. Default: the environment's, then AWS_REGION.")
@click.option(
    "--stack", metavar="NAME", envvar="WEIR_STACK", help="Name of the stack. Default: the project's, then weir."
)
@click.option("--bucket", metavar="NAME", help="Bucket that the assets will be put into. Default: weir deploy's.")
@click.option("--env", envvar="WEIR_ENV", metavar="NAME", help="Environment of the project. Default: WEIR_ENV.")
@stack_options
@json_option("the files as one JSON object")
def synth(out: Path, account: str, as_json: bool, **options: Any) -> None:
    """Write the finished template, API definition, function package and parameters into a folder. Calls no AWS.

    Put what lies below assets/ into the bucket under the same names, and give template.json and parameters.json to
    CloudFormation, SAM, CDK or Terraform.

    \b
    weir synth --account 123456789012 --region eu-central-1 --bucket my-artifacts
    """
    from weir.infra import deploy as deployment
    from weir.infra import synth as synthesis
    from weir.infra.project_file import DEFAULT_STACK

    environment = project.current().environment(options["env"])
    region = options["region"] or environment.region or os.environ.get("AWS_REGION")
    if not region:
        raise click.UsageError("Name the Region: --region, AWS_REGION, or `region` of the environment.")
    if not (account.isascii() and account.isdigit() and len(account) == 12):
        raise click.BadParameter(f"{account!r} is not 12 digits.", param_hint="--account")
    asked = wanted(environment, options)
    stack = options["stack"] or environment.stack or DEFAULT_STACK
    target = synthesis.Target(stack, account, region, _partition(region), boundary=asked.boundary)
    architecture = asked.given.get("Architecture", "arm64")
    catalogue, business = project.catalogue(), project.business()
    made = synthesis.synthesize(target, catalogue, business, architecture=architecture, cache=project.root() / "build")
    bucket = options["bucket"] or f"weir-artifacts-{account}-{region}"
    values = synthesis.parameters_of(target, catalogue, business, made, bucket=bucket, architecture=architecture)
    values |= asked.given
    deployment.check(catalogue, values, comments(as_json=as_json))
    files = synthesis.write(out, made, values)
    if as_json:
        emit_json({"stack": stack, "bucket": bucket, "files": [str(path) for path in files]})
        return
    for path in files:
        emit(f"{path.stat().st_size:>12,}  {path}")
    emit(f"aws s3 cp --recursive {out / 'assets'} s3://{bucket}/, then create or update {stack} from template.json")


def _partition(region: str) -> str:
    import boto3

    return str(boto3.Session().get_partition_for_region(region))

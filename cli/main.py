"""The command `weir`: the list of all commands, each imported when it is called."""

from __future__ import annotations

import os

import click

from weir.cli.framework import Entry, LazyGroup

SECTIONS = {
    "Run": {
        "run": Entry("run:run", "Run everything on this machine until Ctrl-C."),
        "send": Entry("send:send", "Post a correctly signed sample to a source."),
    },
    "Look": {
        "events": Entry("events:events", "List what is stored, or show one event with its history."),
        "account": Entry("account:account", "Show that nothing acknowledged is lost."),
        "lag": Entry("lag:lag", "Show how far behind the consumer is, shard by shard."),
        "failures": Entry("failures:failures", "Show what failed and why; retry it."),
        "quarantine": Entry("quarantine:quarantine", "Review, retry or discard what is quarantined."),
        "doctor": Entry("doctor:doctor", "Check what a deployment needs, and a stack that runs."),
        "env": Entry("env:env", "Print what the AWS CLI needs to talk to the stack."),
        "items": Entry("items:items", "Print the items of a table of the business code."),
        "effects": Entry("effects:effects", "List the business code: sources, types, functions, tables."),
    },
    "Act": {
        "replay": Entry("replay:replay", "Send deliveries of the past to the consumer or elsewhere."),
        "listen": Entry("replay:listen", "Forward what arrives to a server of your own."),
        "rebuild": Entry("rebuild:rebuild", "Run today's business code over the past and compare."),
        "pause": Entry("control:pause", "Let the consumer rest; the stream keeps what arrives."),
        "resume": Entry("control:resume", "Let the consumer continue where it stopped."),
    },
    "Set up": {
        "sources": Entry("sources:sources", "Check and extend the sources file; list known providers."),
        "secrets": Entry("secrets:secrets", "Set, change and list the secrets of sources."),
        "init": Entry("init:init", "Begin a project of your own in a new folder."),
        "deploy": Entry("deploy:deploy", "Create or update the stack on AWS or LocalStack."),
        "record": Entry("deploy:record", "Record how long marks live, after another tool has deployed."),
        "synth": Entry("synth:synth", "Write the finished template and packages for another tool."),
        "policies": Entry("policies:policies", "Print the IAM policies that a role needs for a stack."),
        "destroy": Entry("deploy:destroy", "Delete the stack; keep its data unless told otherwise."),
        "cost": Entry("cost:cost", "Calculate what a load costs on AWS, part by part."),
    },
    "Prove": {
        "load": Entry("load:load", "Send load, inject faults, and judge the result."),
        "bench": Entry("bench:bench", "Measure the consumer, republishing and memory."),
    },
}


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.option(
    "--project",
    "named",
    envvar="WEIR_PROJECT",
    metavar="FOLDER",
    type=click.Path(exists=True),
    help="The project to work in. Default: WEIR_PROJECT, then the nearest from this folder upwards.",
)
@click.version_option(package_name="weir-webhooks", prog_name="weir", message="%(prog)s %(version)s")
def main(named: str | None) -> None:
    """Weir: webhooks on AWS, never lost, never applied twice.

    `weir COMMAND --help` explains a command. --at, --stack and --endpoint say where Weir runs; the environment
    variables WEIR_AT, WEIR_STACK and WEIR_ENDPOINT set their defaults.
    """
    os.umask(0o077)  # what a command writes may hold secrets and webhooks
    context = click.get_current_context()
    context.obj = named


if __name__ == "__main__":
    main()

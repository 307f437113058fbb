"""The command line: one thin command per capability, flags to functions and nothing more."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weir.cli import quarantine
from weir.cli import sources as sources_cli
from weir.cli.load import Tools, add_bench, load_group
from weir.cli.replay import Tools as ReplayTools
from weir.cli.replay import add_commands as add_replay_commands
from weir.consumers.outcome import LISTED
from weir.infra import KINDS, LOCALSTACK
from weir.ingest.errors import ServiceError

if TYPE_CHECKING:
    import subprocess

    from weir.infra.place import Place
    from weir.infra.sender import Sent
    from weir.ingest.sources.catalogue import Catalogue
    from weir.operate.lookup.events import Table


class Failure(click.ClickException):
    """What ends a command that could not do its work; exit code 1 is an answer, of a kind that nobody likes."""

    exit_code = 2


class Command(click.Command):
    """A command whose errors are one sentence with what to do, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ServiceError as error:
            raise Failure(error.advice) from error
        except BrokenPipeError:  # `weir events | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        except OSError as error:  # a file that cannot be written, a full disk
            raise Failure(str(error)) from error
        except Exception as error:
            if not type(error).__module__.startswith("botocore"):  # which takes 100 ms to import
                raise
            raise Failure(f"{error}\n  Is the stack on, and are these your credentials?") from error


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """Weir: webhooks on AWS, never lost, never applied twice."""


def at_place(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where Weir runs, and hand it the place."""

    @click.option("--at", type=click.Choice(KINDS), envvar="WEIR_AT", help="Where Weir runs; embedded by default.")
    @click.option(
        "--endpoint", metavar="URL", help=f"LocalStack's address, or another AWS endpoint's; else {LOCALSTACK}."
    )
    @click.option("--stack", default="weir", show_default=True, metavar="NAME", help="CloudFormation stack there.")
    @functools.wraps(command)
    def with_place(at: str | None, endpoint: str | None, stack: str, **options: Any) -> None:
        command(place=chosen_place(at, endpoint, stack), **options)

    return with_place


def chosen_place(at: str | None, endpoint: str | None, stack: str) -> Place:
    """Return the place that the options point at."""
    from weir.infra import place

    return place.choose(at, home=home(), stack=stack, endpoint=endpoint)


def project() -> Path:
    """Return the nearest folder, from here upwards, that holds a sources file; else the current one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "sources.yaml").is_file()), here)


def home() -> Path:
    """Return the folder of the embedded stack's state."""
    return Path(os.environ.get("WEIR_HOME") or project() / ".weir").absolute()


def catalogue() -> Catalogue:
    """Return the sources of the sources file."""
    from weir.ingest.sources import catalogue as sources

    return sources.load(sources_file())


def sources_file() -> Path:
    """Return the path of the sources file."""
    return Path(os.environ.get("WEIR_SOURCES") or project() / "sources.yaml")


def emit(line: str) -> None:
    """Print one line now, also into a pipe."""
    click.echo(line)
    sys.stdout.flush()


# ------------------------------------------------------------------------------------------------ running


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), envvar="PORT", default=8080, show_default=True)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter of infra/template.yaml.")
@click.option("--engine-ports", type=(int, int), default=(0, 0), hidden=True, help="Of the stream and of the store.")
@click.option("--engine-via", default="", hidden=True, help="What the parts call instead of the engines: a proxy.")
def run(port: int, settings: tuple[str, ...], engine_ports: tuple[int, int], engine_via: str) -> None:
    """Run everything on this machine until Ctrl-C."""
    from weir.infra.local import stack

    code = stack.run(
        home(),
        port=port,
        sources_file=sources_file(),
        given=parameters(settings),
        say=emit,
        engines=stack.EngineAddresses(*engine_ports, engine_via),
        disaggregate=opened,
    )
    sys.exit(code)


def opened(data: bytes) -> list[bytes]:
    """Return the records in what may be an aggregate."""
    from weir.consumers.judging import aggregate

    return aggregate.disaggregate(data) if aggregate.looks_aggregated(data) else [data]


@main.command()
@click.argument("source")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", default="", help="Ordering key to put in the URL.")
@click.option(
    "--times", default=1, show_default=True, type=click.IntRange(1, 1000), help="Send the same delivery again."
)
@click.option("--tamper", is_flag=True, help="Change the body after it was signed.")
@click.option("--wait", "wait_s", default=10.0, show_default=True, help="Seconds to wait for the outcome; 0: do not.")
@at_place
def send(place: Place, source: str, file: Path | None, key: str, times: int, tamper: bool, wait_s: float) -> None:
    """Post a correctly signed sample, or FILE as its body, the way the provider of SOURCE does."""
    from weir.infra import sender

    body = file.read_bytes() if file else None
    sent = sender.send(place, catalogue(), source, body=body, key=key, times=times, tamper=tamper)
    deadline_s = time.monotonic() + wait_s
    for answer in sent.answers:
        emit(f"{answer.status} {answer.body}")
        if answer.request_id and wait_s:
            emit(f"    {await_outcome(place, sent, answer.request_id, deadline_s)}")
    if not all(answer.request_id for answer in sent.answers):
        if advice := sender.advice(catalogue(), source):
            click.echo(advice, err=True)
        sys.exit(1)


def await_outcome(place: Place, sent: Sent, request_id: str, deadline_s: float) -> str:
    """Return what became of a delivery, once something has."""
    stored = events_table(place)
    while True:
        said = stored.outcome(sent.source, sent.ids_of(request_id), request_id)
        if said or time.monotonic() > deadline_s:
            return said or f"stored, no outcome yet; later: weir events {request_id}"
        time.sleep(0.1)


def events_table(place: Place) -> Table:
    """Return the events table there."""
    from weir.operate.lookup.events import Table

    outputs = place.outputs()
    return Table(place.client("dynamodb"), outputs["EventsTable"], place.client("s3"), outputs["Bucket"])


def confirmations(place: Place, source: str, topics: Sequence[str], is_to_open: bool) -> Iterator[tuple[str, bool]]:
    """Yield what is to be said of each subscription that waits, and whether it went well."""
    from weir.ingest.errors import StackFailed
    from weir.operate import subscriptions

    table = events_table(place)
    for one in list(subscriptions.waiting(table, source, topics)):
        if not is_to_open:
            yield f"{one.topic} waits{f', but {one.problem}' if one.problem else f': {one.url}'}", True
            continue
        try:
            arn = subscriptions.confirm(table, one, ask=subscriptions.ask, now_ms=int(time.time() * 1000))
            yield f"{one.topic} confirmed: {arn}", True
        except StackFailed as error:
            yield f"{one.topic} waits: {error.detail}", False


@main.command()
@click.argument("identifier", required=False, metavar="[ID]")
@click.option("--source", help="Only events of this source.")
@click.option("--outcome", type=click.Choice([str(outcome) for outcome in LISTED]), help="Only this outcome.")
@click.option("--limit", type=click.IntRange(1), help="At most so many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines, one object an event.")
@click.option("--body", is_flag=True, help="With ID: write the exact bytes of the body to standard output.")
@at_place
def events(
    place: Place,
    identifier: str | None,
    source: str | None,
    outcome: str | None,
    limit: int | None,
    as_json: bool,
    body: bool,
) -> None:
    """List what is stored; with ID (of the event or the request) show one with its history."""
    stored = events_table(place)
    if identifier is None:
        if body:
            raise click.UsageError("--body needs the ID of an event.")
        found = stored.listing(source=source, outcome=outcome, limit=limit, in_order=not as_json)
        for event in found:
            click.echo(json.dumps(event) if as_json else show_row(event))
        return
    matching = stored.find(identifier, [source] if source else catalogue())
    if body:
        sys.stdout.buffer.write(stored.body(matching[0]))
        return
    for item in matching:
        show_event(place, stored, item, as_json=as_json)


def show_row(event: Mapping[str, Any]) -> str:
    """Return one line of the list."""
    identity = event["event_id"] or event["request_id"]
    what = f"{event['outcome']}: {event['reason']}" if event["reason"] else event["outcome"]
    return f"{event['received_at']}  {event['source'] or '?':14} {event['type'] or '-':28} {identity:40} {what}"


def show_event(place: Place, stored: Table, item: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one event: its facts, its history and the shape of its body."""
    from weir.operate.lookup import events as history

    facts, deliveries = history.summary(item), place.log_lines(identifiers(item))
    if as_json:
        click.echo(json.dumps({**facts, "history": deliveries}))
        return
    for name, value in facts.items():
        if value is not None and not name.endswith("_ms"):
            click.echo(f"{name:14} {value}")
    click.echo(f"{'body':14} {len(stored.body(item)):,} bytes; --body writes them")
    click.echo("history")
    click.echo(f"  {facts['received_at']} received, request {facts['request_id']}")
    for line in deliveries:
        reason = f": {line['reason']}" if line.get("reason") else ""
        click.echo(f"  {line['time']} {line['outcome']}{reason}, request {line.get('request_id', '?')}")


def identifiers(item: Mapping[str, Any]) -> list[str]:
    """Return what the consumer's log calls this event."""
    return [item[name]["S"] for name in ("event_id", "request_id") if name in item]


@main.command()
@click.option("--json", "as_json", is_flag=True, help="JSON Lines, one object an account.")
@at_place
def balances(place: Place, as_json: bool) -> None:
    """Print the example's ledger: the balances by account."""
    from weir.operate.lookup import events as history

    for account in history.balances(place.client("dynamodb"), place.outputs()["BalancesTable"]):
        if as_json:
            click.echo(json.dumps(account))
        else:
            amounts = ", ".join(f"{amount} {currency}" for currency, amount in account["balances"].items())
            click.echo(f"{account['account']:40} {amounts or '0'}   {account['events']} events")


# ------------------------------------------------------------------------------------------------ deployment


@main.command()
@click.option("--to", "target", required=True, type=click.Choice(["localstack", "aws"]))
@click.option("--endpoint", metavar="URL", help=f"LocalStack's address; by default {LOCALSTACK}.")
@click.option("--stack", default="weir", show_default=True, metavar="NAME")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter of infra/template.yaml.")
def deploy(target: str, endpoint: str | None, stack: str, settings: tuple[str, ...]) -> None:
    """Create or update the stack: package, upload, change set, wait, outputs."""
    from weir.infra import deploy as deployment

    where = chosen_place(target, endpoint, stack)
    given = parameters(settings)
    if target == "localstack":  # an emulator's data is for throwing away, and its Firehose has to download Java
        given = {"DeletionProtection": "false", "ArchiveMode": "none", **given}
    outputs = deployment.deploy(where, catalogue(), given, cache=project() / "build", say=emit)
    for name, value in sorted(outputs.items()):
        emit(f"{name:20} {value}")


@main.command()
@click.option("--to", "--from", "target", required=True, type=click.Choice(["localstack", "aws"]))
@click.option("--endpoint", metavar="URL", help=f"LocalStack's address; by default {LOCALSTACK}.")
@click.option("--stack", default="weir", show_default=True, metavar="NAME")
@click.option("--delete-data", is_flag=True, help="Delete stream, tables and bucket too, for good.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(target: str, endpoint: str | None, stack: str, delete_data: bool, yes: bool) -> None:
    """Take the stack down; what holds data is kept unless you say otherwise."""
    from weir.infra import deploy as deployment

    where = chosen_place(target, endpoint, stack)
    if delete_data and not yes:
        click.confirm(f"Delete stack {stack} in {where.label} and all its data?", abort=True)
    for kept in deployment.destroy(where, delete_data=delete_data, say=emit):
        emit(f"kept {kept}")


@main.command()
@click.option("--rate", default=10.0, show_default=True, type=click.FloatRange(0.001), help="Webhooks/s on average.")
@click.option(
    "--peak", type=click.FloatRange(0.001), help="Webhooks/s at the peak; five times the average if not said."
)
@click.option("--body", default=1500, show_default=True, type=click.IntRange(0, 700_000), help="Bytes of a body.")
@click.option(
    "--write-units",
    default=3.8,
    show_default=True,
    type=click.FloatRange(1),
    help="An event's; reports of loads say it.",
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter of infra/template.yaml.")
@click.option("--json", "as_json", is_flag=True)
def cost(
    rate: float, peak: float | None, body: int, write_units: float, settings: tuple[str, ...], as_json: bool
) -> None:
    """Calculate what a load takes and costs on AWS, part by part, from the template and AWS' list prices.

    \b
    weir cost --rate 100 --peak 1000
    weir cost --rate 100 --set StreamMode=PROVISIONED --set BatchWindowSeconds=5
    """
    from weir.consumers.batch.metrics import UNITS
    from weir.infra import cost as costs
    from weir.infra import template

    if peak is not None and peak < rate:
        raise click.BadParameter(f"{peak:g} is below the average of {rate:g}", param_hint="--peak")
    loaded = template.load()
    deployed = {"ArtifactBucket": "-", "ApiDefinitionKey": "-", "FunctionKey": "-"}
    values = template.parameters(loaded, {**deployed, **parameters(settings)})
    alarms = sum(one["Type"] == "AWS::CloudWatch::Alarm" for one in loaded["Resources"].values())
    kept_days = max(source.dedupe_days for source in catalogue().values())
    load = costs.Load(rate, peak or 5 * rate, body, write_units, kept_days)
    estimate = costs.Estimate(load, values, alarms_count=alarms, metrics_count=len(UNITS))
    if as_json:
        emit(json.dumps(estimate.document()))
        return
    for line in costs.lines(estimate):
        emit(line)


def parameters(settings: tuple[str, ...]) -> dict[str, str]:
    """Split NAME=VALUE options."""
    pairs = [setting.partition("=") for setting in settings]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE", param_hint="--set")
    return {name: value for name, _, value in pairs}


# ------------------------------------------------------------------------------------------------ replay and account


@main.command()
@at_place
def pause(place: Place) -> None:
    """Let the consumer finish what it has begun and rest; the stream keeps what comes."""
    from weir.infra import control

    control.pause(place)
    emit("paused; `weir lag` shows how long the stream keeps what waits, `weir resume` lets the consumer go on")


@main.command()
@at_place
def resume(place: Place) -> None:
    """Let the consumer go on where it stopped."""
    from weir.infra import control

    control.resume(place)
    emit("the consumer goes on")


def controlled(name: str) -> Callable[[Any], Any]:
    """Return a function of weir.infra.control, imported when it is first called."""

    def call(place: Any) -> Any:
        from weir.infra import control

        return getattr(control, name)(place)

    return call


add_replay_commands(
    main,
    ReplayTools(
        command=Command,
        group=Group,
        at_place=at_place,
        catalogue=catalogue,
        folder=lambda: home() / "replays",
        checkpoints=controlled("checkpoints"),
        pause=controlled("pause"),
        resume=controlled("resume"),
        is_paused=controlled("is_paused"),
        say=emit,
    ),
)


# ------------------------------------------------------------------------------------------------ load tests


def load_signing_keys(place: Any) -> dict[str, str]:
    """Return what each source's deliveries can be signed with; sources without a secret are left out.

    On LocalStack, whose data is for throwing away, such a source is given one.
    """
    from weir.infra import signing_keys
    from weir.ingest.errors import SecretUnset

    keys = {}
    for name, source in catalogue().items():
        if place.kind == "localstack":
            signing_keys.provide(place, source)
        try:
            keys[name] = signing_keys.signing_key(place, source)
        except SecretUnset:
            continue
    return keys


def load_embedded(folder: Path) -> Place:
    """Return the embedded stack with its state in a folder."""
    from weir.infra import place

    return place.embedded(folder)


def load_stack(folder: Path, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start `weir run` with its state in a folder; what it says goes to a file."""
    import subprocess

    command = [sys.executable, "-P", "-m", "weir", "run", *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "WEIR_HOME": str(folder.absolute())},
        )


def load_dictionary() -> bytes:
    """Return what the blobs of stored envelopes are deflated with."""
    from weir.consumers.events_table.dictionary import WEBHOOKS_1

    return WEBHOOKS_1


load_tools = Tools(
    group=Group,
    place=chosen_place,
    embedded=load_embedded,
    run_stack=load_stack,
    catalogue=catalogue,
    signing_keys=load_signing_keys,
    dictionary=load_dictionary,
    folder=lambda: home() / "load",
    say=emit,
)
main.add_command(load_group(load_tools))
add_bench(main, load_tools)


quarantine.add_commands(
    main,
    quarantine.Tools(
        command=Command,
        group=Group,
        at_place=at_place,
        catalogue=catalogue,
        events_table=events_table,
        show_row=show_row,
        show_event=show_event,
        say=emit,
    ),
)
sources_cli.add_commands(
    main,
    sources_cli.Tools(
        command=Command,
        group=Group,
        at_place=at_place,
        choose=chosen_place,
        catalogue=catalogue,
        sources_file=sources_file,
        say=emit,
        confirm=confirmations,
    ),
)


if __name__ == "__main__":
    main()

"""A place's parts, as the commands of an operator need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.cli import project
from weir.cli.output import note

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.ingest.sources.catalogue import Catalogue
    from weir.operate.lookup.events import Table
    from weir.operate.lookup.stack import Stack
    from weir.operate.replay.context import ReplayContext
    from weir.operate.replay.ports import Target
    from weir.operate.replay.progress import Console


def events_table(place: Place) -> Table:
    """Return the events table of a place."""
    from weir.operate.lookup.events import Table

    outputs = place.outputs()
    return Table(place.client("dynamodb"), outputs.events_table, place.client("s3"), outputs.bucket)


def open_stack(place: Place) -> Stack:
    """Return the clients and names behind a place."""
    from weir.infra import control
    from weir.operate.lookup.stack import AWS, EMULATOR, Stack

    outputs = place.outputs()
    return Stack(
        table=events_table(place),
        kinesis=place.client("kinesis"),
        stream=outputs.stream_name,
        service=EMULATOR if place.emulated else AWS,
        catalogue=project.catalogue(),
        access_log=outputs.access_log,
        # LocalStack makes the log group and never writes to it.
        access_group=outputs.access_log_group if place.kind == "aws" else "",
        logs=place.client("logs") if place.kind == "aws" else None,
        cloudwatch=place.client("cloudwatch") if place.kind == "aws" else None,
        function=outputs.function_name,
        checkpoints=lambda: control.checkpoints(place),
        has_archive=outputs.archive_name is not None,
    )


def replay_context(place: Place, console: Console) -> ReplayContext:
    """Return what a replay works with at a place."""
    from weir.infra import consumer_log
    from weir.operate.replay.context import ReplayContext
    from weir.operate.replay.targets.in_process import settings_of

    _load_effects(place)
    return ReplayContext(
        stack=open_stack(place),
        settings=settings_of(place.outputs()),
        client=place.client,
        client_with=place.client_with,
        console=console,
        label=f"{place.label}, {place.outputs().home or place.outputs().events_table}",
        log=consumer_log.writer(place, note),
    )


def _load_effects(place: Place) -> None:
    """Load the project's business code; at another place say whose it is, for other code may be deployed there."""
    project.load_effects()
    if place.kind != "embedded":
        current = project.current()
        code = f"the business code {current.package}" if current.package else "no business code"
        note(f"{place.label} is judged here by {code} of {current.root}, not by what is deployed there")


def consumer_target(place: Place, sources: Catalogue, *, past_marks: bool) -> Target:
    """Return the consumer in this process, which gives what was refused another chance."""
    from weir.consumers.events_table.store import client_config
    from weir.infra import consumer_log
    from weir.ingest.sources import mark_lives
    from weir.ingest.sources.mark_lives import MarkLives
    from weir.operate.lookup.horizons import Horizons
    from weir.operate.lookup.preview import Previewer
    from weir.operate.replay.targets import in_process
    from weir.operate.replay.targets.to_consumer import into_table

    _load_effects(place)
    configured = in_process.settings_of(place.outputs())
    dynamodb = place.client_with("dynamodb", client_config(configured.commit_concurrency))
    judge = in_process.make_judge(sources, place.client, configured)
    pipeline = in_process.make_pipeline(judge, dynamodb, configured, s3=place.client("s3"))
    lives = mark_lives.load(place.client("s3"), configured.payload_bucket) or MarkLives()
    horizons = Horizons() if past_marks else Horizons(sources, lives)
    table = configured.events_table
    consumer = into_table(pipeline, Previewer(sources), place.client("dynamodb"), table, horizons, retries=True)
    consumer.log_to(consumer_log.writer(place, note))
    return consumer

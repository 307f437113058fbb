"""`weir bench`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weir.cli import project
from weir.cli.exit_codes import BAD_ANSWER, FINE
from weir.cli.framework import Group
from weir.cli.options import at_place, json_option
from weir.cli.output import comments, emit_json, emit_lines, note

if TYPE_CHECKING:
    from weir.infra.place import Place

_BODY = click.option(
    "--body",
    "body_bytes",
    default=1000,
    show_default=True,
    type=click.IntRange(100),
    metavar="BYTES",
    help="Size of a body.",
)


@click.group(cls=Group)
def bench() -> None:
    """Figures, measured in one run. They hold for a quiet machine."""


@bench.command(short_help="Measure the handler against Powertools and a floor.")
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Measure N times, in turns, and take medians.",
)
@click.option(
    "--batches",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Batches of 500 records in a round.",
)
@click.option("--powertools/--no-powertools", default=True, show_default=True, help="Also measure Powertools.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where batches and Powertools are kept. Default: .weir/bench.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the report as JSON."
)
@json_option("the report as JSON")
def consumer(rounds: int, batches: int, powertools: bool, folder: Path | None, out: Path | None, as_json: bool) -> None:
    """Measure the handler against Powertools and a floor, side by side. Exit code 1 when a target is missed.

    Needs no stack. The targets are for a quiet machine with two cores or more.
    """
    from weir.loadtest.bench import bench_consumer

    where = folder or project.home() / "bench"
    report = bench_consumer.run(where.absolute(), say=note, with_powertools=powertools, rounds=rounds, batches=batches)
    text = json.dumps(report, indent=2)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    emit_lines(text.splitlines() if as_json else bench_consumer.lines(report))
    sys.exit(FINE if bench_consumer.is_reached(report) else BAD_ANSWER)


@bench.command(short_help="Measure KPL aggregates against one record for each event.")
@click.option(
    "--events",
    "count",
    default=100_000,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="How many events.",
)
@_BODY
@click.option(
    "--rounds",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Measure N times, in turns, and take medians.",
)
@json_option("JSON Lines, one object for each round")
@at_place
def republish(place: Place, count: int, body_bytes: int, rounds: int, as_json: bool) -> None:
    """Put events back into a stream as KPL aggregates and one by one: speed, requests, bytes, cost."""
    from dataclasses import asdict

    from weir.operate import bench as measuring

    found = measuring.republish(place.client("kinesis"), count, body_bytes, comments(as_json=as_json), rounds)
    if as_json:
        for one in found:
            emit_json(asdict(one))


@bench.command(short_help="Measure the memory of a replay from file to file.")
@click.option(
    "--events",
    "count",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(10),
    metavar="N",
    help="How many events.",
)
@_BODY
@json_option("the peaks of memory as one JSON object")
def memory(count: int, body_bytes: int, as_json: bool) -> None:
    """Replay a file of events into another file and show that the peak of memory stays flat."""
    from weir.operate import bench as measuring

    with tempfile.TemporaryDirectory(prefix="weir-") as folder:
        peaks = measuring.memory(Path(folder), count, body_bytes, comments(as_json=as_json))
    if as_json:
        emit_json({"events": count, "peak_mib": peaks})

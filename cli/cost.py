"""`weir cost`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from weir.cli import project
from weir.cli.framework import Command
from weir.cli.options import Number, json_option, parameters, set_option
from weir.cli.output import emit, emit_json

if TYPE_CHECKING:
    from weir.infra.flood import Flood, FloodLimits


@click.command(cls=Command)
@click.option("--rate", default=10.0, show_default=True, type=Number(0.001), metavar="N", help="Webhooks/s on average.")
@click.option("--peak", type=Number(0.001), metavar="N", help="Webhooks/s at the peak. Default: five times --rate.")
@click.option(
    "--body", default=1500, show_default=True, type=click.IntRange(0, 700_000), metavar="BYTES", help="Size of a body."
)
@click.option(
    "--write-units",
    default=3.8,
    show_default=True,
    type=Number(1),
    metavar="N",
    help="DynamoDB write units of an event; the report of `weir load` measures them. One more for an event whose "
    "sender does not sign its id: an index has it.",
)
@click.option(
    "--hostile",
    type=Number(0.001),
    metavar="RATE",
    help="Also what a flood of RATE unsigned POSTs/s costs, and what the throttle cuts it to.",
)
@click.option(
    "--hostile-body",
    type=click.IntRange(0, 4_000_000),
    metavar="BYTES",
    help="Size of their bodies. Default: the one that costs most.",
)
@set_option
@json_option("the estimate as one JSON object")
def cost(
    rate: float,
    peak: float | None,
    body: int,
    write_units: float,
    hostile: float | None,
    hostile_body: int | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Calculate what a load takes and costs on AWS, part by part, from the template and AWS's list prices.

    \b
    weir cost --rate 100 --peak 1000
    weir cost --rate 100 --set StreamMode=PROVISIONED --set BatchWindowSeconds=5
    weir cost --rate 100 --hostile 1000 --set ThrottleRate=200
    """
    from weir.consumers.batch.metrics import UNITS
    from weir.infra import cost as costs
    from weir.infra import silence, template
    from weir.infra.cost import alarm_metrics
    from weir.infra.flood import lines as flood_lines
    from weir.infra.synth import silent_hours

    if peak is not None and peak < rate:
        raise click.BadParameter(f"{peak:g} is below the average of {rate:g}", param_hint="--peak")
    loaded = template.load()
    deployed = {"ArtifactBucket": "-", "ApiDefinitionKey": "-", "FunctionKey": "-"}
    values = template.parameters(loaded, {**deployed, **parameters(settings)})
    silent = dict(silence.alarms(silent_hours(project.catalogue()), {}))
    alarms = sum(map(alarm_metrics, [*loaded["Resources"].values(), *silent.values()]))
    kept_days = max(source.dedupe_days for source in project.catalogue().values())
    load = costs.Load(rate, peak or 5 * rate, body, write_units, kept_days)
    estimate = costs.Estimate(load, values, alarms_count=alarms, metrics_count=len(UNITS) + len(silent))
    if hostile is None:
        _show(estimate.document(), costs.lines(estimate), as_json=as_json)
        return
    flood, limits = _flood(hostile, hostile_body, values)
    told = {**estimate.document(), "hostile": flood.document(limits)}
    _show(told, chain(costs.lines(estimate), flood_lines(flood, limits, estimate)), as_json=as_json)


def _flood(rate: float, body: int | None, values: Mapping[str, str]) -> tuple[Flood, FloodLimits]:
    from weir.infra.flood import Flood, FloodLimits
    from weir.infra.synth import throttles
    from weir.ingest.contract import routes

    catalogue = project.catalogue()
    shared = routes.shared_sources(catalogue)
    pairs = len(catalogue) - len(shared) + bool(shared)
    return Flood(rate, body, values), FloodLimits.of(values, throttles(catalogue), pairs)


def _show(document: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        emit_json(dict(document))
        return
    for line in lines:
        emit(line)

"""`weir cost`."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from weir.cli import project
from weir.cli.framework import Command
from weir.cli.options import Number, json_option, parameters, set_option
from weir.cli.output import emit, emit_json, note

if TYPE_CHECKING:
    from weir.infra.costs.bill import Bill
    from weir.infra.flood import Flood, FloodLimits


@click.command(cls=Command)
@click.option("--rate", default=10.0, show_default=True, type=Number(0.001), metavar="N", help="Webhooks/s on average.")
@click.option("--peak", type=Number(0.001), metavar="N", help="Webhooks/s at the peak. Default: five times --rate.")
@click.option(
    "--body", default=1500, show_default=True, type=click.IntRange(0, 700_000), metavar="BYTES", help="Size of a body."
)
@click.option(
    "--write-units",
    type=Number(1),
    metavar="N",
    help="DynamoDB write units of an event; the report of `weir load` measures them. Default: by the size of a body, "
    "and what one change for each event takes: 3.8 for the default.",
)
@click.option("--all", "shows_all", is_flag=True, help="Show the small lines, too.")
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
    hostile: float | None,
    hostile_body: int | None,
    shows_all: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Calculate every line of AWS's bill for a load, from the template, the sources and a list of prices.

    The same load is priced otherwise, too: with a function in front, an HTTP API, and hosted services by their public
    pages. The list has a date, which is said.

    \b
    weir cost --rate 100 --peak 1000
    weir cost --rate 100 --set StreamMode=PROVISIONED --set BatchWindowSeconds=5
    weir cost --rate 100 --hostile 1000 --set ThrottleRate=200
    """
    from weir.infra.costs import cost_report
    from weir.infra.flood import lines as flood_lines

    if peak is not None and peak < rate:
        raise click.BadParameter(f"{peak:g} is below the average of {rate:g}", param_hint="--peak")
    today = datetime.datetime.now(datetime.UTC).date()
    bill = _bill(rate, peak or 5 * rate, options)
    told, lines = cost_report.document(bill, today), cost_report.lines(bill, shows_all=shows_all)
    if warning := bill.reckoning.prices.warning(today):
        note(warning)
    if hostile is None:
        _show(told, lines, as_json=as_json)
        return
    flood, limits = _flood(hostile, hostile_body, bill.reckoning.stack.parameters)
    told = {**told, "hostile": flood.document(limits)}
    _show(told, chain(lines, flood_lines(flood, limits, bill.by_part)), as_json=as_json)


def _bill(rate: float, peak: float, options: Mapping[str, Any]) -> Bill:
    from weir.consumers.batch.metrics import UNITS
    from weir.infra.cost import Estimate, Load
    from weir.infra.costs.bill import Bill
    from weir.infra.costs.billed_stack import BilledStack
    from weir.infra.costs.item import Reckoning
    from weir.infra.prices import Prices

    prices, business = Prices(), project.business()
    given = parameters(options["settings"])
    stack = BilledStack.of(project.catalogue(), business, given, region=prices.region, metrics=len(UNITS))
    load = Load.of(
        rate,
        peak,
        options["body"],
        stack.kept_days,
        write_units=options["write_units"],
        changes_tables=bool(business.tables),
    )
    return Bill(Reckoning(Estimate(load, stack.parameters), stack, prices))


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

"""`weir events` and `weir balances`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from weir.cli import project
from weir.cli.formats import show_event, show_row
from weir.cli.framework import Command, IdCommand
from weir.cli.options import at_place, json_option
from weir.cli.output import emit, emit_json
from weir.cli.stacks import events_table
from weir.consumers.outcome import LISTED

if TYPE_CHECKING:
    from weir.infra.place import Place


@click.command(cls=IdCommand)
@click.argument("identifier", required=False, metavar="[ID]")
@click.option("--source", metavar="NAME", help="Only events of this source.")
@click.option("--outcome", type=click.Choice([*map(str, LISTED)]), help="Only events with this outcome.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the N newest.")
@json_option("JSON Lines, one object for each event")
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
    """List what is stored; with ID, of an event or a request, show one event with its history."""
    stored = events_table(place)
    if identifier is None:
        if body:
            raise click.UsageError("--body needs the ID of an event.")
        for event in stored.listing(source=source, outcome=outcome, limit=limit, in_order=not as_json):
            if as_json:
                emit_json(event)
            else:
                emit(show_row(event))
        return
    matching = stored.find(identifier, [source] if source else project.catalogue())
    if body:
        sys.stdout.buffer.write(stored.body(matching[0]))
        return
    for item in matching:
        show_event(place, stored, item, as_json=as_json)


@click.command(cls=Command)
@json_option("JSON Lines, one object for each account")
@at_place
def balances(place: Place, as_json: bool) -> None:
    """Print the example's ledger: the balances by account, in minor units."""
    from weir.operate.lookup import events as history

    for account in history.balances(place.client("dynamodb"), place.outputs().balances_table):
        if as_json:
            emit_json(account)
            continue
        amounts = ", ".join(f"{amount} {currency}" for currency, amount in account["balances"].items())
        emit(f"{account['account']:40} {amounts or '0'}   {account['events']} events")

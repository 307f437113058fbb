"""`weir items`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from weir.cli.framework import Command
from weir.cli.options import at_place, json_option
from weir.cli.output import emit, emit_json

if TYPE_CHECKING:
    from weir.infra.place import Place


@click.command(cls=Command)
@click.argument("table", required=False)
@click.argument("key", nargs=-1)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N items.")
@json_option("JSON Lines, one object for each item")
@at_place
def items(place: Place, table: str | None, key: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """Print the items of TABLE, a table of the business code; with KEY, those under it. Without TABLE, list the tables.

    KEY is the partition key, and perhaps the sort key after it: `weir items lines order-7 2`.
    """
    from itertools import islice

    from weir.operate.lookup import items as stored

    outputs = place.outputs()
    if table is None:
        for name, real in sorted(json.loads(outputs.tables or "{}").items()):
            if as_json:
                emit_json({"table": name, "name": real})
            else:
                emit(f"{name:24} {real}")
        return
    dynamodb, real = place.client("dynamodb"), outputs.table(table)
    try:
        wanted = stored.key_of(dynamodb, real, key)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="KEY") from error
    schema = dynamodb.describe_table(TableName=real)["Table"]["KeySchema"]
    order = {part["AttributeName"]: number for number, part in enumerate(schema)}
    for item in islice(stored.items(dynamodb, real, wanted), limit):
        shown = {
            name: stored.plain(item[name])
            for name in sorted(item, key=lambda name: (order.get(name, len(order)), name))
        }
        if as_json:
            emit_json(shown)
        else:
            emit("  ".join(f"{name}={_text(value)}" for name, value in shown.items()))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

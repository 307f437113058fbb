"""`weir effects`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from weir.cli import project
from weir.cli.framework import Command
from weir.cli.options import json_option
from weir.cli.output import emit, emit_json

if TYPE_CHECKING:
    from weir.consumers.business.effects import Registration
    from weir.consumers.business.tables import Table
    from weir.ingest.sources.catalogue import Catalogue


@click.command(cls=Command)
@json_option("JSON Lines, one object for each effect, then one for each table")
def effects(as_json: bool) -> None:
    """List the business code: for which source and types each function is, and the tables, with what looks wrong."""
    from weir.consumers import checks
    from weir.consumers.business import effects as registry

    declared = project.load_effects()
    catalogue = project.catalogue()
    for one in registry.registered():
        warning = _warning(one, catalogue)
        facts = {"source": one.owner, "type": one.pattern, "function": one.name, "tables": checks.tables_of(one)}
        if as_json:
            emit_json({**facts, "warning": warning or None})
        else:
            emit(_effect_line(one, checks.tables_of(one)))
            if warning:
                emit(f"{'':24} warning: {warning}")
    for table in declared.values():
        if as_json:
            emit_json(_table_facts(table))
        else:
            emit(f"table {table!s:18} {_table_line(table)}")
    if not declared and not registry.registered() and not as_json:
        emit(f"{project.root()} has no business code: events are stored, and change nothing. See `weir init`.")


def _warning(one: Registration, catalogue: Catalogue) -> str:
    """Return why no event may ever find an effect; empty if nothing speaks against it."""
    from weir.ingest.sources import presets

    preset = catalogue[one.owner].preset if one.owner in catalogue else one.owner
    if preset is not None and preset not in presets.names():
        return "no source and no preset has this name, so that no event finds it"
    if one.owner not in {*catalogue, *(source.preset for source in catalogue.values())}:
        return f"no source has this preset: `weir sources add {one.owner}`"
    known = _sample_type(preset)
    if known and _separators(known) and not _separators(known) & _separators(one.pattern) and _separators(one.pattern):
        return f"types of {preset} are written like {known}: does any event have such a type?"
    return ""


def _sample_type(preset: str | None) -> str:
    """Return the type of a preset's sample: how its provider writes types. Empty for a source without a preset."""
    from weir.ingest.errors import SampleInvalid
    from weir.ingest.sources.catalogue import Catalogue
    from weir.testing import sample_events

    if preset is None:
        return ""
    try:
        return sample_events.make(sample_events.source_of(Catalogue({}), preset), values={}).type
    except SampleInvalid:
        return ""


def _separators(text: str) -> set[str]:
    return {letter for letter in text if letter in "./:-_"}


def _effect_line(one: Registration, tables: list[str]) -> str:
    return f"{one.owner:24} {one.pattern:32} {one.name:44} {', '.join(tables)}"


def _table_facts(table: Table) -> dict[str, Any]:
    facts: dict[str, Any] = {"table": str(table), "key": {name: kind.__name__ for name, kind in table.key.items()}}
    facts |= {"ttl": table.ttl or None, "indexes": [index.name for index in table.indexes]}
    return {**facts, "existing": table.existing or None}


def _table_line(table: Table) -> str:
    parts = [", ".join(f"{name} ({kind.__name__})" for name, kind in table.key.items())]
    parts += [f"TTL {table.ttl}"] if table.ttl else []
    parts += [f"index {index.name}" for index in table.indexes]
    parts += [f"existing {table.existing}"] if table.existing else []
    return "; ".join(parts)

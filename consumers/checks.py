"""What can be known of business code before any event comes: its changes name tables, keys and types as declared.

Two ways, since neither sees all: the text of each change that names its table and key in place, and the shipped sample
of each source, given to its effect. What neither sees is checked when a change is compiled, and quarantined.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

from weir.consumers.business import effects
from weir.consumers.business.changes import Check, Delete, Put, Update
from weir.consumers.business.tables import WIRE_TYPES, Table
from weir.consumers.events_table.actions import compile_changes
from weir.ingest.errors import ChangeInvalid, EffectsInvalid, ServiceError
from weir.ingest.schemes import signatures
from weir.ingest.sources import events, samples
from weir.ingest.sources.catalogue import Source

_ANY_TIME_MS = 1_700_000_000_000
_CHANGES = (Put, Update, Delete, Check)
# The members of a change whose names may be attributes of an index.
_WRITTEN = {"attributes", "set"}
_POSITIONS = {Put: ("table", "key", "attributes"), Update: ("table", "key", "set")}


def check(catalogue: Mapping[str, Source]) -> None:
    """Raises: EffectsInvalid, with file and line of each change that no declared table could take."""
    declared = effects.tables()
    found = [problem for module in effects.modules() for problem in _problems(module, declared)]
    if not found and effects.modules():
        found = [problem for source in catalogue.values() for problem in _of_samples(source, declared)]
    if found:
        raise EffectsInvalid("\n  ".join(found))


def _of_samples(source: Source, declared: Mapping[str, Table]) -> Iterator[str]:
    """Yield what is wrong with the changes that an effect asks for when it is given the source's sample.

    What an effect refuses or cannot read says nothing: a sample need not be what the code expects.
    """
    try:
        found = events.extract(source, samples.delivery(source, _secret_of(source), at_ms=_ANY_TIME_MS).envelope())
    except (ServiceError, ValueError):
        return
    for event in found:
        run = effects.find(source.name, source.preset or "", event.type)
        if run is None:
            continue
        if problem := _of_sample(run, event, declared):
            yield f"the effect of {source.name} {event.type}, given the sample of {source.preset}: {problem}"


def _of_sample(run: effects.Effect, event: events.Event, declared: Mapping[str, Table]) -> str:
    try:
        compile_changes(run(event), {str(name): str(name) for name in declared})
    except ChangeInvalid as error:
        return str(error)
    except (Exception, SystemExit):  # noqa: BLE001 - the code does not take the sample
        return ""
    return ""


def _secret_of(source: Source) -> str:
    return signatures.generate_secret(source.scheme, bytes(32)).sign_with


def _problems(module: ModuleType, declared: Mapping[str, Table]) -> Iterator[str]:
    for line, given in _changes(module):
        for problem in _of_change(given, module, declared):
            yield f"{module.__file__}:{line}: {problem}"


def _changes(module: ModuleType) -> Iterator[tuple[int, dict[str, ast.expr]]]:
    """Yield line and arguments, by name, of each change that the text of a module makes."""
    if not (module.__file__ or "").endswith(".py"):
        return
    path = Path(str(module.__file__))
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Call) and (kind := _resolve(node.func, module)) in _CHANGES:
            given = dict(zip(_POSITIONS.get(kind, ("table", "key")), node.args, strict=False))
            given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            yield node.lineno, given


def _of_change(given: Mapping[str, ast.expr], module: ModuleType, declared: Mapping[str, Table]) -> Iterator[str]:
    name = _resolve(given["table"], module) if "table" in given else None
    if not isinstance(name, str):
        return  # computed: it is checked when the change is compiled
    table = declared.get(name)
    if table is None:
        listed = ", ".join(declared) or "none"
        yield f"no table {str(name)!r} is declared at the top level of the package's modules; declared: {listed}."
        return
    names = _names(given.get("key"))
    if names is not None and set(names) != set(table.key):
        yield f"the key of {str(table)!r} is {', '.join(table.key)}, not {', '.join(names) or 'empty'}."
    types = {name: kind for index in table.indexes for name, kind in index.key.items()}
    for member, known in (("key", table.key), *((member, types) for member in _WRITTEN)):
        yield from _wrong_types(given.get(member), known, table)


def _wrong_types(node: ast.expr | None, known: Mapping[str, type], table: Table) -> Iterator[str]:
    if not isinstance(node, ast.Dict):
        return
    for name, value in zip(node.keys, node.values, strict=True):
        if name is None:  # ** of another dict
            continue
        wanted = known.get(str(name.value)) if isinstance(name, ast.Constant) else None
        written = _type(value)
        if wanted is not None and written is not None and WIRE_TYPES.get(written) != WIRE_TYPES[wanted]:
            yield f"{ast.unparse(name)} of {str(table)!r} is {wanted.__name__}, not {written.__name__}."


def _type(node: ast.expr) -> type | None:
    """Return the type that an expression surely has; None if it depends."""
    if isinstance(node, ast.JoinedStr):
        return str
    if isinstance(node, ast.Constant):
        return type(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return {"str": str, "int": int, "float": float, "bytes": bytes, "Decimal": Decimal}.get(node.func.id)
    return None


def _names(node: ast.expr | None) -> list[str] | None:
    """Return the names of a dict that is written out; None of anything else."""
    if not isinstance(node, ast.Dict) or not all(isinstance(key, ast.Constant) for key in node.keys):
        return None
    return [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]


def _resolve(node: ast.expr, module: ModuleType) -> Any:
    """Return what a name or a dotted name of a module means, or a text itself; None of anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return vars(module).get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_resolve(node.value, module), node.attr, None)
    return None


def tables_of(registration: effects.Registration) -> list[str]:
    """Return the tables that an effect's module changes, by name: those that its text names in place."""
    module = sys.modules.get(registration.function.__module__)
    if module is None or not (module.__file__ or "").endswith(".py"):
        return []
    named = (_resolve(given["table"], module) for _, given in _changes(module) if "table" in given)
    return sorted({str(name) for name in named if isinstance(name, str)})

"""docs/reference/sources.md: every field of the sources file, from its JSON Schema and the models behind it."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.docs import markdown
from weir.ingest import locations

SCHEMA = Path(locations.__file__).parent / "sources" / "sources.schema.json"
# The order in which a reader needs them, and what to call them; all other models are schemes, called by their `alg`.
_TITLES = {
    "SourceEntry": "Source",
    "EventSpec": "Event",
    "EventTime": "Event time",
    "Throttle": "Throttle",
    "Handshake": "Handshake",
    "Match": "Question",
    "Reply": "Reply",
    "Ack": "Acknowledgement",
    "ContentScheme": "Scheme for signed content",
    "Key": "Key",
    "SignatureAt": "Signature",
    "TimestampAt": "Timestamp",
    "AnyOf": "Several schemes",
}

# What the schema leaves to the name of a field, by the field or by model and field; tests hold both lists together.
MEANINGS = {"alg": "the algorithm, which names the scheme"}


def page() -> str:
    """Return the page."""
    models = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    names = [*_TITLES, *sorted(models.keys() - _TITLES.keys())]
    return markdown.page(
        "Sources file",
        "`sources.yaml` maps the name of each source to its definition. A name has lower-case letters, digits and `-`, and is a part of the URL. `weir sources check`\n"
        "validates the file, `weir sources schema` prints the JSON Schema that editors complete it with. The [presets](presets.md) are examples of every field.",
        "## Locations",
        "A location says where a value is in a delivery.",
        markdown.table(["location", "what it reads"], _locations()),
        *(part for name in names for part in _model(name, models[name])),
    )


def fields() -> dict[str, str]:
    """Return the schema's own description of every field, by model and field; "" where it has none."""
    models = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    return {
        f"{name}.{field}": spec.get("description", "")
        for name, model in models.items()
        for field, spec in model.get("properties", {}).items()
    }


def _locations() -> Iterator[tuple[str, str]]:
    """Yield the rows of the table in the module's docstring."""
    for line in (locations.__doc__ or "").splitlines():
        if found := re.match(r"``(.+?)``\s+(.+)", line):
            yield markdown.code(found[1]), markdown.sentence(found[2].replace("``", "`"))


def _model(name: str, model: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {_title(name, model)}"
    yield " ".join(model.get("description", "").replace("``", "`").split())
    required = model.get("required", [])
    yield markdown.table(
        ["field", "value", "default", "meaning"],
        [
            (markdown.code(field), _type(spec), _default(field, spec, required), _meaning(name, field, spec))
            for field, spec in model.get("properties", {}).items()
        ],
    )


def _title(name: str, model: Mapping[str, Any]) -> str:
    if name in _TITLES:
        return _TITLES[name]
    alg = model["properties"]["alg"]
    return f"Scheme {', '.join(alg.get('enum', [alg.get('const')]))}"


def _meaning(name: str, field: str, spec: Mapping[str, Any]) -> str:
    text = spec.get("description") or MEANINGS.get(f"{name}.{field}") or MEANINGS[field]
    return markdown.sentence(text)


def _default(field: str, spec: Mapping[str, Any], required: list[str]) -> str:
    if field in required:
        return "(required)"
    default = spec.get("default")
    if not default or isinstance(default, dict):
        return "" if default is not False else "`false`"
    return markdown.code(default if isinstance(default, str) else json.dumps(default))


def _type(spec: Mapping[str, Any]) -> str:
    """Return what a field may hold."""
    if "$ref" in spec:
        title = _TITLES[spec["$ref"].rpartition("/")[2]].lower()
        return f"[{title}](#{title.replace(' ', '-')})"
    if "enum" in spec or "const" in spec:
        return ", ".join(markdown.code(value) for value in spec.get("enum", [spec.get("const")]))
    if options := spec.get("anyOf") or spec.get("oneOf"):
        refs = [option for option in options if option.get("type") != "null"]
        if any(option.get("$ref", "").endswith("/ContentScheme") for option in refs):
            return "a scheme"
        return " or ".join(dict.fromkeys(_type(option) for option in refs))
    if spec.get("type") == "array":
        return f"list of {_type(spec['items']).replace('a scheme', 'schemes')}" if "items" in spec else "list"
    if spec.get("type") == "object":
        return f"names with {_type(spec['additionalProperties'])}" if "additionalProperties" in spec else "names"
    return _scalar(spec)


def _scalar(spec: Mapping[str, Any]) -> str:
    kind = {"string": "text", "boolean": "true or false", "integer": "whole number", "number": "number"}[spec["type"]]
    low, high = spec.get("minimum"), spec.get("maximum")
    if low is not None and high is not None:
        return f"{kind} from {low} to {high}"
    if spec.get("exclusiveMinimum") == 0:
        return f"{kind} above 0"
    return kind if low is None else f"{kind}, at least {low}"

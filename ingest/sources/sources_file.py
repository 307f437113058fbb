"""The sources file: YAML that people edit, merged with the presets; mistakes are given with line, field and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from weir.ingest.errors import CatalogueInvalid
from weir.ingest.locations import Location
from weir.ingest.schemes.any_of import AnyOf
from weir.ingest.schemes.base import AnyScheme
from weir.ingest.sources import presets
from weir.ingest.sources.catalogue import (
    DEFAULT_DEDUPE_DAYS,
    MAX_CONTENT_TYPES,
    SILENT_HOURS_MAX,
    SSM,
    UNTIMED_DEDUPE_DAYS,
    Ack,
    Catalogue,
    Definition,
    EventSpec,
    Handshake,
    HeaderName,
    MediaType,
    SecretStore,
    Source,
    Throttle,
    ValidName,
)
from weir.ingest.strict import Strict

_Path = tuple[str | int, ...]

# What a source may change in its scheme without repeating the scheme.
_INTO_SCHEME = ("tolerance_s", "url")

_REMEDIES = {
    "extra_forbidden": "remove it, or correct its name",
    "missing": "add it",
    "string_pattern_mismatch": "change it so that it fits",
}


class SourceEntry(Strict):
    """One source. A `preset`, or a `scheme` in full; all else is optional."""

    preset: str | None = Field(default=None, description="a provider's name; `weir sources presets` lists them")
    scheme: AnyScheme | None = Field(
        default=None, description="how a delivery is verified, in place of the preset's scheme"
    )
    event: EventSpec | None = Field(
        default=None,
        description="where id, type and time are; replaces the preset's, unless it has `repeats` or `varies` alone",
    )
    url: str | None = Field(
        default=None,
        pattern=r"^https?://[^?#\s]+(\?[^#\s]+)?$",
        description="the public URL with its query, exactly as the provider was given it, for schemes that sign it",
    )
    tolerance_s: int | None = Field(default=None, ge=1, description="how long before its arrival a signed time may be")
    dedupe_days: int | None = Field(
        default=None,
        ge=1,
        le=3650,
        description=f"how long a repeated event is recognised; by default {DEFAULT_DEDUPE_DAYS} days, longer where the "
        f"provider needs it, and {UNTIMED_DEDUPE_DAYS} where no signed time is judged",
    )
    throttle: Throttle | None = Field(
        default=None,
        description="requests per second and burst at the gateway, for each method of each of the source's two paths",
    )
    silent_after_hours: int | None = Field(
        default=None,
        ge=1,
        le=SILENT_HOURS_MAX,
        description="after how many hours without a delivery that a secret has proven an alarm rings; a little more "
        "than its longest usual pause. Metric and alarm cost 0.40 USD a month",
    )
    key: Location | None = Field(
        default=None, description="the ordering key shown with events; the partition key is in the URL"
    )
    redact: tuple[HeaderName, ...] = Field(
        default=("Cookie", "Authorization"), description="headers that are not stored"
    )
    effects: bool = Field(default=True, description="false: events are stored and business code does not run")
    secret: SecretStore = Field(
        default=SSM, description="where its secrets are kept: `ssm`, or `secretsmanager:` and a name or ARN"
    )
    handshake_function: bool = Field(
        default=False,
        description="true: a function of its own answers questions in a body, and those whose answer needs a key",
    )
    retry_window_s: int | None = Field(default=None, ge=0, description="how long the provider repeats a delivery")
    content_type: str | None = Field(default=None, description="the Content-Type that the provider sends, for samples")
    content_types: tuple[MediaType, ...] = Field(
        default=(),
        max_length=MAX_CONTENT_TYPES,
        description="what the gateway stores beside the types that it stores for every source, without parameters such "
        "as charset, e.g. `application/vnd.example+json`; all others are answered 415",
    )
    handshakes: tuple[Handshake, ...] | None = Field(
        default=None, description="the provider's questions and their answers; replaces the preset's"
    )
    ack: Ack | None = Field(
        default=None,
        description="the answer to a stored delivery, where the provider expects another one than Weir's own",
    )

    @model_validator(mode="after")
    def _is_defined(self) -> SourceEntry:
        if self.preset is None and self.scheme is None:
            raise ValueError("give `preset: NAME` (see `weir sources presets`) or a `scheme`")
        return self


SourcesFile = TypeAdapter(dict[ValidName, SourceEntry])


def load(path: str | Path) -> Catalogue:
    """Read the sources file that people edit. Raises: CatalogueInvalid with file, line, field and remedy."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueInvalid(f"{path}: {error}. Give a readable UTF-8 file, e.g. with WEIR_SOURCES=.") from error
    found, lines = parse_yaml(text, str(path))
    try:
        entries = SourcesFile.validate_python(found or {})
    except ValidationError as error:
        raise CatalogueInvalid(_explain(error, str(path), lines)) from error
    if not entries:
        raise CatalogueInvalid(f"{path}: no source yet. Write two lines, such as `github:` and `  preset: github`.")
    return Catalogue({name: _resolve(name, entry, str(path), lines[(name,)]) for name, entry in entries.items()})


def add(path: Path, name: str, *, preset: str, url: str | None = None) -> list[str]:
    """Append a source to the file and return the lines written; what is there stays as it is.

    Raises: CatalogueInvalid when the file would not be valid with it; it is then left alone.
    """
    options = [f"  preset: {preset}", *([f"  url: {url}"] if url else [])]
    if any(handshake.needs_code for handshake in presets.preset(preset).handshakes):
        options.append("  handshake_function: true")
    lines = [f"{name}:", *options]
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.write_text("\n".join([(before or "").rstrip("\n"), "", *lines, ""]).lstrip("\n"), encoding="utf-8")
    try:
        load(path)
    except CatalogueInvalid:
        if before is None:
            path.unlink()
        else:
            path.write_text(before, encoding="utf-8")
        raise
    return lines


def json_schema() -> str:
    """Return the JSON Schema of the sources file, for editors."""
    schema = SourcesFile.json_schema()
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Weir sources",
        **schema,
        "additionalProperties": False,
    }
    return json.dumps(described, indent=1) + "\n"


def parse_yaml(text: str, file: str) -> tuple[Any, dict[_Path, int]]:
    """Parse YAML into plain values and the line (from 1) of each field.

    Raises: CatalogueInvalid, also for a name that is given twice.
    """
    import yaml  # noqa: PLC0415 - only this reading needs it

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[_Path, int] = {(): 1}
        if node is None:
            return None, lines
        _note_lines(node, (), lines, file)
        return yaml.safe_load(text), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CatalogueInvalid(f"{file}, line {line}: {error.problem}. Fix the YAML there.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CatalogueInvalid(f"{file}: {error}") from error


def _note_lines(node: Any, at: _Path, lines: dict[_Path, int], file: str) -> None:
    if node.id == "sequence":
        for index, child in enumerate(node.value):
            lines[(*at, index)] = child.start_mark.line + 1
            _note_lines(child, (*at, index), lines, file)
    elif node.id == "mapping":
        for name, child in node.value:
            if name.id != "scalar":
                raise CatalogueInvalid(
                    f"{file}, line {name.start_mark.line + 1}: a name must be plain text. Write NAME:"
                )
            here, line = (*at, name.value), name.start_mark.line + 1
            if here in lines:
                raise CatalogueInvalid(f"{file}, line {line}: {name.value!r} is also in line {lines[here]}. Keep one.")
            lines[here] = line
            _note_lines(child, here, lines, file)


def _explain(error: ValidationError, file: str, lines: dict[_Path, int]) -> str:
    sentences = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False)[:20]:
        here = _visible(problem["loc"], lines)
        line = max((lines[here[:n]] for n in range(len(here) + 1) if here[:n] in lines), default=1)
        field = ".".join(str(part) for part in here) or "file"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "string_pattern_mismatch" and problem["loc"][-1] == "[key]":
            message = "a source's name is up to 63 of a-z, 0-9 and -, and is a part of its URL"
        if problem["type"] in {"dict_type", "model_type"}:
            message = "write fields here, each in a line of its own, as `name: value`"
        remedy = _REMEDIES.get(problem["type"])
        sentences.append(f"{file}, line {line}, {field}: {message}{f'; {remedy}' if remedy else ''}.")
    return "\n".join(sentences)


def _visible(loc: tuple[str | int, ...], lines: dict[_Path, int]) -> _Path:
    """Drop the parts of a pydantic location that are names of models and not fields of the file."""
    here: _Path = ()
    for index, part in enumerate(loc):
        is_last = index == len(loc) - 1
        if not _is_tag(part) and ((*here, part) in lines or is_last):
            here = (*here, part)
    return here


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and (part.endswith("-scheme") or "[" in part or "(" in part)


# An `event` of these alone says what makes two events of a preset one, and not where anything is.
_RULES = frozenset({"repeats", "repeats_because", "varies"})


def resolve(name: str, entry: SourceEntry) -> Source:
    """Merge an entry with its preset. Raises: CatalogueInvalid, ValueError."""
    given = entry.model_dump(exclude_unset=True, exclude_none=True)
    known = presets.preset(entry.preset).model_dump(exclude_unset=True) if entry.preset else {}
    merged = {field: known[field] for field in known if field in Definition.model_fields}
    merged |= {field: given[field] for field in given if field in Source.model_fields}
    if _RULES.issuperset(given.get("event") or "-"):
        merged["event"] = {**known.get("event", {}), **given["event"]}
    if "key" in given:
        merged["event"] = {**merged.get("event", {}), "key": given["key"]}
    scheme = Source.model_validate({**merged, "name": name}).scheme
    for field in _INTO_SCHEME:
        if field in given:
            scheme = _adjusted(scheme, field, given[field])
    merged |= {"name": name, "scheme": _with_url(scheme)}
    usual_days = Source.model_validate(merged).usual_dedupe_days
    return Source.model_validate({"dedupe_days": usual_days, **merged})


def _resolve(name: str, entry: SourceEntry, file: str, line: int) -> Source:
    try:
        return resolve(name, entry)
    except (CatalogueInvalid, ValueError) as error:
        detail = error.detail if isinstance(error, CatalogueInvalid) else _first_message(error)
        raise CatalogueInvalid(f"{file}, line {line}, {name}: {detail}") from error


def _first_message(error: Exception) -> str:
    return error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)


def _adjusted(scheme: AnyScheme, field: str, value: object) -> AnyScheme:
    """Return the scheme with one field changed, in each alternative that has it. Raises: ValueError."""
    if isinstance(scheme, AnyOf):
        options = tuple(_adjusted(option, field, value) if _uses(option, field) else option for option in scheme.any_of)
        if options != scheme.any_of:
            return AnyOf(name=scheme.name, any_of=options)
    if not _uses(scheme, field):
        raise ValueError(f"its scheme does not use `{field}`; remove it")
    changed: AnyScheme = type(scheme).model_validate({**scheme.model_dump(exclude_unset=True), field: value})
    return changed


def _uses(scheme: AnyScheme, field: str) -> bool:
    if field == "url":
        return scheme.needs_url
    return field in type(scheme).model_fields and getattr(scheme, "timestamp", True) is not None


def _with_url(scheme: AnyScheme) -> AnyScheme:
    """Return the scheme as it is. Raises: ValueError when it signs a URL and the source has none."""
    options = scheme.any_of if isinstance(scheme, AnyOf) else (scheme,)
    if any(option.needs_url and not getattr(option, "url", "") for option in options):
        raise ValueError("its scheme signs the public URL; add `url: https://...` exactly as it is set at the provider")
    return scheme

"""Genuine events for tests: a provider's sample with other values, signed, verified and read as the consumer does."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from weir.ingest.errors import RecordError, SampleInvalid, ServiceError
from weir.ingest.ids import SourceName
from weir.ingest.locations import Unreadable, follow, steps
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.schemes.parts.drafts import document_of, place, put, rewrite
from weir.ingest.sources import events, presets, sample_fit, samples
from weir.ingest.sources.catalogue import Catalogue, Source
from weir.ingest.sources.events import Event
from weir.ingest.sources.sources_file import SourceEntry, resolve

_URL = "https://example.com/v1/"


def source_of(catalogue: Catalogue, name: str) -> Source:
    """Return a source of the catalogue, or one for the preset of this name. Raises: SampleInvalid for any other."""
    if name in catalogue:
        return catalogue[name]
    if name in presets.names():
        of_preset = (one for one in catalogue.values() if one.preset == name)
        return next(of_preset, None) or _of_preset(name)
    raise SampleInvalid(f"{name!r} is neither a source of the project nor a preset.")


def _of_preset(name: str) -> Source:
    try:
        return resolve(name, SourceEntry(preset=name))
    except ValueError:  # its scheme signs the public URL
        return resolve(name, SourceEntry(preset=name, url=_URL + name))


def make(
    source: Source,
    event_type: str | None = None,
    at: Mapping[str, Any] | None = None,
    *,
    payload: Any = None,
    key: str = "",
    values: Mapping[str, Any],
) -> Event[Any]:
    """Return the first event of a delivery that is verified as the consumer verifies it.

    ``payload`` replaces the sample's. ``at`` sets values by their path, ``$.data.object.amount``, which need not exist.
    ``values`` sets members by their name alone, wherever the payload has one of that name.

    Raises: SampleInvalid when a name is not there or is ambiguous, or when the type cannot be set.
    """
    at_ms, seed = int(time.time() * 1000), uuid.uuid4().hex
    body, headers = samples.sample(source.preset, seed=seed, at_ms=at_ms)
    if payload is not None:
        body = json.dumps(payload, default=_plain).encode()
    query = samples.query(source.preset, seed=seed, at_ms=at_ms)
    draft = Draft(body, at_ms, samples.message_id(0, seed=seed), headers, query=query)
    samples.address(draft, source, key, _URL + source.name)
    if event_type is not None:
        _set_type(source, draft, event_type)
    if at or values:
        _set_values(source, draft, at or {}, values)
    sample_fit.fit(source, draft, keep_body=payload is not None)
    found = _verified(source, draft, key, event_type)
    if event_type is not None and found.type != event_type:
        raise SampleInvalid(
            f"The sample of {source.name} is of type {found.type!r} and cannot be made one of {event_type!r}: give the "
            "whole payload with payload=, or the members that make the type with at=."
        )
    return found


def _verified(source: Source, draft: Draft, key: str, wanted: str | None) -> Event[Any]:
    pair = signatures.generate_secret(source.scheme, uuid.uuid4().bytes * 2)
    try:
        signatures.sign_draft(source.scheme, pair.sign_with, draft)
        envelope = replace(draft.envelope(), source=SourceName(source.name), key=key)
        if source.scheme.fetches_certificates:  # a test reaches no provider's host
            found = events.extract(source, envelope)[0]
        else:
            verdict = signatures.verify(source.scheme, [pair.verify_with], envelope)
            found = events.extract(source, verdict.proven(envelope), verdict.option)[0]
    except (RecordError, Unreadable, ValueError) as error:
        raise SampleInvalid(f"The delivery of {source.name} of type {wanted!r} holds no event: {error}") from error
    if isinstance(found, events.RefusedEvent):
        raise SampleInvalid(f"The delivery of {source.name} holds no event: {found.error}")
    return replace(found, envelope=envelope)


def _set_type(source: Source, draft: Draft, event_type: str) -> None:
    """Write the type where the source reads it; a type made of several parts is left to the caller."""
    places = source.event.type
    options = [places] if isinstance(places, str) else list(places)
    if len(options) != 1:
        return
    given = {name.lower() for name in draft.headers}
    for option in (one.strip() for one in options[0].split(" | ")):
        if option.startswith("header:") and option[7:].lower() not in given:
            continue  # another way of signing, which this sample does not take
        try:
            _place(source, draft, option, event_type)
        except (ServiceError, ValueError, TypeError, KeyError, IndexError):
            continue  # the sample has it otherwise
        return


def _place(source: Source, draft: Draft, option: str, event_type: str) -> None:
    field, split = source.event.payload_field, source.event.split
    if split is None or not option.startswith("$") or option.startswith("$$"):
        place(draft, option, event_type, field)
        return
    document = document_of(draft, field)
    elements = follow(document, steps(split.split(" | ")[0]))
    put(elements[0] if isinstance(elements, list) else elements, steps(option), event_type)
    rewrite(draft, document, field)


def _set_values(source: Source, draft: Draft, at: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    field = source.event.payload_field
    document = document_of(draft, field)
    for name, value in values.items():
        _put(document, _only(document, name), value)
    for path, value in at.items():
        put(document, steps(path), _plain(value))
    rewrite(draft, document, field)


def _put(document: Any, path: tuple[str | int, ...], value: Any) -> None:
    for step in path[:-1]:
        document = document[step]
    document[path[-1]] = _plain(value)


def _only(document: Any, name: str) -> tuple[str | int, ...]:
    """Return where the one member of a name is, the nearest to the top. Raises: SampleInvalid."""
    found = sorted(_paths(document, name), key=len)
    nearest = [path for path in found if len(path) == len(found[0])]
    if len(nearest) == 1:
        return nearest[0]
    if not nearest:
        raise SampleInvalid(f"The sample has no member {name!r}; set it with at={{'$.path.to.{name}': ...}}.")
    listed = ", ".join(_shown(path) for path in nearest)
    raise SampleInvalid(f"The sample has several members {name!r}: {listed}. Say which with at=.")


def _shown(path: tuple[str | int, ...]) -> str:
    return "$" + "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in path)


def _paths(value: Any, name: str, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, member in members:
        if step == name:
            yield (*path, step)
        yield from _paths(member, name, (*path, step))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: a Decimal as a number."""
    return float(value) if isinstance(value, Decimal) else value

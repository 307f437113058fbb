"""`weir sources`."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from weir.cli import project
from weir.cli.exit_codes import BAD_ANSWER
from weir.cli.framework import Group, NoAnswer
from weir.cli.options import at_place, choose_place, json_option, place_options
from weir.cli.output import emit, emit_json, emit_lines, note
from weir.cli.stacks import events_table
from weir.ingest.errors import RightsMissing, StackAbsent, StackFailed

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.ingest.sources.catalogue import Preset, Source
    from weir.operate.lookup.events import Table


@click.group(cls=Group)
def sources() -> None:
    """The sources file, and the known providers."""


@sources.command(short_help="Validate the sources file and warn of what may surprise.")
@place_options
@json_option("JSON Lines, one object for each source")
def check(as_json: bool, **where: Any) -> None:
    """Validate the sources file, say which secrets exist, and warn of what may surprise."""
    from weir.infra import lifetimes, template
    from weir.ingest.contract import routes

    found = project.catalogue()
    shared = set(routes.shared_sources(found))
    stored = routes.stored_types()
    place = functools.cache(lambda: choose_place(**where))
    demanded = any(where[name] for name in ("at", "endpoint", "env"))
    secrets = {name: _secrets(source, place, demanded=demanded) for name, source in found.items()}
    values = template.defaults(template.load())
    for name, source in found.items():
        live_secrets = secrets[name]
        count = None if live_secrets is None else len(live_secrets)
        warnings = [*source.warnings, *([f"it has no secret: `weir secrets set {name}`."] if count == 0 else [])]
        warnings += [*lifetimes.warnings(source, values), *_shared(name, secrets), *_needless(source, stored)]
        facts = {
            "source": name,
            "preset": source.preset,
            "scheme": source.scheme.label,
            "secrets": count,
            "dedupe_days": source.dedupe_days,
            "shares_path": name in shared,
            "outlived_by": [one.parameter for one in lifetimes.outlived_by(source, values)],
        }
        if as_json:
            emit_json({**facts, "warnings": warnings})
            continue
        live = _live(source, count, demanded=demanded)
        emit(f"{name:24} {source.preset or 'own scheme':24} {source.scheme.label:24} {live}")
        for warning in warnings:
            emit(f"{'':24} warning: {warning}")
    if not as_json:
        emit_lines(list(lifetimes.summary(found, values)))
        if shared:
            emit(
                f"{len(shared)} sources share the path /v1/{{source}} and what that takes a second: more than "
                f"{len(found) - len(shared)} do not fit. A source with a throttle has paths of its own."
            )


def _live(source: Source, count: int | None, *, demanded: bool) -> str:
    """Say how many secrets are live, or why that is not known."""
    if count is None:
        return f"secrets not looked up: {'these credentials may not read them' if demanded else 'no stack runs'}"
    return f"{count} live in {source.secret}"


def _shared(name: str, secrets: Mapping[str, set[str] | None]) -> list[str]:
    """Return a sentence if a secret of a source is live for another one, too."""
    own = secrets[name] or set()
    others = [other for other, live in secrets.items() if other != name and live and own & live]
    if not others:
        return []
    sentence = f"it shares a secret with {', '.join(others)}: what is signed for one is accepted by the other."
    return [f"{sentence} Where the provider can have another secret, set one."]


def _needless(source: Source, stored: frozenset[str]) -> list[str]:
    """Return a sentence for each of a source's content types that is stored for every source."""
    known = [media_type for media_type in source.content_types if media_type.lower() in stored]
    return [f"{one} is stored for every source: remove it from content_types." for one in known]


def _secrets(source: Source, place: Callable[[], Place], *, demanded: bool) -> set[str] | None:
    """Return the live secrets of a source; None if they may not be read, or no stack is there and none ``demanded``."""
    from weir.infra import secrets as store

    try:
        return {secret.value for secret in store.live(place(), source)}
    except RightsMissing:
        return None
    except (StackAbsent, StackFailed):
        if demanded:
            raise
        return None


@sources.command(short_help="List the known providers, or show one.")
@click.argument("name", required=False)
@json_option("JSON Lines, one object for each provider, with every fact")
def presets(name: str | None, as_json: bool) -> None:
    """List the known providers: how they sign, how long they try again, what they ask, how the preset was checked.

    With NAME, show what is known of this one.
    """
    from weir.ingest.sources import presets as known

    found = known.all_presets() if name is None else {name: known.preset(name)}
    if as_json:
        for one, preset in found.items():
            emit_json({"name": one, **preset.model_dump(mode="json", exclude_defaults=True), **_proofs(preset)})
    elif name is not None:
        emit_lines(f"{fact:10} {text}" for fact, text in _preset_facts(found[name]) if text)
    else:
        emit(f"{'NAME':26} {'SCHEME':24} {'REPEATS':>8} {'QUESTION':10} {'CHECKED':11} PROVIDER")
        for one, preset in found.items():
            emit(_preset_row(one, preset))
        note(
            "REPEATS: for how long the provider sends an event again. QUESTION: what answers the provider's questions. "
            "CHECKED: by the provider's own package (sdk), by a published example (vector), by its pages alone (docs), "
            "or by no one yet."
        )


def _preset_facts(preset: Preset) -> Iterator[tuple[str, str]]:
    """Yield what `weir sources presets NAME` shows, each fact with its name."""
    from weir.ingest.sources import proofs

    event, retries = preset.event, preset.retries
    yield "provider", preset.title
    yield "docs", preset.docs
    yield "scheme", preset.scheme.label + ("" if preset.covers_body else " (the proof does not cover the body)")
    yield "secret", preset.secret
    yield "event id", _locations(event.id)
    yield "type", _locations(event.type)
    yield "signed", proofs.signed(preset)
    yield "mark", proofs.marked_by(preset)
    yield "captured", f"who has seen a delivery has {proofs.captured(preset)}"
    yield "time", f"{event.time.at} ({event.time.unit})" if event.time else ""
    yield "key", event.key or ""
    yield "events", event.split or ""
    yield "repeats", "unknown" if preset.retry_window_s is None else _repeats(preset.retry_window_s)
    yield "retries", f"{_RETRIES[retries.id]} {retries.note} {retries.docs}, read {retries.read}"
    yield "checked", preset.checked
    yield "note", preset.note


def _proofs(preset: Preset) -> dict[str, str]:
    """Return what is signed, what makes the mark, and what a captured delivery is good for."""
    from weir.ingest.sources import proofs

    return {
        "signed": proofs.signed(preset),
        "marked_by": proofs.marked_by(preset),
        "captured": proofs.captured(preset),
    }


_RETRIES = {
    "same": "A retry has the same id.",
    "new": "A retry has another id and is applied again.",
    "unstated": "No page says whether a retry has the same id.",
}


def _locations(location: str | tuple[str, ...]) -> str:
    return location if isinstance(location, str) else " + ".join(location)


def _preset_row(name: str, preset: Preset) -> str:
    repeats = "?" if preset.retry_window_s is None else _repeats(preset.retry_window_s)
    asked = {"function" if handshake.needs_code else "template" for handshake in preset.handshakes}
    body = "" if preset.covers_body else " (the proof does not cover the body)"
    return (
        f"{name:26} {preset.scheme.label:24} {repeats:>8} {', '.join(sorted(asked)):10} "
        f"{preset.checked.partition(':')[0]:11} {preset.title}{body}"
    )


def _repeats(seconds: int) -> str:
    """Write for how long a provider repeats, in the one unit that says it best."""
    if not seconds:
        return "never"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 3 * 86400 else f"{seconds / 86400:.3g} d"


@sources.command(short_help="Write a known provider into the sources file.")
@click.argument("name")
@click.option("--preset", metavar="PROVIDER", help="The provider, if the source is to have another name.")
@click.option("--url", metavar="URL", help="The public URL of the source, where the provider signs it.")
def add(name: str, preset: str | None, url: str | None) -> None:
    """Write a known provider into the sources file; everything in the file stays as it is."""
    from weir.ingest.sources import sources_file as editor
    from weir.ingest.sources.presets import preset as provider

    path = project.sources_file()
    for line in editor.add(path, name, preset=preset or name, url=url):
        emit(line)
    emit(f"added to {path}; a running `weir run` takes it; else `weir deploy`, and `weir secrets set {name}`")
    known = provider(preset or name)
    emit(f"  secret   {known.secret}")
    emit(f"  URL      enter ENDPOINT/{name} at the provider; `weir deploy` prints the ENDPOINT")
    emit(f"  docs     {known.docs}")


@sources.command(short_help="Confirm subscriptions of AWS SNS that wait.")
@click.argument("source")
@click.option("--dry-run", is_flag=True, help="Only list what waits.")
@json_option("JSON Lines, one object for each subscription")
@at_place
def confirm(place: Place, source: str, dry_run: bool, as_json: bool) -> None:
    """Confirm the subscriptions of AWS SNS that wait: open the SubscribeURL of each verified request for one.

    Exit code 1 when SNS refused one.
    """
    from weir.infra import secrets as store

    known = project.source(source)
    if not known.scheme.confirms_subscriptions:
        raise NoAnswer(f"{source} is not a source of AWS SNS: there is nothing to confirm.")
    topics = [secret.value.strip().partition("\n")[0].strip() for secret in store.live(place, known)]
    results = list(_confirmations(events_table(place), source, topics, dry_run=dry_run))
    for result in results:
        if as_json:
            emit_json(result)
        else:
            emit(_confirmation_line(result, dry_run=dry_run))
    if not results and not as_json:
        emit(f"{source}: no subscription waits")
    if not dry_run and any(result["arn"] is None for result in results):
        sys.exit(BAD_ANSWER)


def _confirmations(table: Table, source: str, topics: Sequence[str], *, dry_run: bool) -> Iterator[dict[str, Any]]:
    """Yield each subscription that waits: ``arn`` once it is confirmed, else ``problem`` or, of a dry run, neither."""
    from weir.operate import subscriptions

    for one in list(subscriptions.waiting(table, source, topics)):
        facts: dict[str, Any] = {"topic": one.topic, "url": one.url, "arn": None, "problem": one.problem or None}
        if not dry_run:
            try:
                facts["arn"] = subscriptions.confirm(table, one, ask=subscriptions.ask, now_ms=int(time.time() * 1000))
            except StackFailed as error:
                facts["problem"] = error.detail
        yield facts


def _confirmation_line(result: dict[str, Any], *, dry_run: bool) -> str:
    topic, problem = result["topic"], result["problem"]
    if result["arn"]:
        return f"{topic} confirmed: {result['arn']}"
    if problem and dry_run:
        return f"{topic} waits, but {problem}"
    return f"{topic} waits: {problem or result['url']}"


@sources.command(short_help="Print the JSON Schema of the sources file.")
def schema() -> None:
    """Print the JSON Schema of the sources file, by which editors complete and check it."""
    from weir.ingest.sources import sources_file as editor

    emit_lines(editor.json_schema().splitlines())

"""The commands of sources and their secrets: flags to functions and nothing more."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weir.infra import KINDS
from weir.ingest.errors import StackAbsent, StackFailed

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.ingest.sources.catalogue import Catalogue, Source


@dataclass(frozen=True, slots=True)
class Tools:
    """What the command line lends. ``choose`` finds a place by kind, endpoint and stack. Raises: StackAbsent."""

    command: type[click.Command]
    group: type[click.Group]
    at_place: Callable[[Callable[..., None]], Callable[..., None]]
    choose: Callable[[str | None, str | None, str], Place]
    catalogue: Callable[[], Catalogue]
    sources_file: Callable[[], Path]
    say: Callable[[str], None]
    # Confirms a source's subscriptions, or with False only lists them; yields what to say and whether it went well.
    confirm: Callable[[Any, str, Sequence[str], bool], Iterable[tuple[str, bool]]]

    def known(self, name: str) -> Source:
        """Return a source by name, or say which there are."""
        sources = self.catalogue()
        if name not in sources:
            raise click.ClickException(
                f"There is no source {name!r} in {self.sources_file()}; there are: {', '.join(sources)}. "
                f"`weir sources add {name}` adds one of a known provider."
            )
        return sources[name]


def add_commands(main: click.Group, tools: Tools) -> None:
    """Add the groups `secrets` and `sources`."""

    @main.group(cls=tools.group)
    def secrets() -> None:
        """The secrets that deliveries are signed with; no command prints a value."""

    @main.group(cls=tools.group)
    def sources() -> None:
        """The sources file, and the known providers."""

    for add_secrets in (_set, _generate, _rotate, _remove, _list):
        add_secrets(secrets, tools)
    for add_sources in (_check, _presets, _add, _confirm, _schema):
        add_sources(sources, tools)


# ------------------------------------------------------------------------------------------------ secrets


def _set(secrets: click.Group, tools: Tools) -> None:
    @secrets.command("set", cls=tools.command)
    @click.argument("source")
    @tools.at_place
    def set_secret(place: Place, source: str) -> None:
        """Read a secret from standard input and make it live beside those that are."""
        from weir.infra import secrets as store

        count = store.add(place, tools.known(source), read_secret(source))
        tools.say(f"{source}: {count} live secret{'s' if count > 1 else ''}")


def _generate(secrets: click.Group, tools: Tools) -> None:
    @secrets.command("generate", cls=tools.command)
    @click.argument("source")
    @tools.at_place
    def generate(place: Place, source: str) -> None:
        """Give a source that has no secret one to try things out with; `make run` does so by itself."""
        from weir.infra import signing_keys

        made = signing_keys.provide(place, tools.known(source))
        tools.say(f"{source}: {'1 live secret, made here' if made else 'has a live secret already'}")


def _rotate(secrets: click.Group, tools: Tools) -> None:
    @secrets.command("rotate", cls=tools.command)
    @click.argument("source")
    @tools.at_place
    def rotate(place: Place, source: str) -> None:
        """Like set, and retire the secrets that the provider's retries can no longer be signed with."""
        from weir.infra import secrets as store

        found = tools.known(source)
        window_s = found.retry_window_s or found.dedupe_s
        count, retired = store.rotate(place, found, read_secret(source), keep_s=window_s)
        tools.say(f"{source}: {count} live secrets, {retired} retired")


def _remove(secrets: click.Group, tools: Tools) -> None:
    @secrets.command("remove", cls=tools.command)
    @click.argument("source")
    @click.argument("position", type=click.IntRange(0))
    @tools.at_place
    def remove(place: Place, source: str, position: int) -> None:
        """Retire the secret at POSITION of `weir secrets list`; 0 is the newest."""
        from weir.infra import secrets as store

        tools.say(f"{source}: {store.remove(place, tools.known(source), position)} live")


def _list(secrets: click.Group, tools: Tools) -> None:
    @secrets.command("list", cls=tools.command)
    @tools.at_place
    def listing(place: Place) -> None:
        """List each source's live secrets by age, and where they are kept."""
        from datetime import UTC, datetime

        from weir.infra import secrets as store

        for name, source in tools.catalogue().items():
            live = store.live(place, source)
            if not live:
                tools.say(f"{name:24} none in {source.secret}")
            for position, secret in enumerate(live):
                since = datetime.fromtimestamp(secret.created_at_ms / 1000, UTC)
                tools.say(f"{name:24} {position} live since {since:%Y-%m-%d %H:%M:%S} UTC in {source.secret}")


def read_secret(source: str) -> str:
    """Read one secret from standard input, without its line end; ask without echo at a terminal."""
    if sys.stdin.isatty():
        return str(click.prompt(f"secret of {source}", hide_input=True))
    return sys.stdin.read().rstrip("\r\n")


# ------------------------------------------------------------------------------------------------ sources


def _check(sources: click.Group, tools: Tools) -> None:
    @sources.command("check", cls=tools.command)
    @click.option("--at", type=click.Choice(KINDS), envvar="WEIR_AT", help="Where to look for secrets.")
    @click.option("--endpoint", metavar="URL", help="Look for secrets at LocalStack or another AWS endpoint.")
    @click.option("--stack", default="weir", show_default=True, metavar="NAME", help="CloudFormation stack there.")
    @click.option("--json", "as_json", is_flag=True, help="JSON Lines, one object a source.")
    def check(at: str | None, endpoint: str | None, stack: str, as_json: bool) -> None:
        """Validate the sources file, tell which secrets exist, and warn of what may surprise."""
        from weir.ingest.contract import routes

        found = tools.catalogue()
        routes.api_definition(found, {})
        for name, source in found.items():
            count = _secrets_count(source, tools, at, endpoint, stack)
            warnings = [*source.warnings, *([f"it has no secret: `weir secrets set {name}`."] if count == 0 else [])]
            facts = {"source": name, "preset": source.preset, "scheme": source.scheme.label, "secrets": count}
            if as_json:
                tools.say(json.dumps({**facts, "warnings": warnings}))
                continue
            told = "secrets not looked up: no stack runs" if count is None else f"{count} live in {source.secret}"
            tools.say(f"{name:24} {source.preset or 'own scheme':24} {source.scheme.label:24} {told}")
            for warning in warnings:
                tools.say(f"{'':24} warning: {warning}")


def _secrets_count(source: Source, tools: Tools, at: str | None, endpoint: str | None, stack: str) -> int | None:
    """Return how many secrets of a source are live; None if no stack is there to ask."""
    from weir.infra import secrets as store

    try:
        return len(store.live(tools.choose(at, endpoint, stack), source))
    except (StackAbsent, StackFailed):
        if at or endpoint:
            raise
        return None


def _presets(sources: click.Group, tools: Tools) -> None:
    @sources.command("presets", cls=tools.command)
    @click.option("--json", "as_json", is_flag=True, help="JSON Lines, one object a provider, with every fact.")
    def presets(as_json: bool) -> None:
        """List the known providers: how they sign, how long they repeat, what they ask, and who checked the preset."""
        from weir.ingest.sources import presets as known

        if not as_json:
            tools.say(f"{'NAME':26} {'SCHEME':24} {'REPEATS':>8} {'QUESTION':10} {'CHECKED':11} PROVIDER")
        for name, preset in known.all_presets().items():
            if as_json:
                tools.say(json.dumps({"name": name, **preset.model_dump(mode="json", exclude_defaults=True)}))
                continue
            repeats = "?" if preset.retry_window_s is None else f"{preset.retry_window_s / 86400:.3g} d"
            asked = {"function" if handshake.needs_code else "template" for handshake in preset.handshakes}
            body = "" if preset.covers_body else " (the proof does not cover the body)"
            tools.say(
                f"{name:26} {preset.scheme.label:24} {repeats:>8} {', '.join(sorted(asked)):10} "
                f"{preset.checked.partition(':')[0]:11} {preset.title}{body}"
            )


def _add(sources: click.Group, tools: Tools) -> None:
    @sources.command("add", cls=tools.command)
    @click.argument("name")
    @click.option("--preset", metavar="PROVIDER", help="The provider, if the source is to have another name.")
    @click.option("--url", metavar="URL", help="The public URL of the source, where the provider signs it.")
    def add(name: str, preset: str | None, url: str | None) -> None:
        """Write a known provider into the sources file, as one would by hand."""
        from weir.ingest.sources import sources_file as editor

        path = tools.sources_file()
        for line in editor.add(path, name, preset=preset or name, url=url):
            tools.say(line)
        tools.say(f"added to {path}; now `make run` or `weir deploy`, and `weir secrets set {name}`")


def _confirm(sources: click.Group, tools: Tools) -> None:
    @sources.command("confirm", cls=tools.command)
    @click.argument("source")
    @click.option("--dry-run", is_flag=True, help="Only list what waits.")
    @tools.at_place
    def confirm(place: Place, source: str, dry_run: bool) -> None:
        """Confirm the subscriptions of AWS SNS that wait: open the SubscribeURL of each verified request for it."""
        from weir.infra import secrets as store

        known = tools.known(source)
        if not known.scheme.confirms_subscriptions:
            raise click.ClickException(f"{source} is no source of AWS SNS: there is nothing to confirm.")
        topics = [secret.value.strip().partition("\n")[0].strip() for secret in store.live(place, known)]
        results = list(tools.confirm(place, source, topics, not dry_run))
        for line, _ in results or [(f"{source}: no subscription waits", True)]:
            tools.say(line)
        if not all(went_well for _, went_well in results):
            raise SystemExit(1)


def _schema(sources: click.Group, tools: Tools) -> None:
    @sources.command("schema", cls=tools.command)
    def schema() -> None:
        """Print the JSON Schema of the sources file, which editors complete and check it by."""
        from weir.ingest.sources import sources_file as editor

        tools.say(editor.json_schema().rstrip("\n"))

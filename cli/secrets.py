"""`weir secrets`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from weir.cli import project
from weir.cli.framework import Group
from weir.cli.options import at_place, json_option
from weir.cli.output import emit, emit_json, note

if TYPE_CHECKING:
    from weir.infra.place import Place


@click.group(cls=Group)
def secrets() -> None:
    """The secrets that deliveries are signed with. No command prints a value."""


@secrets.command("set", short_help="Read a secret from standard input and add it.")
@click.argument("source")
@at_place
def set_(place: Place, source: str) -> None:
    """Read a secret from standard input and make it live beside those that are.

    Set it five minutes before the provider changes to it: by then every consumer has read it. A consumer also reads
    the secrets of a source again when a signature is wrong, at most twice a minute. If forgeries use these readings
    up, true deliveries with a new secret are quarantined until the next; `weir quarantine verify` applies them.
    """
    from weir.infra import secrets as store

    count = store.add(place, project.source(source), _read_secret(source))
    emit(f"{source}: {count} live secret{'s' if count > 1 else ''}")


@secrets.command(short_help="Make a secret for a source that has none.")
@click.argument("source")
@at_place
def generate(place: Place, source: str) -> None:
    """Make a secret for a source that has none, to try things out; `make run` does so by itself."""
    from weir.infra import signing_keys

    made = signing_keys.provide(place, project.source(source))
    emit(f"{source}: {'1 live secret, made here' if made else 'has a live secret already'}")


@secrets.command(short_help="Add a secret and remove those that retries no longer need.")
@click.argument("source")
@at_place
def rotate(place: Place, source: str) -> None:
    """Like set, and remove the secrets that the provider's retries can no longer be signed with."""
    from weir.infra import secrets as store

    found = project.source(source)
    window_s = found.retry_window_s or found.dedupe_s
    count, retired = store.rotate(place, found, _read_secret(source), keep_s=window_s)
    emit(f"{source}: {count} live secrets, {retired} retired")


@secrets.command(short_help="Remove one live secret.")
@click.argument("source")
@click.argument("position", type=click.IntRange(0))
@click.option("--yes", is_flag=True, help="Do not ask before the last one goes.")
@at_place
def remove(place: Place, source: str, position: int, yes: bool) -> None:
    """Remove the secret at POSITION of `weir secrets list`; 0 is the newest.

    A consumer that has read it goes on taking it until it reads again: the answer says when that is.
    """
    from weir.infra import secrets as store
    from weir.operate.lookup.times import show_time
    from weir.operate.replay.targets.in_process import settings_of

    found = project.source(source)
    if not yes and position == 0 and len(store.live(place, found)) == 1:
        question = f"Remove the last secret of {source}? Its deliveries are quarantined until it has one again"
        click.confirm(question, abort=True, err=True)
    count = store.remove(place, found, position)
    until_ms = int((time.time() + settings_of(place.outputs()).secrets_ttl_s) * 1000)
    emit(f"{source}: {count} live; the one removed is refused from {show_time(until_ms)} at the latest")


@secrets.command("list", short_help="List each source's live secrets by age.")
@json_option("JSON Lines, one object for each source")
@at_place
def list_(place: Place, as_json: bool) -> None:
    """List each source's live secrets by age, and where they are kept."""
    from weir.infra import secrets as store
    from weir.operate.lookup.times import show_time

    for name, source in project.catalogue().items():
        live = [secret.created_at_ms for secret in store.live(place, source)]
        if as_json:
            emit_json({"source": name, "kept_in": source.secret, "live_since_ms": live})
            continue
        if not live:
            emit(f"{name:24} none in {source.secret}")
        for position, since_ms in enumerate(live):
            emit(f"{name:24} #{position} live since {show_time(since_ms)} in {source.secret}")


def _read_secret(source: str) -> str:
    """Read one secret from standard input, without what is blank around it; ask without echo at a terminal."""
    from weir.infra import secrets as store

    is_typed = sys.stdin.isatty()
    given = str(click.prompt(f"secret of {source}", hide_input=True, err=True)) if is_typed else sys.stdin.read()
    value = store.clean(given)
    if value and value != given.rstrip("\r\n"):
        note(f"{source}: blanks or a byte order mark around the secret were left out")
    return value

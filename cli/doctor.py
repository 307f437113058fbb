"""`weir doctor`."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from weir.cli import project
from weir.cli.exit_codes import BAD_ANSWER
from weir.cli.framework import Command
from weir.cli.options import Number, choose_place, json_option, parameters, place_options, set_option
from weir.cli.output import emit, emit_json
from weir.cli.stacks import events_table
from weir.consumers.outcome import Outcome

if TYPE_CHECKING:
    from weir.infra.doctor import Check
    from weir.infra.place import Place
    from weir.ingest.ids import EventId, RequestId, SourceName
    from weir.operate.lookup.events import Table

_REASON = "weir doctor: a delivery without a signature, sent to see the way through"


@click.command(cls=Command)
@place_options
@set_option
@click.option("--before", is_flag=True, help="Only what a deployment needs, also where a stack is there.")
@click.option(
    "--send/--no-send",
    default=None,
    help="Also send a signed sample of each source: business code takes it for an event; or send nothing at all.",
)
@click.option("--alarm", is_flag=True, help="Also take one alarm to ALARM and back: whom it reaches is notified.")
@click.option(
    "--wait",
    "wait_s",
    default=30.0,
    show_default=True,
    type=Number(0),
    metavar="SECONDS",
    help="How long a delivery may take to its outcome and its lines in the logs.",
)
@json_option("JSON Lines, one object for each check")
def doctor(
    at: str | None,
    endpoint: str | None,
    stack: str | None,
    env: str | None,
    settings: tuple[str, ...],
    before: bool,
    send: bool | None,
    alarm: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    """Check what a deployment needs, and a stack that runs: OK, or what is wrong and the way out.

    Of a stack that runs, the door is tried with what it must refuse, and each source with a delivery without a
    signature, which is followed to the quarantine and discarded there: nothing is applied. Each counts as quarantined:
    with 20 sources QuarantineAlarm rings, unless its parameter says otherwise. Exit code 1 when a check fails.

    \b
    weir doctor --at aws              # before the first deployment, and after each
    weir doctor --at aws --send       # with a signed sample of each source; --no-send only looks
    """
    from weir.infra.project_file import text

    environment = project.current().environment(env)
    given = {**text(environment.parameters), **parameters(settings)}
    place = None if _is_stopped(at or environment.at, endpoint) else choose_place(at, endpoint, stack, env)
    failed = False
    for check in chain(
        _project(), _needs(place, given), () if before or place is None else _works(place, wait_s, send, alarm)
    ):
        failed |= check.verdict == "FAIL"
        if as_json:
            emit_json(check._asdict())
            continue
        emit(f"{check.verdict:8} {check.name:32} {check.seen}")
        if check.fix:
            emit(f"{'':8} {'':32} {check.fix}")
    if failed:
        sys.exit(BAD_ANSWER)


def _is_stopped(at: str | None, endpoint: str | None) -> bool:
    """Tell whether the embedded stack is meant and does not run."""
    from weir.infra import place
    from weir.ingest.errors import StackAbsent

    if at not in {None, "embedded"} or endpoint or (at is None and os.environ.get("AWS_ENDPOINT_URL")):
        return False
    try:
        address = urlsplit(place.embedded(project.home()).outputs().endpoint)
        with socket.create_connection((address.hostname or "", address.port or 80), timeout=2):
            return False
    except (StackAbsent, OSError):
        return True


def _project() -> Iterator[Check]:
    from weir.infra.doctor import FAIL, OK, Check
    from weir.ingest.errors import ServiceError

    for name, look in (("sources", _sources), ("business code", _business_code)):
        try:
            yield Check(name, OK, look())
        except click.ClickException as error:
            yield Check(name, FAIL, *error.format_message().split("\n  ", 1))
        except ServiceError as error:
            yield Check(name, FAIL, error.detail or str(error), error.hint)


def _sources() -> str:
    return f"{', '.join(project.catalogue())} of {project.sources_file()}"


def _business_code() -> str:
    tables = project.load_effects()
    package = project.current().package
    return (
        f"{package}; tables {', '.join(tables) or 'none'}" if package else "none: events are stored and change nothing"
    )


def _needs(place: Place | None, given: dict[str, str]) -> Iterator[Check]:
    from weir.infra import doctor as checks

    if place is None or place.kind == "embedded":
        port = int(os.environ.get("PORT") or 8080)
        yield from checks.this_machine(project.home(), port, is_running=place is not None)
    if place is not None and place.kind == "embedded":
        yield from checks.secrets_of(place, project.catalogue())
    elif place is not None:
        yield from checks.account(place, project.catalogue(), given)


class _Stored:
    """The events table, as the probe asks it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def outcome(self, source: SourceName, identities: list[EventId], request_id: RequestId) -> str | None:
        return self._table.outcome(source, identities, request_id)

    def is_refused(self, outcome: str) -> bool:
        return outcome.startswith(f"{Outcome.QUARANTINED}: ")

    def discard(self, source: SourceName, request_id: RequestId) -> None:
        from weir.consumers.events_table.mark import quarantined_key
        from weir.operate.quarantine import discard

        discard(self._table, quarantined_key(source, request_id), _REASON, now_ms=round(time.time() * 1000))


def _status(place: Place) -> str | None:
    """Return the status of the stack; None also where it may not be asked for, which was said before."""
    from botocore.exceptions import BotoCoreError, ClientError

    from weir.infra import change_sets

    try:
        return change_sets.status_of(place)
    except (BotoCoreError, ClientError):
        return None


def _works(place: Place, wait_s: float, send: bool | None, alarm: bool) -> Iterator[Check]:
    from weir.infra import change_sets, probe
    from weir.infra.doctor import FAIL, OK, Check

    if place.kind != "embedded" and _status(place) not in change_sets.WORKING:
        return
    catalogue, stored = project.catalogue(), _Stored(events_table(place))
    yield Check("endpoint", OK, place.outputs().endpoint)
    reads = probe.consumer(place)
    yield reads
    if send is not False:
        yield from probe.door(place, catalogue)
        for name in (
            catalogue if reads.verdict != FAIL else ()
        ):  # what is not read now would be quarantined at some time
            for signed in (False, True) if send else (False,):
                yield from probe.way(place, catalogue, name, stored, signed=signed, wait_s=wait_s)
    yield probe.archive(place)
    yield probe.metrics(place)
    if alarm:
        yield probe.alarm(place, wait_s)

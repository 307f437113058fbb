"""`weir send`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weir.cli import project
from weir.cli.exit_codes import BAD_ANSWER
from weir.cli.framework import Command
from weir.cli.options import Number, at_place, json_option
from weir.cli.output import emit, emit_json, note
from weir.cli.stacks import events_table

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.infra.sender import Answer, Sent

_POLL_S = 0.1


@click.command(cls=Command)
@click.argument("source")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", default="", metavar="KEY", help="Ordering key to put in the URL.")
@click.option(
    "--times",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Send the same delivery N times.",
)
@click.option("--tamper", is_flag=True, help="Change the body after it was signed.")
@click.option(
    "--wait",
    "wait_s",
    default=10.0,
    show_default=True,
    type=Number(0),
    metavar="SECONDS",
    help="How long to wait for the outcome; 0: do not wait.",
)
@json_option("JSON Lines, one object for each answer")
@at_place
def send(
    place: Place, source: str, file: Path | None, key: str, times: int, tamper: bool, wait_s: float, as_json: bool
) -> None:
    """Post a correctly signed sample, or FILE as its body, the way the provider of SOURCE does.

    Exit code 1 when the gateway did not store it.
    """
    from weir.infra import sender

    body = file.read_bytes() if file else None
    sent = sender.send(place, project.catalogue(), source, body=body, key=key, times=times, tamper=tamper)
    deadline_s = time.monotonic() + wait_s
    for answer in sent.answers:
        waits = bool(answer.request_id and wait_s)
        if not as_json:
            emit(f"{answer.status} {answer.body}")
        outcome = _await_outcome(place, sent, answer, deadline_s) if waits else None
        if as_json:
            emit_json({"status": answer.status, "id": answer.request_id, "body": answer.body, "outcome": outcome})
        elif waits:
            emit(f"    {outcome or f'stored, no outcome yet; later: weir events {answer.request_id}'}")
    if not all(answer.request_id for answer in sent.answers):
        if advice := sender.advice(project.catalogue(), source):
            note(advice)
        sys.exit(BAD_ANSWER)


def _await_outcome(place: Place, sent: Sent, answer: Answer, deadline_s: float) -> str | None:
    """Return what became of a delivery; None if nothing has by the deadline."""
    from weir.ingest.ids import EventId, RequestId, SourceName

    stored = events_table(place)
    request_id = RequestId(answer.request_id or "")
    source, identities = SourceName(sent.source), [EventId(one) for one in sent.identities_of(request_id)]
    while True:
        outcome = stored.outcome(source, identities, request_id)
        if outcome or time.monotonic() > deadline_s:
            return outcome
        time.sleep(_POLL_S)

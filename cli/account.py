"""`weir account`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from weir.cli.exit_codes import BAD_ANSWER, FINE
from weir.cli.framework import Command
from weir.cli.options import SINCE, at_place, json_option
from weir.cli.output import emit_json, emit_lines, note
from weir.cli.stacks import open_stack

if TYPE_CHECKING:
    from weir.infra.place import Place

_PROGRESS_S = 5.0
# How young a delivery may be and count as in flight: how late the access log and the table may be at a place.
_GRACE_S = {"embedded": 0, "localstack": 10, "aws": 60}


@click.command(cls=Command)
@click.option("--since", default="1d", show_default=True, metavar="TIME", help=SINCE)
@click.option("--until", default="now", show_default=True, metavar="TIME", help="Only what arrived until then.")
@click.option(
    "--grace",
    default="",
    metavar="DURATION",
    help="How young a delivery may be and count as in flight. Default: 60s on AWS, 10s on LocalStack, else 0.",
)
@json_option("the account as one JSON object")
@at_place
def account(place: Place, since: str, until: str, grace: str, as_json: bool) -> None:
    """Show that everything acknowledged is applied, duplicate, ignored, quarantined or in flight.

    Joins the access log, the stream or the archive, and the table. On AWS everything but the last 20 minutes comes
    from the archive, elsewhere only what the stream does not hold any more. Exit code 1 when a delivery is unaccounted
    for: it is named, with where it was last seen.
    """
    from weir.operate.audit import account as accounts
    from weir.operate.audit.sources import open_audit_sources
    from weir.operate.lookup.times import parse_duration_s, parse_window_ms

    now_ms = round(time.time() * 1000)
    grace_ms = round(parse_duration_s(grace) * 1000) if grace else _GRACE_S[place.kind] * 1000
    since_ms, until_ms = parse_window_ms(since, until, now_ms)
    stack = open_stack(place)
    sources = open_audit_sources(stack, since_ms or 0, until_ms or now_ms, now_ms, grace_ms=grace_ms)
    closed = accounts.compute_account(sources, since_ms or 0, until_ms or now_ms, _progress())
    if sources.acknowledged is None:
        none = f"there is no {stack.access_log}" if stack.access_log else f"{place.label} keeps no access log"
        closed.notes.append(f"{none}: what the stream holds counts as acknowledged.")
    if as_json:
        emit_json(closed.as_dict())
    else:
        emit_lines(closed.lines())
    sys.exit(FINE if closed.is_even else BAD_ANSWER)


def _progress() -> Callable[[int], None]:
    """Return what says now and then how many deliveries have been looked at."""
    due_s = time.monotonic() + _PROGRESS_S

    def report(count: int) -> None:
        nonlocal due_s
        if time.monotonic() > due_s:
            due_s = time.monotonic() + _PROGRESS_S
            note(f"{count:,} deliveries looked at")

    return report

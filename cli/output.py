"""Where commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click


def emit(line: str) -> None:
    """Print one line of the result now, also into a pipe."""
    click.echo(line)
    sys.stdout.flush()


def emit_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Print a result as one line of JSON."""
    emit(json.dumps(value, default=str))


def note(line: str) -> None:
    """Print one line that does not belong to the result."""
    click.echo(line, err=True)


def comments(*, as_json: bool) -> Callable[[str], None]:
    """Return where lines for people go: beside the result, or out of its way where that is JSON."""
    return note if as_json else emit

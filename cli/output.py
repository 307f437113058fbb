"""Where commands print: results to standard output, everything else to standard error.

This is the only place of the command line that writes to either. What a line quotes may be any sender's choice, so no
character reaches a terminal that it could take for a command, or a person for a line of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

_CLEAR = "\r\x1b[K"
_PROGRESS_LETTERS = 200


def escaped(text: str) -> str:
    """Return a text as one line of printable characters; others are written as in Python: \\x1b, \\u202e.

    Escaped are control characters with newline and tab, what changes the direction of text, blanks that are not a
    space, and lone surrogates.
    """
    return text if text.isprintable() else "".join(map(_escaped_letter, text))


def _escaped_letter(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")


def emit(line: str) -> None:
    """Print one line of the result now, also into a pipe."""
    click.echo(escaped(line))
    sys.stdout.flush()


def emit_lines(lines: Iterable[str]) -> None:
    """Print lines of the result."""
    for line in lines:
        emit(line)


def emit_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Print a result as one line of JSON."""
    # JSON escapes what is not ASCII and not visible, but for this one.
    emit(json.dumps(value, default=str).replace("\x7f", "\\u007f"))


def emit_bytes(body: bytes) -> None:
    """Write the exact bytes of a body to standard output: the one result that is not escaped."""
    sys.stdout.buffer.write(body)


def note(line: str) -> None:
    """Print one line that does not belong to the result."""
    click.echo(escaped(line), err=True)


def note_lines(lines: Iterable[str]) -> None:
    """Print lines that do not belong to the result."""
    for line in lines:
        note(line)


def show_progress(line: str) -> str:
    """Put a line at the end of the terminal, where `clear_progress` takes it away; into a pipe it is a line.

    Returns what is to be taken away: nothing in a pipe.
    """
    is_terminal = sys.stderr.isatty()
    shown = escaped(line)[:_PROGRESS_LETTERS] if is_terminal else ""
    sys.stderr.write(shown or f"{escaped(line)}\n")
    sys.stderr.flush()
    return shown


def clear_progress() -> None:
    """Take away the line that `show_progress` put at the end of the terminal."""
    sys.stderr.write(_CLEAR)
    sys.stderr.flush()


def comments(*, as_json: bool) -> Callable[[str], None]:
    """Return where lines for people go: beside the result, or out of its way where that is JSON."""
    return note if as_json else emit

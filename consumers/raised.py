"""How an exception is reported: its type and where it was raised. Its message may quote the data, so it is left out."""

from __future__ import annotations

import traceback

# A longer path keeps its end: lines of the log and attributes of items are cut, and the function's name comes last.
_PATH_CHARS_MAX = 80


def raised_at(error: BaseException) -> str:
    """Return the type of an exception and the innermost file, line and function it came from, without its message."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    where = f" at {_short(frames[0].filename)}:{frames[0].lineno} in {frames[0].name}" if frames else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{where}"


def _short(path: str) -> str:
    return path if len(path) <= _PATH_CHARS_MAX else f"...{path[3 - _PATH_CHARS_MAX :]}"

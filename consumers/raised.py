"""How an exception is reported: its type and where it was raised. Its message may quote the data, so it is left out."""

from __future__ import annotations

import traceback


def raised_at(error: BaseException) -> str:
    """Return the type of an exception and the innermost file, line and function it came from, without its message."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    where = f" at {frames[0].filename}:{frames[0].lineno} in {frames[0].name}" if frames else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{where}"

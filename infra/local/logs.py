"""What the start of a session does with the logs of earlier ones: old lines go, as on AWS; a torn one is ended."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

_AT = re.compile(rb'"at":"?(\d{13})\b')


def expire(log: Path, oldest_ms: int) -> None:
    """Drop the lines before the first that is dated ``oldest_ms`` (epoch milliseconds) or later.

    Lines are in the order of time, those without a date with their neighbours. A log without any date is left alone.
    """
    if not log.exists():
        return
    with log.open("rb") as lines:
        kept_from = dated = 0
        for line in lines:
            found = _AT.search(line)
            if found and int(found[1]) >= oldest_ms:
                break
            dated += found is not None
            kept_from += len(line)
        if not dated:
            return
        draft = log.with_suffix(".new")
        draft.touch(mode=0o600)
        with draft.open("wb") as rest:
            lines.seek(kept_from)
            shutil.copyfileobj(lines, rest)
    draft.replace(log)


def end_last_line(log: Path) -> None:
    """End a line that a kill tore, or the next session's first one would be a part of it."""
    if not log.exists() or not log.stat().st_size:
        return
    with log.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")

"""Old lines go from a log file when a session starts, as they go from a log group on AWS."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_AT = re.compile(rb'"at":"?(\d{13})\b')


def expire(log: Path, oldest_ms: int) -> None:
    """Drop the lines before the first that is dated ``oldest_ms`` (epoch milliseconds) or later.

    Lines stand in the order of time, those without a date with their neighbours. A log without any date is left alone.
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

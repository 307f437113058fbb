"""Times, durations and sizes as people write them: ``2h`` (ago), ``2026-11-23``, ``2026-11-23T10:00Z``, epoch times."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from weir.ingest.calendar import is_time
from weir.ingest.errors import OptionInvalid

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_EPOCH = re.compile(r"\d{9,10}(\.\d+)?|\d{12,13}")


def parse_duration_s(text: str) -> float:
    """Return seconds of ``90s``, ``15m``, ``2h``, ``7d``, ``1w``. Raises: OptionInvalid."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise OptionInvalid(f"{text!r} is not a duration: use e.g. 90s, 15m, 2h, 7d or 1w.")
    return float(found.group(1)) * _UNITS_S[found.group(2)]


def parse_window_ms(since: str | None, until: str | None, now_ms: int) -> tuple[int | None, int | None]:
    """Return both ends of a window, None where none is given. Raises: OptionInvalid when it ends before it begins."""
    since_ms = parse_time_ms(since, now_ms) if since else None
    until_ms = parse_time_ms(until, now_ms) if until else None
    if since_ms is not None and until_ms is not None and until_ms < since_ms:
        raise OptionInvalid(f"--until {until} is before --since {since}: give them the other way round.")
    return since_ms, until_ms


def parse_time_ms(text: str, now_ms: int) -> int:
    """Return epoch milliseconds of an ISO 8601 time (UTC unless it has an offset), a duration ago, or an epoch time.

    Raises: OptionInvalid.
    """
    text = text.strip()
    if text == "now":
        return now_ms
    if _DURATION.fullmatch(text):
        return now_ms - round(parse_duration_s(text) * 1000)
    if _EPOCH.fullmatch(text):
        return int(text) if len(text) >= 12 and "." not in text else round(float(text) * 1000)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise OptionInvalid(
            f"{text!r} is not a time: use e.g. 2026-11-23, 2026-11-23T10:00:00Z, or 2h for two hours ago."
        ) from None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def show_duration(seconds: float) -> str:
    """Write a duration in its two largest units."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, _ = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def show_bytes(size_bytes: int) -> str:
    """Write a size as KB or MB of a thousand each, as AWS' limits of streams are."""
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:,.1f} KB"


def show_time(at_ms: int) -> str:
    """Write epoch milliseconds as ISO 8601 in UTC, which `parse_time_ms` reads back.

    A time outside the years 1 to 9999 is written as the number: one stored value must not break a whole listing.
    """
    if not is_time(at_ms):
        return f"{at_ms} ms"
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

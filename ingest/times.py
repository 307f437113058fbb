"""Times as providers write them, to and from epoch milliseconds, within the years 1 to 9999 of UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from weir.ingest.calendar import is_time
from weir.ingest.locations import Unreadable

TimeUnit = Literal["s", "ms", "s-or-ms", "s-or-rfc3339", "rfc3339", "http-date"]
NUMBER_UNITS = frozenset({"s", "ms", "s-or-ms"})

_MAX_DIGITS = 16
_LONGEST_SECONDS = 11  # of `s-or-ms`: 12 digits of milliseconds are 1973, of seconds the year 5138


def parse_ms(text: str, unit: str) -> int:
    """Return epoch milliseconds. Raises: Unreadable for any other text, and for a time that no calendar has."""
    if unit == "s-or-rfc3339":
        unit = "s" if text.isdigit() else "rfc3339"
    at_ms = _parse_number(text, unit) if unit in NUMBER_UNITS else _parse_date(text, unit)
    if not is_time(at_ms):
        raise Unreadable("the time is outside the years 1 to 9999")
    return at_ms


def _parse_date(text: str, unit: str) -> int:
    try:
        moment = datetime.fromisoformat(text) if unit == "rfc3339" else _parse_http_date(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(aware.timestamp() * 1000)
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise Unreadable(f"the time is not written as {unit}") from error


def format_ms(at_ms: int, unit: TimeUnit) -> str:
    """Write a time as a provider would."""
    if unit in NUMBER_UNITS or unit == "s-or-rfc3339":
        return str(at_ms if unit == "ms" else at_ms // 1000)
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ" if unit == "rfc3339" else "%a, %d %b %Y %H:%M:%S GMT")


def _parse_number(text: str, unit: str) -> int:
    if len(text) > _MAX_DIGITS or not (text.isascii() and text.isdigit()):
        raise Unreadable("the time is not a whole number")
    is_ms = unit == "ms" or (unit == "s-or-ms" and len(text) > _LONGEST_SECONDS)
    return int(text) if is_ms else int(text) * 1000


def _parse_http_date(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only one provider writes dates this way

    return parsedate_to_datetime(text)

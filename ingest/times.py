"""Times as providers write them, to and from epoch milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from weir.ingest.locations import Unreadable

TimeUnit = Literal["s", "ms", "rfc3339", "http-date"]

_MAX_DIGITS = 16


def parse_ms(text: str, unit: str) -> int:
    """Return epoch milliseconds. Raises: Unreadable for any other text."""
    if unit in {"s", "ms"}:
        return _parse_number(text, 1000 if unit == "s" else 1)
    try:
        moment = datetime.fromisoformat(text) if unit == "rfc3339" else _parse_http_date(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(aware.timestamp() * 1000)
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise Unreadable(f"the time is not written as {unit}") from error


def format_ms(at_ms: int, unit: TimeUnit) -> str:
    """Write a time as a provider would."""
    if unit in {"s", "ms"}:
        return str(at_ms // 1000 if unit == "s" else at_ms)
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ" if unit == "rfc3339" else "%a, %d %b %Y %H:%M:%S GMT")


def _parse_number(text: str, factor: int) -> int:
    if len(text) > _MAX_DIGITS or not (text.isascii() and text.isdigit()):
        raise Unreadable("the time is not a whole number")
    return int(text) * factor


def _parse_http_date(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only one provider writes dates this way

    return parsedate_to_datetime(text)

"""The times that can be written: the years 1 to 9999 of UTC, as epoch milliseconds."""

from __future__ import annotations

MIN_MS = -62_135_596_800_000  # 0001-01-01T00:00:00.000Z
MAX_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


def is_time(at_ms: int) -> bool:
    """Tell whether `datetime` can write these epoch milliseconds in UTC."""
    return MIN_MS <= at_ms <= MAX_MS

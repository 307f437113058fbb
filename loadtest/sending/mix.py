"""What is sent: shares of providers, sizes, duplicates, bad signatures, keys and oversized bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from weir.ingest.errors import OptionInvalid

_SIZE = re.compile(r"(\d+)([kKmM]?)")
_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}
# Above what a record of the stream holds by default, below what API Gateway takes.
OVERSIZED_BYTES = 1024 * 1024
# Above the 10 MB that API Gateway takes at most, and little enough to be held in memory by the thousand.
_LARGEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Mix:
    """Weights and shares; a share is a part of all requests, between 0 and 1.

    ``sources`` and ``sizes`` (body bytes) are weighted. ``keyed`` requests name an ordering key in their URL, of
    ``key_count`` keys; ``hot`` of them go to the first ``hot_key_count`` of these. Money moves on ``account_count``
    accounts. Bodies compress like prose, or not at all when ``incompressible``.
    """

    sources: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[int, float] = field(default_factory=lambda: {1024: 1.0})
    duplicates: float = 0.0
    bad_signatures: float = 0.0
    oversized: float = 0.0
    keyed: float = 0.5
    key_count: int = 1000
    hot: float = 0.0
    hot_key_count: int = 4
    account_count: int = 200
    incompressible: bool = False

    def __post_init__(self) -> None:
        for name in ("duplicates", "bad_signatures", "oversized", "keyed", "hot"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionInvalid(f"{name} is a share of all requests, between 0 and 1.")
        for name in ("key_count", "hot_key_count", "account_count"):
            if getattr(self, name) < 1:
                raise OptionInvalid(f"{name} is at least 1.")

    def of(self, **changes: object) -> Mix:
        """Return the mix with some of it changed; None changes nothing."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]


# Sizes as webhooks have them: most between 1 and 2 KB, a few large, one in a thousand too large for an item.
USUAL_SIZES = {1024: 55.0, 2048: 30.0, 8 * 1024: 12.0, 64 * 1024: 2.9, 420 * 1024: 0.1}
USUAL = Mix(sizes=USUAL_SIZES, duplicates=0.05, bad_signatures=0.01, oversized=0.001, hot=0.2)


def parse_sources(text: str) -> dict[str, float]:
    """Read ``stripe=4,github=1``; a name alone weighs 1. Raises: OptionInvalid."""
    return dict(_weighted(part, "=") for part in _parts(text))


def parse_sizes(text: str) -> dict[int, float]:
    """Read ``1k:70,8k:25,64k:5``; a size alone weighs 1. Raises: OptionInvalid."""
    sizes = {}
    for name, weight in (_weighted(part, ":") for part in _parts(text)):
        found = _SIZE.fullmatch(name)
        if found is None:
            raise OptionInvalid(f"{name!r} is not a size. Examples of sizes: 900, 8k, 1m.")
        size = int(found[1]) * _UNITS[found[2].lower()]
        if not 0 < size <= _LARGEST_BYTES:
            raise OptionInvalid(f"{name!r}: a body has between 1 byte and {_LARGEST_BYTES >> 20}m.")
        sizes[size] = weight
    return sizes


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise OptionInvalid("The list is empty.")
    return parts


def _weighted(part: str, separator: str) -> tuple[str, float]:
    name, _, weight = part.partition(separator)
    try:
        number = float(weight or 1)
    except ValueError:
        number = 0.0
    if not name or not 0 < number < float("inf"):
        raise OptionInvalid(f"{part!r} is not NAME{separator}WEIGHT with a weight above 0.")
    return name, number

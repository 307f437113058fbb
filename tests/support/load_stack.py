"""Reaching a stack that a load test started, by its folder."""

from __future__ import annotations

from pathlib import Path

import weir
from loadtest.session import Target


def target(home: Path) -> Target:
    """Return how to send to it and how to look into it; runs are kept in its folder."""
    place = weir.load_embedded(home)
    keys = weir.load_signing_keys(place)
    return Target(place, weir.catalogue(), keys, weir.load_dictionary(), home / "load", print)

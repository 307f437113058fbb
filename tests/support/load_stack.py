"""Reaching a stack that a load test started, by its folder."""

from __future__ import annotations

from pathlib import Path

from weir.cli import main as command_line
from weir.loadtest.session import Target


def target(home: Path) -> Target:
    """Return how to send to it and how to look into it; runs are kept in its folder."""
    place = command_line.load_embedded(home)
    keys = command_line.load_signing_keys(place)
    return Target(place, command_line.catalogue(), keys, command_line.load_dictionary(), home / "load", print)

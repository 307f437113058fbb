"""Reaching a stack that a load test started, by its folder."""

from __future__ import annotations

from pathlib import Path

from weir.cli.load_target import embedded_target
from weir.loadtest.session import Target


def target(home: Path) -> Target:
    """Return how to send to it and how to look into it; runs are kept in its folder."""
    return embedded_target(home, print)

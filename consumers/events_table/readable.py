"""Whether this version of Weir can read an events table: its marks and what is stored with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weir.consumers.events_table import blob
from weir.consumers.outcome import Outcome

_OUTCOMES = frozenset(Outcome)


def unreadable(items: Sequence[Mapping[str, Any]]) -> str:
    """Return in a sentence what this version cannot read of some items in wire form, "" if it reads all of them."""
    for item in items:
        key = item.get("pk", {}).get("S", "")
        outcome = item.get("outcome", {}).get("S")
        if outcome is None:
            return f"its item {key!r} has no outcome, so that it is not an events table of Weir's."
        if outcome not in _OUTCOMES:
            return f"its item {key!r} has the outcome {outcome!r}, which only a newer version of Weir knows."
        stored = item.get("envelope", {}).get("B")
        if stored is not None and not blob.is_known(bytes(stored)):
            return f"its item {key!r} is stored in a form that only a newer version of Weir reads."
    return ""

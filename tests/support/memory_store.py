"""The store in memory with the tables that the consumer's tests change."""

from __future__ import annotations

from weir.testing import memory_store
from weir.testing.memory_store import EVENTS

__all__ = ["EVENTS", "KEYS", "MemoryStore"]

# The key of each table: attributes and their types.
KEYS = {
    EVENTS: {"pk": "S"},
    "balances": {"account": "S"},
    "things": {"id": "S"},
    "lines": {"order": "S", "line": "N"},
    "blobs": {"digest": "B"},
}


class MemoryStore(memory_store.MemoryStore):
    """Tables of business code with a key of each kind."""

    def __init__(self, *, has_bucket: bool = True) -> None:
        super().__init__({name: key for name, key in KEYS.items() if name != EVENTS}, has_bucket=has_bucket)

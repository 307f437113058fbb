"""The store in memory with the tables that the consumer's tests change."""

from __future__ import annotations

from weir.testing import memory_store
from weir.testing.memory_store import EVENTS

__all__ = ["EVENTS", "KEYS", "MemoryStore"]

KEYS = {EVENTS: "pk", "balances": "account", "things": "id"}


class MemoryStore(memory_store.MemoryStore):
    """Two tables of business code, each with one text as its key."""

    def __init__(self, *, has_bucket: bool = True) -> None:
        super().__init__({name: {key: "S"} for name, key in KEYS.items() if name != EVENTS}, has_bucket=has_bucket)

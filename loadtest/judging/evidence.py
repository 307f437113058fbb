"""What the oracle finds in the stores, in its own words: records of the stream, items, balances, commits in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A delivery in the stream; ``position`` counts from the start of its shard, parents before children."""

    seq: int
    request_id: str
    partition_key: str
    key: str
    shard_id: str
    sequence_number: str
    position: int
    arrived_at_ms: int
    body_sha256: str


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item of the events table; ``bytes_sha256`` is of the body that it really keeps, "" where it keeps none.

    ``scheme`` is what proved it, "" if nothing did; ``attempts`` how often it was tried, if it had to wait.
    """

    pk: str
    outcome: str
    reason: str
    source: str
    event_id: str
    request_id: str
    key: str
    received_at_ms: int
    applied_at_ms: int
    body_sha256: str
    bytes_sha256: str
    scheme: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction that took effect: the marks it wrote and what it added, by account and currency."""

    marks: tuple[str, ...]
    added: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was read. ``records`` or ``commits`` are None where the place does not let them be read.

    ``items`` are by partition key; ``balances`` by account, then by currency and, under ``events``, their number;
    they are None in a project without the ledger.
    """

    items: Mapping[str, StoredItem] = field(default_factory=dict)
    balances: Mapping[str, Mapping[str, int]] | None = field(default_factory=dict)
    records: Sequence[StoredRecord] | None = None
    commits: Sequence[Commit] | None = None

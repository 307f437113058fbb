"""What the poller reports: one report for every try of a batch, and how far each shard is behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from weir.infra.local.poller.destinations import Condition

Outcome = Literal["done", "partial", "failed", "not_reached", "given_up", "discarded"]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One try of a batch.

    ``done``: every record; ``partial``: those before the sequence number ``reported``; ``failed``: none;
    ``not_reached``: throttled or the function could not be started, which the retry quota does not count;
    ``given_up``: written to the failure destination; ``discarded``: the same without a destination.
    ``attempt`` counts from 1, bisect splits excluded. ``iterator_age_ms`` is the age of the last record.
    """

    shard_id: str
    lane: int
    records: int
    bytes: int
    outcome: Outcome
    attempt: int
    first_sequence_number: str
    last_sequence_number: str
    iterator_age_ms: int
    duration_ms: float = 0.0
    request_id: str = ""
    reported: str | None = None
    error: str | None = None
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class ShardLag:
    """How far one shard is behind: the engine's word on what is not read yet, and what is read and not done."""

    shard_id: str
    millis_behind_latest: int
    records_in_flight: int
    oldest_in_flight_ms: int

    @property
    def lag_ms(self) -> int:
        """Return the age of the oldest record that is not done, near enough."""
        return max(self.millis_behind_latest, self.oldest_in_flight_ms)


OnBatch = Callable[[BatchReport], None]
OnNotice = Callable[[str], None]

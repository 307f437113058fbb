"""What flows through a replay: one record as its origin holds it, and where reading goes on behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from weir.consumers.judging.records import Record
from weir.ingest.ids import SequenceNumber

# Where reading goes on, by lane: a shard, a table, the list of a bucket's objects, a file.
Cursor = dict[str, str]
END = "end"  # the position of a lane that holds nothing more


@dataclass(slots=True, eq=False)
class Delivery:
    """One record: ``data`` is what the stream held, an envelope's line as a rule.

    ``position`` is where it is in its lane, as text that the origin can go on from. ``arrived_at_ms`` is the stream's
    stamp, which is approximate, or 0. ``facts`` are what the events table says of it, where that is the origin.
    """

    data: bytes
    lane: str
    position: str
    arrived_at_ms: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    record: Record | None = None
    opened: Any = None  # its envelope or None, in a tuple, once it has been decoded
    preview: Any = None  # weir.operate.lookup.preview.Preview, once it has been made

    @property
    def where(self) -> str:
        """Return its lane and position for a person."""
        return f"{self.lane}:{self.position}"

    def as_record(self) -> Record:
        """Return it as the consumer reads it."""
        if self.record is not None:
            return self.record
        return Record(self.lane, SequenceNumber(self.position), 0, self.arrived_at_ms, self.data)


@dataclass(frozen=True, slots=True)
class Advance:
    """A lane's position moves without a delivery; without a position, the lane is over and forgotten."""

    lane: str
    position: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """Roughly what an origin holds; None where that is not known."""

    records: int | None = None
    size_bytes: int | None = None
    note: str = ""


class Origin(Protocol):
    """Where deliveries come from."""

    @property
    def label(self) -> str:
        """Return its name for a person."""

    def estimate(self) -> Estimate:
        """Say how much there is to read, in at most a few calls."""

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield what comes after the cursor, in the order of each key; None when there is nothing at present.

        What the cursor holds for a lane is the position of the last delivery that is done.
        """

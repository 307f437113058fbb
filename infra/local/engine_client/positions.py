"""Positions in a stream, and which stream they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

PositionKind = Literal["TRIM_HORIZON", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "SHARD_END"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where to read from: the kind of shard iterator, with its sequence number or time (epoch seconds)."""

    kind: PositionKind
    sequence_number: str | None = None
    at_s: float | None = None

    @property
    def by_sequence(self) -> bool:
        return self.sequence_number is not None

    def iterator_parameters(self) -> dict[str, Any]:
        """Return the parameters of GetShardIterator that mean this position."""
        parameters: dict[str, Any] = {"ShardIteratorType": self.kind}
        if self.sequence_number is not None:
            parameters["StartingSequenceNumber"] = self.sequence_number
        if self.at_s is not None:
            parameters["Timestamp"] = self.at_s
        return parameters


SHARD_END = Position("SHARD_END")


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """Tells a stream from an earlier one of the same name, whose positions must not be used."""

    arn: str
    created_at_s: float

"""Kinesis event -> the records in it: base64 undone, KPL aggregates opened, order kept.

A damaged aggregate is one record that carries its exact bytes and says what is wrong: nothing in it is applied, nothing
of it is lost.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from weir.consumers.judging.aggregate import disaggregate, looks_aggregated
from weir.ingest.errors import AggregateDamaged, EnvelopeMalformed, InvocationInvalid, RecordError
from weir.ingest.ids import SequenceNumber


class Record(NamedTuple):
    """One user record: a Kinesis record of its own or one of those in an aggregate, which share its sequence number.

    ``sub_sequence`` is the position in the aggregate, 0 for a plain record. ``arrived_at_ms`` is when the stream took
    it. ``damage`` says why ``data`` cannot be an envelope when that is known already; ``data`` is then what came, byte
    by byte.
    """

    shard_id: str
    sequence_number: SequenceNumber
    sub_sequence: int
    arrived_at_ms: int
    data: bytes
    damage: RecordError | None = None

    @property
    def position(self) -> str:
        """Return the place in the stream that no other record has."""
        return f"{self.shard_id}:{self.sequence_number}.{self.sub_sequence}"


def read(event: Mapping[str, Any]) -> list[Record]:
    """Return every record of the event in the order of the shard.

    Raises: InvocationInvalid if the event is not what an event source mapping of a Kinesis stream sends.
    """
    return [record for entry in _entries(event) for record in _open(entry)]


def lowest(sequence_numbers: set[SequenceNumber]) -> SequenceNumber:
    """Return the lowest of some sequence numbers, which compare as integers of up to 129 digits.

    Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html
    """
    return min(sequence_numbers, key=int)


def _entries(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(entries, list):
        raise InvocationInvalid(
            "The event has no list of Records: the function is for a Kinesis event source mapping only."
        )
    return entries


def _open(entry: Mapping[str, Any]) -> list[Record]:
    try:
        kinesis = entry["kinesis"]
        sequence_number = SequenceNumber(str(kinesis["sequenceNumber"]))
        int(sequence_number)
        text = kinesis["data"]
        arrived_at_ms = round(kinesis.get("approximateArrivalTimestamp", 0) * 1000)
        shard_id = entry.get("eventID", "").rpartition(":")[0] or "unknown"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvocationInvalid("An entry of Records is not a Kinesis record.", cause=type(error).__name__) from error

    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, TypeError):
        as_it_came = str(text).encode("utf-8", "surrogatepass")
        damage = EnvelopeMalformed("The data is not base64.")
        return [Record(shard_id, sequence_number, 0, arrived_at_ms, as_it_came, damage)]
    return open_record(shard_id, sequence_number, arrived_at_ms, data)


def open_record(shard_id: str, sequence_number: SequenceNumber, arrived_at_ms: int, data: bytes) -> list[Record]:
    """Return the user records in the data of one Kinesis record, in order."""

    def record(content: bytes, damage: RecordError | None = None, sub_sequence: int = 0) -> Record:
        return Record(shard_id, sequence_number, sub_sequence, arrived_at_ms, content, damage)

    if not looks_aggregated(data):
        return [record(data)]
    try:
        parts = disaggregate(data)
    except AggregateDamaged as error:
        return [record(data, error)]
    return [record(part, None, sub_sequence) for sub_sequence, part in enumerate(parts)]

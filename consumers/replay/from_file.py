"""A file of deliveries, one JSON document a line: an envelope as the stream and the archive hold it.

A record that is no envelope stands in it as ``{"raw": base64, "place": "shard:sequence.sub", "arrived_at_ms": n}``.
A name that ends in ``.gz`` is compressed.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from consumers.records import Record
from consumers.replay.delivery import Advance, Cursor, Delivery, Estimate
from ingest.errors import OptionInvalid

_SAMPLE_LINES = 200
_RAW = b'{"raw":'
LANE = "file"


class FromFile:
    """Reads a file from its beginning or from a position, which is an offset in the text without compression."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = str(path)

    def estimate(self) -> Estimate:
        """Guess from the first lines and the size of the file."""
        size_bytes = self.path.stat().st_size
        with self.path.open("rb") as raw, _text(self.path, raw) as lines:
            sample = [len(line) for _, line in zip(range(_SAMPLE_LINES), lines, strict=False)]
            read_bytes = raw.tell()
        if not sample:
            return Estimate(0, size_bytes)
        if len(sample) < _SAMPLE_LINES:
            return Estimate(len(sample), size_bytes)
        if self.path.suffix == ".gz":
            return Estimate(round(len(sample) * size_bytes / max(1, read_bytes)), size_bytes, "compressed")
        return Estimate(round(size_bytes * len(sample) / sum(sample)), size_bytes)

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield the lines behind the cursor."""
        position = int(cursor.get(LANE, 0))
        with self.path.open("rb") as raw, _text(self.path, raw) as lines:
            lines.seek(position)
            for line in lines:
                position += len(line)
                if line.strip():
                    yield _delivery(line, position, self.path)


def _text(path: Path, raw: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw


def _delivery(line: bytes, position: int, path: Path) -> Delivery:
    if not line.startswith(_RAW):
        return Delivery(line, LANE, str(position))
    try:
        wrapped = json.loads(line)
        data = b64decode(wrapped["raw"], validate=True)
        shard_id, _, rest = str(wrapped["place"]).rpartition(":")
        sequence_number, _, sub_sequence = rest.partition(".")
        record = Record(shard_id, sequence_number, int(sub_sequence or 0), int(wrapped["arrived_at_ms"]), data)
    except (ValueError, KeyError, TypeError) as error:
        raise OptionInvalid(f"{path}: the line that ends at byte {position} cannot be read.") from error
    return Delivery(data, LANE, str(position), record.arrived_at_ms, record=record)


def line_of(delivery: Delivery) -> bytes:
    """Write a delivery as a line that `FromFile` reads back."""
    data = delivery.data
    if data.startswith(b'{"v":') and data.find(b"\n") in {-1, len(data) - 1}:
        return data if data.endswith(b"\n") else data + b"\n"
    record = delivery.as_record()
    wrapped = {
        "raw": b64encode(data).decode("ascii"),
        "place": record.position,
        "arrived_at_ms": record.arrived_at_ms,
    }
    return json.dumps(wrapped, separators=(",", ":")).encode("ascii") + b"\n"

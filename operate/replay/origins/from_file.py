"""A file of deliveries, one JSON document a line: an envelope as the stream and the archive hold it.

A record that is not an envelope is in it as ``{"raw": base64, "place": "shard:sequence.sub", "arrived_at_ms": n}``.
A name that ends in ``.gz`` is compressed. What was torn is counted, reported and left out.
"""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from weir.consumers.judging.records import Record
from weir.ingest.errors import OptionInvalid
from weir.ingest.ids import SequenceNumber
from weir.operate.lookup.delivery import Advance, Cursor, Delivery, Estimate
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.origins.archive_objects import split_envelopes
from weir.operate.replay.request import ReplayRequest

_SAMPLE_LINES = 200
_RAW = b'{"raw":'
LANE = "file"


class FromFile:
    """Reads a file from its beginning or from a position, which is an offset in the text without compression."""

    def __init__(self, path: Path, say: Callable[[str], object] = lambda _: None) -> None:
        self.path = path
        self.label = str(path)
        self.torn = 0
        self._say = say

    def estimate(self) -> Estimate:
        """Guess from the first lines and the size of the file."""
        size_bytes = self.path.stat().st_size
        sample: list[int] = []
        with self.path.open("rb") as raw, _text(self.path, raw) as lines:
            with suppress(EOFError, gzip.BadGzipFile, zlib.error):  # reading reports it
                sample.extend(len(line) for line in islice(lines, _SAMPLE_LINES))
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
            try:
                lines.seek(position)
                for line in lines:
                    position += len(line)
                    yield from self._deliveries(line, position)
            except EOFError:
                self._say(f"{self.path} ends early; what comes before was read")
            except (gzip.BadGzipFile, zlib.error) as error:
                raise OptionInvalid(f"{self.path} is corrupt behind byte {position:,} of its text: {error}.") from error
        if self.torn:
            self._say(f"{self.path}: {self.torn:,} pieces are not deliveries; they were left out")

    def _deliveries(self, line: bytes, position: int) -> Iterator[Delivery]:
        """Yield what a line holds: one delivery, or the whole ones of a line that was torn."""
        if line.startswith(_RAW):
            wrapped = _unwrap(line, position)
            if wrapped is not None:
                yield wrapped
            else:
                self.torn += 1
            return
        parts, torn = split_envelopes(line)
        self.torn += torn
        for number, part in enumerate(parts, 1):
            end = position if number == len(parts) else position - len(line)
            yield Delivery(part, LANE, str(end))


def make(context: ReplayContext, request: ReplayRequest, selection: Filter) -> FromFile:  # noqa: ARG001 - the port
    """Return a file as the origin of a replay."""
    return FromFile(Path(request.origin), say=context.console.say)


def _text(path: Path, raw: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw


def _unwrap(line: bytes, position: int) -> Delivery | None:
    """Read a record that is not an envelope; None if it cannot be read."""
    try:
        wrapped = json.loads(line)
        data = b64decode(wrapped["raw"], validate=True)
        shard_id, _, rest = str(wrapped["place"]).rpartition(":")
        sequence_number, _, sub_sequence = rest.partition(".")
        record = Record(
            shard_id, SequenceNumber(sequence_number), int(sub_sequence or 0), int(wrapped["arrived_at_ms"]), data
        )
    except (ValueError, KeyError, TypeError):
        return None
    return Delivery(data, LANE, str(position), record.arrived_at_ms, record=record)


def line_of(delivery: Delivery) -> bytes:
    """Write a delivery as a line that `FromFile` reads back."""
    data = delivery.data
    is_envelope = delivery.opened is None or delivery.opened[0] is not None
    if is_envelope and split_envelopes(data)[0] == [data] and data.find(b"\n") in {-1, len(data) - 1}:
        return data if data.endswith(b"\n") else data + b"\n"
    record = delivery.as_record()
    wrapped = {
        "raw": b64encode(data).decode("ascii"),
        "place": record.position,
        "arrived_at_ms": record.arrived_at_ms,
    }
    return json.dumps(wrapped, separators=(",", ":")).encode("ascii") + b"\n"

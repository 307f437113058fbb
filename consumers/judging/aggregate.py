"""KPL aggregates, opened and written: the one wrapper of aws-kinesis-agg, which is imported when it is first needed.

Left alone the library hands a damaged aggregate on as if it were a plain record, or breaks half-way, prints the data to
stderr and drops the rest; it drops a record without a word that fits its limit but not with the 20 bytes of its frame;
it counts a repeated text key again and again; and it lends the first explicit hash key to records that have none.
Source: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
"""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr
from typing import Any, NamedTuple
from zlib import crc32

from weir.ingest.errors import AggregateDamaged, RecordTooLarge

_MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES = 16

# What a stream takes unless MaxRecordSizeInKiB says more: data and partition key together.
# Source: https://docs.aws.amazon.com/streams/latest/dev/large-records.html
MAX_RECORD_BYTES = 1024 * 1024
_LANES = 16


class Entry(NamedTuple):
    """One entry for PutRecords, and how many records are in it; several if it is an aggregate."""

    partition_key: str
    data: bytes
    record_count: int


def looks_aggregated(data: bytes) -> bool:
    """Tell whether data is framed as an aggregate; what is too short for the frame merely begins like one."""
    return data.startswith(_MAGIC) and len(data) > len(_MAGIC) + _DIGEST_BYTES


def disaggregate(data: bytes) -> list[bytes]:
    """Return the data of each record in an aggregate, in order.

    Raises: AggregateDamaged unless every one of them can be read.
    """
    library = _library("deaggregator")
    whole = {"SequenceNumber": "", "PartitionKey": "", "ApproximateArrivalTimestamp": 0, "Data": data}
    # What it prints is the data, which belongs in no log; that it prints means that it dropped records.
    with redirect_stderr(io.StringIO()) as complaint:
        parts = [part["kinesis"] for part in library.iter_deaggregate_records([whole], data_format="Boto3")]
    if complaint.getvalue():
        raise AggregateDamaged("A record in it points outside its table of keys.", readable_count=len(parts))
    if not parts:
        raise AggregateDamaged("It holds no record.")
    if not all(part.get("aggregated") for part in parts):
        raise AggregateDamaged("The aggregate's checksum or framing is wrong.", bytes=len(data))
    return [b64decode(part["data"]) for part in parts]


def aggregate(
    records: Iterable[tuple[str, bytes]], *, lanes: int = _LANES, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Entry]:
    """Pack (partition key, data) pairs into as few entries as their order allows; nothing is dropped.

    A key stays in one of ``lanes`` and a lane has one partition key of its own, so that whatever shares a key is read
    in the order given, however many shards and parallel batches the stream has. Each record also carries the lane's
    hash key: readers that check that a record belongs to their shard find that it does.
    Raises: RecordTooLarge for a record that the stream cannot hold.
    """
    open_lanes: dict[str, Any] = {}
    for key, data in records:
        lane = f"lane-{crc32(key.encode()) % lanes}"
        if lane in open_lanes and _add(open_lanes[lane], lane, key, data):
            continue
        if lane in open_lanes:
            yield _entry(lane, open_lanes.pop(lane))
        fresh = _library("aggregator").AggRecord(max_record_bytes - len(lane))
        if _add(fresh, lane, key, data):
            open_lanes[lane] = fresh
        else:
            yield _alone(lane, data, max_record_bytes)
    for lane, packed in open_lanes.items():
        yield _entry(lane, packed)


def _add(packed: Any, lane: str, key: str, data: bytes) -> bool:
    # Keys as bytes: a text key is never found again in the library's table and is counted at each record.
    hash_key = str(int.from_bytes(hashlib.md5(lane.encode(), usedforsecurity=False).digest(), "big")).encode()
    try:
        return bool(packed.add_user_record(key.encode(), data, hash_key))
    except ValueError:  # larger than any aggregate
        return False


def _entry(lane: str, packed: Any) -> Entry:
    _, _, data = packed.get_contents()
    return Entry(lane, data, packed.get_num_user_records())


def _alone(lane: str, data: bytes, max_record_bytes: int) -> Entry:
    size = len(lane) + len(data)
    if size > max_record_bytes:
        raise RecordTooLarge("The stream's MaxRecordSizeInKiB is too small for a record.", bytes=size)
    return Entry(lane, data, 1)


def _library(module: str) -> Any:
    search_path = list(sys.path)
    library = importlib.import_module(f"aws_kinesis_agg.{module}")
    # On import it puts itself and its parent first, where its `config_pb2` would hide anybody's.
    sys.path[:] = search_path
    return library

"""Records that can never succeed, put straight into the stream, as a broken producer would."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_kinesis import KinesisClient
    from types_boto3_kinesis.type_defs import PutRecordsRequestEntryTypeDef

_AGGREGATE_MAGIC = b"\xf3\x89\x9a\xc2"
_RECORDS_IN_A_CALL = 100


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that was put; ``pk`` is the key of the item that it must become, quarantined with these bytes.

    ``reason`` is empty where any will do.
    """

    pk: str
    sha256: str
    reason: str


def malformed(count: int) -> list[bytes]:
    """Return records that are not an envelope, each in its own way."""
    good = _envelope(b"{}", source="stripe")
    ways: list[Callable[[int], bytes]] = [
        lambda n: b"%d: \x00\xff not JSON" % n,
        lambda n: good[: len(good) // 2] + b"%d" % n,
        lambda n: good.replace(b'"v":1', b'"v":%d' % (n + 9)),
        lambda n: b'{"v":1}' + b" " * n,
        lambda n: b"[" * 2000 + b"%d" % n,
        lambda n: good.replace(b'"at":', b'"at":"soon%d",' % n),
        lambda n: good.replace(b'"body":"', b'"body":"!%d' % n),
        lambda n: b"null" + b" " * n,
    ]
    return [ways[number % len(ways)](number) for number in range(count)]


def damaged_aggregates(count: int) -> list[bytes]:
    """Return records like KPL aggregates that are broken: a wrong checksum, or content that is not protobuf."""
    found = []
    for number in range(count):
        content = b"\x0a\x02pk\x1a\x08\x08\x00\x1a\x04%04d" % number
        if number % 2:
            content = b"\xff\xff\xff" + content
            found.append(_AGGREGATE_MAGIC + content + hashlib.md5(content, usedforsecurity=False).digest())
        else:
            found.append(_AGGREGATE_MAGIC + content + b"\x00" * 16)
    return found


def unknown_sources(count: int) -> list[bytes]:
    """Return envelopes that name a source which the sources file does not have."""
    return [
        _envelope(b'{"n":%d}' % number, source="unknown", request_id=f"unknown-{number}") for number in range(count)
    ]


def put(kinesis: KinesisClient, stream: str, records: Sequence[bytes], reason: str, *, key: str = "") -> list[Poison]:
    """Put records into the stream, all under one partition key if one is given."""
    found: list[Poison] = []
    for start in range(0, len(records), _RECORDS_IN_A_CALL):
        chunk = records[start : start + _RECORDS_IN_A_CALL]
        entries: list[PutRecordsRequestEntryTypeDef] = [
            {"Data": content, "PartitionKey": key or f"poison-{start + number}"} for number, content in enumerate(chunk)
        ]
        answer = kinesis.put_records(StreamName=stream, Records=entries)
        for content, said in zip(chunk, answer["Records"], strict=True):
            pk = f"!{said['ShardId']}:{said['SequenceNumber']}.0"
            found.append(Poison(pk, hashlib.sha256(content).hexdigest(), reason))
    return found


def _envelope(body: bytes, *, source: str, request_id: str = "poison") -> bytes:
    wire = {
        "v": 1,
        "id": request_id,
        "at": 1_780_000_000_000,
        "source": source,
        "key": "",
        "ip": "127.0.0.1",
        "path": b64encode(b"/live/v1/x").decode("ascii"),
        "query": {},
        "headers": b64encode(b"Content-Type: application/json\n").decode("ascii"),
        "body": b64encode(body).decode("ascii"),
    }
    return json.dumps(wire, separators=(",", ":")).encode() + b"\n"

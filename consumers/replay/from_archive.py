"""The archive as an origin: what Firehose, or the embedded stack's archiver, wrote to S3 by the hour.

Objects are records one after another, without anything between them; a record of ours ends with a newline and begins
with its version and id, and whatever a caller controls inside it is base64. So envelopes are found even where a record
that was none, or the frame of an aggregate, stands between them; such a fragment is counted and left out, since only
the stream knew where it began. Firehose names a folder by the oldest record in an object.

Source: https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html
Source: https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from consumers.replay.delivery import END, Advance, Cursor, Delivery, Estimate

PREFIX = "archive/"
LANE = "archive"

# An object may hold what arrived up to its buffer's time after the oldest record in it; stamps are approximate.
_SLACK_MS = 3_600_000
_START = re.compile(rb'(?=\{"v":\d{1,3},"id":")')
_ARRIVED = re.compile(rb'^\{"v":\d{1,3},"id":"[^"]*","at":(\d+)')
_GZIP = b"\x1f\x8b"
_PEEK_BYTES = 16 * 1024
_SAMPLES = 3
_HOUR = "%Y/%m/%d/%H"


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    size_bytes: int
    folder: str


@dataclass(slots=True)
class FromArchive:
    """Reads with a boto3 client, the objects of an hour in the order of their first records.

    What was written after ``ends_ms`` is left out: a replay into the stream is archived too.
    """

    s3: Any
    bucket: str
    since_ms: int | None = None
    until_ms: int | None = None
    ends_ms: int | None = None
    prefix: str = PREFIX
    say: Callable[[str], object] = lambda _: None
    label: str = field(init=False)
    fragments: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.label = f"archive s3://{self.bucket}/{self.prefix}"

    def estimate(self) -> Estimate:
        """Add the sizes up and count the records of a few objects."""
        count = size_bytes = sampled_bytes = sampled = 0
        for one in self._objects(""):
            if count < _SAMPLES:
                sampled += sum(1 for _ in self._lines(one.key))
                sampled_bytes += one.size_bytes
            count += 1
            size_bytes += one.size_bytes
        if not count:
            return Estimate(0, 0)
        return Estimate(round(sampled * size_bytes / max(1, sampled_bytes)), size_bytes, f"{count:,} objects")

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield the envelopes behind the cursor, hour by hour."""
        for folder, objects in self._folders(cursor.get(LANE, "")):
            for one in self._in_order(objects):
                done = cursor.get(one.key, "0")
                if done != END:
                    yield from self._object(one.key, int(done))
                    yield Advance(one.key, END)
            yield Advance(LANE, folder)
            for one in objects:
                yield Advance(one.key, "")
        if self.fragments:
            self.say(f"{self.fragments} fragments in the archive are no envelopes; they were left out")

    def _object(self, key: str, done: int) -> Iterator[Delivery]:
        for number, line in enumerate(self._lines(key), 1):
            if number > done:
                yield Delivery(line, key, str(number))

    def _lines(self, key: str) -> Iterator[bytes]:
        """Yield each envelope in an object."""
        with self._open(key) as content:
            for line in content:
                for part in _START.split(line):
                    if _ARRIVED.match(part):
                        yield part
                    elif part.strip():
                        self.fragments += 1

    def _open(self, key: str) -> io.BufferedIOBase:
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"]
        content = io.BufferedReader(cast(io.RawIOBase, _Reader(body)), 256 * 1024)
        return cast(io.BufferedIOBase, gzip.GzipFile(fileobj=content)) if content.peek(2)[:2] == _GZIP else content

    # ------------------------------------------------------------------------------------------ which objects

    def _folders(self, done_folder: str) -> Iterator[tuple[str, list[_Object]]]:
        folder, found = "", list[_Object]()
        for one in self._objects(done_folder):
            if one.folder != folder and found:
                yield folder, found
                found = []
            folder = one.folder
            found.append(one)
        if found:
            yield folder, found

    def _objects(self, done_folder: str) -> Iterator[_Object]:
        first = done_folder and f"{done_folder}/~"
        if self.since_ms is not None:
            first = max(first, _hour(self.since_ms - _SLACK_MS))
        last = "~" if self.until_ms is None else _hour(self.until_ms + _SLACK_MS)
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix, StartAfter=f"{self.prefix}{first}"
        )
        for page in pages:
            for given in page.get("Contents", []):
                folder = given["Key"].removeprefix(self.prefix).rpartition("/")[0]
                if folder > last:
                    return
                written_ms = given["LastModified"].timestamp() * 1000
                if given["Size"] and (self.ends_ms is None or written_ms <= self.ends_ms):
                    yield _Object(given["Key"], given["Size"], folder)

    def _in_order(self, objects: list[_Object]) -> list[_Object]:
        if len(objects) == 1:
            return objects
        return sorted(objects, key=lambda one: (self._first_at(one.key), one.key))

    def _first_at(self, key: str) -> int:
        """Return when the first record arrived: the objects of a shard, and so of a key, do not overlap."""
        answer = self.s3.get_object(Bucket=self.bucket, Key=key, Range=f"bytes=0-{_PEEK_BYTES - 1}")
        start = answer["Body"].read()
        if start.startswith(_GZIP):
            start = zlib.decompressobj(wbits=31).decompress(start)
        parts = (_ARRIVED.match(part) for part in _START.split(start))
        return next((int(found.group(1)) for found in parts if found), 0)


class _Reader(io.RawIOBase):
    """Makes botocore's streaming body readable in pieces by whoever wants a file."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._body.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._body.close()
        super().close()


def _hour(at_ms: int) -> str:
    return datetime.fromtimestamp(max(0, at_ms) / 1000, UTC).strftime(_HOUR)

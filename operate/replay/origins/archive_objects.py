"""The archive's objects in S3, as Firehose or the embedded archiver wrote them: which there are, and what is in each.

An object is records one after another, without anything between them; a record of ours ends with a newline and begins
with its version and id, and whatever a caller controls inside it is base64. So envelopes are found even where a record
that was not one, or the frame of an aggregate, is between them; such a fragment is counted and left out, since only
the stream knew where it began. Firehose names a folder by the oldest record in an object.

An object that is gone, cut off or corrupt does not end the reading: it is named and counted. What comes before a cut
is read; in a corrupt one no delivery can be trusted, so none of it counts.

Source: https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html
Source: https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from weir.ingest.ids import RequestId
from weir.operate.lookup.delivery import Advance, Cursor, Delivery, Estimate

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PREFIX = "archive/"

# A request may take half a minute to be stored after it arrived, and the stream's stamps are approximate.
STAMP_SLACK_MS = 120_000
# While the bucket refuses, Firehose keeps records back, and one object may hold days of them. It gives up when the
# stream's retention ends. Source: https://docs.aws.amazon.com/firehose/latest/dev/retry.html
_HELD_BACK_MS = 8 * 86_400_000
_BEGINNING = b'{"v":'
_ENVELOPE = re.compile(rb'\{"v":\d{1,3},"id":"([^"]*)","at":(\d{1,16}),')
_START = re.compile(rb'(?=\{"v":\d{1,3},"id":")')
_GZIP = b"\x1f\x8b"
_BUFFER_BYTES = 256 * 1024
_SAMPLES, _SAMPLE_BYTES = 3, 16 * 1024 * 1024
_HOUR = "%Y/%m/%d/%H"


class Corrupt(Exception):
    """An object fails its own check."""


@dataclass(frozen=True, slots=True)
class ArchiveObject:
    """One object; ``name`` is its key without the archive's prefix, so it begins with the folder."""

    key: str
    name: str
    folder: str
    size_bytes: int


@dataclass(slots=True)
class Archive:
    """Reads with a boto3 client what may hold deliveries of a span of time.

    What was written after ``ends_ms`` is left out: a replay into the stream is archived too.
    """

    s3: S3Client
    bucket: str
    since_ms: int | None = None
    until_ms: int | None = None
    ends_ms: int | None = None
    prefix: str = PREFIX
    say: Callable[[str], object] = lambda _: None
    label: str = field(init=False)
    fragments: int = field(init=False, default=0)
    damaged: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.label = f"archive s3://{self.bucket}/{self.prefix}"

    def folders(self, first: str = "") -> Iterator[tuple[str, list[ArchiveObject]]]:
        """Yield each folder, from one on, with its objects; both in the order of their names."""
        for folder, objects in groupby(self.objects(first), key=lambda one: one.folder):
            yield folder, list(objects)

    def objects(self, first: str = "") -> Iterator[ArchiveObject]:
        """Yield the objects that may hold something of the span, from a folder on."""
        if self.since_ms is not None:
            first = max(first, _hour(self.since_ms - _HELD_BACK_MS))
        last = "~" if self.until_ms is None else _hour(self.until_ms + STAMP_SLACK_MS)
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix, StartAfter=f"{self.prefix}{first}"
        )
        for page in pages:
            for given in page.get("Contents", []):
                name = given["Key"].removeprefix(self.prefix)
                folder = name.rpartition("/")[0]
                if folder > last:
                    return
                if given["Size"] and self._is_of_span(given["LastModified"].timestamp() * 1000):
                    yield ArchiveObject(given["Key"], name, folder, given["Size"])

    def lines(self, key: str) -> Iterator[tuple[int, bytes]]:
        """Yield each envelope in an object with its arrival. Raises: Corrupt, at its end."""
        return ((int(found[2]), line) for found, line in self._found(key))

    def ids(self, key: str) -> Iterator[tuple[int, RequestId]]:
        """Yield the arrival and the request id of each envelope in an object. Raises: Corrupt, at its end."""
        return ((int(found[2]), _request_id(found)) for found, _ in self._found(key))

    def _found(self, key: str) -> Iterator[tuple[re.Match[bytes], bytes]]:
        """Yield each envelope in an object with what `_ENVELOPE` finds at its beginning. Raises: Corrupt."""
        before = self.fragments
        try:
            with closing(_Source(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"])) as source:
                yield from self._envelopes(_text(source))
        except self.s3.exceptions.NoSuchKey:
            self._damage(key, "is gone")
        except self.s3.exceptions.InvalidObjectState as error:
            self._damage(key, f"cannot be read: {error}")
        except EOFError:
            self._damage(key, "ends early; what comes before was read")
        except (gzip.BadGzipFile, zlib.error) as error:
            self.fragments = before
            self._damage(key, f"is corrupt and left out: {error}")
            raise Corrupt from error

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:  # noqa: ARG002 - the port
        """Yield every envelope, object by object: in no order, and always from the beginning."""
        for one in self.objects():
            with suppress(Corrupt):
                for number, (_, line) in enumerate(self.lines(one.key), 1):
                    yield Delivery(line, one.key, str(number))

    def request_ids(self) -> Iterator[RequestId]:
        """Yield the request id of every envelope in these objects, whenever it arrived."""
        for one in self.objects():
            with suppress(Corrupt):
                yield from [request_id for _, request_id in self.ids(one.key)]

    def wants(self, at_ms: int) -> bool:
        """Tell whether a delivery arrived within the span, both ends included."""
        return (self.since_ms is None or at_ms >= self.since_ms) and (self.until_ms is None or at_ms <= self.until_ms)

    def estimate(self) -> Estimate:
        """Add the sizes up and count records at the beginning of the largest objects."""
        count = size_bytes = 0
        largest: list[ArchiveObject] = []
        for one in self.objects():
            count, size_bytes = count + 1, size_bytes + one.size_bytes
            largest = sorted([*largest, one], key=lambda one: -one.size_bytes)[:_SAMPLES]
        samples = [self._sample(one.key) for one in largest]
        per_byte = sum(lines for lines, _ in samples) / max(1, sum(taken_bytes for _, taken_bytes in samples))
        return Estimate(round(per_byte * size_bytes), size_bytes, f"{count:,} object{'' if count == 1 else 's'}")

    def report(self) -> None:
        """Say what has been left out."""
        if self.fragments:
            self.say(f"{self.fragments:,} fragments in the archive are not envelopes; they were left out")
        if self.damaged:
            self.say(f"{self.damaged:,} objects of the archive are damaged or gone: see above")

    def _is_of_span(self, written_ms: float) -> bool:
        """Tell by when an object was written: it holds nothing that arrived later."""
        if self.ends_ms is not None and written_ms > self.ends_ms:
            return False
        return self.since_ms is None or written_ms >= self.since_ms - STAMP_SLACK_MS

    def _sample(self, key: str) -> tuple[int, int]:
        """Return how many lines are in how many bytes at the beginning of an object."""
        beginning = f"bytes=0-{_BUFFER_BYTES - 1}"
        content = self.s3.get_object(Bucket=self.bucket, Key=key, Range=beginning)["Body"].read()
        if not content.startswith(_GZIP):
            return content.count(b"\n"), len(content)
        inflater = zlib.decompressobj(wbits=31)
        try:
            lines = inflater.decompress(content, _SAMPLE_BYTES).count(b"\n")
        except zlib.error:
            return 0, len(content)
        return lines, len(content) - len(inflater.unconsumed_tail)

    def _envelopes(self, content: io.BufferedIOBase) -> Iterator[tuple[re.Match[bytes], bytes]]:
        for line in content:
            found = _ENVELOPE.match(line)
            if found and line.endswith(b"}\n") and line.find(_BEGINNING, 1) < 0:  # as a rule, one line is one envelope
                yield found, line
                continue
            parts, torn = split_envelopes(line)
            self.fragments += torn
            yield from ((found, part) for part in parts if (found := _ENVELOPE.match(part)))

    def _damage(self, key: str, why: str) -> None:
        self.damaged += 1
        self.say(f"s3://{self.bucket}/{key} {why}")


class _Source(io.RawIOBase):
    """Makes botocore's streaming body readable in pieces, as a file is."""

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


def starts_ms(folder: str) -> int | None:
    """Return when the hour of a folder begins; None if its name is not an hour."""
    try:
        return round(datetime.strptime(folder, _HOUR).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return None


def _text(source: _Source) -> io.BufferedIOBase:
    content = io.BufferedReader(source, _BUFFER_BYTES)
    return cast(io.BufferedIOBase, gzip.GzipFile(fileobj=content)) if content.peek(2)[:2] == _GZIP else content


def split_envelopes(line: bytes) -> tuple[list[bytes], int]:
    """Return the envelopes in a line, as their beginnings and ends show them, and the number of other pieces."""
    parts = [part for part in _START.split(line) if part.strip()]
    whole = [part for part in parts if _ENVELOPE.match(part) and part.rstrip().endswith(b"}")]
    return whole, len(parts) - len(whole)


def _request_id(found: re.Match[bytes]) -> RequestId:
    return RequestId(found[1].decode("ascii", "replace"))


def _hour(at_ms: int) -> str:
    return datetime.fromtimestamp(max(0, at_ms) / 1000, UTC).strftime(_HOUR)

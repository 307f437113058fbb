"""The archive of the embedded stack: a second, independent reader of the stream that does what Firehose would.

It reads what the template's delivery stream says: bucket, prefix, buffering, compression. Records are written one after
another as they came, aggregates opened; a folder is named by the hour of the oldest record in an object. A checkpoint
moves only behind what S3 has taken, so a record is archived at least once.

Source: https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html
Source: https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weir.infra.local.engine_client.aws_json import AwsClient, AwsError
from weir.infra.local.engine_client.positions import SHARD_END, Position
from weir.infra.local.engine_client.stream_calls import Page, Shard, Stream
from weir.infra.local.poller.checkpoints import Checkpoints
from weir.infra.local.poller.lanes import Timing
from weir.infra.local.poller.shards import PAGE_RECORDS
from weir.ingest.errors import ServiceError, TemplateUnsupported

_GZIP = 31  # zlib's word for deflate with gzip's frame
_LEVEL = 1  # a little over half the time of the usual 6, and the poller waits in the same event loop
_COMPRESSIONS = {"GZIP": ".gz", "UNCOMPRESSED": ""}

Disaggregate = Callable[[bytes], list[bytes]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a delivery stream from Kinesis to S3 says."""

    stream_arn: str
    bucket: str
    prefix: str
    name: str
    interval_s: float
    size_bytes: int
    compression: str

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> Delivery:
        """Read evaluated properties. Raises: TemplateUnsupported for what the archiver cannot honour."""
        target = properties["ExtendedS3DestinationConfiguration"]
        compression = target.get("CompressionFormat", "UNCOMPRESSED")
        prefix = target.get("Prefix", "")
        if compression not in _COMPRESSIONS or "!{" in prefix:
            raise TemplateUnsupported("The archiver compresses with GZIP and takes a plain prefix.", prefix=prefix)
        hints = target.get("BufferingHints", {})
        return cls(
            stream_arn=properties["KinesisStreamSourceConfiguration"]["KinesisStreamARN"],
            bucket=target["BucketARN"].rpartition(":")[2],
            prefix=prefix,
            name=properties["DeliveryStreamName"],
            interval_s=float(hints.get("IntervalInSeconds", 300)),
            size_bytes=int(hints.get("SizeInMBs", 5)) * 1024 * 1024,
            compression=compression,
        )


@dataclass(slots=True)
class _Buffer:
    """Records of one shard on their way into an object, compressed as they come."""

    compression: str
    oldest_s: float = 0.0
    began_s: float = 0.0
    size_bytes: int = 0
    behind: Position | None = None
    parts: list[bytes] = field(default_factory=list)
    _deflater: Any = None

    def add(self, content: bytes, arrived_at_s: float, now_s: float) -> None:
        if not self.size_bytes:
            self.began_s, self.oldest_s = now_s, arrived_at_s
            self._deflater = zlib.compressobj(_LEVEL, wbits=_GZIP) if self.compression == "GZIP" else None
        self.oldest_s = min(self.oldest_s, arrived_at_s)
        self.size_bytes += len(content)
        self.parts.append(self._deflater.compress(content) if self._deflater else content)

    def content(self) -> bytes:
        """Return the object, the same each time; nothing can be added afterwards."""
        if self._deflater is not None:
            self.parts.append(self._deflater.flush())
            self._deflater = None
        return b"".join(self.parts)


class Archiver:
    """Archives one stream from ``run`` until ``stop``; what is buffered then is written.

    ``kinesis`` is the stream's address where it is not ``endpoint``. ``disaggregate`` opens a record that is an
    aggregate and returns any other one alone.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        endpoint: str,
        kinesis: str | None = None,
        access_key: str = "weir",
        state: Path,
        disaggregate: Disaggregate,
        on_notice: Callable[[str], object] = lambda _: None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._delivery = delivery
        region = delivery.stream_arn.split(":")[3]
        self._client = AwsClient(endpoint, kinesis=kinesis, region=region, access_key=access_key)
        self._stream = Stream(self._client, delivery.stream_arn)
        self._state = state / f"archive-{delivery.stream_arn.rpartition('/')[2]}.json"
        self._disaggregate = disaggregate
        self._on_notice = on_notice
        self._timing = timing or Timing(poll_s=1.0)  # once a second, like Firehose
        self._clock = clock
        self._stopping = asyncio.Event()
        self._ended: asyncio.Event | None = None
        self._said = ""
        self._reading: set[str] = set()
        self._saving = asyncio.Lock()

    async def run(self) -> None:
        """Archive until ``stop``; an engine that does not answer is waited for."""
        self._ended = asyncio.Event()
        try:
            checkpoints = await self._open()
            if checkpoints is None:
                return
            async with asyncio.TaskGroup() as group:
                while not self._stopping.is_set():
                    await self._guarded(self._take_up(checkpoints, group))
                    await self._pause(self._timing.discover_s)
        finally:
            await self._client.close()
            self._ended.set()

    async def stop(self) -> None:
        """Write what is buffered and end."""
        self._stopping.set()
        if self._ended is not None:
            await self._ended.wait()

    async def _open(self) -> Checkpoints | None:
        while not self._stopping.is_set():
            try:
                identity, _ = await self._stream.describe()
            except AwsError as error:
                self._notice(str(error))
                await self._pause(self._timing.poll_s)
            else:
                # Firehose begins at LATEST; here nothing was ever before.
                return Checkpoints(self._state, identity, Position("TRIM_HORIZON"))
        return None

    async def _take_up(self, checkpoints: Checkpoints, group: asyncio.TaskGroup) -> None:
        """Start to read the shards that are not read yet and are not done."""
        shards = await self._stream.shards()
        for shard in shards:
            position = checkpoints.position(shard.id, shard.first_sequence_number)
            if shard.id not in self._reading and position != SHARD_END:
                self._reading.add(shard.id)
                group.create_task(self._read(shard, position, checkpoints))
        checkpoints.keep_only({shard.id for shard in shards} | self._reading)

    async def _read(self, shard: Shard, position: Position, checkpoints: Checkpoints) -> None:
        """Read one shard to its end, or until the archiver stops."""
        buffer = _Buffer(self._delivery.compression)
        iterator: str | None = None
        ended = False
        while not (ended or self._stopping.is_set()):
            try:
                iterator = iterator or await self._stream.iterator(shard.id, position)
                page = await self._stream.page(iterator, PAGE_RECORDS)
            except AwsError as error:
                if iterator is None and error.type == "InvalidArgumentException" and position.by_sequence:
                    position = Position("TRIM_HORIZON")
                iterator = None
                self._notice(str(error))
                await self._pause(self._timing.poll_s)
                continue
            # An iterator of the engine is a place in a list whose head expires: one for each page that brings records.
            iterator = None if page.records else page.next_iterator
            position, ended = self._take(page, buffer, position), page.end
            if self._is_due(buffer):
                buffer = await self._write(shard, buffer, checkpoints)
            if not (page.behind_ms or ended):
                await self._pause(self._timing.poll_s)
        if buffer.size_bytes or ended:
            await self._write(shard, buffer, checkpoints)
        self._reading.discard(shard.id)

    def _take(self, page: Page, buffer: _Buffer, position: Position) -> Position:
        """Buffer a page; return where reading goes on."""
        for given in page.records:
            position = Position("AFTER_SEQUENCE_NUMBER", given["SequenceNumber"])
            for content in self._opened(base64.b64decode(given["Data"])):
                buffer.add(content, float(given["ApproximateArrivalTimestamp"]), self._clock())
        buffer.behind = SHARD_END if page.end else position
        return position

    def _opened(self, data: bytes) -> list[bytes]:
        try:
            return self._disaggregate(data)
        except ServiceError:
            return [data]

    def _is_due(self, buffer: _Buffer) -> bool:
        if not buffer.size_bytes:
            return False
        age_s = self._clock() - buffer.began_s
        return buffer.size_bytes >= self._delivery.size_bytes or age_s >= self._delivery.interval_s

    async def _write(self, shard: Shard, buffer: _Buffer, checkpoints: Checkpoints) -> _Buffer:
        """Write an object, however long the bucket refuses it unless the archiver stops; return an empty buffer."""
        content = buffer.content()
        while content and buffer.size_bytes:
            try:
                await self._client.put_object(self._delivery.bucket, self._key(buffer), content)
                break
            except AwsError as error:
                self._notice(str(error))
                if self._stopping.is_set():
                    return buffer  # read again by the next session
                await self._pause(self._timing.poll_s)
        self._said = ""
        if buffer.behind is not None:
            checkpoints.put(shard.id, shard.first_sequence_number, buffer.behind)
            async with self._saving:
                await asyncio.to_thread(checkpoints.save, checkpoints.snapshot())
        return _Buffer(self._delivery.compression)

    def _key(self, buffer: _Buffer) -> str:
        oldest, now = datetime.fromtimestamp(buffer.oldest_s, UTC), datetime.fromtimestamp(self._clock(), UTC)
        suffix = _COMPRESSIONS[self._delivery.compression]
        name = f"{self._delivery.name}-1-{now:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}{suffix}"
        return f"{self._delivery.prefix}{oldest:%Y/%m/%d/%H}/{name}"

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except AwsError as error:
            self._notice(str(error))

    def _notice(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._on_notice(f"archive: {text}")

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

"""One shard, read from its position to its end and dealt to lanes by partition key.

Source: https://docs.aws.amazon.com/streams/latest/dev/kinesis-using-sdk-java-after-resharding.html
"""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Callable
from typing import Any

from weir.infra.local.engine_client.aws_json import AwsError
from weir.infra.local.engine_client.positions import Position
from weir.infra.local.engine_client.stream_calls import Page, Shard, Stream
from weir.infra.local.poller.lanes import Lane, PollerContext
from weir.infra.local.poller.reports import ShardLag

# Read and not done, per shard. Beyond it a lane that is stuck holds up its neighbours: memory is bounded, order kept.
_IN_FLIGHT_BYTES = 64 * 1024 * 1024
_PAGE_BYTES = 8 * 1024 * 1024
# Of whatever size: an engine may not bound its answers, and senders wait while it writes one.
PAGE_RECORDS = 250


class ShardReader:
    """Reads one shard; ``run`` ends at the shard's end, with ``finished`` set, or when the poller stops."""

    def __init__(
        self, context: PollerContext, stream: Stream, shard: Shard, start: Position, moved: Callable[[Position], None]
    ) -> None:
        self.shard = shard
        self.finished = False
        self._context = context
        self._stream = stream
        self._moved = moved
        self._read = start  # where to read on; the checkpoint may be far behind it
        self._iterator: str | None = None
        self._changed = asyncio.Event()
        self._gone = False
        self._over = asyncio.Event()  # nothing more is to be fetched
        self._behind_ms = 0
        self._record_bytes = _PAGE_BYTES // PAGE_RECORDS
        lanes = range(context.mapping.parallelization_factor)
        self._lanes = [Lane(context, shard.id, number, self._progress) for number in lanes]

    async def run(self) -> None:
        """Read, and work, until there is nothing left of the shard."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes:
                tasks.create_task(lane.run())
            ended = await self._fetch()
            if ended:
                for lane in self._lanes:
                    lane.close()
        self.finished = ended and not any(lane.pending for lane in self._lanes)

    def vanish(self) -> None:
        """Say that the stream no longer has this shard: what was read is still worked off."""
        self._gone = True
        self._over.set()
        self._changed.set()

    def reads(self, shard: Shard | None) -> bool:
        """Tell whether this is the shard that is read here, and not a later one of the same id."""
        return shard is not None and shard.first_sequence_number == self.shard.first_sequence_number

    def wake(self) -> None:
        """Let every waiting part see that the poller stops."""
        self._over.set()
        self._changed.set()
        for lane in self._lanes:
            lane.wake()

    def lag(self) -> ShardLag:
        """Return how far this shard is behind."""
        pending = [lane.pending[0] for lane in self._lanes if lane.pending]
        oldest_s = min((record.arrived_at_s for record in pending), default=None)
        age_ms = 0 if oldest_s is None else max(0, round((self._context.clock() - oldest_s) * 1000))
        return ShardLag(self.shard.id, self._behind_ms, sum(len(lane.pending) for lane in self._lanes), age_ms)

    async def _fetch(self) -> bool:
        """Read pages as lanes want them; return True at the end of the shard, False when the poller stops."""
        failures = 0
        while not self._over.is_set():
            if not self._wants_more():
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                page = await self._page()
            except AwsError as error:
                failures += 1
                self._recover(error)
                await self._rest(self._context.timing.backoff(failures))
                continue
            failures = 0
            self._context.notice(self.shard.id, None)
            self._deal(page)
            if page.end:
                return True
            if not page.behind_ms:
                await self._rest(self._context.timing.poll_s)
        return self._gone

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return

    def _wants_more(self) -> bool:
        in_flight_bytes = sum(lane.pending_bytes for lane in self._lanes)
        return in_flight_bytes < _IN_FLIGHT_BYTES and any(lane.hungry for lane in self._lanes)

    async def _page(self) -> Page:
        # A new iterator for every page: an iterator of MiniStack is a place in a list, and skips records when old ones
        # expire at the list's head.
        if self._iterator is None:
            self._iterator = await self._stream.iterator(self.shard.id, self._read)
        limit = max(1, min(PAGE_RECORDS, _PAGE_BYTES // self._record_bytes))
        return await self._stream.page(self._iterator, limit)

    def _deal(self, page: Page) -> None:
        # Without records only the iterator knows how far the search has come.
        self._iterator = None if page.records or not page.behind_ms else page.next_iterator
        self._behind_ms = page.behind_ms
        for given in page.records:
            self._read = Position("AFTER_SEQUENCE_NUMBER", given["SequenceNumber"])
            if self._wanted(given):
                lane = self._lanes[zlib.crc32(given.get("PartitionKey", "").encode()) % len(self._lanes)]
                lane.add(lane.measured(given))
        if page.records:
            self._record_bytes = max(1, sum(len(given["Data"]) for given in page.records) // len(page.records))
            self._progress()

    def _wanted(self, given: dict[str, Any]) -> bool:
        wants = self._context.mapping.wants
        return wants is None or wants(base64.b64decode(given["Data"]))

    def _progress(self) -> None:
        """Move the checkpoint to the first record that is not done, or behind the last one read."""
        pending = [lane.pending[0].sequence_number for lane in self._lanes if lane.pending]
        if pending:
            self._moved(Position("AT_SEQUENCE_NUMBER", min(pending, key=int)))
        else:
            self._moved(self._read)
        self._changed.set()

    def _recover(self, error: AwsError) -> None:
        refused = self._iterator is None
        self._iterator = None
        if refused and error.type == "InvalidArgumentException" and self._read.by_sequence:
            text = "the records after the checkpoint have expired; reading on from the oldest that is left"
            self._read = Position("TRIM_HORIZON")
        else:
            text = str(error)
        self._context.notice(self.shard.id, text)

"""The event source mapping of the embedded stack: reads one stream and calls the function with batches, as Lambda does.

It follows resharding (parents to their end before children), keeps a checkpoint per shard in a file, and delivers at
least once. The parts: ``mapping`` what the template says, ``kinesis`` the calls, ``shards`` reading, ``lanes`` batches,
retries and giving up, ``batches`` documents and rules, ``destinations`` failures, ``checkpoints`` the file.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from weir.infra.local.engine_client.aws_json import AwsClient, AwsError
from weir.infra.local.engine_client.positions import SHARD_END, Position
from weir.infra.local.engine_client.stream_calls import Shard, Stream
from weir.infra.local.function.invocations import PAYLOAD_LIMIT_BYTES, Invoke
from weir.infra.local.poller.checkpoints import Checkpoints
from weir.infra.local.poller.destinations import Described, destination
from weir.infra.local.poller.event_source_mapping import EventSourceMapping
from weir.infra.local.poller.lanes import PollerContext, Timing
from weir.infra.local.poller.reports import BatchReport, OnBatch, OnNotice, ShardLag
from weir.infra.local.poller.shards import ShardReader

STOP_GRACE_S = 15.0


def _ignore(_: BatchReport | str) -> None:
    return None


class Poller:
    """Serves one event source mapping from ``run`` until ``stop``.

    ``kinesis`` is the stream's address where it is not ``endpoint``. ``state`` is the folder of the checkpoint file.
    ``mapping_id`` is the mapping's UUID in the keys of failure objects; by default it follows from stream and function.
    ``clock`` gives epoch seconds and judges the age of records.
    """

    def __init__(
        self,
        mapping: EventSourceMapping,
        invoke: Invoke,
        *,
        endpoint: str,
        kinesis: str | None = None,
        access_key: str = "weir",
        state: Path,
        on_batch: OnBatch = _ignore,
        on_notice: OnNotice = _ignore,
        mapping_id: str | None = None,
        role_arn: str | None = None,
        timing: Timing | None = None,
        payload_limit_bytes: int = PAYLOAD_LIMIT_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        account, name = mapping.stream_arn.split(":")[4], mapping.function_name.rpartition(":")[2]
        function_arn = f"arn:aws:lambda:{mapping.region}:{account}:function:{name}"
        self.mapping_id = mapping_id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{mapping.stream_arn} {function_arn}"))
        self._client = AwsClient(endpoint, kinesis=kinesis, region=mapping.region, access_key=access_key)
        self._stream = Stream(self._client, mapping.stream_arn)
        self._mapping, self._state = mapping, state / f"{mapping.stream_name}.json"
        described = Described(self.mapping_id, function_arn, mapping.stream_arn)
        self._context = PollerContext(
            mapping=mapping,
            invoke=invoke,
            destination=destination(self._client, mapping.destination_arn, described),
            timing=timing or Timing(),
            clock=clock,
            payload_limit_bytes=payload_limit_bytes,
            maximum_age_s=mapping.maximum_record_age_s,
            role_arn=role_arn or f"arn:aws:iam::{account}:role/{name}",
            on_batch=on_batch,
            on_notice=on_notice,
        )
        self._readers: dict[str, ShardReader] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._ended: asyncio.Event | None = None

    def lag(self) -> list[ShardLag]:
        """Return how far each shard that is being read is behind."""
        return [self._readers[shard_id].lag() for shard_id in sorted(self._readers)]

    async def run(self) -> None:
        """Poll until ``stop``; an engine that does not answer is waited for.

        Raises: whatever ``invoke`` or a hook raises, as an exception group; it is a bug there.
        """
        self._ended = asyncio.Event()
        checkpoints = None
        try:
            if self._mapping.enabled:
                checkpoints = await self._open()
            if checkpoints is None:
                await self._context.stopping.wait()
                return
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_saving(checkpoints))
                await self._keep_looking(checkpoints, group)
        finally:
            if checkpoints is not None:
                await self._save(checkpoints)
            await self._client.close()
            self._ended.set()

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Fetch no more, wait for the invocations in flight, at most ``grace_s``, and save the checkpoints."""
        self._context.stopping.set()
        self._look.set()
        for reader in self._readers.values():
            reader.wake()
        if self._ended is None:
            return
        try:
            await asyncio.wait_for(self._ended.wait(), grace_s)
        except TimeoutError:
            for task in self._tasks:
                task.cancel()
            await self._ended.wait()

    async def _open(self) -> Checkpoints | None:
        """Return this stream's checkpoints, once the engine says which stream it is; None if stopped before."""
        failures = 0
        while not self._context.stopping.is_set():
            try:
                identity, retention_hours = await self._stream.describe()
            except AwsError as error:
                failures += 1
                self._context.notice(self._mapping.stream_name, str(error))
                await self._context.pause(self._context.timing.backoff(failures))
                continue
            self._context.notice(self._mapping.stream_name, None)
            # Records that the stream no longer holds cannot be tried for ever either.
            ages = (self._mapping.maximum_record_age_s, retention_hours * 3600)
            self._context.maximum_age_s = min(age for age in ages if age is not None)
            return Checkpoints(self._state, identity, self._start())
        return None

    def _start(self) -> Position:
        if self._mapping.starting_position == "TRIM_HORIZON":
            return Position("TRIM_HORIZON")
        # LATEST means now, for good: a restart before the first record must not move it, and a child shard found later
        # holds only what arrived after it.
        at_s = self._mapping.starting_position_at_s
        return Position("AT_TIMESTAMP", at_s=self._context.clock() if at_s is None else at_s)

    async def _keep_looking(self, checkpoints: Checkpoints, group: asyncio.TaskGroup) -> None:
        while not self._context.stopping.is_set():
            self._look.clear()
            try:
                shards = {shard.id: shard for shard in await self._stream.shards()}
            except AwsError as error:
                self._context.notice(self._mapping.stream_name, str(error))
            else:
                self._context.notice(self._mapping.stream_name, None)
                self._follow(shards, checkpoints, group)
            try:
                await asyncio.wait_for(self._look.wait(), self._context.timing.discover_s)
            except TimeoutError:
                continue

    def _follow(self, shards: Mapping[str, Shard], checkpoints: Checkpoints, group: asyncio.TaskGroup) -> None:
        """Start to read the shards whose turn has come; let go of those that the stream no longer has."""
        for reader in self._readers.values():
            if not reader.reads(shards.get(reader.shard.id)):
                reader.vanish()
        for shard in shards.values():
            if self._context.stopping.is_set():
                return
            if shard.id not in self._readers and self._is_due(shard, shards, checkpoints):
                self._read(shard, checkpoints, group)
        checkpoints.keep_only({*shards, *self._readers})

    def _is_due(self, shard: Shard, shards: Mapping[str, Shard], checkpoints: Checkpoints) -> bool:
        """Tell whether a shard has something to read and everything that came before it is done."""
        if _is_done(shard, checkpoints):
            return False
        parents = [shards[parent] for parent in shard.parents if parent in shards]
        return not any(parent in self._readers for parent in shard.parents) and all(
            _is_done(parent, checkpoints) for parent in parents
        )

    def _read(self, shard: Shard, checkpoints: Checkpoints, group: asyncio.TaskGroup) -> None:
        def moved(position: Position) -> None:
            checkpoints.put(shard.id, shard.first_sequence_number, position)

        start = checkpoints.position(shard.id, shard.first_sequence_number)
        reader = ShardReader(self._context, self._stream, shard, start, moved)
        self._readers[shard.id] = reader
        task = group.create_task(self._read_to_end(reader, moved))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_to_end(self, reader: ShardReader, moved: Callable[[Position], None]) -> None:
        await reader.run()
        if reader.finished:
            moved(SHARD_END)
        del self._readers[reader.shard.id]
        self._look.set()  # its children need not wait for the next look

    async def _keep_saving(self, checkpoints: Checkpoints) -> None:
        while not self._context.stopping.is_set():
            await self._context.pause(self._context.timing.save_s)
            await self._save(checkpoints)

    async def _save(self, checkpoints: Checkpoints) -> None:
        try:
            await asyncio.to_thread(checkpoints.save, checkpoints.snapshot())
        except OSError as error:
            checkpoints.touch()
            self._context.notice("checkpoints", f"cannot be saved, a restart would repeat records: {error}")
        else:
            self._context.notice("checkpoints", None)


def _is_done(shard: Shard, checkpoints: Checkpoints) -> bool:
    return checkpoints.position(shard.id, shard.first_sequence_number) == SHARD_END

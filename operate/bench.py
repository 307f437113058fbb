"""What replays cost: requests and bytes when a stream is filled again, and the memory of a long replay."""

from __future__ import annotations

import json
import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.consumers.judging.aggregate import Entry
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SourceName
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.preview import Previewer
from weir.operate.replay.checkpoint import Checkpoint
from weir.operate.replay.filters import Filter
from weir.operate.replay.loop import Replay
from weir.operate.replay.origins.from_file import FromFile
from weir.operate.replay.pace import Pace
from weir.operate.replay.progress import Progress, peak_mib
from weir.operate.replay.request import Wanted
from weir.operate.replay.targets.to_file import ToFile
from weir.operate.replay.targets.to_stream import ToStream

if TYPE_CHECKING:
    from types_boto3_kinesis import KinesisClient

# Source: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
_SHARD_RECORDS_PER_S = 1000
_SHARD_BYTES_PER_S = 1_000_000
_PAYLOAD_UNIT_BYTES = 25 * 1024
_SHARDS = 4
_BATCH = 2000
_LETTERS = 1_000_000


@dataclass(slots=True)
class Republished:
    """One round of publishing. ``units`` are what Kinesis bills: 25 KB or part of it, for each record."""

    way: str
    events: int
    took_s: float
    requests: int
    entries: int
    request_bytes: int
    units: int
    shard_s: float

    @property
    def rate_per_s(self) -> float:
        return self.events / self.took_s


def deliveries(count: int, body_bytes: int) -> Iterator[Delivery]:
    """Yield deliveries with JSON bodies of one size, each with an id of its own."""
    rng = random.Random(1)  # noqa: S311 - the same figures each time
    letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=body_bytes + _LETTERS))
    for number in range(count):
        text = json.dumps({"id": f"evt_{number}", "type": "figure", "text": ""})
        start = rng.randrange(_LETTERS)
        filler = letters[start : start + body_bytes - len(text)]
        body = text.replace('""', f'"{filler}"').encode()
        headers = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        envelope = Envelope(
            RequestId(f"{number:015d}="),
            1_700_000_000_000 + number,
            SourceName("figures"),
            "",
            "192.0.2.1",
            "/",
            {},
            headers,
            body,
        )
        yield Delivery(encode(envelope), "figures", str(number))


def republish(
    kinesis: KinesisClient, count: int, body_bytes: int, say: Callable[[str], object], rounds_count: int = 1
) -> list[Republished]:
    """Publish the same deliveries aggregated and one entry each, in turns; print medians of both and their ratios."""
    chosen = list(deliveries(count, body_bytes))
    size = sum(len(one.data) for one in chosen) / count
    say(f"{count:,} events, bodies of {body_bytes:,} bytes, records of {size:,.0f} bytes; medians of {rounds_count}")
    rounds = [_round(kinesis, chosen, aggregated=way) for _ in range(rounds_count) for way in (True, False)]
    say(
        f"{'':16} {'events/s':>10} {'requests':>9} {'entries':>9} {'sent MB':>9} {'25 KB units':>12} {'shard time':>12}"
    )
    medians = []
    for way in ("aggregated", "an entry each"):
        same = [one for one in rounds if one.way == way]
        middle = sorted(same, key=lambda one: one.took_s)[len(same) // 2]
        middle.took_s = statistics.median(one.took_s for one in same)
        medians.append(middle)
        say(
            f"{way:16} {middle.rate_per_s:>10,.0f} {middle.requests:>9,} {middle.entries:>9,} "
            f"{middle.request_bytes / 1e6:>9,.1f} {middle.units:>12,} {middle.shard_s:>10,.0f} s"
        )
    ours, plain = medians
    say(
        f"{'ratio':16} {ours.rate_per_s / plain.rate_per_s:>10.2f} {ours.requests / plain.requests:>9.3f} "
        f"{ours.entries / plain.entries:>9.4f} {ours.request_bytes / plain.request_bytes:>9.3f} "
        f"{ours.units / plain.units:>12.3f} {ours.shard_s / plain.shard_s:>12.3f}"
    )
    say("shard time: how long one shard's quota of 1,000 records and 1 MB a second would be taken")
    return rounds


def memory(folder: Path, count: int, body_bytes: int, say: Callable[[str], object]) -> list[float]:
    """Replay a file of events into another file; print and return the peak memory so far in MiB, tenth by tenth."""
    source = folder / "events.jsonl"
    with source.open("wb") as file:
        file.writelines(one.data for one in deliveries(count, body_bytes))
    say(
        f"{count:,} events in a file of {source.stat().st_size / 1e6:,.0f} MB; {peak_mib():.0f} MiB once it was written"
    )
    peaks: list[float] = []
    began_s = time.perf_counter()

    def watch(progress: Progress) -> None:
        while progress.report.read * 10 >= count * (len(peaks) + 1):
            peaks.append(peak_mib())
            say(f"{progress.report.read:>12,} replayed, {time.perf_counter() - began_s:>6.1f} s, {peaks[-1]:>6.1f} MiB")

    pace = Pace(None)
    wants = Filter(Wanted(), Previewer({}), {})
    Replay(FromFile(source), wants, ToFile(folder / "copy.jsonl"), Checkpoint(None), pace, watch=watch).run()
    return peaks


class _Counting(ToStream):
    """Remembers the size of each entry that it puts."""

    sizes: list[int]

    def _try(self, entries: list[Entry]) -> tuple[list[Entry], str]:
        self.sizes += [len(entry.data) + len(entry.partition_key) for entry in entries]
        return super()._try(entries)


def _round(kinesis: KinesisClient, chosen: list[Delivery], *, aggregated: bool) -> Republished:
    stream = f"figures-{uuid.uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=stream, ShardCount=_SHARDS)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    bodies: list[int] = []

    def note(params: dict[str, Any], **_: object) -> None:
        bodies.append(len(params["body"]))

    kinesis.meta.events.register("before-call.kinesis.PutRecords", note, unique_id="figures")
    target = _Counting(kinesis, stream, Previewer({}), Horizons(), aggregated=aggregated)
    target.sizes = []
    began_s = time.perf_counter()
    for start in range(0, len(chosen), _BATCH):
        part = chosen[start : start + _BATCH]
        target.deliver(part, [False] * len(part), None)
    took_s = time.perf_counter() - began_s
    kinesis.meta.events.unregister("before-call.kinesis.PutRecords", unique_id="figures")
    kinesis.delete_stream(StreamName=stream, EnforceConsumerDeletion=True)
    for one in chosen:
        one.opened = one.preview = None
    return Republished(
        way="aggregated" if aggregated else "an entry each",
        events=len(chosen),
        took_s=took_s,
        requests=target.calls,
        entries=target.entries,
        request_bytes=sum(bodies),
        units=sum(ceil(size / _PAYLOAD_UNIT_BYTES) for size in target.sizes),
        shard_s=max(target.entries / _SHARD_RECORDS_PER_S, sum(target.sizes) / _SHARD_BYTES_PER_S),
    )

"""The archive: complete, readable whatever is in it, in order of each key."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.stack_env import StackEnv
from weir.consumers.judging import aggregate
from weir.infra.local.archiver import Archiver
from weir.infra.local.archiver import Delivery as DeliveryStream
from weir.infra.local.poller.lanes import Timing
from weir.ingest.envelope import encode
from weir.operate.lookup.delivery import Delivery
from weir.operate.replay.origins.archive_objects import Archive
from weir.operate.replay.origins.from_archive import FromArchive

pytestmark = pytest.mark.engine

AT_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def put_object(stack_env: StackEnv, at_ms: int, name: str, content: bytes, *, compressed: bool = True) -> None:
    folder = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y/%m/%d/%H")
    body = gzip.compress(content) if compressed else content
    stack_env.s3.put_object(Bucket=stack_env.outputs.bucket, Key=f"archive/{folder}/{name}", Body=body)


def read(stack_env: StackEnv, cursor: dict[str, str] | None = None, **options: Any) -> list[Delivery]:
    origin = FromArchive(Archive(stack_env.s3, stack_env.outputs.bucket, **options))
    return [step for step in origin.read(cursor or {}) if isinstance(step, Delivery)]


def archiver(stack_env: StackEnv, **options: Any) -> Archiver:
    properties = {
        "KinesisStreamSourceConfiguration": {
            "KinesisStreamARN": f"arn:aws:kinesis:us-east-1:000000000000:stream/{stack_env.stream}"
        },
        "DeliveryStreamName": "archive",
        "ExtendedS3DestinationConfiguration": {
            "BucketARN": f"arn:aws:s3:::{stack_env.outputs.bucket}",
            "Prefix": "archive/",
            "CompressionFormat": "GZIP",
            "BufferingHints": {"IntervalInSeconds": options.pop("interval_s", 1), "SizeInMBs": 1},
        },
    }
    return Archiver(
        DeliveryStream.from_properties(properties),
        endpoint=stack_env.place.endpoint or "",
        state=stack_env.home / "checkpoints",
        disaggregate=lambda data: aggregate.disaggregate(data) if aggregate.looks_aggregated(data) else [data],
        timing=Timing(poll_s=0.05, discover_s=0.1, save_s=0.05),
        **options,
    )


async def archived(stack_env: StackEnv, count: int, **options: Any) -> None:
    """Run an archiver until the archive holds so many envelopes."""
    running = archiver(stack_env, **options)
    task = asyncio.create_task(running.run())
    for _ in range(400):
        await asyncio.sleep(0.05)
        if len(await asyncio.to_thread(read, stack_env)) >= count:
            break
    await running.stop()
    await task


async def test_the_archive_holds_every_record_of_a_stream_that_is_split_meanwhile(stack_env: StackEnv) -> None:
    """Records before and after a split, aggregates among them, are all there, byte for byte.

    They come in the order of their arrival, whatever the names of the objects that shards and generations share.
    """
    envelopes = [stack_env.payment("a", n, key=f"k{n % 4}", message_id=f"m-{n}", at_ms=AT_MS + n) for n in range(90)]
    stack_env.put(*envelopes[:30])
    shard = stack_env.kinesis.list_shards(StreamName=stack_env.stream)["Shards"][0]
    stack_env.kinesis.split_shard(
        StreamName=stack_env.stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(1 << 127)
    )
    stack_env.put(*envelopes[30:60])
    for entry in aggregate.aggregate([(one.key, encode(one)) for one in envelopes[60:]], lanes=2):
        stack_env.kinesis.put_record(StreamName=stack_env.stream, PartitionKey=entry.partition_key, Data=entry.data)
    await archived(stack_env, 90)
    assert [one.data for one in read(stack_env)] == list(map(encode, envelopes))


async def test_an_archiver_that_was_killed_goes_on_and_misses_nothing(stack_env: StackEnv) -> None:
    """Cut off in the middle of a buffer, then started again: every record is in the archive, some perhaps twice."""
    envelopes = [stack_env.payment("a", n) for n in range(50)]
    stack_env.put(*envelopes[:20])
    task = asyncio.create_task(archiver(stack_env, interval_s=60).run())
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert read(stack_env) == []
    stack_env.put(*envelopes[20:])
    await archived(stack_env, 50)
    assert {one.data for one in read(stack_env)} == set(map(encode, envelopes))


async def test_an_archiver_that_is_stopped_while_the_bucket_refuses_ends_in_good_order(stack_env: StackEnv) -> None:
    """What it could not write is read again by the next one: no exception, and nothing is missing."""
    envelopes = [stack_env.payment("a", n) for n in range(5)]
    stack_env.put(*envelopes)
    bucket, notices = stack_env.outputs.bucket, list[str]()
    kept = [item["Key"] for item in stack_env.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    stack_env.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in kept]})
    stack_env.s3.delete_bucket(Bucket=bucket)
    running = archiver(stack_env, on_notice=notices.append)
    task = asyncio.create_task(running.run())
    for _ in range(100):
        await asyncio.sleep(0.05)
        if notices:
            break
    await running.stop()
    await task
    assert notices
    stack_env.s3.create_bucket(Bucket=bucket)
    await archived(stack_env, 5)
    assert {one.data for one in read(stack_env)} == set(map(encode, envelopes))


def test_envelopes_are_found_between_records_that_are_none(stack_env: StackEnv) -> None:
    """Garbage without a line end before an envelope, and the frame of an aggregate, cost no envelope."""
    envelopes = [stack_env.payment("a", n, at_ms=AT_MS + n) for n in range(4)]
    lines = list(map(encode, envelopes))
    frame = b"".join(entry.data for entry in aggregate.aggregate([("k", line) for line in lines[2:]], lanes=1))
    put_object(stack_env, AT_MS, "one", b"garbage" + lines[0] + b"\x00\xff" + lines[1] + frame, compressed=False)
    archive = Archive(stack_env.s3, stack_env.outputs.bucket)
    found = [step.data for step in FromArchive(archive).read({}) if isinstance(step, Delivery)]
    assert found == lines
    assert archive.fragments >= 2


def test_what_is_damaged_is_told_and_the_rest_is_read(stack_env: StackEnv) -> None:
    """Of half an object its half is read, of one that fails its check nothing, of a torn line nothing."""
    lines = [encode(stack_env.payment("a", n, at_ms=AT_MS + n)) for n in range(400)]
    half, flipped = gzip.compress(b"".join(lines[100:200])), bytearray(gzip.compress(b"".join(lines[200:300])))
    flipped[len(flipped) // 2] ^= 0x55
    put_object(
        stack_env,
        AT_MS,
        "a-torn",
        lines[0][:-40] + b"".join(lines[1:100]) + b'{"v":1,"id":"x","at":17,"but":"no envelope"}\n',
    )
    put_object(stack_env, AT_MS, "b-half", half[: len(half) // 2], compressed=False)
    put_object(stack_env, AT_MS, "c-flipped", bytes(flipped), compressed=False)
    put_object(stack_env, AT_MS, "d-no-gzip", b"\x1f\x8b", compressed=False)
    put_object(stack_env, AT_MS, "e-whole", b"".join(lines[300:]))
    said: list[str] = []
    archive = Archive(stack_env.s3, stack_env.outputs.bucket, say=said.append)
    assert archive.estimate().records
    found = [step.data for step in FromArchive(archive).read({}) if isinstance(step, Delivery)]
    salvaged = len(found) - 199
    assert 20 < salvaged < 100
    assert found == lines[1 : 100 + salvaged] + lines[300:]
    assert (archive.damaged, archive.fragments) == (
        3,
        2,
    )  # the torn line, and one that is not an envelope
    assert "corrupt" in "".join(line for line in said if "c-flipped" in line)
    report = json.loads(
        stack_env.weir("replay", "--from", "archive", "--to", str(stack_env.home / "out"), "--json").splitlines()[-1]
    )
    assert (report["read"], report["written"]) == (len(found), len(found))


@given(st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_key_comes_in_the_order_of_its_arrival(stack_env: StackEnv, data: st.DataObject) -> None:
    """However deliveries are dealt to objects, overlapping and of whatever names, and wherever reading is cut off."""
    arrivals = sorted(data.draw(st.lists(st.integers(0, 3 * HOUR_MS), min_size=1, max_size=30)))
    lines = [encode(stack_env.payment("a", n, key=f"k{n % 3}", at_ms=AT_MS + at)) for n, at in enumerate(arrivals)]
    dealt: dict[str, list[int]] = {}
    for n in range(len(lines)):
        dealt.setdefault(data.draw(st.sampled_from("abcd")), []).append(n)
    bucket = stack_env.outputs.bucket
    for given_object in stack_env.s3.list_objects_v2(Bucket=bucket, Prefix="archive/").get("Contents", []):
        stack_env.s3.delete_object(Bucket=bucket, Key=given_object["Key"])
    for name, numbers in dealt.items():
        put_object(stack_env, AT_MS + arrivals[numbers[0]], name, b"".join(lines[n] for n in numbers))
    cut = data.draw(st.integers(0, len(lines)))
    first: list[Any] = []
    cursor = dict[str, str]()
    for step in FromArchive(Archive(stack_env.s3, bucket)).read({}):
        if len(first) == cut:
            break
        if isinstance(step, Delivery):
            first.append(step.data)
        if step is not None:
            cursor[step.lane] = step.position
    found = first + [one.data for one in read(stack_env, cursor)]
    assert sorted(found) == sorted(lines)
    assert [json.loads(line)["at"] for line in found] == [AT_MS + at for at in arrivals]


def test_only_what_may_hold_something_of_the_span_is_read(stack_env: StackEnv) -> None:
    """Folders after the span and objects written before it are left alone; one that was held back for long is read."""
    now_ms = round(time.time() * 1000)
    put_object(
        stack_env, now_ms - 5 * HOUR_MS, "held-back", encode(stack_env.payment("a", 1, at_ms=now_ms - HOUR_MS // 2))
    )
    put_object(stack_env, now_ms, "now", encode(stack_env.payment("a", 2, at_ms=now_ms)))
    assert len(read(stack_env, since_ms=now_ms - HOUR_MS)) == 2
    assert len(read(stack_env, since_ms=now_ms - HOUR_MS, until_ms=now_ms - 1)) == 1
    assert list(Archive(stack_env.s3, stack_env.outputs.bucket, since_ms=now_ms + HOUR_MS).objects()) == []
    assert len(list(Archive(stack_env.s3, stack_env.outputs.bucket, until_ms=now_ms - 2 * HOUR_MS).objects())) == 1


def test_reading_goes_on_behind_a_cursor(stack_env: StackEnv) -> None:
    """Stopped anywhere, the rest of the archive comes."""
    lines = [encode(stack_env.payment("a", n, at_ms=AT_MS + n * 1_500_000)) for n in range(12)]
    for n in range(0, 12, 2):
        put_object(stack_env, AT_MS + n * 1_500_000, f"{n:02d}", b"".join(lines[n : n + 2]))
    for stop in range(13):
        cursor: dict[str, str] = {}
        first: list[bytes] = []
        for step in FromArchive(Archive(stack_env.s3, stack_env.outputs.bucket)).read({}):
            if isinstance(step, Delivery) and len(first) == stop:
                break
            if step is not None:
                cursor[step.lane] = step.position
            if isinstance(step, Delivery):
                first.append(step.data)
        assert first + [one.data for one in read(stack_env, cursor)] == lines, stop


def test_a_replay_from_the_archive_long_after_the_stream_lost_it(stack_env: StackEnv) -> None:
    """What only the archive still has is applied by a replay, once."""
    envelopes = [stack_env.payment("acct_1", 5, message_id=f"m-{n}") for n in range(10)]
    put_object(stack_env, envelopes[0].arrived_at_ms, "only", b"".join(map(encode, envelopes)))
    for applied, duplicate in ((10, 0), (0, 10)):
        said = json.loads(stack_env.weir("replay", "--from", "archive", "--to", "consumer", "--json"))
        assert (said["read"], said["applied"], said["duplicate"]) == (10, applied, duplicate)
    assert stack_env.balances() == {"acct_1": {"EUR": 50, "events": 10}}


def test_what_was_archived_after_the_start_is_left_out(stack_env: StackEnv) -> None:
    """A replay from the archive into the stream does not meet its own copies."""
    envelope = stack_env.payment("a", 1)
    put_object(stack_env, envelope.arrived_at_ms, "before", encode(envelope))
    (written,) = stack_env.s3.list_objects_v2(Bucket=stack_env.outputs.bucket, Prefix="archive/")["Contents"]
    at_ms = round(written["LastModified"].timestamp() * 1000)
    assert len(read(stack_env, ends_ms=at_ms)) == 1
    assert read(stack_env, ends_ms=at_ms - 1) == []

"""The stream as origin and as target: resharding, spans, aggregates, order."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import aws
from tests.support.stack_env import StackEnv
from weir.infra.local.engine.engine import Engine
from weir.ingest.errors import OptionInvalid
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.preview import Previewer
from weir.operate.replay.origins.from_stream import FromStream, StreamRange
from weir.operate.replay.targets.to_stream import ToStream

pytestmark = pytest.mark.engine

LOCALSTACK = os.environ.get("LOCALSTACK_ENDPOINT")


@pytest.fixture(
    params=[
        "engine",
        pytest.param(
            "localstack",
            marks=[pytest.mark.localstack, pytest.mark.skipif(not LOCALSTACK, reason="set LOCALSTACK_ENDPOINT")],
        ),
    ]
)
def kinesis(request: pytest.FixtureRequest, engine: Engine) -> Any:
    url = engine.endpoint if request.param == "engine" else str(LOCALSTACK)
    return aws.client("kinesis", url)


@pytest.fixture
def stream(kinesis: Any) -> Iterator[str]:
    name = f"reshard-{uuid.uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=name, ShardCount=2)
    wait_active(kinesis, name)
    yield name
    kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)


def wait_active(kinesis: Any, name: str) -> None:
    for _ in range(200):
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        if summary["StreamStatus"] == "ACTIVE":
            return
        time.sleep(0.05)
    raise AssertionError(summary)


def put(kinesis: Any, stream: str, numbers: range, keys: int = 16) -> None:
    for start in range(numbers.start, numbers.stop, keys):  # a key once in a request, so that its order is kept
        chunk = range(start, min(start + keys, numbers.stop))
        entries = [
            {"PartitionKey": f"key-{number % keys}", "Data": f"key-{number % keys}:{number:06d}".encode()}
            for number in chunk
        ]
        assert not kinesis.put_records(StreamName=stream, Records=entries)["FailedRecordCount"]


def open_shards(kinesis: Any, stream: str) -> list[dict[str, Any]]:
    shards = kinesis.list_shards(StreamName=stream)["Shards"]
    return [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]


def split_one_and_merge_others(kinesis: Any, stream: str) -> None:
    first, second = sorted(open_shards(kinesis, stream), key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))[
        :2
    ]
    low, high = (int(first["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
    kinesis.split_shard(StreamName=stream, ShardToSplit=first["ShardId"], NewStartingHashKey=str((low + high) // 2))
    wait_active(kinesis, stream)
    ordered = sorted(open_shards(kinesis, stream), key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))
    assert second["ShardId"] in {one["ShardId"] for one in ordered}
    kinesis.merge_shards(
        StreamName=stream, ShardToMerge=ordered[1]["ShardId"], AdjacentShardToMerge=ordered[2]["ShardId"]
    )
    wait_active(kinesis, stream)


def read(kinesis: Any, stream: str, cursor: dict[str, str] | None = None, **span: Any) -> list[Delivery]:
    origin = FromStream(kinesis, stream, StreamRange(**span))
    return [step for step in origin.read(cursor or {}) if isinstance(step, Delivery)]


def by_key(deliveries: list[Delivery]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for delivery in deliveries:
        key, _, number = delivery.data.decode().partition(":")
        found[key].append(number)
    return dict(found)


def test_a_stream_that_was_split_and_merged_replays_completely_and_in_order_of_each_key(
    kinesis: Any, stream: str
) -> None:
    """Parents are read to their end before their children, twice over: nothing is missing, no key is out of order."""
    put(kinesis, stream, range(60))
    split_one_and_merge_others(kinesis, stream)
    put(kinesis, stream, range(60, 120))
    split_one_and_merge_others(kinesis, stream)
    put(kinesis, stream, range(120, 180))
    found = by_key(read(kinesis, stream))
    assert sum(map(len, found.values())) == 180
    for key, numbers in found.items():
        assert numbers == sorted(numbers), key
        assert len(numbers) == len(set(numbers))
    assert len({one.lane for one in read(kinesis, stream)}) > 2


def test_reading_goes_on_behind_any_cursor_through_a_resharded_stream(kinesis: Any, stream: str) -> None:
    """Stopped after any number of deliveries, the rest comes and nothing twice, in the order of each key."""
    put(kinesis, stream, range(30))
    split_one_and_merge_others(kinesis, stream)
    put(kinesis, stream, range(30, 60))
    for stop in (0, 1, 17, 45, 60):
        cursor: dict[str, str] = {}
        first: list[Any] = []
        for step in FromStream(kinesis, stream).read(cursor):
            if isinstance(step, Delivery) and len(first) == stop:
                break
            if step is not None:
                cursor[step.lane] = step.position
            if isinstance(step, Delivery):
                first.append(step)
        found = by_key(first + read(kinesis, stream, dict(cursor)))
        assert sum(map(len, found.values())) == 60, stop
        assert all(numbers == sorted(set(numbers)) for numbers in found.values()), stop


def test_a_span_of_sequence_numbers_of_one_shard(kinesis: Any, stream: str) -> None:
    """From and to are both included; without a shard they mean nothing and are refused."""
    put(kinesis, stream, range(20), keys=1)
    whole = read(kinesis, stream)
    first, last = whole[4], whole[9]
    numbers = [one.position.partition(".")[0] for one in (first, last)]
    found = read(kinesis, stream, shards=(first.lane,), first_sequence=numbers[0], last_sequence=numbers[1])
    assert [one.data for one in found] == [one.data for one in whole[4:10]]
    with pytest.raises(OptionInvalid):
        StreamRange(first_sequence="1")
    with pytest.raises(OptionInvalid):
        read(kinesis, stream, shards=("shardId-000000009999",))


def test_a_replay_into_the_stream_keeps_bytes_and_the_order_of_each_key(stack_env: StackEnv) -> None:
    """Thousands of deliveries become few records; opened again they are byte for byte the same, in order per key."""
    envelopes = [stack_env.payment(f"acct_{n % 7}", n, key=f"acct_{n % 7}", message_id=f"m-{n}") for n in range(2000)]
    stack_env.put(*envelopes[:1000])
    stack_env.put(*envelopes[1000:])
    said = json.loads(stack_env.weir("replay", "--from", "stream", "--to", "stream", "--json"))
    assert (said["read"], said["published"]) == (2000, 2000)
    deliveries = read(stack_env.kinesis, stack_env.stream)
    assert len(deliveries) == 4000
    originals: dict[Any, list[Any]] = defaultdict(list)
    copies: dict[Any, list[Any]] = defaultdict(list)
    previewer = Previewer(stack_env.catalogue)
    seen: set[str] = set()
    for one in deliveries:
        envelope = previewer.preview(one).envelope
        assert envelope is not None
        (copies if envelope.request_id in seen else originals)[envelope.key].append(one.data)
        seen.add(envelope.request_id)
    assert originals == copies
    raw = {one["SequenceNumber"] for one in raw_records(stack_env)}
    assert len(raw) < 2000 + 40


def test_a_replay_from_a_stream_into_itself_ends(stack_env: StackEnv) -> None:
    """What it puts into the stream it does not read again, even if it reads and puts many times."""
    stack_env.put(*(stack_env.payment("a", 1, message_id=f"m-{n}") for n in range(300)))
    arguments = ("--from", "stream", "--to", "stream", "--rate", "400", "--json")
    said = json.loads(stack_env.weir("replay", *arguments))
    assert (said["read"], said["published"]) == (300, 300)
    assert len(read(stack_env.kinesis, stack_env.stream)) == 600


def test_a_refused_entry_is_put_again_before_any_later_one_of_its_lane(stack_env: StackEnv) -> None:
    """Entries that the stream throttles, at random, arrive in the end, and no key is out of order."""
    import random

    class Throttling:
        """The real stream, but every request loses some entries to a throttle."""

        exceptions = stack_env.kinesis.exceptions
        rng = random.Random(3)

        def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
            refused = {at for at in range(len(Records)) if self.rng.random() < 0.4}
            kept = [one for at, one in enumerate(Records) if at not in refused]
            answers = (
                iter(stack_env.kinesis.put_records(StreamName=StreamName, Records=kept)["Records"])
                if kept
                else iter(())
            )
            throttle = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
            results = [throttle if at in refused else next(answers) for at in range(len(Records))]
            return {"FailedRecordCount": len(refused), "Records": results}

    for aggregated in (True, False):
        throttling: Any = Throttling()
        target = ToStream(
            throttling,
            stack_env.stream,
            Previewer(stack_env.catalogue),
            Horizons(),
            aggregated=aggregated,
            sleep=lambda _: None,
        )
        envelopes = [stack_env.payment("a", n, key=f"k{n % 5}", message_id=f"{aggregated}-{n}") for n in range(300)]
        from weir.ingest.envelope import encode

        deliveries = [Delivery(encode(one), "x", str(n)) for n, one in enumerate(envelopes)]
        for start in range(0, 300, 50):
            target.deliver(deliveries[start : start + 50], [False] * 50, None)
        previewer = Previewer(stack_env.catalogue)
        found: dict[str, list[int]] = defaultdict(list)
        for one in read(stack_env.kinesis, stack_env.stream):
            preview = previewer.preview(one)
            if preview.envelope and preview.events[0].event_id.startswith(str(aggregated)):
                found[preview.envelope.key].append(int(preview.events[0].event_id.partition("-")[2]))
        assert sum(map(len, found.values())) == 300
        assert all(numbers == sorted(numbers) for numbers in found.values()), aggregated


def raw_records(stack_env: StackEnv) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for shard in stack_env.kinesis.list_shards(StreamName=stack_env.stream)["Shards"]:
        iterator = stack_env.kinesis.get_shard_iterator(
            StreamName=stack_env.stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            page = stack_env.kinesis.get_records(ShardIterator=iterator)
            found += page["Records"]
            iterator = page["NextShardIterator"]
            if not page["Records"]:
                break
    return found


def test_arrival_times_decide_and_not_the_streams_own(stack_env: StackEnv) -> None:
    """The end of a span is compared with the time in the envelope, whatever the stream stamped on the record."""
    at_ms = 1_700_000_000_000
    stack_env.put(*(stack_env.payment("a", 1, at_ms=at_ms + step * 1000, message_id=f"m-{step}") for step in range(10)))
    arguments = ("--since", str(at_ms + 3000), "--until", str(at_ms + 6000))
    said = json.loads(stack_env.weir("replay", "--from", "stream", "--to", "consumer", "--json", *arguments))
    assert (said["read"], said["matched"], said["applied"]) == (10, 4, 4)
    assert sorted(stack_env.events()) == [f"payments#m-{step}" for step in (3, 4, 5, 6)]


def test_an_unreadable_record_is_replayed_as_it_is(stack_env: StackEnv) -> None:
    """A record that is not an envelope ends in quarantine under its position in the stream, replayed or not."""
    raw = b"\xf3\x89\x9a\xc2" + bytes(range(200))
    stack_env.put(raw, b"no envelope")
    said = json.loads(stack_env.weir("replay", "--from", "stream", "--to", "consumer", "--json"))
    assert said["quarantined"] == 2
    before = {key: item["applied_at"] for key, item in stack_env.events().items()}
    stack_env.consume()
    assert {key: item["applied_at"] for key, item in stack_env.events().items()} == before
    assert {item["reason"]["S"] for item in stack_env.events().values()} == {"aggregate_damaged", "unreadable"}

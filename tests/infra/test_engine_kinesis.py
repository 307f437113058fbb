"""The patches to MiniStack's Kinesis, on the module itself, so that a day can pass at once."""

from __future__ import annotations

import base64
import importlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from weir.infra.local.engine.kinesis_patches import GET_RECORDS_BYTES, install

DAY_S = 24 * 3600


class PatchedStream:
    """One stream of a patched module in this process."""

    def __init__(self) -> None:
        self.kinesis: Any = importlib.import_module("ministack.services.kinesis")
        self.name = f"stream-{time.time_ns()}"
        self.call("create_stream", ShardCount=1)
        self.shard_id = self.call("list_shards")["Shards"][0]["ShardId"]

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        status, _, body = getattr(self.kinesis, f"_{action}")({"StreamName": self.name, **parameters})
        assert status == 200, body
        return dict(json.loads(body))

    def put(self, texts: str) -> None:
        for text in texts:
            self.call("put_record", PartitionKey="k", Data=base64.b64encode(text.encode()).decode())

    def iterator(self) -> str:
        parameters = {"ShardId": self.shard_id, "ShardIteratorType": "TRIM_HORIZON"}
        return str(self.call("get_shard_iterator", **parameters)["ShardIterator"])

    def read(self, iterator: str, limit: int = 10_000) -> tuple[str, str | None]:
        page = self.call("get_records", ShardIterator=iterator, Limit=limit)
        texts = [base64.b64decode(record["Data"]).decode() for record in page["Records"]]
        return "".join(texts), page.get("NextShardIterator")

    def age(self, count: int) -> None:
        """Let the oldest records, and the closing of the shard, be more than a day ago."""
        shard = self.kinesis._streams[self.name]["shards"][self.shard_id]
        for record in shard["records"][:count]:
            record["ApproximateArrivalTimestamp"] -= DAY_S + 1
        if "closed_at" in shard:
            shard["closed_at"] -= DAY_S + 1


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> Iterator[PatchedStream]:
    kinesis: Any = importlib.import_module("ministack.services.kinesis")
    for name, value in vars(kinesis).items():
        monkeypatch.setattr(kinesis, name, value)  # put back at the end
    install()
    install()
    made = PatchedStream()
    yield made
    made.call("delete_stream")


def test_iterators_move_with_what_expires(patched: PatchedStream) -> None:
    """An iterator that waited while the oldest records expired reads on at the next record."""
    patched.put("abcdef")
    seen, iterator = patched.read(patched.iterator(), 4)
    assert (seen, iterator is not None) == ("abcd", True)
    patched.age(3)
    patched.put("gh")
    assert patched.read(str(iterator))[0] == "efgh"
    assert patched.read(patched.iterator())[0] == "defgh"


def test_a_closed_shard_is_read_to_its_end_and_goes_when_its_records_expire(patched: PatchedStream) -> None:
    """The parent of a split keeps its records, has no next iterator at its end, and is gone after the retention."""
    patched.put("abc")
    patched.call("split_shard", ShardToSplit=patched.shard_id, NewStartingHashKey=str(1 << 127))
    patched.put("d")
    shards = patched.call("list_shards")["Shards"]
    assert [("EndingSequenceNumber" in shard["SequenceNumberRange"]) for shard in shards] == [True, False, False]
    seen, iterator = patched.read(patched.iterator(), 2)
    assert (seen, iterator is not None) == ("ab", True)
    assert patched.read(str(iterator)) == ("c", None)
    patched.age(3)
    patched.put("e")
    assert patched.shard_id not in [shard["ShardId"] for shard in patched.call("list_shards")["Shards"]]


def test_an_answer_holds_at_most_10_mb(patched: PatchedStream) -> None:
    """GetRecords answers with as many records as fit 10 MB, however many are asked for, and goes on from there."""
    megabyte = base64.b64encode(bytes(1024 * 1024)).decode()
    for _ in range(12):
        patched.call("put_record", PartitionKey="k", Data=megabyte)
    first = patched.call("get_records", ShardIterator=patched.iterator())
    assert len(first["Records"]) == GET_RECORDS_BYTES // (1024 * 1024)
    assert len(patched.call("get_records", ShardIterator=first["NextShardIterator"])["Records"]) == 2


def test_a_call_does_not_look_at_every_record(patched: PatchedStream) -> None:
    """PutRecord onto 60,000 records takes about as long as onto none."""

    def put_ms() -> float:
        started = time.perf_counter()
        for _ in range(50):
            patched.put("x")
        return (time.perf_counter() - started) * 1000

    before_ms = put_ms()
    records = patched.kinesis._streams[patched.name]["shards"][patched.shard_id]["records"]
    records.extend(dict(records[-1]) for _ in range(60_000))
    assert put_ms() < 5 * before_ms + 20

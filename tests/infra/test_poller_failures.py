"""Retries, bisect, age and failure destinations on the real engine."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.streams import Bucket, Consumer, aws, data_of, eventually, failing_from, sequence_of, stream
from weir.infra.local.engine.engine import Engine
from weir.infra.local.function.invocations import InvocationResult

pytestmark = pytest.mark.engine

REPORTED = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def to(arn: str) -> dict[str, Any]:
    return {"DestinationConfig": {"OnFailure": {"Destination": arn}}}


def raising_on(poison: str) -> Any:
    def behave(records: list[dict[str, Any]]) -> None:
        if any(data_of(record) == poison for record in records):
            raise ValueError(poison)

    return behave


async def test_bisect_isolates_one_poison_record(engine: Engine, tmp_path: Path) -> None:
    """One record of 64 that always raises is alone in S3 after O(log n) tries; its 63 neighbours are done."""
    texts = [str(number) for number in range(64)]
    consumer, bucket = Consumer(raising_on("37")), Bucket(engine.endpoint)
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put(texts)
        properties = {"BatchSize": 64, "BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 2}
        async with made.polled(consumer, **properties, **to(bucket.arn)) as poller:
            await eventually(lambda: "given_up" in made.outcomes() and poller.lag()[0].records_in_flight == 0)
    assert bucket.payloads() == ["37"]
    failed = [batch for batch in consumer.batches if "37" in batch]
    assert len(failed) == math.log2(64) + 1 + 2  # every halving, the record alone, its two retries
    assert {text for batch in consumer.batches if "37" not in batch for text in batch} == set(texts) - {"37"}
    (document,) = bucket.documents().values()
    assert document["requestContext"]["approximateInvokeCount"] == 3


async def test_the_failure_object_is_as_documented(engine: Engine, tmp_path: Path) -> None:
    """Key and document of an object in S3 have the form and the members that AWS documents, the event as text in it."""
    consumer, bucket = Consumer(raising_on("b")), Bucket(engine.endpoint)
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("abc")
        identity = "0f1e2d3c-0000-4000-8000-000000000000"
        async with made.polled(
            consumer, {"mapping_id": identity}, MaximumRetryAttempts=1, BatchSize=3, **to(bucket.arn)
        ):
            await eventually(bucket.documents)
    ((key, document),) = bucket.documents().items()
    uuid4 = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    day = time.strftime("%Y/%m/%d", time.gmtime())
    moment = r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d"
    assert re.fullmatch(f"aws/lambda/{identity}/shardId-000000000000/{day}/{moment}-{uuid4}", key)
    event = json.loads(document.pop("payload"))
    assert event == consumer.events[-1]
    records = event["Records"]
    timestamp, request_id = document.pop("timestamp"), document["requestContext"].pop("requestId")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)
    assert re.fullmatch(uuid4, request_id)
    batch = document["KinesisBatchInfo"]
    arrived = [batch.pop(f"approximateArrivalOf{which}Record") for which in ("First", "Last")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text) for text in arrived)
    assert document == {
        "requestContext": {
            "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:orders",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 2,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000000",
            "startSequenceNumber": sequence_of(records[0]),
            "endSequenceNumber": sequence_of(records[-1]),
            "batchSize": 3,
            "streamArn": made.arn,
        },
    }


async def test_a_queue_gets_the_metadata_alone(engine: Engine, tmp_path: Path) -> None:
    """An SQS destination receives the same document without the payload."""
    sqs = aws("sqs", engine.endpoint)
    url = sqs.create_queue(QueueName=f"q-{tmp_path.name[-20:]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    consumer = Consumer(lambda records: failing_from(records[1]) if len(records) > 1 else failing_from(records[0]))
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("ab")
        async with made.polled(consumer, MaximumRetryAttempts=2, BatchSize=2, **REPORTED, **to(arn)):
            await eventually(lambda: "given_up" in made.outcomes())
        messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]
    document = json.loads(messages[0]["Body"])
    assert "payload" not in document
    assert document["KinesisBatchInfo"]["batchSize"] == 1  # what a partial response got done is not in it
    assert document["requestContext"]["approximateInvokeCount"] == 3
    assert document["responseContext"]["functionError"] is None
    assert consumer.batches == [["a", "b"], ["b"], ["b"]]


async def test_a_partial_response_starts_again_at_the_lowest_number(engine: Engine, tmp_path: Path) -> None:
    """What lies before the reported record is not delivered again; the rest is, in order."""
    answers = iter([3, 1])

    def behave(records: list[dict[str, Any]]) -> Any:
        at = next(answers, None)
        return None if at is None else {"batchItemFailures": [*failing_from(records[at])["batchItemFailures"] * 2]}

    consumer = Consumer(behave)
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("abcdef")
        async with made.polled(consumer, BatchSize=6, **REPORTED):
            await eventually(lambda: "done" in made.outcomes())
    assert ["".join(batch) for batch in consumer.batches] == ["abcdef", "def", "ef"]
    assert made.reports[0].reported == sequence_of(consumer.events[1]["Records"][0])
    assert [report.attempt for report in made.reports] == [1, 2, 3]


async def test_a_bisected_partial_response_consumes_no_retry(engine: Engine, tmp_path: Path) -> None:
    """With bisect a batch that gets on by one record a try is finished, although it has no retry at all."""
    consumer = Consumer(lambda records: failing_from(records[1]) if len(records) > 1 else None)
    bucket = Bucket(engine.endpoint)
    properties = REPORTED | {"BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 0} | to(bucket.arn)
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("abcdef")
        async with made.polled(consumer, BatchSize=6, **properties):
            await eventually(lambda: "done" in made.outcomes())
    assert [len(batch) for batch in consumer.batches] == [6, 5, 4, 3, 2, 1]
    assert bucket.documents() == {}


async def test_attempts_are_bounded_and_throttles_do_not_count(engine: Engine, tmp_path: Path) -> None:
    """MaximumRetryAttempts 2 is three invocations; being throttled or unreachable in between counts for nothing."""
    refusals = iter([429, 500, 200, 429, 200, 503, 200])

    def behave(records: list[dict[str, Any]]) -> Any:
        if data_of(records[0]) == "b":
            return None
        status = next(refusals)
        if status == 200:
            raise ValueError
        return InvocationResult(status, "r", {"message": "no"})

    consumer = Consumer(behave)
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("ab")
        async with made.polled(consumer, BatchSize=1, MaximumRetryAttempts=2):
            await eventually(lambda: "done" in made.outcomes())
    counted = [report.outcome for report in made.reports]
    assert counted.count("failed") == 3
    assert counted.count("not_reached") == 4
    assert counted[-2:] == ["discarded", "done"]  # no destination: dropped, and the shard goes on
    assert next(refusals, None) is None


async def test_records_that_are_too_old_are_given_up(engine: Engine, tmp_path: Path) -> None:
    """Past MaximumRecordAgeInSeconds records go to the destination as RecordAgeExceeded, tried or not; others stay."""
    ahead_s = 0.0
    consumer, bucket = Consumer(raising_on("a")), Bucket(engine.endpoint)
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("ab")
        options = {"clock": lambda: time.time() + ahead_s}
        async with made.polled(consumer, options, BatchSize=1, MaximumRecordAgeInSeconds=60, **to(bucket.arn)):
            await eventually(lambda: made.outcomes().count("failed") > 2)
            await asyncio.sleep(1.1)
            ahead_s = 59.5
            await eventually(lambda: "given_up" in made.outcomes())
            await made.put("c")
            await eventually(lambda: "done" in made.outcomes())
    documents = list(bucket.documents().values())
    assert sorted(bucket.payloads()) == ["a", "b"]
    assert {document["requestContext"]["condition"] for document in documents} == {"RecordAgeExceeded"}
    assert not any("responseContext" in document for document in documents)
    assert min(document["requestContext"]["approximateInvokeCount"] for document in documents) == 1
    assert "b" not in consumer.seen
    assert consumer.seen[-1] == "c"


async def test_a_record_too_large_for_any_event_is_given_up(engine: Engine, tmp_path: Path) -> None:
    """A record that exceeds the payload by itself goes to the destination untried; its neighbours are done in order."""
    consumer, bucket = Consumer(), Bucket(engine.endpoint)
    large = "L" * 3000
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put(["a", large, "b"])
        async with made.polled(consumer, {"payload_limit_bytes": 2000}, **to(bucket.arn)):
            await eventually(lambda: "b" in consumer.seen)
    assert consumer.batches == [["a"], ["b"]]
    assert bucket.payloads() == [large]


async def test_a_destination_that_refuses_stops_one_lane_only(engine: Engine, tmp_path: Path) -> None:
    """While the bucket refuses writes the payload waits and other keys go on; when it takes them, nothing was lost."""
    sqs = aws("sqs", engine.endpoint)
    name = f"late-{tmp_path.name[-20:]}"
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    consumer = Consumer(raising_on("0:0"))
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put([f"{number % 8}:{number}" for number in range(80)], lambda text: text[0])
        properties = {"BatchSize": 1, "ParallelizationFactor": 8, "MaximumRetryAttempts": 0}
        async with made.polled(consumer, **properties, **to(arn)):
            await eventually(lambda: len(set(consumer.seen)) >= 40 and made.notices)
            assert "failure destination" in made.notices[0]
            assert "given_up" not in made.outcomes()
            assert "0:8" not in consumer.seen
            url = sqs.create_queue(QueueName=name)["QueueUrl"]
            await eventually(lambda: len(set(consumer.seen)) == 80)
        assert made.outcomes().count("given_up") == 1
        assert len(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]) == 1
    assert len(made.notices) == 1  # said once, not at every try


async def test_a_refused_payload_survives_a_restart(engine: Engine, tmp_path: Path) -> None:
    """A poller stopped while its destination refuses delivers the record again and gives it up then."""
    consumer, bucket = Consumer(raising_on("a")), Bucket(engine.endpoint)
    async with stream(engine.endpoint, tmp_path) as made:
        await made.put("ab")
        absent = {"BatchSize": 1, "MaximumRetryAttempts": 0, **to("arn:aws:s3:::there-is-no-such-bucket")}
        async with made.polled(consumer, **absent):
            await eventually(lambda: made.notices)
        assert "b" not in consumer.seen
        async with made.polled(consumer, **absent | to(bucket.arn)):
            await eventually(lambda: "b" in consumer.seen)
    assert bucket.payloads() == ["a"]

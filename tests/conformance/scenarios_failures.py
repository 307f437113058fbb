"""Event source mapping: retries, splitting, giving up, and where what was given up goes."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from tests.conformance.bench import Bench
from tests.conformance.probe import flat
from tests.conformance.scenarios import KINESIS, LAMBDA, MAPPING, Observation, scenario

DESTINATION = LAMBDA + "kinesis-on-failure-destination.html"
REPORTED = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
FAILING = 'def behave(texts, records, call):\n    raise ValueError("never")\n'
POISON = 'def behave(texts, records, call):\n    if "poison" in texts:\n        raise ValueError("poison")\n'
KEY = r"aws/lambda/{id}/shardId-\d{{12}}/\d{{4}}/\d\d/\d\d/\d{{4}}-\d\d-\d\dT\d\d\.\d\d\.\d\d-{id}"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
DOCUMENT = {
    "condition": "RetryAttemptsExhausted",
    "approximateInvokeCount": 2,
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    "batchSize": 2,
    "version": "1.0",
    "moments": True,
}


def on_failure(destination: Any) -> dict[str, Any]:
    return {"DestinationConfig": {"OnFailure": {"Destination": destination.arn}}}


def texts_of(document: dict[str, Any]) -> list[str]:
    """Return the texts of the records in a failure document, whatever form its payload has."""
    payload = document["payload"]
    event = json.loads(payload) if isinstance(payload, str) else payload
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in event["Records"]]


def described(document: dict[str, Any]) -> Observation:
    """Return what a failure document says, without what is new each time."""
    request, batch = document.get("requestContext", {}), document["KinesisBatchInfo"]
    moments = [document["timestamp"], batch["approximateArrivalOfFirstRecord"], batch["approximateArrivalOfLastRecord"]]
    return {
        "condition": request.get("condition"),
        "approximateInvokeCount": request.get("approximateInvokeCount"),
        "responseContext": document.get("responseContext"),
        "batchSize": batch["batchSize"],
        "version": document["version"],
        "moments": all(MOMENT.fullmatch(moment) for moment in moments),
    }


@scenario(
    MAPPING,
    documents="MaximumRetryAttempts bounds the retries; then the mapping goes on behind the batch.",
    page=DESTINATION,
    expected={"delivered": ["poison", "poison", "poison", "after"]},
)
async def attempts(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function(POISON)
    await stream.put(["poison", "after"], key=lambda _: "one")
    await bench.mapping(stream, function, BatchSize=1, MaximumRetryAttempts=2)
    found = await function.invocations(lambda seen: "after" in flat(seen))
    return {"delivered": flat(found)}


@scenario(
    MAPPING,
    documents="BisectBatchOnFunctionError halves a batch that fails until the record at fault is alone.",
    page=DESTINATION,
    expected={"given_up": [["poison"]], "done": ["a", "b", "c", "d", "e", "f", "g"]},
    known={
        "localstack": "LocalStack accepts BisectBatchOnFunctionError and does not bisect: the whole batch is given up."
    },
)
async def bisect_isolates_a_record(bench: Bench) -> Observation:
    stream, function, bucket = await bench.stream(), await bench.function(POISON), await bench.bucket()
    await stream.put(["a", "b", "c", "d", "e", "poison", "f", "g"], key=lambda _: "one")
    properties = {"BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 1, **on_failure(bucket)}
    await bench.mapping(stream, function, **properties)
    given_up = [texts_of(document) for _, document in await bucket.documents()]
    found = await function.invocations(settle_s=2)
    done = [text for each in found if "poison" not in each.texts for text in each.texts]
    return {"given_up": given_up, "done": sorted(done)}


@scenario(
    MAPPING,
    documents="Splitting a batch does not consume the retry quota.",
    page=DESTINATION,
    expected={"alone": ["a", "b", "c", "d"]},
    known={"localstack": "LocalStack accepts BisectBatchOnFunctionError and does not bisect."},
)
async def bisect_consumes_no_retry(bench: Bench) -> Observation:
    source = 'def behave(texts, records, call):\n    if len(texts) > 1:\n        raise ValueError("too many")\n'
    stream, function = await bench.stream(), await bench.function(source)
    await stream.put("abcd", key=lambda _: "one")
    await bench.mapping(stream, function, BisectBatchOnFunctionError=True, MaximumRetryAttempts=1)
    found = await function.invocations(lambda seen: sum(len(each.texts) == 1 for each in seen) >= 4, within_s=10)
    return {"alone": [each.texts[0] for each in found if len(each.texts) == 1]}


@scenario(
    MAPPING,
    documents="A partial response with bisect splits at the reported record and retries the rest alone.",
    page=LAMBDA + "services-kinesis-batchfailurereporting.html",
    expected={"batches": [["a", "b", "c", "d"], ["c", "d"]]},
)
async def bisect_with_a_partial_response(bench: Bench) -> Observation:
    source = """
def behave(texts, records, call):
    failed = records[2:3] if call == 1 else []
    return {"batchItemFailures": [{"itemIdentifier": record["kinesis"]["sequenceNumber"]} for record in failed]}
"""
    stream, function = await bench.stream(), await bench.function(source)
    await stream.put("abcd", key=lambda _: "one")
    await bench.mapping(stream, function, BisectBatchOnFunctionError=True, **REPORTED)
    found = await function.invocations(lambda seen: len(seen) >= 2, settle_s=1)
    return {"batches": [each.texts for each in found]}


@scenario(
    MAPPING,
    documents="An S3 destination gets the invocation record with the whole event as a JSON string in `payload`.",
    page=DESTINATION,
    expected={**DOCUMENT, "key": True, "payload": "text", "records": ["a", "b"]},
    known={"localstack": "LocalStack writes `payload` as an object."},
)
async def failure_object_in_s3(bench: Bench) -> Observation:
    stream, function, bucket = await bench.stream(), await bench.function(FAILING), await bench.bucket()
    await stream.put("ab", key=lambda _: "one")
    await bench.mapping(stream, function, MaximumRetryAttempts=1, **on_failure(bucket))
    documents = await bucket.documents()
    if not documents:
        return {"documents": 0}
    key, document = documents[0]
    return {
        **described(document),
        "key": bool(re.fullmatch(KEY.format(id=UUID), key)),
        "payload": "text" if isinstance(document["payload"], str) else "object",
        "records": texts_of(document),
    }


@scenario(
    MAPPING,
    documents="An SQS destination gets the invocation record without the event.",
    page=DESTINATION,
    expected={**DOCUMENT, "payload": False},
)
async def failure_message_in_sqs(bench: Bench) -> Observation:
    stream, function, queue = await bench.stream(), await bench.function(FAILING), await bench.queue()
    await stream.put("ab", key=lambda _: "one")
    await bench.mapping(stream, function, MaximumRetryAttempts=1, **on_failure(queue))
    documents = await queue.documents()
    if not documents:
        return {"documents": 0}
    return {**described(documents[0]), "payload": "payload" in documents[0]}


@scenario(
    MAPPING,
    documents="When partial responses use up the retries, only the records that are left are given up, and the "
    "function error is null (seen by LocalStack's tests against AWS, 2025-11-25).",
    page=LAMBDA + "services-kinesis-batchfailurereporting.html",
    expected={"given_up": ["c", "d"], "function_error": None, "invocations": 2},
)
async def partial_responses_until_given_up(bench: Bench) -> Observation:
    source = """
def behave(texts, records, call):
    failed = [record for text, record in zip(texts, records) if text == "c"]
    return {"batchItemFailures": [{"itemIdentifier": record["kinesis"]["sequenceNumber"]} for record in failed]}
"""
    stream, function, bucket = await bench.stream(), await bench.function(source), await bench.bucket()
    await stream.put("abcd", key=lambda _: "one")
    await bench.mapping(stream, function, MaximumRetryAttempts=1, **REPORTED, **on_failure(bucket))
    documents = await bucket.documents()
    if not documents:
        return {"documents": 0}
    document = documents[0][1]
    return {
        "given_up": texts_of(document),
        "function_error": document["responseContext"]["functionError"],
        "invocations": document["requestContext"]["approximateInvokeCount"],
    }


@scenario(
    MAPPING,
    documents="A record older than MaximumRecordAgeInSeconds is given up untried, as RecordAgeExceeded and without a "
    "responseContext (the latter seen by LocalStack's tests against AWS, 2025-11-25).",
    page=DESTINATION,
    expected={"invocations": 0, "condition": "RecordAgeExceeded", "responseContext": None, "batchSize": 1},
    known={"localstack": "LocalStack leaves the requestContext out when the function was never invoked."},
    long=True,
)
async def record_age(bench: Bench) -> Observation:
    stream, function, bucket = await bench.stream(), await bench.function(), await bench.bucket()
    await stream.put(["old"])
    await bench.pass_time(61)
    await bench.mapping(stream, function, MaximumRecordAgeInSeconds=60, **on_failure(bucket))
    documents = await bucket.documents()
    if not documents:
        return {"documents": 0}
    found = described(documents[0][1])
    wanted = ("condition", "responseContext", "batchSize")
    return {"invocations": len(await function.invocations(within_s=0)), **{name: found[name] for name in wanted}}


@scenario(
    MAPPING,
    documents="A function that raises has the whole batch again, also when it reports failures.",
    page=LAMBDA + "services-kinesis-batchfailurereporting.html",
    expected={"batches": [["a", "b"], ["a", "b"]]},
)
async def function_error(bench: Bench) -> Observation:
    source = 'def behave(texts, records, call):\n    if call == 1:\n        raise ValueError("once")\n'
    stream, function = await bench.stream(), await bench.function(source)
    await stream.put("ab", key=lambda _: "one")
    await bench.mapping(stream, function, **REPORTED)
    found = await function.invocations(lambda seen: len(seen) >= 2, settle_s=1)
    return {"batches": [each.texts for each in found]}


@scenario(
    MAPPING,
    documents="A function that runs into its timeout fails its batch like one that raises: Unhandled, status 200.",
    page=LAMBDA + "kinesis-on-failure-destination.html",
    expected={"batches": [["a", "b"], ["a", "b"], ["after"]], "responseContext": DOCUMENT["responseContext"]},
)
async def function_timeout(bench: Bench) -> Observation:
    source = 'def behave(texts, records, call):\n    if "a" in texts:\n        time.sleep(30)\n'
    stream, bucket = await bench.stream(), await bench.bucket()
    function = await bench.function(source, timeout_s=5)
    await stream.put("ab", key=lambda _: "one")
    await bench.mapping(stream, function, MaximumRetryAttempts=1, **on_failure(bucket))
    documents = await bucket.documents()
    await stream.put(["after"], key=lambda _: "one")
    found = await function.invocations(lambda seen: "after" in flat(seen))
    context = documents[0][1].get("responseContext") if documents else "(no document)"
    return {"batches": [each.texts for each in found], "responseContext": context}


@scenario(
    MAPPING,
    documents="A record that no event of 6 MB can hold is handed to the destination.",
    page=KINESIS + "large-records.html",
    expected={"stored": True},
    cannot={
        "embedded": "The engine takes no record over 1 MiB; tests/infra/test_poller_failures.py lowers the limit.",
        "localstack": "kinesis-mock takes no record over 1 MiB.",
    },
)
async def record_over_6_mb(bench: Bench) -> Observation:
    stream, function, bucket = await bench.stream(max_record_kib=10_240), await bench.function(), await bench.bucket()
    await stream.put(["x" * 5_000_000])
    await bench.mapping(stream, function, **on_failure(bucket))
    return {"stored": bool(await bucket.documents())}


@scenario(
    MAPPING,
    documents="An invocation that is throttled is tried again and counts for no retry.",
    page=LAMBDA + "kinesis-on-failure-destination.html",
    expected={"delivered": 6, "given_up": 0},
)
async def throttled_function(bench: Bench) -> Observation:
    # Each record fails once, which with all the throttles would be more than one retry.
    source = """
failed = set()
def behave(texts, records, call):
    time.sleep(0.1)
    if texts[0] not in failed:
        failed.add(texts[0])
        raise ValueError("once")
"""
    stream, bucket = await bench.stream(), await bench.bucket()
    function = await bench.function(source, reserved_concurrency=1)
    await stream.put("abcdef")
    properties = {"ParallelizationFactor": 2, "MaximumRetryAttempts": 1, "BatchSize": 1, **on_failure(bucket)}
    await bench.mapping(stream, function, **properties)
    texts = await function.texts(12)
    return {"delivered": len(set(texts)), "given_up": len(await bucket.documents(within_s=0))}


@scenario(
    MAPPING,
    documents="An SNS topic may be a failure destination.",
    page=DESTINATION,
    expected={"mapping": "made"},
    known={
        "embedded": "By decision: failures go to S3 or SQS here, as the template has it; others are refused by name."
    },
)
async def sns_as_a_destination(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await bench.mapping(stream, function, **on_failure(await bench.topic()))
    return {"mapping": "made"}

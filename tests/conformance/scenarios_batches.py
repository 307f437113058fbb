"""Event source mapping: which records make a batch, and what the function's answer means for them."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

from tests.conformance.bench import Bench
from tests.conformance.probe import flat
from tests.conformance.scenarios import KINESIS, LAMBDA, LAMBDA_API, MAPPING, Observation, scenario

CREATE = LAMBDA_API + "API_CreateEventSourceMapping.html"
REPORTING = LAMBDA + "services-kinesis-batchfailurereporting.html"
REPORTED = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
EVENT_MEMBERS = [
    *("awsRegion", "eventID", "eventName", "eventSource", "eventSourceARN", "eventVersion", "invokeIdentityArn"),
    "kinesis",
]
KINESIS_MEMBERS = ["approximateArrivalTimestamp", "data", "kinesisSchemaVersion", "partitionKey", "sequenceNumber"]


@scenario(
    MAPPING,
    documents="An event's records have these members, data in base64, the arrival time in seconds.",
    page=LAMBDA + "with-kinesis.html",
    expected={
        "record": EVENT_MEMBERS,
        "kinesis": KINESIS_MEMBERS,
        "event_id": "shard:sequence",
        "data": "aGVsbG8=",
        "key": "hello",
        "arrival": "number",
    },
)
async def event_document(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    shard = (await stream.put(["hello"]))[0]
    await bench.mapping(stream, function)
    record = (await function.invocations())[0].first
    kinesis = record["kinesis"]
    return {
        "record": sorted(record),
        "kinesis": sorted(kinesis),
        "event_id": record["eventID"].replace(shard, "shard").replace(kinesis["sequenceNumber"], "sequence"),
        "data": kinesis["data"],
        "key": kinesis["partitionKey"],
        "arrival": "number" if isinstance(kinesis["approximateArrivalTimestamp"], float | int) else "text",
    }


@scenario(
    MAPPING,
    documents="BatchSize is the most records that a batch holds.",
    page=CREATE,
    expected={"delivered": ["a", "b", "c", "d", "e"], "largest": 2},
)
async def batch_size(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put("abcde", key=lambda _: "one")
    await bench.mapping(stream, function, BatchSize=2)
    found = await function.invocations(lambda seen: len(flat(seen)) >= 5)
    return {"delivered": flat(found), "largest": max(len(each.texts) for each in found)}


@scenario(
    MAPPING,
    documents="MaximumBatchingWindowInSeconds gathers records before the function is invoked.",
    page=LAMBDA + "invocation-eventsourcemapping.html",
    expected={"batches": [["warm"], ["a", "b"]]},
)
async def batch_window(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put(["warm"], key=lambda _: "one")
    await bench.mapping(stream, function, MaximumBatchingWindowInSeconds=4)
    await function.invocations()
    await stream.put(["a"], key=lambda _: "one")
    await asyncio.sleep(1)
    await stream.put(["b"], key=lambda _: "one")
    found = await function.invocations(lambda seen: len(flat(seen)) >= 3)
    return {"batches": [each.texts for each in found]}


@scenario(
    MAPPING,
    documents="A batch that has its size does not wait for the window.",
    page=LAMBDA + "invocation-eventsourcemapping.html",
    expected={"batches": [["a", "b"]]},
)
async def full_batch_does_not_wait(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put("ab", key=lambda _: "one")
    # Patience stretches the wait, and must not let it become as long as the window.
    await bench.mapping(stream, function, MaximumBatchingWindowInSeconds=300, BatchSize=2)
    found = await function.invocations(within_s=25)
    return {"batches": [each.texts for each in found]}


@scenario(
    MAPPING,
    documents="A batch closes before its event exceeds 6 MB, base64 and metadata counted.",
    page=KINESIS + "large-records.html",
    expected={"delivered": 8, "fits": True},
    known={
        "localstack": 'LocalStack batches by count and window alone (`utils/batching.py`: "Add batching on bytes").'
    },
    heavy=True,
)
async def batch_of_6_mb(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put([f"{number} {'x' * 1_000_000}" for number in range(8)], key=lambda _: "one")
    await bench.mapping(stream, function, BatchSize=10)
    found = await function.invocations(lambda seen: len(flat(seen)) >= 8)
    return {"delivered": len(set(flat(found))), "fits": all(len(each.texts) <= 4 for each in found)}


@scenario(
    MAPPING,
    documents="ParallelizationFactor lets several batches of a shard run at once, in order for each partition key.",
    page=LAMBDA + "with-kinesis.html",
    expected={"at_once": True, "in_order": True, "delivered": 24},
    known={"localstack": "LocalStack accepts ParallelizationFactor and polls all shards in one thread."},
)
async def parallelization_factor(bench: Bench) -> Observation:
    pause_s = 0.8
    source = f"def behave(texts, records, call):\n    time.sleep({pause_s})\n"
    stream, function = await bench.stream(), await bench.function(source)
    await stream.put([f"{key}{number}" for number in range(3) for key in "abcdefgh"], key=lambda text: text[0])
    await bench.mapping(stream, function, ParallelizationFactor=4, BatchSize=6)
    found = await function.invocations(lambda seen: len(flat(seen)) >= 24)
    starts = sorted(each.at for each in found)
    texts = flat(found)
    return {
        "at_once": any(later - earlier < pause_s for earlier, later in pairwise(starts)),
        "in_order": all(
            [text for text in texts if text[0] == key] == [f"{key}{n}" for n in range(3)] for key in "abcdefgh"
        ),
        "delivered": len(texts),
    }


@scenario(
    MAPPING,
    documents="Of the reported sequence numbers the lowest is the checkpoint: everything from it on comes again.",
    page=REPORTING,
    expected={"batches": [["a", "b", "c", "d"], ["b", "c", "d"]]},
)
async def partial_batch_response(bench: Bench) -> Observation:
    source = """
def behave(texts, records, call):
    failed = [records[2], records[1]] if call == 1 else []
    return {"batchItemFailures": [{"itemIdentifier": record["kinesis"]["sequenceNumber"]} for record in failed]}
"""
    stream, function = await bench.stream(), await bench.function(source)
    await stream.put("abcd", key=lambda _: "one")
    await bench.mapping(stream, function, **REPORTED)
    found = await function.invocations(lambda seen: len(seen) >= 2, settle_s=1)
    return {"batches": [each.texts for each in found]}


@scenario(
    MAPPING,
    documents="An empty, null or misspelt identifier fails the whole batch; so does one that is not in the batch (seen "
    "by LocalStack's tests against AWS, 2025-11-25).",
    page=REPORTING,
    expected={"batches": [["a", "b"]] * 5},
)
async def identifiers_that_fail_the_batch(bench: Bench) -> Observation:
    source = """
ANSWERS = [{"itemIdentifier": ""}, {"itemIdentifier": None}, {"item": "1"}, {"itemIdentifier": "1"}]
def behave(texts, records, call):
    return {"batchItemFailures": ANSWERS[call - 1 : call]}
"""
    stream, function = await bench.stream(), await bench.function(source)
    await stream.put("ab", key=lambda _: "one")
    await bench.mapping(stream, function, **REPORTED)
    found = await function.invocations(lambda seen: len(seen) >= 5, settle_s=1)
    return {"batches": [each.texts for each in found]}


@scenario(
    MAPPING,
    documents="null, an empty string, an empty list or object, and no or null batchItemFailures all mean success.",
    page=REPORTING,
    expected={"delivered": ["null", "empty object", "empty list", "null list", "empty string", "list"]},
)
async def answers_that_mean_success(bench: Bench) -> Observation:
    answers: dict[str, Any] = {
        "null": None,
        "empty object": {},
        "empty list": {"batchItemFailures": []},
        "null list": {"batchItemFailures": None},
        "empty string": "",
        "list": [],
    }
    source = f"def behave(texts, records, call):\n    return json.loads({json.dumps(json.dumps(answers))})[texts[0]]\n"
    stream, function = await bench.stream(), await bench.function(source)
    await stream.put(answers, key=lambda _: "one")
    await bench.mapping(stream, function, BatchSize=1, **REPORTED)
    return {"delivered": await function.texts(len(answers), settle_s=1)}


@scenario(
    MAPPING,
    documents="Without ReportBatchItemFailures in FunctionResponseTypes the answer is ignored.",
    page=REPORTING,
    expected={"delivered": ["a", "b"]},
)
async def answer_without_function_response_types(bench: Bench) -> Observation:
    source = """
def behave(texts, records, call):
    return {"batchItemFailures": [{"itemIdentifier": records[0]["kinesis"]["sequenceNumber"]}]}
"""
    stream, function = await bench.stream(), await bench.function(source)
    await stream.put("ab", key=lambda _: "one")
    await bench.mapping(stream, function, BatchSize=1)
    return {"delivered": await function.texts(2, settle_s=1)}


@scenario(
    MAPPING,
    documents="A filter on data lets through what matches; data that is not JSON is dropped, and the mapping goes on.",
    page=LAMBDA + "with-kinesis-filtering.html",
    expected={"delivered": [1, 4]},
)
async def filter_criteria_on_data(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    pattern = json.dumps({"data": {"type": ["order"]}})
    texts = ['{"type":"order","n":1}', '{"type":"other","n":2}', "no JSON", '{"type":"order","n":4}']
    await stream.put(texts, key=lambda _: "one")
    await bench.mapping(stream, function, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    return {"delivered": [json.loads(text)["n"] for text in await function.texts(2, settle_s=1)]}


@scenario(
    MAPPING,
    documents="A pattern may compare: prefix, numeric, exists and anything-but; a record needs to match one filter.",
    page=LAMBDA + "invocation-eventfiltering.html",
    expected={"delivered": [1, 3, 5, 6]},
)
async def filter_comparisons(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    rules = [
        {"a": [{"prefix": "x"}]},
        {"n": [{"numeric": [">", 5, "<=", 9]}]},
        {"m": [{"exists": True}]},
        {"o": [{"anything-but": ["drop"]}]},
    ]
    given: list[dict[str, Any]] = [{"a": "xy"}, {"a": "no"}, {"n": 9}, {"n": 9.5}]
    given += [{"m": "any"}, {"o": "keep"}, {"o": "drop"}]
    texts = [json.dumps({"id": number, **each}) for number, each in enumerate(given, 1)]
    await stream.put(texts, key=lambda _: "one")
    filters = [{"Pattern": json.dumps({"data": rule})} for rule in rules]
    await bench.mapping(stream, function, FilterCriteria={"Filters": filters})
    return {"delivered": [json.loads(text)["id"] for text in await function.texts(4, settle_s=1)]}


@scenario(
    MAPPING,
    documents="A filter chooses records and changes none.",
    page=LAMBDA + "with-kinesis-filtering.html",
    expected={"delivered": ['{ "type":"order",  "n":10.00, "é":"\\u00e9" }']},
    known={"localstack": "LocalStack writes the data of a filtered record anew, so its bytes change."},
)
async def filtered_record_keeps_its_bytes(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    pattern = json.dumps({"data": {"type": ["order"]}})
    await stream.put(['{ "type":"order",  "n":10.00, "é":"\\u00e9" }'])
    await bench.mapping(stream, function, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    return {"delivered": await function.texts(1)}


@scenario(
    MAPPING,
    documents="With TumblingWindowInSeconds an event carries its window and the state of the last answer.",
    page=LAMBDA + "services-kinesis-windows.html",
    expected={"window": True},
    known={
        "embedded": "By decision: a property that is not honoured is refused by name, and Weir keeps no windows.",
        "localstack": "LocalStack accepts TumblingWindowInSeconds and ignores it.",
    },
)
async def tumbling_window(bench: Bench) -> Observation:
    source = 'def behave(texts, records, call):\n    return {"state": {}}\n'
    stream, function = await bench.stream(), await bench.function(source)
    await stream.put(["a"])
    await bench.mapping(stream, function, TumblingWindowInSeconds=5)
    found = await function.invocations()
    return {"window": "window" in found[0].members}

"""The rules of batches, responses and mappings, without an engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.infra.local.function.invocations import InvocationResult
from weir.infra.local.poller.batches import Batch, EventFormat, Failure, Record, form, judge, remaining
from weir.infra.local.poller.event_source_mapping import EventSourceMapping
from weir.infra.local.poller.filters import compile_filters
from weir.ingest.errors import TemplateUnsupported

PROPERTIES = {
    "EventSourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
    "FunctionName": "orders",
    "StartingPosition": "TRIM_HORIZON",
}
MAPPING = EventSourceMapping.from_properties(PROPERTIES)
EVENTS = EventFormat(MAPPING, "shardId-000000000000", "arn:aws:iam::000000000000:role/orders")


def record(number: int, data: str = "eA==", key: str = "k") -> Record:
    raw = {"SequenceNumber": f"{number:04d}", "PartitionKey": key, "Data": data, "ApproximateArrivalTimestamp": 1.5}
    return EVENTS.measured(raw, 0.0)


def batch(count: int, failures: int = 0) -> Batch:
    return Batch(tuple(record(number) for number in range(count)), failures)


def numbers(left: list[Batch]) -> list[list[int]]:
    return [[int(each.sequence_number) for each in part.records] for part in left]


def answer(payload: Any, error: str | None = None) -> InvocationResult:
    return InvocationResult(200, "r", payload, error)


def failures(*identifiers: Any) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}


def test_the_event_is_lambdas() -> None:
    """An event has exactly the members that Lambda documents, data in base64 and the arrival time in seconds."""
    assert EVENTS.event([record(7)]) == {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "k",
                    "sequenceNumber": "0007",
                    "data": "eA==",
                    "approximateArrivalTimestamp": 1.5,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": "shardId-000000000000:0007",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::000000000000:role/orders",
                "awsRegion": "us-east-1",
                "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            }
        ]
    }


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=20), st.integers(0, 400)), min_size=1, max_size=30),
    st.integers(1, 12),
    st.integers(700, 4000),
)
def test_a_batch_never_exceeds_size_or_payload(content: list[tuple[str, int]], size: int, limit: int) -> None:
    """Cut into batches, records keep their order, none is lost, and no event is too large but that of one record."""
    left = [record(number, "A" * length, key) for number, (key, length) in enumerate(content)]
    expected = list(left)
    seen: list[Any] = []
    while left:
        formed, full = form(left, batch_size=size, payload_limit_bytes=limit)
        event = json.dumps(EVENTS.event(formed.records), separators=(",", ":"))
        assert 1 <= len(formed.records) <= size
        assert len(event) <= formed.bytes <= len(event) + 1  # the separator behind the last one
        assert formed.bytes <= limit or len(formed.records) == 1
        assert full or len(formed.records) == len(left)
        seen += formed.records
        left = left[len(formed.records) :]
    assert seen == expected


@pytest.mark.parametrize("payload", [None, "", [], {}, failures(), {"batchItemFailures": None}, {"other": 1}])
def test_an_empty_response_is_success(payload: Any) -> None:
    """Every empty form of the response means that the whole batch is done."""
    assert judge(answer(payload), batch(3).records, reported=True) is None


@pytest.mark.parametrize(
    "payload",
    [
        failures(""),
        failures(None),
        failures("9999"),
        failures("0001", "9999"),
        {"batchItemFailures": [{"identifier": "0001"}]},
        {"batchItemFailures": ["0001"]},
        {"batchItemFailures": "0001"},
        failures(["0001"]),
        "text",
        ["0001"],
        7,
    ],
)
def test_a_response_that_names_no_record_fails_the_batch(payload: Any) -> None:
    """An empty, null, misspelt or unknown identifier, and what is not a response at all, fail the whole batch."""
    assert judge(answer(payload), batch(3).records, reported=True) == Failure(0, whole=True)


def test_the_lowest_reported_number_counts() -> None:
    """Of several reported sequence numbers the lowest is where the batch starts again."""
    assert judge(answer(failures("0002", "0001", "0002")), batch(3).records, reported=True) == Failure(1, whole=False)


def test_a_response_means_nothing_unless_the_mapping_asks_for_it() -> None:
    """Without ReportBatchItemFailures only an error fails a batch."""
    assert judge(answer(failures("0001")), batch(3).records, reported=False) is None
    assert judge(answer({"errorType": "E"}, "Unhandled"), batch(3).records, reported=False) == Failure(0, whole=True)


def test_what_remains_of_a_failed_batch() -> None:
    """An error halves with bisect; a partial response cuts where it says; only tries without a split count."""
    error, cut, first = Failure(0, whole=True), Failure(2, whole=False), Failure(0, whole=False)
    assert numbers(remaining(batch(5), error, bisect=True)) == [[0, 1, 2], [3, 4]]
    assert [each.failures for each in remaining(batch(5, 1), error, bisect=True)] == [1, 1]
    assert [each.failures for each in remaining(batch(1, 1), error, bisect=True)] == [2]
    assert [each.failures for each in remaining(batch(5, 1), error, bisect=False)] == [2]
    assert numbers(remaining(batch(5), cut, bisect=True)) == [[2, 3, 4]]
    assert [each.failures for each in remaining(batch(5, 1), cut, bisect=True)] == [1]
    assert [each.failures for each in remaining(batch(5, 1), cut, bisect=False)] == [2]
    assert numbers(remaining(batch(3), first, bisect=True)) == [[0, 1, 2]]
    assert [each.failures for each in remaining(batch(3, 1), first, bisect=True)] == [2]


def test_a_mapping_reads_what_the_template_says() -> None:
    """Every supported property is honoured, whether a number is a number or text."""
    made = EventSourceMapping.from_properties(
        PROPERTIES
        | {
            "BatchSize": "250",
            "MaximumBatchingWindowInSeconds": 2,
            "ParallelizationFactor": "4",
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "BisectBatchOnFunctionError": "true",
            "MaximumRetryAttempts": 8,
            "MaximumRecordAgeInSeconds": "3600",
            "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::b"}},
            "Enabled": "false",
        }
    )
    assert (made.batch_size, made.batching_window_s, made.parallelization_factor) == (250, 2, 4)
    assert (made.report_batch_item_failures, made.bisect_batch, made.enabled) == (True, True, False)
    assert (made.maximum_retry_attempts, made.maximum_record_age_s) == (8, 3600)
    assert (made.destination_arn, made.stream_name, made.region) == ("arn:aws:s3:::b", "s", "us-east-1")
    assert (MAPPING.maximum_retry_attempts, MAPPING.maximum_record_age_s, MAPPING.batch_size) == (None, None, 100)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TumblingWindowInSeconds", 60),
        ("ScalingConfig", {}),
        ("BatchSize", 0),
        ("BatchSize", "many"),
        ("ParallelizationFactor", 11),
        ("MaximumRecordAgeInSeconds", 59),
        ("StartingPosition", "EARLIEST"),
        ("StartingPosition", "AT_TIMESTAMP"),
        ("FunctionResponseTypes", ["Other"]),
        ("BisectBatchOnFunctionError", "perhaps"),
        ("DestinationConfig", {"OnFailure": {"Destination": "arn:aws:sns:us-east-1:000000000000:t"}}),
        ("EventSourceArn", "arn:aws:sqs:us-east-1:000000000000:q"),
    ],
)
def test_what_the_poller_cannot_do_is_refused_by_name(name: str, value: Any) -> None:
    """A property that would not be honoured is an error that names it, never ignored."""
    with pytest.raises(TemplateUnsupported, match=name.removesuffix("AT_TIMESTAMP")[:9]):
        EventSourceMapping.from_properties(PROPERTIES | {name: value})


@pytest.mark.parametrize(
    ("pattern", "data", "passes"),
    [
        ({"type": ["paid", "refunded"]}, b'{"type":"paid"}', True),
        ({"type": ["paid"]}, b'{"type":"other"}', False),
        ({"type": ["paid"]}, b"no json", False),
        ({"type": ["paid"]}, b"[" * 100_000, False),
        ({"type": ["paid"]}, b"[]", False),
        ({"n": [1]}, b'{"n":true}', False),
        ({"n": [None]}, b'{"n":null}', True),
        ({"n": [None]}, b"{}", False),
        ({"n": [{"numeric": [">", 5, "<=", 9]}]}, b'{"n":9}', True),
        ({"n": [{"numeric": [">", 5, "<=", 9]}]}, b'{"n":9.5}', False),
        ({"n": [{"numeric": ["=", 5]}]}, b'{"n":"5"}', False),
        ({"a": {"b": [{"prefix": "ev_"}]}}, b'{"a":{"b":"ev_1"}}', True),
        ({"a": {"b": [{"prefix": "ev_"}]}}, b'{"a":"ev_1"}', False),
        ({"a": [{"exists": False}]}, b"{}", True),
        ({"a": [{"anything-but": ["x"]}]}, b'{"a":"y"}', True),
        ({"a": [{"anything-but": ["x"]}]}, b"{}", False),
        ({"a": ["x"], "b": ["y"]}, b'{"a":"x"}', False),
    ],
)
def test_filters_look_at_the_data(pattern: Any, data: bytes, passes: bool) -> None:
    """A pattern on `data` passes what it describes and nothing else; data that is not JSON never passes."""
    wants = compile_filters({"Filters": [{"Pattern": json.dumps({"data": pattern})}]})
    assert wants is not None
    assert wants(data) is passes


@pytest.mark.parametrize(
    "pattern",
    [
        '{"partitionKey":["1"]}',
        "no json",
        '{"data":{"a":[{"suffix":"x"}]}}',
        '{"data":"x"}',
        '{"data":{"a":[{"numeric":[">"]}]}}',
    ],
)
def test_filters_that_are_not_understood_are_refused(pattern: str) -> None:
    """A pattern beyond equality, prefix, numbers, exists and anything-but is an error, never a silent pass."""
    with pytest.raises(TemplateUnsupported, match="FilterCriteria"):
        compile_filters({"Filters": [{"Pattern": pattern}]})

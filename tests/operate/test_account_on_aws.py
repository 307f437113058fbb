"""What the account reads from CloudWatch, which no local engine serves as AWS does: AWS's documented answers, stubbed.

Source: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from tests.support.stack_env import StackEnv
from weir.ingest.ids import RequestId, SequenceNumber
from weir.operate.audit.account import Acknowledged
from weir.operate.audit.sources import ByAge, acknowledged, iterator_age_ms, progress

NOW_MS = 1_764_000_000_000
GROUP = "/weir/access"


def stubbed(service: str) -> Iterator[tuple[Any, Stubber]]:
    client: Any = boto3.client(
        service,  # type: ignore[call-overload]
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def logs() -> Iterator[tuple[Any, Stubber]]:
    yield from stubbed("logs")


@pytest.fixture
def cloudwatch() -> Iterator[tuple[Any, Stubber]]:
    yield from stubbed("cloudwatch")


def line(request_id: str, status: str = "200") -> dict[str, Any]:
    facts = {"id": request_id, "at": "17", "method": "POST", "status": status, "integration_status": "200"}
    return {"logStreamName": "s", "timestamp": 17, "message": json.dumps(facts), "ingestionTime": 20, "eventId": "e"}


@pytest.mark.engine
def test_the_access_log_is_read_page_by_page(stack_env: StackEnv, logs: tuple[Any, Stubber]) -> None:
    """A page may be empty and have a token all the same; lines written five minutes after the end are read, too."""
    client, stubber = logs
    asked = {
        "logGroupName": GROUP,
        "startTime": 1000,
        "endTime": 2000 + 300_000,
        "filterPattern": '{ $.status = "2*" && $.method = "POST" }',
    }
    stubber.add_response("filter_log_events", {"events": [], "nextToken": "one"}, asked)
    stubber.add_response(
        "filter_log_events",
        {"events": [line("a="), line("b=", "503")], "nextToken": "two"},
        asked | {"nextToken": "one"},
    )
    stubber.add_response("filter_log_events", {"events": [line("c=")]}, asked | {"nextToken": "two"})
    stack = replace(stack_env.stack(), access_log=None, access_group=GROUP, logs=client)
    assert list(acknowledged(stack, 1000, 2000) or ()) == [Acknowledged(RequestId(one), 17) for one in ("a=", "c=")]


@pytest.mark.engine
def test_a_log_group_without_a_line_is_not_an_access_log(stack_env: StackEnv, logs: tuple[Any, Stubber]) -> None:
    """Then the stream says what was acknowledged; an empty log never proves that nothing was."""
    client, stubber = logs
    stubber.add_response("filter_log_events", {"events": []})
    stack = replace(stack_env.stack(), access_log=None, access_group=GROUP, logs=client)
    assert acknowledged(stack, 1000, 2000) is None


def ages(stubber: Stubber, *points: tuple[int, float]) -> None:
    datapoints = [
        {"Timestamp": datetime.fromtimestamp(NOW_MS / 1000 - back_s, UTC), "Maximum": age_ms, "Unit": "Milliseconds"}
        for back_s, age_ms in points
    ]
    asked = {
        "Namespace": "AWS/Lambda",
        "MetricName": "IteratorAge",
        "Dimensions": [{"Name": "FunctionName", "Value": "consumer"}],
        "StartTime": ANY,
        "EndTime": ANY,
        "Period": 60,
        "Statistics": ["Maximum"],
    }
    stubber.add_response("get_metric_statistics", {"Label": "IteratorAge", "Datapoints": datapoints}, asked)


@pytest.mark.parametrize(
    ("points", "age_ms"),
    [
        ((), 0),  # the function has had nothing to read
        (((60, 250.0),), 250),
        # In no order, as AWS gives them; an age of eight minutes ago says nothing of now.
        (((120, 40_000.0), (480, 900_000.0), (60, 1_500.0), (180, 2_000.4)), 40_000),
    ],
)
def test_the_consumers_age_is_the_worst_of_the_last_minutes(
    cloudwatch: tuple[Any, Stubber], points: tuple[tuple[int, float], ...], age_ms: int
) -> None:
    """IteratorAge of the three newest minutes counts, by time and not by the order of the answer."""
    client, stubber = cloudwatch
    ages(stubber, *points)
    assert iterator_age_ms(client, "consumer", NOW_MS) == age_ms


@pytest.mark.engine
def test_progress_on_aws_is_now_less_age_and_grace(stack_env: StackEnv, cloudwatch: tuple[Any, Stubber]) -> None:
    """A record that arrived before that has been read; a later one is in flight."""
    client, stubber = cloudwatch
    ages(stubber, (60, 30_000.0))
    stack = replace(stack_env.stack(), cloudwatch=client, function="consumer", checkpoints=lambda: None)
    found = progress(stack, NOW_MS, grace_ms=60_000)
    assert found == ByAge(NOW_MS - 90_000)
    assert found.has_read("any", SequenceNumber("1"), NOW_MS - 90_001)
    assert not found.has_read("any", SequenceNumber("1"), NOW_MS - 90_000)

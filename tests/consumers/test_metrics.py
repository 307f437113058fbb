from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from typing import Any

import pytest

from weir.consumers.batch import metrics
from weir.consumers.batch.logs import Log
from weir.consumers.raised import raised_at
from weir.consumers.settings import LOG_LEVELS

ALL = {name: float(number) for number, name in enumerate(metrics.UNITS)}


def test_a_document_is_embedded_metric_format() -> None:
    """Each metric stands at the root under its name and in the directive with its unit; the stack is the dimension."""
    document: dict[str, Any] = json.loads(metrics.document("prod", ALL, {"Sources": {"github": 3}}))
    [directive] = document["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Weir"
    assert directive["Dimensions"] == [["Stack"]]
    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == metrics.UNITS
    assert {name: document[name] for name in ALL} == ALL
    assert document["Stack"] == "prod"
    assert document["Sources"] == {"github": 3}
    assert abs(document["_aws"]["Timestamp"] - time.time() * 1000) < 5000


def test_every_document_has_its_own_dimensions_and_time() -> None:
    """What the library loses at a flush is not lost here: the second batch reports like the first."""
    first = json.loads(metrics.document("prod", {"Records": 1}, {}))
    time.sleep(0.003)
    second = json.loads(metrics.document("prod", {"Applied": 2}, {}))
    assert second["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Stack"]]
    assert "Records" not in second
    assert second["_aws"]["Timestamp"] > first["_aws"]["Timestamp"]


@pytest.mark.parametrize(
    ("environment", "expected"), [({}, "Weir"), ({"AWS_EMF_NAMESPACE": "Acme/Hooks"}, "Acme/Hooks")]
)
def test_the_library_makes_the_document_without_its_front_door(environment: dict[str, str], expected: str) -> None:
    """aws-embedded-metrics makes the document; neither aiohttp nor asyncio is imported, and nothing is probed."""
    script = (
        "import sys, json; from weir.consumers.batch.metrics import document\n"
        "made = json.loads(document('s', {'Records': 1}, {}))\n"
        "print(made['_aws']['CloudWatchMetrics'][0]['Namespace'])\n"
        "assert 'aws_embedded_metrics.serializers.log_serializer' in sys.modules\n"
        "assert not {'aiohttp', 'asyncio', 'aws_embedded_metrics.environment'} & sys.modules.keys()\n"
        "import aws_embedded_metrics; assert aws_embedded_metrics.metric_scope\n"
        "assert json.loads(document('s', {'Records': 2}, {}))['Records'] == 2\n"
    )
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == expected


def lines(log: Log, stream: io.StringIO) -> list[dict[str, Any]]:
    log.flush()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_what_all_lines_share() -> None:
    """A line carries its level, its action, the fields of the batch and its own; what is absent is left out."""
    stream = io.StringIO()
    log = Log(stream, LOG_LEVELS["INFO"], shard_id="shard-1", at=7)
    log.add(LOG_LEVELS["INFO"], "event", request_id="r", reason=None, key="", count=0)
    log.add(LOG_LEVELS["DEBUG"], "event", request_id="unheard")
    assert lines(log, stream) == [
        {"level": "INFO", "action": "event", "shard_id": "shard-1", "at": 7, "request_id": "r", "count": 0}
    ]


def test_no_value_can_begin_a_line_of_its_own() -> None:
    """Line ends, quotes, surrogates and separators in a value are escaped, and a long value is cut."""
    stream = io.StringIO()
    log = Log(stream, LOG_LEVELS["INFO"])
    hostile = 'a"\n{"level":"ERROR"}\r\u2028\u0085\ud800é'
    log.add(LOG_LEVELS["INFO"], "event", event_id=hostile, type="x" * 5000)
    [line] = lines(log, stream)
    assert line["event_id"] == hostile
    assert len(line["type"]) == 256
    assert stream.getvalue().isascii()


def test_a_batch_of_lines_is_one_write() -> None:
    """All lines of a batch leave in one write, after which the log is empty."""
    writes: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    log = Log(Stream(), LOG_LEVELS["INFO"])
    log.flush()
    for number in range(3):
        log.add(LOG_LEVELS["INFO"], "event", number=number)
    log.add_document("{}")
    log.flush()
    log.flush()
    assert [text.count("\n") for text in writes] == [4]


def test_an_exception_is_told_by_type_and_place_alone() -> None:
    """The line of an unexpected exception says where it happened and nothing that the data may have put into it."""
    try:
        int("4111 1111 1111 1111")
    except ValueError as error:
        text = raised_at(error)
    assert text.startswith("builtins.ValueError at ")
    assert text.endswith("in test_an_exception_is_told_by_type_and_place_alone")
    assert "4111" not in text

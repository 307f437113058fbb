"""Each alarm of the template, its metric data evaluated as CloudWatch does: one history raises it, one does not.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from weir.consumers.batch import metrics
from weir.infra import template

ROOT = Path(__file__).parents[2]
GIVEN = {"ArtifactBucket": "artifacts", "ApiDefinitionKey": "api", "FunctionKey": "function"}
# A history: for each metric its value in each period, oldest first; None where nothing was published.
History = Mapping[str, Sequence[float | None]]
COMPARED: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}
# Each alarm with the shortest history that raises it, and the nearest one that does not.
CASES: dict[str, tuple[History, History]] = {
    "LagAlarm": ({"IteratorAge": [900_001] * 5}, {"IteratorAge": [900_001] * 4 + [899_000]}),
    "LossAlarm": ({"TimeToLossUsed": [25]}, {"TimeToLossUsed": [24.99]}),
    "GivenUpAlarm": (
        {"OnFailureDestinationDeliveredEventCount": [1]},
        {"OnFailureDestinationDeliveredEventCount": [3, None]},
    ),
    "FailureDestinationAlarm": ({"DestinationDeliveryFailures": [1]}, {"DestinationDeliveryFailures": [0]}),
    "ConsumerSilentAlarm": (
        {"IncomingRecords": [5, 1, 1], "PolledEventCount": [None, None, None]},
        {"IncomingRecords": [5, None, 1], "PolledEventCount": [None, None, None]},
    ),
    "ConsumerErrorsAlarm": ({"Errors": [1] * 5}, {"Errors": [1, 1, 0, 1, 1]}),
    "ConsumerThrottlesAlarm": ({"Throttles": [1] * 5}, {"Throttles": [9, 9, 9, 9, 0]}),
    "StreamThrottlesAlarm": (
        {"WriteProvisionedThroughputExceeded": [1] * 3},
        {"WriteProvisionedThroughputExceeded": [1, None, 1]},
    ),
    "GatewayErrorsAlarm": ({"5XXError": [1] * 3}, {"5XXError": [7, 7, None]}),
    "RefusedAlarm": ({"4XXError": [50]}, {"4XXError": [49]}),
    "QuarantineAlarm": ({"Quarantined": [20]}, {"Quarantined": [19]}),
    "BugAlarm": ({"BugCount": [1]}, {"BugCount": [None]}),
    "WaitingAlarm": ({"WaitingTried": [None] * 3}, {"WaitingTried": [None, 1, None]}),
    "RetriedAlarm": ({"Retried": [1] * 3}, {"Retried": [1, 1, 0]}),
    "ArchiveAlarm": ({"DeliveryToS3.DataFreshness": [3601] * 3}, {"DeliveryToS3.DataFreshness": [3601, 3600, 3601]}),
    "UnaccountedAlarm": ({"Unaccounted": [1]}, {"Unaccounted": [0]}),
    "UnarchivedAlarm": ({"Unarchived": [1]}, {"Unarchived": [0]}),
    "AccountCheckAlarm": ({"Errors": [1]}, {"Errors": [None]}),
    "AccountSilentAlarm": (
        {"Count": [9, 9, 9], "Invocations": [None, 0, None]},
        {"Count": [9, 9, 9], "Invocations": [None, 1, None]},
    ),
}


def alarms(**given: str) -> dict[str, dict[str, Any]]:
    resources, _ = template.evaluate(
        template.load(), {**GIVEN, **given}, stack="demo", region="eu-central-1", account="123456789012"
    )
    return {name: one.properties for name, one in resources.items() if one.type == "AWS::CloudWatch::Alarm"}


def is_raised(alarm: Mapping[str, Any], history: History) -> bool:
    """Tell whether an alarm is in ALARM after a history: all of its last periods breach, what is missing as it says."""
    periods = int(alarm["EvaluationPeriods"])
    values = _values(alarm, history)[-periods:]
    missing: list[float | None] = [None] * (periods - len(values))
    compare, threshold = COMPARED[alarm["ComparisonOperator"]], float(alarm["Threshold"])
    is_missing_bad = alarm["TreatMissingData"] == "breaching"
    return all(is_missing_bad if value is None else compare(value, threshold) for value in [*missing, *values])


def _values(alarm: Mapping[str, Any], history: History) -> list[float | None]:
    if "Metrics" not in alarm:
        return list(history[alarm["MetricName"]])
    (shown,) = (one for one in alarm["Metrics"] if one.get("ReturnData", True))
    series = {one["Id"]: history[one["MetricStat"]["Metric"]["MetricName"]] for one in alarm["Metrics"] if one != shown}
    return [_math(shown["Expression"], at, series) for at in range(len(next(iter(series.values()))))]


def _math(expression: str, at: int, series: Mapping[str, Sequence[float | None]]) -> float:
    """Evaluate the part of metric math that the template uses: IF, FILL, AND and comparisons."""
    names = {name: values[at] for name, values in series.items()}
    names |= {"FILL": lambda value, other: other if value is None else value}  # type: ignore[dict-item]
    names |= {"IF": lambda said, yes, no: yes if said else no}  # type: ignore[dict-item]
    text = expression.replace(" AND ", " and ")
    assert set(re.findall(r"[A-Za-z_]+", text)) <= {*names, "and"}, text
    return float(eval(text, {"__builtins__": {}}, names))


@pytest.mark.parametrize("name", CASES)
def test_an_alarm_rings_when_it_must_and_only_then(name: str) -> None:
    """The history that raises it, the nearest one that does not, and it can ring again after it was quiet."""
    alarm = alarms()[name]
    bad, good = CASES[name]
    assert is_raised(alarm, bad)
    assert not is_raised(alarm, good)
    quiet = int(alarm["EvaluationPeriods"])
    still: list[float | None] = [1.0 if name == "WaitingAlarm" else 0.0] * quiet
    after = {metric: [*values, *still] for metric, values in bad.items()}
    assert not is_raised(alarm, after)
    assert is_raised(alarm, {metric: [*values, *bad[metric]] for metric, values in after.items()})


def test_every_alarm_is_tried_and_has_its_entry_in_the_runbook() -> None:
    """No alarm without a test, none without what to do about it, no entry without an alarm."""
    runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    assert (
        {*alarms(), "SilentAlarm"} == {*CASES, "SilentAlarm"} == set(re.findall(r"^## (\w+)$", runbook, re.MULTILINE))
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, "demo-"), ({"AlarmTopicArn": "arn:aws:sns:eu-central-1:1:mine"}, "arn:aws:sns:eu-central-1:1:mine")],
)
def test_every_alarm_tells_somebody(given: dict[str, str], wanted: str) -> None:
    """Each goes to the stack's topic or to the one that is named, when it rings and when it is over."""
    for name, alarm in alarms(**given).items():
        for actions in (alarm["AlarmActions"], alarm["OKActions"]):
            assert [str(one)[: len(wanted)] == wanted or wanted in str(one) for one in actions] == [True], name


def test_metrics_of_weirs_own_are_published_under_that_name() -> None:
    """An alarm on a metric that nothing publishes could never ring."""
    published = {*metrics.UNITS, "Unaccounted", "Unarchived"}
    own = [alarm["MetricName"] for alarm in alarms().values() if alarm.get("Namespace") == "Weir"]
    assert own
    assert set(own) <= published


def silent(**hours: int) -> dict[str, dict[str, Any]]:
    """Return the alarms that the sources' silence has, by logical id."""
    ready = template.prepare(template.load(), b'{"paths": {}}', {}, {}, silent_hours=hours)
    return {
        name: one["Properties"]
        for name, one in ready["Resources"].items()
        if name.startswith("Silent") and one["Type"] == "AWS::CloudWatch::Alarm"
    }


@pytest.mark.parametrize(
    ("proven", "rings"),
    [
        ([None] * 3, True),
        ([9, None, None, None], True),
        ([9, None, None], False),
        ([None, 1, None], False),
        ([0, 0, 0], True),
    ],
)
def test_a_source_gone_silent_rings_after_its_own_time(proven: Sequence[float | None], rings: bool) -> None:
    """Whether FILL makes zeros where there is no data at all, or nothing: both are silence."""
    (alarm,) = silent(stripe=3).values()
    assert is_raised(alarm, {"Proven": proven}) == rings
    assert alarm["TreatMissingData"] == "breaching"


def test_only_sources_that_ask_for_it_have_one() -> None:
    """Each has an alarm of its own, of a name that CloudFormation takes, that tells whom every alarm tells."""
    assert silent() == {}
    found = silent(**{"stripe": 6, "my-source": 24, "mysource": 168})
    assert len(found) == 3
    assert all(name.isalnum() for name in found)
    every = template.load()["Resources"]["RefusedAlarm"]["Properties"]
    for alarm in found.values():
        assert (alarm["AlarmActions"], alarm["OKActions"]) == (every["AlarmActions"], every["OKActions"])
        assert alarm["EvaluationPeriods"] * 3600 <= 7 * 86_400
    read = [alarm["Metrics"][1]["MetricStat"]["Metric"] for alarm in found.values()]
    assert [{one["Name"]: one["Value"] for one in metric["Dimensions"]} for metric in read] == [
        {metrics.DIMENSION: {"Ref": "AWS::StackName"}, metrics.SOURCE_DIMENSION: name}
        for name in ("my-source", "mysource", "stripe")
    ]
    assert {(metric["Namespace"], metric["MetricName"]) for metric in read} == {(metrics.NAMESPACE, metrics.PROVEN)}

"""docs/reference/parameters.md: parameters and outputs of infra/template.yaml."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.docs import markdown
from weir.infra import template

_DEPLOY = "(deploy)"


def page() -> str:
    """Return the page."""
    loaded = template.load()
    by_deploy = {name: spec for name, spec in loaded["Parameters"].items() if spec["Description"].startswith(_DEPLOY)}
    by_you = {name: spec for name, spec in loaded["Parameters"].items() if name not in by_deploy}
    return markdown.page(
        "Template parameters and outputs",
        "The parameters of `infra/template.yaml`. Give them as `--set NAME=VALUE` to `weir deploy`, `weir run` and `weir cost`.",
        "## Parameters that you may set",
        _parameters(by_you),
        "## Parameters that `weir deploy` sets",
        _parameters(by_deploy),
        "## Outputs",
        markdown.table(
            ["output", "meaning", "only if"],
            [
                (markdown.code(name), markdown.sentence(spec["Description"]), markdown.code(spec.get("Condition", "")))
                for name, spec in loaded["Outputs"].items()
            ],
        ),
        "## Alarms",
        "Each alarm goes to the stack's own topic (output `AlarmTopic`), or to `AlarmTopicArn`; `AlarmEmail` has them mailed. "
        "The [runbook](../runbook.md) says what to do about each.",
        _alarms(loaded["Resources"]),
    )


def _parameters(specs: Mapping[str, Mapping[str, Any]]) -> str:
    return markdown.table(
        ["parameter", "type", "default", "allowed", "meaning"],
        [
            (
                markdown.code(name),
                spec["Type"],
                markdown.code(spec["Default"]) or "(empty)" if "Default" in spec else "(required)",
                _allowed(spec),
                markdown.sentence(str(spec["Description"]).removeprefix(_DEPLOY)),
            )
            for name, spec in specs.items()
        ],
    )


def _allowed(spec: Mapping[str, Any]) -> str:
    if "AllowedValues" in spec:
        return ", ".join(markdown.code(value) for value in spec["AllowedValues"])
    if "AllowedPattern" in spec:
        return markdown.code(spec["AllowedPattern"])
    low, high = spec.get("MinValue"), spec.get("MaxValue")
    if low is None:
        return "any"
    return f"at least {low}" if high is None else f"{low} to {high}"


def _alarms(resources: Mapping[str, Mapping[str, Any]]) -> str:
    return markdown.table(
        ["alarm", "metric", "condition", "meaning"],
        [
            (
                markdown.code(name),
                _metric(spec["Properties"]),
                _condition(spec["Properties"]),
                markdown.sentence(spec["Properties"]["AlarmDescription"]),
            )
            for name, spec in resources.items()
            if spec["Type"] == "AWS::CloudWatch::Alarm"
        ],
    )


def _metric(alarm: Mapping[str, Any]) -> str:
    if "Metrics" in alarm:
        return markdown.code(alarm["Metrics"][0]["Expression"])
    return markdown.code(f"{alarm['Namespace']} {alarm['MetricName']}")


def _condition(alarm: Mapping[str, Any]) -> str:
    compared = {
        "GreaterThanThreshold": "above",
        "GreaterThanOrEqualToThreshold": "at least",
        "LessThanThreshold": "below",
    }[alarm["ComparisonOperator"]]
    times = _threshold(alarm["EvaluationPeriods"])
    period_s = alarm["Period"] if "Period" in alarm else alarm["Metrics"][1]["MetricStat"]["Period"]
    statistic = alarm.get("Statistic", "it")
    for_how_long = f"in {period_s} s" if times == "1" else f"in {times} periods of {period_s} s"
    return f"{statistic} {compared} {_threshold(alarm['Threshold'])} {for_how_long}"


def _threshold(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return markdown.code(value["Ref"] if "Ref" in value else value["Fn::Sub"])

"""The alarm of a source from which nothing has come for longer than is usual for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_HOUR_S = 3600
# What is counted, and what of it was refused: only what was stored is a sign of life.
_COUNTED = {"all": "Count", "refused": "4XXError", "failed": "5XXError"}


def alarms(hours: Mapping[str, int], actions: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the logical id and the resource of each source's alarm; ``actions`` are those of every alarm.

    ``hours`` says for each source that has one after how long a silence it rings, 1 to 168: CloudWatch looks back seven
    days at most. API Gateway counts by method and path, since the stage has detailed metrics. A source that sends
    nothing has no data at all, which counts as nothing.
    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """
    for name, count in sorted(hours.items()):
        yield (
            f"Silent{_logical(name)}Alarm",
            {"Type": "AWS::CloudWatch::Alarm", "Properties": _alarm(name, count, actions)},
        )


def _alarm(name: str, hours: int, actions: Mapping[str, Any]) -> dict[str, Any]:
    paths = {"plain": f"/v1/{name}", "keyed": f"/v1/{name}/{{key}}"}
    series = {f"{label}_{word}": (metric, path) for label, path in paths.items() for word, metric in _COUNTED.items()}
    terms = [f"{'+' if metric == 'Count' else '-'} FILL({one}, 0)" for one, (metric, _) in series.items()]
    return {
        "AlarmDescription": f"Nothing of {name} was stored for {hours} h: see SilentAlarm in the runbook",
        "Metrics": [
            {"Id": "stored", "Expression": " ".join(terms).removeprefix("+ "), "Label": f"deliveries of {name} stored"},
            *(_metric(one, metric, path) for one, (metric, path) in series.items()),
        ],
        "EvaluationPeriods": hours,
        "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
        **actions,
    }


def _metric(one: str, metric: str, path: str) -> dict[str, Any]:
    dimensions = {"ApiName": {"Ref": "AWS::StackName"}, "Stage": "live", "Method": "POST", "Resource": path}
    counted = {
        "Namespace": "AWS/ApiGateway",
        "MetricName": metric,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
    }
    return {"Id": one, "ReturnData": False, "MetricStat": {"Stat": "Sum", "Period": _HOUR_S, "Metric": counted}}


def _logical(name: str) -> str:
    """Return a part of a logical id, letters and digits only, that no other source's name gives."""
    return "".join(one if one.isalnum() and one.isascii() else f"X{ord(one):x}" for one in name)

"""The alarm of a source from which nothing has come for longer than is usual for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_HOUR_S = 3600


def alarms(hours: Mapping[str, int], actions: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the logical id and the resource of each source's alarm; ``actions`` are those of every alarm.

    ``hours`` says for each source that has one after how long a silence it rings, 1 to 168: CloudWatch looks back seven
    days at most. The consumer counts what a secret has proven, so that a stranger's POSTs do not count. Hours
    without any are filled with 0: CloudWatch would leave them out, and look further back for others. Where there is
    no data at all, that is breaching, whether or not FILL makes any.
    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """
    for name, count in sorted(hours.items()):
        logical_id = f"Silent{name.replace('-', 'X')}Alarm"  # names are of a-z, 0-9 and hyphens
        yield logical_id, {"Type": "AWS::CloudWatch::Alarm", "Properties": _alarm(name, count, actions)}


def _alarm(name: str, hours: int, actions: Mapping[str, Any]) -> dict[str, Any]:
    dimensions = [{"Name": "Stack", "Value": {"Ref": "AWS::StackName"}}, {"Name": "Source", "Value": name}]
    metric = {"Namespace": "Weir", "MetricName": "Proven", "Dimensions": dimensions}
    return {
        "AlarmDescription": f"No delivery of {name} was proven for {hours} h: see SilentAlarm in the runbook",
        "Metrics": [
            {"Id": "events", "Expression": "FILL(proven, 0)", "Label": f"events of {name}"},
            {"Id": "proven", "ReturnData": False, "MetricStat": {"Stat": "Sum", "Period": _HOUR_S, "Metric": metric}},
        ],
        "EvaluationPeriods": hours,
        "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
        **actions,
    }

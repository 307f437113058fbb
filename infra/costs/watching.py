"""Lines of the bill for what watches the stack: logs, metrics, alarms, the dashboard, mails."""

from __future__ import annotations

from collections.abc import Iterator

from weir.infra.cost import BATCH_LINES_BYTES, EVENT_LINE_BYTES, GB, HOURS, access_line_bytes
from weir.infra.costs.account_reads import AccountReads
from weir.infra.costs.item import Item, Reckoning
from weir.infra.template import Resource

# START, END and REPORT, which Lambda adds to an invocation; what a run for what waits and an account check log beside.
INVOCATION_BYTES, WAITING_BYTES, _ACCOUNT_BYTES = 290, 265, 980
# What is left of a log when it is stored, and what each line has in addition.
# Source: https://aws.amazon.com/cloudwatch/pricing/
_STORED_SHARE, _LINE_OVERHEAD_BYTES = 0.15, 26
_MONTH_DAYS = HOURS / 24
# What `MetricsConfig` turns on for a stream: polled, filtered, invoked, failed, dropped and given up. AWS' pages name
# no price of theirs; they are counted as any metric that is asked for.
MAPPING_METRICS = 6
# Of a policy that scales a table: what is used and what is provisioned, each too high and too low.
_ALARMS_A_POLICY = 4
# Assumed: an alarm and its end, a few times a week.
MAILS = 30


def items(reckoning: Reckoning) -> Iterator[Item]:
    """Yield the lines."""
    stack = reckoning.stack
    yield from _logs(reckoning)
    custom = stack.metrics + stack.silent_sources
    mapped = sum(bool(one.properties.get("MetricsConfig")) for one in _of_type(reckoning, _MAPPING))
    what = f"{custom + mapped * MAPPING_METRICS} metrics of its own"
    yield reckoning.item("metrics", "CloudWatch", what, metrics=custom + mapped * MAPPING_METRICS)
    alarms = _of_type(reckoning, _ALARM)
    read = sum(map(alarm_metrics, alarms))
    scaled = len(_of_type(reckoning, _SCALING)) * _ALARMS_A_POLICY
    what = f"alarms, of {read + scaled} metrics"
    yield reckoning.item("alarms", "CloudWatch", what, alarms=read + scaled)
    if dashboards := _of_type(reckoning, "AWS::CloudWatch::Dashboard"):
        yield reckoning.item("dashboard", "CloudWatch", "dashboard", dashboards=len(dashboards))
    runs = AccountReads(reckoning).runs
    yield reckoning.item("metric_requests", "CloudWatch", "questions of the account check", metric_requests=runs)
    if mails := _of_type(reckoning, "AWS::SNS::Subscription"):
        yield reckoning.item("mails", "SNS", f"{MAILS} mails", mails=MAILS * len(mails))


def alarm_metrics(alarm: Resource) -> int:
    """Return for how many metrics an alarm is billed: each that its expression reads.

    Source: https://aws.amazon.com/cloudwatch/pricing/
    """
    return max(1, sum("MetricStat" in one for one in alarm.properties.get("Metrics", ())))


_MAPPING, _ALARM = "AWS::Lambda::EventSourceMapping", "AWS::CloudWatch::Alarm"
_SCALING = "AWS::ApplicationAutoScaling::ScalingPolicy"


def _of_type(reckoning: Reckoning, kind: str) -> list[Resource]:
    return list(reckoning.stack.of_type(kind).values())


def _logs(reckoning: Reckoning) -> Iterator[Item]:
    taken = kept = 0.0
    for group, (lines, size) in _lines_by_group(reckoning).items():
        days = reckoning.stack.properties(group).get("RetentionInDays")
        if days is not None:
            taken += size / GB
            kept += (size * _STORED_SHARE + lines * _LINE_OVERHEAD_BYTES) / GB * days / _MONTH_DAYS
    yield reckoning.item("logs", "CloudWatch", "logs, taken in", log_gb=taken)
    days = reckoning.given("LogRetentionDays")
    yield reckoning.item("logs_kept", "CloudWatch", f"logs, kept for {days} days", log_gb_month=kept)


def _lines_by_group(reckoning: Reckoning) -> dict[str, tuple[float, float]]:
    """Return lines and bytes of a month by the logical id of their log group. Firehose logs its failures only."""
    month, batches, stack = reckoning.load.month, reckoning.estimate.batches, reckoning.stack
    waiting, account, asked = stack.runs("Consumer"), AccountReads(reckoning).runs, month * stack.by_function
    consumer = month * EVENT_LINE_BYTES + batches * BATCH_LINES_BYTES + waiting * (WAITING_BYTES + INVOCATION_BYTES)
    return {
        "AccessLog": (month, month * access_line_bytes()),
        "ConsumerLog": (month + 5 * batches + 4 * waiting, consumer),
        "AccountCheckLog": (5 * account, account * (_ACCOUNT_BYTES + INVOCATION_BYTES)),
        "HandshakeLog": (3 * asked, asked * INVOCATION_BYTES),
    }

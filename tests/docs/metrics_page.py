"""docs/reference/metrics.md: the metrics that Weir makes."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

from tests.docs import markdown
from weir.consumers.batch.metrics import DIMENSION, NAMESPACE, PROVEN, SOURCE_DIMENSION, UNITS

# The names and units are the code's; each name must have its meaning here, and none may have one that is not a metric.
BATCH = {
    "Records": "records of the stream in the batch; a KPL aggregate is one",
    "Events": "events in those records; a delivery may hold several",
    "Applied": "events whose changes were written",
    "Duplicate": "events that had been applied or ignored before: nothing was written",
    "Ignored": "events that no business code wants: stored, nothing else was written",
    "Quarantined": "events or deliveries that can never succeed: stored with their bytes and a reason",
    "Waiting": "events that business code lets wait for what is not there yet: stored, to be tried again",
    "Retried": "events that could not be committed yet: their records are read again",
    "AggregatesDamaged": "records that look like a KPL aggregate and cannot be read as one",
    "BugCount": "exceptions that the code did not foresee",
    "CommitCalls": "calls to DynamoDB and S3 that committing made",
    "WriteUnits": "write capacity units that DynamoDB says were consumed",
    "BatchDuration": "time from the start of the invocation's work to its report",
    "OldestArrivalAge": "age of the oldest delivery in the batch, counted from its arrival at the gateway",
}
COLD_START = {
    "BotocoreFallbacks": "clients that are ordinary ones since the runtime's botocore cannot make lean ones: all is done, at a slower cold start",
}
WAITING = {
    "WaitingTried": "events that waited and were tried again; 0 if none was due. An alarm if there is none of these for a quarter of an hour",
    "WaitingDone": "those of them that were applied, or needed nothing more",
}
ACCOUNT = {
    "Acknowledged": "deliveries of the window that were answered 2xx",
    "InFlight": "those that the consumer has not read yet",
    "Unaccounted": "those that are nowhere they should be; an alarm if above 0",
    "Unarchived": "those that should be in the archive by now and are not; an alarm if above 0",
    "TimeToLossUsed": "how much of the time until it is given up or gone the oldest unread record has used; an alarm from `LossAlarmPercent` on",
}


def page() -> str:
    """Return the page."""
    return markdown.page(
        "Metrics",
        f"Namespace `{NAMESPACE}`; dimension `{DIMENSION}`, the name of the CloudFormation stack. They are written as embedded metrics,\n"
        "one document a batch, so no call is made for them. Counts by source are a property (`sources`) of the same document: CloudWatch Logs\n"
        "Insights finds them, and no metric has to be paid for. The alarms are in [parameters.md](parameters.md#alarms).",
        "## Of each batch",
        _table(BATCH),
        "## Of each batch, for a source that has `silent_after_hours`",
        f"With the dimensions `{DIMENSION}` and `{SOURCE_DIMENSION}`. A batch without an event of the source reports none.",
        markdown.table(
            ["metric", "unit", "meaning"],
            [
                (
                    markdown.code(PROVEN),
                    "Count",
                    "Events of the source that a secret has proven, whatever became of them.",
                )
            ],
        ),
        "## Of a cold start",
        _table(COLD_START),
        "## Of the scheduled run for what waits",
        _table(WAITING),
        "## Of the scheduled account check",
        _table(ACCOUNT),
    )


def _table(meanings: dict[str, str]) -> str:
    return markdown.table(
        ["metric", "unit", "meaning"],
        [(markdown.code(name), UNITS[name], markdown.sentence(text)) for name, text in meanings.items()],
    )

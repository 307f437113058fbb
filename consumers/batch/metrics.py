"""Metric names, units and dimensions; one embedded-metric document per batch, made by aws-embedded-metrics.

A document of its own for each batch: the library forgets its dimensions at each flush and stamps the time at which its
context was made, so a context is never used twice. The dimension is the stack; counts by source are a property, which
costs log bytes and no metric. Only a source that asks for an alarm for its silence has a metric of its own.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from weir.consumers.outcome import METRICS

NAMESPACE = "Weir"
DIMENSION = "Stack"
SOURCE_DIMENSION = "Source"

# Of one source, how many of its events a secret has proven.
PROVEN = "Proven"

# Every metric of a batch and its unit, as CloudWatch names units.
UNITS = {
    "Records": "Count",
    "Events": "Count",
    **dict.fromkeys(METRICS.values(), "Count"),
    "AggregatesDamaged": "Count",
    "BugCount": "Count",
    "CommitCalls": "Count",
    "WriteUnits": "Count",
    "BatchDuration": "Milliseconds",
    "OldestArrivalAge": "Milliseconds",
    # Of a cold start with a botocore that the functions were not tested with.
    "BotocoreFallbacks": "Count",
    # Of the scheduled run for what waits.
    "WaitingTried": "Count",
    "WaitingDone": "Count",
    # Of the scheduled account.
    "Acknowledged": "Count",
    "InFlight": "Count",
    "Unaccounted": "Count",
    "Unarchived": "Count",
    "TimeToLossUsed": "Percent",
}


def document(stack: str, values: Mapping[str, float], properties: Mapping[str, Any], *, source: str = "") -> str:
    """Return one line of embedded-metric JSON, of a stack or of one source of it.

    ``values`` are metrics by their name in ``UNITS``, or `PROVEN`; one that is not given is not reported.
    ``properties`` are members that CloudWatch Logs Insights can search and no metric is made of.
    """
    context_type, serializer, config = _library()
    dimensions = {DIMENSION: stack, **({SOURCE_DIMENSION: source} if source else {})}
    context = context_type(config.namespace or NAMESPACE, dict(properties), [dimensions])
    context.should_use_default_dimensions = False
    for name, value in values.items():
        context.put_metric(name, value, UNITS.get(name, "Count"))
    lines: list[str] = serializer.serialize(context)
    return "\n".join(lines)


@cache
def _library() -> tuple[Any, Any, Any]:
    """Import the modules of aws-embedded-metrics that make a document, and not its front door.

    The package's ``__init__`` imports the EC2 probe and with it aiohttp and asyncio: 145 ms of a cold start for
    code that never runs in Lambda. A module made from the package's spec but not executed lets its submodules be
    found; it is taken away again, so that an import of the package itself gets all of it.
    """
    package = "aws_embedded_metrics"
    if package in sys.modules:
        return _modules()
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(package)
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        return _modules()
    finally:
        del sys.modules[package]


def _modules() -> tuple[Any, Any, Any]:
    from aws_embedded_metrics.config import get_config  # noqa: PLC0415 - a cold start pays for it at the first document
    from aws_embedded_metrics.logger.metrics_context import MetricsContext  # noqa: PLC0415
    from aws_embedded_metrics.serializers.log_serializer import LogSerializer  # noqa: PLC0415

    return MetricsContext, LogSerializer, get_config()

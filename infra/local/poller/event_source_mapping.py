"""The event source mapping that the poller honours, read from the template's properties.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-eventsourcemapping.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from weir.infra.local.poller.filters import Filter, compile_filters
from weir.ingest.errors import TemplateUnsupported

StartingPosition = Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]

# Name -> (lowest, highest). Source: botocore's service model, CreateEventSourceMapping
_BOUNDS = {
    "BatchSize": (1, 10_000),
    "MaximumBatchingWindowInSeconds": (0, 300),
    "ParallelizationFactor": (1, 10),
    "MaximumRetryAttempts": (-1, 10_000),
    "MaximumRecordAgeInSeconds": (-1, 604_800),
    "TumblingWindowInSeconds": (0, 0),
}
_LOWEST_RECORD_AGE_S = 60
_KNOWN = {
    *_BOUNDS,
    "EventSourceArn",
    "FunctionName",
    "StartingPosition",
    "StartingPositionTimestamp",
    "FunctionResponseTypes",
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "FilterCriteria",
    "Enabled",
    "MetricsConfig",  # of CloudWatch, which is not here
    "Tags",  # they change nothing here
}


@dataclass(frozen=True, slots=True)
class EventSourceMapping:
    """What one AWS::Lambda::EventSourceMapping on a Kinesis stream says, defaults filled in; None means no bound."""

    stream_arn: str
    function_name: str
    starting_position: StartingPosition = "TRIM_HORIZON"
    starting_position_at_s: float | None = None
    batch_size: int = 100
    batching_window_s: int = 0
    parallelization_factor: int = 1
    report_batch_item_failures: bool = False
    bisect_batch: bool = False
    maximum_retry_attempts: int | None = None
    maximum_record_age_s: int | None = None
    destination_arn: str | None = None
    wants: Filter | None = None
    enabled: bool = True

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> EventSourceMapping:
        """Read evaluated properties, named as CloudFormation names them; numbers and booleans may be text.

        Raises: TemplateUnsupported with the name of the first property that cannot be honoured.
        """
        for name in properties:
            if name not in _KNOWN:
                raise TemplateUnsupported(f"AWS::Lambda::EventSourceMapping: {name} is not supported here.")
        _whole(properties, "TumblingWindowInSeconds", 0)
        types = properties.get("FunctionResponseTypes") or []
        if set(types) - {"ReportBatchItemFailures"}:
            raise _invalid("FunctionResponseTypes", types)
        retries = _whole(properties, "MaximumRetryAttempts", -1)
        position, at_s = _position(properties)
        return cls(
            stream_arn=_stream_arn(properties),
            function_name=str(properties.get("FunctionName", "")),
            starting_position=position,
            starting_position_at_s=at_s,
            batch_size=_whole(properties, "BatchSize", 100),
            batching_window_s=_whole(properties, "MaximumBatchingWindowInSeconds", 0),
            parallelization_factor=_whole(properties, "ParallelizationFactor", 1),
            report_batch_item_failures=bool(types),
            bisect_batch=_truth(properties, "BisectBatchOnFunctionError", default=False),
            maximum_retry_attempts=None if retries < 0 else retries,
            maximum_record_age_s=_record_age(properties),
            destination_arn=_destination(properties),
            wants=compile_filters(properties.get("FilterCriteria") or {}),
            enabled=_truth(properties, "Enabled", default=True),
        )

    @property
    def stream_name(self) -> str:
        return self.stream_arn.rpartition("/")[2]

    @property
    def region(self) -> str:
        return self.stream_arn.split(":")[3]


def _invalid(name: str, value: object) -> TemplateUnsupported:
    return TemplateUnsupported(
        f"AWS::Lambda::EventSourceMapping: {name} is not supported with this value.", value=value
    )


def _whole(properties: Mapping[str, Any], name: str, default: int) -> int:
    given = properties.get(name, default)
    lowest, highest = _BOUNDS[name]
    try:
        value = int(given)
    except (TypeError, ValueError):
        raise _invalid(name, given) from None
    if not lowest <= value <= highest:
        raise TemplateUnsupported(
            f"AWS::Lambda::EventSourceMapping: {name} must be from {lowest} to {highest} here.", value=given
        )
    return value


def _truth(properties: Mapping[str, Any], name: str, *, default: bool) -> bool:
    given = str(properties.get(name, default)).lower()
    if given not in {"true", "false"}:
        raise _invalid(name, properties[name])
    return given == "true"


def _record_age(properties: Mapping[str, Any]) -> int | None:
    age_s = _whole(properties, "MaximumRecordAgeInSeconds", -1)
    if age_s == -1:
        return None
    if age_s < _LOWEST_RECORD_AGE_S:
        raise _invalid("MaximumRecordAgeInSeconds", age_s)
    return age_s


def _stream_arn(properties: Mapping[str, Any]) -> str:
    arn = str(properties.get("EventSourceArn", ""))
    if not arn.startswith("arn:") or ":kinesis:" not in arn or "/consumer/" in arn:
        raise _invalid("EventSourceArn", arn)
    return arn


def _position(properties: Mapping[str, Any]) -> tuple[StartingPosition, float | None]:
    given = properties.get("StartingPosition")
    if given == "TRIM_HORIZON":
        return "TRIM_HORIZON", None
    if given == "LATEST":
        return "LATEST", None
    if given != "AT_TIMESTAMP":
        raise _invalid("StartingPosition", given)
    at = properties.get("StartingPositionTimestamp")
    try:
        return "AT_TIMESTAMP", float(at)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    try:
        return "AT_TIMESTAMP", datetime.fromisoformat(str(at)).timestamp()
    except ValueError:
        raise _invalid("StartingPositionTimestamp", at) from None


def _destination(properties: Mapping[str, Any]) -> str | None:
    config = dict(properties.get("DestinationConfig") or {})
    arn = (config.pop("OnFailure", None) or {}).get("Destination")
    if config:
        raise _invalid("DestinationConfig", sorted(config))
    if arn is not None and str(arn).split(":")[2:3] not in (["s3"], ["sqs"]):
        raise _invalid("DestinationConfig.OnFailure.Destination", arn)
    return arn

"""What is there already takes the template's parameters: a start with other ones changes stream and tables in place.

What cannot be changed in place is refused before anything is touched, with the way around.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from weir.infra import control
from weir.infra.place import Place
from weir.infra.tables import show_index, show_key
from weir.infra.template import Resource
from weir.ingest.errors import StackFailed

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_kinesis import KinesisClient

_ACTIVE_S = 30.0


def check(place: Place, resources: Mapping[str, Resource]) -> None:
    """Refuse what cannot be changed in place. Raises: StackFailed; nothing has been changed then."""
    for resource in resources.values():
        if resource.type == "AWS::DynamoDB::Table":
            _check_table(place.client("dynamodb"), resource)
        elif resource.type == "AWS::Kinesis::Stream":
            _check_retention(place, resource)


def await_active(kinesis: KinesisClient, stream: str) -> None:
    """Wait until a stream is made or changed. Raises: StackFailed."""
    deadline_s = time.monotonic() + _ACTIVE_S
    while _summary(kinesis, stream)["StreamStatus"] != "ACTIVE":
        if time.monotonic() > deadline_s:
            raise StackFailed("The stream did not become active.", stream=stream)
        time.sleep(0.1)


def adapt_stream(kinesis: KinesisClient, resource: Resource) -> None:
    """Give a stream the mode, shards, retention and record size that are wanted.

    Kinesis goes to half or to the double in one update at most, so that more takes several.
    """
    name, wanted = resource.name, resource.properties
    mode = wanted["StreamModeDetails"]["StreamMode"]
    there = _summary(kinesis, name)
    if there["StreamModeDetails"]["StreamMode"] != mode:
        kinesis.update_stream_mode(StreamARN=there["StreamARN"], StreamModeDetails={"StreamMode": mode})
    for count in _shard_counts(there["OpenShardCount"], int(wanted.get("ShardCount", there["OpenShardCount"]))):
        kinesis.update_shard_count(StreamName=name, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
        await_active(kinesis, name)
    hours = int(wanted["RetentionPeriodHours"])
    if hours > there["RetentionPeriodHours"]:
        kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=hours)
    elif hours < there["RetentionPeriodHours"]:
        kinesis.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=hours)
    size_kib = int(wanted["MaxRecordSizeInKiB"])
    if size_kib != there["MaxRecordSizeInKiB"]:
        kinesis.update_max_record_size(StreamARN=there["StreamARN"], MaxRecordSizeInKiB=size_kib)


def adapt_table(dynamodb: DynamoDBClient, resource: Resource) -> None:
    """Give a table its billing mode, its stream of changes and its indexes; an index with another key is made anew."""
    name, wanted, there = resource.name, resource.properties, _described(dynamodb, resource)
    if (asked := _billing(wanted, there)) is not None:
        dynamodb.update_table(TableName=name, **asked)
    images = {"StreamEnabled": True, **wanted["StreamSpecification"]} if "StreamSpecification" in wanted else {}
    if images != {key: value for key, value in there.get("StreamSpecification", {}).items() if key in images}:
        dynamodb.update_table(TableName=name, StreamSpecification=images)  # type: ignore[arg-type]
    known = {index["IndexName"]: show_index(there, index) for index in there.get("GlobalSecondaryIndexes", [])}
    for index in wanted.get("GlobalSecondaryIndexes", []):
        if known.get(index["IndexName"]) == show_index(wanted, index):
            continue
        if index["IndexName"] in known:
            gone = [{"Delete": {"IndexName": index["IndexName"]}}]
            dynamodb.update_table(TableName=name, GlobalSecondaryIndexUpdates=gone)  # type: ignore[arg-type]
        dynamodb.update_table(
            TableName=name,
            AttributeDefinitions=wanted["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Create": index}],
        )


def _billing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what to ask of a table whose billing mode or capacity is another one; None if they are as wanted."""
    mode = there.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if wanted["BillingMode"] == "PAY_PER_REQUEST":
        return None if mode == "PAY_PER_REQUEST" else {"BillingMode": "PAY_PER_REQUEST"}
    units = wanted["ProvisionedThroughput"]
    if mode == "PROVISIONED" and all(there["ProvisionedThroughput"][name] == units[name] for name in units):
        return None
    known = {index["IndexName"] for index in there.get("GlobalSecondaryIndexes", [])}
    updates = [
        {"Update": {"IndexName": index["IndexName"], "ProvisionedThroughput": index["ProvisionedThroughput"]}}
        for index in wanted.get("GlobalSecondaryIndexes", [])
        if index["IndexName"] in known
    ]
    asked: dict[str, Any] = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}
    return asked | ({"GlobalSecondaryIndexUpdates": updates} if updates else {})


def _shard_counts(now: int, wanted: int) -> Iterator[int]:
    """Yield the counts on the way from one to another, none if they are the same.

    Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html
    """
    while now != wanted:
        now = min(wanted, now * 2) if wanted > now else max(wanted, (now + 1) // 2)
        yield now


def _check_table(dynamodb: DynamoDBClient, resource: Resource) -> None:
    wanted, there = resource.properties, _described(dynamodb, resource)
    if there is None:
        return
    if show_key(there) != show_key(wanted):
        raise StackFailed(
            f"{resource.name} has the key {show_key(there)}, and {show_key(wanted)} is declared: a key cannot change. "
            "Give the declaration another name, and fill its table with `weir rebuild`."
        )
    types, declared = (
        {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
        for table in (there, wanted)
    )
    if changed := sorted(name for name in types.keys() & declared.keys() if types[name] != declared[name]):
        raise StackFailed(
            f"{resource.name}: {changed[0]} is of type {types[changed[0]]} in an index, and {declared[changed[0]]} is "
            "declared: a type cannot change. Give the index another attribute."
        )


def _check_retention(place: Place, resource: Resource) -> None:
    """Refuse a retention that would drop records which the consumer has not read."""
    kinesis, hours = place.client("kinesis"), int(resource.properties["RetentionPeriodHours"])
    there = _known(lambda: _summary(kinesis, resource.name))
    if there is None or hours >= there["RetentionPeriodHours"]:
        return
    done, border_s = control.checkpoints(place) or {}, time.time() - hours * 3600
    for shard in kinesis.list_shards(StreamName=resource.name)["Shards"]:
        start = done.get(shard["ShardId"], {"ShardIteratorType": "TRIM_HORIZON"})
        if start and _oldest_s(kinesis, resource.name, shard["ShardId"], start) < border_s:
            raise StackFailed(
                f"RetentionHours={hours}: the stream would drop records that are older and that the consumer has not "
                f"read. Start with RetentionHours={there['RetentionPeriodHours']}, wait until `weir lag` says that "
                "nothing is behind, and change it then."
            )


def _oldest_s(kinesis: KinesisClient, stream: str, shard_id: str, start: Mapping[str, Any]) -> float:
    """Return when the first record from a place on arrived, in epoch seconds; infinity if there is none."""
    asked: Any = {"StreamName": stream, "ShardId": shard_id, **start}
    iterator = kinesis.get_shard_iterator(**asked)["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator, Limit=1)["Records"]
    return min((one["ApproximateArrivalTimestamp"].timestamp() for one in records), default=float("inf"))


def _summary(kinesis: KinesisClient, stream: str) -> Any:
    return kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]


def _described(dynamodb: DynamoDBClient, resource: Resource) -> Any:
    return _known(lambda: dynamodb.describe_table(TableName=resource.name)["Table"])


def _known(ask: Callable[[], Any]) -> Any:
    """Return what a call says; None if it says that there is no such thing yet."""
    try:
        return ask()
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise

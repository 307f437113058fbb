"""Create on the engine what the evaluated template describes: streams, tables, bucket and queue.

Everything is created once, so a second session finds the first one's data; stream and tables take changed parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from weir.infra.local.adapt import adapt_stream, adapt_table, await_active, check
from weir.infra.place import Place
from weir.infra.template import Resource
from weir.ingest.errors import StackFailed, TemplateUnsupported

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3.type_defs import QueueConfigurationTypeDef

# What the embedded stack serves by itself or has no need of on one machine.
_ELSEWHERE = {
    "AWS::ApiGateway::RestApi",  # the gateway
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::Stage",
    "AWS::ApiGateway::Account",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Role",  # the engine checks no rights
    "AWS::Lambda::Function",  # processes of the supervisor
    "AWS::Lambda::EventSourceMapping",  # the poller
    "AWS::Logs::LogGroup",  # files
    "AWS::Logs::LogStream",
    "AWS::KinesisFirehose::DeliveryStream",  # the archiver
    "AWS::Events::Rule",  # `weir account` by hand
    "AWS::Lambda::EventInvokeConfig",  # the supervisor starts a run when the one before has ended
    "AWS::Lambda::Permission",
    "AWS::CloudWatch::Alarm",
    "AWS::SNS::Topic",
    "AWS::SNS::Subscription",
    "AWS::Logs::QueryDefinition",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
}
_TABLE_PROPERTIES = (
    "AttributeDefinitions",
    "KeySchema",
    "GlobalSecondaryIndexes",
    "BillingMode",
    "ProvisionedThroughput",
)
_EXISTS = {"ResourceInUseException", "BucketAlreadyOwnedByYou", "BucketAlreadyExists", "QueueAlreadyExists"}


def provision(place: Place, resources: Mapping[str, Resource]) -> None:
    """Create every resource that the engine serves, queues before the bucket that notifies them.

    Raises: TemplateUnsupported for a type that the embedded stack does not know; StackFailed when one is not made, or
    when what is there cannot be changed in place: then nothing is.
    """
    makers: dict[str, Callable[[Place, Resource], None]] = {
        "AWS::SQS::Queue": _queue,
        "AWS::Kinesis::Stream": _stream,
        "AWS::DynamoDB::Table": _table,
        "AWS::S3::Bucket": _bucket,
    }
    known = [*makers, *_ELSEWHERE]
    check(place, resources)
    for resource in sorted(resources.values(), key=lambda found: _position(known, found)):
        make = makers.get(resource.type)
        if make is None:
            continue
        try:
            make(place, resource)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _EXISTS:
                raise StackFailed(f"{resource.logical_id}: {error}") from error


def _position(known: list[str], resource: Resource) -> int:
    if resource.type not in known:
        raise TemplateUnsupported("The embedded stack does not know this type of resource.", type=resource.type)
    return known.index(resource.type)


def _stream(place: Place, resource: Resource) -> None:
    kinesis, wanted = place.client("kinesis"), resource.properties
    with suppress(kinesis.exceptions.ResourceInUseException):  # an earlier session has made it
        kinesis.create_stream(StreamName=resource.name, ShardCount=int(wanted.get("ShardCount", 1)))
    await_active(kinesis, resource.name)
    adapt_stream(kinesis, resource)


def _table(place: Place, resource: Resource) -> None:
    wanted = resource.properties
    asked: dict[str, Any] = {name: wanted[name] for name in _TABLE_PROPERTIES if name in wanted}
    if "StreamSpecification" in wanted:  # CloudFormation leaves out what the API wants to hear
        asked["StreamSpecification"] = {"StreamEnabled": True, **wanted["StreamSpecification"]}
    dynamodb = place.client("dynamodb")
    try:
        dynamodb.create_table(TableName=resource.name, **asked)
    except dynamodb.exceptions.ResourceInUseException:
        adapt_table(dynamodb, resource)
    dynamodb.get_waiter("table_exists").wait(TableName=resource.name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    if "TimeToLiveSpecification" in wanted:
        _expire_items(dynamodb, resource.name, wanted["TimeToLiveSpecification"])


def _expire_items(dynamodb: DynamoDBClient, name: str, wanted: Any) -> None:
    found = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if found.get("AttributeName") != wanted["AttributeName"] or found.get("TimeToLiveStatus") != "ENABLED":
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)


def _queue(place: Place, resource: Resource) -> None:
    kept_s = str(resource.properties["MessageRetentionPeriod"])
    place.client("sqs").create_queue(QueueName=resource.name, Attributes={"MessageRetentionPeriod": kept_s})


def _bucket(place: Place, resource: Resource) -> None:
    s3 = place.client("s3")
    s3.create_bucket(Bucket=resource.name)
    notifications: Any = resource.properties.get("NotificationConfiguration", {}).get("QueueConfigurations", [])
    if notifications:
        s3.put_bucket_notification_configuration(
            Bucket=resource.name,
            NotificationConfiguration={"QueueConfigurations": [_notification(item) for item in notifications]},
        )


def _notification(item: Mapping[str, Any]) -> QueueConfigurationTypeDef:
    """Translate CloudFormation's spelling of a bucket notification into the API's."""
    return {
        "QueueArn": item["Queue"],
        "Events": [item["Event"]],
        "Filter": {"Key": {"FilterRules": item["Filter"]["S3Key"]["Rules"]}},
    }

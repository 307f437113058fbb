"""What holds a stack's data: stream, tables and bucket. It outlives the stack, and is found by it when that is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

from weir.infra import Say
from weir.infra.place import Place
from weir.ingest.errors import StackFailed

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackResourceSummaryTypeDef
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

STREAM, TABLE, BUCKET = "AWS::Kinesis::Stream", "AWS::DynamoDB::Table", "AWS::S3::Bucket"
# A function that was running when its stack went may write for as long as its timeout: 15 minutes at most.
_EMPTY_ATTEMPTS, _EMPTY_PAUSE_S = 40, 30.0
GONE = {"ResourceNotFoundException", "404", "NoSuchBucket"}


class Stored(NamedTuple):
    """A resource that holds data: its type in CloudFormation, and the name that its service knows it by."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Left(NamedTuple):
    """What a deleted stack has left and is still there, by logical id; ``stack_id`` is that stack's."""

    stack_id: str
    found: Mapping[str, Stored]


def of_stack(place: Place, stack: str = "") -> list[Stored]:
    """Return what holds data of the stack of a place, or of the one with this id, which may be deleted."""
    return [*by_logical_id(place, stack).values()]


def by_logical_id(place: Place, stack: str = "") -> dict[str, Stored]:
    """Return the same by logical id."""
    return _stored(_resources(place, stack or place.stack))


def check_is_weir(place: Place, description: str) -> None:
    """Refuse to touch a stack that another product has made: the name may be a slip. Raises: StackFailed.

    It is Weir's by its description, which the template has, or by its resources, where another tool has left that out.
    """
    if not description.startswith("Weir:") and not _is_weir(_resources(place, place.stack)):
        raise StackFailed(f"The stack {place.stack} in {place.label} is not one of Weir's: is --stack right?")


def held(place: Place) -> dict[str, Stored]:
    """Return what the stack that lives holds now: not what an update has taken out of it and kept."""
    resources = _resources(place, place.stack)
    return _stored([one for one in resources if not one["ResourceStatus"].startswith("DELETE_")])


def of_deleted(place: Place) -> list[list[Stored]]:
    """Return what deleted stacks of this name have left and is still there, for each such stack, the latest first."""
    return [[*one.found.values()] for one in left(place)]


def left(place: Place) -> Iterator[Left]:
    """Yield what each deleted stack of this name has left and is still there, the latest first.

    CloudFormation tells the resources of a deleted stack, by its id, for 90 days.
    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStackResources.html
    """
    pages = place.client("cloudformation").get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    deleted = [one for page in pages for one in page["StackSummaries"] if one["StackName"] == place.stack]
    deleted.sort(key=lambda one: one.get("DeletionTime", one["CreationTime"]), reverse=True)
    for stack in deleted:
        resources = _resources(place, stack["StackId"])
        found = {name: one for name, one in _stored(resources).items() if exists(place, one)}
        if found and _is_weir(resources):
            yield Left(stack["StackId"], found)


def imported(place: Place) -> set[str]:
    """Return the names of what the stack has not made itself but taken up, by its events."""
    pages = place.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=place.stack)
    events = (event for page in pages for event in page["StackEvents"])
    return {event.get("PhysicalResourceId", "") for event in events if event["ResourceStatus"].startswith("IMPORT_")}


def exists(place: Place, one: Stored) -> bool:
    """Tell whether a resource is there. A table that is being deleted is not."""
    probes: dict[str, Callable[[], object]] = {
        STREAM: lambda: place.client("kinesis").describe_stream_summary(StreamName=one.name),
        TABLE: lambda: place.client("dynamodb").describe_table(TableName=one.name)["Table"],
        BUCKET: lambda: place.client("s3").head_bucket(Bucket=one.name),
    }
    try:
        found = probes[one.kind]()
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return False
        raise
    return not (isinstance(found, dict) and found.get("TableStatus") == "DELETING")


def delete(place: Place, one: Stored, say: Say) -> None:
    """Delete a resource with all that it holds; one that is gone is left alone.

    Raises: ClientError as its service refuses it; StackFailed for an object that cannot be deleted.
    """
    if not exists(place, one):
        return
    say(f"  deleting {one}")
    if one.kind == STREAM:
        place.client("kinesis").delete_stream(StreamName=one.name, EnforceConsumerDeletion=True)
    elif one.kind == TABLE:
        _delete_table(place, one.name)
    else:
        _delete_bucket(place, one.name, say)


def _delete_table(place: Place, name: str) -> None:
    """Delete a table, its protection taken off. One that is being updated is refused: it is waited for."""
    dynamodb = place.client("dynamodb")
    if dynamodb.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled"):
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 60})
    dynamodb.delete_table(TableName=name)


def _delete_bucket(place: Place, name: str, say: Say) -> None:
    """Empty a bucket and delete it, again for as long as something writes into it."""
    s3 = place.client("s3")
    for left in reversed(range(_EMPTY_ATTEMPTS)):
        _empty(place, name)
        try:
            s3.delete_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketNotEmpty" or not left:
                raise
            say(f"  {name}: something was written while it was emptied; again in {_EMPTY_PAUSE_S:.0f} s")
            time.sleep(_EMPTY_PAUSE_S)
        else:
            return


def _empty(place: Place, bucket: str) -> None:
    s3 = place.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        keys: list[ObjectIdentifierTypeDef] = [
            {"Key": one["Key"], "VersionId": one["VersionId"]}
            for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        ]
        if keys:
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            for refused in answer.get("Errors", []):
                raise StackFailed(f"{bucket}/{refused.get('Key')}: {refused.get('Message') or refused.get('Code')}")


def _resources(place: Place, stack: str) -> list[StackResourceSummaryTypeDef]:
    pages = place.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return [resource for page in pages for resource in page["StackResourceSummaries"]]


def _stored(resources: list[StackResourceSummaryTypeDef]) -> dict[str, Stored]:
    return {
        resource["LogicalResourceId"]: Stored(resource["ResourceType"], resource["PhysicalResourceId"])
        for resource in resources
        if resource["ResourceType"] in {STREAM, TABLE, BUCKET} and resource.get("PhysicalResourceId")
    }


def _is_weir(resources: list[StackResourceSummaryTypeDef]) -> bool:
    return {"Stream", "EventsTable", "Bucket"} <= {resource["LogicalResourceId"] for resource in resources}

"""Take a stack down, and what holds its data only when that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from weir.infra import Say
from weir.infra.change_sets import delete_stack, status_of
from weir.infra.place import Place
from weir.ingest.errors import StackFailed

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

# Kept by the stack's deletion policies; removed only when that is asked for by name.
_STATEFUL = {"AWS::Kinesis::Stream", "AWS::DynamoDB::Table", "AWS::S3::Bucket"}


def destroy(place: Place, *, delete_data: bool, say: Say) -> list[str]:
    """Delete the stack; return the names of what was kept because it holds data.

    With ``delete_data`` stream, tables and bucket go too, for good.

    Raises: StackFailed with CloudFormation's own reason.
    """
    try:
        return _destroy(place, delete_data=delete_data, say=say)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: {error}") from error


def _destroy(place: Place, *, delete_data: bool, say: Say) -> list[str]:
    if status_of(place) is None:
        raise StackFailed(f"There is no stack {place.stack} in {place.label}.")
    stateful = _stateful(place)
    if delete_data:
        for kind, name in stateful:
            _unprotect(place, kind, name)
    delete_stack(place, say)
    kept = [(kind, name) for kind, name in stateful if _exists(place, kind, name)]
    if not delete_data:
        return [f"{kind} {name}" for kind, name in kept]
    for kind, name in kept:
        say(f"  deleting {kind} {name}")
        _delete_resource(place, kind, name)
    return []


def _stateful(place: Place) -> list[tuple[str, str]]:
    pages = place.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=place.stack)
    return [
        (resource["ResourceType"], resource["PhysicalResourceId"])
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] in _STATEFUL and resource.get("PhysicalResourceId")
    ]


def data_bucket(place: Place) -> str:
    """Return the bucket of a stack of any version, whose outputs need not be those of this one."""
    return next(name for kind, name in _stateful(place) if kind == "AWS::S3::Bucket")


def _unprotect(place: Place, kind: str, name: str) -> None:
    if kind == "AWS::DynamoDB::Table":
        place.client("dynamodb").update_table(TableName=name, DeletionProtectionEnabled=False)
    if kind == "AWS::S3::Bucket":
        s3 = place.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            keys: list[ObjectIdentifierTypeDef] = [{"Key": item["Key"]} for item in page.get("Contents", [])]
            if keys:
                s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})


def _exists(place: Place, kind: str, name: str) -> bool:
    probes: dict[str, Callable[[], object]] = {
        "AWS::Kinesis::Stream": lambda: place.client("kinesis").describe_stream_summary(StreamName=name),
        "AWS::DynamoDB::Table": lambda: place.client("dynamodb").describe_table(TableName=name),
        "AWS::S3::Bucket": lambda: place.client("s3").head_bucket(Bucket=name),
    }
    try:
        probes[kind]()
    except ClientError as error:
        if error.response["Error"]["Code"] in {"ResourceNotFoundException", "404", "NoSuchBucket"}:
            return False
        raise
    return True


def _delete_resource(place: Place, kind: str, name: str) -> None:
    if kind == "AWS::Kinesis::Stream":
        place.client("kinesis").delete_stream(StreamName=name, EnforceConsumerDeletion=True)
    elif kind == "AWS::DynamoDB::Table":
        place.client("dynamodb").delete_table(TableName=name)
    else:
        place.client("s3").delete_bucket(Bucket=name)

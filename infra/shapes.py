"""Streams, tables and buckets as they are, in the properties that the template has for them.

A resource is imported as it is, so that the update after the import sees each difference and sets it right: a property
that the import claims, and the resource has not, would never be set.
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from weir.infra.place import Place
from weir.infra.stored import BUCKET, STREAM, TABLE, Stored

Properties = dict[str, Any]

# What S3 answers when a bucket has no setting of a kind.
_UNSET = {
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "NoSuchLifecycleConfiguration",
}
# The parameters that say for how long something is kept, as whole numbers.
LIVES = frozenset(("RetentionHours", "ArchiveDays", "FailureDays", "UnprovenDays"))
# Set by every update, whatever it was: it names the stack's own queue.
_ALWAYS_SET = {"NotificationConfiguration"}
# Lists whose order says nothing, by the member that names each.
_NAMED_BY = ("AttributeName", "IndexName", "Id", "ObjectOwnership")


def shape(place: Place, one: Stored) -> Properties:
    """Return the properties of a stream, table or bucket as it is, without its name.

    Raises: ClientError when it is not there or may not be read.
    """
    shapes: dict[str, Callable[[Place, str], Properties]] = {STREAM: _stream, TABLE: _table, BUCKET: _bucket}
    return {name: value for name, value in shapes[one.kind](place, one.name).items() if value is not None}


def parameters(kind: str, real: Mapping[str, Any]) -> dict[str, str]:
    """Return the template's parameters by which a resource stays as it is; a lifecycle rule names its own.

    Only what would drop data, cost more or be refused if a default changed it.
    """
    if kind == STREAM:
        found = {
            "StreamMode": real["StreamModeDetails"]["StreamMode"],
            "ShardCount": real.get("ShardCount"),
            "RetentionHours": real["RetentionPeriodHours"],
            "MaxRecordKiB": real.get("MaxRecordSizeInKiB"),
            "StreamKmsKey": real.get("StreamEncryption", {}).get("KeyId"),
        }
    elif kind == BUCKET:
        rules = {one.get("Id"): one for one in real.get("LifecycleConfiguration", {}).get("Rules", ())}
        named = {"ArchiveDays": "archive", "FailureDays": "failures", "UnprovenDays": "unproven"}
        found = {name: rules.get(rule, {}).get("ExpirationInDays") for name, rule in named.items()}
    else:
        found = {"TableMode": "PROVISIONED" if real["BillingMode"] == "PROVISIONED" else "ON_DEMAND"}
    return {name: str(value) for name, value in found.items() if value is not None}


def differences(real: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an update changes, a line for each property: what it is and what it becomes."""
    for name in sorted(wanted.keys() - _ALWAYS_SET):
        before, after = _canonical(real.get(name)), _canonical(wanted[name])
        if before != after:
            yield f"{name}: {_shown(before)} -> {_shown(after)}"


def alike(one: Any, other: Any) -> bool:
    """Tell whether two values of a property say the same, whatever the order of named parts."""
    return bool(_canonical(one) == _canonical(other))


def _canonical(value: Any) -> Any:
    """Return a value in one spelling: texts for numbers and switches, lists of named parts in the order of names."""
    if isinstance(value, Mapping):
        return {name: _canonical(part) for name, part in value.items()}
    if isinstance(value, list):
        parts = [_canonical(part) for part in value]
        ordered = all(isinstance(part, str) or (isinstance(part, dict) and set(part) & {*_NAMED_BY}) for part in parts)
        return sorted(parts, key=lambda part: json.dumps(part, sort_keys=True)) if ordered else parts
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None else str(value)


def _shown(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else json.dumps(value)


def _stream(place: Place, name: str) -> Properties:
    kinesis = place.client("kinesis")
    found: Mapping[str, Any] = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    mode = found.get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED")
    encrypted = found.get("EncryptionType") == "KMS"
    return {
        "StreamModeDetails": {"StreamMode": mode},
        "ShardCount": found["OpenShardCount"] if mode == "PROVISIONED" else None,
        "RetentionPeriodHours": found["RetentionPeriodHours"],
        "MaxRecordSizeInKiB": found.get("MaxRecordSizeInKiB"),
        "StreamEncryption": {"EncryptionType": "KMS", "KeyId": found["KeyId"]} if encrypted else None,
    }


def _table(place: Place, name: str) -> Properties:
    dynamodb = place.client("dynamodb")
    found: Mapping[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
    mode = found.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    life: Mapping[str, Any] = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    indexes = [_index(one, mode) for one in found.get("GlobalSecondaryIndexes", ())]
    local = [_index(one, "") for one in found.get("LocalSecondaryIndexes", ())]
    images = found.get("StreamSpecification") or {}
    has_life = life.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}
    return {
        "AttributeDefinitions": found["AttributeDefinitions"],
        "KeySchema": found["KeySchema"],
        "GlobalSecondaryIndexes": indexes or None,
        "LocalSecondaryIndexes": local or None,
        "BillingMode": mode,
        "ProvisionedThroughput": _throughput(found) if mode == "PROVISIONED" else None,
        "StreamSpecification": {"StreamViewType": images["StreamViewType"]} if images.get("StreamEnabled") else None,
        "TimeToLiveSpecification": {"AttributeName": life["AttributeName"], "Enabled": True} if has_life else None,
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": recovery == "ENABLED"},
        "DeletionProtectionEnabled": bool(found.get("DeletionProtectionEnabled")),
        # Whose key it is cannot be told from its ARN. Nothing is changed where only the key would be.
        "SSESpecification": {"SSEEnabled": True}
        if found.get("SSEDescription", {}).get("Status") == "ENABLED"
        else None,
        "ContributorInsightsSpecification": _insights(place, name),
    }


def _index(described: Mapping[str, Any], mode: str) -> Properties:
    projection = {name: value for name, value in described["Projection"].items() if value}
    index = {"IndexName": described["IndexName"], "KeySchema": described["KeySchema"], "Projection": projection}
    return {**index, "ProvisionedThroughput": _throughput(described)} if mode == "PROVISIONED" else index


def _throughput(described: Mapping[str, Any]) -> Properties:
    given = described["ProvisionedThroughput"]
    return {name: given[name] for name in ("ReadCapacityUnits", "WriteCapacityUnits")}


def _insights(place: Place, name: str) -> Properties | None:
    """Return the setting of Contributor Insights; none where the service does not know of it, as emulators."""
    try:
        found = place.client("dynamodb").describe_contributor_insights(TableName=name)
    except ClientError:
        if not place.emulated:
            raise
        return None
    return {"Enabled": True} if found.get("ContributorInsightsStatus") in {"ENABLED", "ENABLING"} else None


def _bucket(place: Place, name: str) -> Properties:
    s3 = place.client("s3")
    encryption = _set(lambda: s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"])
    block = _set(lambda: s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"])
    owners = _set(lambda: s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"])
    rules = _set(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"])
    return {
        "BucketEncryption": encryption and {"ServerSideEncryptionConfiguration": [*map(_encryption, encryption)]},
        "PublicAccessBlockConfiguration": block,
        "OwnershipControls": owners and {"Rules": owners},
        "LifecycleConfiguration": rules and {"Rules": [*map(_rule, rules)]},
    }


def _set(read: Callable[[], Any]) -> Any:
    """Return a setting of a bucket; None if it has none. Raises: ClientError."""
    try:
        return read()
    except ClientError as error:
        if error.response["Error"]["Code"] in _UNSET:
            return None
        raise


def _encryption(rule: Mapping[str, Any]) -> Properties:
    return {"ServerSideEncryptionByDefault": rule["ApplyServerSideEncryptionByDefault"]}


def _rule(described: Mapping[str, Any]) -> Properties:
    """Return a lifecycle rule as the template writes one; other kinds of actions are not the template's."""
    where = described.get("Filter", {}).get("Prefix", described.get("Prefix"))
    rule: Properties = {"Id": described.get("ID"), "Status": described["Status"], "Prefix": where or None}
    if "Days" in described.get("Expiration", {}):
        rule["ExpirationInDays"] = described["Expiration"]["Days"]
    if "AbortIncompleteMultipartUpload" in described:
        rule["AbortIncompleteMultipartUpload"] = described["AbortIncompleteMultipartUpload"]
    return {name: value for name, value in rule.items() if value is not None}

"""The bucket's lifecycle rules on the embedded stack: objects past their days are deleted when a session starts.

AWS does it about once a day. As there, a rule counts from when an object was written.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-expire-general-considerations.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from weir.infra.template import Resource

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_KEYS_IN_A_CALL = 1000


def expire(s3: S3Client, bucket: Resource, now: datetime) -> int:
    """Give the bucket the template's rules, and delete what is past its days; return how many objects went."""
    rules = [rule for rule in bucket.properties["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in rule]
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket.name, LifecycleConfiguration={"Rules": [_as_the_api_has_it(rule) for rule in rules]}
    )
    count = 0
    for rule in rules:
        keys = list(_older(s3, bucket.name, rule["Prefix"], now - timedelta(days=int(rule["ExpirationInDays"]))))
        for start in range(0, len(keys), _KEYS_IN_A_CALL):
            chunk = [{"Key": key} for key in keys[start : start + _KEYS_IN_A_CALL]]
            s3.delete_objects(Bucket=bucket.name, Delete={"Objects": chunk})  # type: ignore[typeddict-item]
        count += len(keys)
    return count


def _as_the_api_has_it(rule: Mapping[str, Any]) -> Any:
    expiration = {"Days": int(rule["ExpirationInDays"])}
    return {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule["Prefix"]}, "Expiration": expiration}


def _older(s3: S3Client, bucket: str, prefix: str, border: datetime) -> Iterator[str]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (found["Key"] for found in page.get("Contents", ()) if found["LastModified"] < border)

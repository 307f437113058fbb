"""The bucket for what a stack is made of, and what goes into it."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from botocore.exceptions import ClientError

from weir.infra import Say
from weir.infra.place import Place
from weir.ingest.errors import StackFailed


def artifact_bucket(place: Place, account: str) -> str:
    name = f"weir-artifacts-{account}-{place.region}"
    s3 = place.client("s3")
    try:
        # The name can be guessed: code must not come from a bucket that somebody else made under it.
        s3.head_bucket(Bucket=name, ExpectedBucketOwner=account)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "403":
            raise StackFailed(
                f"The bucket {name} belongs to another account, or your credentials may not use it."
            ) from error
        if code not in {"404", "NoSuchBucket"}:
            raise
        where: Any = {"LocationConstraint": place.region}  # its types list the Regions that they know
        if place.region == "us-east-1":
            s3.create_bucket(Bucket=name)
        else:
            s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
        s3.put_public_access_block(
            Bucket=name,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
    _demand_tls(place, name)
    return name


def _demand_tls(place: Place, bucket: str) -> None:
    """Let the bucket refuse what does not come over TLS; a policy that it has already is left alone."""
    s3 = place.client("s3")
    try:
        s3.get_bucket_policy(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
            raise
        arn = f"arn:{place.partition}:s3:::{bucket}"
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(tls_only(arn)))


def tls_only(bucket_arn: str) -> dict[str, Any]:
    """Return the policy of a bucket that refuses what does not come over TLS."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def upload(place: Place, bucket: str, key: str, content: bytes, say: Say) -> None:
    s3 = place.client("s3")
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
            raise
        s3.put_object(Bucket=bucket, Key=key, Body=content)
        say(f"  uploaded s3://{bucket}/{key}")


def publish(place: Place, bucket: str, say: Say, template: bytes) -> str:
    """Upload a template under a name that follows its content; return its URL."""
    key = f"templates/{sha256(template).hexdigest()[:32]}.json"
    upload(place, bucket, key, template, say)
    return template_url(place, bucket, key)


def template_url(place: Place, bucket: str, key: str) -> str:
    if place.emulated:
        return f"{place.endpoint}/{bucket}/{key}"
    suffix = "amazonaws.com.cn" if place.partition == "aws-cn" else "amazonaws.com"
    return f"https://{bucket}.s3.{place.region}.{suffix}/{key}"

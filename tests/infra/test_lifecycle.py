"""The bucket's lifecycle rules on the embedded stack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.infra.test_template import evaluated
from tests.support import aws
from weir.infra.local import lifecycle
from weir.infra.local.engine.engine import Engine
from weir.infra.template import Resource
from weir.operate.lookup.kept import lifecycle_days

pytestmark = pytest.mark.engine


def test_objects_past_their_days_are_deleted(engine: Engine) -> None:
    """Each prefix has its own time: unproven bodies go after theirs, proven ones stay, and the rules can be read."""
    given = evaluated(UnprovenDays="3", FailureDays="5")["Bucket"]
    s3, bucket = aws.client("s3", engine.endpoint), f"lifecycle-{uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    keys = {"unproven/1", "aws/lambda/1", "payloads/2026/01/01/1"}
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    resource = Resource("Bucket", given.type, bucket, given.properties)

    def left(days: float) -> set[str]:
        lifecycle.expire(s3, resource, datetime.now(UTC) + timedelta(days=days))
        return {found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}

    assert left(2.9) == keys
    assert left(3.1) == keys - {"unproven/1"}
    assert left(5.1) == {"payloads/2026/01/01/1"}
    assert lifecycle_days(s3, bucket, "unproven/") == 3
    assert lifecycle_days(s3, bucket, "payloads/") is None

"""Taking a stack down on LocalStack keeps what it stores, as on AWS."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from weir.infra import deploy, destroy, place
from weir.infra.business import Business
from weir.ingest.sources import sources_file

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]


def test_what_is_stored_outlives_the_stack(tmp_path: Path) -> None:
    """Stream, tables and bucket are named as kept and are still there; everything else is gone."""
    file = tmp_path / "sources.yaml"
    file.write_text("github: {preset: github, silent_after_hours: 6}\n")
    where = place.at_endpoint(str(ENDPOINT), f"d{uuid.uuid4().hex[:8]}")
    given = {"DeletionProtection": "false", "ArchiveMode": "none", "StreamMode": "PROVISIONED", "ShardCount": "1"}
    outputs = deploy.deploy(
        where, sources_file.load(file), Business(), deploy.Wanted(given), cache=ROOT / "build", say=lambda _: None
    )
    dynamodb, kinesis, s3 = where.client("dynamodb"), where.client("kinesis"), where.client("s3")
    s3.put_object(Bucket=outputs.bucket, Key="payloads/one", Body=b"stored")
    kept = destroy.destroy(where, delete_data=False, say=lambda _: None)
    try:
        tables = {name for page in dynamodb.get_paginator("list_tables").paginate() for name in page["TableNames"]}
        assert outputs.events_table in tables
        assert kinesis.describe_stream_summary(StreamName=outputs.stream_name)
        assert s3.get_object(Bucket=outputs.bucket, Key="payloads/one")["Body"].read() == b"stored"
        for name in (outputs.events_table, outputs.stream_name, outputs.bucket):
            assert any(line.endswith(f" {name}") for line in kept), kept
    finally:
        for stored in s3.list_objects_v2(Bucket=outputs.bucket).get("Contents", []):
            s3.delete_object(Bucket=outputs.bucket, Key=stored["Key"])
        for line in kept:
            kind, name = line.split()
            if kind == "AWS::DynamoDB::Table":
                dynamodb.delete_table(TableName=name)
            elif kind == "AWS::Kinesis::Stream":
                kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
            else:
                s3.delete_bucket(Bucket=name)

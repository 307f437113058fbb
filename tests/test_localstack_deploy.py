"""Deployed twice and taken down on LocalStack, by the command line: settings stay, and data goes only when asked."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from weir.infra import change_sets, place

ROOT = Path(__file__).parents[1]
WEIR = Path(sys.executable).with_name("weir")
ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
pytestmark = [
    pytest.mark.localstack,
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]


def weir(*arguments: str, at: str, code: int = 0, text: str = "") -> str:
    """Run a command on the stack ``at``; return what it prints to both outputs."""
    done = subprocess.run(
        [WEIR, *arguments, "--at", "localstack", "--endpoint", str(ENDPOINT), "--stack", at],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


def test_a_stack_keeps_its_settings_and_its_data_until_that_is_asked_for() -> None:
    """Deployed with settings, again without, taken down, and its data deleted when the stack is gone already."""
    stack = f"t{uuid.uuid4().hex[:8]}"
    settings = ("StreamMode=PROVISIONED", "ShardCount=1", "RetentionHours=720", f"SecretsPrefix=/acme/{stack}")
    weir("deploy", *(word for one in settings for word in ("--set", one)), at=stack)
    said = weir("deploy", "--set", "BatchSize=50", at=stack)
    assert "BatchSize: 500 -> 50" in said
    for setting in (*settings, "ArchiveMode=none", "DeletionProtection=false"):
        assert setting in said.split("as it was:")[1]
    where = place.at_endpoint(str(ENDPOINT), stack)
    have = change_sets.parameters_of(where)
    assert {**have, **dict(one.split("=") for one in settings)} == have
    refused = weir("deploy", "--set", "MaxRecordKiB=1000", at=stack, code=2)
    assert "MaxRecordKiB=1000: must match" in refused

    where.client("s3").put_object(Bucket=where.outputs().bucket, Key="payloads/one", Body=b"stored")
    kept = weir("destroy", "--yes", at=stack)
    names = [line.split()[-1] for line in kept.splitlines() if line.startswith("kept ")]
    assert len(names) >= 3
    absent = weir("destroy", "--yes", at=stack, code=2)
    assert all(name in absent for name in names)
    gone = weir("destroy", "--delete-data", "--yes", at=stack)
    assert all(
        f"deleting {kind}" in gone for kind in ("AWS::Kinesis::Stream", "AWS::DynamoDB::Table", "AWS::S3::Bucket")
    )
    assert "--delete-data" not in weir("destroy", "--delete-data", "--yes", at=stack, code=2)


def test_urls_of_a_domain_outlive_the_stack() -> None:
    """The domain, its certificate and a base path are deployed, changed and taken down with the stack."""
    stack, domain = f"u{uuid.uuid4().hex[:8]}", f"{uuid.uuid4().hex[:8]}.example.com"
    certificate = "arn:aws:acm:us-east-1:000000000000:certificate/11111111-2222-3333-4444-555555555555"
    settings = (
        f"DomainName={domain}",
        f"CertificateArn={certificate}",
        "BasePath=shop",
        f"SecretsPrefix=/acme/{stack}",
    )
    shape = ("StreamMode=PROVISIONED", "ShardCount=1")
    refused = weir("deploy", "--set", f"CertificateArn={certificate}", at=stack, code=2)
    assert "CertificateArn means nothing without DomainName" in refused
    weir("deploy", *(word for one in (*settings, *shape) for word in ("--set", one)), at=stack)
    where = place.at_endpoint(str(ENDPOINT), stack)
    gateway = where.client("apigateway")
    try:
        assert gateway.get_domain_name(domainName=domain)["regionalCertificateArn"] == certificate
        (mapping,) = gateway.get_base_path_mappings(domainName=domain)["items"]
        assert (mapping["basePath"], mapping["restApiId"], mapping["stage"]) == ("shop", where.outputs().api_id, "live")
        stacks = where.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in stacks["Outputs"]}
        assert outputs["Endpoint"] == f"https://{domain}/shop/v1"
        assert outputs["DomainTarget"]
        said = weir("deploy", "--set", "BatchSize=50", at=stack)
        assert f"DomainName={domain}" in said.split("as it was:")[1]
    finally:
        weir("destroy", "--delete-data", "--yes", at=stack)

"""Every command under the rights of its role: none calls what its policies refuse, and nothing is granted for nothing.

The policies are those that `weir policies` prints. The calls are those that the real commands make to LocalStack, which
checks no rights: tests/support/rights.py refuses on this side what IAM would.
"""

from __future__ import annotations

import ast
import gzip
import json
import os
import random
import shutil
import signal
import threading
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore import xform_name
from click.testing import CliRunner

from tests.support.commands import commands
from tests.support.ledger import FOLDER
from tests.support.rights import Need, Rights, acting_with
from weir.cli.main import main
from weir.infra.policies import grants
from weir.ingest.envelope import decode, encode
from weir.ingest.ids import RequestId

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
ACCOUNT = "000000000000"
ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]

# What a role is not given although its commands ask: they go on without it, and say so.
REFUSED = {
    ("reader", "ssm:GetParameter"): "who looks must not have what deliveries are signed with: it is said to be unknown",
    ("reader", "secretsmanager:GetSecretValue"): "as for parameters",
    ("deployer", "ssm:GetParameter"): "who deploys need not know the secrets: doctor says that it is unknown",
    ("deployer", "secretsmanager:GetSecretValue"): "as for parameters",
}
# What a role is given although no command called it here, and why.
_ADOPTION = "weir deploy --adopt, which LocalStack cannot do: infra/adopt.py and infra/shapes.py call it"
UNCALLED = {
    ("operator", "dynamodb:ConditionCheckItem"): "business code may return a Check; the example's does not",
    ("deployer", "dynamodb:UpdateTable"): "takes off a table's protection, of which LocalStack's tables know nothing",
    ("deployer", "cloudformation:UntagResource"): "CloudFormation takes it when a tag is left out the next time",
    ("deployer", "cloudformation:DescribeStackResources"): _ADOPTION,
    ("deployer", "dynamodb:DescribeContinuousBackups"): _ADOPTION,
    ("deployer", "dynamodb:DescribeContributorInsights"): _ADOPTION,
    ("deployer", "dynamodb:DescribeTimeToLive"): _ADOPTION,
    ("deployer", "dynamodb:Scan"): _ADOPTION,
    ("deployer", "s3:GetBucketOwnershipControls"): _ADOPTION,
    ("deployer", "s3:GetBucketPublicAccessBlock"): _ADOPTION,
    ("deployer", "s3:GetEncryptionConfiguration"): _ADOPTION,
    ("deployer", "s3:GetLifecycleConfiguration"): _ADOPTION,
}
# Nothing here has a key of its own; that these are right, no call on this side shows.
KEYS = {
    *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GetKeyPolicy"),
    *("kms:ReEncryptFrom", "kms:ReEncryptTo"),
}
# What the code calls and no role's command does.
CALLED_OTHERWISE = {
    ("apigateway", "CreateDeployment"): "infra/deploy.py puts LocalStack's gateway right",
    ("apigateway", "GetStage"): "infra/deploy.py puts LocalStack's gateway right",
    ("apigateway", "PutGatewayResponse"): "infra/deploy.py puts LocalStack's gateway right",
    ("dynamodb", "UpdateTable"): "takes off a table's protection, of which LocalStack's tables know nothing",
    ("cloudformation", "DescribeStackResources"): _ADOPTION,
    ("dynamodb", "DescribeContinuousBackups"): _ADOPTION,
    ("dynamodb", "DescribeContributorInsights"): _ADOPTION,
    ("dynamodb", "DescribeTimeToLive"): _ADOPTION,
    ("kinesis", "CreateStream"): "weir bench republish",
    ("kinesis", "PutRecord"): "the handshake function",
    ("kms", "DescribeKey"): "a key of one's own, DataKmsKey, before it is deployed",
    ("kms", "GetKeyPolicy"): "as DescribeKey",
    ("s3", "GetBucketEncryption"): _ADOPTION,
    ("s3", "GetBucketOwnershipControls"): _ADOPTION,
    ("s3", "GetPublicAccessBlock"): _ADOPTION,
    ("sns", "Publish"): "the alarm relay's function",
}


@dataclass
class Team:
    """People who run commands, each with the rights of a role for one stack; what they used is kept by role."""

    folder: Path
    home: Path
    used: dict[str, set[Need]] = field(default_factory=dict)
    refused: dict[str, set[Need]] = field(default_factory=dict)
    operations: set[tuple[str, str]] = field(default_factory=set)
    ran: dict[str, set[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    printed: dict[tuple[str, ...], list[Mapping[str, Any]]] = field(default_factory=dict)

    def environment(self, region: str) -> dict[str, str | None]:
        gone: dict[str, str | None] = {name: None for name in os.environ if name.startswith(("AWS_", "WEIR_"))}
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": region}
        return {**gone, **keys, "WEIR_HOME": str(self.home), "WEIR_PROJECT": str(self.folder)}

    def policies(self, role: str, stack: str, region: str, options: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return what `weir policies` prints."""
        given = ("policies", role, "--json", "--stack", stack, "--region", region, "--account", ACCOUNT, *options)
        if given not in self.printed:
            done = CliRunner().invoke(main, given, env=self.environment(region))
            assert done.exit_code == 0, done.output
            self.printed[given] = [json.loads(line)["policy"] for line in done.stdout.splitlines()]
        return self.printed[given]


@dataclass
class Desk:
    """One stack, at which people of a team run commands."""

    team: Team
    stack: str
    region: str
    options: Sequence[str] = ()  # of `weir policies`

    def run(self, role: str, *words: str, at: str = "localstack", text: str = "", code: int | None = 0) -> str:
        """Run a command with the rights of a role; note what it needed, and what went wrong."""
        policies = self.team.policies(role, self.stack, self.region, self.options)
        rights = Rights(policies, self.named)
        given = [*words, "--at", at, "--endpoint", str(ENDPOINT), "--stack", self.stack]
        with acting_with(rights, ACCOUNT):
            done = CliRunner().invoke(main, given, input=text, env=self.team.environment(self.region))
        name = next(name for count in (2, 1) if (name := " ".join(words[:count])) in NAMES)
        self.team.ran.setdefault(role, set()).add(name)
        self.team.used.setdefault(role, set()).update(rights.used)
        self.team.refused.setdefault(role, set()).update(rights.refused)
        self.team.operations |= rights.operations
        denied = [one for one in rights.refused if (role, one.action) not in REFUSED]
        fell = done.exception is not None and not isinstance(done.exception, SystemExit)
        if denied or fell or (code is not None and done.exit_code != code):
            told = (
                f"{role}: weir {' '.join(given)}: {done.exit_code} {denied} {done.exception!r}\n{done.output[-1500:]}"
            )
            self.team.faults.append(told)
        return done.stdout

    def tries(self, role: str, *words: str, missing: str, text: str = "") -> None:
        """Run a command that another role is for; note it as wrong if it is not refused for want of a right."""
        rights = Rights(self.team.policies(role, self.stack, self.region, self.options), self.named)
        given = [*words, "--at", "localstack", "--endpoint", str(ENDPOINT), "--stack", self.stack]
        with acting_with(rights, ACCOUNT):
            done = CliRunner().invoke(main, given, input=text, env=self.team.environment(self.region))
        refused = [one.action for one in rights.refused if one.action.startswith(missing)]
        if done.exit_code != 2 or not refused or "not authorized" not in done.stderr:
            self.team.faults.append(f"{role}: weir {' '.join(given)}: {done.exit_code} {rights.refused}\n{done.output}")

    def named(self, arn: str) -> str:
        """Return an ARN as AWS would have it: LocalStack names a topic without its stack."""
        return arn.replace(":topic-", f":{self.stack}-AlarmTopic-") if ":sns:" in arn else arn

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        make: Any = boto3.client
        return make(service, endpoint_url=ENDPOINT, region_name=self.region, **keys)

    def outputs(self) -> dict[str, str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}


NAMES = {" ".join(words) for words in commands()} | {"failures", "quarantine"}
SOURCES = """\
payments: {preset: standard-webhooks}
vault: {preset: hmac, secret: "secretsmanager:%s/vault"}
slack: {preset: slack, handshake_function: true}
topic: {preset: aws-sns}
"""
SECRET = "whsec_" + "QUJD" * 8
EMPTY = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Resources": {"Nothing": {"Type": "AWS::CloudFormation::WaitConditionHandle"}},
}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    """Have everything done that a stack's people do, on stacks of their own."""
    folder, home = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("home")
    stack = f"p{uuid.uuid4().hex[:8]}"
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("tests"))
    (folder / "sources.yaml").write_text(SOURCES % stack)
    team = Team(folder, home)
    other = Desk(team, f"{stack}o", "eu-west-1", ("--role-arn", f"arn:aws:iam::{ACCOUNT}:role/cfn"))
    deployed_by_a_service_role(other)
    desk = Desk(team, stack, "us-east-1", ("--set", f"SecretsPrefix=/weir/{stack}"))
    settings = (f"SecretsPrefix=/weir/{stack}", "StreamMode=PROVISIONED", "ShardCount=1", "DeletionProtection=true")
    desk.run("deployer", "deploy", *(word for one in settings for word in ("--set", one)))
    try:
        looked_at(desk, *kept_going(desk))
    except Exception as error:
        raise AssertionError("\n\n".join(team.faults)) from error
    finally:
        desk.run("deployer", "destroy", "--yes")
        desk.run("deployer", "destroy", "--delete-data", "--yes")
    return team


def deployed_by_a_service_role(desk: Desk) -> None:
    """Deploy on AWS's way, with CloudFormation acting by itself: planned, refused, made, again, taken down."""
    settings = ("ArchiveMode=none", "StreamMode=PROVISIONED", "ShardCount=1", "DeletionProtection=false")
    given = [word for one in (*settings, f"SecretsPrefix=/weir/{desk.stack}") for word in ("--set", one)]
    deploy = ["deploy", "--role-arn", desk.options[1], "--tag", "team=hooks", "--plan", *given]
    desk.run("deployer", "doctor", "--before", at="aws", code=None)
    desk.run("deployer", *deploy, at="aws", text="n\n", code=2)
    desk.run("deployer", *deploy, at="aws", text="y\n")
    desk.run("deployer", *deploy, at="aws", text="y\n")
    desk.run("deployer", "doctor", "--before", "--set", "ShardCount=2", at="aws", code=None)
    desk.run("deployer", "record", at="aws")
    desk.run("deployer", "destroy", "--yes", at="aws")
    s3, bucket = desk.client("s3"), f"weir-artifacts-{ACCOUNT}-{desk.region}"
    for one in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=one["Key"])
    s3.delete_bucket(Bucket=bucket)  # it is made again by the next run


def kept_going(desk: Desk) -> list[str]:
    """Do what an operator does; return the ids of two large deliveries, one applied and one forged."""
    body = desk.team.home / "large.json"
    filler = b64encode(random.Random(1).randbytes(300_000)).decode()
    body.write_text(json.dumps({"type": "payment.succeeded", "data": {"account": "a"}, "filler": filler}))
    for source in ("payments", "vault"):
        secret = SECRET if source == "payments" else "a secret of the vault"
        desk.run("operator", "secrets", "set", source, text=secret)
        desk.run("operator", "secrets", "rotate", source, text=secret + "QUJD")
    desk.run("operator", "secrets", "generate", "slack")
    desk.run("operator", "secrets", "list")
    for words in (("payments",), ("vault",), ("payments", "--tamper")):
        desk.run("operator", "send", *words, "--wait", "60")
    large = [
        json.loads(desk.run("operator", "send", "payments", str(body), *words, "--wait", "60", "--json"))["id"]
        for words in ((), ("--tamper",))
    ]
    desk.run("operator", "doctor", "--send", "--alarm", "--wait", "5", code=None)
    desk.run("operator", "sources", "confirm", "topic")
    give_up(desk, "one")
    archive(desk)
    desk.run("operator", "pause")
    desk.run("operator", "resume")
    desk.run("operator", "items", "balances")
    desk.run("operator", "items")
    given_up = next(one for one in groups(desk) if one["kind"] == "given up")
    desk.run("operator", "failures", "retry", given_up["group"], "--dry-run", code=None)
    desk.run("operator", "failures", "retry", given_up["group"], code=None)
    for origin in ("stream", "quarantine", "ignored", "events", "failures", "archive"):
        desk.run("operator", "replay", "--from", origin, "--dry-run", "--diff", code=None)
        desk.run("operator", "replay", "--from", origin, "--to", "consumer", code=None)
    desk.run("operator", "replay", "--from", "events", "--to", "stream", code=None)
    listen(desk)
    desk.run("operator", "quarantine", "verify", code=None)
    identifier = json.loads(desk.run("operator", "quarantine", "list", "--json").splitlines()[0])["request_id"]
    desk.run("operator", "quarantine", "discard", identifier, "--reason", "a test")
    table = json.loads(desk.outputs()["Tables"])["balances"]
    dynamodb = desk.client("dynamodb")  # an item that no event explains, and one that is gone
    for item in dynamodb.scan(TableName=table)["Items"]:
        dynamodb.delete_item(TableName=table, Key={"account": item["account"]})
    dynamodb.put_item(TableName=table, Item={"account": {"S": "of no event"}, "EUR": {"N": "1"}})
    desk.run("operator", "rebuild", "--pause", code=None)
    desk.run("operator", "rebuild", "--swap", "--delete", "--partial", code=None)
    desk.run("operator", "rebuild", "--clean", code=None)
    desk.run("operator", "secrets", "remove", "slack", "0", "--yes")
    return large


def listen(desk: Desk) -> None:
    """Listen for a moment, until Ctrl-C."""
    stop = threading.Timer(5, os.kill, (os.getpid(), signal.SIGINT))
    stop.start()
    try:
        desk.run("operator", "listen", "--to", "http://127.0.0.1:9/", code=None)
    finally:
        stop.cancel()


def looked_at(desk: Desk, large: str, forged: str) -> None:
    """Do what a reader does, on LocalStack's way and on AWS's, where logs and metrics are asked, too."""
    give_up(desk, "two")
    desk.run("reader", "events", "--json")
    desk.run("reader", "quarantine", "list", "--json")
    for at in ("localstack", "aws"):
        desk.run("reader", "account", "--grace", "0s", at=at, code=None)
        desk.run("reader", "lag", "--over", "0", at=at)
        desk.run("reader", "doctor", "--no-send", "--wait", "0", at=at, code=None)
    for words in (
        ("events",),
        ("events", "--source", "payments", "--since", "1h"),
        ("events", large, "--body"),
        ("events", large),
        ("events", "no-such-id"),
        ("failures", "list"),
        ("quarantine", "groups"),
        ("quarantine", "list", "--source", "payments", "--limit", "1"),
        ("quarantine", "show", forged),
        ("sources", "check"),
    ):
        desk.run("reader", *words, code=None)
    told = desk.run("reader", "sources", "check")
    assert "secrets not looked up: these credentials may not read them" in told
    with_archive(desk)
    desk.tries("reader", "pause", missing="events:DisableRule")
    desk.tries("reader", "secrets", "set", "payments", text=SECRET, missing="ssm:GetParameter")
    desk.tries("reader", "quarantine", "discard", forged, "--reason", "a test", missing="dynamodb:UpdateItem")
    desk.tries("reader", "destroy", "--yes", missing="cloudformation:ListStackResources")
    desk.tries("operator", "destroy", "--yes", missing="cloudformation:DeleteStack")
    desk.tries("operator", "deploy", missing="s3:ListBucket")


def with_archive(desk: Desk) -> None:
    """Look at the archive where LocalStack makes none: a stack of the same outputs and one more, and its stream."""
    name = f"{desk.stack}-archive"
    desk.client("firehose").create_delivery_stream(
        DeliveryStreamName=name,
        S3DestinationConfiguration={
            "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/x",
            "BucketARN": f"arn:aws:s3:::{desk.outputs()['Bucket']}",
        },
    )
    outputs = {key: {"Value": value} for key, value in {**desk.outputs(), "ArchiveName": name}.items()}
    body = json.dumps({**EMPTY, "Description": "Weir: of a test", "Outputs": outputs})
    told = Telling(desk, f"{desk.stack}t")
    desk.client("cloudformation").create_stack(StackName=told.stack, TemplateBody=body)
    desk.client("cloudformation").get_waiter("stack_create_complete").wait(
        StackName=told.stack, WaiterConfig={"Delay": 1}
    )
    try:
        told.run("reader", "doctor", "--no-send", "--wait", "0", at="aws", code=None)
        told.run("reader", "account", "--grace", "0s", "--since", "3d", at="aws", code=None)
    finally:
        desk.client("cloudformation").delete_stack(StackName=told.stack)
        desk.client("firehose").delete_delivery_stream(DeliveryStreamName=name)


class Telling(Desk):
    """A stack that tells of the resources of another one: its own ARN is as that one's."""

    def __init__(self, desk: Desk, stack: str) -> None:
        super().__init__(desk.team, stack, desk.region, ("--stack", desk.stack))
        self._of = desk.stack

    def named(self, arn: str) -> str:
        return super().named(arn.replace(f"stack/{self.stack}/", f"stack/{self._of}/"))


def give_up(desk: Desk, name: str) -> None:
    """Write what the event source mapping writes when it gives up on a record, which no table knows."""
    seen = next(one for one in map(decode, records(desk)) if one.source == "payments")
    headers = [
        (header, f"unseen-{name}" if header.lower() == "webhook-id" else value) for header, value in seen.headers
    ]
    unseen = replace(seen, request_id=RequestId(f"unseen-{name}-req="), headers=tuple(headers))
    record = {
        "eventID": "shardId-000000000000:100",
        "kinesis": {
            "sequenceNumber": "100",
            "partitionKey": "k",
            "data": b64encode(encode(unseen)).decode(),
            "approximateArrivalTimestamp": time.time(),
        },
    }
    document = {
        "requestContext": {"requestId": "r-1", "condition": "RetryAttemptsExhausted"},
        "responseContext": {"functionError": "Unhandled"},
        "timestamp": "2026-11-23T10:00:00.000Z",
        "payload": json.dumps({"Records": [record]}),
    }
    key = f"aws/lambda/uuid/shardId-000000000000/2026/11/23/{name}"
    desk.client("s3").put_object(Bucket=desk.outputs()["Bucket"], Key=key, Body=json.dumps(document).encode())


def archive(desk: Desk) -> None:
    """Write what Firehose writes."""
    hour, name = time.strftime("%Y/%m/%d/%H", time.gmtime()), time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime())
    key = f"archive/{hour}/{desk.stack}-1-{name}-x.gz"
    body = gzip.compress(b"".join(one + b"\n" for one in records(desk)))
    desk.client("s3").put_object(Bucket=desk.outputs()["Bucket"], Key=key, Body=body)


def records(desk: Desk) -> list[bytes]:
    """Return what the stream holds."""
    kinesis, stream = desk.client("kinesis"), desk.outputs()["StreamName"]
    (shard,) = kinesis.list_shards(StreamName=stream)["Shards"]
    start = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    return [one["Data"] for one in kinesis.get_records(ShardIterator=start["ShardIterator"])["Records"]]


def groups(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in desk.run("operator", "failures", "list", "--json").splitlines()]


def test_no_command_is_refused(team: Team) -> None:
    """Under the policies of its role every command does its work; what is refused has a reason, or is another's."""
    assert not team.faults, "\n\n".join(team.faults)
    told = {(role, need.action) for role, found in team.refused.items() for need in found}
    assert told == set(REFUSED)


def test_nothing_is_granted_that_no_command_calls(team: Team) -> None:
    """Each action that a role has for its own commands was called by one of them, or has a reason."""
    wrong = {}
    for name, role in grants.roles().items():
        own = {action for actions in role.grants.values() for action in actions} - KEYS
        uncalled = own - {need.action for need in team.used.get(name, ())}
        wrong[name] = sorted(uncalled ^ {action for of, action in UNCALLED if of == name})
    assert not any(wrong.values()), wrong


def test_every_command_was_run_by_its_role(team: Team) -> None:
    """Each command that a role is for was run under its rights."""
    for name, role in grants.roles().items():
        assert {one.partition(" --")[0] for one in role.commands} <= team.ran.get(name, set()), name


def test_each_call_in_the_code_was_made(team: Team) -> None:
    """Each operation of AWS that the code names was made by a role's command, or by none, with the reason."""
    named = operations_named()
    assert len(named) > 60
    made = team.operations | set(CALLED_OTHERWISE)
    assert not {one: at for one, at in named.items() if not any((service, one[1]) in made for service in one[0])}


def operations_named() -> dict[tuple[tuple[str, ...], str], str]:
    """Return the operations that the code's calls may be, by the services that have one of that name; where, too."""
    session = botocore.session.get_session()
    known: dict[str, tuple[str, set[str]]] = {}
    for service in SERVICES:
        for operation in session.get_service_model(service).operation_names:
            known.setdefault(xform_name(operation), (operation, set()))[1].add(service)
    found: dict[tuple[tuple[str, ...], str], str] = {}
    for path in PRODUCT:
        for word, line in called(path):
            if word in known and word not in NO_WORDS and (word, path.name) not in NO_CALLS:
                operation, services = known[word]
                found[tuple(sorted(services)), operation] = f"{path.relative_to(ROOT)}:{line}"
    return found


SERVICES = (
    *("apigateway", "cloudformation", "cloudwatch", "dynamodb", "events", "firehose", "kinesis", "kms", "lambda"),
    *("logs", "s3", "secretsmanager", "sns", "sqs", "ssm", "sts"),
)
PRODUCT = [
    path
    for room in ("cli", "infra", "operate", "consumers", "ingest")
    for path in sorted((ROOT / room).rglob("*.py"))
    if "infra/local" not in path.as_posix()
]
# Of another library, where the names are the same.
NO_WORDS = {"sign", "verify"}
NO_CALLS = {("create_connection", "doctor.py"), ("invoke", "framework.py")}


def called(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get_paginator":
            yield ast.literal_eval(node.args[0]), node.lineno

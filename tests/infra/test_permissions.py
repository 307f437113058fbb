"""Every call that the functions make is allowed by their roles: neither emulator checks rights, AWS refuses.

The calls are those that the real code makes to the real engine, noted on their way out.
"""

from __future__ import annotations

import base64
import io
import json
import random
import re
import time
from collections.abc import Iterable
from typing import Any

import pytest
from botocore.client import BaseClient

from tests.support.deliveries import source_of
from tests.support.engine_env import EngineEnv, kinesis_event
from tests.support.stack_env import StackEnv
from weir.consumers import wiring
from weir.consumers.business.changes import Change, Check, Delete, Put, Update, Wait, exists
from weir.consumers.business.effects import effect
from weir.infra import synth, template, uploads
from weir.ingest.contract import routes
from weir.ingest.handshakes import questions
from weir.ingest.sources import presets
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.events import Event
from weir.operate.audit.account import compute_account
from weir.operate.audit.sources import open_audit_sources

pytestmark = pytest.mark.engine

_GIVEN = {"ArtifactBucket": "artifacts", "ApiDefinitionKey": "api", "FunctionKey": "function"}
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
_OF_TRANSACTION = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
# Operations whose right has another name.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html
# Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_RENAMED = {("dynamodb", "BatchExecuteStatement"): "dynamodb:PartiQLInsert", ("s3", "ListObjectsV2"): "s3:ListBucket"}
# What Lambda itself needs to read the stream and to write the log.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html
_FOR_LAMBDA = {"kinesis:ListStreams", "logs:CreateLogStream", "logs:PutLogEvents"}


class Noted:
    """The rights that the calls made so far take."""

    def __init__(self) -> None:
        self.rights: set[str] = set()

    def note(self, service: str, operation: str, parameters: dict[str, Any]) -> None:
        body = json.loads(parameters.get("WeirBody", "{}"))
        if operation == "TransactWriteItems":
            self.rights |= {_OF_TRANSACTION[kind] for action in body["TransactItems"] for kind in action}
        else:
            assert all(one["Statement"].startswith("INSERT ") for one in body.get("Statements", ()))
            self.rights.add(_RENAMED.get((service, operation), f"{service}:{operation}"))


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    """Note every call of botocore's clients on its way out."""
    noted, original = Noted(), getattr(BaseClient, "_make_api_call")  # noqa: B009 - botocore's types leave it out

    def call(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        noted.note(client.meta.service_model.service_name, operation, parameters)
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    return noted


def allowed(role: str) -> set[str]:
    """Return the actions that a role allows, all optional parts of the template included."""
    given = {**_GIVEN, "HandshakeFunction": "true", "SecretsManagerArns": "arn:aws:secretsmanager:r:1:secret:s"}
    resources, _ = template.evaluate(
        template.load(), given, stack="demo", region="eu-central-1", account="123456789012"
    )
    statements = [
        statement
        for policy in resources[role].properties["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    lists = [one["Action"] if isinstance(one["Action"], list) else [one["Action"]] for one in statements]
    return {action for actions in lists for action in actions}


@effect("probe", "every-change")
def every_change(event: Event) -> Iterable[Change]:
    """Change items in every way that there is."""
    names = [f"{event.event_id}-{number}" for number in range(3)]
    return [
        Put("balances", {"account": names[0]}, {"EUR": 1}),
        Update("balances", {"account": names[1]}, add={"EUR": 1}),
        Delete("balances", {"account": names[2]}),
        Check("balances", {"account": "opened"}, exists("EUR")),
    ]


@effect("probe", "waits")
def waits(event: Event) -> Iterable[Change]:
    """Wait for an account that is never opened."""
    assert event.payload
    return [Check("balances", {"account": "closed"}, exists("EUR"), wait=Wait())]


def test_the_consumer_may_do_all_that_it_does(
    noted: Noted, tmp_path: Any, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of change, event and body is written, and the role allows each call, and nothing that is not made."""
    engine_env = EngineEnv(engine.endpoint, tmp_path)
    engine_env.dynamodb.put_item(
        TableName=engine_env.balances_table, Item={"account": {"S": "opened"}, "EUR": {"N": "1"}}
    )
    wiring._s3.cache_clear()
    wiring._ssm.cache_clear()
    for name, value in {**engine_env.environment, "PAYLOAD_BUCKET": engine_env.name}.items():
        monkeypatch.setenv(name, value)
    wiring._s3().create_bucket(Bucket=engine_env.name)
    noted.rights.clear()
    large = random.Random(1).randbytes(500_000)
    deliveries = [
        engine_env.delivery(b'{"type": "every-change"}', source="probe"),
        engine_env.delivery(b'{"type": "ignored-by-all"}', source="stored"),
        engine_env.delivery(b"{}", source="payments", secret="whsec_" + "AAAA" * 8),
        engine_env.delivery(large, source="stored"),
        *(engine_env.payment("acct", 1, message_id=f"m{number}") for number in range(40)),
    ]
    consumer = wiring.consumer(io.StringIO())
    for _ in range(3):  # the second time all are duplicates, the third time their marks are read ahead
        response = consumer.consume(kinesis_event(*deliveries), invocation="i", left_s=lambda: 60)
        assert response == {"batchItemFailures": []}
    waiting = json.dumps({"type": "waits", "filler": base64.b64encode(large).decode()}).encode()
    consumer.consume(kinesis_event(engine_env.delivery(waiting, source="probe")), invocation="i", left_s=lambda: 60)
    monkeypatch.setattr("weir.consumers.waiting.retry._now_ms", lambda: round(time.time() * 1000) + 31_000)
    assert wiring.waiting_run(io.StringIO()).run(invocation="i", left_s=lambda: 60) == {"waiting": 1}
    role = allowed("ConsumerRole")
    assert noted.rights <= role
    assert {
        "dynamodb:PartiQLInsert",
        "dynamodb:ConditionCheckItem",
        "s3:PutObject",
        "ssm:GetParameters",
    } <= noted.rights
    unused = {right for right in role if not right.startswith(("kinesis:", "secretsmanager:"))} - noted.rights
    assert unused <= {*_FOR_LAMBDA, "s3:ListBucket"}  # S3 as a failure destination asks for it


def test_the_account_check_may_do_all_that_it_does(noted: Noted, stack_env: StackEnv) -> None:
    """Records in the stream, the archive, the failures and the table are read within the rights of the role."""
    stack_env.put(stack_env.payment("acct", 1), stack_env.payment("acct", 2))
    stack_env.consume()
    stack_env.put(stack_env.payment("acct", 3))
    stack_env.log_access([stack_env.payment("acct", 4)])
    noted.rights.clear()
    now_ms = round(time.time() * 1000)
    sources = open_audit_sources(stack_env.stack(), 0, now_ms + 60_000, now_ms, grace_ms=0)
    assert compute_account(sources, 0, now_ms + 60_000).missing
    role = allowed("AccountCheckRole")
    assert noted.rights <= role
    assert {"dynamodb:Scan", "dynamodb:BatchGetItem", "kinesis:GetRecords"} <= noted.rights
    # The access log and the consumer's age come from services that this engine does not run.
    assert role - noted.rights <= {
        *_FOR_LAMBDA,
        "logs:FilterLogEvents",
        "cloudwatch:GetMetricStatistics",
        "s3:GetObject",
    }


ROLES = tuple(name for name, resource in template.load()["Resources"].items() if resource["Type"] == "AWS::IAM::Role")
# Actions for which AWS knows no resource.
# Source: https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
_WITHOUT_RESOURCE = {"kinesis:ListStreams", "cloudwatch:GetMetricStatistics", "secretsmanager:BatchGetSecretValue"}
_HANDSHAKING = [name for name in presets.names() if any(one.needs_code for one in presets.preset(name).handshakes)]


def whole(*names: str, **given: str) -> dict[str, template.Resource]:
    """Return the resources of a stack with these sources, as it is deployed, all optional parts included."""
    asked = {name: {"handshake_function": name in _HANDSHAKING} for name in names}
    catalogue = Catalogue({name: source_of(name).model_copy(update=asked[name]) for name in names})
    filled = dict.fromkeys(("partition", "region", "credentials", "handshake_function"), "x")
    definition = routes.render(routes.api_definition(catalogue, filled))
    ready = template.prepare(template.load(), definition, {}, synth.readers(catalogue))
    needed = synth.sources_parameters(catalogue, partition="aws", region="r", account="123456789012")
    key = "arn:aws:kms:r:123456789012:key/k"
    values = _GIVEN | needed | {"StreamKmsKey": key, "SecretsKmsKeyArn": key, "AlarmChat": "slack"} | given
    return template.evaluate(ready, values, stack="demo", region="r", account="123456789012")[0]


def statements(resource: template.Resource) -> list[dict[str, Any]]:
    return [one for policy in resource.properties.get("Policies", ()) for one in policy["PolicyDocument"]["Statement"]]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("role", ROLES)
def test_no_role_allows_more_than_it_names(role: str) -> None:
    """No role has a wildcard in an action or, where AWS knows resources, rights to others than this stack's own."""
    for statement in statements(whole("slack", "github", HandshakeSecretsManagerArns="arn:aws:s:s")[role]):
        actions = listed(statement["Action"])
        assert all(re.fullmatch(r"[a-z0-9]+:[A-Za-z0-9]+", action) for action in actions)
        for resource in listed(statement["Resource"]):
            if resource == "*":
                assert set(actions) <= _WITHOUT_RESOURCE
                continue
            assert "*" not in resource.removesuffix("/*").removesuffix(":*")
            own = ("demo", ":parameter/weir/", ":key/k", "arn:aws:s:s")
            assert any(part in resource for part in own), resource


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_taken_by_one_service(role: str) -> None:
    """A role trusts one service of AWS, and nothing else of anybody."""
    (statement,) = whole("github", "slack")[role].properties["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRole"
    assert re.fullmatch(r"[a-z]+\.amazonaws\.com", statement["Principal"]["Service"])


def test_what_a_service_may_do_it_may_do_for_this_account() -> None:
    """Each policy of a resource that lets a service in names the account or the very thing on whose behalf it comes."""
    seen = 0
    for resource in whole("slack").values():
        if resource.type == "AWS::Lambda::Permission":
            source = resource.properties["SourceArn"]
            assert ":123456789012:" in source or source == "demo-alarm-topic"  # a topic's Ref is its ARN
            seen += 1
        for statement in resource.properties.get("PolicyDocument", {}).get("Statement", ()):
            if statement["Effect"] == "Allow":
                assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
                seen += 1
    assert seen == 5


def test_every_bucket_is_reached_by_tls_alone() -> None:
    """Each bucket of the stack has the policy that the bucket of its artifacts gets."""
    resources = whole("github").values()
    buckets = {one.name for one in resources if one.type == "AWS::S3::Bucket"}
    policies = [one.properties for one in resources if one.type == "AWS::S3::BucketPolicy"]
    assert buckets == {policy["Bucket"] for policy in policies}
    for policy in policies:
        assert policy["PolicyDocument"] == uploads.tls_only(f"arn:aws:s3:::{policy['Bucket']}")


@pytest.mark.parametrize("name", presets.names())
def test_each_function_reads_the_secrets_that_it_needs(name: str) -> None:
    """The consumer reads its sources' parameters; the handshake function those whose questions take a secret."""
    made = whole("github", name)

    def readable(role: str) -> set[str]:
        return {
            resource.rpartition("/")[2]
            for statement in statements(made[role])
            if "ssm:GetParameters" in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }

    assert readable("ConsumerRole") == {"github", name}
    if name in _HANDSHAKING:
        asked = [one for one in presets.preset(name).handshakes if one.needs_code]
        assert readable("HandshakeRole") == ({name} if any(questions.needs_secret(one) for one in asked) else set())
    else:
        assert "HandshakeRole" not in made

"""The proxy between a real boto3 client and the engine."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
)

from tests.support import aws
from weir.infra.local.engine.engine import Engine, free_port
from weir.loadtest.faults.proxy import (
    Proxy,
    Rule,
    bad_gateway,
    conflict,
    conflict_over,
    cut,
    cut_short,
    garble,
    late,
    lose_answer,
    once,
    refuse,
    refuse_xml,
    rewrite,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def proxy(engine: Engine) -> Iterator[Proxy]:
    started = Proxy(free_port(), engine.endpoint)
    started.start()
    yield started
    started.stop()


def client(service: str, endpoint: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return aws.client(service, endpoint, config)


@pytest.fixture
def table(engine: Engine) -> str:
    name = f"proxy-{uuid.uuid4().hex[:8]}"
    keys = {
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    }
    client("dynamodb", engine.endpoint).create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **keys)
    return name


def put(dynamodb: Any, table: str, key: str = "a") -> None:
    dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": table, "Item": {"pk": {"S": key}}}}])


def keys(engine: Engine, table: str) -> set[str]:
    return {item["pk"]["S"] for item in client("dynamodb", engine.endpoint).scan(TableName=table)["Items"]}


def test_without_rules_calls_pass(proxy: Proxy, engine: Engine, table: str) -> None:
    """Small calls and large objects pass unchanged, both ways."""
    put(client("dynamodb", proxy.url), table)
    assert keys(engine, table) == {"a"}
    s3, content = client("s3", proxy.url), bytes(range(256)) * 8192
    s3.create_bucket(Bucket=table)
    s3.put_object(Bucket=table, Key="a/b c%20d", Body=content)
    assert s3.get_object(Bucket=table, Key="a/b c%20d")["Body"].read() == content


def test_a_refused_call_is_not_made(proxy: Proxy, engine: Engine, table: str) -> None:
    """A throttled, a conflicting and a cut call never reach the engine, and say what AWS says."""
    dynamodb = client("dynamodb", proxy.url)
    throttling = Rule("dynamodb", refuse("ProvisionedThroughputExceededException"))
    with proxy.rules(throttling), pytest.raises(ClientError) as throttled:
        put(dynamodb, table)
    with proxy.rules(Rule("dynamodb", conflict)), pytest.raises(ClientError) as cancelled:
        put(dynamodb, table)
    with proxy.rules(Rule("dynamodb", cut)), pytest.raises((ConnectionClosedError, EndpointConnectionError)):
        put(dynamodb, table)
    with proxy.rules(Rule("s3", refuse_xml("SlowDown", status=503))), pytest.raises(ClientError) as slow:
        client("s3", proxy.url).put_object(Bucket="b", Key="k", Body=b"x")
    assert throttled.value.response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    assert [reason["Code"] for reason in cancelled.value.response["CancellationReasons"]] == ["TransactionConflict"]
    assert slow.value.response["Error"]["Code"] == "SlowDown"
    assert keys(engine, table) == set()


def test_a_lost_answer_is_of_a_call_that_was_made(proxy: Proxy, engine: Engine, table: str) -> None:
    """The write is there although its caller got no answer; once means one call, the next passes."""
    dynamodb = client("dynamodb", proxy.url)
    with proxy.rules(Rule("dynamodb", once(lose_answer))):
        with pytest.raises(HTTPClientError):
            put(dynamodb, table, "lost")
        put(dynamodb, table, "told")
    assert keys(engine, table) == {"lost", "told"}


def test_rules_choose_service_and_action(proxy: Proxy, table: str) -> None:
    """A rule concerns its actions alone, ends with its block, and counts what it met."""
    dynamodb, before = client("dynamodb", proxy.url), proxy.hits["dynamodb"]
    with proxy.rules(Rule("dynamodb", late(0.3), frozenset({"TransactWriteItems"}))):
        dynamodb.scan(TableName=table)
        started_s = time.monotonic()
        put(dynamodb, table)
        assert time.monotonic() - started_s >= 0.3
    put(dynamodb, table, "b")
    assert proxy.hits["dynamodb"] - before == 1


def test_a_call_can_be_changed(proxy: Proxy, engine: Engine, table: str) -> None:
    """A rewritten body is what the engine gets."""
    with proxy.rules(Rule("dynamodb", rewrite(lambda body: body.replace(b'"before"', b'"after"')))):
        put(client("dynamodb", proxy.url), table, "before")
    assert keys(engine, table) == {"after"}


def test_answers_that_are_none_are_of_calls_that_were_made(proxy: Proxy, engine: Engine, table: str) -> None:
    """An answer cut in its middle, or in HTML, comes after the write; a bad gateway's comes instead of it."""
    dynamodb = client("dynamodb", proxy.url)
    for behaviour, key, error in ((cut_short, "short", HTTPClientError), (bad_gateway, "none", ClientError)):
        with proxy.rules(Rule("dynamodb", behaviour)), pytest.raises(error):
            put(dynamodb, table, key)
    with proxy.rules(Rule("dynamodb", garble)):  # which boto3 takes for an answer without any members
        said = dynamodb.put_item(TableName=table, Item={"pk": {"S": "html"}}, ReturnConsumedCapacity="TOTAL")
    assert "ConsumedCapacity" not in said
    assert keys(engine, table) == {"short", "html"}


def test_conflicts_over_one_item_concern_no_other(proxy: Proxy, engine: Engine, table: str) -> None:
    """A transaction that updates the item is cancelled, with the reason at its place; others pass."""

    def add(*names: str) -> None:
        clause = {
            "TableName": table,
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
        actions = [{"Update": {**clause, "Key": {"pk": {"S": name}}}} for name in names]
        client("dynamodb", proxy.url).transact_write_items(TransactItems=actions)

    with proxy.rules(Rule("dynamodb", conflict_over("hot"))):
        add("cool")
        with pytest.raises(ClientError) as cancelled:
            add("mild", "hot")
    assert [reason["Code"] for reason in cancelled.value.response["CancellationReasons"]] == [
        "None",
        "TransactionConflict",
    ]
    assert keys(engine, table) == {"cool"}


def test_a_rule_meets_the_first_call_whatever_its_share(proxy: Proxy, table: str) -> None:
    """Chance decides from the second call on, so that a fault of a small share is never left out."""
    rule = Rule("dynamodb", refuse("ThrottlingException"), share=1e-9)
    with proxy.rules(rule):
        with pytest.raises(ClientError):
            put(client("dynamodb", proxy.url), table)
        put(client("dynamodb", proxy.url), table)
    assert proxy.met[rule] == 1

"""What tests/support/rights.py takes a call to need, and that it refuses what a policy does not allow."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.aws import client
from tests.support.rights import Call, Need, Rights, acting_with, allows, needs

ACCOUNT = "123456789012"
HERE = f"us-east-1:{ACCOUNT}"
TABLE = f"arn:aws:dynamodb:{HERE}:table"


def policy(action: str, *resources: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": [action], "Resource": [*resources]}]}


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "needed"),
    [
        ("sts", "GetCallerIdentity", {}, []),
        ("s3", "ListObjectsV2", {"Bucket": "b"}, [("s3:ListBucket", "arn:aws:s3:::b")]),
        ("s3", "HeadObject", {"Bucket": "b", "Key": "k/1"}, [("s3:GetObject", "arn:aws:s3:::b/k/1")]),
        (
            "s3",
            "DeleteObjects",
            {"Bucket": "b", "Delete": {"Objects": [{"Key": "k", "VersionId": "1"}]}},
            [("s3:DeleteObject", "arn:aws:s3:::b/k"), ("s3:DeleteObjectVersion", "arn:aws:s3:::b/k")],
        ),
        (
            "dynamodb",
            "Query",
            {"TableName": "t", "IndexName": "i"},
            [("dynamodb:Query", f"{TABLE}/t/index/i")],
        ),
        (
            "dynamodb",
            "TransactWriteItems",
            {"WeirBody": '{"TransactItems": [{"Put": {"TableName": "t"}}, {"ConditionCheck": {"TableName": "u"}}]}'},
            [("dynamodb:PutItem", f"{TABLE}/t"), ("dynamodb:ConditionCheckItem", f"{TABLE}/u")],
        ),
        ("kinesis", "GetRecords", {"ShardIterator": "x"}, [("kinesis:GetRecords", "")]),
        ("lambda", "GetAccountSettings", {}, [("lambda:GetAccountSettings", "*")]),
        (
            "cloudformation",
            "CreateChangeSet",
            {
                "StackName": "s",
                "RoleARN": "arn:r",
                "TemplateURL": "https://b.s3.us-east-1.amazonaws.com/templates/1.json",
            },
            [
                ("cloudformation:CreateChangeSet", f"arn:aws:cloudformation:{HERE}:stack/s/id"),
                ("iam:PassRole", "arn:r"),
                ("s3:GetObject", "arn:aws:s3:::b/templates/1.json"),
            ],
        ),
        (
            "secretsmanager",
            "BatchGetSecretValue",
            {"SecretIdList": ["v"]},
            [
                ("secretsmanager:BatchGetSecretValue", "*"),
                ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{HERE}:secret:v-AbCdEf"),
            ],
        ),
    ],
)
def test_what_a_call_needs(service: str, operation: str, parameters: dict[str, Any], needed: list[Any]) -> None:
    """Actions that are not named as their operations, and what they are about."""
    assert needs(Call(service, operation, parameters, "us-east-1", ACCOUNT)) == [Need(*one) for one in needed]


def test_a_policy_allows_what_matches_it_whole() -> None:
    """Action and resource are in one statement; a right without a resource is not had by one on a resource."""
    table = policy("dynamodb:Scan", f"{TABLE}/shop-*")
    assert allows([table], Need("dynamodb:Scan", f"{TABLE}/shop-EventsTable-1"))
    assert not allows([table], Need("dynamodb:Scan", f"{TABLE}/other"))
    assert not allows([table], Need("dynamodb:Query", f"{TABLE}/shop-1"))
    assert not allows([policy("lambda:GetAccountSettings", "arn:aws:lambda:*")], Need("lambda:GetAccountSettings", "*"))


def test_a_call_that_is_not_allowed_does_not_go_out() -> None:
    """It ends as AWS refuses it, with the action's name, and is noted; an allowed one goes on its way."""
    gateway = client("apigateway", "http://127.0.0.1:9")
    rights = Rights([policy("apigateway:GET", "arn:aws:apigateway:us-east-1::/account")])
    with acting_with(rights, ACCOUNT):
        with pytest.raises(ClientError, match=r"not authorized to perform: apigateway:GET on resource: .*/restapis/x1"):
            gateway.get_rest_api(restApiId="x1")
        with pytest.raises(Exception, match="Could not connect"):
            gateway.get_account()
    assert rights.refused == {Need("apigateway:GET", "arn:aws:apigateway:us-east-1::/restapis/x1")}
    assert rights.used == {Need("apigateway:GET", "arn:aws:apigateway:us-east-1::/account")}

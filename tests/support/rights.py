"""IAM, as far as a request shows what it needs: which right each call takes, and calls that are refused without it.

A call's action is its operation's name in its service, but for those named here. Its resource is made of the names in
the request; where there are none, the action alone is looked at. Conditions are not: a request does not show them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from unittest import mock
from urllib.parse import urlsplit

from botocore.client import BaseClient

Parameters = Mapping[str, Any]


class Need(NamedTuple):
    """An action, and the ARN that it is about: ``*`` where AWS knows none, ``""`` where no request shows it."""

    action: str
    resource: str


class Call(NamedTuple):
    """A call of an API, and where it goes."""

    service: str
    operation: str
    parameters: Parameters
    region: str
    account: str
    method: str = ""
    path: str = ""

    @property
    def here(self) -> str:
        return f"{self.region}:{self.account}"


# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
# What takes no right. Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
FREE = {("sts", "GetCallerIdentity")}
# Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_S3 = {
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjectsV2": "ListBucket",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_INSERT = re.compile(r'INSERT INTO "([^"]+)"')
# Actions for which AWS knows no resource, as the Service Authorization Reference says.
_WITHOUT_RESOURCE = {
    ("cloudformation", "ListStacks"),
    ("cloudwatch", "GetMetricStatistics"),
    ("cloudwatch", "ListMetrics"),
    ("dynamodb", "ListTables"),
    ("kinesis", "DescribeLimits"),
    ("lambda", "GetAccountSettings"),
    ("logs", "DescribeLogGroups"),
}


def needs(call: Call) -> list[Need]:
    """Return the rights that a call takes. Raises: AssertionError for a service that nothing is known of."""
    if (call.service, call.operation) in FREE:
        return []
    if (call.service, call.operation) in _WITHOUT_RESOURCE:
        return [Need(f"{call.service}:{call.operation}", "*")]
    assert call.service in _SERVICES, f"tests/support/rights.py does not know what {call.service} takes"
    return list(_SERVICES[call.service](call))


def _apigateway(call: Call) -> Iterator[Need]:
    yield Need(f"apigateway:{call.method}", f"arn:aws:apigateway:{call.region}::{call.path}")


def _cloudformation(call: Call) -> Iterator[Need]:
    stack = call.parameters.get("StackName", "")
    if not stack:  # what is asked by a resource's name may be of any stack
        yield Need(f"cloudformation:{call.operation}", "")
        return
    arn = stack if stack.startswith("arn:") else f"arn:aws:cloudformation:{call.here}:stack/{stack}/id"
    yield Need(f"cloudformation:{call.operation}", arn)
    if call.operation != "CreateChangeSet":
        return
    if "RoleARN" in call.parameters:
        yield Need("iam:PassRole", call.parameters["RoleARN"])
    if "Tags" in call.parameters:
        yield Need("cloudformation:TagResource", arn)
    url = urlsplit(call.parameters["TemplateURL"])  # which CloudFormation reads with the caller's rights
    bucket = url.netloc.partition(".")[0] if ".s3." in url.netloc else url.path.split("/")[1]
    yield Need("s3:GetObject", f"arn:aws:s3:::{bucket}/templates/{url.path.rpartition('/')[2]}")


def _cloudwatch(call: Call) -> Iterator[Need]:
    yield Need(f"cloudwatch:{call.operation}", f"arn:aws:cloudwatch:{call.here}:alarm:{call.parameters['AlarmName']}")


def _dynamodb(call: Call) -> Iterator[Need]:
    given = json.loads(call.parameters["WeirBody"]) if "WeirBody" in call.parameters else call.parameters
    table = f"arn:aws:dynamodb:{call.here}:table"
    match call.operation:
        case "TransactWriteItems":
            for item in given["TransactItems"]:
                for kind, one in item.items():
                    yield Need(f"dynamodb:{_TRANSACTION[kind]}", f"{table}/{one['TableName']}")
        case "BatchExecuteStatement":
            for one in given["Statements"]:
                found = _INSERT.match(one["Statement"])
                assert found, one["Statement"]
                yield Need("dynamodb:PartiQLInsert", f"{table}/{found[1]}")
        case "BatchGetItem":
            for name in given["RequestItems"]:
                yield Need("dynamodb:BatchGetItem", f"{table}/{name}")
        case _:
            index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
            yield Need(f"dynamodb:{call.operation}", f"{table}/{given['TableName']}{index}")


def _events(call: Call) -> Iterator[Need]:
    yield Need(f"events:{call.operation}", f"arn:aws:events:{call.here}:rule/{call.parameters['Name']}")


def _firehose(call: Call) -> Iterator[Need]:
    name = call.parameters["DeliveryStreamName"]
    yield Need(f"firehose:{call.operation}", f"arn:aws:firehose:{call.here}:deliverystream/{name}")


def _kinesis(call: Call) -> Iterator[Need]:
    name = call.parameters.get("StreamName")  # GetRecords names an iterator
    yield Need(f"kinesis:{call.operation}", f"arn:aws:kinesis:{call.here}:stream/{name}" if name else "")


def _kms(call: Call) -> Iterator[Need]:
    yield Need(f"kms:{call.operation}", call.parameters["KeyId"])


def _lambda(call: Call) -> Iterator[Need]:
    if "UUID" in call.parameters:
        arn = f"arn:aws:lambda:{call.here}:event-source-mapping:{call.parameters['UUID']}"
    else:
        arn = f"arn:aws:lambda:{call.here}:function:{call.parameters['FunctionName']}"
    yield Need(f"lambda:{call.operation}", arn)


def _logs(call: Call) -> Iterator[Need]:
    group, stream = call.parameters["logGroupName"], call.parameters.get("logStreamName", "")
    yield Need(f"logs:{call.operation}", f"arn:aws:logs:{call.here}:log-group:{group}:log-stream:{stream}")


def _s3(call: Call) -> Iterator[Need]:
    bucket = f"arn:aws:s3:::{call.parameters['Bucket']}"
    if call.operation == "DeleteObjects":
        # Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
        for one in call.parameters["Delete"]["Objects"]:
            yield Need("s3:DeleteObject", f"{bucket}/{one['Key']}")
            if "VersionId" in one:
                yield Need("s3:DeleteObjectVersion", f"{bucket}/{one['Key']}")
        return
    key = call.parameters.get("Key")
    yield Need(f"s3:{_S3.get(call.operation, call.operation)}", f"{bucket}/{key}" if key else bucket)


def _secretsmanager(call: Call) -> Iterator[Need]:
    if call.operation == "BatchGetSecretValue":
        yield Need("secretsmanager:BatchGetSecretValue", "*")
        names, action = call.parameters["SecretIdList"], "secretsmanager:GetSecretValue"
    else:
        names = [call.parameters.get("SecretId") or call.parameters["Name"]]
        action = f"secretsmanager:{call.operation}"
    for name in names:
        yield Need(
            action, name if name.startswith("arn:") else f"arn:aws:secretsmanager:{call.here}:secret:{name}-AbCdEf"
        )


def _sns(call: Call) -> Iterator[Need]:
    yield Need(f"sns:{call.operation}", call.parameters["TopicArn"])


def _ssm(call: Call) -> Iterator[Need]:
    for name in call.parameters.get("Names") or [call.parameters["Name"]]:
        yield Need(f"ssm:{call.operation}", f"arn:aws:ssm:{call.here}:parameter{name}")


_SERVICES: dict[str, Callable[[Call], Iterator[Need]]] = {
    "apigateway": _apigateway,
    "cloudformation": _cloudformation,
    "cloudwatch": _cloudwatch,
    "dynamodb": _dynamodb,
    "events": _events,
    "firehose": _firehose,
    "kinesis": _kinesis,
    "kms": _kms,
    "lambda": _lambda,
    "logs": _logs,
    "s3": _s3,
    "secretsmanager": _secretsmanager,
    "sns": _sns,
    "ssm": _ssm,
}


def listed(value: Any) -> list[Any]:
    """Return what a policy may write as one or as a list."""
    return value if isinstance(value, list) else [value]


def allows(policies: Sequence[Mapping[str, Any]], need: Need) -> bool:
    """Tell whether one of these policies, which deny nothing, allows an action."""
    return any(
        any(fnmatchcase(need.action, action) for action in listed(statement["Action"]))
        and (not need.resource or any(fnmatchcase(need.resource, arn) for arn in listed(statement["Resource"])))
        for policy in policies
        for statement in policy["Statement"]
    )


@dataclass
class Rights:
    """The rights of somebody: what was used of them, and what was refused. ``named``: ARNs as AWS would have them."""

    policies: Sequence[Mapping[str, Any]]
    named: Callable[[str], str] = lambda arn: arn
    used: set[Need] = field(default_factory=set)
    refused: set[Need] = field(default_factory=set)
    operations: set[tuple[str, str]] = field(default_factory=set)

    def check(self, call: Call) -> Need | None:
        """Note what a call needs; return what of it is not allowed."""
        self.operations.add((call.service, call.operation))
        for need in needs(call):
            told = need._replace(resource=self.named(need.resource))
            if not allows(self.policies, told):
                self.refused.add(told)
                return told
            self.used.add(told)
        return None


@contextmanager
def acting_with(rights: Rights, account: str) -> Iterator[None]:
    """Refuse each call of botocore's clients for which these rights do not suffice, as AWS does, while in a block."""
    original = getattr(BaseClient, "_make_api_call")  # noqa: B009 - botocore's types leave it out

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        model = client.meta.service_model.operation_model(operation)
        path = model.http.get("requestUri", "").partition("?")[0]
        for name, value in parameters.items():
            path = path.replace(f"{{{_uri_name(model, name)}}}", str(value))
        made = Call(
            client.meta.service_model.service_name,
            operation,
            parameters,
            client.meta.region_name,
            account,
            model.http.get("method", ""),
            path,
        )
        missing = rights.check(made)
        if missing is None:
            return original(client, operation, parameters)
        code = (
            "AccessDenied" if made.service in {"s3", "cloudformation", "sns", "cloudwatch"} else "AccessDeniedException"
        )
        text = f"not authorized to perform: {missing.action} on resource: {missing.resource}"
        answer = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise client.exceptions.from_code(code)(answer, operation)

    with mock.patch.object(BaseClient, "_make_api_call", call):
        yield


def _uri_name(model: Any, member: str) -> str:
    shape = model.input_shape
    found = shape.members.get(member) if shape else None
    return str(found.serialization.get("name", member)) if found is not None else member

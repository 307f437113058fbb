"""What the template gets from the sources: the function only if one asks for it, rights to the secrets they name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.deliveries import source_of
from weir.infra import template
from weir.infra.deploy import sources_parameters
from weir.ingest.sources.catalogue import Catalogue

GIVEN = {"ArtifactBucket": "b", "ApiDefinitionKey": "a", "FunctionKey": "f"}
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:other-AbCdEf"


def resources(**changes: dict[str, Any]) -> dict[str, template.Resource]:
    known = {name: source_of(name).model_copy(update=change) for name, change in changes.items()}
    needed = sources_parameters(Catalogue(known), partition="aws", region="eu-west-1", account="123456789012")
    given = GIVEN | needed
    return template.evaluate(template.load(), given, stack="weir", region="eu-west-1", account="123456789012")[0]


def statements(role: template.Resource) -> dict[str, Any]:
    (policy,) = role.properties["Policies"]
    return {
        action: one["Resource"]
        for one in policy["PolicyDocument"]["Statement"]
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }


def test_without_a_source_that_asks_there_is_no_function() -> None:
    """Slack alone, which could be answered, makes no function, no role and no permission."""
    assert not [name for name in resources(slack={}, github={}) if name.startswith("Handshake")]


def test_a_source_that_asks_makes_it() -> None:
    """The function may put records into this stream and read these secrets, and API Gateway alone may invoke it."""
    made = resources(slack={"handshake_function": True}, github={})
    rights = statements(made["HandshakeRole"])
    assert rights["kinesis:PutRecord"] == "arn:aws:kinesis:eu-west-1:123456789012:stream/weir-stream"
    assert set(rights) == {"kinesis:PutRecord", "ssm:GetParameters", "logs:CreateLogStream", "logs:PutLogEvents"}
    assert made["Handshake"].properties["FunctionName"] == "weir-handshake"
    permission = made["HandshakePermission"].properties
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["SourceArn"].endswith("weir-api/*/*/v1/*")


@pytest.mark.parametrize("role", ["ConsumerRole", "HandshakeRole"])
def test_rights_to_secrets_are_those_that_sources_name(role: str) -> None:
    """A name becomes the ARN with the six characters that Secrets Manager adds; an ARN stays; others cannot be read."""
    made = resources(
        slack={"handshake_function": True, "secret": "secretsmanager:weir/slack"},
        github={"secret": f"secretsmanager:{ARN}"},
    )
    assert statements(made[role])["secretsmanager:GetSecretValue"] == [
        ARN,
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:weir/slack-??????",
    ]

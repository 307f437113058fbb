"""What the template gets from the sources: the function only if one asks for it, rights to the secrets they name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.deliveries import source_of
from weir.infra import template
from weir.infra.deploy import reserved
from weir.infra.place import Place
from weir.infra.synth import sources_parameters
from weir.ingest.sources.catalogue import Catalogue

GIVEN = {"ArtifactBucket": "b", "ApiDefinitionKey": "a", "FunctionKey": "f"}
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:other-AbCdEf"


def resources(given: dict[str, str] | None = None, **changes: dict[str, Any]) -> dict[str, template.Resource]:
    known = {name: source_of(name).model_copy(update=change) for name, change in changes.items()}
    needed = sources_parameters(Catalogue(known), partition="aws", region="eu-west-1", account="123456789012")
    values = GIVEN | needed | (given or {})
    return template.evaluate(template.load(), values, stack="weir", region="eu-west-1", account="123456789012")[0]


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


def test_rights_to_secrets_are_those_that_sources_name() -> None:
    """A name becomes the ARN with the six characters that Secrets Manager adds; an ARN stays; others cannot be read.

    The handshake function may read none but those that it answers with.
    """
    made = resources(
        zoom={"handshake_function": True, "secret": "secretsmanager:weir/zoom"},
        github={"secret": f"secretsmanager:{ARN}"},
    )
    read = "secretsmanager:GetSecretValue"
    assert statements(made["HandshakeRole"])[read] == [
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:weir/zoom-??????",
    ]
    assert statements(made["ConsumerRole"])[read] == [
        ARN,
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:weir/zoom-??????",
    ]


class Concurrency:
    """An account of AWS with so much concurrency left; ``own`` is what this stack's function has reserved."""

    class exceptions:  # as boto3 has it
        class ResourceNotFoundException(Exception):
            pass

    def __init__(self, left: int, own: int | None = None) -> None:
        self.left, self.own = left, own

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"UnreservedConcurrentExecutions": self.left}}

    def get_function_concurrency(self, FunctionName: str) -> dict[str, Any]:
        assert FunctionName == "weir-handshake"
        if self.own is None:
            raise self.exceptions.ResourceNotFoundException
        return {"ReservedConcurrentExecutions": self.own}


class Aws(Place):
    """AWS, of which only Lambda is asked."""

    def __init__(self, limits: Concurrency) -> None:
        super().__init__("aws", "weir", endpoint=None)
        self._limits = limits

    def client(self, service: str) -> Any:
        assert service == "lambda"
        return self._limits


@pytest.mark.parametrize(
    ("left", "own", "wanted"),
    [(1000, None, "20"), (120, None, "20"), (119, None, "0"), (10, None, "0"), (100, 20, "20"), (100, 0, "0")],
)
def test_handshakes_have_a_limit_where_the_account_has_room(left: int, own: int | None, wanted: str) -> None:
    """Lambda keeps 100 for functions that reserve nothing: where less would be left, nothing is reserved."""
    catalogue = Catalogue({"slack": source_of("slack").model_copy(update={"handshake_function": True})})
    assert reserved(Aws(Concurrency(left, own)), catalogue) == {"HandshakeConcurrency": wanted}
    assert reserved(Aws(Concurrency(left, own)), Catalogue({"github": source_of("github")})) == {}


def test_reserved_concurrency_is_by_parameter() -> None:
    """Zero reserves nothing; any other number is the function's own."""
    asked = {"handshake_function": True}
    for name, parameter in (("Consumer", "ConsumerConcurrency"), ("Handshake", "HandshakeConcurrency")):
        assert "ReservedConcurrentExecutions" not in resources(slack=asked)[name].properties
        made = resources({parameter: "7"}, slack=asked)
        assert made[name].properties["ReservedConcurrentExecutions"] == 7

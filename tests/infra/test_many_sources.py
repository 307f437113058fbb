"""The template with many sources: rights to secrets by name, within what IAM takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from weir.infra import deploy, template
from weir.ingest.contract import routes
from weir.ingest.errors import ParameterInvalid, StackFailed
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import SourceEntry, resolve

GIVEN = {"ArtifactBucket": "artifacts", "ApiDefinitionKey": "api", "FunctionKey": "function"}
# Everything that lengthens the policies.
LONGEST = {
    "HandshakeFunction": "true",
    "SecretsKmsKeyArn": "arn:aws:kms:ap-southeast-1:123456789012:key/" + "k" * 36,
    "StreamKmsKey": "arn:aws:kms:ap-southeast-1:123456789012:key/" + "k" * 36,
    "DataKmsKey": "arn:aws:kms:ap-southeast-1:123456789012:key/" + "k" * 36,
    "SecretsPrefix": "/" + "p" * (template.MAX_PREFIX_CHARS - 1),
    "SecretsManagerArns": ",".join(["arn:aws:secretsmanager:r:123456789012:secret:" + "s" * 50] * 42),
}


def made(names: list[str]) -> dict[str, template.Resource]:
    definition = routes.render(routes.api_definition(["github"], {}))
    ready = template.prepare(template.load(), definition, {}, {"ConsumerRole": names, "HandshakeRole": names})
    stack, region = "s" * 40, "ap-southeast-1"
    return template.evaluate(ready, GIVEN | LONGEST, stack=stack, region=region, account="123456789012")[0]


def size(document: Any) -> int:
    """Return the characters of a policy as IAM counts them: without white space."""
    return len(json.dumps(document, separators=(",", ":")).replace(" ", ""))


def parameters_of(document: Any) -> list[str]:
    return [
        arn.rpartition("/")[2]
        for statement in document["Statement"]
        if statement["Action"] == "ssm:GetParameters"
        for arn in statement["Resource"]
    ]


@pytest.mark.parametrize("count", [0, 1, 10, 20, 60, 300])
@pytest.mark.parametrize("chars", [6, 64])
def test_rights_to_secrets_are_within_the_limits_of_iam(count: int, chars: int) -> None:
    """Each role reads each source's parameter by name; its policies are no longer than IAM takes, whatever is on."""
    names = [f"{number:03}".rjust(chars, "s") for number in range(count)]
    resources = made(names)
    managed = [one for one in resources.values() if one.type == "AWS::IAM::ManagedPolicy"]
    for name in ("ConsumerRole", "HandshakeRole"):
        role = resources[name]
        inline = [policy["PolicyDocument"] for policy in role.properties["Policies"]]
        assert sum(map(size, inline)) <= 10_240
        own = [one.properties["PolicyDocument"] for one in managed if one.properties["Roles"] == [role.name]]
        assert all(size(document) <= 6_144 for document in own)
        assert len(own) <= 10
        assert sorted(named for document in [*inline, *own] for named in parameters_of(document)) == names


def test_more_than_a_role_can_name_are_refused() -> None:
    """What ten managed policies cannot hold is refused before anything is made."""
    with pytest.raises(ParameterInvalid, match="Secrets Manager"):
        made([f"{number:04}".rjust(64, "s") for number in range(1_000)])


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"SecretsPrefix": "/" + "p" * 40}, "SecretsPrefix"),
        ({"SecretsManagerArns": ",".join(["arn:aws:secretsmanager:r:1:secret:" + "s" * 90] * 40)}, "40 secrets"),
    ],
)
def test_what_iam_or_cloudformation_would_refuse_is_refused_first(values: dict[str, str], what: str) -> None:
    """A long prefix with many sources, or more ARNs than a parameter holds, is refused with what to do."""
    catalogue = Catalogue({f"s{number}": resolve(f"s{number}", SourceEntry(preset="hmac")) for number in range(30)})
    with pytest.raises(StackFailed, match=what):
        deploy.check(catalogue, GIVEN | values, lambda _: None)

"""Deployments for checkers to judge: the template with its parameters in place, for combinations that matter.

Two switches can meet in one property, so every pair of choices is in some combination; all of all would be thousands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Any

from weir.consumers.business.tables import Index, Table
from weir.infra import parameters, synth, template, uploads
from weir.infra.business import Business
from weir.infra.synth import Target
from weir.infra.tables import TableResource
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import SourceEntry, resolve

STACK, REGION, ACCOUNT = "demo", "eu-central-1", "123456789012"
_TARGET = Target(STACK, ACCOUNT, REGION)
_HERE = f"{REGION}:{ACCOUNT}"
_KEY = f"arn:aws:kms:{_HERE}:key/1b2c3d4e-0000-4000-8000-000000000000"
_ARTIFACTS = {"ArtifactBucket": "artifacts", "ApiDefinitionKey": "apis/1.json", "FunctionKey": "functions/1.zip"}
_DOMAIN = {"DomainName": "hooks.example.com"}
_CERTIFICATE = {"CertificateArn": f"arn:aws:acm:{_HERE}:certificate/1b2c3d4e-0000-4000-8000-000000000001"}
# A table of every kind that a project can declare.
_TABLES = (
    Table("orders", key={"id": str}),
    Table(
        "lines",
        key={"id": str, "at": int},
        ttl="gone_at",
        indexes=[Index("by_sku", key={"sku": str})],
        stream="keys_only",
    ),
    Table("rates", key={"id": str}, billing="on_demand"),
    Table("older", key={"id": str}, existing="older-table"),
)


@dataclass(frozen=True)
class Choice:
    """One way to set a switch: parameters, and what else the sources file has. Nothing of both is the default."""

    name: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def _off_or(name: str, **given: str) -> tuple[Choice, ...]:
    return (Choice(), Choice(name, given))


SWITCHES: tuple[tuple[Choice, ...], ...] = (
    (
        Choice(),
        Choice("managed secret", sources={"shopify": {"preset": "shopify", "secret": "secretsmanager:weir/shopify"}}),
        Choice("questions", sources={"slack": {"preset": "slack", "handshake_function": True}}),
        Choice(
            "questions by a managed secret",
            sources={"zoom": {"preset": "zoom", "handshake_function": True, "secret": "secretsmanager:weir/zoom"}},
        ),
    ),
    (
        Choice(),
        Choice("mapped domain", {**_DOMAIN, "BasePath": "shop"}),
        Choice("domain", {**_DOMAIN, **_CERTIFICATE}),
        Choice(
            "domain with client certificates",
            {
                **_DOMAIN,
                **_CERTIFICATE,
                "SecurityPolicy": "SecurityPolicy_TLS13_1_3_2025_09",
                "TruststoreUri": "s3://trust/ca.pem",
                "DefaultEndpoint": "disabled",
            },
        ),
    ),
    (
        Choice(),
        Choice("web ACL", {"WafRequestsPerIp": "2000"}),
        Choice("own web ACL", {"WebAclArn": f"arn:aws:wafv2:{_HERE}:regional/webacl/own/1b2c3d4e"}),
    ),
    _off_or("own stream key", StreamKmsKey=_KEY),
    _off_or("own secrets key", SecretsKmsKeyArn=_KEY),
    _off_or("own data key", DataKmsKey=_KEY),
    _off_or("provisioned stream", StreamMode="PROVISIONED"),
    _off_or("provisioned tables", TableMode="PROVISIONED"),
    _off_or("hot keys", ContributorInsights="on"),
    _off_or("unprotected", DeletionProtection="false"),
    _off_or("reservations", ConsumerConcurrency="20", HandshakeConcurrency="10"),
    _off_or("own runtime", RuntimeVersionArn=f"arn:aws:lambda:{REGION}::runtime:{'0' * 64}"),
    _off_or("account role exists", ApiGatewayAccountRole="exists"),
    _off_or("no archive", ArchiveMode="none"),
    _off_or("own topic", AlarmTopicArn=f"arn:aws:sns:{_HERE}:alarms"),
    _off_or("mail", AlarmEmail="ops@example.com"),
    _off_or("chat", AlarmChat="slack"),
    _off_or("dashboard", Dashboard="on"),
)


@dataclass(frozen=True)
class Deployment:
    """A template as CloudFormation would make it: ``template`` has no parameter and no condition left.

    References between resources are left, since checkers follow them. ``ready`` is the same as `weir synth` writes it.
    ``conditions`` says which of its conditions hold. ``policies`` has every policy document without intrinsic
    functions, with its place: the resource that has it, a role's trust apart.
    """

    name: str
    ready: dict[str, Any]
    template: dict[str, Any]
    conditions: dict[str, bool]
    policies: list[tuple[str, dict[str, Any]]]


@cache
def deployments() -> tuple[Deployment, ...]:
    """Return the deployment of the default parameters, and those of the combinations."""
    return tuple(_deployment(row) for row in _matrix([len(switch) for switch in SWITCHES]))


def _matrix(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield rows of choices, one of each switch, until each pair of choices was in one; first the defaults."""
    rest = {
        ((one, a), (two, b))
        for one, two in combinations(range(len(sizes)), 2)
        for a in range(sizes[one])
        for b in range(sizes[two])
    }
    row = dict.fromkeys(range(len(sizes)), 0)
    while True:
        yield [row[switch] for switch in range(len(sizes))]
        rest -= set(combinations(sorted(row.items()), 2))
        if not rest:
            return
        row = dict(min(rest))
        for switch in range(len(sizes)):
            if switch not in row:
                row[switch] = max(range(sizes[switch]), key=lambda choice: _met(rest, row, (switch, choice)))


def _met(rest: set[tuple[tuple[int, int], tuple[int, int]]], row: Mapping[int, int], more: tuple[int, int]) -> int:
    return sum((min(one, more), max(one, more)) in rest for one in row.items())


def _deployment(row: Sequence[int]) -> Deployment:
    chosen = [switch[choice] for switch, choice in zip(SWITCHES, row, strict=True)]
    entries = {name: entry for one in chosen for name, entry in one.sources.items()}
    catalogue = _catalogue(entries)
    _, ready = synth.prepared(_TARGET, catalogue, Business(tables=[_resource(table) for table in _TABLES]))
    values = template.parameters(
        ready,
        {
            **_ARTIFACTS,
            **synth.sources_parameters(catalogue, partition="aws", region=REGION, account=ACCOUNT),
            **{name: value for one in chosen for name, value in one.parameters.items()},
        },
    )
    parameters.check_together(values)
    scope = template._Scope(ready, values, STACK, REGION, ACCOUNT)
    name = ", ".join(one.name for one in chosen if one.name) or "the defaults"
    conditions = {condition: scope.holds(condition) for condition in ready["Conditions"]}
    made = {name: one for name, one in ready["Resources"].items() if scope.exists(name)}
    policies = [policy for name, one in made.items() for policy in _policies(one["Properties"], scope, name)]
    policies.append(("ArtifactBucket", uploads.tls_only("arn:aws:s3:::artifacts")))
    return Deployment(name, ready, _Settled(ready, scope).template(), conditions, policies)


def _catalogue(entries: Mapping[str, Mapping[str, object]]) -> Catalogue:
    """Return a catalogue that has these sources beside one with all that the template makes of a source."""
    github = {"preset": "github", "throttle": {"rate_per_s": 50, "burst": 100}, "silent_after_hours": 24}
    every = {"github": github, **entries}
    return Catalogue({name: resolve(name, SourceEntry.model_validate(entry)) for name, entry in every.items()})


def _resource(table: Table) -> TableResource:
    return TableResource(str(table), table.described(), table.billing, table.existing, table.real_name)


def _policies(node: Any, scope: template._Scope, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the policy documents in a resource's properties, each with its place."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if not (isinstance(value, dict) and {"Version", "Statement"} <= value.keys()):
            yield from _policies(value, scope, name)
        elif key == "AssumeRolePolicyDocument":  # what it is about is the role itself, and so not said
            document, role = scope.value(value), scope.value({"Fn::GetAtt": [name, "Arn"]})
            about = [{**one, "Resource": role} for one in document["Statement"]]
            yield f"{name} (trust)", {**document, "Statement": about}
        else:
            yield name, scope.value(value)


_GONE = object()


class _Settled:
    """What parameters, conditions and the stack's name decide, decided; what only a creation tells is left."""

    def __init__(self, ready: Mapping[str, Any], scope: template._Scope) -> None:
        self._ready, self._scope = ready, scope
        self._known = {*ready["Parameters"], "AWS::StackName"}

    def template(self) -> dict[str, Any]:
        """Return the template with the resources and outputs that are made."""
        made = {
            part: {
                name: {key: self._value(value) for key, value in one.items() if key != "Condition"}
                for name, one in self._ready[part].items()
                if self._scope.holds(one.get("Condition"))
            }
            for part in ("Resources", "Outputs")
        }
        return {"AWSTemplateFormatVersion": self._ready["AWSTemplateFormatVersion"], **made}

    def _value(self, node: Any) -> Any:
        match node:
            case list():
                return [one for one in map(self._value, node) if one is not _GONE]
            case {"Ref": "AWS::NoValue"}:
                return _GONE
            case {"Ref": name}:
                return self._scope.value(node) if name in self._known else node
            case {"Fn::If": [condition, yes, no]}:
                return self._value(yes if self._scope.holds(condition) else no)
            case {"Fn::Sub": str(text)}:
                return self._text(text)
            case {"Fn::Split": _}:
                return self._scope.value(node)
            case dict():
                settled = {key: self._value(value) for key, value in node.items()}
                return {key: value for key, value in settled.items() if value is not _GONE}
        return node

    def _text(self, text: str) -> Any:
        for name in self._known:
            text = text.replace(f"${{{name}}}", str(self._scope.value({"Ref": name})))
        return {"Fn::Sub": text} if "${" in text else text

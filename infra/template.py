"""The CloudFormation template: read, made ready for one API definition, and evaluated for the embedded stack.

The embedded stack takes streams, tables, function and mapping from here: what runs on a laptop is what is deployed.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from weir.infra import silence, tables
from weir.infra.tables import TableResource
from weir.ingest.errors import ParameterInvalid, TemplateUnsupported

PATH = Path(__file__).parent / "template.yaml"

# The property by which a template may name a resource of this type.
_NAME_FIELDS = {
    "AWS::Lambda::Function": "FunctionName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::IAM::Role": "RoleName",
    "AWS::ApiGateway::Stage": "StageName",
    "AWS::Logs::LogStream": "LogStreamName",
    "AWS::KinesisFirehose::DeliveryStream": "DeliveryStreamName",
}
# Members of a path in an API definition that are methods.
_METHODS = frozenset(("delete", "get", "head", "options", "patch", "post", "put"))
# Characters of a parameter's ARN before the source's name: the longest partition and Region, and a prefix of 40.
_ARN_CHARS = len("arn:aws-us-gov:ssm:ap-southeast-1:123456789012:parameter/") + 40
MAX_PREFIX_CHARS = 40
# What a policy may have beside the rest: in a role 10,240 in all, in a managed policy 6,144, of which a role takes 10.
# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_INLINE_CHARS = 2_000
_MANAGED_CHARS = 6_144 - 200
_MANAGED_POLICIES = 10
# What is made after the rights of a role to read secrets.
_READS_SECRETS = {"ConsumerRole": "ConsumerMapping", "HandshakeRole": "Handshake"}
_NO_VALUE = object()
_SUB = re.compile(r"\$\{(!?)([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Resource:
    """One evaluated resource: CloudFormation's type, its physical name and its properties without intrinsics."""

    logical_id: str
    type: str
    name: str
    properties: dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, each read as its long form."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def load() -> dict[str, Any]:
    """Return the template in long form."""
    template: dict[str, Any] = yaml.load(PATH.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    return template


def prepare(
    template: Mapping[str, Any],
    definition: bytes,
    throttles: Mapping[str, tuple[float, int]],
    readers: Mapping[str, Iterable[str]],
    project_tables: Sequence[TableResource] = (),
    *,
    silent_hours: Mapping[str, int] = {},
    emulated: bool = False,
) -> dict[str, Any]:
    """Return the template ready to deploy one API definition, given as JSON.

    The deployment's logical id follows the definition, since API Gateway goes on serving the old one otherwise.
    ``throttles`` maps a source to (requests per second, burst); each method of both its paths gets settings of its own.
    ``silent_hours`` maps a source to how long it may be silent before its alarm rings.
    ``readers`` maps a role to the sources whose parameters it may read; it may read no others. ``project_tables`` are
    those of the business code; where it is ``emulated``, existing ones are made and AWS WAF is left out.
    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-deployments.html
    """
    ready = copy.deepcopy(dict(template))
    resources = ready["Resources"]
    deployment_id = "Deployment" + hashlib.sha256(definition).hexdigest()[:12]
    resources[deployment_id] = resources.pop("Deployment")
    stage = resources["Stage"]["Properties"]
    stage["DeploymentId"] = {"Ref": deployment_id}
    for role, sources in readers.items():
        _name_parameters(resources, role, sorted(sources))
    tables.expand(ready, project_tables, emulated=emulated)
    every = resources["RefusedAlarm"]["Properties"]
    resources.update(silence.alarms(silent_hours, {name: every[name] for name in ("AlarmActions", "OKActions")}))
    stage["MethodSettings"] += _method_settings(json.loads(definition)["paths"], throttles)
    if emulated:
        _leave_out_firewall(resources)
    _map_domain_last(resources)
    return ready


def _leave_out_firewall(resources: dict[str, Any]) -> None:
    """Leave out AWS WAF, of which LocalStack 4.14 has nothing: it refuses an update for a resource that is not made."""
    for name in [name for name, one in resources.items() if one["Type"].startswith("AWS::WAFv2::")]:
        del resources[name]


def _map_domain_last(resources: dict[str, Any]) -> None:
    """Let a domain lead to the stage when all else is made.

    A domain's URLs are known before the stack is. What a sender is answered 2xx while a first creation is under way
    would be deleted with the stream if that failed. A conditional resource can be waited for only by naming it.
    """
    mapping = resources["DomainMapping"]
    others = {name: one for name, one in resources.items() if one is not mapping}
    referred_to = {mapping["Properties"]["RestApiId"]["Ref"], mapping["Properties"]["Stage"]["Ref"]}
    mapping["DependsOn"] = [name for name, one in others.items() if "Condition" not in one and name not in referred_to]
    named = [{"Fn::If": [one["Condition"], {"Ref": name}, "-"]} for name, one in others.items() if "Condition" in one]
    mapping["Properties"]["Stage"] = {"Fn::Select": ["0", [mapping["Properties"]["Stage"], *named]]}


def parameters(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Return every parameter's value: the given one, or its default.

    Raises: ParameterInvalid for a parameter that the template does not have or that has no value.
    """
    declared = template["Parameters"]
    if unknown := set(given) - set(declared):
        raise ParameterInvalid(f"The template has no parameter {', '.join(sorted(unknown))}.")
    values = {name: str(given.get(name, spec.get("Default", ""))) for name, spec in declared.items()}
    if missing := [name for name, spec in declared.items() if name not in given and "Default" not in spec]:
        raise ParameterInvalid(f"These parameters need a value: {', '.join(missing)}.")
    for name, spec in declared.items():
        _check_parameter(name, values[name], spec)
    return values


def defaults(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the value of every parameter that has a default."""
    return {name: str(spec["Default"]) for name, spec in template["Parameters"].items() if "Default" in spec}


def evaluate(
    template: Mapping[str, Any], given: Mapping[str, str], *, stack: str, region: str, account: str
) -> tuple[dict[str, Resource], dict[str, str]]:
    """Evaluate resources and outputs as CloudFormation would, with names of the form ``stack-LogicalId``.

    Raises: TemplateUnsupported for an intrinsic function that the template does not use today.
    """
    scope = _Scope(template, parameters(template, given), stack, region, account)
    resources = scope.resources()
    outputs = {
        name: str(scope.value(spec["Value"]))
        for name, spec in template["Outputs"].items()
        if scope.holds(spec.get("Condition"))
    }
    return resources, outputs


def outline(template: Mapping[str, Any], given: Mapping[str, str], *, region: str) -> dict[str, Resource]:
    """Return the resources that a stack ``weir`` has with these parameters, by logical id, evaluated.

    What only AWS knows of a resource, an ARN or an id, is its logical id with the attribute's name: ``Stream.Arn``. So
    any type can be outlined, also one that the embedded stack does not make.
    Raises: ParameterInvalid; TemplateUnsupported for an intrinsic function that the template does not use today.
    """
    return _Outline(template, parameters(template, given), "weir", region, "000000000000").resources()


class _Scope:
    """Parameters, conditions and names within which intrinsic functions are evaluated."""

    def __init__(
        self, template: Mapping[str, Any], values: Mapping[str, str], stack: str, region: str, account: str
    ) -> None:
        self._resources = template["Resources"]
        self._conditions = template.get("Conditions", {})
        self._values: dict[str, object] = {
            name: int(value) if template["Parameters"][name]["Type"] == "Number" else value
            for name, value in values.items()
        }
        self._stack, self._region, self._account = stack, region, account
        self._pseudo: dict[str, object] = {
            "AWS::StackName": stack,
            "AWS::Region": region,
            "AWS::AccountId": account,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": _NO_VALUE,
        }

    def resources(self) -> dict[str, Resource]:
        """Return the resources that exist, by logical id, evaluated."""
        return {
            logical_id: Resource(
                logical_id, spec["Type"], self.name(logical_id), self.value(spec.get("Properties", {}))
            )
            for logical_id, spec in self._resources.items()
            if self.exists(logical_id)
        }

    def exists(self, logical_id: str) -> bool:
        return self.holds(self._resources[logical_id].get("Condition"))

    def holds(self, condition: str | None) -> bool:
        """Return whether a condition of the template holds; no condition always does."""
        return condition is None or self._condition(condition)

    def name(self, logical_id: str) -> str:
        """Physical name: the one the template gives, or one in the letters that every service allows."""
        properties = self._resources[logical_id].get("Properties", {})
        field = _NAME_FIELDS.get(self._resources[logical_id]["Type"])
        if field in properties:
            return str(self.value(properties[field]))
        kebab = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", logical_id).lower()
        return f"{self._stack}-{kebab}"

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [item for item in map(self.value, node) if item is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            function, argument = next(iter(node.items()))
            if function == "Ref" or function.startswith("Fn::"):
                return self._intrinsic(function, argument)
        evaluated = {name: self.value(item) for name, item in node.items()}
        return {name: item for name, item in evaluated.items() if item is not _NO_VALUE}

    def _intrinsic(self, function: str, argument: Any) -> Any:  # noqa: PLR0911 - one return a function
        match function:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                return self._attribute(*argument)
            case "Fn::If":
                condition, yes, no = argument
                return self.value(yes if self._condition(condition) else no)
            case "Fn::Sub" if isinstance(argument, str):
                return _SUB.sub(self._substitute, argument)
            case "Fn::Join":
                separator, parts = argument
                return separator.join(str(part) for part in self.value(parts))
            case "Fn::Split":
                separator, text = argument
                return str(self.value(text)).split(separator)
            case "Fn::Select":
                index, choices = argument
                return self.value(choices)[int(index)]
            case "Fn::Equals":
                left, right = self.value(argument)
                return left == right
            case "Fn::Not":
                return not self.value(argument)[0]
        raise TemplateUnsupported("The embedded stack does not evaluate this function.", function=function)

    def _condition(self, name: str) -> bool:
        return bool(self.value(self._conditions[name]))

    def _substitute(self, match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal:
            return f"${{{name}}}"
        if "." in name:
            return str(self._attribute(*name.split(".", 1)))
        return str(self._ref(name))

    def _ref(self, name: str) -> Any:
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._values:
            return self._values[name]
        if name in self._resources:
            return self.name(name)
        raise TemplateUnsupported("The template has no parameter or resource of this name.", ref=name)

    def _attribute(self, logical_id: str, attribute: str) -> str:
        if attribute == "QueueName":
            return self.name(logical_id)
        if attribute != "Arn":
            raise TemplateUnsupported(
                "The embedded stack knows only Arn and QueueName.", resource=logical_id, attribute=attribute
            )
        name, where = self.name(logical_id), f"{self._region}:{self._account}"
        arns = {
            "AWS::Kinesis::Stream": f"arn:aws:kinesis:{where}:stream/{name}",
            "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{where}:table/{name}",
            "AWS::S3::Bucket": f"arn:aws:s3:::{name}",
            "AWS::SQS::Queue": f"arn:aws:sqs:{where}:{name}",
            "AWS::Lambda::Function": f"arn:aws:lambda:{where}:function:{name}",
            "AWS::IAM::Role": f"arn:aws:iam::{self._account}:role/{name}",
            "AWS::Logs::LogGroup": f"arn:aws:logs:{where}:log-group:{name}:*",
            "AWS::KinesisFirehose::DeliveryStream": f"arn:aws:firehose:{where}:deliverystream/{name}",
            "AWS::Events::Rule": f"arn:aws:events:{where}:rule/{name}",
        }
        kind = self._resources[logical_id]["Type"]
        if kind not in arns:
            raise TemplateUnsupported("The embedded stack has no ARN for this type.", type=kind)
        return arns[kind]


class _Outline(_Scope):
    """A scope in which an attribute of a resource is its name."""

    def _attribute(self, logical_id: str, attribute: str) -> str:
        return f"{logical_id}.{attribute}"


def _name_parameters(resources: dict[str, Any], role: str, sources: list[str]) -> None:
    """Let a role read the parameters of these sources, and none if there are none.

    A role's own policies may have 10,240 characters together, so many sources need managed policies, each as a
    resource that the stage and the mapping wait for.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    policy = resources[role]["Properties"]["Policies"][0]["PolicyDocument"]
    (statement,) = (one for one in policy["Statement"] if one.get("Action") == "ssm:GetParameters")
    whole = statement["Resource"]["Fn::Sub"].removesuffix("*")
    inline = sum(map(_arn_chars, sources)) <= _INLINE_CHARS
    statement["Resource"] = [{"Fn::Sub": f"{whole}{source}"} for source in sources]
    if not sources or not inline:
        policy["Statement"].remove(statement)
    if inline:
        return
    chunks = _chunks(sources)
    if len(chunks) > _MANAGED_POLICIES:
        raise ParameterInvalid(
            f"{len(sources)} sources keep secrets in SSM: more than the policies of one role can name. Split the "
            "sources file over two stacks, or keep some in Secrets Manager."
        )
    for number, chunk in enumerate(chunks, 1):
        named = {**statement, "Resource": [{"Fn::Sub": f"{whole}{source}"} for source in chunk]}
        name = f"{role}Secrets{number}"
        resources[name] = {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"Roles": [{"Ref": role}], "PolicyDocument": {**policy, "Statement": [named]}},
        }
        if "Condition" in resources[role]:
            resources[name]["Condition"] = resources[role]["Condition"]
        waiting = resources[_READS_SECRETS[role]]
        waiting["DependsOn"] = [*_listed(waiting.get("DependsOn", [])), name]


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _arn_chars(source: str) -> int:
    """Return what the ARN of a source's parameter takes in a policy at most, with quotes and comma."""
    return _ARN_CHARS + len(source) + 3


def _chunks(sources: list[str]) -> list[list[str]]:
    chunks: list[list[str]] = []
    left = 0
    for source in sources:
        if left < _arn_chars(source):
            chunks.append([])
            left = _MANAGED_CHARS
        chunks[-1].append(source)
        left -= _arn_chars(source)
    return chunks


def _method_settings(
    paths: Mapping[str, Mapping[str, Any]], throttles: Mapping[str, tuple[float, int]]
) -> Iterable[dict[str, Any]]:
    """Yield the settings of each method of a throttled source; what only answers 405 keeps those of the stage."""
    for source, (rate_per_s, burst) in sorted(throttles.items()):
        for path in (f"/v1/{source}", f"/v1/{source}/{{key}}"):
            for method in sorted(_METHODS & paths[path].keys()):
                yield {
                    "ResourcePath": "/" + path.replace("/", "~1"),
                    "HttpMethod": method.upper(),
                    "MetricsEnabled": True,
                    "LoggingLevel": "OFF",
                    "DataTraceEnabled": False,
                    "ThrottlingRateLimit": rate_per_s,
                    "ThrottlingBurstLimit": burst,
                }


def _check_parameter(name: str, value: str, spec: Mapping[str, Any]) -> None:
    allowed = [str(item) for item in spec.get("AllowedValues", [])]
    if allowed and value not in allowed:
        raise ParameterInvalid(f"{name}={value}: allowed are {', '.join(allowed)}.")
    # The whole value must match. Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
    pattern = spec.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(pattern, value):
        raise ParameterInvalid(f"{name}={value}: must match {pattern}. {spec['Description']}.")
    if spec["Type"] != "Number":
        return
    if not re.fullmatch(r"\d+", value):
        raise ParameterInvalid(f"{name}={value}: must be a whole number.")
    low, high = float(spec.get("MinValue", "-inf")), float(spec.get("MaxValue", "inf"))
    if not low <= float(value) <= high:
        raise ParameterInvalid(f"{name}={value}: must be from {low:g} to {high:g}.")

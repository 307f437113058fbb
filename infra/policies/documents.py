"""Policy documents as IAM takes them: a role's grants with the names of one stack, in as few documents as hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from weir.infra.policies import grants
from weir.infra.policies.grants import Grant, Resources
from weir.ingest.errors import OptionInvalid

# What a managed policy may have, white space apart.
# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAX_CHARS = 6144
_VERSION = "2012-10-17"
_EMPTY = {"Version": _VERSION, "Statement": list[Any]()}
# Names of roles and rules have 64 characters at most. CloudFormation shortens what it makes of a longer stack's name,
# and AWS does not say how: so many of a name are taken to be left.
_WHOLE_CHARS, _SURE_CHARS = 32, 24
_KEY = re.compile(r"arn:[^:]+:kms:[^:]*:[^:]*:key/.+")
_BRACES = re.compile(r"\{(\w+)\}")

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """The stack that policies are about. ``parameters``: of the template, each with its value.

    ``boundary``: ARN of the permissions boundary that every role of the stack must have. ``role_arn``: of
    CloudFormation's service role. ``tables``: ARNs of tables that the project declares as existing. ``secrets``: ARNs
    of secrets in Secrets Manager. Empty for none.
    """

    stack: str
    account: str
    region: str
    partition: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    boundary: str = ""
    role_arn: str = ""
    tables: Sequence[str] = ()
    secrets: Sequence[str] = ()

    def fillings(self) -> dict[str, str | list[str]]:
        """Return what takes the place of the braces of resources.yaml; a list where there may be several or none."""
        given = self.parameters
        truststore = given.get("TruststoreUri", "").removeprefix("s3://")
        is_long = len(self.stack) > _WHOLE_CHARS
        return {
            "stack": self.stack,
            "short": self.stack[:_SURE_CHARS] if is_long else f"{self.stack}-",
            "bucket": self.stack.lower(),
            "account": self.account,
            "region": self.region,
            "partition": self.partition,
            "boundary": self.boundary,
            "domain": given.get("DomainName", ""),
            "secrets_prefix": given.get("SecretsPrefix", ""),
            "role_arn": [self.role_arn] if self.role_arn else [],
            "truststore": [f"arn:{self.partition}:s3:::{truststore}"] if truststore else [],
            "web_acl": [one] if (one := given.get("WebAclArn", "")) else [],
            "topic": [one] if (one := given.get("AlarmTopicArn", "")) else [],
            "keys": sorted({value for value in given.values() if _KEY.fullmatch(value)}),
            "secrets": sorted(self.secrets),
            "tables": sorted(chain.from_iterable((one, f"{one}/*") for one in self.tables)),
            "fresh_tables": sorted(f"{one}-rebuild-*" for one in self.tables),
        }


def documents(role: str, subject: Subject) -> list[Document]:
    """Return the policies of a role for a stack, each within what a managed policy may have; the same every time.

    Raises: OptionInvalid for a name that no role has, and for a single right that is longer than a policy.
    """
    statements = _statements(grants.of_role(role, service_role=bool(subject.role_arn)), subject.fillings())
    return _packed(statements)


def lists_of(role: str) -> set[str]:
    """Return what must be known of a stack beside its name: the braces that its grants' resources fill in."""
    names = {name for name, _ in grants.of_role(role, service_role=False)}
    return {brace for name in names for arn in grants.resources()[name].arns for brace in _BRACES.findall(arn)}


def chars(document: Document) -> int:
    """Return the characters that IAM counts: all but white space."""
    return len(json.dumps(document, separators=(",", ":")))


def _statements(found: Iterable[Grant], fillings: Mapping[str, str | list[str]]) -> Iterator[dict[str, Any]]:
    """Yield a statement for each grant that has a resource; what is granted on the same resources is together."""
    together: dict[str, dict[str, Any]] = {}
    for name, actions in found:
        statement = _statement(grants.resources()[name], fillings)
        if statement is None:
            continue
        key = json.dumps(statement)
        earlier = together.setdefault(key, {"Sid": _sid(name), **statement, "Action": []})
        earlier["Action"] = sorted({*earlier["Action"], *actions})
    for statement in together.values():
        yield {
            name: statement[name] for name in ("Sid", "Effect", "Action", "Resource", "Condition") if name in statement
        }


def _sid(name: str) -> str:
    """Write a name in the letters that a statement's id may have."""
    return "".join(word.capitalize() for word in name.split("-"))


def _statement(about: Resources, fillings: Mapping[str, str | list[str]]) -> dict[str, Any] | None:
    """Return a statement without its actions; None where the stack has no such resource."""
    if (about.needs and not fillings[about.needs]) or (about.unless and fillings[about.unless]):
        return None
    arns = [arn for pattern in about.arns for arn in _filled(pattern, fillings)]
    if not arns:
        return None
    conditions = {
        operator: kept
        for operator, keys in about.conditions.items()
        if (kept := {key: value for key, given in keys.items() if (value := _condition(given, fillings))})
    }
    statement = {"Effect": "Allow", "Resource": arns[0] if len(arns) == 1 else arns}
    return {**statement, "Condition": conditions} if conditions else statement


def _condition(given: str | Sequence[str], fillings: Mapping[str, str | list[str]]) -> str | list[str]:
    """Return what a condition compares with; nothing where all of it is to be filled in with nothing."""
    listed = [given] if isinstance(given, str) else given
    filled = [text for one in listed for text in _filled(one, fillings) if text]
    return filled[0] if len(filled) == 1 else filled


def _filled(pattern: str, fillings: Mapping[str, str | list[str]]) -> list[str]:
    """Return a pattern with its braces filled in; one that is nothing but a list is that list."""
    whole = _BRACES.fullmatch(pattern)
    if whole and isinstance(listed := fillings[whole[1]], list):
        return listed
    return [_BRACES.sub(lambda match: str(fillings[match[1]]), pattern)]


def _packed(statements: Iterable[dict[str, Any]]) -> list[Document]:
    """Return documents that hold these statements, the longest first into the first that has room."""
    made: list[dict[str, Any]] = []
    for statement in sorted(chain.from_iterable(map(_cut, statements)), key=_length, reverse=True):
        for document in made:
            if chars(document) + _length(statement) + 1 <= MAX_CHARS:
                document["Statement"].append(statement)
                break
        else:
            made.append({"Version": _VERSION, "Statement": [statement]})
    for document in made:
        document["Statement"].sort(key=lambda one: str(one["Sid"]))
    return [*made]


def _length(statement: Mapping[str, Any]) -> int:
    return len(json.dumps(statement, separators=(",", ":")))


def _cut(statement: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a statement, in parts if it is longer than a policy. Raises: OptionInvalid where one action is too long."""
    if chars(_EMPTY) + _length(statement) <= MAX_CHARS:
        yield statement
        return
    part = "Action" if len(statement["Action"]) > 1 else "Resource"
    listed = statement[part]
    if not isinstance(listed, list) or len(listed) == 1:
        raise OptionInvalid(f"{statement['Action'][0]} on {statement['Resource']} is longer than a policy may be.")
    half = len(listed) // 2
    for number, some in enumerate((listed[:half], listed[half:]), 1):
        yield from _cut({**statement, "Sid": f"{statement['Sid']}{number}", part: some})

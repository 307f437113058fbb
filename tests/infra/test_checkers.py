"""The template before checkers that others wrote: what they find is fixed, or has its reason in checkers.yaml."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import checkers
from tests.support.checkers import Finding
from tests.support.deployments import Deployment, deployments

REASONS = Path(__file__).with_name("checkers.yaml")
NAMES = ("cfn-lint", "checkov", "parliament")


def _needs_checkers() -> None:
    if checkers.missing():
        pytest.skip(f"the checkers of {checkers.LOCK} are not installed: {checkers.INSTALL}")


@cache
def reasons() -> dict[str, list[dict[str, Any]]]:
    """Return what is left, by checker."""
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(REASONS.read_text(encoding="utf-8"))
    return found


def expected(checker: str, deployment: Deployment) -> Iterator[Finding]:
    """Yield what the list says that a checker finds. `Consumer unless X`: only where the condition X does not hold."""
    made = {*deployment.template["Resources"], "ArtifactBucket"}
    for entry in reasons()[checker]:
        for place in entry["at"]:
            resource, _, condition = place.partition(" unless ")
            if resource.split()[0] in made and not (condition and deployment.conditions[condition]):
                yield Finding(entry["rule"], resource, entry["says"])


def found(checker: str, folder: Path) -> dict[str, set[Finding]]:
    """Return what a checker finds, by deployment."""
    if checker == "parliament":
        return checkers.parliament({one.name: one.policies for one in deployments()})
    files = {one.name: folder / f"{number}.json" for number, one in enumerate(deployments())}
    for one in deployments():
        files[one.name].write_text(json.dumps(one.template, indent=1), encoding="utf-8")
    return checkers.TEMPLATE_CHECKERS[checker](files)


@pytest.mark.parametrize("checker", NAMES)
def test_what_is_found_has_a_reason_and_each_reason_is_needed(checker: str, tmp_path: Path) -> None:
    """In every deployment a checker finds what the list says that it finds there, no more and no less."""
    _needs_checkers()
    said = found(checker, tmp_path)
    wrong: dict[str, list[str]] = {}
    for deployment in deployments():
        now, listed = said[deployment.name], set(expected(checker, deployment))
        for word, differs in (("without a reason", now - listed), ("not found any more", listed - now)):
            for one in differs:
                wrong.setdefault(f"{word}: {one.rule} at {one.resource} ({one.says})", []).append(deployment.name)
    lines = [f"{one}; with {by[0]}, and {len(by) - 1} more" for one, by in sorted(wrong.items())]
    assert not wrong, "\n".join([f"{REASONS.name} differs from what {checker} finds", *lines])


def test_a_reason_is_a_reason() -> None:
    """Each is written once for a rule and a resource, says something, and names a resource that some deployment has."""
    known = {"ArtifactBucket"}.union(*(one.template["Resources"] for one in deployments()))
    assert tuple(reasons()) == NAMES
    for entries in reasons().values():
        places = [(entry["rule"], place.partition(" unless ")[0]) for entry in entries for place in entry["at"]]
        assert len(set(places)) == len(places)
        assert {resource.split()[0] for _, resource in places} <= known
        assert all(len(entry["why"].split()) > 5 for entry in entries)


def test_every_condition_is_judged_on_and_off() -> None:
    """Each condition is switched; a new one needs a line in SWITCHES of tests/support/deployments.py."""
    first, *_ = deployments()
    assert first.name == "the defaults"
    for condition in first.conditions:
        assert {one.conditions[condition] for one in deployments()} == {True, False}, condition


def test_every_policy_is_judged() -> None:
    """Each role and each resource that lets others in has its policies before parliament, without intrinsics."""
    for deployment in deployments():
        made = deployment.template["Resources"].items()
        having = {
            name for name, one in made if one["Type"].startswith("AWS::IAM::") or '"Statement"' in json.dumps(one)
        }
        judged = {place.split()[0] for place, _ in deployment.policies}
        assert len(having) >= 5
        assert having - {"WebAcl"} <= judged  # a rule of AWS WAF has a statement, too
        assert not re.search(r'"Ref"|"Fn::|\$\{', json.dumps(deployment.policies))


def test_the_finished_template_is_clean(tmp_path: Path) -> None:
    """cfn-lint has nothing to say about the template as it is written for deployment, whatever its conditions are."""
    path = tmp_path / "template.json"
    fullest = next(one for one in deployments() if one.conditions["HasHandshakeSecrets"])
    path.write_text(json.dumps(fullest.ready), encoding="utf-8")
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def allow(action: str, resource: str, **more: object) -> Mapping[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource, **more}]}


# A policy with a fault, by what parliament calls it.
FAULTS = {
    "UNKNOWN_ACTION": allow("kinesis:PutRecordz", "arn:aws:kinesis:eu-central-1:123456789012:stream/s"),
    "RESOURCE_MISMATCH": allow("s3:GetObject", "arn:aws:s3:::bucket"),
    "RESOURCE_STAR": allow("dynamodb:Scan", "*"),
    "UNKNOWN_CONDITION_FOR_ACTION": allow(
        "sqs:SendMessage", "arn:aws:sqs:r:123456789012:q", Condition={"StringEquals": {"s3:prefix": "x"}}
    ),
    "PRIVILEGE_ESCALATION": allow("iam:CreatePolicyVersion", "arn:aws:iam::123456789012:policy/p"),
}


@pytest.mark.parametrize(
    ("checker", "rules"), [("cfn-lint", {"E3002", "ES1005"}), ("checkov", {"CKV_AWS_53", "CKV_AWS_45"})]
)
def test_a_checker_finds_what_is_wrong(checker: str, rules: set[str], tmp_path: Path) -> None:
    """A template that is wrong on purpose has the findings that ours has not: that says something."""
    _needs_checkers()
    code = {"S3Bucket": "b", "S3Key": "k"}
    keys = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    }
    function = {"Code": code, "Role": "arn:aws:iam::123456789012:role/r", "Environment": {"Variables": keys}}
    resources = {
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"NoSuchProperty": 1}},
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {**function, "Handler": "h.h", "Runtime": "python3.13"},
        },
    }
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}), encoding="utf-8")
    said = checkers.TEMPLATE_CHECKERS[checker]({"wrong": path})
    assert rules <= {one.rule for one in said["wrong"]}


def test_parliament_finds_what_is_wrong() -> None:
    """A policy of each kind of fault is found: that ours have none says something."""
    _needs_checkers()
    said = checkers.parliament({fault: [("Role", policy)] for fault, policy in FAULTS.items()})
    for fault in FAULTS:
        assert fault in {one.rule for one in said[fault]}

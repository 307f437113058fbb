"""The policies that `weir policies` prints: for every type of the template, within IAM's limits, and for one stack."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support import checkers
from tests.support.commands import commands
from tests.support.deployments import deployments
from tests.support.rights import Need, allows, listed
from weir.cli.main import main
from weir.infra import synth, template
from weir.infra.business import Business
from weir.infra.policies import documents, grants
from weir.infra.policies.documents import MAX_CHARS, Subject, chars
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import SourceEntry, resolve

STACK, ACCOUNT, REGION = "shop", "123456789012", "eu-central-1"
HERE = f"{REGION}:{ACCOUNT}"
KEY = f"arn:aws:kms:{HERE}:key/1b2c3d4e-0000-4000-8000-000000000000"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/bounds"
SERVICE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/cloudformation"
PARAMETERS = template.defaults(template.load())
# A stack with everything that a policy can be told of, under the longest names.
FULL = Subject(
    "a-stack-with-the-longest-name-that-fits",
    ACCOUNT,
    "ap-southeast-1",
    "aws-us-gov",
    {
        **PARAMETERS,
        "DomainName": "hooks.example.com",
        "StreamKmsKey": KEY,
        "SecretsKmsKeyArn": KEY.replace("1b", "2b"),
        "TruststoreUri": "s3://trust/authorities.pem",
        "WebAclArn": f"arn:aws:wafv2:{HERE}:regional/webacl/own/1b2c3d4e",
        "AlarmTopicArn": f"arn:aws:sns:{HERE}:alarms",
    },
    boundary=BOUNDARY,
    tables=[f"arn:aws:dynamodb:{HERE}:table/older"],
    secrets=[f"arn:aws:secretsmanager:{HERE}:secret:weir/vault-??????"],
)
PLAIN = Subject(STACK, ACCOUNT, REGION, "aws", PARAMETERS)
SUBJECTS = {"plain": PLAIN, "full": FULL}
# What parliament has against a policy, and why it stays; `checkers.yaml` has the same for the template.
_BOTH = ("deployer", "cloudformation")
FOUND = {
    ("PRIVILEGE_ESCALATION", _BOTH): "who may make roles may do what they may: --permissions-boundary bounds that",
    ("PERMISSIONS_MANAGEMENT_ACTIONS", _BOTH): "the stack has roles, and policies of its bucket and queue",
    ("MISMATCHED_TYPE_BUT_USABLE", _BOTH): "AWS itself compares iam:PermissionsBoundary by StringEquals",
    (
        "RESOURCE_POLICY_PRIVILEGE_ESCALATION",
        _BOTH,
    ): "buckets of the stack and of artifacts get their policy of TLS alone",
}
# Actions that are younger than parliament's list of them.
YOUNG = {
    "kinesis:ListTagsForResource",
    "kinesis:TagResource",
    "kinesis:UntagResource",
    "kinesis:UpdateMaxRecordSize",
    "lambda:GetFunctionScalingConfig",
    "s3:GetBucketAbac",
}


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("role", grants.roles())
def test_each_policy_is_one_that_iam_takes(role: str, name: str) -> None:
    """No policy is longer than IAM takes, no more are there than a role may have, and no brace is left in one."""
    made = documents.documents(role, SUBJECTS[name])
    assert 1 <= len(made) <= 10
    for one in made:
        assert chars(one) == len(re.sub(r"\s", "", json.dumps(one, indent=2))) <= MAX_CHARS
        assert not re.search(r"\{\w", json.dumps(one))
        sids = [statement["Sid"] for statement in one["Statement"]]
        assert len(set(sids)) == len(sids)
        assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)


def test_no_right_is_lost_when_policies_are_cut() -> None:
    """What is longer than a policy is cut, by its actions and then by its resources, and all of it is there."""
    tables = [f"arn:aws:dynamodb:{HERE}:table/{number:03}-{'x' * 200}" for number in range(60)]
    made = documents.documents("operator", _with_tables(tables))
    assert len(made) > 3
    assert all(chars(one) <= MAX_CHARS for one in made)
    for action in ("dynamodb:Scan", "dynamodb:PutItem", "dynamodb:UpdateItem"):
        assert all(allows(made, Need(action, table)) for table in tables)


def _with_tables(tables: list[str]) -> Subject:
    return Subject(STACK, ACCOUNT, REGION, "aws", PARAMETERS, tables=tables)


# ------------------------------------------------------------------------------------------ the template's types


def made_types() -> set[str]:
    """Return every type that a deployment has: the template's, and what is added for sources and tables."""
    target = synth.Target(STACK, ACCOUNT, REGION)
    entry = SourceEntry.model_validate({"preset": "github"})
    many = Catalogue({f"shop-{number}": resolve(f"shop-{number}", entry) for number in range(300)})
    _, ready = synth.prepared(target, many, Business())
    made = [ready, *(one.ready for one in deployments())]
    return {resource["Type"] for one in made for resource in one["Resources"].values()}


def test_each_type_has_its_handlers() -> None:
    """Each type of resource that a stack may have says what CloudFormation calls for it, and no other does."""
    assert set(grants.handlers()) == grants.types_of(template.load()) == made_types()
    for kind, handlers in grants.handlers().items():
        made = {one for parts in handlers.grants.values() for one in parts} - {"also"}
        assert {"create", "delete"} <= made, kind


def test_what_is_left_out_is_of_a_property_that_is_not_given() -> None:
    """No resource of the template gives a property under which actions are left out; each reason is a sentence."""
    loaded = template.load()["Resources"].values()
    for kind, handlers in grants.handlers().items():
        given = {name for one in loaded if one["Type"] == kind for name in one.get("Properties", {})}
        for reason in handlers.without:
            assert reason not in given, f"{kind} has {reason} now: its actions go up to the handlers of {kind}"
            assert re.fullmatch(r"[A-Z][A-Za-z]+", reason) or len(reason.split()) > 3, reason


def test_nothing_is_both_granted_and_left_out() -> None:
    """An action of a type is granted or left out, and every set of resources is used."""
    for kind, handlers in grants.handlers().items():
        granted = {action for parts in handlers.grants.values() for actions in parts.values() for action in actions}
        assert not granted & set(chain.from_iterable(handlers.without.values())), kind
    used = {one for role in grants.roles().values() for one in role.grants}
    assert used.union(*(one.grants for one in grants.handlers().values())) == set(grants.resources())


@pytest.mark.skipif(
    not os.environ.get("CLOUDFORMATION_SCHEMAS"),
    reason="CLOUDFORMATION_SCHEMAS names a folder with CloudFormation's schemas of resource types",
)
@pytest.mark.parametrize("kind", sorted(grants.handlers()))
def test_handlers_are_those_of_the_schema(kind: str) -> None:
    """What a type's schema lists is granted or left out, handler by handler, and nothing else is but under `also`."""
    name = kind.lower().replace("::", "-")
    schema = json.loads((Path(os.environ["CLOUDFORMATION_SCHEMAS"]) / f"{name}.json").read_text(encoding="utf-8"))
    out = set(chain.from_iterable(grants.handlers()[kind].without.values()))
    for handler in ("create", "read", "update", "delete"):
        said = {one[0].lower() + one[1:] for one in schema["handlers"].get(handler, {}).get("permissions", ())}
        ours = {action for parts in grants.handlers()[kind].grants.values() for action in parts.get(handler, ())}
        assert said - out == ours - _of_tags(schema), handler


def _of_tags(schema: Mapping[str, Any]) -> set[str]:
    return {"iam:ListRoleTags"} & set(schema.get("tagging", {}).get("permissions", ()))


# ------------------------------------------------------------------------------------------ least


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("role", grants.roles())
def test_no_action_has_a_wildcard_and_no_resource_without_a_reason(role: str, name: str) -> None:
    """Each action is named. A resource has the stack's name, or resources.yaml says why it has not."""
    subject = SUBJECTS[name]
    for one in documents.documents(role, subject):
        for statement in one["Statement"]:
            assert statement["Effect"] == "Allow"
            assert all(re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action) for action in listed(statement["Action"]))
    short = subject.fillings()["short"]
    for grant in grants.of_role(role, service_role=False):
        about = grants.resources()[grant.resources]
        if not about.why:
            named = ("{stack}", "{short}", "{bucket}")
            assert all(any(brace in arn for brace in named) for arn in about.arns if arn != "{role_arn}"), grant
    assert isinstance(short, str)
    assert subject.stack.startswith(short.rstrip("-"))


def test_only_functions_and_the_gateway_get_a_role() -> None:
    """A role of the stack is passed to the services that take one in the template, and to no other."""
    roles = (one["Properties"] for one in template.load()["Resources"].values() if one["Type"] == "AWS::IAM::Role")
    trusted = {
        statement["Principal"]["Service"] for one in roles for statement in one["AssumeRolePolicyDocument"]["Statement"]
    }
    (passed,) = statements("cloudformation", PLAIN, "iam:PassRole")
    assert set(passed["Condition"]["StringEquals"]["iam:PassedToService"]) == trusted
    assert passed["Resource"] == f"arn:aws:iam::{ACCOUNT}:role/shop-*"


def statements(role: str, subject: Subject, action: str) -> Iterator[Mapping[str, Any]]:
    """Yield the statements of a role that grant an action."""
    for one in documents.documents(role, subject):
        yield from (statement for statement in one["Statement"] if action in listed(statement["Action"]))


def test_with_a_service_role_the_deployer_may_do_far_less() -> None:
    """It makes change sets and passes that one role to CloudFormation alone; it makes no role, function or table."""
    subject = Subject(STACK, ACCOUNT, REGION, "aws", PARAMETERS, role_arn=SERVICE_ROLE)
    (only,) = documents.documents("deployer", subject)
    actions = {action for statement in only["Statement"] for action in listed(statement["Action"])}
    assert not {"iam:CreateRole", "lambda:CreateFunction", "dynamodb:CreateTable", "kinesis:CreateStream"} & actions
    (passed,) = statements("deployer", subject, "iam:PassRole")
    assert passed["Resource"] == SERVICE_ROLE
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}
    assert sum(map(chars, documents.documents("deployer", PLAIN))) > 3 * chars(only)


def test_with_a_boundary_no_role_is_made_without_it() -> None:
    """Every right that gives a role something has the condition, and no right takes the boundary away."""
    bounded = Subject(STACK, ACCOUNT, REGION, "aws", PARAMETERS, boundary=BOUNDARY)
    for role in ("deployer", "cloudformation"):
        for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"):
            (statement,) = statements(role, bounded, action)
            assert statement["Condition"]["StringEquals"]["iam:PermissionsBoundary"] == BOUNDARY
        assert not list(statements(role, bounded, "iam:DeleteRolePermissionsBoundary"))
        assert list(statements(role, PLAIN, "iam:DeleteRolePermissionsBoundary"))


@pytest.mark.parametrize("role", ["reader", "deployer", "cloudformation"])
def test_only_an_operator_reads_secrets(role: str) -> None:
    """Neither who looks nor who deploys has what deliveries are signed with."""
    for subject in SUBJECTS.values():
        made = documents.documents(role, subject)
        actions = {action for one in made for statement in one["Statement"] for action in listed(statement["Action"])}
        assert not [action for action in actions if action.startswith(("ssm:", "secretsmanager:"))]


def test_a_reader_changes_nothing() -> None:
    """Its actions are those that look."""
    made = documents.documents("reader", FULL)
    actions = {action for one in made for statement in one["Statement"] for action in listed(statement["Action"])}
    reads = r"[a-z0-9-]+:(Batch)?(Get|GET|Describe|Filter|List|Query|Scan|Decrypt)[A-Za-z]*"
    assert not [action for action in actions if not re.fullmatch(reads, action)]


def test_keys_are_used_through_services_alone() -> None:
    """Rights to use keys are on those that parameters name, by way of a service; without such a key there are none."""
    for role in grants.roles():
        for one in documents.documents(role, FULL):
            for statement in one["Statement"]:
                if any(action.startswith("kms:") for action in listed(statement["Action"])):
                    assert set(listed(statement["Resource"])) == {KEY, KEY.replace("1b", "2b")}
                    looks = set(statement["Action"]) <= {"kms:DescribeKey", "kms:GetKeyPolicy"}
                    assert looks or "kms:ViaService" in statement["Condition"]["StringLike"]
        assert "kms:Decrypt" not in json.dumps(documents.documents(role, PLAIN))


def test_a_name_that_is_cut_is_still_known() -> None:
    """Of a stack's name that is too long for a role or a bucket, what is left of it in their names is enough."""
    long = Subject("s" * 46, ACCOUNT, "us-east-1", "aws", PARAMETERS)
    made = documents.documents("cloudformation", long)
    assert allows(
        made, Need("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/{'s' * 26}-ApiGatewayLogRole-1A2B3C4D5E6F")
    )
    assert allows(made, Need("s3:CreateBucket", f"arn:aws:s3:::{'s' * 40}-bucket-1a2b3c4d5e6f"))


def test_names_are_those_of_the_stack() -> None:
    """Each resource of a stack is within the policies under the name that CloudFormation gives it, or the template."""
    for subject in (PLAIN, FULL):
        made = documents.documents("cloudformation", subject)
        partition, here = f"arn:{subject.partition}", f"{subject.region}:{subject.account}"
        role = f"{subject.stack[:30]}-ConsumerRole-1A2B3C4D5E6F"
        for action, arn in (
            ("dynamodb:CreateTable", f"{partition}:dynamodb:{here}:table/{subject.stack}-EventsTable-1A2B3C4D5E6F"),
            ("kinesis:CreateStream", f"{partition}:kinesis:{here}:stream/{subject.stack}-Stream-1A2B3C4D5E6F"),
            ("s3:CreateBucket", f"{partition}:s3:::{subject.stack}-bucket-1a2b3c4d5e6f"),
            ("lambda:CreateFunction", f"{partition}:lambda:{here}:function:{subject.stack}-consumer"),
            ("logs:CreateLogGroup", f"{partition}:logs:{here}:log-group:/weir/{subject.stack}/access"),
            ("iam:CreateRole", f"{partition}:iam::{subject.account}:role/{role}"),
            ("iam:CreateRole", f"{partition}:iam::{subject.account}:role/{subject.stack}-{subject.region}-gateway"),
        ):
            assert allows(made, Need(action, arn)), arn
            other = arn.replace(subject.stack[:30], "other")
            assert not allows(made, Need(action, other)), other


# ------------------------------------------------------------------------------------------ commands

# Commands that no role has, and why.
NO_ROLE = {
    "bench consumer": "calls no AWS",
    "bench memory": "calls no AWS",
    "bench republish": "makes streams to measure with: for an account in which one may make anything",
    "cost": "calls no AWS",
    "effects": "calls no AWS",
    "env": "calls no AWS",
    "init": "calls no AWS",
    "load attack": "sends load and reads the tables itself, to judge the product: for a stack of one's own",
    "load faults": "breaks a stack of its own on this machine",
    "load figures": "measures this machine",
    "load reconcile": "as load attack",
    "load report": "calls no AWS",
    "policies": "asks whose the credentials are, which takes no right",
    "run": "calls no AWS",
    "sources add": "calls no AWS",
    "sources presets": "calls no AWS",
    "sources schema": "calls no AWS",
    "synth": "calls no AWS",
}


def test_each_command_is_of_a_role_or_of_none() -> None:
    """Each command is of one role, with the options that it has there, or of no role, with the reason."""
    of_roles = [one.partition(" --")[0] for role in grants.roles().values() for one in role.commands]
    assert {*of_roles, *NO_ROLE} == {" ".join(words) for words in commands()}
    assert not set(of_roles) & set(NO_ROLE)
    assert {one for one in of_roles if of_roles.count(one) > 1} == {"doctor"}


def weir(*arguments: str, **variables: str | None) -> Result:
    gone: dict[str, str | None] = {name: None for name in os.environ if name.startswith(("AWS_", "WEIR_"))}
    return CliRunner().invoke(main, ["policies", *arguments], env={**gone, **variables})


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a project."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


GIVEN = ("--account", ACCOUNT, "--region", REGION)


def test_printed_as_json(nowhere: Path) -> None:
    """What is printed is the policy as IAM takes it, in a folder without a project, too."""
    done = weir("reader", "--stack", STACK, *GIVEN)
    assert done.exit_code == 0, done.output
    assert [json.loads(done.stdout)] == documents.documents("reader", PLAIN)
    assert done.stderr == ""
    told = json.loads(weir("reader", "--stack", STACK, *GIVEN, "--json").stdout)
    assert told == {"name": "shop-reader", "characters": told["characters"], "policy": json.loads(done.stdout)}


def test_several_are_said_and_written_into_files(nowhere: Path) -> None:
    """Where one policy is not enough, that is said; a folder has a file for each, and none of an earlier run."""
    done = weir("deployer", "--stack", STACK, *GIVEN)
    assert "2 policies, one after the other" in done.stderr
    folder = nowhere / "policies"
    weir("deployer", "--stack", STACK, *GIVEN, "--out", "policies")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["shop-deployer-1.json", "shop-deployer-2.json"]
    written = [json.loads((folder / name).read_text()) for name in names]
    assert written == documents.documents("deployer", PLAIN)
    said = weir("deployer", "--stack", STACK, *GIVEN, "--out", "policies", "--role-arn", SERVICE_ROLE, "--json").stdout
    assert [path.name for path in folder.iterdir()] == ["shop-deployer.json"]
    assert json.loads(said)["file"] == "policies/shop-deployer.json"


def test_what_the_project_says_is_in_them(nowhere: Path) -> None:
    """Stack, Region, prefix and keys of an environment, secrets of its sources and tables of its code are named."""
    (nowhere / "pyproject.toml").write_text(
        '[tool.weir]\npackage = "oldshop"\n[tool.weir.environments.prod]\nstack = "live"\nregion = "cn-north-1"\n'
        f'parameters = {{SecretsPrefix = "/acme/live", StreamKmsKey = "{KEY}"}}\n'
    )
    (nowhere / "sources.yaml").write_text('vault: {preset: hmac, secret: "secretsmanager:acme/vault"}\n')
    (nowhere / "oldshop.py").write_text(
        'from weir import Table\nolder = Table("older", key={"id": str}, existing="older-table")\n'
    )
    done = weir("operator", "--env", "prod", "--account", ACCOUNT)
    assert done.exit_code == 0, done.output
    here = f"cn-north-1:{ACCOUNT}"
    for arn in (
        f"arn:aws-cn:dynamodb:{here}:table/live-*",
        f"arn:aws-cn:dynamodb:{here}:table/older-table",
        f"arn:aws-cn:dynamodb:{here}:table/older-table/*",
        f"arn:aws-cn:dynamodb:{here}:table/older-table-rebuild-*",
        f"arn:aws-cn:secretsmanager:{here}:secret:acme/vault-??????",
        f"arn:aws-cn:ssm:{here}:parameter/acme/live/*",
        KEY,
    ):
        assert f'"{arn}"' in done.stdout, arn
    made = [json.loads(done.stdout)]
    for action in ("CreateTable", "DescribeTable", "PutItem", "Scan", "UpdateItem", "DeleteTable"):
        assert allows(made, Need(f"dynamodb:{action}", f"arn:aws-cn:dynamodb:{here}:table/older-table-rebuild-1"))
    assert not allows(made, Need("dynamodb:DeleteTable", f"arn:aws-cn:dynamodb:{here}:table/older-table"))
    assert not allows(made, Need("dynamodb:DeleteTable", f"arn:aws-cn:dynamodb:{here}:table/live-EventsTable-1A2B"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("owner", *GIVEN), "'owner' is not one of"),
        (("reader", "--region", REGION, "--account", "1234"), "'1234' is not 12 digits"),
        (("reader", "--account", ACCOUNT), "No AWS Region is set"),
        (("reader", "--account", ACCOUNT, "--region", "mars"), "Unknown region: 'mars'"),
        (("reader", *GIVEN, "--partition", "a*"), "'a*' cannot be a name"),
        (("reader", *GIVEN, "--stack", "sh*p"), "'sh*p' cannot be a name"),
        (("reader", *GIVEN, "--set", "Nothing=1"), "The template has no parameter Nothing"),
        (("deployer", *GIVEN, "--role-arn", "arn:aws:iam::1:role/*"), "is not the ARN of a role or a policy"),
        (("deployer", *GIVEN, "--permissions-boundary", "bounds"), "is not the ARN of a role or a policy"),
    ],
)
def test_what_cannot_be_is_said(arguments: tuple[str, ...], sentence: str, nowhere: Path) -> None:
    """Wrong input ends in a sentence that names it, and prints no policy."""
    done = weir(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_without_credentials_an_account_is_asked_for(nowhere: Path) -> None:
    """Where no account is given and there are no credentials, the sentence says which option names one."""
    done = weir("reader", "--region", REGION, AWS_EC2_METADATA_DISABLED="true", AWS_SHARED_CREDENTIALS_FILE="none")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Name it: --account ID." in done.stderr


# ------------------------------------------------------------------------------------------ parliament


def test_parliament_has_nothing_against_them_without_a_reason() -> None:
    """parliament finds in the policies what has a reason here, and each reason is needed."""
    if checkers.missing():
        pytest.skip(f"the checkers of {checkers.LOCK} are not installed: {checkers.INSTALL}")
    judged: dict[str, list[tuple[str, Mapping[str, Any]]]] = {
        f"{role} {name}": [(role, _known(one)) for one in documents.documents(role, subject)]
        for role in grants.roles()
        for name, subject in SUBJECTS.items()
    }
    judged |= {action: [(action, _allowing(action))] for action in YOUNG}
    said = checkers.parliament(judged)
    assert {name for name, found in said.items() if "UNKNOWN_ACTION" in {one.rule for one in found}} == YOUNG
    found = {(one.rule, one.resource) for name, findings in said.items() if name not in YOUNG for one in findings}
    assert found == {(rule, role) for rule, roles in FOUND for role in roles}


def _known(policy: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a policy without the actions that parliament does not know."""
    kept = [{**one, "Action": [name for name in one["Action"] if name not in YOUNG]} for one in policy["Statement"]]
    return {**policy, "Statement": kept}


def _allowing(action: str) -> Mapping[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}

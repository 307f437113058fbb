"""Deploy the template to AWS or LocalStack and take it down again.

Package, upload, change set, wait, outputs: the way of `aws cloudformation package` and `deploy`, with the API
definition made for the sources file at hand.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from weir.infra import Say, lifetimes, package, template
from weir.infra.cost import first_shards
from weir.infra.outputs import Outputs
from weir.infra.place import Place
from weir.ingest.contract import routes
from weir.ingest.errors import StackFailed
from weir.ingest.handshakes import questions
from weir.ingest.sources.catalogue import SECRETS_MANAGER, SSM, Catalogue, Source

if TYPE_CHECKING:
    from types_boto3_cloudformation.literals import ChangeSetTypeType
    from types_boto3_cloudformation.type_defs import DescribeChangeSetOutputTypeDef, StackEventTypeDef
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

# Kept by the stack's deletion policies; removed only when that is asked for by name.
_STATEFUL = {"AWS::Kinesis::Stream", "AWS::DynamoDB::Table", "AWS::S3::Bucket"}
_POLL_S = 2.0
# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_ROLE_NAME_CHARS = 64
_DONE = ("COMPLETE", "FAILED")
# What is reserved for the handshake function, which answers in some milliseconds, and what Lambda keeps for functions
# that reserve nothing.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_HANDSHAKES, _UNRESERVED = 20, 100
# A stack that an update goes on from: it has tables.
_WORKING = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What a stack is made of, with keys that follow the content."""

    definition: bytes
    function: bytes
    template: bytes

    @property
    def definition_key(self) -> str:
        return f"apis/{_digest(self.definition)}.json"

    @property
    def function_key(self) -> str:
        return f"functions/{_digest(self.function)}.zip"

    @property
    def template_key(self) -> str:
        return f"templates/{_digest(self.template)}.json"


def deploy(place: Place, catalogue: Catalogue, given: Mapping[str, str], *, cache: Path, say: Say) -> Outputs:
    """Create or update the stack and return its outputs.

    ``given`` are template parameters by name. Repeatable: what is there already is left alone.

    Raises: StackFailed with CloudFormation's own reason.
    """
    try:
        return _deploy(place, catalogue, given, cache=cache, say=say)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: {error}") from error


def destroy(place: Place, *, delete_data: bool, say: Say) -> list[str]:
    """Delete the stack; return the names of what was kept because it holds data.

    With ``delete_data`` stream, tables and bucket go too, for good.

    Raises: StackFailed with CloudFormation's own reason.
    """
    try:
        return _destroy(place, delete_data=delete_data, say=say)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: {error}") from error


def _deploy(place: Place, catalogue: Catalogue, given: Mapping[str, str], *, cache: Path, say: Say) -> Outputs:
    account, region = place.account(), place.region
    architecture = given.get("Architecture") or _architecture(place)
    say(f"deploying stack {place.stack} to {place.label} (account {account}, {region})")
    made = _artifacts(place, catalogue, account, architecture, cache)
    say(f"  function package {len(made.function):,} bytes, API definition {len(made.definition):,} bytes")
    bucket = _artifact_bucket(place, account)
    for key, content in (
        (made.definition_key, made.definition),
        (made.function_key, made.function),
        (made.template_key, made.template),
    ):
        _upload(place, bucket, key, content, say)
    values = {
        **sources_parameters(catalogue, partition=place.partition, region=place.region, account=account),
        **reserved(place, catalogue),
        **given,
        "ArtifactBucket": bucket,
        "ApiDefinitionKey": made.definition_key,
        "FunctionKey": made.function_key,
        "Architecture": architecture,
    }
    checked = template.parameters(template.load(), values)
    say(f"  {_concurrency(checked)}")
    _check_record_age(checked)
    lifetimes.check(catalogue, checked)
    for line in lifetimes.summary(catalogue, checked):
        say(f"  {line}")
    began_ms, is_there = round(time.time() * 1000), _status(place) in _WORKING
    if is_there:
        lifetimes.record_before(place, _data_bucket(place), catalogue)
    if _apply(place, _template_url(place, bucket, made.template_key), values, say):
        _fix_emulator(place, json.loads(made.definition))
    lifetimes.record_after(place, _data_bucket(place), catalogue, made_ms=None if is_there else began_ms)
    return place.outputs()


def _artifacts(place: Place, catalogue: Catalogue, account: str, architecture: str, cache: Path) -> Artifacts:
    role_name = f"{place.stack}-{place.region}-gateway"
    if len(role_name) > _ROLE_NAME_CHARS:
        raise StackFailed(f"--stack {place.stack} is too long: {role_name} may have {_ROLE_NAME_CHARS} characters.")
    role = f"arn:{place.partition}:iam::{account}:role/{role_name}"
    function_arn = f"arn:{place.partition}:lambda:{place.region}:{account}:function:{place.stack}-handshake"
    substitutions = {
        "partition": place.partition,
        "region": place.region,
        "credentials": role,
        "handshake_function": function_arn,
    }
    definition = routes.render(routes.api_definition(catalogue, substitutions))
    ready = template.prepare(template.load(), definition, throttles(catalogue), readers(catalogue))
    if place.emulated:
        _retain_on_emulator(ready)
    function = package.build(
        catalogue.dump(), architecture=architecture, cache=cache, requirements=_extra_requirements(catalogue)
    )
    return Artifacts(definition, function, json.dumps(ready, indent=1).encode("utf-8"))


def _retain_on_emulator(ready: Mapping[str, Any]) -> None:
    """Say Retain where the template says RetainExceptOnCreate, which LocalStack 4.14 takes for Delete."""
    for resource in ready["Resources"].values():
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
            resource["DeletionPolicy"] = "Retain"


def sources_parameters(catalogue: Catalogue, *, partition: str, region: str, account: str) -> dict[str, str]:
    """Return the template's parameters that follow from the sources: what they need, and the rights to it."""
    here = f"arn:{partition}:secretsmanager:{region}:{account}:secret:"
    # Secrets Manager adds a hyphen and six characters to the name in an ARN.

    def arns(sources: Iterable[Source]) -> str:
        names = {one.secret.removeprefix(SECRETS_MANAGER) for one in sources if one.secret != SSM}
        return ",".join(sorted(name if name.startswith("arn:") else f"{here}{name}-??????" for name in names))

    asked = any(source.methods_by_function for source in catalogue.values())
    return {
        "SecretsManagerArns": arns(catalogue.values()),
        "HandshakeSecretsManagerArns": arns(one for one in catalogue.values() if _answers_with_secret(one)),
        "HandshakeFunction": "true" if asked else "false",
    }


def readers(catalogue: Catalogue) -> dict[str, list[str]]:
    """Return, by the role of each function that reads secrets, the sources whose parameters it reads."""
    kept = {name: source for name, source in catalogue.items() if source.secret == SSM}
    asked = [name for name, source in kept.items() if _answers_with_secret(source)]
    return {"ConsumerRole": list(kept), "HandshakeRole": asked}


def _answers_with_secret(source: Source) -> bool:
    asked = (one for one in source.handshakes if one.match.method in source.methods_by_function)
    return any(questions.needs_secret(handshake) for handshake in asked)


def reserved(place: Place, catalogue: Catalogue) -> dict[str, str]:
    """Return the concurrency to reserve for the handshake function: none where the account has too little.

    An emulator has no other functions that could be in want of it.
    """
    if place.emulated or not any(source.methods_by_function for source in catalogue.values()):
        return {}
    functions = place.client("lambda")
    left = functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    try:
        own = functions.get_function_concurrency(FunctionName=f"{place.stack}-handshake")
        left += own.get("ReservedConcurrentExecutions", 0)
    except functions.exceptions.ResourceNotFoundException:
        pass  # the first deployment
    return {"HandshakeConcurrency": str(_HANDSHAKES if left >= _UNRESERVED + _HANDSHAKES else 0)}


def throttles(catalogue: Catalogue) -> dict[str, tuple[float, int]]:
    """Return (requests per second, burst) of each source that has a throttle."""
    return {
        name: (source.throttle.rate_per_s, source.throttle.burst)
        for name, source in catalogue.items()
        if source.throttle is not None
    }


def _extra_requirements(catalogue: Catalogue) -> tuple[str, ...]:
    asymmetric = any(source.needs_cryptography for source in catalogue.values())
    return ("function-crypto.txt",) if asymmetric else ()


def _architecture(place: Place) -> str:
    """LocalStack runs functions on this machine's processor; AWS' arm64 costs a fifth less."""
    if not place.emulated:
        return "arm64"
    return "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"


def _concurrency(values: Mapping[str, str]) -> str:
    """Say how many batches the consumer takes at once. Raises: StackFailed if less than that is reserved for it."""
    factor, reserved_count = int(values["ParallelizationFactor"]), int(values["ConsumerConcurrency"])
    shards = first_shards(values)
    text = f"{shards} shards x {factor} = {shards * factor} batches at once"
    if 0 < reserved_count < shards * factor:
        raise StackFailed(
            f"ConsumerConcurrency={reserved_count} is too low for {text}: Lambda would throttle the rest."
        )
    return f"consumer: {text}" + ("; an on-demand stream may grow" if values["StreamMode"] == "ON_DEMAND" else "")


def _check_record_age(values: Mapping[str, str]) -> None:
    age_s, retention_s = int(values["MaxRecordAgeSeconds"]), int(values["RetentionHours"]) * 3600
    if age_s >= retention_s:
        raise StackFailed(
            "MaxRecordAgeSeconds must be below RetentionHours: a record would expire before it is given up and kept.",
            max_record_age_s=age_s,
            retention_s=retention_s,
        )


# ---------------------------------------------------------------------------------------------- uploads


def _artifact_bucket(place: Place, account: str) -> str:
    name = f"weir-artifacts-{account}-{place.region}"
    s3 = place.client("s3")
    try:
        # The name can be guessed: code must not come from a bucket that somebody else made under it.
        s3.head_bucket(Bucket=name, ExpectedBucketOwner=account)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "403":
            raise StackFailed(
                f"The bucket {name} belongs to another account, or your credentials may not use it."
            ) from error
        if code not in {"404", "NoSuchBucket"}:
            raise
        where: Any = {"LocationConstraint": place.region}  # its types list the Regions that they know
        if place.region == "us-east-1":
            s3.create_bucket(Bucket=name)
        else:
            s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
        s3.put_public_access_block(
            Bucket=name,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
    _demand_tls(place, name)
    return name


def _demand_tls(place: Place, bucket: str) -> None:
    """Let the bucket refuse what does not come over TLS; a policy that it has already is left alone."""
    s3 = place.client("s3")
    try:
        s3.get_bucket_policy(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
            raise
        arn = f"arn:{place.partition}:s3:::{bucket}"
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(tls_only(arn)))


def tls_only(bucket_arn: str) -> dict[str, Any]:
    """Return the policy of a bucket that refuses what does not come over TLS."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _upload(place: Place, bucket: str, key: str, content: bytes, say: Say) -> None:
    s3 = place.client("s3")
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
            raise
        s3.put_object(Bucket=bucket, Key=key, Body=content)
        say(f"  uploaded s3://{bucket}/{key}")


def _template_url(place: Place, bucket: str, key: str) -> str:
    if place.emulated:
        return f"{place.endpoint}/{bucket}/{key}"
    suffix = "amazonaws.com.cn" if place.partition == "aws-cn" else "amazonaws.com"
    return f"https://{bucket}.s3.{place.region}.{suffix}/{key}"


# ---------------------------------------------------------------------------------------------- the stack


def _apply(place: Place, template_url: str, values: Mapping[str, str], say: Say) -> bool:
    """Make and execute a change set; return False when there is nothing to change."""
    cloudformation = place.client("cloudformation")
    before = _status(place)
    if before == "ROLLBACK_COMPLETE":  # a first creation that failed can only be deleted
        _delete_stack(place, say)
        before = None
    kind: ChangeSetTypeType = "CREATE" if before in {None, "REVIEW_IN_PROGRESS"} else "UPDATE"
    name = f"weir-{int(time.time())}"
    cloudformation.create_change_set(
        StackName=place.stack,
        ChangeSetName=name,
        ChangeSetType=kind,
        TemplateURL=template_url,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    )
    change_set = _wait_for_change_set(place, name)
    if change_set is None:
        cloudformation.delete_change_set(StackName=place.stack, ChangeSetName=name)
        say("  nothing to change")
        return False
    for change in change_set.get("Changes", []):
        resource = change["ResourceChange"]
        say(f"  {resource['Action'].lower():8} {resource['ResourceType']:42} {resource['LogicalResourceId']}")
    cloudformation.execute_change_set(StackName=place.stack, ChangeSetName=name)
    status = _follow(place, say)
    if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        raise StackFailed(f"stack {place.stack} ended in {status}", reasons=_reasons(place))
    return True


def _wait_for_change_set(place: Place, name: str) -> DescribeChangeSetOutputTypeDef | None:
    cloudformation = place.client("cloudformation")
    while True:
        found = cloudformation.describe_change_set(StackName=place.stack, ChangeSetName=name)
        if found["Status"] == "CREATE_COMPLETE":
            return found
        if found["Status"] == "FAILED":
            reason = found.get("StatusReason", "")
            if "didn't contain changes" in reason or "No updates" in reason:
                return None
            raise StackFailed(f"the change set was refused: {reason}")
        time.sleep(_POLL_S)


def _follow(place: Place, say: Say) -> str:
    """Print each event once until the stack rests; return its status."""
    seen: set[str] = set()
    started = time.time() - 5
    while True:
        status = _status(place) or "DELETE_COMPLETE"
        for event in _new_events(place, seen, started):
            reason = event.get("ResourceStatusReason", "")
            say(f"  {event['ResourceStatus']:28} {event['LogicalResourceId']} {reason}".rstrip())
        if status.endswith(_DONE) and not status.endswith("CLEANUP_IN_PROGRESS"):
            return status
        time.sleep(0.5 if place.emulated else _POLL_S)


def _new_events(place: Place, seen: set[str], since_s: float) -> Iterator[StackEventTypeDef]:
    try:
        answer = place.client("cloudformation").describe_stack_events(StackName=place.stack)
    except ClientError:  # the stack is gone
        return
    for event in reversed(answer["StackEvents"]):
        if event["EventId"] not in seen and event["Timestamp"].timestamp() >= since_s:
            seen.add(event["EventId"])
            yield event


def _status(place: Place) -> str | None:
    try:
        stacks = place.client("cloudformation").describe_stacks(StackName=place.stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return str(stacks[0]["StackStatus"]) if stacks else None


def _reasons(place: Place) -> list[str]:
    events = place.client("cloudformation").describe_stack_events(StackName=place.stack)["StackEvents"]
    return [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("FAILED")
    ][:5]


def _fix_emulator(place: Place, definition: Mapping[str, Any]) -> None:
    """Put the gateway responses that LocalStack 4.14 leaves out when it imports an OpenAPI document."""
    if not place.emulated:
        return
    gateway, api = place.client("apigateway"), place.outputs().api_id
    for kind, response in definition["x-amazon-apigateway-gateway-responses"].items():
        status = {"statusCode": str(response["statusCode"])} if "statusCode" in response else {}
        gateway.put_gateway_response(
            restApiId=api,
            responseType=kind,
            responseParameters=response.get("responseParameters", {}),
            responseTemplates=response["responseTemplates"],
            **status,
        )
    variables = gateway.get_stage(restApiId=api, stageName="live").get("variables", {})
    gateway.create_deployment(restApiId=api, stageName="live", variables=variables)


# ---------------------------------------------------------------------------------------------- destroying


def _destroy(place: Place, *, delete_data: bool, say: Say) -> list[str]:
    if _status(place) is None:
        raise StackFailed(f"There is no stack {place.stack} in {place.label}.")
    stateful = _stateful(place)
    if delete_data:
        for kind, name in stateful:
            _unprotect(place, kind, name)
    _delete_stack(place, say)
    kept = [(kind, name) for kind, name in stateful if _exists(place, kind, name)]
    if not delete_data:
        return [f"{kind} {name}" for kind, name in kept]
    for kind, name in kept:
        say(f"  deleting {kind} {name}")
        _delete_resource(place, kind, name)
    return []


def _delete_stack(place: Place, say: Say) -> None:
    place.client("cloudformation").delete_stack(StackName=place.stack)
    status = _follow(place, say)
    if status != "DELETE_COMPLETE":
        raise StackFailed(f"stack {place.stack} ended in {status}", reasons=_reasons(place))


def _stateful(place: Place) -> list[tuple[str, str]]:
    pages = place.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=place.stack)
    return [
        (resource["ResourceType"], resource["PhysicalResourceId"])
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] in _STATEFUL and resource.get("PhysicalResourceId")
    ]


def _data_bucket(place: Place) -> str:
    """Return the bucket of a stack of any version, whose outputs need not be those of this one."""
    return next(name for kind, name in _stateful(place) if kind == "AWS::S3::Bucket")


def _unprotect(place: Place, kind: str, name: str) -> None:
    if kind == "AWS::DynamoDB::Table":
        place.client("dynamodb").update_table(TableName=name, DeletionProtectionEnabled=False)
    if kind == "AWS::S3::Bucket":
        s3 = place.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            keys: list[ObjectIdentifierTypeDef] = [{"Key": item["Key"]} for item in page.get("Contents", [])]
            if keys:
                s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})


def _exists(place: Place, kind: str, name: str) -> bool:
    probes: dict[str, Callable[[], object]] = {
        "AWS::Kinesis::Stream": lambda: place.client("kinesis").describe_stream_summary(StreamName=name),
        "AWS::DynamoDB::Table": lambda: place.client("dynamodb").describe_table(TableName=name),
        "AWS::S3::Bucket": lambda: place.client("s3").head_bucket(Bucket=name),
    }
    try:
        probes[kind]()
    except ClientError as error:
        if error.response["Error"]["Code"] in {"ResourceNotFoundException", "404", "NoSuchBucket"}:
            return False
        raise
    return True


def _delete_resource(place: Place, kind: str, name: str) -> None:
    if kind == "AWS::Kinesis::Stream":
        place.client("kinesis").delete_stream(StreamName=name, EnforceConsumerDeletion=True)
    elif kind == "AWS::DynamoDB::Table":
        place.client("dynamodb").delete_table(TableName=name)
    else:
        place.client("s3").delete_bucket(Bucket=name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]

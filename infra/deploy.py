"""Deploy the template to AWS or LocalStack: synth, upload, change set, wait, outputs."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from weir.infra import Say, adopt, lifetimes, parameters, synth, template
from weir.infra.business import Business
from weir.infra.change_sets import Confirm, Options, apply, settle
from weir.infra.cost import first_shards
from weir.infra.destroy import data_bucket
from weir.infra.outputs import Outputs
from weir.infra.place import Place
from weir.infra.synth import Target
from weir.infra.uploads import artifact_bucket, publish, template_url, upload
from weir.ingest.errors import StackFailed
from weir.ingest.sources.catalogue import Catalogue

# What is reserved for the handshake function, which answers in some milliseconds, and what Lambda keeps for functions
# that reserve nothing.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_HANDSHAKES, _UNRESERVED = 20, 100
# A parameter's value may have so many.
_PARAMETER_CHARS = 4096
# So many are named in one role's own policy, however long their names are.
_FEW_SOURCES = 10


class Wanted(NamedTuple):
    """What to deploy with: parameters of the template, options of the change set, a boundary of the roles.

    ``at_first``: parameters of a stack that is not there yet, under ``given``. ``adopt``: data that is there already.
    """

    given: Mapping[str, str] = {}
    options: Options = Options()
    boundary: str = ""
    at_first: Mapping[str, str] = {}
    adopt: adopt.Wish | None = None


def deploy(
    place: Place,
    catalogue: Catalogue,
    business: Business,
    wanted: Wanted,
    *,
    cache: Path,
    say: Say,
    confirm: Confirm = lambda _: True,
) -> Outputs:
    """Create or update the stack and return its outputs. Repeatable: what is there already is left alone.

    A parameter that is not given keeps the value that the stack has: a template's default would put back, unasked, what
    an earlier deployment has set. What changes is said by name.

    Raises: StackFailed with CloudFormation's own reason; NotConfirmed when ``confirm``, shown the changes, says no.
    """
    try:
        return _deploy(place, catalogue, business, wanted, cache=cache, say=say, confirm=confirm)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: {error}") from error


def _deploy(
    place: Place,
    catalogue: Catalogue,
    business: Business,
    wanted: Wanted,
    *,
    cache: Path,
    say: Say,
    confirm: Confirm,
) -> Outputs:
    present = adopt.present(place, settle(place, say), wanted.adopt)
    have = present.parameters
    target = target_of(place, wanted.boundary)
    given = {**({} if have else wanted.at_first), **wanted.given}
    architecture = given.get("Architecture") or have.get("Architecture") or architecture_of(place)
    say(f"deploying stack {place.stack} to {place.label} (account {target.account}, {target.region})")
    made = _synthesize(target, catalogue, business, architecture=architecture, cache=cache, say=say)
    ready = json.loads(made.template)
    taken = adopt.find(place, wanted.adopt, present, ready, say)
    bucket = artifact_bucket(place, target.account)
    made_of = synth.parameters_of(target, catalogue, business, made, bucket=bucket, architecture=architecture)
    values = parameters.choose({**taken.parameters, **made_of, **reserved(place, catalogue, have), **given}, have)
    parameters.check_together(values.all, emulated=place.emulated)
    check(catalogue, values.all, say)
    parameters.check_there(place, values, have)
    for line in parameters.told(values, have, unsaid=set(made_of)):
        say(f"  {line}")
    adopt.examine(place, taken, ready, values.all, say)
    for key, content in {**made.uploads, made.template_key: made.template}.items():
        upload(place, bucket, key, content, say)
    began_ms, held = round(time.time() * 1000), {**present.holds, **taken.found}
    if "Bucket" in held:
        lifetimes.record_before(place, held["Bucket"].name, catalogue)
    step = adopt.Step(wanted.options, values.passed(), partial(publish, place, bucket, say), say, confirm)
    adopt.take_up(place, taken, ready, step)
    url = template_url(place, bucket, made.template_key)
    if apply(place, url, values.passed(), wanted.options, say=say, confirm=confirm, keeps=taken.found):
        _fix_emulator(place, json.loads(made.definition))
    lifetimes.record_after(place, data_bucket(place), catalogue, made_ms=None if "EventsTable" in held else began_ms)
    return _told(place, say)


def _told(place: Place, say: Say) -> Outputs:
    """Return the outputs of the stack, and say whom its alarms reach."""
    outputs = place.outputs()
    say(f"  alarms: {alarms_told(place, outputs)}")
    return outputs


def _synthesize(
    target: Target, catalogue: Catalogue, business: Business, *, architecture: str, cache: Path, say: Say
) -> synth.Artifacts:
    """Return the parts of a stack, and say how large they are."""
    made = synth.synthesize(target, catalogue, business, architecture=architecture, cache=cache)
    say(f"  function package {len(made.function):,} bytes, API definition {len(made.definition):,} bytes")
    added = synth.own_dependencies(catalogue, business, architecture=architecture, cache=cache)
    for name, size in sorted(added.items()):
        say(f"  own dependency {name}: {size:,} bytes unpacked")
    return made


def alarms_told(place: Place, outputs: Outputs) -> str:
    """Return in a sentence whom the alarms of the stack reach."""
    if outputs.alarm_topic is None:
        return "to the topic that AlarmTopicArn names"
    try:
        pages = place.client("sns").get_paginator("list_subscriptions_by_topic")
        found = [one for page in pages.paginate(TopicArn=outputs.alarm_topic) for one in page["Subscriptions"]]
    except ClientError as error:  # a role that may deploy need not be allowed to ask
        return f"to {outputs.alarm_topic}; whether anyone reads it is not known: {error}"
    if not found:
        return "they reach no one yet; deploy with --set AlarmEmail=you@example.com, or subscribe to the topic"
    waiting = [one["Endpoint"] for one in found if not one["SubscriptionArn"].startswith("arn:")]
    if waiting:
        return f"{', '.join(waiting)} must confirm the mail from AWS first"
    return f"to {', '.join(one['Endpoint'] for one in found)}"


def target_of(place: Place, boundary: str = "") -> Target:
    """Return what a stack at a place is made for."""
    return Target(place.stack, place.account(), place.region, place.partition, place.emulated, boundary)


def check(catalogue: Catalogue, values: Mapping[str, str], say: Say) -> None:
    """Say what the parameters mean together. Raises: ParameterInvalid; StackFailed for what cannot go well."""
    checked = template.parameters(template.load(), values)
    parameters.check_together(checked)
    say(f"  {_concurrency(checked)}")
    _check_record_age(checked)
    _check_secrets(catalogue, checked)
    lifetimes.check(catalogue, checked)
    for line in lifetimes.summary(catalogue, checked):
        say(f"  {line}")


def reserved(place: Place, catalogue: Catalogue, have: Mapping[str, str] = {}) -> dict[str, str]:
    """Return the concurrency to reserve for the handshake function: none where the account has too little.

    An emulator has no other functions that could be in want of it; a stack that has the function keeps what it has.
    """
    if place.emulated or not any(source.methods_by_function for source in catalogue.values()):
        return {}
    if have.get("HandshakeFunction") == "true":
        return {}
    functions = place.client("lambda")
    left = functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    try:
        own = functions.get_function_concurrency(FunctionName=f"{place.stack}-handshake")
        left += own.get("ReservedConcurrentExecutions", 0)
    except functions.exceptions.ResourceNotFoundException:
        pass  # the first deployment
    return {"HandshakeConcurrency": str(_HANDSHAKES if left >= _UNRESERVED + _HANDSHAKES else 0)}


def architecture_of(place: Place) -> str:
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


def _check_secrets(catalogue: Catalogue, values: Mapping[str, str]) -> None:
    """Refuse what IAM or CloudFormation would only refuse in the middle of the update.

    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    """
    prefix = values["SecretsPrefix"]
    if len(prefix) > template.MAX_PREFIX_CHARS and len(catalogue) > _FEW_SOURCES:
        raise StackFailed(
            f"SecretsPrefix={prefix}: with more than {_FEW_SOURCES} sources it may have {template.MAX_PREFIX_CHARS} "
            "characters, or the policies that name each source's parameter grow too long."
        )
    for name in ("SecretsManagerArns", "HandshakeSecretsManagerArns"):
        if len(values[name]) > _PARAMETER_CHARS:
            raise StackFailed(
                f"The ARNs of {values[name].count(',') + 1} secrets in Secrets Manager are longer than a parameter "
                f"may be ({_PARAMETER_CHARS} characters): keep some of the sources' secrets in SSM."
            )


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

"""The parameters of a deployment: what is given, what follows from the project, and what the stack has already."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any, NamedTuple

from weir.infra import template
from weir.infra.place import Place
from weir.ingest.errors import StackFailed

# Source: https://docs.aws.amazon.com/waf/latest/APIReference/API_RateBasedStatement.html
_WAF_LEAST = 10


class Values(NamedTuple):
    """``given`` is passed on; ``kept`` names what keeps the stack's value; ``all`` has every parameter's value."""

    given: Mapping[str, str]
    kept: Mapping[str, str]
    all: Mapping[str, str]

    def passed(self) -> dict[str, str | None]:
        """Return the parameters of a change set; one that is None keeps its value."""
        return {**dict.fromkeys(self.kept), **self.given}


def choose(given: Mapping[str, str], have: Mapping[str, str]) -> Values:
    """Return the parameters of a stack that has ``have``. What is not given keeps its value, if it is still declared.

    CloudFormation would take the template's default for a parameter that an update does not name.
    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Parameter.html (UsePreviousValue)

    Raises: ParameterInvalid.
    """
    loaded = template.load()
    kept = {name: value for name, value in have.items() if name in loaded["Parameters"] and name not in given}
    return Values(given, kept, template.parameters(loaded, {**kept, **given}))


def told(values: Values, have: Mapping[str, str], *, unsaid: Set[str]) -> Iterator[str]:
    """Yield what changes, by name, and what is kept although it is not the template's default."""
    if not have:
        return
    usual = template.defaults(template.load())
    for name, value in sorted(values.all.items()):
        before = have.get(name, usual.get(name, value))
        if name not in unsaid and value != before:
            yield f"{name}: {before or 'nothing'} -> {value or 'nothing'}{_warning(name, before, value)}"
    kept = {name: value for name, value in values.kept.items() if value != usual.get(name, value)}
    if kept:
        yield "as it was: " + ", ".join(f"{name}={value}" for name, value in sorted(kept.items()))


def check_together(values: Mapping[str, str], *, emulated: bool = False) -> None:
    """Refuse parameters that only mean something with another one, or elsewhere. Raises: StackFailed."""
    needs = {
        "CertificateArn": "DomainName",
        "BasePath": "DomainName",
        "TruststoreUri": "CertificateArn",
    }
    for name, needed in needs.items():
        if values[name] and not values[needed]:
            raise StackFailed(f"{name} means nothing without {needed}: give that, too.")
    if values["DefaultEndpoint"] == "disabled" and not values["DomainName"]:
        raise StackFailed("DefaultEndpoint=disabled without DomainName: nothing would answer. Give a domain.")
    if values["TruststoreUri"] and values["DefaultEndpoint"] != "disabled":
        raise StackFailed("TruststoreUri needs DefaultEndpoint=disabled: that address demands no client certificate.")
    if values["WebAclArn"] and values["WafRequestsPerIp"] != "0":
        raise StackFailed("WebAclArn and WafRequestsPerIp: an API has one web ACL. Put the rate rule into your own.")
    if emulated and (values["WebAclArn"] or values["WafRequestsPerIp"] != "0"):
        raise StackFailed("LocalStack has no AWS WAF: deploy there without WebAclArn and WafRequestsPerIp.")
    if 0 < int(values["WafRequestsPerIp"]) < _WAF_LEAST:
        raise StackFailed(f"WafRequestsPerIp={values['WafRequestsPerIp']}: AWS WAF takes no less than {_WAF_LEAST}.")


def check_there(place: Place, values: Values, have: Mapping[str, str]) -> None:
    """Refuse what AWS would only refuse in the middle of the update. Raises: StackFailed."""
    check_shards(place, values, have)
    check_key(place, values, have)


def check_shards(place: Place, values: Values, have: Mapping[str, str]) -> None:
    """Refuse a number of shards that Kinesis would refuse in the middle of the update. Raises: StackFailed.

    Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html
    """
    shape = ("StreamMode", "ShardCount")
    if not have or values.all["StreamMode"] != "PROVISIONED" or all(values.all[one] == have.get(one) for one in shape):
        return
    stream = place.client("kinesis").describe_stream_summary(StreamName=place.outputs().stream_name)
    now, wanted = stream["StreamDescriptionSummary"]["OpenShardCount"], int(values.all["ShardCount"])
    low, high = (now + 1) // 2, now * 2
    if not low <= wanted <= high:
        raise StackFailed(
            f"ShardCount={wanted}: the stream has {now} open shards, and one update may go to {low} at least and "
            f"{high} at most. Deploy with --set ShardCount={low if wanted < low else high} first."
        )


def check_key(place: Place, values: Values, have: Mapping[str, str]) -> None:
    """Refuse a key of one's own that some of the stack's services could not use; an update would fail half way.

    The roles of the stack have their rights by IAM. Services that act by themselves must be in the key's policy.
    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    Source: https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html

    Raises: StackFailed.
    """
    arn = values.all["DataKmsKey"]
    if not arn or arn == have.get("DataKmsKey"):
        return
    if arn.split(":")[3] != place.region:
        raise StackFailed(f"DataKmsKey is a key of {arn.split(':')[3]}, and the stack is in {place.region}.")
    keys = place.client("kms")
    found = keys.describe_key(KeyId=arn)["KeyMetadata"]
    if found["KeyState"] != "Enabled" or found.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
        raise StackFailed(
            f"DataKmsKey is {found['KeyState']}, {found.get('KeySpec')}: it must be enabled and symmetric."
        )
    policy = json.loads(keys.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
    if missing := sorted(one for one in _key_users(place.region) if not lets_in(policy, one)):
        raise StackFailed(
            f"The policy of DataKmsKey does not let {', '.join(missing)} in. "
            "docs/production.md has the statement to add."
        )


def _key_users(region: str) -> set[str]:
    """Return the services that use the key by themselves: logs, S3 for its notices, CloudWatch for the alarms."""
    return {f"logs.{region}.amazonaws.com", "s3.amazonaws.com", "cloudwatch.amazonaws.com"}


def lets_in(policy: Mapping[str, Any], service: str) -> bool:
    """Tell whether a statement of a key's policy allows a service anything; its conditions are not judged."""
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    for statement in statements:
        principal = statement.get("Principal")
        named = principal.get("Service", []) if isinstance(principal, dict) else []
        if statement["Effect"] == "Allow" and (
            principal == "*" or service in ([named] if isinstance(named, str) else named)
        ):
            return True
    return False


def _shorter(before: str, after: str) -> bool:
    return float(after) < float(before)


def _always(_before: str, _after: str) -> bool:
    return True


# What a change does to what is stored, or to what works: by parameter, when, and in words.
_WARNINGS: dict[str, tuple[Callable[[str, str], bool], str]] = {
    "RetentionHours": (_shorter, "the stream drops at once what is older"),
    "ArchiveDays": (_shorter, "S3 deletes at its next run what is older"),
    "FailureDays": (_shorter, "S3 deletes at its next run what is older"),
    "DataKmsKey": (_always, "what is stored already keeps its key in S3 and in the logs; that key must stay"),
    "SecretsPrefix": (_always, "every source needs its secrets there: `weir secrets list`"),
    "AlarmTopicArn": (_always, "who read the topic before hears no alarm from now on"),
    "ArchiveMode": (_always, "the archive has a gap for as long as it is none"),
}


def _warning(name: str, before: str, after: str) -> str:
    applies, text = _WARNINGS.get(name, (_always, ""))
    return f" ({text})" if text and applies(before, after) else ""

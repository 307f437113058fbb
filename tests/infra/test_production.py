"""What a production team sets by parameter: a domain, a web ACL, hot keys; and what means nothing together."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from weir.consumers.batch.metrics import UNITS
from weir.consumers.business.tables import Table
from weir.infra import parameters, tables, template
from weir.infra.tables import TableResource
from weir.ingest.errors import StackFailed

GIVEN = {"ArtifactBucket": "a", "ApiDefinitionKey": "b", "FunctionKey": "c"}
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
ACL = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/own/1"
OPTIONAL = {
    "AWS::ApiGateway::DomainName",
    "AWS::ApiGateway::BasePathMapping",
    "AWS::WAFv2::WebACL",
    "AWS::WAFv2::WebACLAssociation",
}


class Made:
    """What the template makes of parameters; a property is evaluated when it is asked for."""

    def __init__(self, **given: str) -> None:
        ready = template.load()
        own = Table("orders", key={"id": str})
        tables.expand(
            ready, [TableResource("orders", own.described(), billing="", existing="", real_name="")], emulated=False
        )
        values = template.parameters(ready, {**GIVEN, **given})
        self._scope = template._Scope(ready, values, "weir", "eu-west-1", "123456789012")
        self._ready = ready

    def types(self) -> list[str]:
        resources = self._ready["Resources"].items()
        return [spec["Type"] for name, spec in resources if self._scope.exists(name)]

    def has(self, name: str) -> bool:
        return self._scope.exists(name)

    def get(self, name: str, key: str) -> Any:
        """Return a property of a resource; None if it has none."""
        assert self.has(name)
        properties = self._ready["Resources"][name]["Properties"]
        return self._scope.value({key: properties[key]}).get(key) if key in properties else None

    def tables(self) -> list[str]:
        resources = self._ready["Resources"].items()
        return [name for name, spec in resources if spec["Type"] == "AWS::DynamoDB::Table"]

    def outputs(self) -> set[str]:
        outputs = self._ready["Outputs"].items()
        return {name for name, spec in outputs if self._scope.holds(spec.get("Condition"))}

    def endpoint(self) -> str:
        return str(self._scope.value(self._ready["Outputs"]["Endpoint"]["Value"]))


def test_by_default_there_is_nothing_of_it() -> None:
    made = Made()
    assert OPTIONAL.isdisjoint(made.types())
    assert made.get("Api", "DisableExecuteApiEndpoint") is False
    assert ".execute-api.eu-west-1." in made.endpoint()
    assert "DomainTarget" not in made.outputs()


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [({}, "https://hooks.example.com/v1"), ({"BasePath": "shop"}, "https://hooks.example.com/shop/v1")],
)
def test_the_urls_are_the_domain_s(given: dict[str, str], endpoint: str) -> None:
    """With a certificate the stack makes the domain; without, one that is there is mapped. The URLs are the same."""
    made = Made(DomainName="hooks.example.com", CertificateArn=CERTIFICATE, **given)
    assert made.outputs() >= {"DomainTarget", "DomainTargetZone"}
    assert made.get("Domain", "RegionalCertificateArn") == CERTIFICATE
    mapped = Made(DomainName="hooks.example.com", **given)
    assert not mapped.has("Domain")
    assert mapped.get("DomainMapping", "DomainName") == "hooks.example.com"
    for one in (made, mapped):
        assert one.endpoint() == endpoint
        assert one.get("DomainMapping", "BasePath") == given.get("BasePath")


@pytest.mark.parametrize(("policy", "mode"), [("TLS_1_2", None), ("SecurityPolicy_TLS13_1_3_2025_09", "BASIC")])
def test_tls_and_client_certificates(policy: str, mode: str | None) -> None:
    made = Made(
        DomainName="hooks.example.com",
        CertificateArn=CERTIFICATE,
        SecurityPolicy=policy,
        TruststoreUri="s3://trust/ca.pem",
        DefaultEndpoint="disabled",
    )
    assert made.get("Domain", "SecurityPolicy") == policy
    assert made.get("Domain", "EndpointAccessMode") == mode
    assert made.get("Domain", "MutualTlsAuthentication") == {"TruststoreUri": "s3://trust/ca.pem"}
    assert made.get("Api", "DisableExecuteApiEndpoint") is True


def test_an_api_has_one_web_acl() -> None:
    made = Made(WafRequestsPerIp="2000")
    (rule,) = made.get("WebAcl", "Rules")
    assert rule["Statement"]["RateBasedStatement"]["Limit"] == 2000
    assert made.types().count("AWS::WAFv2::WebACLAssociation") == 1
    own = Made(WebAclArn=ACL)
    assert not own.has("WebAcl")
    assert own.types().count("AWS::WAFv2::WebACLAssociation") == 1
    assert own.get("OwnWebAclAssociation", "WebACLArn") == ACL


@pytest.mark.parametrize(("given", "shown"), [({}, None), ({"ContributorInsights": "on"}, {"Enabled": True})])
def test_hot_keys_are_shown_of_every_table(given: dict[str, str], shown: object) -> None:
    made = Made(**given)
    assert len(made.tables()) == 2
    assert [made.get(name, "ContributorInsightsSpecification") for name in made.tables()] == [shown, shown]


@pytest.mark.parametrize(
    "given",
    [
        {"CertificateArn": CERTIFICATE},
        {"BasePath": "shop"},
        {"DomainName": "hooks.example.com", "TruststoreUri": "s3://trust/ca.pem", "DefaultEndpoint": "disabled"},
        {"DomainName": "hooks.example.com", "CertificateArn": CERTIFICATE, "TruststoreUri": "s3://trust/ca.pem"},
        {"DefaultEndpoint": "disabled"},
        {"WebAclArn": ACL, "WafRequestsPerIp": "100"},
        {"WafRequestsPerIp": "9"},
    ],
)
def test_what_means_nothing_together_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(StackFailed):
        parameters.check_together(parameters.choose({**GIVEN, **given}, {}).all)


@pytest.mark.parametrize("given", [{"WafRequestsPerIp": "100"}, {"WebAclArn": ACL}])
def test_an_emulator_without_a_firewall_says_so(given: dict[str, str]) -> None:
    values = parameters.choose({**GIVEN, **given}, {}).all
    parameters.check_together(values)
    with pytest.raises(StackFailed, match="LocalStack has no AWS WAF"):
        parameters.check_together(values, emulated=True)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"DomainName": "hooks.example.com"},
        {"DomainName": "a-b.example.co.uk", "BasePath": "shop", "DefaultEndpoint": "disabled"},
        {"WafRequestsPerIp": "10"},
        {"WebAclArn": ACL},
    ],
)
def test_what_fits_together_is_taken(given: dict[str, str]) -> None:
    parameters.check_together(parameters.choose({**GIVEN, **given}, {}).all)


@pytest.mark.parametrize("given", [{}, {"HandshakeFunction": "true"}])
def test_a_stage_waits_for_what_its_deliveries_need(given: dict[str, str]) -> None:
    """CloudFormation waits for what a property names: the archive, the role for logs, the function's permission."""
    made = Made(**given)
    waits_for = str(made.get("Stage", "Description"))
    assert "weir-archive" in waits_for
    assert "weir-api-gateway-account" in waits_for
    assert ("weir-handshake-permission" in waits_for) == bool(given)


# Metrics that AWS publishes and no alarm reads.
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
# Source: https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html
# Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
PUBLISHED = {
    *(("AWS/ApiGateway", name) for name in ("Count", "Latency", "IntegrationLatency")),
    ("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds"),
    *(("AWS/Lambda", name) for name in ("Invocations", "ConcurrentExecutions")),
    *(("AWS/DynamoDB", name) for name in ("ConsumedWriteCapacityUnits", "WriteThrottleEvents")),
}


def test_the_dashboard_shows_what_is_published() -> None:
    """It is JSON once its names are filled in; each metric is Weir's own, an alarm's, or one that AWS documents."""
    made = Made(Dashboard="on")
    assert not Made().has("StackDashboard")
    text = made._ready["Resources"]["StackDashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    assert set(re.findall(r"\$\{([A-Za-z]+)\}", text)) <= set(made._ready["Resources"])
    body = json.loads(re.sub(r"\$\{[A-Za-z:]+\}", "name", text))
    read = {(row[0], row[1]) for widget in body["widgets"] for row in widget["properties"]["metrics"]}
    alarms = [one["Properties"] for one in made._ready["Resources"].values() if one["Type"] == "AWS::CloudWatch::Alarm"]
    watched = {(one["Namespace"], one["MetricName"]) for one in alarms if "MetricName" in one}
    watched |= {
        (metric["MetricStat"]["Metric"]["Namespace"], metric["MetricStat"]["Metric"]["MetricName"])
        for one in alarms
        for metric in one.get("Metrics", ())
        if "MetricStat" in metric
    }
    assert read - watched - PUBLISHED == {("Weir", name) for namespace, name in read - watched if namespace == "Weir"}
    assert {name for namespace, name in read if namespace == "Weir"} <= set(UNITS)
    places = [(widget["x"], widget["y"]) for widget in body["widgets"]]
    assert len(set(places)) == len(places) == 8


def test_a_domain_leads_to_the_stage_when_all_else_is_made() -> None:
    """Its URLs are known before: what is answered 2xx must not go with a stream that a failed creation takes away."""
    ready = template.prepare(template.load(), b'{"paths": {}}', {}, {}, silent_hours={"stripe": 6})
    resources = ready["Resources"]
    mapping = resources["DomainMapping"]
    first, *named = mapping["Properties"]["Stage"]["Fn::Select"][1]
    assert first == {"Ref": "Stage"}
    conditional = {each["Fn::If"][1]["Ref"]: each["Fn::If"][0] for each in named}
    assert {*mapping["DependsOn"], *conditional, "Api", "Stage"} == set(resources) - {"DomainMapping"}
    assert all(resources[name].get("Condition") == condition for name, condition in conditional.items())


KEY = "arn:aws:kms:eu-west-1:123456789012:key/own"
# Where each type that stores data names the key that encrypts it.
ENCRYPTED = {
    "AWS::DynamoDB::Table",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::Logs::LogGroup",
    "AWS::SNS::Topic",
}


def key_of(made: Made, name: str) -> object:
    """Return the key that encrypts what a resource stores; None if it is one of AWS's."""
    if table := made.get(name, "SSESpecification"):
        return table.get("KMSMasterKeyId")
    if bucket := made.get(name, "BucketEncryption"):
        (rule,) = bucket["ServerSideEncryptionConfiguration"]
        return rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")
    return made.get(name, "KmsMasterKeyId") or made.get(name, "KmsKeyId")


@pytest.mark.parametrize("given", [None, KEY])
def test_a_key_of_ones_own_encrypts_whatever_stores_data(given: str | None) -> None:
    """Every table (the project's, too), bucket, queue, log group and topic has the key, or none of them has."""
    made = Made(HandshakeFunction="true", **({"DataKmsKey": given} if given else {}))
    found = {
        name: key_of(made, name)
        for name, spec in made._ready["Resources"].items()
        if spec["Type"] in ENCRYPTED and made.has(name)
    }
    assert len(found) >= 10
    assert set(found.values()) == {given}
    assert (made.get("FailureQueue", "SqsManagedSseEnabled") is True) == (given is None)


@pytest.mark.parametrize("given", [None, KEY])
def test_each_role_that_reads_or_writes_data_may_use_the_key_for_that_alone(given: str | None) -> None:
    """The rights are to the key, by way of DynamoDB and S3; without a key there are none."""
    made = Made(**({"DataKmsKey": given} if given else {}))
    rights = {
        role: {
            action: statement["Condition"]["StringEquals"]["kms:ViaService"]
            for policy in made.get(role, "Policies")
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Resource"] == given and given
            for action in statement["Action"]
        }
        for role in ("ConsumerRole", "AccountCheckRole", "ArchiveRole")
    }
    if given is None:
        assert not any(rights.values())
        return
    both = ["dynamodb.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"]
    assert {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"} <= rights["ConsumerRole"].keys()
    assert rights["ConsumerRole"]["kms:Decrypt"] == rights["AccountCheckRole"]["kms:Decrypt"] == both
    assert rights["ArchiveRole"] == dict.fromkeys(("kms:Decrypt", "kms:GenerateDataKey"), both[1:])

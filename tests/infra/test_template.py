"""The template: clean, evaluated as CloudFormation would, and prepared for one API definition."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deliveries import source_of
from weir.infra import template
from weir.infra.local.gateway import definition as gateway_definition
from weir.infra.local.gateway.throttle import Throttles
from weir.ingest.contract import routes
from weir.ingest.errors import ParameterInvalid
from weir.ingest.sources import presets

GIVEN = {"ArtifactBucket": "artifacts", "ApiDefinitionKey": "api", "FunctionKey": "function"}
LOADED = template.load()


def evaluated(**given: str) -> dict[str, template.Resource]:
    resources, _ = template.evaluate(
        template.load(), {**GIVEN, **given}, stack="demo", region="eu-central-1", account="123456789012"
    )
    return resources


def test_template_is_clean() -> None:
    """cfn-lint has nothing to say about the template as it stands."""
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, str(template.PATH)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_gateway_may_write_to_this_one_stream_and_nothing_else() -> None:
    """The gateway's role has one right on one resource."""
    (policy,) = evaluated()["GatewayRole"].properties["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Action": "kinesis:PutRecord",
            "Resource": "arn:aws:kinesis:eu-central-1:123456789012:stream/demo-stream",
        }
    ]


def test_own_key_adds_the_rights_it_needs() -> None:
    """With a customer's key the gateway may make data keys and the consumer may decrypt, with that key only."""
    key = "arn:aws:kms:eu-central-1:123456789012:key/k"
    resources = evaluated(StreamKmsKey=key)
    gateway = resources["GatewayRole"].properties["Policies"][0]["PolicyDocument"]["Statement"]
    consumer = resources["ConsumerRole"].properties["Policies"][0]["PolicyDocument"]["Statement"]
    assert {"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": key} in gateway
    assert {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": key} in consumer


def test_conditions_choose_the_capacity_mode() -> None:
    """Provisioned tables have throughput and auto scaling; on-demand ones have neither."""
    on_demand, provisioned = evaluated(), evaluated(TableMode="PROVISIONED")
    assert on_demand["EventsTable"].properties["BillingMode"] == "PAY_PER_REQUEST"
    assert "ProvisionedThroughput" not in on_demand["EventsTable"].properties
    assert "EventsWriteScaling" not in on_demand
    assert provisioned["EventsTable"].properties["ProvisionedThroughput"]["WriteCapacityUnits"] == 25
    assert provisioned["EventsWriteTarget"].properties["ResourceId"] == "table/demo-events-table"


def test_mapping_reads_as_the_parameters_say() -> None:
    """Numbers come out as numbers, and the mapping names stream, function and failure destination."""
    properties = evaluated(BatchSize="77")["ConsumerMapping"].properties
    assert properties["BatchSize"] == 77
    assert properties["EventSourceArn"].endswith(":stream/demo-stream")
    assert properties["FunctionName"] == "demo-consumer"
    assert properties["DestinationConfig"] == {"OnFailure": {"Destination": "arn:aws:s3:::demo-bucket"}}
    assert (
        properties["MaximumRecordAgeInSeconds"] < int(template.load()["Parameters"]["RetentionHours"]["Default"]) * 3600
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"BatchSize": "0"}, "BatchSize=0: must be from 1 to 10000"),
        ({"BatchSize": "many"}, "BatchSize=many: must be a whole number"),
        ({"TableMode": "FREE"}, "TableMode=FREE: allowed are ON_DEMAND, PROVISIONED"),
        ({"Batchsize": "5"}, "no parameter Batchsize"),
    ],
)
def test_wrong_parameter_is_named(given: dict[str, str], said: str) -> None:
    """A parameter that cannot be used is refused with its name and what it may be."""
    with pytest.raises(ParameterInvalid, match=said.replace("(", r"\(")):
        evaluated(**given)


def test_missing_parameter_is_named() -> None:
    """A parameter without default and value is named."""
    with pytest.raises(ParameterInvalid, match="ArtifactBucket"):
        template.evaluate(template.load(), {}, stack="demo", region="r", account="1")


def test_deployment_follows_the_definition() -> None:
    """Another definition gives the deployment another logical id, the same one the same; the stage refers to it."""
    definitions = [json.dumps({"paths": {}, "content": content}).encode() for content in ("one", "one", "two")]
    ready = [template.prepare(template.load(), definition, {}, {}) for definition in definitions]
    names = [next(name for name in one["Resources"] if name.startswith("Deployment")) for one in ready]
    assert names[0] == names[1] != names[2]
    assert ready[0]["Resources"]["Stage"]["Properties"]["DeploymentId"] == {"Ref": names[0]}


@pytest.mark.parametrize("name", presets.names())
def test_throttle_covers_every_method_of_a_source(name: str) -> None:
    """With a throttle of its own or without, each method of each path is limited: questions as well as deliveries."""
    source = source_of(name)
    if any(handshake.needs_code for handshake in source.handshakes):
        source = source.model_copy(update={"handshake_function": True})
    function = "arn:aws:lambda:us-east-1:000000000000:function:weir-handshake"
    filled = {"partition": "aws", "region": "us-east-1", "credentials": "x", "handshake_function": function}
    definition = routes.api_definition({name: source}, filled)
    methods = {(path, method) for path, item in gateway_definition.load(definition).methods.items() for method in item}
    for throttles, of_the_source in (({}, (1000.0, 1000.0)), ({name: (5.0, 10)}, (5.0, 10.0))):
        ready = template.prepare(LOADED, routes.render(definition), throttles, {})
        resources, _ = template.evaluate(ready, GIVEN, stack="demo", region="r", account="1")
        limits = Throttles(resources["Stage"].properties["MethodSettings"])
        for path, method in methods:
            assert limits.of(path, method) == ((1000.0, 1000.0) if method == "ANY" else of_the_source)
    assert ("/v1/" + name, "POST") in methods


def test_a_new_source_has_its_path_when_the_consumer_knows_it() -> None:
    """The stage is updated after the function: before, deliveries of a source that it does not know are quarantined."""
    assert template.load()["Resources"]["Stage"]["DependsOn"] == "Consumer"

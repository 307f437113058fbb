"""Declared tables in the template: each a copy of the prototype, and nothing of it where there is no table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from weir.infra import template
from weir.infra.tables import TableResource
from weir.ingest.errors import TableInvalid

GIVEN = {"ArtifactBucket": "artifacts", "ApiDefinitionKey": "api", "FunctionKey": "function"}
DEFINITION = b'{"paths": {}}'


def declared(name: str, *, index: str = "", **rest: Any) -> TableResource:
    definitions = [{"AttributeName": "id", "AttributeType": "S"}]
    described: dict[str, Any] = {
        "AttributeDefinitions": definitions,
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    }
    if index:
        definitions.insert(0, {"AttributeName": "by", "AttributeType": "N"})
        schema = [{"AttributeName": "by", "KeyType": "HASH"}]
        projection = {"ProjectionType": "ALL"}
        described["GlobalSecondaryIndexes"] = [{"IndexName": index, "KeySchema": schema, "Projection": projection}]
    return TableResource(name, described, **rest)


def prepared(*wanted: TableResource, emulated: bool = False) -> dict[str, Any]:
    return template.prepare(template.load(), DEFINITION, {}, {}, wanted, emulated=emulated)


def evaluated(ready: dict[str, Any], **given: str) -> tuple[dict[str, template.Resource], dict[str, str]]:
    return template.evaluate(ready, {**GIVEN, **given}, stack="demo", region="eu-central-1", account="123456789012")


def granted(ready: dict[str, Any]) -> list[str]:
    """Return the tables that the consumer may write."""
    statements = evaluated(ready)[0]["ConsumerRole"].properties["Policies"][0]["PolicyDocument"]["Statement"]
    (found,) = (one["Resource"] for one in statements if "dynamodb:PutItem" in one["Action"])
    return sorted(found)


def arn(table: str) -> str:
    return f"arn:aws:dynamodb:eu-central-1:123456789012:table/{table}"


@pytest.mark.parametrize("count", [0, 1, 5])
def test_each_table_has_its_resource_its_right_its_setting_and_its_output(count: int) -> None:
    """There are exactly the declared tables, and no right to any other."""
    names = [f"table-{number}" for number in range(count)]
    ready = prepared(*map(declared, names))
    resources, outputs = evaluated(ready)
    made = {name for name, one in resources.items() if one.type == "AWS::DynamoDB::Table"}
    assert made == {"EventsTable", *(f"Table{number}Table" for number in range(count))}
    real = {name: f"demo-table{number}-table" for number, name in enumerate(names)}
    assert granted(ready) == sorted(map(arn, ["demo-events-table", *real.values()]))
    assert json.loads(resources["Consumer"].properties["Environment"]["Variables"]["TABLES"]) == real
    assert json.loads(outputs["Tables"]) == real
    assert not [name for name in ready["Resources"] if name.startswith("Project")]


@pytest.mark.parametrize("mode", ["ON_DEMAND", "PROVISIONED"])
def test_a_table_is_kept_as_the_events_table_is(mode: str) -> None:
    """Its deletion, recovery, encryption and scaling are the events table's."""
    ready = prepared(declared("orders", index="by_n"))
    resources, _ = evaluated(ready, TableMode=mode)
    own, events = resources["OrdersTable"].properties, resources["EventsTable"].properties
    for name in ("PointInTimeRecoverySpecification", "DeletionProtectionEnabled", "SSESpecification", "BillingMode"):
        assert own[name] == events[name]
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        assert ready["Resources"]["OrdersTable"][policy] == ready["Resources"]["EventsTable"][policy]
    scaled = {one.properties["ResourceId"] for one in resources.values() if one.type.endswith("ScalableTarget")}
    wanted = {"table/demo-orders-table", "table/demo-orders-table/index/by_n"}
    assert wanted <= scaled if mode == "PROVISIONED" else not scaled
    (index,) = own["GlobalSecondaryIndexes"]
    assert ("ProvisionedThroughput" in index) == (mode == "PROVISIONED")


@pytest.mark.parametrize("billing", ["on_demand", "provisioned"])
@pytest.mark.parametrize("mode", ["ON_DEMAND", "PROVISIONED"])
def test_a_table_may_have_its_own_billing(billing: str, mode: str) -> None:
    """What the declaration says goes over the parameter, for table, index and scaling."""
    resources, _ = evaluated(prepared(declared("orders", index="by_n", billing=billing)), TableMode=mode)
    own = resources["OrdersTable"].properties
    is_provisioned = billing == "provisioned"
    assert own["BillingMode"] == ("PROVISIONED" if is_provisioned else "PAY_PER_REQUEST")
    assert ("ProvisionedThroughput" in own) == is_provisioned
    assert ("ProvisionedThroughput" in own["GlobalSecondaryIndexes"][0]) == is_provisioned
    assert any(name.startswith("Orders") and name.endswith("Scaling") for name in resources) == is_provisioned


@pytest.mark.parametrize(
    ("existing", "where"),
    [("old-orders", arn("old-orders")), ("arn:aws:dynamodb:us-east-1:210987654321:table/old-orders",) * 2],
)
def test_an_existing_table_is_used_and_never_made(existing: str, where: str) -> None:
    """The function may write it, under its name; an emulator has none, so that it is made there."""
    table = declared("orders", existing=existing, real_name="old-orders")
    ready = prepared(table)
    resources, outputs = evaluated(ready)
    assert "OrdersTable" not in resources
    assert json.loads(outputs["Tables"]) == {"orders": "old-orders"}
    assert granted(ready) == sorted([arn("demo-events-table"), where])
    emulated, _ = evaluated(prepared(table, emulated=True))
    assert emulated["OrdersTable"].name == "old-orders"


@pytest.mark.parametrize("names", [("events",), ("a-b", "a_b")])
def test_a_name_that_cannot_be_had_is_refused(names: tuple[str, ...]) -> None:
    """A table of Weir's, or another of the project's, has it."""
    with pytest.raises(TableInvalid, match="is taken"):
        prepared(*map(declared, names))


def test_the_finished_template_is_clean(tmp_path: Path) -> None:
    """cfn-lint has nothing to say about it with tables of every kind."""
    ready = prepared(
        declared("plain"),
        declared("with-index", index="by_n"),
        declared("dear", index="by_n", billing="provisioned"),
        declared("cheap", billing="on_demand"),
        declared("old", existing="old-orders", real_name="old-orders"),
    )
    path = tmp_path / "template.json"
    path.write_text(json.dumps(ready))
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_template_names_no_table_of_an_example() -> None:
    """No part of the product knows the ledger's table."""
    assert "balances" not in template.PATH.read_text(encoding="utf-8").lower()

"""Old data taken up again on LocalStack, whose CloudFormation gets imports from tests/localstack/start.d.

It shows that the templates of each step are ones that an engine of CloudFormation makes, that every part of the stack
then works on the old data, and that nothing counts twice. What AWS's imports do that is not documented it cannot show.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.ledger import FOLDER, LEDGER
from weir.consumers.events_table.readable import unreadable
from weir.infra import deploy, destroy, place, shapes, stored
from weir.infra.adopt import Wish
from weir.infra.outputs import Outputs
from weir.infra.place import Place
from weir.infra.stored import TABLE, Stored
from weir.ingest.sources import sources_file

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
ROOT = Path(__file__).parents[1]
WEIR = Path(sys.executable).with_name("weir")
STACK = f"adopt-{uuid.uuid4().hex[:8]}"
SETTINGS = {
    "DeletionProtection": "false",
    "ArchiveMode": "none",
    "StreamMode": "PROVISIONED",
    "ShardCount": "1",
    "SecretsPrefix": f"/weir/{STACK}",
    "RetentionHours": "240",
}

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]


def deployed(where: Place, wish: Wish | None = None, given: Mapping[str, str] = {}) -> Outputs:
    catalogue = sources_file.load(FOLDER / "sources.yaml")
    wanted = deploy.Wanted(given, at_first={"DeletionProtection": "false", "ArchiveMode": "none"}, adopt=wish)
    return deploy.deploy(where, catalogue, LEDGER, wanted, cache=ROOT / "build", say=lambda _: None)


@pytest.fixture(scope="module")
def where() -> Iterator[Place]:
    """A stack of the example, with a secret; it and all that it has stored are deleted at the end."""
    found = place.at_endpoint(str(ENDPOINT), STACK)
    try:
        found.client("cloudformation").describe_stack_resources(PhysicalResourceId="nothing")
    except ClientError as error:
        if "Stack for nothing does not exist" not in str(error):
            pytest.skip("LocalStack runs without tests/localstack/start.d")
    deployed(found, given=SETTINGS)
    weir("secrets", "set", "payments", text="whsec_" + "QUJD" * 8)
    yield found
    destroy.destroy(found, delete_data=True, say=lambda _: None)


def weir(*arguments: str, text: str = "", code: int = 0) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEIR_"))}
    command = [str(WEIR), *arguments, "--endpoint", str(ENDPOINT), "--stack", STACK]
    done = subprocess.run(
        command, input=text.encode(), env=kept, cwd=ROOT, capture_output=True, check=False, timeout=300
    )
    assert done.returncode == code, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


def balances() -> list[str]:
    return sorted(weir("items", "balances", "--json").splitlines())


def all_is_read() -> None:
    deadline = time.monotonic() + 90
    while sum(json.loads(line)["unread"] for line in weir("lag", "--json", "--over", "0").splitlines()):
        assert time.monotonic() < deadline
        time.sleep(1)


def copied(where: Place, table: str) -> str:
    """Make a table of another name with the same items and indexes, as a restore does: without TTL and recovery."""
    dynamodb, name = where.client("dynamodb"), f"{table}-restored"
    kept = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    shape: Any = {name: value for name, value in shapes.shape(where, Stored(TABLE, table)).items() if name in kept}
    dynamodb.create_table(TableName=name, **shape)
    for item in dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]:
        dynamodb.put_item(TableName=name, Item=item)
    return name


def test_after_a_destroy_the_old_data_goes_on(where: Place) -> None:
    """Same stream, tables and bucket, same parameters; the stream is read again, and nothing counts twice."""
    for _ in range(3):
        weir("send", "payments", "--wait", "30")
    before, had = where.outputs(), balances()
    destroy.destroy(where, delete_data=False, say=lambda _: None)
    after = deployed(where, Wish(left=True, names={}, unreadable=unreadable))
    for name in ("stream_name", "events_table", "bucket", "tables", "secrets_prefix"):
        assert getattr(after, name) == getattr(before, name)
    stack = where.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    assert {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}["RetentionHours"] == "240"
    all_is_read()
    assert balances() == had
    assert len(weir("events", "--json").splitlines()) == 3
    weir("send", "payments", "--wait", "30")
    assert balances() != had
    again = json.loads(weir("replay", "--from", "stream", "--to", "consumer", "--json"))
    assert (again["read"], again["duplicate"], again["applied"]) == (4, 4, 0)


def test_restored_tables_take_the_place_of_damaged_ones_while_the_door_stays_open(where: Place) -> None:
    """What came after the restore is applied from the stream: nothing lost, nothing twice, the URL is the same."""
    before = where.outputs()
    restored = {
        "EventsTable": copied(where, before.events_table),
        "BalancesTable": copied(where, before.table("balances")),
    }
    for _ in range(2):
        weir("send", "payments", "--wait", "30")
    had, account = balances(), json.loads(weir("account", "--json", "--grace", "0s"))
    weir("pause")
    after = deployed(where, Wish(left=False, names=restored, unreadable=unreadable))
    assert (after.events_table, after.table("balances")) == (restored["EventsTable"], restored["BalancesTable"])
    assert (after.endpoint, after.stream_name) == (before.endpoint, before.stream_name)
    assert balances() != had
    weir("send", "payments", "--wait", "0")  # the door is open all the time
    weir("replay", "--from", "stream", "--to", "consumer")
    weir("resume")
    all_is_read()
    found = json.loads(weir("account", "--json", "--grace", "0s"))
    assert (found["unaccounted"], found["applied"]) == (0, account["applied"] + 1)
    assert "0 different" in weir("rebuild")
    dynamodb, held = where.client("dynamodb"), stored.held(where)
    assert {name: held[name].name for name in restored} == restored
    for table in (before.events_table, before.table("balances")):
        assert dynamodb.describe_table(TableName=table)["Table"]["ItemCount"] >= 0
        dynamodb.delete_table(TableName=table)

"""What `weir synth` writes is deployed by plain calls, and works; a plan changes nothing before yes."""

from __future__ import annotations

import json
import os
import platform
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from weir.cli.main import main
from weir.infra import change_sets, destroy, place
from weir.infra.place import EMBEDDED_ACCOUNT, REGION, Place

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]

ARCHITECTURE = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
# An emulator: its data is for throwing away, its Firehose has to download Java, and its functions run on this machine.
SETTINGS = ("DeletionProtection=false", "ArchiveMode=none", "StreamMode=PROVISIONED", "ShardCount=1")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as `weir init` writes it."""
    monkeypatch.chdir(tmp_path)
    for name in ("WEIR_SOURCES", "WEIR_HOME", "WEIR_AT", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    name = f"fresh{uuid.uuid4().hex[:6]}"
    assert CliRunner().invoke(main, ["init", "shop", "--package", name]).exit_code == 0
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def where() -> Iterator[Place]:
    found = place.at_endpoint(str(ENDPOINT), f"s{uuid.uuid4().hex[:8]}")
    yield found
    if change_sets.status_of(found) is not None:
        destroy.destroy(found, delete_data=True, say=lambda _: None)


def weir(*arguments: str, answer: str = "") -> Result:
    """Run a command; on LocalStack, with a home of its own."""
    return CliRunner().invoke(main, [*arguments], prog_name="weir", input=answer)


def at(where: Place) -> tuple[str, ...]:
    return ("--at", "localstack", "--endpoint", str(ENDPOINT), "--stack", where.stack)


def settings(*more: str) -> list[str]:
    return [word for one in (*SETTINGS, f"Architecture={ARCHITECTURE}", *more) for word in ("--set", one)]


def deploy_by_hand(where: Place, folder: Path, bucket: str) -> None:
    """Do what any tool does: put the assets into a bucket and create the stack."""
    s3, cloudformation = where.client("s3"), where.client("cloudformation")
    s3.create_bucket(Bucket=bucket)
    for path in (folder / "assets").rglob("*"):
        if path.is_file():
            s3.put_object(Bucket=bucket, Key=path.relative_to(folder / "assets").as_posix(), Body=path.read_bytes())
    s3.put_object(Bucket=bucket, Key="template.json", Body=(folder / "template.json").read_bytes())
    parameters: Any = json.loads((folder / "parameters.json").read_text())
    cloudformation.create_stack(
        StackName=where.stack,
        TemplateURL=f"{ENDPOINT}/{bucket}/template.json",
        Parameters=parameters,
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=where.stack, WaiterConfig={"Delay": 1})


def test_the_output_alone_is_a_stack_that_stores_an_order(project: Path, where: Place) -> None:
    """Without `weir deploy`: the template, the assets and the parameters are all that is needed."""
    bucket = f"assets-{where.stack}"
    options = ["--account", EMBEDDED_ACCOUNT, "--region", REGION, "--stack", where.stack, "--bucket", bucket]
    made = weir("synth", *options, "--out", "dist", *settings())
    assert made.exit_code == 0, made.output
    deploy_by_hand(where, project / "dist", bucket)
    assert weir("record", *at(where)).output == "recorded for shopify\n"
    assert weir("secrets", "generate", "shopify", *at(where)).exit_code == 0
    sent = weir("send", "shopify", "--wait", "60", *at(where))
    assert sent.output.splitlines()[-1].strip() == "applied", sent.output
    [order] = [json.loads(line) for line in weir("items", "orders", "--json", *at(where)).stdout.splitlines()]
    assert (order["currency"], order["status"]) == ("EUR", "paid")


def test_a_plan_that_is_refused_changes_nothing(project: Path, where: Place) -> None:
    """It shows each change; only yes makes them. What is there afterwards can be planned again."""
    refused = weir("deploy", "--plan", *at(where), *settings(), answer="n\n")
    assert refused.exit_code == 2
    assert "add      AWS::DynamoDB::Table" in refused.output
    assert "OrdersTable" in refused.output
    assert "nothing was changed" in refused.output
    assert change_sets.status_of(where) is None
    done = weir("deploy", "--plan", "--yes", *at(where), *settings(), "--tag", "team=shop")
    assert done.exit_code == 0, done.output
    assert json.loads(place.at_endpoint(str(ENDPOINT), where.stack).outputs().tables).keys() == {"orders"}

"""The same load and the faults that need no proxy, on LocalStack through localstack-client."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from weir.cli.main import main

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
STACK = f"load-{uuid.uuid4().hex[:8]}"

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]


def command(*arguments: str, home: str = "") -> Result:
    environment = {"WEIR_HOME": home or None, "AWS_ENDPOINT_URL": None}
    where = ("--at", "localstack", "--endpoint", str(ENDPOINT), "--stack", STACK)
    return CliRunner().invoke(main, [*arguments, *where], env=environment)


@pytest.fixture(scope="module")
def deployed() -> Iterator[str]:
    said = command("deploy", "--set", f"SecretsPrefix=/weir/{STACK}")
    assert said.exit_code == 0, said.output
    yield STACK
    command("destroy", "--delete-data", "--yes")


def test_a_load_is_accounted_for(deployed: str, tmp_path: Path) -> None:
    """A rate that follows what the emulator takes ends with nothing lost, nothing twice, and sums that are right."""
    said = command("load", "attack", "--duration", "8", "--sizes", "1k", "--wait", "60", home=str(tmp_path))
    assert said.exit_code == 0, said.output
    assert "PASSED" in said.output
    assert f"LocalStack at {ENDPOINT} accepts and consumes" in said.output


@pytest.mark.parametrize("name", ["poison-many", "duplicate-storm", "secret-rotated"])
def test_promises_are_kept_through(name: str, deployed: str, tmp_path: Path) -> None:
    """What can be broken there breaks no promise either, however slow the emulator is."""
    matrix = tmp_path / "matrix.json"
    said = command("load", "faults", name, "--out", str(matrix), home=str(tmp_path))
    (ending,) = json.loads(matrix.read_text(encoding="utf-8"))["scenarios"]
    assert not ending["faults"], said.output
    assert said.exit_code == (1 if ending["late"] else 0), said.output

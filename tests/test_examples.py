"""The examples are projects like any other: their own tests pass, in their own folder, with nothing but Weir."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEIR_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-P", "-m", *arguments], cwd=folder, env=kept, capture_output=True, text=True, check=False
    )


def test_the_walk_finds_the_examples() -> None:
    """The one that `make run` runs, the one that `weir init` copies, and the one that the documents use."""
    assert {path.name for path in EXAMPLES} == {"ledger", "new_project", "orders"}


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_its_tests_pass(folder: Path) -> None:
    """pytest in the folder finds them, and Weir's plugin."""
    done = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_its_effects_are_listed(folder: Path) -> None:
    """Each effect has its source, and none a warning."""
    done = run(folder, "weir", "effects", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows
    assert not [row for row in rows if row.get("warning")], rows
    assert any("table" in row for row in rows)

"""Each fix of infra/localstack/start.d, turned off: what depends on it, and nothing else, goes wrong.

A fix that no scenario needs could go; one that hides a fault of the product's definition would show here, since the
scenarios say what AWS documents.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.localstack import LocalStack
from tests.conformance.patches import PATCHES
from tests.conformance.run import run_all
from tests.conformance.scenarios import API_GATEWAY, load

ROOT = Path(__file__).parents[2]
FIXES = ROOT / "infra" / "localstack" / "start.d" / "api_gateway.py"
# A command that starts and stops a LocalStack on LOCALSTACK_PORT with the scripts of LOCALSTACK_INIT_DIR/start.d.
COMMAND = os.environ.get("LOCALSTACK_COMMAND")
_PORT = "4584"


def scenarios() -> list[str]:
    return [name for name, each in load().items() if each.section == API_GATEWAY and LocalStack.name not in each.cannot]


@pytest.fixture
def without(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A LocalStack of its own that lacks one fix."""
    if not COMMAND:
        pytest.skip("set LOCALSTACK_COMMAND to a command whose `start` and `stop` run LocalStack without Docker")
    scripts = tmp_path / "start.d"
    scripts.mkdir()
    (scripts / FIXES.name).write_bytes(FIXES.read_bytes())
    environment = {
        **os.environ,
        "LOCALSTACK_PORT": _PORT,
        "LOCALSTACK_INIT_DIR": str(tmp_path),
        "WEIR_LOCALSTACK_WITHOUT": request.param,
    }
    command = shlex.split(COMMAND)
    started = subprocess.run([*command, "start"], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    yield started.stdout.strip()
    subprocess.run([*command, "stop"], env=environment, stdout=subprocess.DEVNULL, check=True)


@pytest.mark.localstack
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("without", "name"), [(name, name) for name in PATCHES], indirect=["without"], ids=[*PATCHES])
def test_what_depends_on_a_fix(without: str, name: str) -> None:
    """Of the scenarios that need a fix, exactly those that need this one are not as they are with all fixes."""
    every = load()
    needing = [each for patch in PATCHES.values() for each in patch.scenarios]
    outcomes = run_all(LocalStack(without), [every[each] for each in needing])
    wrong = [each for each, outcome in outcomes.items() if outcome.complaint(LocalStack, every[each])]
    assert sorted(wrong) == sorted(PATCHES[name].scenarios)


def test_every_fix_is_listed() -> None:
    """The list has the fixes that the script has, and each is needed by a scenario."""
    text = FIXES.read_text(encoding="utf-8")
    assert re.findall(r"^def (\w+)\(\):", text, re.MULTILINE) == list(PATCHES)
    assert all(patch.scenarios for patch in PATCHES.values())
    assert {name for patch in PATCHES.values() for name in patch.scenarios} <= set(scenarios())

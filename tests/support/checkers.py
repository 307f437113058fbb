"""Checkers that others wrote, run on templates and policies: `requirements/checkers.txt` installs them.

They have a folder of their own and run as processes of their own: they pin an old boto3, and bring 400 MB.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "build" / "checkers"
LOCK = "requirements/checkers.txt"
INSTALL = f".venv/bin/pip install --require-hashes --no-deps -r {LOCK} --target build/checkers --upgrade"
_ASKED = ("cfn-lint", "cfn-lint-serverless", "checkov", "parliament")
# parliament's command would need a file for each policy, of which there are hundreds.
_PARLIAMENT = Path(__file__).parent / "parliament_child.py"


class Finding(NamedTuple):
    """What a checker has against a resource, by the checker's rule and its own words for that."""

    rule: str
    resource: str
    says: str


@cache
def missing() -> tuple[str, ...]:
    """Return the checkers that are not there in the version that the lock file pins."""
    lock = (ROOT / LOCK).read_text(encoding="utf-8")
    pinned = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", lock))
    found = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in _installed()}
    return tuple(name for name in _ASKED if found.get(name) != pinned[name])


def _installed() -> list[metadata.Distribution]:
    return list(metadata.distributions(path=[str(FOLDER)]))


def _run(*command: str, given: str = "", ends: Sequence[int] = (0,)) -> Any:
    """Run a checker and return the JSON that it prints. It has no credentials, and looks for no settings of ours."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BC_", "CKV_", "PRISMA_"))
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=FOLDER,
        env={**environ, "PYTHONPATH": str(FOLDER)},
    )
    assert done.returncode in ends, done.stderr[-2000:] or done.stdout[-2000:]
    return json.loads(done.stdout)


def cfn_lint(files: Mapping[str, Path]) -> dict[str, set[Finding]]:
    """Ask cfn-lint, with the rules of cfn-lint-serverless and those that only inform."""
    rules = ("--append-rules", "cfn_lint_serverless.rules", "--include-checks", "I")
    # Its exit code is a sum: 2 for errors, 4 for warnings, 8 for information.
    said = _run(
        *(str(FOLDER / "bin" / "cfn-lint"), "--format", "json", *rules, "--template", *map(str, files.values())),
        ends=range(0, 16, 2),
    )
    found: dict[str, set[Finding]] = {name: set() for name in files}
    names = {str(path): name for name, path in files.items()}
    for one in said:
        rule, path = one["Rule"], one["Location"]["Path"]
        resource = str(path[1]) if len(path) > 1 else "the template"
        found[names[one["Filename"]]].add(Finding(rule["Id"], resource, rule["ShortDescription"]))
    return found


def checkov(files: Mapping[str, Path]) -> dict[str, set[Finding]]:
    """Ask checkov for all that it knows of CloudFormation. It would fetch descriptions: `--skip-download`."""
    options = ("--framework", "cloudformation", "--skip-download", "--quiet", "--compact", "--output", "json")
    said = _run(str(FOLDER / "bin" / "checkov"), *options, "--file", *map(str, files.values()), ends=(0, 1))
    assert said["summary"]["parsing_errors"] == 0
    found: dict[str, set[Finding]] = {name: set() for name in files}
    names = {str(path): name for name, path in files.items()}
    for one in said["results"]["failed_checks"]:
        resource = one["resource"].rpartition(".")[2]
        found[names[one["file_abs_path"]]].add(Finding(one["check_id"], resource, one["check_name"]))
    return found


Policies = Sequence[tuple[str, Mapping[str, Any]]]


def parliament(policies: Mapping[str, Policies]) -> dict[str, set[Finding]]:
    """Ask parliament about policy documents, each with the resource that has it, at every severity."""
    said = _run(str(_PARLIAMENT), given=json.dumps(policies))
    return {name: {Finding(*one) for one in found} for name, found in said.items()}


TEMPLATE_CHECKERS: dict[str, Callable[[Mapping[str, Path]], dict[str, set[Finding]]]] = {
    "cfn-lint": cfn_lint,
    "checkov": checkov,
}

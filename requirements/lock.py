"""Resolve the lock files again: `make lock`. Each pins every package by version and hash."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMPILE = [
    *(sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--strip-extras"),
    *("--no-emit-find-links", "--no-emit-index-url", "--allow-unsafe", "--no-header"),
]
# aws-embedded-metrics declares aiohttp but needs it only to probe for EC2: the Lambda package leaves it out.
LEFT_OUT = ("aiohttp", "aiohappyeyeballs", "aiosignal", "attrs", "frozenlist", "idna", "multidict", "propcache", "yarl")
RUN = ("-c", "requirements/run.txt")
LOCKS = {
    "run": ("--extra=build", "pyproject.toml"),
    "load": ("--extra=build", "--extra=load", *RUN, "pyproject.toml"),
    "test": ("--extra=build", "--extra=load", "--extra=test", *RUN, "-c", "requirements/load.txt", "pyproject.toml"),
    "function": (*RUN, *(f"--unsafe-package={name}" for name in LEFT_OUT), "infra/requirements/function.in"),
    "oracles": ("-c", "requirements/test.txt", "requirements/oracles.in"),
    # Without the constraints of the others: checkov pins an old boto3.
    "checkers": ("requirements/checkers.in",),
    "function-crypto": (*RUN, "-c", "requirements/test.txt", "infra/requirements/function-crypto.in"),
}

# Beside the code that reads them, so that a wheel has them.
FOLDERS = {"function": "infra/requirements", "function-crypto": "infra/requirements"}


def markers() -> dict[str, str]:
    """Return the environment markers of the extras' packages, by package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = (one.partition(";") for extra in project["optional-dependencies"].values() for one in extra)
    return {package.strip(): marker.strip() for package, _, marker in named if marker}


def mark(lock: Path) -> None:
    """Write markers into a lock file: pip-compile loses those of an extra, and asks every machine for the package."""
    text = lock.read_text(encoding="utf-8")
    for package, marker in markers().items():
        text = re.sub(rf"(?m)^({re.escape(package)}==\S+) \\$", lambda found, m=marker: f"{found[1]} ; {m} \\", text)
    lock.write_text(text, encoding="utf-8")


for name, arguments in LOCKS.items():
    allow = [flag for flag in COMPILE if not (name == "function" and flag == "--allow-unsafe")]
    output = ROOT / FOLDERS.get(name, "requirements") / f"{name}.txt"
    command = [*allow, f"--output-file={output.relative_to(ROOT)}", *arguments]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own arguments
    mark(output)

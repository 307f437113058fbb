"""Resolve the lock files again: `make lock`. Each pins every package by version and hash."""

import subprocess
import sys
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
    "test": ("--extra=build", "--extra=test", *RUN, "pyproject.toml"),
    "function": (*RUN, *(f"--unsafe-package={name}" for name in LEFT_OUT), "infra/requirements/function.in"),
    "oracles": ("-c", "requirements/test.txt", "requirements/oracles.in"),
    "function-crypto": (*RUN, "-c", "requirements/test.txt", "infra/requirements/function-crypto.in"),
}

# Beside the code that reads them, so that a wheel has them.
FOLDERS = {"function": "infra/requirements", "function-crypto": "infra/requirements"}

for name, arguments in LOCKS.items():
    allow = [flag for flag in COMPILE if not (name == "function" and flag == "--allow-unsafe")]
    output = f"--output-file={FOLDERS.get(name, 'requirements')}/{name}.txt"
    subprocess.run([*allow, output, *arguments], cwd=ROOT, check=True)  # noqa: S603 - our own arguments

"""The lock files: complete, so that nothing is resolved again on the machine that installs them."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# Every command that installs a lock file, as text; `infra/package.py` and the benchmarks write theirs as lists.
PLACES = ("Makefile", ".ci/run", "CONTRIBUTING.md")
_PIN = re.compile(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
# A pip that resolves takes a requirement with an extra (`coverage[toml]`) for one that the pin of its package does not
# hold: a release of today would break the installation of last week's lock.
_INSTALLS = re.compile(r"--require-hashes(?P<rest>.*?)-r (?P<lock>requirements/\w+\.txt)")


def pins(lock: str) -> dict[str, str]:
    """Return what a lock file pins."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    return {canonicalize_name(name): version for name, version in _PIN.findall(text)}


@pytest.mark.parametrize("lock", ["requirements/run.txt", "requirements/load.txt", "requirements/test.txt"])
def test_a_lock_is_complete(lock: str) -> None:
    """Whatever a pinned package asks for, with the extras that are asked for, is pinned too."""
    pinned = pins(lock)
    assert len(pinned) > 20
    lacking = []
    asked = [(canonicalize_name(name), "") for name in pinned]
    for name, extra in asked:  # grows while it is read: an extra brings requirements of its own
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another platform or Python
        for one in map(Requirement, requirements):
            if one.marker and not one.marker.evaluate({"extra": extra}):
                continue
            wanted = canonicalize_name(one.name)
            lacking += [f"{name} wants {one}"] if wanted not in pinned else []
            asked += [pair for more in one.extras if (pair := (wanted, more)) not in asked]
    assert not lacking


@pytest.mark.parametrize("place", PLACES)
def test_a_lock_is_installed_without_resolving(place: str) -> None:
    """No command asks pip to find again what the lock file has found."""
    found = _INSTALLS.findall((ROOT / place).read_text(encoding="utf-8"))
    assert found
    assert all("--no-deps" in rest for rest, _ in found)

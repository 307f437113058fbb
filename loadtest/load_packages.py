"""The extra ``load``: the packages that only judging and reporting a load need."""

from __future__ import annotations

from importlib.util import find_spec

from weir.ingest.errors import PackageAbsent

# By import name. Both lie in requirements/load.txt, except where hdrhistogram has no wheel.
_PACKAGES = {"hdrh": "hdrhistogram", "matplotlib": "matplotlib"}


def require() -> None:
    """Return if the packages of the extra can be imported. Raises: PackageAbsent, with the names of the others."""
    absent = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if absent:
        raise PackageAbsent(f"Load tests and their reports need {' and '.join(absent)}.")

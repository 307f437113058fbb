"""The project of `weir run` as files that may change, each time read and checked in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from weir.cli import project
from weir.cli.framework import NoAnswer
from weir.infra import project_file
from weir.infra.business import Business
from weir.infra.local.version import Inputs
from weir.infra.tables import TableResource
from weir.ingest.errors import CatalogueInvalid, EffectsInvalid, ProjectInvalid
from weir.ingest.sources import sources_file

if TYPE_CHECKING:
    from weir.ingest.sources.catalogue import Catalogue

_IMPORT_S = 60.0


class Files:
    """The project that the command works in; ``settings`` are parameters of the template that go over its own."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._last = project.current()

    def paths(self) -> list[Path]:
        """Return the sources file, the settings, and every file of the package; of broken settings, those before."""
        with contextlib.suppress(ProjectInvalid):
            self._last = project.current()
        found = self._last
        package = found.root / found.package
        code = (
            [path for path in package.rglob("*") if path.suffix != ".pyc" and path.is_file()] if found.package else []
        )
        named = os.environ.get("WEIR_SOURCES")
        return [
            Path(named) if named else found.sources,
            found.root / project_file.FILE,
            package.with_suffix(".py"),
            *code,
        ]

    def read(self, copy: Callable[[Business, Catalogue], Path]) -> Inputs:
        """Read the project, keep a copy of its code, and check that. Raises: ConfigError."""
        found = project.current()
        try:
            catalogue = sources_file.load(project.existing_sources_file())
        except NoAnswer as error:
            raise CatalogueInvalid(error.message) from error
        business = Business(found.package, found.root)
        business = business._replace(folder=copy(business, catalogue))
        tables = _tables(business, found.root) if found.package else []
        given = {**project_file.text(found.defaults.parameters), **self._settings}
        return Inputs(catalogue, business._replace(tables=tables), given)


def _tables(business: Business, root: Path) -> list[TableResource]:
    """Import a copy of the package in a process of its own, check it, and return its tables. Raises: EffectsInvalid."""
    command = [sys.executable, "-P", "-m", "weir.cli.declare", business.package, str(business.folder)]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, capture_output=True, text=True, timeout=_IMPORT_S, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise EffectsInvalid(f"{business.package} is not imported within {_IMPORT_S:.0f} seconds.") from error
    try:
        found = json.loads(done.stdout.splitlines()[-1])  # what the code itself prints comes before
    except (IndexError, ValueError) as error:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise EffectsInvalid(f"{business.package} ended the process that imported it: {last}") from error
    if isinstance(found, dict):
        raise EffectsInvalid(found["problem"].replace(str(business.folder), str(root)))  # the file to fix, not its copy
    return [TableResource(**table) for table in found]

"""The project that a command works in, what it declares, and the folder of the embedded stack's state.

It is the one that ``--project`` or WEIR_PROJECT names, else the nearest from the current folder upwards. WEIR_SOURCES
names another sources file, WEIR_HOME another folder for the state.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weir.cli.framework import NoAnswer

if TYPE_CHECKING:
    from weir.consumers.business.tables import Table
    from weir.infra.business import Business
    from weir.infra.project_file import Project
    from weir.ingest.sources.catalogue import Catalogue, Source

SOURCES_FILE = "sources.yaml"


def current() -> Project:
    """Return the project. Raises: ProjectInvalid."""
    from weir.infra import project_file

    context = click.get_current_context(silent=True)
    named = (context.find_root().obj if context else None) or os.environ.get("WEIR_PROJECT")
    return project_file.at(Path(named)) if named else project_file.find(Path.cwd())


def root() -> Path:
    """Return the project's folder. Raises: ProjectInvalid."""
    return current().root


def home() -> Path:
    """Return the folder of the embedded stack's state. Raises: ProjectInvalid; NoAnswer when WEIR_HOME names a file."""
    given = os.environ.get("WEIR_HOME")
    path = (Path(given) if given else current().state).absolute()
    if path.exists() and not path.is_dir():
        raise NoAnswer(
            f"{path} is to hold the state and is not a folder.\n  WEIR_HOME names one that need not exist yet."
        )
    return path


def sources_file() -> Path:
    """Return the path of the sources file, which need not exist. Raises: ProjectInvalid."""
    given = os.environ.get("WEIR_SOURCES")
    return Path(given) if given else current().sources


def existing_sources_file() -> Path:
    """Return the path of the sources file. Raises: NoAnswer when there is none."""
    path = sources_file()
    if not path.exists():
        raise NoAnswer(_no_file(path))
    return path


def catalogue() -> Catalogue:
    """Return the sources of the sources file. Raises: NoAnswer when there is none, CatalogueInvalid."""
    from weir.ingest.sources.sources_file import load

    return load(existing_sources_file())


def source(name: str) -> Source:
    """Return a source by name. Raises: NoAnswer that says which there are."""
    sources = catalogue()
    if name not in sources:
        raise NoAnswer(
            f"There is no source {name!r} in {sources_file()}. Its sources are: {', '.join(sources)}.\n"
            f"  `weir sources add {name}` adds one of a known provider."
        )
    return sources[name]


def load_effects() -> dict[str, Table]:
    """Import the project's business code, check what it changes, and return its tables by logical name.

    Raises: EffectsInvalid, with file and line: no event may pay for code that is broken.
    """
    from weir.consumers import checks
    from weir.consumers.business import effects

    project = current()
    effects.load(project.package, project.root)
    checks.check(catalogue() if sources_file().exists() else {})
    return effects.tables()


def business() -> Business:
    """Return the project's business code as it is deployed, checked. Raises: EffectsInvalid."""
    from weir.infra.business import Business
    from weir.infra.tables import TableResource

    project = current()
    tables = [
        TableResource(name, one.described(), billing=one.billing, existing=one.existing, real_name=one.real_name)
        for name, one in load_effects().items()
    ]
    return Business(project.package, project.root, tables, project.lock)


def _no_file(path: Path) -> str:
    if os.environ.get("WEIR_SOURCES"):
        return f"WEIR_SOURCES names {path}, which does not exist.\n  Correct it, or unset it to use {SOURCES_FILE}."
    return (
        f"There is no {SOURCES_FILE} in {path.parent} or a folder above it.\n"
        f"  Run the command in your project, name the project with --project, make one with `weir init`, or create the "
        f"file with `weir sources add PROVIDER`."
    )

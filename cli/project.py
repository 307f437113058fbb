"""The project that a command works in: its sources file and the folder of the embedded stack's state.

The project's root is the nearest folder, from the current one upwards, that holds a sources file. WEIR_SOURCES names
another sources file, WEIR_HOME another folder for the state.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from weir.cli.framework import NoAnswer

if TYPE_CHECKING:
    from weir.ingest.sources.catalogue import Catalogue, Source

SOURCES_FILE = "sources.yaml"


def root() -> Path:
    """Return the nearest folder, from here upwards, that holds a sources file; the current one if none does."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / SOURCES_FILE).is_file()), here)


def home() -> Path:
    """Return the folder of the embedded stack's state. Raises: NoAnswer when WEIR_HOME names a file."""
    path = Path(os.environ.get("WEIR_HOME") or root() / ".weir").absolute()
    if path.exists() and not path.is_dir():
        raise NoAnswer(f"WEIR_HOME names {path}, which is not a folder.\n  Name a folder; it need not exist yet.")
    return path


def sources_file() -> Path:
    """Return the path of the sources file, which need not exist."""
    return Path(os.environ.get("WEIR_SOURCES") or root() / SOURCES_FILE)


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


def _no_file(path: Path) -> str:
    if os.environ.get("WEIR_SOURCES"):
        return f"WEIR_SOURCES names {path}, which does not exist.\n  Correct it, or unset it to use {SOURCES_FILE}."
    return (
        f"There is no {SOURCES_FILE} in {path.parent} or a folder above it.\n"
        f"  Run the command in your project, name the file with WEIR_SOURCES, or create it with `weir sources add "
        f"PROVIDER`."
    )

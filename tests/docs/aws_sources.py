"""Which pages of AWS the product's code names in its `Source:` lines, and in which files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.docs.documents import ROOT

ROOMS = ("ingest", "consumers", "operate", "infra", "loadtest", "cli", "testing", "weir")
_KINDS = (".py", ".yaml", ".vtl")
_LINE = re.compile(r"Source:.*")
_PAGE = re.compile(r"(?:https://)?((?:docs\.)?aws\.amazon\.com/[^\s)>,\"']+)")


def pages() -> dict[str, set[str]]:
    """Return the files by page, each as a path from the root."""
    found: dict[str, set[str]] = {}
    for name, page in _named():
        found.setdefault(page, set()).add(name)
    return found


def _named() -> Iterator[tuple[str, str]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix not in _KINDS or not path.is_file():
                continue
            for line in _LINE.findall(path.read_text(encoding="utf-8")):
                yield from ((path.relative_to(ROOT).as_posix(), f"https://{page}") for page in _PAGE.findall(line))

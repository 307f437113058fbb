"""The Python of the documents is business code that loads, is checked, and passes the tests that it is shown with."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import ROOT
from tests.support import ledger
from weir.consumers import checks
from weir.consumers.business import effects
from weir.ingest.sources import sources_file

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SOURCES = "stripe: {preset: stripe}\nshopify: {preset: shopify}\n"


def blocks(name: str) -> list[str]:
    """Return the blocks of Python in a document."""
    return _BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


CODE = [
    (name, text)
    for name in ("README.md", "docs/business-code.md")
    for text in blocks(name)
    if not text.startswith("def test_")
]
TESTS = [text for text in blocks("docs/business-code.md") if text.startswith("def test_")]


def project(folder: Path, text: str) -> None:
    (folder / "shop").mkdir()
    # A block may leave out an import that the one before it has.
    (folder / "shop" / "__init__.py").write_text(f"from collections.abc import Iterable\n{text}")
    (folder / "sources.yaml").write_text(SOURCES)
    (folder / "pyproject.toml").write_text('[tool.weir]\npackage = "shop"\n')


def test_the_documents_have_code() -> None:
    """Or the rest proves nothing."""
    assert len(CODE) > 4
    assert TESTS


@pytest.mark.parametrize(("name", "text"), CODE, ids=[f"{name}-{number}" for number, (name, _) in enumerate(CODE)])
def test_what_is_shown_can_be_loaded(name: str, text: str, tmp_path: Path) -> None:
    """Each block is a package by itself: its effects are found, its tables are declared, its changes fit them."""
    project(tmp_path, text)
    effects.load("shop", tmp_path)
    checks.check(sources_file.load(tmp_path / "sources.yaml"))
    assert effects.registered() or effects.tables()
    effects.load("ledger", ledger.FOLDER)


@pytest.mark.parametrize("text", TESTS)
def test_the_test_that_is_shown_passes(text: str, tmp_path: Path) -> None:
    """With the code that is shown first."""
    project(tmp_path, next(text for name, text in CODE if name == "docs/business-code.md"))
    (tmp_path / "test_shop.py").write_text(text)
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""The table of docs/aws.md: whole, and each row names what exists."""

from __future__ import annotations

import pytest

from tests.conformance.scenarios import load
from tests.docs import aws_page, aws_sources
from tests.docs.aws_facts import DOCUMENTED, SECTIONS, UNKNOWN, Behaviour
from tests.docs.documents import ROOT

ROWS = [behaviour for section in SECTIONS.values() for behaviour in section]


def test_every_page_that_the_code_names_has_its_row() -> None:
    """Each page of AWS in a `Source:` line has a row that names the file. A new one needs a row in aws_facts.py."""
    sources = aws_sources.pages()
    assert len(sources) > 70
    told = {(row.page, name) for row in ROWS for name in aws_page.files_of(row)}
    assert not {(page, name) for page, names in sources.items() for name in names} - told


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says[:60])
def test_a_row_names_what_exists(row: Behaviour) -> None:
    """Its page is AWS's, it has files and they exist, so do its scenarios, and what others saw has a link."""
    assert row.page.startswith(("https://docs.aws.amazon.com/", "https://aws.amazon.com/"))
    files = aws_page.files_of(row)
    assert files
    assert not [name for name in files if not (ROOT / name).is_file()]
    assert set(row.scenarios) <= set(load())
    assert row.known in {DOCUMENTED, UNKNOWN} or "](https://" in row.known


def test_a_behaviour_is_told_once() -> None:
    """No sentence is in the table twice."""
    assert len({row.says for row in ROWS}) == len(ROWS)

"""The threat model names, for each promise to each attacker, a bound and a test that exists."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import ROOT, defined
from weir.ingest.sources import presets
from weir.ingest.sources.identity import identity_of

PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
REMAINS = "What remains"
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", PAGE, re.MULTILINE))
ATTACKERS = [title for title in SECTIONS if title != REMAINS]
_TEST = re.compile(r"`(tests/[\w/]+\.py):(test_\w+)`")


def rows(title: str) -> list[list[str]]:
    """Return the cells of a section's table, without its head."""
    lines = [line for line in SECTIONS[title].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_attackers_come_first_and_what_remains_last() -> None:
    """Seven attackers, and under the last heading what is not promised."""
    assert [*ATTACKERS, REMAINS] == list(SECTIONS)
    assert len(ATTACKERS) == 7


@pytest.mark.parametrize("title", ATTACKERS)
def test_each_promise_has_a_bound_and_a_test(title: str) -> None:
    """A row is a promise, what bounds it, and tests that exist, each by file and function."""
    assert rows(title)
    for row in rows(title):
        assert len(row) == 3, row
        assert all(row), row
        found = _TEST.findall(row[2])
        assert found, row
        assert _TEST.sub("", row[2]).strip(", ") == "", row
        assert [name for path, name in found if name not in defined(ROOT / path)] == []


def test_what_remains_names_each_provider_that_it_concerns() -> None:
    """A preset whose captured delivery can be applied again, or with another body, is named under what remains."""
    for name in presets.names():
        preset = presets.preset(name)
        bases = {identity_of(preset, option).basis for option in preset.scheme.options}
        if bases & {"repeats", "digest and type", "each delivery", "unsigned body"}:
            title = re.sub(r" (change notifications|lists)| \(.*\)", "", preset.title)
            assert title in SECTIONS[REMAINS], name


def test_no_promise_is_made_twice() -> None:
    """A promise is in one row of one attacker."""
    promises = [row[0] for title in ATTACKERS for row in rows(title)]
    assert len(set(promises)) == len(promises)

"""What AWS documents, in each world; each difference is a row of docs/conformance.md with a reason."""

from __future__ import annotations

import difflib

import pytest

from tests.conformance import table
from tests.conformance.run import Outcome
from tests.conformance.scenarios import Scenario, load

SCENARIOS = load()

# The first test of a world waits for all of its scenarios.
pytestmark = pytest.mark.timeout(600)


def shown_in(world: str) -> list[str]:
    return [name for name, each in SCENARIOS.items() if world not in each.cannot]


def check(world: str, each: Scenario, outcome: Outcome) -> None:
    assert outcome.error is None, f"{each.name} broke on {world}:\n{outcome.error}"
    assert outcome.observed is not None
    complaint = each.complaint(world, outcome.observed)
    assert complaint is None, complaint


@pytest.mark.engine
@pytest.mark.parametrize("name", shown_in("embedded"))
def test_embedded(embedded: dict[str, Outcome], name: str) -> None:
    """The embedded stack does what AWS documents, or differs for a reason that is published."""
    check("embedded", SCENARIOS[name], embedded[name])


@pytest.mark.localstack
@pytest.mark.parametrize("name", shown_in("localstack"))
def test_localstack(localstack: dict[str, Outcome], name: str) -> None:
    """LocalStack does what AWS documents, or differs for a reason that is published."""
    check("localstack", SCENARIOS[name], localstack[name])


def test_published_table() -> None:
    """The published table is what the last results give, and every difference in them has its reason."""
    results = table.recorded()
    assert not table.complaints(results), "\n".join(table.complaints(results))
    published = table.PUBLISHED.read_text(encoding="utf-8") if table.PUBLISHED.exists() else ""
    rendered = table.render(results)
    changes = "\n".join(difflib.unified_diff(published.splitlines(), rendered.splitlines(), "published", "results"))
    assert published == rendered, f"docs/conformance.md is out of date; adopt with: {table.ADOPT}\n{changes}"


@pytest.mark.parametrize("world", [world.name for world in table.WORLDS])
def test_reasons_name_worlds(world: str) -> None:
    """A reason is for a world that exists, and none is given both for a difference and for what cannot be shown."""
    for each in SCENARIOS.values():
        assert set(each.known) | set(each.cannot) <= {known.name for known in table.WORLDS}, each.name
        assert not (world in each.known and world in each.cannot), each.name

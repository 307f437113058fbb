"""What AWS documents, in each place; each difference is a row of docs/conformance.md with a reason."""

from __future__ import annotations

import difflib

import pytest

from tests.conformance import table
from tests.conformance.bench import Place
from tests.conformance.embedded import Embedded
from tests.conformance.localstack import LocalStack
from tests.conformance.run import Outcome
from tests.conformance.scenarios import UNDOCUMENTED, Observation, Scenario, load

SCENARIOS = load()

# The first test of an emulator waits for all of its scenarios.
pytestmark = pytest.mark.timeout(900)


def shown_in(place: type[Place]) -> list[str]:
    return [name for name, each in SCENARIOS.items() if place.name not in each.cannot]


@pytest.mark.engine
@pytest.mark.parametrize("name", shown_in(Embedded))
def test_embedded(embedded: dict[str, Outcome], name: str) -> None:
    """The embedded stack does what AWS documents, or differs for a reason that is published."""
    complaint = embedded[name].complaint(Embedded, SCENARIOS[name])
    assert complaint is None, complaint


@pytest.mark.localstack
@pytest.mark.parametrize("name", shown_in(LocalStack))
def test_localstack(localstack: dict[str, Outcome], name: str) -> None:
    """LocalStack does what AWS documents, or differs for a reason that is published."""
    complaint = localstack[name].complaint(LocalStack, SCENARIOS[name])
    assert complaint is None, complaint


def test_published_table() -> None:
    """The published table is what the last results give, and every difference in them has its reason."""
    results, aws = table.recorded(), table.recorded_on_aws()
    found = table.complaints({**results, table.AWS: aws.observed} if aws else results)
    assert not found, "\n".join(found)
    published = table.PUBLISHED.read_text(encoding="utf-8") if table.PUBLISHED.exists() else ""
    rendered = table.render(results, aws)
    changes = "\n".join(difflib.unified_diff(published.splitlines(), rendered.splitlines(), "published", "results"))
    if changes:
        pytest.fail(f"docs/conformance.md is out of date; adopt with: {table.ADOPT}\n{changes}", pytrace=False)


@pytest.mark.parametrize("place", [place.name for place in table.PLACES])
def test_reasons_name_places(place: str) -> None:
    """A reason is for a place that exists, and none is given both for a difference and for what cannot be shown."""
    for each in SCENARIOS.values():
        assert set(each.known) | set(each.cannot) <= {known.name for known in table.PLACES}, each.name
        assert not (place in each.known and place in each.cannot), each.name


async def _nothing(bench: object) -> Observation:
    return {}


@pytest.mark.parametrize(
    ("observed", "known", "complains"),
    [
        ({"status": 200, "value": "any"}, {}, None),
        ({"status": 200, "value": "any"}, {"a": "why"}, "take its reason away"),
        ({"status": 415, "value": "any"}, {"a": "why"}, None),
        ({"status": 415, "value": "any"}, {"b": "why"}, "nothing says why"),
        ({"value": "any"}, {}, "nothing says why"),
        ({"status": 200, "value": 1, "more": 2}, {}, "nothing says why"),
    ],
)
def test_differences_need_reasons(observed: Observation, known: dict[str, str], complains: str | None) -> None:
    """An unexplained difference complains, and so does a reason without its difference; what is undocumented never."""
    each = Scenario("s", "x", "d", "p", {"status": 200, "value": UNDOCUMENTED}, _nothing, known)
    complaint = each.complaint("a", observed)
    assert complaint is None if complains is None else complains in str(complaint)

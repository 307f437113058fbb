"""A scenario: what AWS documents, how to look, and what each place is known to do otherwise.

A scenario's function works on a bench and returns what it observed. An observation other than the documented one is a
row of ``docs/conformance.md`` if ``known`` gives the place's reason. Without a reason it fails the tests; so does a
reason whose difference is gone.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.bench import Bench

API_GATEWAY = "API Gateway"
MAPPING = "Kinesis event source mapping"
SECTIONS = (API_GATEWAY, MAPPING)

AG = "https://docs.aws.amazon.com/apigateway/latest/developerguide/"
LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/"
LAMBDA_API = "https://docs.aws.amazon.com/lambda/latest/api/"
KINESIS = "https://docs.aws.amazon.com/streams/latest/dev/"

# What AWS does not document: any value will do, and every place's own is published.
UNDOCUMENTED = "(undocumented)"
# The member of an observation that says why this account cannot show the scenario.
CANNOT = "cannot be shown"

Observation = dict[str, Any]
Run = Callable[[Bench], Awaitable[Observation]]


@dataclass(frozen=True)
class Scenario:
    """One fact and how to see it.

    ``cannot`` says, by place, why it cannot be shown there and is not tried. ``heavy`` ones run alone, so that an
    emulator that is busy with them does not spoil the waits of others. ``long`` ones do little but wait for a minute:
    they begin before all others and go on beside them. ``shards`` is the most that it makes, which AWS charges for.
    """

    name: str
    section: str
    documents: str
    page: str
    expected: Observation
    run: Run
    known: Mapping[str, str] = field(default_factory=dict)
    cannot: Mapping[str, str] = field(default_factory=dict)
    heavy: bool = False
    long: bool = False
    shards: int = 1

    def differs(self, observed: Observation) -> Observation:
        """Return the members of an observation that are not as documented."""
        members = {**dict.fromkeys(self.expected), **observed}
        wanted = {name: self.expected.get(name) for name in members}
        return {
            name: value for name, value in members.items() if wanted[name] != UNDOCUMENTED and value != wanted[name]
        }

    def complaint(self, place: str, observed: Observation) -> str | None:
        """Say what keeps an observation from being published; None when nothing does."""
        if CANNOT in observed:
            return None
        different = self.differs(observed)
        if different and place not in self.known:
            return f"{place} differs, and nothing says why: {different}, AWS documents {self.expected} ({self.page})"
        if not different and place in self.known:
            return f"{place} does as documented now; take its reason away: {self.known[place]}"
        return None


SCENARIOS: dict[str, Scenario] = {}


def scenario(section: str, *, documents: str, page: str, expected: Observation, **reasons: Any) -> Callable[[Run], Run]:
    """Register a function as a scenario; its name is the function's, and its docstring needs no words beside these."""

    def register(run: Run) -> Run:
        name = run.__name__.replace("_", " ")
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(name, section, documents, page, expected, run, **reasons)
        return run

    return register


def load() -> dict[str, Scenario]:
    """Return every scenario by name, in the order of the table."""
    for name in ("requests", "templates", "answers", "batches", "failures", "shards"):
        importlib.import_module(f"tests.conformance.scenarios_{name}")  # its scenarios register themselves
    return dict(sorted(SCENARIOS.items(), key=lambda item: SECTIONS.index(item[1].section)))

"""The fixtures of business code's tests. pytest finds them by itself; nothing is imported before it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from weir.infra.project_file import Project
    from weir.ingest.sources.catalogue import Catalogue
    from weir.ingest.sources.events import Event
    from weir.testing.applying import Tables
    from weir.testing.stack import Stack


class WeirEvent(Protocol):
    """The type of the fixture `weir_event`."""

    def __call__(
        self,
        source: str,
        event_type: str | None = None,
        at: Mapping[str, Any] | None = None,
        *,
        payload: Any = None,
        key: str = "",
        **values: Any,
    ) -> Event[Any]:
        """Return a genuine event of a source or preset."""


class WeirApply(Protocol):
    """The type of the fixture `weir_apply`."""

    def __call__(self, *events: Event[Any], twice: bool = False) -> Tables:
        """Apply events and return the tables."""


@pytest.fixture(scope="session")
def weir_project(request: pytest.FixtureRequest) -> Project:
    """Return the project in which pytest runs. Override it to test another one."""
    from weir.infra import project_file

    return project_file.find(Path(str(request.config.rootpath)))


@pytest.fixture(scope="session")
def _weir_catalogue(weir_project: Project) -> Catalogue:
    """Load the project's business code, check it as `weir run` does, and return its sources."""
    from weir.consumers import checks
    from weir.consumers.business import effects
    from weir.ingest.sources import sources_file

    catalogue = sources_file.load(weir_project.sources)
    effects.load(weir_project.package, weir_project.root)
    checks.check(catalogue)
    return catalogue


@pytest.fixture
def weir_event(_weir_catalogue: Catalogue) -> WeirEvent:
    """Return a function that makes genuine events from the providers' samples.

    ``weir_event("stripe", "charge.succeeded", amount=500)``: values by name, wherever the payload has the one member of
    that name; ``{"$.data.object.amount": 500}`` as the third argument sets them by path; ``payload=`` gives the whole.
    """
    from weir.testing import sample_events

    def make(
        source: str,
        event_type: str | None = None,
        at: Mapping[str, Any] | None = None,
        *,
        payload: Any = None,
        key: str = "",
        **values: Any,
    ) -> Event[Any]:
        found = sample_events.source_of(_weir_catalogue, source)
        return sample_events.make(found, event_type, at, payload=payload, key=key, values=values)

    return make


@pytest.fixture
def weir_tables(_weir_catalogue: Catalogue) -> Tables:
    """Return the project's tables in memory, empty for each test."""
    from weir.testing.applying import Tables

    return Tables(_weir_catalogue)


@pytest.fixture
def weir_apply(_weir_catalogue: Catalogue, weir_tables: Tables) -> WeirApply:
    """Return a function that applies events to the tables in memory, in one batch, and returns the tables.

    ``twice=True`` also demands that the same events change nothing when they come again, alone or in other batches.
    """
    from weir.testing import applying

    def apply(*events: Event[Any], twice: bool = False) -> Tables:
        weir_tables.outcomes = []
        weir_tables.apply(events)
        if twice:
            outcomes = list(weir_tables.outcomes)
            applying.check_repeats(_weir_catalogue, events, weir_tables)
            weir_tables.outcomes = outcomes
        return weir_tables

    return apply


@pytest.fixture(scope="session")
def weir_stack(weir_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run the whole project on this machine for the session, with its state in a folder of its own."""
    from weir.testing.stack import Stack

    stack = Stack(weir_project.root, tmp_path_factory.mktemp("weir"))
    stack.start()
    yield stack
    stack.stop()


__all__ = ["WeirApply", "WeirEvent", "weir_apply", "weir_event", "weir_project", "weir_stack", "weir_tables"]

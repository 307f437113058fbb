"""Every scenario of a session runs once in each place, several at a time; the tests look at the outcomes."""

from __future__ import annotations

import os
import urllib.request

import pytest

from tests.conformance import table
from tests.conformance.bench import Place, emulator
from tests.conformance.embedded import Embedded
from tests.conformance.localstack import LocalStack
from tests.conformance.run import Outcome, run_all
from tests.conformance.scenarios import load
from weir.infra.local.engine.engine import Engine

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")


def _outcomes(place: Place, session: pytest.Session) -> dict[str, Outcome]:
    """Run what the session's tests of this place ask for; record a whole run that can be published."""
    functions = [item for item in session.items if isinstance(item, pytest.Function)]
    asked = {item.callspec.params["name"] for item in functions if item.originalname == _test(place)}
    scenarios = load()
    outcomes = run_all(place, [each for each in scenarios.values() if each.name in asked])
    observed = {name: outcome.observed for name, outcome in outcomes.items() if outcome.observed is not None}
    whole = {name for name, each in scenarios.items() if place.name not in each.cannot}
    if set(observed) == whole and not table.complaints({place.name: observed}):
        table.record(place.name, observed)
    return outcomes


def _test(place: Place) -> str:
    return f"test_{place.name}"


@pytest.fixture(scope="session")
def embedded(engine: Engine, request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """What the embedded stack did in each scenario."""
    return _outcomes(Embedded(emulator(engine.endpoint)), request.session)


@pytest.fixture(scope="session")
def localstack(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """What LocalStack did in each scenario."""
    if not ENDPOINT:
        pytest.skip("set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`")
    try:
        urllib.request.urlopen(f"{ENDPOINT}/_localstack/health", timeout=5).close()
    except OSError as error:
        pytest.fail(f"LOCALSTACK_ENDPOINT={ENDPOINT} does not answer: {error}", pytrace=False)
    return _outcomes(LocalStack(ENDPOINT), request.session)

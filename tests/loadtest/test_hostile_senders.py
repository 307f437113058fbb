"""Strangers against sources of every scheme, beside true traffic, on a stack of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.load_stack import target
from weir.cli.load_target import start_stack
from weir.ingest.schemes.any_of import AnyOf
from weir.ingest.schemes.base import Scheme
from weir.ingest.sources import presets
from weir.ingest.sources.sources_file import load
from weir.loadtest.faults.fault_runner import run_scenario
from weir.loadtest.faults.fault_stack import FaultStack
from weir.loadtest.faults.scenario import SCENARIOS
from weir.loadtest.faults.scenario_run import ScenarioRun
from weir.loadtest.faults.strangers import kinds

TRUE = {"stripe": "stripe", "payments": "standard-webhooks", "github": "github"}


def families() -> dict[str, str]:
    """Return one preset for each kind of scheme, and those that ask a question which takes code."""
    found: dict[object, str] = {}
    for name in presets.names():
        scheme = presets.preset(name).scheme
        options: tuple[Scheme, ...] = scheme.any_of if isinstance(scheme, AnyOf) else (scheme,)
        for option in options:
            found.setdefault((type(option), option.is_asymmetric, option.fetches_certificates), name)
    return {name: name for name in ("slack", "meta", "microsoft-graph", *found.values())}


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a sources file with all of them and make it the project's."""
    file = tmp_path / "sources.yaml"
    document = {}
    for name, preset in {**families(), **TRUE}.items():
        facts = presets.preset(preset)
        url = {"url": f"https://hooks.example.com/v1/{name}"} if facts.scheme.needs_url else {}
        asks = any(one.needs_code for one in facts.handshakes)
        document[name] = {"preset": preset, **url, **({"handshake_function": True} if asks else {})}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setenv("WEIR_SOURCES", str(file))
    return file


def test_each_kind_is_made_of_each_source(sources: Path) -> None:
    """Every source is attacked, and every kind has requests."""
    catalogue = load(sources)
    made = {name: [make() for make in makes[:60]] for name, makes in kinds(catalogue).items() if name != "header"}
    assert {"certificate elsewhere", "question", "multipart/form-data", "sample", "too large"} <= set(made)
    assert {request.source for requests in made.values() for request in requests} == {*catalogue, ""}
    named = [request for request in made["certificate elsewhere"] if b"nowhere-" in _text(request)]
    assert len(named) == len(made["certificate elsewhere"]) > 1
    assert {request.method for request in made["question"]} >= {"GET", "POST"}


def _text(request: object) -> bytes:
    return repr(request).encode()


@pytest.mark.engine
def test_strangers_delay_no_one(sources: Path, tmp_path: Path) -> None:
    """All that they send is refused or quarantined; true events are applied in time, and the account is even."""
    assert sources.exists()
    # With this many schemes a cold start takes its time where the tests have a busy machine.
    with FaultStack(start_stack, target, keep=tmp_path / "stack", settings=["FunctionTimeoutSeconds=60"]) as stack:
        ending = run_scenario(SCENARIOS["hostile-senders"], ScenarioRun(stack.target, stack), print)
    assert not ending.faults

"""The example that a started stack prints: a delivery by curl that is accepted for good."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.support.deliveries import source_of
from weir.infra import sender, signing_keys
from weir.infra.local.engine.engine import Engine
from weir.infra.outputs import Outputs
from weir.infra.place import Place
from weir.ingest.sources import presets
from weir.ingest.sources.catalogue import Catalogue

# Proven by a header with the HMAC of the body alone, however the body is.
PLAIN = {"github", "hmac", "clickup", "segment"}


@pytest.fixture
def place(engine: Engine, tmp_path: Path) -> Place:
    outputs = Outputs(secrets_prefix=f"/{uuid.uuid4().hex}", endpoint="http://127.0.0.1:8080/v1")
    made = Place("embedded", "s", endpoint=engine.endpoint, outputs=outputs)
    made.home = tmp_path
    return made


@pytest.mark.parametrize("preset", presets.names())
def test_a_catalogue_of_any_one_provider_has_an_example_or_none(place: Place, preset: str) -> None:
    """A provider that signs inside the body, a time or the URL gives no example, and no error either."""
    source = source_of(preset)
    signing_keys.provide(place, source)
    line = sender.curl(place, Catalogue({preset: source}))
    assert line is None or line.startswith(f"curl -i http://127.0.0.1:8080/v1/{preset} -H ")
    assert line is not None or preset not in PLAIN

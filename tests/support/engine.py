"""One engine for all tests of a session: the embedded stack's own, on a free port, gone with the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.aws import ACCESS_KEY
from weir.infra.local.engine.engine import Engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Start the engine; ``engine.endpoint`` is its address. Tests share it, so they use names of their own."""
    started = Engine(tmp_path_factory.mktemp("engine"), access_key=ACCESS_KEY)
    started.start()
    yield started
    started.stop()

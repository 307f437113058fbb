from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def histograms() -> None:
    """Skip where the one package without a wheel for every machine is absent."""
    pytest.importorskip("hdrh", reason="with a C compiler: .venv/bin/pip install hdrhistogram")

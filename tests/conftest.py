"""What every test gets: the engine fixture, and the example's business code, which is loaded once.

Async tests run by pytest-asyncio (`asyncio_mode` in pyproject.toml).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import ledger
from tests.support.engine import engine
from weir.consumers.business import effects

__all__ = ["engine", "ledger"]


@pytest.fixture(autouse=True)
def the_example_s_business_code() -> Iterator[None]:
    """Load the example's again after a test whose commands worked in another project."""
    yield
    effects.load("ledger", ledger.FOLDER)

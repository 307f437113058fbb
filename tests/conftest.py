"""What every test gets: the engine fixture, and the example's business code, which is loaded once.

Async tests run by pytest-asyncio (`asyncio_mode` in pyproject.toml).
"""

from __future__ import annotations

from tests.support import ledger
from tests.support.engine import engine

__all__ = ["engine", "ledger"]

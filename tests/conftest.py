"""What every test gets: the engine fixture. Async tests run by pytest-asyncio (`asyncio_mode` in pyproject.toml)."""

from __future__ import annotations

from tests.support.engine import engine

__all__ = ["engine"]

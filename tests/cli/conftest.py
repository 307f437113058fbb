from __future__ import annotations

from tests.support.stack_env import stage

__all__ = ["stage"]

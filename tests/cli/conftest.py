from __future__ import annotations

from tests.support.stack_env import stack_env

__all__ = ["stack_env"]

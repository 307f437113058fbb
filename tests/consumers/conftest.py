from __future__ import annotations

import pytest

from tests.support import aws
from tests.support.engine_env import EngineEnv
from tests.support.stack_env import stack_env
from weir.infra.local.engine.engine import Engine

__all__ = ["stack_env"]


@pytest.fixture(scope="module")
def engine_env(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> EngineEnv:
    """Make tables, secrets and sources for the tests of a module."""
    return EngineEnv(engine.endpoint, tmp_path_factory.mktemp("engine_env"))


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test find the credentials of the person who runs it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.ACCESS_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

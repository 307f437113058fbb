"""The short run of the fault matrix, on a stack of its own; `weir load faults --scale 15` is the long one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import weir
from loadtest.matrix import play
from loadtest.rig import Rig
from loadtest.scenario import SCENARIOS
from loadtest.stage import Stage
from tests.support.load_stack import target


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(weir.load_stack, target, keep=tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.mark.engine
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_promise_is_kept_through(name: str, rig: Rig) -> None:
    """Whatever the scenario breaks: nothing acknowledged is lost, nothing counts twice, and it recovers by itself."""
    ending = play(SCENARIOS[name], Stage(rig.target, rig), print)
    assert not ending.faults

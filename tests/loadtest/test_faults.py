"""The short run of the fault matrix, on a stack of its own; `weir load faults --scale 15` is the long one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import weir
from loadtest.faults import SCENARIOS
from loadtest.matrix import play
from loadtest.rig import Rig
from loadtest.session import Target
from loadtest.stage import Stage


def target(home: Path) -> Target:
    """Return how to reach a stack by its folder."""
    place = weir.load_embedded(home)
    keys = weir.load_signing_keys(place)
    return Target(place, weir.catalogue(), keys, weir.load_dictionary(), home / "load", print)


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

"""The short run of the fault matrix, on a stack of its own; `weir load faults --scale 15` is the long one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.load_stack import target
from weir.cli.load_target import start_stack
from weir.infra.outputs import Outputs
from weir.ingest.sources.catalogue import Catalogue
from weir.loadtest.faults.fault_runner import run_scenario
from weir.loadtest.faults.fault_stack import FaultStack, can_be_read_only
from weir.loadtest.faults.scenario import SCENARIOS, Scenario
from weir.loadtest.faults.scenario_run import Bounds, ScenarioRun
from weir.loadtest.session import Target


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStack]:
    with FaultStack(start_stack, target, keep=tmp_path_factory.mktemp("stack")) as started:
        yield started


class Nowhere:
    """A place where nothing is stored."""

    label = "nowhere"
    access_key = "weir"

    def outputs(self) -> Outputs:
        return Outputs(events_table="none")

    def client(self, service: str) -> Any:
        return service


@pytest.mark.parametrize(
    ("hits", "faults"),
    [
        ({"throttled calls": 3, "late calls": 0}, ("the fault had no effect: late calls",)),
        ({}, ("nothing shows that the fault happened",)),
        ({"throttled calls": 3}, ()),
    ],
)
def test_a_fault_that_met_nothing_fails_its_scenario(
    hits: dict[str, int], faults: tuple[str, ...], tmp_path: Path
) -> None:
    """A scenario passes only if it shows that what it breaks was really broken."""
    nowhere = Target(Nowhere(), Catalogue({}), {}, b"", tmp_path, print)
    assert ScenarioRun(nowhere, None, hits=hits).judge("any", Bounds(), print).faults == faults


def test_a_stack_that_ended_by_itself_has_the_last_word(tmp_path: Path) -> None:
    """The report that nothing answers any more also says why."""
    words = "stopped because the gateway ended (exit code 1); see gateway.log"
    script = f"echo starting; echo ready; sleep 0.5; echo '{words}'; exit 1"

    def run_stack(home: Path, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(["sh", "-c", script], stdout=output)

    def breaks_down(run: ScenarioRun) -> None:
        run.own_stack.await_end()
        raise ConnectionRefusedError("nothing listens")

    with FaultStack(run_stack, target, keep=tmp_path) as stack:
        nowhere = Target(Nowhere(), Catalogue({}), {}, b"", tmp_path, print)
        ending = run_scenario(
            Scenario("any", "a claim", breaks_down, Bounds(), anywhere=False), ScenarioRun(nowhere, stack), print
        )
    assert ending.faults == ("ConnectionRefusedError: nothing listens", f"the stack had ended; it last said: {words}")


@pytest.mark.engine
@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - {"hostile-senders"}))  # see `test_hostile_senders.py`
def test_every_promise_is_kept_through(name: str, stack: FaultStack) -> None:
    """Whatever the scenario breaks: nothing acknowledged is lost, nothing counts twice, and it recovers by itself.

    How fast is for `weir load faults` to judge, on a machine that has nothing else to do.
    """
    if name == "folder-read-only" and not can_be_read_only(stack.home):
        pytest.skip(
            "only root on ext4, XFS or Btrfs can make a folder read-only under a process: run the tests as root"
        )
    ending = run_scenario(SCENARIOS[name], ScenarioRun(stack.target, stack), print)
    assert not ending.faults

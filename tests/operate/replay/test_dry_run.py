"""What a dry run says, and that it writes nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stack_env import StackEnv
from weir.consumers.business.changes import Check, Delete, Newer, Put, Update, above, absent, at_most, equals, exists
from weir.ingest.errors import ConditionFailed
from weir.operate.replay.targets.simulate import Simulation


@pytest.mark.engine
def test_a_dry_run_tells_the_fate_of_each_event_and_writes_nothing(stack_env: StackEnv) -> None:
    """Would apply, already applied, would be ignored, would be quarantined and why; with --diff the items."""
    stack_env.put(stack_env.payment("old", 100, message_id="m-old"))
    stack_env.consume()
    stack_env.put(
        stack_env.payment("old", 7, message_id="m-new"),
        stack_env.payment("new", 5, message_id="m-twice"),
        stack_env.payment("new", 5, message_id="m-twice"),
        stack_env.payment("old", 1, message_id="m-forged", secret="whsec_" + "QUJD" * 8),
        stack_env.delivery({"type": "payment.succeeded", "data": {"account": "x"}}, message_id="m-bad"),
        stack_env.delivery({"type": "unknown"}, message_id="m-other"),
    )
    before = stack_env.events(), stack_env.balances()
    said = stack_env.weir("replay", "--from", "stream", "--dry-run", "--diff").splitlines()
    told = {line.split()[-1] if ": " not in line else line.split(": ")[1]: line for line in said}
    assert "already applied" in told["m-old"]
    assert "would apply" in told["m-new"]
    assert "would ignore" in told["m-other"]
    assert any("m-bad: event_rejected" in line for line in said)
    assert any(line.startswith("would be quarantined") and "signature_mismatch" in line for line in said)
    assert any('update balances {"account": "old"}  ADD EUR +7, events +1' in line for line in said)
    assert '~ balances {"account": "old"}  EUR 100 -> 107, events 1 -> 2' in said
    assert '+ balances {"account": "new"}  EUR=5, events=1' in said
    counts = {line.rpartition("  ")[0].strip(): line.split()[-1] for line in said if line[-1].isdigit()}
    assert counts["would apply"] == "2"
    assert counts["already applied"] == "2"
    assert (stack_env.events(), stack_env.balances()) == before
    assert not list(stack_env.home.glob("replays/*"))


@pytest.mark.engine
def test_a_deploy_is_tried_on_real_traffic_before_it_is_made(stack_env: StackEnv) -> None:
    """Events that were applied and that this working tree would refuse have a line of their own."""
    stack_env.put(*(stack_env.payment("a", 1, message_id=f"m-{n}") for n in range(3)))
    stack_env.consume()
    (stack_env.home / "sources.yaml").write_text("payments: {preset: standard-webhooks, effects: false}\n")
    said = stack_env.weir("replay", "--from", "archive", "--dry-run") + stack_env.weir(
        "replay", "--from", "events", "--dry-run"
    )
    assert "3  applied then, would ignore by this working tree" in said
    assert said.count("would ignore now") == 3


KEY = {"id": "x"}
STARTS: list[dict[str, Any] | None] = [None, {"id": {"S": "x"}, "n": {"N": "5"}, "v": {"N": "3"}, "s": {"SS": ["a"]}}]


def after(start: dict[str, Any] | None, *changes: Any) -> Any:
    simulation = Simulation(lambda table, key: start)
    simulation.apply(tuple(changes))
    differences = simulation.differences()
    return differences[0][2] if differences else "same"


def test_changes_do_in_a_simulation_what_they_do_to_an_item() -> None:
    """Puts, updates, removals, versions and deletions, on an item and on none."""
    none, some = STARTS
    assert after(none, Put("t", KEY, {"a": 1})) == {"id": "x", "a": 1}
    assert after(some, Put("t", KEY, {"a": Decimal("1.50")})) == {"id": "x", "a": Decimal("1.5")}
    assert after(none, Update("t", KEY, add={"n": 2})) == {"id": "x", "n": 2}
    assert after(some, Update("t", KEY, set={"a": "b"}, add={"n": -5}, remove=["v"])) == {
        "id": "x",
        "n": 0,
        "a": "b",
        "s": frozenset({"a"}),
    }
    assert after(some, Delete("t", KEY)) is None
    assert after(some, Update("t", KEY, set={"a": 1}, newer=Newer("v", 3))) == "same"
    assert after(some, Update("t", KEY, set={"a": 1}, newer=Newer("v", 4)))["v"] == 4
    assert after(none, Put("t", KEY, newer=Newer("v", 4))) == {"id": "x", "v": 4}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (exists("n"), True),
        (absent("n"), False),
        (absent("zzz"), True),
        (equals("n", 5), True),
        (equals("n", "5"), False),
        (above("n", 4) & at_most("n", 5), True),
        (above("n", 5) | absent("zzz"), True),
        (~exists("n"), False),
        (above("zzz", 0), False),
        (above("s", 3), False),
    ],
)
def test_conditions_are_judged_as_dynamodb_judges_them(condition: Any, holds: bool) -> None:
    """A condition that does not hold refuses all changes of the event."""
    simulation = Simulation(lambda table, key: STARTS[1])
    changes = (Update("t", {"id": "y"}, add={"n": 1}), Check("t", KEY, condition))
    if holds:
        simulation.apply(changes)
        assert len(simulation.differences()) == 1
    else:
        with pytest.raises(ConditionFailed):
            simulation.apply(changes)
        assert simulation.differences() == []


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=20))
def test_additions_add_up_whatever_their_order(amounts: list[int]) -> None:
    """The item after many additions is the sum of them."""
    simulation = Simulation(lambda table, key: None)
    for amount in amounts:
        simulation.apply((Update("t", KEY, add={"n": amount}),))
    assert simulation.differences()[0][2] == {"id": "x", "n": sum(amounts)}

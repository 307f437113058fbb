from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support import load_env
from weir.loadtest.judging.evidence import Evidence
from weir.loadtest.judging.judge_run import lines
from weir.loadtest.judging.reconcile import judge
from weir.loadtest.judging.verdict import Verdict
from weir.loadtest.sending.results import Result


def verdict(
    change: Callable[[dict[str, Any]], None] | None = None, of: list[Result] | None = None, **expected: Any
) -> Verdict:
    """Judge the good world after a change to its stores."""
    sent = of or load_env.results()
    kept = load_env.found(load_env.results())
    stores: dict[str, Any] = {
        "items": dict(kept.items),
        "balances": {account: dict(row) for account, row in (kept.balances or {}).items()},
        "records": list(kept.records or ()),
        "commits": list(kept.commits or ()),
    }
    if change is not None:
        change(stores)
    return judge(load_env.run(sent), Evidence(**stores), **expected)


def faults(found: Verdict) -> dict[str, list[str]]:
    return {name: list(ids) for name, ids in found.faults.items() if ids}


def test_a_world_in_which_all_went_well_passes() -> None:
    """A run whose events are all there, once, whole and in order passes, and everything is counted."""
    found = verdict()
    assert faults(found) == {}
    assert found.passed
    assert (found.sent, found.acknowledged, found.stored) == (12, 10, 10)
    assert (found.applied, found.quarantined, found.duplicates, found.refused) == (8, 1, 1, 2)
    assert found.as_json()["named"] == {}


NO_LAG = {"lag_max_s": 0.0, "lag_under_2_s_after_s": 0.0}
EVENT = "stripe#evt_3"


def _lose(stores: dict[str, Any]) -> None:
    del stores["items"][EVENT]


def _lose_forgery(stores: dict[str, Any]) -> None:
    del stores["items"]["stripe!req_9"]


def _lose_record(stores: dict[str, Any]) -> None:
    stores["records"] = [record for record in stores["records"] if record.seq != 3]


def _change(**what: Any) -> Callable[[dict[str, Any]], None]:
    def change(stores: dict[str, Any]) -> None:
        stores["items"][EVENT] = replace(stores["items"][EVENT], **what)

    return change


def _alter_record(stores: dict[str, Any]) -> None:
    stores["records"][2] = replace(stores["records"][2], body_sha256="0" * 64)


def _apply_twice(stores: dict[str, Any]) -> None:
    stores["commits"].append(stores["commits"][3])


def _book_twice(stores: dict[str, Any]) -> None:
    stores["balances"]["a0"]["EUR"] += 4
    stores["balances"]["a0"]["events"] += 1


def _swap(stores: dict[str, Any]) -> None:
    commits = stores["commits"]
    commits[1], commits[3] = commits[3], commits[1]


def _swap_records(stores: dict[str, Any]) -> None:
    first, second = stores["records"][1], stores["records"][3]
    stores["records"][1] = replace(second, position=1)
    stores["records"][3] = replace(first, position=3)


def _accept_forgery(stores: dict[str, Any]) -> None:
    stores["items"]["stripe#evt_9"] = replace(stores["items"][EVENT], pk="stripe#evt_9")


def _move(stores: dict[str, Any]) -> None:
    stores["records"][2] = replace(stores["records"][2], partition_key="elsewhere")


def _mix_up(stores: dict[str, Any]) -> None:
    stores["records"][2] = replace(stores["records"][2], seq=4)


def _split_effect(stores: dict[str, Any]) -> None:
    whole = stores["commits"][3]
    stores["commits"][3] = replace(whole, added={})
    stores["commits"].append(replace(whole, marks=()))


def _quarantine_good(stores: dict[str, Any]) -> None:
    kept = stores["items"].pop(EVENT)
    stores["items"]["stripe!req_3"] = replace(kept, pk="stripe!req_3", outcome="quarantined", reason="too_large")
    stores["balances"]["a0"]["EUR"] -= 4
    stores["balances"]["a0"]["events"] -= 1


@pytest.mark.parametrize(
    ("change", "fault", "named"),
    [
        (_lose, "lost", EVENT),
        (_lose_forgery, "lost", "stripe!req_9"),
        (_lose_record, "lost", "req_3"),
        (_change(body_sha256="0" * 64), "altered", EVENT),
        (_change(bytes_sha256="0" * 64), "altered", EVENT),
        (_change(key="other"), "altered", EVENT),
        (_change(outcome="ignored"), "lost", EVENT),
        (_change(event_id="evt_4"), "altered", EVENT),
        (_change(source="github"), "altered", EVENT),
        (_change(request_id="req_4"), "altered", EVENT),
        (_move, "out_of_order", "'k0'"),
        (_mix_up, "lost", "req_2"),
        (_split_effect, "wrong_balances", EVENT),
        (_alter_record, "altered", "req_2"),
        (_apply_twice, "applied_twice", EVENT),
        (_book_twice, "wrong_balances", EVENT),
        (_swap, "out_of_order", "stripe#evt_1"),
        (_swap_records, "out_of_order", "req_3"),
        (_accept_forgery, "forged", "stripe#evt_9"),
        (_quarantine_good, "wrongly_quarantined", EVENT),
    ],
)
def test_whatever_breaks_a_promise_fails_the_run_by_name(
    change: Callable[[dict[str, Any]], None], fault: str, named: str
) -> None:
    """Each way in which the stores can differ from what was sent fails the run and names the id."""
    found = verdict(change)
    assert not found.passed
    assert any(named in what for what in found.faults[fault]), faults(found)


def test_a_good_event_may_be_in_quarantine_where_that_is_expected() -> None:
    """A scenario whose senders' clocks are wrong expects the reason, and the run passes."""
    found = verdict(_quarantine_good, expected_reasons=("too_large",))
    assert faults(found) == {}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [("quarantined", "condition_failed"), ("quarantined", "event_rejected"), ("waiting", "not_yet")],
)
def test_what_business_code_refuses_is_not_lost(outcome: str, reason: str) -> None:
    """A project whose own code refuses or defers samples passes, and is shown how many; unproven ones still count."""

    def refuse(stores: dict[str, Any], **more: Any) -> None:
        _quarantine_good(stores)
        kept = stores["items"]["stripe!req_3"]
        stores["items"]["stripe!req_3"] = replace(kept, outcome=outcome, reason=reason, scheme="stripe", **more)
        stores["balances"] = None

    found = verdict(refuse)
    assert faults(found) == {}
    assert found.refused_by_code == {reason: 1}
    assert f"refused by business code: {reason} 1" in lines(replace(found, facts=NO_LAG))
    assert faults(verdict(lambda stores: refuse(stores, bytes_sha256="0" * 64))).keys() == {"altered"}

    def unproven(stores: dict[str, Any]) -> None:
        refuse(stores)
        stores["items"]["stripe!req_3"] = replace(stores["items"]["stripe!req_3"], scheme="")

    assert faults(verdict(unproven)).keys() == {"wrongly_quarantined"}


def test_what_had_to_wait_may_be_overtaken() -> None:
    """It was applied after events that came later, as its business code asked."""
    assert faults(verdict(_swap)).keys() == {"out_of_order"}

    def wait(stores: dict[str, Any]) -> None:
        _swap(stores)
        for pk in ("stripe#evt_1", EVENT):
            stores["items"][pk] = replace(stores["items"][pk], attempts=2)

    assert faults(verdict(wait)) == {}


def test_a_final_refusal_of_a_good_delivery_fails_the_run() -> None:
    """Any answer but 2xx, 413 to what is too large, or one that asks to come again, is a fault of the gateway."""
    sent = [
        *load_env.results(),
        load_env.result(99, status=415, first_status=415, said="what?", request_id="", account=""),
    ]
    assert faults(verdict(of=sent)) == {"wrongly_refused": ["number 99: 415 what?"]}


def test_what_was_stored_without_an_answer_may_count() -> None:
    """An event whose answer was lost may be applied: the balances then hold it, and nothing is wrong."""

    def store(stores: dict[str, Any]) -> None:
        late = load_env.result(11, status=503, request_id="req_11")
        pk = "stripe#evt_11"
        stores["items"][pk] = load_env.item(pk, late, outcome="applied")
        stores["balances"][late.account]["EUR"] += late.change
        stores["balances"][late.account]["events"] += 1

    found = verdict(store)
    assert faults(found) == {}
    assert found.applied == 9


def test_without_a_journal_times_stand_in() -> None:
    """Where commits cannot be read, an event applied at an earlier time than its predecessor is out of order."""

    def swap(stores: dict[str, Any]) -> None:
        stores["commits"] = None
        stores["items"][EVENT] = replace(stores["items"][EVENT], applied_at_ms=1)

    found = verdict(swap)
    assert list(faults(found)) == ["out_of_order"]
    assert any("journal" in what for what in found.unshown)


def test_a_journal_that_begins_late_is_told() -> None:
    """Events that the journal does not hold any more are not judged for order, and that is said."""

    def forget(stores: dict[str, Any]) -> None:
        stores["commits"] = stores["commits"][5:]

    found = verdict(forget)
    assert found.passed
    assert found.unshown == ("the order of 5 events: the journal begins after them",)

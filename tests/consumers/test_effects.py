from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ledger as project
from tests.support.batches import envelope
from weir.consumers.business import effects
from weir.consumers.business.changes import Update
from weir.consumers.business.effects import effect, find
from weir.ingest.errors import EffectsInvalid, EventRejected
from weir.ingest.ids import EventId, SourceName
from weir.ingest.sources.events import Event


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    """Give each test the example's effects and take its own away again."""
    effects.load("ledger", project.FOLDER)
    before = {key: one for key, one in effects._registrations.items() if not one.name.startswith("ledger.")}
    yield
    effects._registrations.clear()
    effects._registrations.update(before)
    effects.unload()
    effects.load("ledger", project.FOLDER)


@pytest.fixture
def ledger() -> Any:
    """Return the example's module as it is loaded."""
    return importlib.import_module("ledger.effects")


def event(source: str, event_type: str, payload: Any) -> Event:
    return Event(SourceName(source), EventId("e1"), event_type, None, "", payload, 0, envelope())


def nothing(_: Event) -> list[Any]:
    return []


def test_the_ledger_is_found_by_preset(ledger: Any) -> None:
    """A source of any name whose preset is Stripe's has the ledger's effects."""
    assert find("shop-in-france", "stripe", "charge.succeeded") is ledger.charge_succeeded
    assert find("shop-in-france", "stripe", "charge.pending") is None
    assert find("payments", "standard-webhooks", "payment.refunded") is ledger.payment_refunded


def test_a_source_s_own_effect_comes_before_its_preset_s(ledger: Any) -> None:
    """What an operator writes for one source replaces what all of its kind have."""
    effect("mine", "charge.*")(nothing)
    assert find("mine", "stripe", "charge.succeeded") is nothing
    assert find("other", "stripe", "charge.succeeded") is ledger.charge_succeeded


def test_the_more_specific_pattern_wins() -> None:
    """An exact type comes before every pattern, a longer pattern before a shorter."""

    def all_(_: Event) -> list[Any]:
        return []

    def longer(_: Event) -> list[Any]:
        return []

    effect("s", "*")(all_)
    effect("s", "order.*")(longer)
    effect("s", "order.paid")(nothing)
    assert [find("s", "", kind) for kind in ("order.paid", "order.sent", "other")] == [nothing, longer, all_]


def test_two_effects_may_not_claim_the_same() -> None:
    """Which of two functions runs is never left to the order of imports."""
    effect("s", "a")(nothing)
    effect("s", "a")(nothing)
    with pytest.raises(EffectsInvalid, match="claim s a"):
        effect("s", "a")(lambda _: [])


def test_a_found_effect_is_remembered_until_another_is_registered() -> None:
    """The cache never hides a new registration."""
    assert find("late", "", "x") is None
    effect("late", "x")(nothing)
    assert find("late", "", "x") is nothing


def test_a_charge_is_booked_to_its_account(ledger: Any) -> None:
    """The ledger adds minor units in upper-case currency and counts the event."""
    payload = {"account": "acct_1", "data": {"object": {"amount": 1250, "currency": "eur"}}}
    assert ledger.charge_succeeded(event("stripe", "charge.succeeded", payload)) == [
        Update("balances", {"account": "acct_1"}, add={"EUR": 1250, "events": 1})
    ]


def test_a_refund_is_taken_off(ledger: Any) -> None:
    """What goes back is subtracted; the platform's own account has a name."""
    payload = {"data": {"object": {"amount": 50, "currency": "usd"}}}
    assert ledger.refund_created(event("stripe", "refund.created", payload)) == [
        Update("balances", {"account": "platform"}, add={"USD": -50, "events": 1})
    ]


def test_payments_of_the_own_sender_are_booked(ledger: Any) -> None:
    """Standard Webhooks payments and refunds cancel out."""
    payload = {"data": {"account": "a", "amount": 7, "currency": "EUR"}}
    assert ledger.payment_succeeded(event("payments", "payment.succeeded", payload)) == [
        Update("balances", {"account": "a"}, add={"EUR": 7, "events": 1})
    ]
    assert ledger.payment_refunded(event("payments", "payment.refunded", payload)) == [
        Update("balances", {"account": "a"}, add={"EUR": -7, "events": 1})
    ]


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {"data": None},
        {"data": {"account": "", "amount": 7, "currency": "EUR"}},
        {"data": {"account": "a", "amount": 7.5, "currency": "EUR"}},
        {"data": {"account": "a", "amount": True, "currency": "EUR"}},
        {"data": {"account": "a", "amount": -7, "currency": "EUR"}},
        {"data": {"account": "a", "amount": 10**15, "currency": "EUR"}},
        {"data": {"account": "a", "amount": 7, "currency": "EURO"}},
        {"data": {"account": "a", "amount": 7, "currency": "ev1"}},
        {"data": {"account": "x" * 300, "amount": 7, "currency": "EUR"}},
    ],
)
def test_what_is_no_payment_is_rejected(payload: Any, ledger: Any) -> None:
    """A payment without account, whole amount or currency is refused with a reason, never booked as something else."""
    with pytest.raises(EventRejected):
        ledger.payment_succeeded(event("payments", "payment.succeeded", payload))


@pytest.mark.parametrize("text", ["def effect(:\n", "import nowhere_to_be_found\n", "raise SystemExit(3)\n"])
def test_a_file_that_cannot_be_imported_is_nobodys_event(text: str, tmp_path: Path) -> None:
    """A broken deploy fails as a whole, with file and line, before any event is judged by it."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "broken_by_hand.py").write_text(f"\n{text}")
    with pytest.raises(EffectsInvalid, match=r"broken_by_hand\.py:2: (Syntax|ModuleNotFound|System)E"):
        effects.load("shop", tmp_path)

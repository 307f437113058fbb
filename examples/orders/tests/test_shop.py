"""The shop's tests: each event is one that the provider could have sent, and is applied as the consumer would."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import data

from weir import EventRejected
from weir.ingest.errors import EventMalformed
from weir.ingest.sources.sources_file import load
from weir.testing.applying import applied
from weir.testing.strategies import batches


def test_an_order_is_stored_with_its_lines_and_customer(weir_event, weir_apply):
    """One event, three tables, once."""
    tables = weir_apply(weir_event("shopify", "orders/create", {"$.name": "#7"}, total_price="12.50"), twice=True)
    assert tables.item("orders", "#7")["total"] == Decimal("12.50")
    assert [line["quantity"] for line in tables.items("order_lines")] == [1]
    assert [customer["email"] for customer in tables.items("customers")] == ["john@example.com"]


def test_states_may_come_in_any_order(weir_event, weir_apply):
    """What is stored is the latest state."""
    late = weir_event(
        "shopify", "orders/create", {"$.name": "#7"}, updated_at="2026-11-01T00:00:00Z", total_price="1.00"
    )
    new = weir_event(
        "shopify", "orders/updated", {"$.name": "#7"}, updated_at="2026-11-02T00:00:00Z", total_price="2.00"
    )
    assert weir_apply(new, late).item("orders", "#7")["total"] == 2


def test_an_order_that_is_not_one_is_malformed(weir_event, weir_apply):
    """The model says where, and the event is quarantined with that."""
    with pytest.raises(EventMalformed, match=r"\$\.line_items\.0\.quantity"):
        weir_apply(weir_event("shopify", "orders/create", {"$.line_items[0].quantity": 0}))


def test_charges_are_summed(weir_event, weir_apply):
    """Each charge counts once, in its currency."""
    charges = [weir_event("stripe", "charge.succeeded", amount=amount, customer="cus_1") for amount in (500, 700)]
    assert weir_apply(*charges, twice=True).item("customers", "cus_1") == {"customer": "cus_1", "paid_eur": 1200}


def test_a_charge_without_customer_is_rejected(weir_event, weir_apply):
    """It is quarantined with this reason."""
    with pytest.raises(EventRejected, match="names no customer"):
        weir_apply(weir_event("stripe", "charge.succeeded", customer=None))


def test_a_refund_needs_a_payment(weir_event, weir_apply):
    """Without one the condition fails, and nothing changes."""
    refund = weir_event("stripe", "charge.refunded", customer="cus_1", amount_refunded=200)
    assert weir_apply(refund).outcomes == ["quarantined condition_failed"]
    assert weir_apply(weir_event("stripe", "charge.succeeded", customer="cus_1", amount=500)).outcomes == ["applied"]
    again = weir_event("stripe", "charge.refunded", customer="cus_1", amount_refunded=200)
    assert weir_apply(again).item("customers", "cus_1")["paid_eur"] == 300


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data())
def test_repeats_and_batches_change_nothing(weir_event, weir_project, data):
    """However the stream cuts and repeats the events, the tables are the same."""
    charges = [weir_event("stripe", "charge.succeeded", amount=100 * n, customer=f"cus_{n % 2}") for n in range(4)]
    found = applied(load(weir_project.sources), data.draw(batches(charges)))
    assert {one["customer"]: one["paid_eur"] for one in found.items("customers")} == {"cus_0": 200, "cus_1": 400}

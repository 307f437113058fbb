"""The tests of the business code: `weir_event` and `weir_apply` are fixtures that Weir brings."""

from decimal import Decimal

import pytest

from weir import EventRejected


def test_an_order_is_stored(weir_event, weir_apply):
    """It is stored once, however often and in whatever batches it comes."""
    tables = weir_apply(weir_event("shopify", "orders/paid", name="#1001", total_price="19.90"), twice=True)
    order = tables.item("orders", "#1001")
    assert (order["total"], order["status"]) == (Decimal("19.90"), "paid")


def test_an_older_state_does_not_overwrite(weir_event, weir_apply):
    """Events may come late: the newest state of the order stays."""
    later = weir_event("shopify", "orders/updated", name="#1", updated_at="2026-02-02T00:00:00Z", total_price="2.00")
    older = weir_event("shopify", "orders/create", name="#1", updated_at="2026-02-01T00:00:00Z", total_price="1.00")
    tables = weir_apply(later, older)
    assert tables.outcomes == ["applied", "applied"]
    assert tables.item("orders", "#1")["total"] == 2


def test_a_total_that_is_not_a_number_is_rejected(weir_event, weir_apply):
    """Such an event is quarantined with this reason, and keeps its bytes."""
    with pytest.raises(EventRejected, match="not a number"):
        weir_apply(weir_event("shopify", "orders/paid", total_price="free"))

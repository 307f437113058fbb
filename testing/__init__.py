"""Tests of business code: genuine events, a store in memory, a real stack. pytest finds the fixtures by itself.

def test_an_order_is_stored(weir_event, weir_apply):
    tables = weir_apply(weir_event("shopify", "orders/create", name="#1001"), twice=True)
    assert tables.item("orders", "#1001")["total"] == Decimal("10.00")
"""

"""The whole project on this machine: gateway, stream, consumer and tables, started once for the session."""


def test_signed_deliveries_end_in_the_tables(weir_stack):
    """Posted as Shopify and Stripe do, applied by the consumer, and accounted for."""
    assert weir_stack.send("shopify") == "applied"
    assert weir_stack.send("stripe") == "applied"
    [order] = weir_stack.items("orders")
    assert order["currency"] == "EUR"
    assert len(weir_stack.items("customers")) == 2
    assert "unaccounted               0" in weir_stack.weir("account", "--grace", "0s")

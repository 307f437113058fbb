"""The ledger's tests."""

import pytest

from weir import EventRejected


def test_charges_and_refunds_are_summed(weir_event, weir_apply):
    """A balance is the sum of what was booked, however often it was sent."""
    charge = weir_event("stripe", "charge.succeeded", {"$.account": "acct_1"}, amount=500)
    refund = weir_event("stripe", "refund.created", {"$.account": "acct_1"}, amount=200)
    balance = weir_apply(charge, refund, twice=True).item("balances", "acct_1")
    assert balance == {"account": "acct_1", "EUR": 300, "events": 2}


def test_a_payment_of_the_own_sender_is_booked(weir_event, weir_apply):
    """The generic preset's sample carries whatever the sender sends."""
    payload = {"type": "payment.succeeded", "data": {"account": "a", "amount": 7, "currency": "eur"}}
    assert weir_apply(weir_event("payments", payload=payload)).item("balances", "a")["EUR"] == 7


def test_half_a_cent_is_rejected(weir_event, weir_apply):
    """Amounts are whole."""
    with pytest.raises(EventRejected, match="whole number"):
        weir_apply(weir_event("stripe", "charge.succeeded", amount=0.5))

"""Payments: what Stripe charged is added to its customer. Sums need no order, and each charge counts once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shop.tables import customers
from weir import Change, Delete, Event, EventRejected, Update, effect, exists


@effect("stripe", "charge.succeeded")
def add_charge(event: Event) -> Iterable[Change]:
    """Add the amount, in minor units, to what the customer has paid."""
    charge = event.payload["data"]["object"]
    return [Update(customers, {"customer": _customer(charge)}, add={f"paid_{charge['currency']}": charge["amount"]})]


@effect("stripe", "charge.refunded")
def take_off_refund(event: Event) -> Iterable[Change]:
    """Take off what went back; a refund of a customer who never paid is quarantined: something is wrong."""
    charge = event.payload["data"]["object"]
    paid = f"paid_{charge['currency']}"
    refunded = charge["amount_refunded"] - event.payload["data"].get("previous_attributes", {}).get(
        "amount_refunded", 0
    )
    return [Update(customers, {"customer": _customer(charge)}, add={paid: -refunded}, condition=exists(paid))]


@effect("stripe", "customer.deleted")
def forget_customer(event: Event) -> Iterable[Change]:
    """Forget the customer."""
    return [Delete(customers, {"customer": event.payload["data"]["object"]["id"]})]


def _customer(charge: Mapping[str, Any]) -> str:
    if not charge.get("customer"):
        raise EventRejected("The charge names no customer.", charge=charge.get("id"))
    return str(charge["customer"])

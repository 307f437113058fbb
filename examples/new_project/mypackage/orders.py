"""Orders of the shop: one item an order, as its latest event says."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import TypedDict

from weir import Change, Event, EventRejected, Newer, Put, Table, effect

orders = Table("orders", key={"order": str})


class Order(TypedDict):
    """What this code reads of Shopify's order."""

    id: int
    name: str
    currency: str
    total_price: str
    financial_status: str
    updated_at: str


@effect("shopify", "orders/*")
def store_order(event: Event[Order]) -> Iterable[Change]:
    """Store the order, unless a later state of it is stored already."""
    order = event.payload
    try:
        total = Decimal(order["total_price"])
    except InvalidOperation:
        raise EventRejected("The total is not a number.", total=order["total_price"]) from None
    return [
        Put(
            orders,
            {"order": order["name"]},
            {
                "id": order["id"],
                "total": total,
                "currency": order["currency"],
                "status": order["financial_status"],
            },
            newer=Newer("updated_at", order["updated_at"]),
        )
    ]

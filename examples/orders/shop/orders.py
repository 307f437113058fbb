"""Orders: the latest state of each, with its lines. Shopify sends states, and may send them late or more than once."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from pydantic import BaseModel, Field

from shop.tables import customers, order_lines, orders
from weir import Change, Event, EventRejected, Newer, Put, Update, effect

_LINES_MAX = 90  # a transaction has 100 actions


class Customer(BaseModel):
    """The customer of an order."""

    id: int
    email: str = ""


class Line(BaseModel):
    """A line of an order."""

    sku: str | None = None
    quantity: int = Field(gt=0)
    price: Decimal


class Order(BaseModel):
    """What is read of Shopify's order: anything else about it may change without notice."""

    name: str = Field(min_length=1)
    updated_at: str
    currency: str = Field(pattern="[A-Z]{3}")
    total_price: Decimal
    financial_status: str | None = None
    customer: Customer | None = None
    line_items: list[Line] = []


@effect("shopify", "orders/*")
def store_order(event: Event[Order]) -> Iterable[Change]:
    """Store the order and its lines, unless a later state of it is stored already."""
    order = event.payload
    if len(order.line_items) > _LINES_MAX:
        raise EventRejected("It has more lines than one transaction can write.", lines=len(order.line_items))
    newer = Newer("updated_at", order.updated_at)
    facts = {"total": order.total_price, "currency": order.currency, "status": order.financial_status or "pending"}
    if order.customer is not None:
        facts["customer"] = str(order.customer.id)
    yield Put(orders, {"order": order.name}, facts, newer=newer)
    for number, line in enumerate(order.line_items, 1):
        bought = {"sku": line.sku, "quantity": line.quantity, "price": line.price}
        yield Put(order_lines, {"order": order.name, "line": number}, bought, newer=newer)
    if order.customer is not None:
        seen = Newer("seen_at", order.updated_at)
        yield Update(customers, {"customer": str(order.customer.id)}, set={"email": order.customer.email}, newer=seen)

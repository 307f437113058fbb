"""The example: a ledger of payments, one item an account, whose balances are the sum of the events applied.

Amounts are whole minor units (cents), so every sum is exact. Additions commute: hundreds of payments to one account
share a write, in whatever order they come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from weir import Change, Event, EventRejected, Table, Update, effect

balances = Table("balances", key={"account": str})

_CURRENCY = re.compile(r"[A-Z]{3}")
_AMOUNT_BOUND = 10**15


@effect("stripe", "charge.succeeded")
def charge_succeeded(event: Event) -> Iterable[Change]:
    """Credit the connected account, or the platform's own."""
    return _book(event, _stripe_account(event), _stripe_object(event), "amount", 1)


@effect("stripe", "refund.created")
def refund_created(event: Event) -> Iterable[Change]:
    """Debit what goes back to the customer."""
    return _book(event, _stripe_account(event), _stripe_object(event), "amount", -1)


@effect("payments", "payment.succeeded")
def payment_succeeded(event: Event) -> Iterable[Change]:
    """Credit the account that the payment names."""
    data = _mapping(event.payload, "data")
    return _book(event, data.get("account"), data, "amount", 1)


@effect("payments", "payment.refunded")
def payment_refunded(event: Event) -> Iterable[Change]:
    """Debit the account that the refund names."""
    data = _mapping(event.payload, "data")
    return _book(event, data.get("account"), data, "amount", -1)


def _book(event: Event, account: object, facts: Mapping[str, Any], field: str, sign: int) -> list[Change]:
    amount, currency = facts.get(field), str(facts.get("currency", "")).upper()
    if not isinstance(account, str) or not 0 < len(account.encode("utf-8", "replace")) <= 256:
        raise EventRejected("It names no account.", type=event.type)
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount < _AMOUNT_BOUND:
        raise EventRejected("The amount is not a whole number of minor units.", type=event.type)
    if not _CURRENCY.fullmatch(currency):
        raise EventRejected("The currency is not a three-letter code.", type=event.type)
    return [Update(balances, {"account": account}, add={currency: sign * amount, "events": 1})]


def _stripe_object(event: Event) -> Mapping[str, Any]:
    return _mapping(_mapping(event.payload, "data"), "object")


def _stripe_account(event: Event) -> object:
    payload = event.payload if isinstance(event.payload, Mapping) else {}
    return payload.get("account", "platform")


def _mapping(value: object, member: str) -> Mapping[str, Any]:
    found = value.get(member) if isinstance(value, Mapping) else None
    if not isinstance(found, Mapping):
        raise EventRejected(f"It has no {member}.")
    return found

"""One line of the bill, and what all lines are calculated from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weir.infra.cost import Estimate, Load
from weir.infra.costs.billed_stack import BilledStack
from weir.infra.prices import Prices


@dataclass(frozen=True, slots=True)
class Item:
    """One line: USD a ``month``, and how many units of which prices make them. ``key`` stays the same for ever."""

    key: str
    part: str
    what: str
    month: float
    amounts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Reckoning:
    """A load, what it needs, the stack that takes it, and the price list."""

    estimate: Estimate
    stack: BilledStack
    prices: Prices

    @property
    def load(self) -> Load:
        """Return the load."""
        return self.estimate.load

    def given(self, parameter: str) -> int:
        """Return a parameter of the template that is a number."""
        return int(self.stack.parameters[parameter])

    def item(self, key: str, part: str, what: str, **amounts: float) -> Item:
        """Return a line of so many units of each price."""
        month = sum(self.prices.cost(name, amount) for name, amount in amounts.items())
        return Item(key, part, what, month, amounts)

"""The price list `prices.yaml`: AWS' list prices of one Region, and what hosted services ask by their public pages."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PRICES = Path(__file__).parent / "prices.yaml"

_OLD_DAYS = 365


class ListPrice(NamedTuple):
    """``per`` units cost ``usd``; from ``beyond[n][0]`` units a month on, ``beyond[n][1]``, bounds rising."""

    usd: float
    per: int
    unit: str
    page: str
    date: datetime.date
    beyond: Sequence[tuple[float, float]] = ()
    note: str = ""

    def of(self, amount: float) -> float:
        """Return what so many units of a month cost, in USD."""
        starts = [0.0, *(bound for bound, _ in self.beyond)]
        usd = [self.usd, *(price for _, price in self.beyond)]
        ends = [*starts[1:], float("inf")]
        steps = zip(starts, ends, usd, strict=True)
        return sum(max(0.0, min(amount, end) - start) * price for start, end, price in steps) / self.per


class HostedPlan(NamedTuple):
    """One plan of a hosted service, as the head of `prices.yaml` explains its fields; ranges are (lowest, highest)."""

    name: str
    usd: float
    keeps: str
    included: float = float("inf")
    usd_an_event: tuple[float, float] | None = None
    included_per_s: float = float("inf")
    usd_per_s: tuple[float, float] | None = None

    def holds(self, events: float, peak_per_s: float) -> bool:
        """Tell whether the plan takes so many events a month at such a peak."""
        takes_all = events <= self.included or self.usd_an_event is not None
        return takes_all and (peak_per_s <= self.included_per_s or self.usd_per_s is not None)

    def of(self, events: float, peak_per_s: float) -> tuple[float, float]:
        """Return the lowest and the highest that it may cost, in USD a month, for a load that it holds."""
        more, faster = max(0.0, events - self.included), max(0.0, peak_per_s - self.included_per_s)
        an_event, per_s = self.usd_an_event or (0.0, 0.0), self.usd_per_s or (0.0, 0.0)
        low, high = (self.usd + more * an_event[end] + faster * per_s[end] for end in (0, 1))
        return low, high


class HostedService(NamedTuple):
    """A hosted service with its plans, the cheapest first."""

    name: str
    page: str
    date: datetime.date
    plans: Sequence[HostedPlan]

    def plan(self, events: float, peak_per_s: float) -> HostedPlan | None:
        """Return the first plan that holds the load; None if it is sold by agreement only."""
        return next((plan for plan in self.plans if plan.holds(events, peak_per_s)), None)


@dataclass(frozen=True)
class Prices:
    """The list, read from its file."""

    path: Path = PRICES

    def cost(self, name: str, amount: float) -> float:
        """Return what so many units of a month cost, in USD. Raises: KeyError for a price that the list has not."""
        return self.listed[name].of(amount)

    @cached_property
    def listed(self) -> dict[str, ListPrice]:
        """Return AWS' prices by name."""
        return {name: ListPrice(**price) for name, price in self._content["prices"].items()}

    @cached_property
    def hosted(self) -> dict[str, HostedService]:
        """Return the hosted services by name."""
        return {name: _service(service) for name, service in self._content["hosted"].items()}

    @property
    def date(self) -> datetime.date:
        """Return the date of the oldest price."""
        found: datetime.date = self._content["date"]
        return found

    @property
    def region(self) -> str:
        """Return the Region of AWS' prices."""
        return str(self._content["region"])

    def is_old(self, today: datetime.date) -> bool:
        """Tell whether the list is more than a year old."""
        return (today - self.date).days > _OLD_DAYS

    def warning(self, today: datetime.date) -> str:
        """Return one line that says that the list is old; empty if it is not."""
        if not self.is_old(today):
            return ""
        return (
            f"the price list is of {self.date}, more than a year ago: "
            "compare it with the pages that --json names before you rely on it"
        )

    def document(self, names: Iterable[str], today: datetime.date) -> dict[str, Any]:
        """Return the list's date and these prices, for machines."""
        listed = {name: self.listed[name] for name in sorted(names)}
        return {
            "date": self.date.isoformat(),
            "region": self.region,
            "is_old": self.is_old(today),
            "prices": {name: {**price._asdict(), "date": price.date.isoformat()} for name, price in listed.items()},
        }

    @cached_property
    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        return content


def _service(service: dict[str, Any]) -> HostedService:
    plans = [HostedPlan(**{name: _range(value) for name, value in plan.items()}) for plan in service["plans"]]
    return HostedService(service["name"], service["page"], service["date"], plans)


def _range(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

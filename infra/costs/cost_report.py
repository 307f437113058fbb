"""The bill and what else the load would cost, as a person and as a machine reads it."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from weir.infra.costs.alternatives import Alternative, alternatives
from weir.infra.costs.bill import NOT_COUNTED, Bill
from weir.infra.costs.item import Item

# A person is shown so many lines at most, and none below such a share of all; the others are summed.
_SHOWN, _SHOWN_SHARE = 15, 0.005
_WIDTH = 118
_MILLION = 1e6


def document(bill: Bill, today: datetime.date) -> dict[str, Any]:
    """Return all of it for machines."""
    reckoning, load, estimate = bill.reckoning, bill.reckoning.load, bill.reckoning.estimate
    others = list(alternatives(bill))
    used = {name for item in [*bill.items, *(item for one in others for item in one.items)] for name in item.amounts}
    return {
        "webhooks_a_month": load.month,
        "body_bytes": load.body_bytes,
        "record_bytes": load.record_bytes,
        "item_bytes": load.item_bytes,
        "shards": estimate.shards,
        "batches_at_once": estimate.batches_at_once,
        "write_units": load.write_units,
        "write_units_per_s": estimate.write_units_per_s,
        "times_the_peak": estimate.keeps_up,
        "usd_a_month": [asdict(item) for item in bill.items],
        "usd_a_month_total": bill.total,
        "usd_a_month_of_marks_alone": bill.marks,
        "costs_nothing": bill.free,
        "not_counted": list(NOT_COUNTED),
        "notes": bill.notes,
        "alternatives": [one.document(bill.total) for one in others],
        "price_list": reckoning.prices.document(used, today),
    }


def lines(bill: Bill, *, shows_all: bool = False) -> Iterator[str]:
    """Yield it for a person; ``shows_all`` shows each line of the bill."""
    load, estimate, prices = bill.reckoning.load, bill.reckoning.estimate, bill.reckoning.prices
    sizes = f"{load.body_bytes:,} bytes each (records of {load.record_bytes:,})"
    yield (
        f"{load.rate_per_s:,g} webhooks/s on average, {load.peak_per_s:,g}/s at the peak: "
        f"{load.month / _MILLION:,.1f} million a month, {sizes}"
    )
    yield (
        f"needs {estimate.shards} shards, {estimate.batches_at_once} batches at once, "
        f"{estimate.write_units_per_s:,.0f} write units/s at the peak; "
        f"the consumer can take {estimate.keeps_up:,.1f} times the peak"
    )
    head = f"USD, AWS' list prices of {prices.region}, {prices.date} or later"
    yield f"{head:60}{'a month':>14}{'a million':>12}{'share':>8}"
    shown = bill.items if shows_all else _shown(bill)
    yield from (_row(f"{item.part:16}{item.what}", item.month, bill) for item in shown)
    if rest := bill.items[len(shown) :]:
        what = f"{'smaller':16}{len(rest)} more lines (--all shows them)"
        yield _row(what, sum(item.month for item in rest), bill)
    yield _row("total", bill.total, bill)
    yield f"marks without their events, for the same {load.kept_days} days: {bill.marks:,.2f} a month"
    yield from _wrapped(f"not counted: {'; '.join(NOT_COUNTED)}")
    for said in bill.notes:
        yield from _wrapped(f"note: {said}")
    yield from _others(bill)


def _shown(bill: Bill) -> Sequence[Item]:
    least = bill.total * _SHOWN_SHARE
    count = sum(item.month >= least for item in bill.items)
    # A single line is not summed.
    return bill.items if len(bill.items) == count + 1 <= _SHOWN else bill.items[: min(count, _SHOWN)]


def _row(what: str, month: float, bill: Bill) -> str:
    million = month / bill.reckoning.load.month * _MILLION
    return f"{what:60}{month:>14,.2f}{million:>12,.3f}{month / bill.total:>8.1%}"


def _others(bill: Bill) -> Iterator[str]:
    yield ""
    yield f"{'the same load otherwise, USD':60}{'a month':>14}{'at most':>12}{'of Weir':>8}"
    others = list(alternatives(bill))
    for one in (one for one in others if not one.page):
        yield _other(one, bill.total)
        yield from _wrapped(f"lacks {one.lacks}; has {one.has}; counted: {one.basis}", "    ")
    hosted = [one for one in others if one.page]
    yield from (_other(one, bill.total) for one in hosted)
    # The services differ from Weir in the same way.
    for said in dict.fromkeys(f"lack {one.lacks}; have {one.has}" for one in hosted):
        yield from _wrapped(said, "    ")
    yield from _wrapped(f"by {', '.join(f'{one.page} ({one.date})' for one in hosted)}", "    ")


def _other(one: Alternative, total: float) -> str:
    if one.low is None or one.high is None:
        return f"{one.name:60}{'by agreement':>14}"
    most = f"{one.high:,.2f}" if one.high != one.low else ""
    return f"{one.name:60}{one.low:>14,.2f}{most:>12}{one.low / total:>8.0%}"


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent or "  ")

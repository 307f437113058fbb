"""Hypothesis: events as a stream may bring them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from weir.ingest.sources.events import Event


def batches(events: Sequence[Event[Any]]) -> SearchStrategy[list[list[Event[Any]]]]:
    """Return batches with every event at least once, first in their order, some of them sent again, cut anywhere.

    @given(data())
    def test_repeats_change_nothing(weir_event, weir_apply, data):
        events = [weir_event("shopify", "orders/paid", name=f"#{n}") for n in range(3)]
        for batch in data.draw(batches(events)):
            weir_apply(*batch)
    """
    repeats = st.lists(st.integers(0, max(0, len(events) - 1)), max_size=len(events))
    cuts = st.sets(st.integers(1, 2 * len(events) + 1), max_size=3)
    return st.builds(lambda again, at: _cut(_repeated(events, again), sorted(at)), repeats, cuts)


def _repeated(events: Sequence[Event[Any]], again: Sequence[int]) -> list[Event[Any]]:
    """Return the events with copies of some: each right after the event that has its number from the end."""
    found: list[Event[Any]] = []
    for number, event in enumerate(events):
        found.append(event)
        found += [events[index] for index in again if max(index, len(events) - 1 - index) == number]
    return found


def _cut(events: Sequence[Event[Any]], at: Sequence[int]) -> list[list[Event[Any]]]:
    bounds = [0, *(bound for bound in at if bound < len(events)), len(events)]
    return [list(events[start:end]) for start, end in pairwise(bounds) if end > start]

"""Events in memory come out as the consumer applies them, and what is not the same twice is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import data

from tests.support import ledger
from weir.consumers.business import effects
from weir.ingest.errors import EventRejected
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.events import Event
from weir.ingest.sources.sources_file import SourceEntry, resolve
from weir.testing import applying, sample_events
from weir.testing.applying import Tables
from weir.testing.strategies import batches

CATALOGUE = Catalogue({"stripe": resolve("stripe", SourceEntry(preset="stripe"))})
CODE = """
import random
from weir import Check, Delete, Event, EventRejected, Put, Table, Update, absent, effect, exists

lines = Table("lines", key={"order": str, "line": int})
blobs = Table("blobs", key={"digest": bytes})

@effect("stripe", "line")
def line(event: Event):
    facts = event.payload["data"]["object"]
    return [Update(lines, {"order": facts["customer"], "line": facts["amount"]}, add={"n": 1})]

@effect("stripe", "blob")
def blob(event: Event):
    return [Put(blobs, {"digest": bytes([0, 255])}, {"tags": {"a", "b"}, "nothing": None, "deep": {"x": [1, b"y"]}})]

@effect("stripe", "once")
def once(event: Event):
    return [Put(lines, {"order": "once", "line": 1}, condition=absent("order"))]

@effect("stripe", "checked")
def checked(event: Event):
    return [Check(lines, {"order": "once", "line": 1}, exists("order")), Delete(lines, {"order": "gone", "line": 1})]

@effect("stripe", "rejected")
def rejected(event: Event):
    raise EventRejected("no")

@effect("stripe", "random")
def unsure(event: Event):
    return [Update(lines, {"order": "r", "line": 1}, add={"n": random.randrange(10**9)})]
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "applied_here.py").write_text(CODE)
    effects.load("applied_here", tmp_path)
    yield tmp_path
    effects.load("ledger", ledger.FOLDER)


def event(kind: str, **values: object) -> Event:
    return sample_events.make(CATALOGUE["stripe"], kind, values=values)


def test_items_come_out_as_they_went_in() -> None:
    """Of every kind of key; sets, maps, None and bytes are what they were."""
    tables = Tables(CATALOGUE)
    assert tables.apply([event("line", customer="a", amount=2), event("blob")]) == ["applied", "applied"]
    assert tables.item("lines", "a", 2) == {"order": "a", "line": 2, "n": 1}
    deep = {"digest": b"\x00\xff", "tags": {"a", "b"}, "nothing": None, "deep": {"x": [1, b"y"]}}
    assert tables.items("blobs") == [deep]
    assert tables.item("lines", "a", 3) is None


def test_every_outcome_is_the_consumers() -> None:
    """Applied, duplicate, ignored and quarantined, with the reason; a rejection comes out as itself."""
    tables = Tables(CATALOGUE)
    first = event("once")
    assert tables.apply([first, first]) == ["applied", "duplicate"]
    assert tables.apply([event("once"), event("unknown"), event("checked")]) == [
        "quarantined condition_failed",
        "ignored",
        "applied",
    ]
    with pytest.raises(EventRejected):
        tables.apply([event("rejected")])
    assert len(tables.outcomes) == 5


def test_a_prepared_item_is_there() -> None:
    """Before the first event."""
    tables = Tables(CATALOGUE)
    tables.put("lines", {"order": "gone", "line": 1})
    tables.put("lines", {"order": "once", "line": 1})
    assert tables.apply([event("checked")]) == ["applied"]
    assert [row["order"] for row in tables.items("lines")] == ["once"]


def test_code_that_is_not_the_same_twice_is_found() -> None:
    """A test with twice=True fails for code that draws a number, and shows both tables."""
    tables = Tables(CATALOGUE)
    given_events = [event("random")]
    tables.apply(given_events)
    with pytest.raises(AssertionError, match="The tables differ"):
        applying.check_repeats(CATALOGUE, given_events, tables)


def test_a_table_that_is_not_declared_is_named() -> None:
    """With those that are."""
    with pytest.raises(KeyError, match="declared: blobs, lines"):
        Tables(CATALOGUE).items("orders")
    with pytest.raises(ValueError, match="the key of 'lines' is order, line"):
        Tables(CATALOGUE).item("lines", "a")


@settings(max_examples=60, deadline=None)
@given(data())
def test_batches_hold_every_event_and_repeats(data: object) -> None:
    """However they are cut and repeated, the sums are the same."""
    made = [event("line", customer="a", amount=number) for number in range(3)]
    drawn = data.draw(batches(made))  # type: ignore[attr-defined]
    assert {one.event_id for batch in drawn for one in batch} == {one.event_id for one in made}
    found = applying.applied(CATALOGUE, drawn)
    assert [row["n"] for row in found.items("lines")] == [1, 1, 1]

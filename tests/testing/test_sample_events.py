"""Events for tests are genuine: of every preset, verified as the consumer does, with what was asked for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from weir.ingest.errors import SampleInvalid
from weir.ingest.sources import presets
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.events import Event
from weir.ingest.sources.sources_file import SourceEntry, resolve
from weir.testing import sample_events

CATALOGUE = Catalogue({name: resolve(name, SourceEntry(preset=name)) for name in ("stripe", "shopify", "telegram")})


def event(source: str, kind: str | None = None, at: Any = None, **values: Any) -> Event[Any]:
    return sample_events.make(sample_events.source_of(CATALOGUE, source), kind, at, values=values)


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_has_one(name: str) -> None:
    """Without anything asked for it is the sample's, and two have two ids where the sample has anything of its own."""
    first, second = event(name), event(name)
    assert first.event_id
    assert first.identity != second.identity or first.envelope.body == second.envelope.body


@pytest.mark.parametrize("name", presets.names())
def test_a_type_is_set_or_refused(name: str) -> None:
    """Where the preset reads the type from one place it can be any; else the sentence says what to give."""
    try:
        found = event(name, "made.up").type
    except SampleInvalid as refused:
        found = str(refused)
    assert "made.up" in found


def test_values_go_where_the_name_is() -> None:
    """The member of that name that is nearest to the top; by path anything can be set."""
    charge = event("stripe", "charge.failed", {"$.data.object.metadata.order": "7"}, amount=5, customer=None)
    assert charge.type == "charge.failed"
    found = charge.payload["data"]["object"]
    assert (found["amount"], found["customer"], found["metadata"]) == (5, None, {"order": "7"})
    assert event("shopify", total_price="1.50").payload["total_price"] == "1.50"
    assert event("stripe", at={"$.data.object.rate": Decimal("0.5")}).payload["data"]["object"]["rate"] == Decimal(
        "0.5"
    )


def test_the_whole_payload_may_be_given() -> None:
    """It is signed as it is."""
    source = sample_events.source_of(CATALOGUE, "stripe")
    made = sample_events.make(source, payload={"id": "evt_1", "type": "x", "created": 1}, values={})
    assert (made.event_id, made.type, made.payload["created"]) == ("evt_1", "x", 1)


@pytest.mark.parametrize(
    ("source", "values", "said"),
    [
        ("stripe", {"nothing": 1}, r"no member 'nothing'; set it with at="),
        ("shopify", {"price": 1}, None),
        ("no-one", {}, "'no-one' is neither a source of the project nor a preset"),
    ],
)
def test_what_cannot_be_set_says_why(source: str, values: dict[str, Any], said: str | None) -> None:
    """A name that is not there, or not a source."""
    if said is None:
        assert event(source, **values).payload["line_items"][0]["price"] == 1
        return
    with pytest.raises(SampleInvalid, match=said):
        event(source, **values)


def test_a_name_that_is_there_twice_is_not_guessed() -> None:
    """Both paths are named."""
    source = sample_events.source_of(CATALOGUE, "stripe")
    payload = {"id": "evt_1", "type": "x", "a": {"n": 1}, "b": {"n": 2}}
    with pytest.raises(SampleInvalid, match=r"several members 'n': \$\.a\.n, \$\.b\.n"):
        sample_events.make(source, payload=payload, values={"n": 3})

"""What each preset says of retries: where the fact is from, and that the event's id behaves as it says."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.sources import events, presets, samples

LATER_MS = AT_MS + 61_000
FACTS = {name: preset.retries for name, preset in presets.all_presets().items()}
KEPT = [name for name, retries in FACTS.items() if retries.id == "same"]
# Of these the signed time is in the body, which a retry repeats: it is not signed again.
TIME_IN_BODY = {"pusher"}


def id_of(preset: str) -> set[str]:
    """Return the locations that the event's id is made of."""
    found = presets.preset(preset).event.id
    parts = (found,) if isinstance(found, str) else found
    return {option.strip() for part in parts for option in part.split(" | ")}


def ids(preset: str, draft: Draft, secret: str) -> list[str]:
    """Return the ids of a delivery's events, once its signature was verified."""
    source = source_of(preset)
    envelope = envelope_of(source, draft, arrived_at_ms=draft.at_ms)
    signatures.verify(source.scheme, [secret], envelope)
    return [event.event_id for event in events.extract(source, envelope)]


@pytest.mark.parametrize("name", FACTS)
def test_fact_has_its_source(name: str) -> None:
    """The fact has a page, the day on which it was read, and a sentence."""
    retries = FACTS[name]
    assert retries.docs.startswith("https://")
    assert date(2026, 1, 1) <= retries.read <= datetime.now(UTC).date()
    assert retries.note.endswith(".")
    assert "\n" not in retries.note


@pytest.mark.parametrize("name", FACTS)
def test_no_id_that_a_retry_changes(name: str) -> None:
    """A retry with another id is applied again: only where each delivery is an event, or a provider sends no retry."""
    is_new, is_own_event = FACTS[name].id == "new", "request" in id_of(name)
    assert is_new or not is_own_event
    assert not is_new or is_own_event or presets.preset(name).retry_window_s == 0


@pytest.mark.parametrize("name", KEPT)
def test_retry_that_is_signed_again(name: str) -> None:
    """A retry has the id of the first delivery, also when the provider signs it again a minute later."""
    source = source_of(name)
    pair = pair_of(source)
    body, headers = samples.sample(name, 1, at_ms=AT_MS)
    query, message_id = samples.query(name, 1, at_ms=AT_MS), samples.message_id(1, preset=name)
    first, retry = (Draft(body, at_ms, message_id, dict(headers), query=query) for at_ms in (AT_MS, LATER_MS))
    for draft in (first, retry):
        signatures.sign_draft(source.scheme, pair.sign_with, draft)
    same_ids = ids(name, first, pair.verify_with) == ids(name, retry, pair.verify_with)
    assert same_ids is (name not in TIME_IN_BODY)


@pytest.mark.parametrize("name", FACTS)
def test_two_events_of_one_moment(name: str) -> None:
    """Two events of one moment have two ids."""
    source = source_of(name)
    pair = pair_of(source)
    first, second = (ids(name, draft_of(source, pair, n=n), pair.verify_with) for n in (1, 2))
    assert not set(first) & set(second)

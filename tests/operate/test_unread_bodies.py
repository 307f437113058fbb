"""Account, lag, listen and filters read no large body of a delivery that nothing has proven."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.ingest.envelope import Envelope, encode
from weir.ingest.sources import events
from weir.ingest.sources.catalogue import Source
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.preview import SHOWN_BYTES, UNPROVEN_BYTES, Previewer
from weir.operate.replay.filters import Filter
from weir.operate.replay.request import Wanted

OTHER_SECRET = "whsec_" + "QUJD" * 8


def delivery(envelope: Envelope) -> Delivery:
    return Delivery(encode(envelope), "shardId-000000000000", "1.0")


def sized(stack_env: StackEnv, size: int, **options: object) -> Envelope:
    return stack_env.delivery({"type": "other", "pad": "x" * size}, **options)  # type: ignore[arg-type]


@pytest.mark.engine
def test_a_large_forgery_is_accounted_for_unread(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its status is that of its request id; a large delivery that is genuine, and any small one, is read for it."""
    large_forgery = sized(stack_env, UNPROVEN_BYTES, secret=OTHER_SECRET)
    small_forgery = sized(stack_env, 10, secret=OTHER_SECRET)
    large, unknown = sized(stack_env, UNPROVEN_BYTES), sized(stack_env, UNPROVEN_BYTES)
    stack_env.put(large_forgery, small_forgery, large)
    stack_env.consume()
    read = set()

    def noted(source: Source, envelope: Envelope, *options: Any, **named: Any) -> list[events.Event]:
        read.add(envelope.request_id)
        return extract(source, envelope, *options, **named)

    extract = events.extract
    monkeypatch.setattr(events, "extract", noted)
    asked = [delivery(one) for one in (large_forgery, small_forgery, large, unknown)]
    statuses = [str(status) for status in stack_env.stack().statuses.of(asked)]
    assert statuses == ["quarantined", "quarantined", "ignored", "open"]
    assert read == {one.request_id for one in (small_forgery, large, unknown)}


@pytest.mark.engine
def test_a_filter_reads_only_what_it_asks_for(stack_env: StackEnv) -> None:
    """By source and time no body is read, by type it is."""
    envelope = sized(stack_env, SHOWN_BYTES)
    catalogue = stack_env.stack().catalogue
    for wanted, is_read in (
        (Wanted(), False),
        (Wanted(sources=(envelope.source,), since_ms=1), False),
        (Wanted(types=("other",)), True),
    ):
        one = delivery(envelope)
        assert Filter(wanted, Previewer(catalogue), catalogue).select([one]) == [one]
        assert (one.preview is not None) == is_read


@pytest.mark.engine
def test_what_is_shown_of_a_large_body_is_its_request(stack_env: StackEnv) -> None:
    """A glance reads a body up to the bound, and a larger one only if a filter has read it already."""
    previewer = Previewer(stack_env.stack().catalogue)
    small, large = delivery(sized(stack_env, 10)), delivery(sized(stack_env, SHOWN_BYTES))
    assert [event.type for event in previewer.glance(small).events] == ["other"]
    assert previewer.glance(large).envelope is not None
    assert not previewer.glance(large).events
    previewer.preview(large)
    assert [event.type for event in previewer.glance(large).events] == ["other"]

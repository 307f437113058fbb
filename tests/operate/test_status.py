"""The status of deliveries by the events table alone, and what releases them from the quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.stack_env import Stage
from weir.consumers.events_table.mark import Mark
from weir.consumers.outcome import Outcome
from weir.ingest.envelope import Envelope, encode
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.preview import Previewer
from weir.operate.replay.targets.release import Release

pytestmark = pytest.mark.engine

OTHER_SECRET = "whsec_" + "QUJD" * 8


def delivery(envelope: Envelope | bytes, number: int = 1) -> Delivery:
    data = encode(envelope) if isinstance(envelope, Envelope) else envelope
    return Delivery(data, "shardId-000000000000", f"{number}.0")


def statuses(stage: Stage, *envelopes: Envelope | bytes) -> list[str]:
    deliveries = [delivery(one, number) for number, one in enumerate(envelopes)]
    return [str(status) for status in stage.stack().statuses.of(deliveries)]


def batch(stage: Stage, *ids: str, **options: Any) -> Envelope:
    return stage.delivery({"events": [{"id": one, "type": "x"} for one in ids]}, source="batches", **options)


def test_each_outcome_is_told_by_the_marks(stage: Stage) -> None:
    """Applied, a second delivery of the same event, ignored, a forgery, and what has no outcome yet."""
    applied = stage.payment("a", 1, message_id="m-1")
    again = stage.payment("a", 1, message_id="m-1")
    ignored, forged = stage.delivery({"type": "other"}), stage.payment("a", 1, secret=OTHER_SECRET)
    known = (applied, again, ignored, forged)
    assert statuses(stage, *known) == ["open"] * 4
    stage.put(*known)
    stage.consume()
    assert statuses(stage, *known, stage.payment("a", 1)) == ["applied", "duplicate", "ignored", "quarantined", "open"]


def test_of_several_events_the_status_that_says_most_counts(stage: Stage) -> None:
    """A delivery is open while one event is, then quarantined if one is, and a duplicate only if all are."""
    whole, overlap = batch(stage, "a", "b"), batch(stage, "b", "c")
    stage.put(whole)
    stage.consume()
    assert statuses(stage, whole, overlap, batch(stage, "a"), batch(stage, "b", "a")) == [
        "ignored",
        "open",
        "duplicate",
        "duplicate",
    ]
    forged = batch(stage, "d", "e", secret=OTHER_SECRET)
    stage.put(overlap, forged)
    stage.consume()
    assert statuses(stage, overlap, forged) == ["ignored", "quarantined"]
    # One event is done, the other is quarantined by itself: together that is the whole delivery.
    request_id = overlap.request_id
    table = stage.outputs.events_table
    item = stage.events()["batches#c"] | {"outcome": {"S": "quarantined"}, "pk": {"S": f"batches!{request_id}.1"}}
    stage.dynamodb.delete_item(TableName=table, Key={"pk": {"S": "batches#c"}})
    assert statuses(stage, overlap) == ["open"]
    stage.dynamodb.put_item(TableName=table, Item=item)
    assert statuses(stage, overlap) == ["quarantined"]


def test_a_record_that_is_not_an_envelope_has_a_status_by_its_position(stage: Stage) -> None:
    """It is quarantined under its position in the stream, which is all that tells it from others."""
    stage.put(b"not an envelope")
    (record,) = stage.unread("shardId-000000000000")
    found = Delivery(record.data, record.shard_id, "", record=record)
    assert stage.stack().statuses.of([found]) == ["open"]
    stage.consume()
    assert stage.stack().statuses.of([found]) == [Outcome.QUARANTINED]


# Release


def fence(stage: Stage, event_id: str, *refused: str) -> str:
    key = f"payments#{event_id}"
    item = {"pk": {"S": key}, "outcome": {"S": "fenced"}, "reason": {"S": "x"}, "refused": {"SS": list(refused)}}
    stage.dynamodb.put_item(TableName=stage.outputs.events_table, Item=item)
    return key


def release(stage: Stage) -> Release:
    return Release(stage.dynamodb, stage.outputs.events_table, stage.stack().marks)


def lift(stage: Stage, envelopes: Iterable[Envelope], known: dict[str, Mark]) -> None:
    previewer = Previewer(stage.catalogue)
    release(stage).lift([previewer.preview(delivery(one)) for one in envelopes], known)


def test_a_fence_is_lifted_for_the_delivery_that_it_keeps_out(stage: Stage) -> None:
    """A fence that keeps out one delivery goes; one that keeps out another too stays for that one."""
    own, shared = stage.payment("a", 1, message_id="own"), stage.payment("a", 1, message_id="shared")
    keys = [fence(stage, "own", own.request_id), fence(stage, "shared", shared.request_id, "another")]
    lift(stage, [own, shared], stage.stack().marks.read(keys))
    left = stage.events()
    assert list(left) == ["payments#shared"]
    assert left["payments#shared"]["refused"]["SS"] == ["another"]


def test_a_fence_that_changed_meanwhile_loses_only_this_delivery(stage: Stage) -> None:
    """Another delivery was refused after the fence was read: it is kept out still."""
    own = stage.payment("a", 1, message_id="m")
    key = fence(stage, "m", own.request_id)
    known = stage.stack().marks.read([key])
    fence(stage, "m", own.request_id, "another")
    lift(stage, [own], known)
    assert stage.events()[key]["refused"]["SS"] == ["another"]


def test_a_mark_that_is_no_longer_a_fence_is_left_alone(stage: Stage) -> None:
    """The event was applied by another delivery after the fence was read: nothing of its mark changes."""
    own = stage.payment("a", 1, message_id="m")
    key = fence(stage, "m", own.request_id)
    known = stage.stack().marks.read([key])
    stage.dynamodb.delete_item(TableName=stage.outputs.events_table, Key={"pk": {"S": key}})
    stage.put(stage.payment("a", 1, message_id="m"))
    stage.consume()
    before = stage.events()
    lift(stage, [own], known)
    assert stage.events() == before


def test_only_what_is_quarantined_is_discarded(stage: Stage) -> None:
    """A key that holds an applied event, or nothing, is left as it is; a quarantined item goes."""
    applied, forged = stage.payment("a", 1, message_id="m"), stage.payment("a", 1, secret=OTHER_SECRET)
    stage.put(applied, forged)
    stage.consume()
    for key in ("payments#m", "payments!nothing", f"payments!{forged.request_id}"):
        release(stage).discard(key)
    assert list(stage.events()) == ["payments#m"]

"""The status of deliveries by the events table alone, and what releases them from the quarantine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.consumers.events_table.mark import Mark
from weir.consumers.outcome import Outcome
from weir.infra import secrets
from weir.ingest.envelope import Envelope, encode
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.preview import Previewer
from weir.operate.replay.targets.release import Release

pytestmark = pytest.mark.engine

OTHER_SECRET = "whsec_" + "QUJD" * 8


def delivery(envelope: Envelope | bytes, number: int = 1) -> Delivery:
    data = encode(envelope) if isinstance(envelope, Envelope) else envelope
    return Delivery(data, "shardId-000000000000", f"{number}.0")


def statuses(stack_env: StackEnv, *envelopes: Envelope | bytes) -> list[str]:
    deliveries = [delivery(one, number) for number, one in enumerate(envelopes)]
    return [str(status) for status in stack_env.stack().statuses.of(deliveries)]


def batch(stack_env: StackEnv, *ids: str, **options: Any) -> Envelope:
    return stack_env.delivery({"events": [{"id": one, "type": "x"} for one in ids]}, source="batches", **options)


def test_each_outcome_is_told_by_the_marks(stack_env: StackEnv) -> None:
    """Applied, a second delivery of the same event, ignored, a forgery, and what has no outcome yet."""
    applied = stack_env.payment("a", 1, message_id="m-1")
    again = stack_env.payment("a", 1, message_id="m-1")
    ignored, forged = stack_env.delivery({"type": "other"}), stack_env.payment("a", 1, secret=OTHER_SECRET)
    known = (applied, again, ignored, forged)
    assert statuses(stack_env, *known) == ["open"] * 4
    stack_env.put(*known)
    stack_env.consume()
    assert statuses(stack_env, *known, stack_env.payment("a", 1)) == [
        "applied",
        "duplicate",
        "ignored",
        "quarantined",
        "open",
    ]


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_forgery_leaves_the_quarantine_only_by_a_verdict(stack_env: StackEnv, order: str, tmp_path: Path) -> None:
    """With a real event's id it is not a duplicate, from no origin, until a secret proves it."""
    real = stack_env.payment("a", 1, message_id="m-1")
    forged = stack_env.payment("a", 900, message_id="m-1", secret=OTHER_SECRET)
    stack_env.put(*((forged, real) if order == "before" else (real, forged)))
    stack_env.consume()
    assert statuses(stack_env, real, forged) == ["applied", "quarantined"]
    before, kept = stack_env.events(), tmp_path / "kept.jsonl"
    stack_env.weir("replay", "--from", "stream", "--to", str(kept))
    for origin in ("events", "stream", str(kept)):
        for wish in (("--dry-run",), ("--to", "consumer")):
            said = json.loads(stack_env.weir("replay", "--from", origin, *wish, "--json").splitlines()[-1])
            found = said.get("report", said)
            assert found["quarantined"] + found.get("would be quarantined", 0) == 1, (origin, wish, found)
            assert found["duplicate"] + found.get("already applied", 0) == 1, (origin, wish, found)
    after = stack_env.events()
    assert set(after) == set(before)
    assert after[f"payments!{forged.request_id}"]["outcome"]["S"] == Outcome.QUARANTINED
    secrets.add(stack_env.place, stack_env.catalogue["payments"], OTHER_SECRET)
    stack_env.weir("replay", "--from", "events", "--to", "consumer")
    assert set(stack_env.events()) == {"payments#m-1"}
    assert stack_env.balances()["a"]["EUR"] == 1


def test_of_several_events_the_status_that_says_most_counts(stack_env: StackEnv) -> None:
    """A delivery is open while one event is, then quarantined if one is, and a duplicate only if all are."""
    whole, overlap = batch(stack_env, "a", "b"), batch(stack_env, "b", "c")
    stack_env.put(whole)
    stack_env.consume()
    assert statuses(stack_env, whole, overlap, batch(stack_env, "a"), batch(stack_env, "b", "a")) == [
        "ignored",
        "open",
        "duplicate",
        "duplicate",
    ]
    forged = batch(stack_env, "d", "e", secret=OTHER_SECRET)
    stack_env.put(overlap, forged)
    stack_env.consume()
    assert statuses(stack_env, overlap, forged) == ["ignored", "quarantined"]
    # One event is done, the other is quarantined by itself: together that is the whole delivery.
    request_id = overlap.request_id
    table = stack_env.outputs.events_table
    item = stack_env.events()["batches#c"] | {"outcome": {"S": "quarantined"}, "pk": {"S": f"batches!{request_id}.1"}}
    stack_env.dynamodb.delete_item(TableName=table, Key={"pk": {"S": "batches#c"}})
    assert statuses(stack_env, overlap) == ["open"]
    stack_env.dynamodb.put_item(TableName=table, Item=item)
    assert statuses(stack_env, overlap) == ["quarantined"]


def test_a_record_that_is_not_an_envelope_has_a_status_by_its_position(stack_env: StackEnv) -> None:
    """It is quarantined under its position in the stream, which is all that tells it from others."""
    stack_env.put(b"not an envelope")
    (record,) = stack_env.unread("shardId-000000000000")
    found = Delivery(record.data, record.shard_id, "", record=record)
    assert stack_env.stack().statuses.of([found]) == ["open"]
    stack_env.consume()
    assert stack_env.stack().statuses.of([found]) == [Outcome.QUARANTINED]


# Release


def fence(stack_env: StackEnv, event_id: str, *refused: str) -> str:
    key = f"payments#{event_id}"
    item = {"pk": {"S": key}, "outcome": {"S": "fenced"}, "reason": {"S": "x"}, "refused": {"SS": list(refused)}}
    stack_env.dynamodb.put_item(TableName=stack_env.outputs.events_table, Item=item)
    return key


def release(stack_env: StackEnv) -> Release:
    return Release(stack_env.dynamodb, stack_env.outputs.events_table, stack_env.stack().marks)


def lift(stack_env: StackEnv, envelopes: Iterable[Envelope], known: dict[str, Mark]) -> None:
    previewer = Previewer(stack_env.catalogue)
    release(stack_env).lift([previewer.preview(delivery(one)) for one in envelopes], known, is_too_old=lambda _: False)


def test_a_fence_is_lifted_for_the_delivery_that_it_keeps_out(stack_env: StackEnv) -> None:
    """A fence that keeps out one delivery goes; one that keeps out another too stays for that one."""
    own, shared = stack_env.payment("a", 1, message_id="own"), stack_env.payment("a", 1, message_id="shared")
    keys = [fence(stack_env, "own", own.request_id), fence(stack_env, "shared", shared.request_id, "another")]
    lift(stack_env, [own, shared], stack_env.stack().marks.read(keys))
    left = stack_env.events()
    assert list(left) == ["payments#shared"]
    assert left["payments#shared"]["refused"]["SS"] == ["another"]


def test_a_fence_that_changed_meanwhile_loses_only_this_delivery(stack_env: StackEnv) -> None:
    """Another delivery was refused after the fence was read: it is kept out still."""
    own = stack_env.payment("a", 1, message_id="m")
    key = fence(stack_env, "m", own.request_id)
    known = stack_env.stack().marks.read([key])
    fence(stack_env, "m", own.request_id, "another")
    lift(stack_env, [own], known)
    assert stack_env.events()[key]["refused"]["SS"] == ["another"]


def test_a_mark_that_is_no_longer_a_fence_is_left_alone(stack_env: StackEnv) -> None:
    """The event was applied by another delivery after the fence was read: nothing of its mark changes."""
    own = stack_env.payment("a", 1, message_id="m")
    key = fence(stack_env, "m", own.request_id)
    known = stack_env.stack().marks.read([key])
    stack_env.dynamodb.delete_item(TableName=stack_env.outputs.events_table, Key={"pk": {"S": key}})
    stack_env.put(stack_env.payment("a", 1, message_id="m"))
    stack_env.consume()
    before = stack_env.events()
    lift(stack_env, [own], known)
    assert stack_env.events() == before


def test_only_what_is_quarantined_is_discarded(stack_env: StackEnv) -> None:
    """A key that holds an applied event, or nothing, is left as it is; a quarantined item goes."""
    applied, forged = stack_env.payment("a", 1, message_id="m"), stack_env.payment("a", 1, secret=OTHER_SECRET)
    stack_env.put(applied, forged)
    stack_env.consume()
    for key in ("payments#m", "payments!nothing", f"payments!{forged.request_id}"):
        release(stack_env).discard(key)
    assert list(stack_env.events()) == ["payments#m"]

"""Ids that their sender does not sign: they find an event, and marks from before digests still count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.consumers.events_table.bulk import read_items
from weir.ingest.envelope import Envelope, encode
from weir.ingest.errors import IdUnknown
from weir.ingest.ids import RequestId
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.marks import Marks
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.status import DeliveryStatuses
from weir.operate.replay.targets.dry_run import DryRun
from weir.operate.replay.targets.in_process import make_judge

pytestmark = pytest.mark.engine


def hook(stack_env: StackEnv, event_id: str, kind: str = "order.paid", request_id: str = "") -> Envelope:
    """Return a delivery whose id and type are in headers that are not signed; its body says the id, too."""
    made = stack_env.delivery({"order": event_id.partition("/")[0]}, source="hooks", request_id=request_id)
    return replace(made, headers=(*made.headers, ("X-Event-Id", event_id), ("X-Event-Type", kind)))


def deliver(stack_env: StackEnv, *envelopes: Envelope, retries: bool = False) -> list[tuple[str, str]]:
    """Replay deliveries into the consumer; return what became of each, with the reason."""
    given = [Delivery(encode(one), "here", str(at)) for at, one in enumerate(envelopes)]
    done = stack_env.to_consumer(retries=retries).deliver(given, [False] * len(given), None)
    return [(str(one.kind), one.reason) for one in done]


def dry(stack_env: StackEnv, envelope: Envelope) -> str:
    previewer = Previewer(stack_env.catalogue)
    judge = make_judge(stack_env.catalogue, stack_env.place.client, stack_env.settings)
    marks = Marks(stack_env.dynamodb, stack_env.outputs.events_table)
    (found,) = DryRun(
        judge, marks, previewer, Horizons(), load=lambda _, __: None, tables=stack_env.settings.tables
    ).deliver([Delivery(encode(envelope), "here", "0")], [False], None)
    return f"{found.kind} {found.reason}".strip()


def status(stack_env: StackEnv, envelope: Envelope) -> str:
    marks = Marks(stack_env.dynamodb, stack_env.outputs.events_table)
    statuses = DeliveryStatuses(Previewer(stack_env.catalogue), marks, Horizons())
    return str(statuses.of([Delivery(encode(envelope), "here", "0")])[0])


def test_an_unsigned_id_finds_its_event_without_a_scan(stack_env: StackEnv) -> None:
    """The id of the header finds the event through the index; an id of another source's event does so by its key."""
    deliver(stack_env, hook(stack_env, "e-1"), hook(stack_env, "e-2"))
    scans: list[Any] = []
    stack_env.dynamodb.meta.events.register("before-call.dynamodb.Scan", lambda **call: scans.append(call))
    (item,) = stack_env.table().find("e-1", ["payments", "hooks"])
    assert (item["event_id"]["S"], item["sent_id"]["S"]) == ("e-1", "hooks#e-1")
    assert item["pk"]["S"].startswith("hooks#=")
    assert scans == []
    with pytest.raises(IdUnknown):
        stack_env.table().find("e-3", ["payments", "hooks"])


def test_events_with_signed_ids_are_not_in_the_index(stack_env: StackEnv) -> None:
    """An event whose sender signs the id pays nothing for the index."""
    stack_env.put(stack_env.payment("acct_1", 1, message_id="m-1"))
    stack_env.consume()
    (item,) = read_items(stack_env.dynamodb, stack_env.outputs.events_table, [{"pk": {"S": "payments#m-1"}}])
    assert "sent_id" not in item


def test_a_mark_from_before_digests_still_counts(stack_env: StackEnv) -> None:
    """What was applied under the id of a header is a duplicate in a replay, a retry, the account and a dry run."""
    old = hook(stack_env, "old-1")
    stack_env.dynamodb.put_item(
        TableName=stack_env.outputs.events_table,
        Item={
            "pk": {"S": "hooks#old-1"},
            "outcome": {"S": "applied"},
            "request_id": {"S": old.request_id},
            "type": {"S": "order.paid"},
        },
    )
    again = replace(old, request_id=RequestId("again="))
    assert deliver(stack_env, old, again) == [("duplicate", ""), ("duplicate", "")]
    assert deliver(stack_env, again, retries=True) == [("duplicate", "")]
    assert (status(stack_env, old), status(stack_env, again)) == ("applied", "duplicate")
    assert dry(stack_env, again) == "already applied"
    assert deliver(stack_env, hook(stack_env, "new-1"))[0][0] in {"applied", "ignored"}


def test_the_account_hides_no_event_that_was_applied_on_both_sides_of_an_upgrade(stack_env: StackEnv) -> None:
    """A delivery that has a mark from before digests was applied, although another one has the digest's mark now."""
    old = hook(stack_env, "old-1")
    stack_env.dynamodb.put_item(
        TableName=stack_env.outputs.events_table,
        Item={
            "pk": {"S": "hooks#old-1"},
            "outcome": {"S": "applied"},
            "request_id": {"S": old.request_id},
            "type": {"S": "order.paid"},
        },
    )
    again = replace(old, request_id=RequestId("again="))
    stack_env.put(again)
    stack_env.consume()
    assert status(stack_env, again) in {"applied", "ignored"}
    assert status(stack_env, old) == "applied"
    assert status(stack_env, replace(old, request_id=RequestId("third="))) == "duplicate"


def test_another_type_is_quarantined_wherever_it_is_judged(stack_env: StackEnv) -> None:
    """The same signed content under another type is quarantined by a replay, and called so by account and dry run."""
    first = hook(stack_env, "t-1")
    assert deliver(stack_env, first)[0][0] in {"applied", "ignored"}
    other = replace(hook(stack_env, "t-1/2", "order.void", request_id="other="), body=first.body, headers=first.headers)
    other = replace(other, headers=(*first.headers[:-1], ("X-Event-Type", "order.void")))
    assert dry(stack_env, other) == "would be quarantined type_unproven"
    assert status(stack_env, other) == "open"
    assert deliver(stack_env, other) == [("quarantined", "type_unproven")]
    assert status(stack_env, other) == "quarantined"
    assert deliver(stack_env, other, retries=True) == [("quarantined", "type_unproven")]
    assert status(stack_env, first) in {"applied", "ignored"}

"""The quarantine on the engine: by cause, judged again after a fix, ended with a reason."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine_env import AT_MS, SECRET
from tests.support.quarantine_env import QuarantineEnv
from weir.consumers.business.changes import Change, Update, exists
from weir.consumers.business.effects import effect
from weir.consumers.events_table.item import UNPROVEN_PREFIX
from weir.consumers.outcome import Outcome
from weir.infra.local.engine.engine import Engine
from weir.ingest.envelope import Envelope, encode
from weir.ingest.errors import IdUnknown, OptionInvalid
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.sources.events import Event
from weir.operate import quarantine
from weir.operate.lookup.causes import group_quarantined
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.events import summary
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.marks import Marks
from weir.operate.lookup.newest import Listed, newest
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.status import DeliveryStatuses
from weir.operate.quarantine import Selection
from weir.operate.replay.targets.release import Release

OTHER = "whsec_" + "QW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMsIGlzIGl0"
YEAR_MS = 365 * 86_400_000


@effect("batches", "credit")
def credit(event: Event) -> Iterable[Change]:
    return [Update("balances", {"account": event.payload["to"]}, add={"EUR": event.payload["cents"]})]


@effect("payments", "gate.passed")
def pass_gate(event: Event) -> Iterable[Change]:
    account = event.payload["data"]["account"]
    return [Update("balances", {"account": account}, add={"EUR": 1}, condition=exists("opened"))]


@pytest.fixture
def quarantine_env(engine: Engine, tmp_path: Path) -> QuarantineEnv:
    return QuarantineEnv(engine.endpoint, tmp_path)


def batch(quarantine_env: QuarantineEnv, *events: dict[str, object], secret: str = SECRET) -> Envelope:
    return quarantine_env.delivery(json.dumps({"events": events}).encode(), source="batches", secret=secret)


def test_after_a_secret_is_fixed_what_was_refused_is_applied_once(quarantine_env: QuarantineEnv) -> None:
    """Events signed with a secret that was not set yet are applied by one command, and by a second one no more."""
    refused = [quarantine_env.payment("ann", cents, secret=OTHER) for cents in (1, 2, 4)]
    quarantine_env.consume(*refused)
    assert set(quarantine_env.quarantined().values()) == {"signature_mismatch"}
    quarantine_env.put_secret("payments", OTHER, SECRET)
    assert quarantine_env.verify("payments").counts["applied"] == 3
    assert quarantine_env.verify("payments").read == 0
    assert quarantine_env.balances() == {"ann": 7}
    assert {item["outcome"]["S"] for item in quarantine_env.events().values()} == {"applied"}
    assert {item["request_id"]["S"] for item in quarantine_env.events().values()} == {one.request_id for one in refused}


def test_what_is_still_forged_stays_and_says_so_today(quarantine_env: QuarantineEnv) -> None:
    """A forgery stays in quarantine, and the reason is that of the last judgement."""
    quarantine_env.ssm.delete_parameter(Name=f"/{quarantine_env.name}/payments")
    quarantine_env.consume(quarantine_env.payment("ann", 1, secret=OTHER), quarantine_env.payment("ann", 2))
    assert set(quarantine_env.quarantined().values()) == {"secret_unavailable"}
    quarantine_env.put_secret("payments", SECRET)
    report = quarantine_env.verify("payments")
    assert (report.counts["applied"], report.counts["quarantined"]) == (1, 1)
    assert set(quarantine_env.quarantined().values()) == {"signature_mismatch"}
    assert quarantine_env.balances() == {"ann": 2}


def test_arrival_time_is_what_counts(quarantine_env: QuarantineEnv) -> None:
    """A delivery of a year ago is judged as of its arrival: the fresh one passes, the stale one is still expired."""
    then_ms = AT_MS - YEAR_MS
    fresh = quarantine_env.payment("ann", 1, at_ms=then_ms, secret=OTHER)
    body = json.dumps(
        {"type": "payment.succeeded", "data": {"account": "ann", "amount": 2, "currency": "EUR"}}
    ).encode()
    scheme = quarantine_env.catalogue["payments"].scheme
    headers = signatures.sign(scheme, OTHER, body, at_ms=then_ms - 3_600_000, message_id="msg_late")
    stale = Envelope(
        RequestId("req-stale"),
        then_ms,
        SourceName("payments"),
        "",
        "192.0.2.1",
        "/v1/payments",
        {},
        tuple(headers.items()),
        body,
    )
    quarantine_env.consume(fresh, stale)
    quarantine_env.put_secret("payments", OTHER)
    quarantine_env.verify("payments")
    assert quarantine_env.balances() == {"ann": 1}
    assert quarantine_env.quarantined() == {"payments!req-stale": "signature_expired"}


def test_a_batch_is_applied_event_by_event(quarantine_env: QuarantineEnv) -> None:
    """A batch that was quarantined whole becomes its events, each with a mark of its own; what is wrong stays alone."""
    good: list[dict[str, object]] = [{"id": f"e{n}", "type": "credit", "to": "bob", "cents": 1 << n} for n in range(3)]
    bad: dict[str, object] = {"id": "e9", "type": "credit", "to": "bob", "cents": "many"}
    envelope = batch(quarantine_env, *good, bad, secret=OTHER)
    quarantine_env.consume(envelope)
    assert list(quarantine_env.quarantined()) == [f"batches!{envelope.request_id}"]
    quarantine_env.put_secret("batches", OTHER)
    report = quarantine_env.verify("batches")
    assert (report.counts["applied"], report.counts["quarantined"]) == (3, 1)
    assert quarantine_env.balances() == {"bob": 7}
    assert list(quarantine_env.quarantined()) == [f"batches!{envelope.request_id}.3"]
    quarantine_env.verify("batches")
    assert quarantine_env.balances() == {"bob": 7}


def test_two_people_verify_at_once(quarantine_env: QuarantineEnv) -> None:
    """Two runs at the same moment apply each event once."""
    quarantine_env.consume(*(quarantine_env.payment("ann", 1, secret=OTHER) for _ in range(40)))
    quarantine_env.put_secret("payments", OTHER)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: quarantine_env.verify("payments"), range(4)))
    assert quarantine_env.balances() == {"ann": 40}
    assert quarantine_env.quarantined() == {}


def test_a_run_that_is_killed_is_resumed(quarantine_env: QuarantineEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that dies between the effects and the end of the case is repeated without a second effect."""
    quarantine_env.consume(*(quarantine_env.payment("ann", 1, secret=OTHER) for _ in range(5)))
    quarantine_env.put_secret("payments", OTHER)

    def die(self: Release) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Release, "flush", die)
        with pytest.raises(KeyboardInterrupt):
            quarantine_env.verify("payments")
    assert len(quarantine_env.quarantined()) == 5
    assert quarantine_env.balances() == {"ann": 5}
    quarantine_env.verify("payments")
    assert quarantine_env.quarantined() == {}
    assert quarantine_env.balances() == {"ann": 5}


def test_an_event_that_came_again_meanwhile_is_a_duplicate(quarantine_env: QuarantineEnv) -> None:
    """If the provider's retry was applied before the fix, the quarantined delivery of it changes nothing."""
    first = quarantine_env.payment("ann", 5, message_id="msg_same", secret=OTHER)
    quarantine_env.consume(first)
    quarantine_env.put_secret("payments", OTHER)
    quarantine_env.consume(quarantine_env.payment("ann", 5, message_id="msg_same", secret=OTHER), first=200)
    assert quarantine_env.verify("payments").counts["duplicate"] == 1
    assert quarantine_env.balances() == {"ann": 5}
    assert quarantine_env.quarantined() == {}


def test_a_change_that_was_refused_is_tried_again(quarantine_env: QuarantineEnv) -> None:
    """An event whose condition did not hold is fenced; once it holds, the event is applied once."""
    gate = quarantine_env.delivery(b'{"type":"gate.passed","data":{"account":"gate"}}')
    quarantine_env.consume(gate)
    assert list(quarantine_env.quarantined().values()) == ["condition_failed"]
    quarantine_env.verify("payments")
    assert list(quarantine_env.quarantined().values()) == ["condition_failed"]
    quarantine_env.dynamodb.put_item(
        TableName=quarantine_env.balances_table,
        Item={"account": {"S": "gate"}, "opened": {"BOOL": True}, "EUR": {"N": "0"}},
    )
    assert quarantine_env.verify("payments").counts["applied"] == 1
    assert quarantine_env.quarantined() == {}
    assert quarantine_env.verify("payments").read == 0
    assert quarantine_env.balances() == {"gate": 1}


def test_a_forgery_before_and_after_the_real_event_has_no_effect_on_it(quarantine_env: QuarantineEnv) -> None:
    """A forged delivery with a real event's id neither keeps the real one out nor becomes it, whichever comes first."""
    for order in ("before", "after"):
        real = quarantine_env.payment(order, 3, message_id=f"msg_{order}")
        forged = quarantine_env.payment(order, 900, message_id=f"msg_{order}", secret=OTHER)
        for position, delivery in enumerate([forged, real] if order == "before" else [real, forged]):
            quarantine_env.consume(delivery, first=100 + position)
    quarantine_env.verify("payments")
    assert quarantine_env.balances() == {"before": 3, "after": 3}
    assert len(quarantine_env.quarantined()) == 2


def test_it_is_grouped_by_cause(quarantine_env: QuarantineEnv) -> None:
    """Each cause has its count, first and last arrival and an example; source, reason and time choose a part of it."""
    quarantine_env.consume(
        *(quarantine_env.payment("ann", 1, at_ms=AT_MS + n, secret=OTHER) for n in range(3)),
        batch(quarantine_env, secret=OTHER),
        b"no envelope at all",
    )
    found = group_quarantined(quarantine.listing(quarantine_env.table, Selection()))
    told = {(group.cause.source, group.cause.reason): group.count for group in found}
    assert told == {
        ("payments", "signature_mismatch"): 3,
        ("batches", "signature_mismatch"): 1,
        ("!", "unreadable"): 1,
    }
    assert (found[0].first_ms, found[0].last_ms) == (AT_MS, AT_MS + 2)
    assert (
        len(quarantine.listing(quarantine_env.table, Selection("payments", since_ms=AT_MS + 1, until_ms=AT_MS + 1)))
        == 1
    )
    assert len(quarantine.listing(quarantine_env.table, Selection(reason="unreadable"))) == 1
    assert quarantine.listing(quarantine_env.table, Selection("payments", reason="unreadable")) == []


def test_it_is_read_in_order_of_time(quarantine_env: QuarantineEnv) -> None:
    """A source's parts of the index, and items from before there were parts, make one list in order of arrival."""
    times = [AT_MS + 1000 * number for number in range(40)]
    quarantine_env.consume(*(quarantine_env.payment("ann", 1, at_ms=at, secret=OTHER) for at in times))
    parts = {item["quarantine"]["S"] for item in quarantine_env.events().values()}
    assert len(parts) > 8
    for key in list(quarantine_env.quarantined())[:10]:
        quarantine_env.dynamodb.update_item(
            TableName=quarantine_env.events_table,
            Key={"pk": {"S": key}},
            UpdateExpression="SET quarantine = :source",
            ExpressionAttributeValues={":source": {"S": "payments"}},
        )

    def listed(**options: Any) -> list[int]:
        found = quarantine.listing(quarantine_env.table, Selection("payments"), **options)
        assert {facts["source"] for facts in found} == {"payments"}
        return [facts["received_at_ms"] for facts in found]

    assert listed() == times
    assert listed(limit=3) == times[-3:]
    origin = Selection("payments").origin(quarantine_env.table)
    assert [facts["received_at_ms"] for facts in origin.scan()] == times
    assert [step.arrived_at_ms for step in origin.read({}) if isinstance(step, Delivery)] == times
    assert {facts["source"] for facts in quarantine.listing(quarantine_env.table, Selection())} == {"payments"}


def test_bytes_that_are_gone_are_told(quarantine_env: QuarantineEnv, capsys: pytest.CaptureFixture[str]) -> None:
    """A large unproven delivery is verified from the bucket; once the bucket has deleted it, the command says so."""
    data = {"account": "ann", "amount": 1, "currency": "EUR", "pad": random.Random(1).randbytes(20_000).hex()}
    body = json.dumps({"type": "payment.succeeded", "data": data}).encode()
    lost, kept = (quarantine_env.delivery(body, message_id=f"m{n}", secret=OTHER) for n in range(2))
    quarantine_env.consume(lost, kept)
    item = quarantine_env.events()[f"payments!{lost.request_id}"]
    assert item["payload_s3"]["S"].startswith(UNPROVEN_PREFIX)
    assert quarantine_env.table.body(item) == lost.body
    quarantine_env.client("s3").delete_object(Bucket=quarantine_env.bucket, Key=item["payload_s3"]["S"])
    quarantine_env.put_secret("payments", OTHER)
    assert quarantine_env.verify("payments").counts["applied"] == 1
    told = capsys.readouterr().out
    assert "no longer has the bytes" in told
    assert f"weir replay --from archive --id {lost.request_id}" in told
    assert list(quarantine_env.quarantined()) == [f"payments!{lost.request_id}"]


def test_discarding_needs_a_reason_and_keeps_it(quarantine_env: QuarantineEnv) -> None:
    """A discarded delivery leaves the quarantine for good, stays stored with its bytes, and says why."""
    envelope = quarantine_env.payment("ann", 1, secret=OTHER)
    quarantine_env.consume(envelope)
    (item,) = quarantine.find(quarantine_env.table, envelope.request_id, quarantine_env.catalogue)
    for empty in ("", "  ", "x" * 1001):
        with pytest.raises(OptionInvalid, match="--reason must have"):
            quarantine.discard(quarantine_env.table, item["pk"]["S"], empty, now_ms=AT_MS)
    assert quarantine.discard(quarantine_env.table, item["pk"]["S"], "a test of theirs", now_ms=AT_MS)
    assert not quarantine.discard(quarantine_env.table, item["pk"]["S"], "again", now_ms=AT_MS)
    (kept,) = quarantine.find(quarantine_env.table, envelope.request_id, quarantine_env.catalogue)
    assert (kept["discarded"]["S"], kept["outcome"]["S"]) == ("a test of theirs", "quarantined")
    assert quarantine_env.table.body(kept) == envelope.body
    quarantine_env.put_secret("payments", OTHER)
    assert quarantine_env.verify("payments").read == 0
    assert quarantine_env.balances() == {}


def test_what_is_not_in_quarantine_is_said_to_be_elsewhere(quarantine_env: QuarantineEnv) -> None:
    """An applied event cannot be discarded, and the message says where to look."""
    applied = quarantine_env.payment("ann", 1)
    quarantine_env.consume(applied)
    with pytest.raises(IdUnknown, match="weir events"):
        quarantine.find(quarantine_env.table, applied.request_id, quarantine_env.catalogue)


def test_several_with_one_id_are_named_and_none_is_chosen(quarantine_env: QuarantineEnv) -> None:
    """Of several deliveries under one id, which is not proven, none is shown in place of another."""
    forged = [quarantine_env.payment("ann", cents, message_id="msg_same", secret=OTHER) for cents in (1, 2)]
    quarantine_env.consume(*forged)
    table, sources = quarantine_env.table, quarantine_env.catalogue
    for one in forged:
        assert table.body(quarantine.find_delivery(table, one.request_id, sources)) == one.body
    with pytest.raises(IdUnknown):  # what is not proven has no other id
        quarantine.find_delivery(table, "msg_same", sources)
    several = quarantine_env.payment("bob", -1, message_id="msg_refused")
    again = quarantine_env.payment("bob", -2, message_id="msg_refused")
    quarantine_env.consume(several, again, first=200)
    with pytest.raises(OptionInvalid, match="Name one by its request") as refused:
        quarantine.find_delivery(table, "msg_refused", sources)
    assert several.request_id in str(refused.value)
    assert again.request_id in str(refused.value)


def test_a_source_that_is_known_by_now_is_judged(quarantine_env: QuarantineEnv) -> None:
    """A delivery of a source that was not in the sources file is judged once it is; here no business code wants it."""
    scheme = quarantine_env.catalogue["payments"].scheme
    body = json.dumps(
        {"type": "payment.succeeded", "data": {"account": "new", "amount": 2, "currency": "EUR"}}
    ).encode()
    headers = signatures.sign(scheme, SECRET, body, at_ms=AT_MS, message_id="msg_new")
    early = Envelope(
        RequestId("req-new"), AT_MS, SourceName("later"), "", "192.0.2.1", "/v1/later", {}, tuple(headers.items()), body
    )
    quarantine_env.consume(early)
    assert quarantine_env.quarantined() == {"later!req-new": "source_unknown"}
    known = quarantine_env.catalogue["payments"].model_copy(update={"name": "later"})
    quarantine_env.catalogue = type(quarantine_env.catalogue)({**quarantine_env.catalogue, "later": known})
    quarantine_env.put_secret("later", SECRET)
    assert quarantine_env.verify("later").counts["ignored"] == 1
    assert quarantine_env.quarantined() == {}
    assert quarantine_env.events()["later#msg_new"]["outcome"]["S"] == "ignored"


def test_a_time_of_no_calendar_breaks_no_listing(quarantine_env: QuarantineEnv) -> None:
    """What an earlier version stored with a time of the year 51723 is listed with its number, beside all others."""
    quarantine_env.consume(quarantine_env.payment("ann", 1), quarantine_env.payment("bob", 2))
    key = next(iter(quarantine_env.events()))
    quarantine_env.dynamodb.update_item(
        TableName=quarantine_env.events_table,
        Key={"pk": {"S": key}},
        UpdateExpression="SET event_at = :at, received_at = :at",
        ExpressionAttributeValues={":at": {"N": "1570053170926000"}},
    )
    listed = newest(quarantine_env.table, [], Listed(), None)[::-1]
    assert [event["event_at"] for event in listed] == [None, "1570053170926000 ms"]
    item = quarantine_env.table.item(key)
    assert item is not None
    assert summary(item)["received_at"] == "1570053170926000 ms"


def test_bad_element_is_quarantined_alone(quarantine_env: QuarantineEnv) -> None:
    """Of a batch with an element that is not an event, the others are applied, and the delivery has an outcome."""
    good = {"id": "one", "type": "credit", "to": "ann", "cents": 5}
    envelope = quarantine_env.delivery(json.dumps({"events": [good, 7]}).encode(), source="batches")
    quarantine_env.consume(envelope)
    assert quarantine_env.balances() == {"ann": 5}
    assert list(quarantine_env.quarantined().values()) == ["event_malformed"]
    statuses = DeliveryStatuses(
        Previewer(quarantine_env.catalogue),
        Marks(quarantine_env.dynamodb, quarantine_env.events_table),
        Horizons(),
    )
    assert statuses.of([Delivery(encode(envelope), "shard", "1")]) == [Outcome.QUARANTINED]

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from tests.support.batches import NOW_MS, RETENTION_S, envelope, forged, judged
from weir.consumers.events_table import item as items
from weir.consumers.events_table.attributes import item_bytes, item_json
from weir.consumers.events_table.item import JudgedEvent, payload_key, quarantine_key
from weir.consumers.events_table.mark import (
    KEY_BYTES_MAX,
    QUARANTINE_PARTS,
    mark_key,
    quarantine_part,
    quarantine_parts,
    read_mark,
    source_of_part,
)
from weir.consumers.outcome import Outcome
from weir.ingest.errors import EnvelopeMalformed, EventRejected, SecretUnavailable
from weir.ingest.ids import EventId, RequestId, SourceName
from weir.ingest.schemes.base import Verdict


def item_of(one: JudgedEvent, outcome: Outcome = Outcome.APPLIED) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(item_json(items.event_fields(one, outcome, NOW_MS, items.inline(b"blob"))))
    return found


def test_an_applied_item_has_every_fact() -> None:
    """The item of an event says who, what, when and how it was proven, and when it may go."""
    event = judged("e1", key="k1")
    one = items.apply(
        _event_of(event), [], position=3, partition_key="k1", retention_s=60, verdict=Verdict("stripe", 1)
    )
    assert item_of(one) == {
        "pk": {"S": "shop#e1"},
        "outcome": {"S": "applied"},
        "source": {"S": "shop"},
        "event_id": {"S": "e1"},
        "request_id": {"S": "r-e1"},
        "type": {"S": "order.paid"},
        "key": {"S": "k1"},
        "received_at": {"N": str(NOW_MS - 5)},
        "applied_at": {"N": str(NOW_MS)},
        "event_at": {"N": str(NOW_MS - 9)},
        "body_sha256": {"B": _base64(sha256(b'{"id": "e1"}').digest())},
        "scheme": {"S": "stripe"},
        "secret": {"N": "1"},
        "expires_at": {"N": str(NOW_MS // 1000 + 60)},
        "envelope": {"B": _base64(b"blob")},
    }


def _event_of(one: JudgedEvent) -> Any:
    from weir.ingest.sources.events import Event

    assert one.envelope is not None
    return Event(SourceName("shop"), EventId(one.event_id), "order.paid", NOW_MS - 9, one.key, None, 0, one.envelope)


def _base64(data: bytes) -> str:
    from base64 import b64encode

    return b64encode(data).decode()


def test_a_quarantined_item_says_why_and_is_in_the_index() -> None:
    """Reason, detail and the index's key are in the item; the event id does not make its key."""
    one = forged("r7")
    assert one.error is not None
    item = json.loads(item_json(items.quarantined_fields(one, one.error, NOW_MS, items.inline(b""))))
    assert item["pk"] == {"S": "shop!r7"}
    assert item["quarantine"]["S"] in quarantine_parts("shop")
    assert item["reason"] == {"S": "signature_mismatch"}
    assert "secret" in item["detail"]["S"]
    assert item["expires_at"] == {"N": str(NOW_MS // 1000 + RETENTION_S)}


def test_forgeries_are_spread_over_the_index() -> None:
    """A flood of one source has no part of the index for itself: none gets twice its share of 16,000 deliveries."""
    parts = Counter(quarantine_part(SourceName("shop"), RequestId(f"{number:x}=")) for number in range(16_000))
    assert set(parts) == set(quarantine_parts("shop")[1:])
    assert max(parts.values()) < 2 * 16_000 / QUARANTINE_PARTS
    assert {source_of_part(part) for part in parts} == {"shop"}


def test_one_of_several_events_is_quarantined_under_its_place() -> None:
    """Two events of one delivery that are quarantined have keys of their own."""
    several = [judged("e", request_id="r", index=index, count=2) for index in range(2)]
    assert [quarantine_key(one) for one in several] == ["shop!r.0", "shop!r.1"]
    assert quarantine_key(judged("e", request_id="r")) == "shop!r"


def test_what_is_unreadable_lies_under_its_place_in_the_stream() -> None:
    """A record without a request id is found by shard and sequence number, and belongs to no source."""
    one = items.unreadable(
        EnvelopeMalformed("no JSON"),
        b"\x00what came",
        position=0,
        partition_key="p",
        stream_position="shardId-000000000001:4966.0",
        received_at_ms=NOW_MS,
        retention_s=60,
    )
    assert one.error is not None
    item = json.loads(item_json(items.quarantined_fields(one, one.error, NOW_MS, items.inline(items.pack(one)))))
    assert item["pk"] == {"S": "!shardId-000000000001:4966.0"}
    assert item["quarantine"]["S"] in quarantine_parts("!")
    assert item["body_sha256"] == {"B": _base64(sha256(b"\x00what came").digest())}
    assert "source" not in item


@pytest.mark.parametrize(
    "event_id", ["x" * 2000, "é" * 600, "lone \ud800 surrogate", "x" * (KEY_BYTES_MAX - len("shop#") + 1)]
)
def test_an_id_that_is_no_key_is_hashed(event_id: str) -> None:
    """An id too long or not of Unicode has a key of fixed length, the same each time."""
    key = mark_key(SourceName("shop"), EventId(event_id))
    assert key == f"shop#sha256:{sha256(event_id.encode('utf-8', 'surrogatepass')).hexdigest()}"
    item_of(judged(event_id))


@pytest.mark.parametrize("event_id", ["evt_1", "x" * (KEY_BYTES_MAX - len("shop#")), "日本"])
def test_an_ordinary_id_is_in_its_key(event_id: str) -> None:
    """A reader of the table finds the event by its id."""
    assert mark_key(SourceName("shop"), EventId(event_id)) == f"shop#{event_id}"


def test_no_text_makes_an_item_too_large() -> None:
    """Whatever a caller writes into ids, types and keys, the item holds the largest blob beside it."""
    long = "é" * 400_000
    one = judged(long, key=long)
    fields = items.event_fields(one, Outcome.APPLIED, NOW_MS, items.inline(b"\xff" * items.BLOB_BYTES_MAX))
    assert item_bytes(json.loads(item_json(fields))) < 400 * 1024


def test_a_detail_is_bounded_and_clean() -> None:
    """What business code says of a refusal is kept, but not without end, and never breaks the store."""
    assert items.detail(EventRejected("no \udfff such account" + "!" * 5000))[-1] == "!"
    assert len(items.detail(EventRejected("x" * 5000))) == items.DETAIL_CHARS_MAX


def test_a_payload_has_one_place_for_all_tries() -> None:
    """The object of a large delivery lies under its day and a name without the caller's text."""
    one, other = judged("e1", request_id="../../r"), judged("e2", request_id="../../r")
    assert payload_key(one) == payload_key(other)
    assert payload_key(one).startswith("payloads/2026/09/21/")
    assert ".." not in payload_key(one)


@pytest.mark.parametrize("at_ms", [1 << 52, 253402300800000, 10**30, -(10**30)])
def test_a_payload_of_no_day_has_a_place(at_ms: int) -> None:
    """An arrival that no calendar has does not hold up its lane: its object has a place as well."""
    assert payload_key(replace(judged("e1"), received_at_ms=at_ms)).startswith("payloads/undated/")


def test_a_wait_says_what_it_waits_for() -> None:
    """What could not be judged yet has no item, only its key and its error."""
    one = items.wait(SecretUnavailable(), position=4, partition_key="k")
    assert (one.decision, one.position, one.partition_key) == ("wait", 4, "k")


def test_a_mark_is_read_from_any_projection() -> None:
    """Missing attributes of a mark are empty, never an error."""
    assert read_mark({"pk": {"S": "x"}}).request_id == ""
    assert read_mark({"refused": {"SS": ["a", "b"]}}).refused == {"a", "b"}


def test_the_envelope_helper_is_what_a_gateway_writes() -> None:
    """The deliveries of these tests are of the real form."""
    assert envelope().header("content-type") == "application/json"

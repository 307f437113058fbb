"""What somebody who knows only the URL can write: little into the table, and what is large for a shorter time."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import replace
from math import ceil
from random import Random

import pytest

from tests.support.batches import NOW_MS, forged, judged, run, words
from tests.support.deliveries import AT_MS, draft_of, draft_with, envelope_of, pair_of, source_of, with_headers
from tests.support.faulty_store import FaultyStore
from tests.support.memory_store import EVENTS, MemoryStore
from weir.consumers.business.changes import Update
from weir.consumers.events_table import blob
from weir.consumers.events_table.attributes import item_bytes
from weir.consumers.events_table.item import UNPROVEN_BYTES_MAX, UNPROVEN_PREFIX, JudgedEvent, payload_key
from weir.consumers.judging.judge import Judge
from weir.consumers.judging.records import Record
from weir.consumers.judging.secrets import Secrets
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SequenceNumber
from weir.ingest.sources import presets
from weir.ingest.sources.catalogue import Catalogue, Source
from weir.testing.expressions import Item

DAY_S = 86_400
QUARANTINE_DAYS, UNPROVEN_DAYS = 90, 14
# The bounds of docs/threat-model.md: write units of one unproven POST in the table, and in its index.
UNITS_MAX, INDEX_UNITS_MAX = 10, 2
# What the index holds of an item (infra/template.yaml).
PROJECTED = ("pk", "quarantine", "received_at", "reason", "detail", "type", "event_id", "request_id")

RECORD_BODY = Random(1).randbytes(750 * 1024)
# What API Gateway takes: 10,240 bytes of request line and headers, and a key of 256 characters; see
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
HEADERS = {f"X-{number}": Random(number).randbytes(400).hex() for number in range(8)}
KEY = "\U0001f40c" * 256
QUERY = {"q": Random(9).randbytes(1000).hex()}


def judge_of(source: Source) -> Judge:
    kept = json.dumps({"secrets": [{"value": pair_of(source, "the true one").verify_with}]})
    secrets = Secrets(
        lambda names: dict.fromkeys(names, kept), "", ttl_s=1e9, patience_s=900, clock_ms=lambda: AT_MS + 1000
    )
    return Judge(
        Catalogue({source.name: source}),
        secrets,
        quarantine_s=QUARANTINE_DAYS * DAY_S,
        unproven_s=UNPROVEN_DAYS * DAY_S,
    )


def judged_as(source: Source, envelope: Envelope) -> list[JudgedEvent]:
    record = Record("shard", SequenceNumber("1"), 0, AT_MS, encode(envelope))
    return judge_of(source).judge([record])


def unsigned(source: Source) -> Envelope:
    """Return a delivery of the provider's form, wrongly signed, with all long that a stranger can make long."""
    sample = envelope_of(source, draft_of(source, pair_of(source, "a stranger's")))
    long = replace(sample, body=b"", key=KEY, query=QUERY, request_id=RequestId("r" * 60))
    return with_headers(long, {**HEADERS, "Content-Length": "768000"})


def units(item: Item) -> tuple[int, int]:
    """Return the write units of an item, and of its entry in the index."""
    projected = {name: value for name, value in item.items() if name in PROJECTED}
    return ceil(item_bytes(item) / 1024), ceil(item_bytes(projected) / 1024)


def largest_inline(sent: Envelope) -> int:
    """Return how large a body may be so that all of the delivery is just kept in the item."""
    size = bisect_right(
        range(UNPROVEN_BYTES_MAX),
        UNPROVEN_BYTES_MAX,
        key=lambda size: len(blob.pack(replace(sent, body=RECORD_BODY[:size]))),
    )
    return size - 1


@pytest.mark.parametrize("name", presets.names())
def test_a_stranger_s_post_writes_a_bounded_item(name: str) -> None:
    """Of each provider: a body of record size, one at the border, a small one; none costs more units than the bound."""
    source = source_of(name)
    stranger_s = unsigned(source)
    for size in (len(RECORD_BODY), UNPROVEN_BYTES_MAX, largest_inline(stranger_s), 2):
        sent = replace(stranger_s, body=RECORD_BODY[:size])
        store = MemoryStore()
        found = judged_as(source, sent)
        assert [one.is_unproven for one in found] == [True]
        assert words(run(found, store))[0].startswith("quarantined")
        (item,) = store.tables[EVENTS].values()
        table, index = units(item)
        assert table <= UNITS_MAX
        assert index <= INDEX_UNITS_MAX
        assert ("payload_s3" in item) == (size >= UNPROVEN_BYTES_MAX)
        assert item["expires_at"] == {"N": str(NOW_MS // 1000 + UNPROVEN_DAYS * DAY_S)}
        if size >= UNPROVEN_BYTES_MAX:
            (key,) = store.payloads
            assert item["payload_s3"]["S"] == key == payload_key(found[0])
            assert key.startswith(UNPROVEN_PREFIX)
            back = blob.unpack(
                store.payloads[key],
                request_id=sent.request_id,
                arrived_at_ms=sent.arrived_at_ms,
                source=source.name,
                key=KEY,
            )
            assert back.body == sent.body


def test_what_is_proven_is_kept_as_before() -> None:
    """A proven delivery without an event id keeps its bytes in the item up to its limit, for the quarantine's time."""
    source = source_of("stripe")
    body = json.dumps({"pad": RECORD_BODY[: 50 * 1024].hex()}).encode()
    draft = draft_with(source, pair_of(source, "the true one"), body)
    (one,) = judged_as(source, envelope_of(source, draft))
    store = MemoryStore()
    assert words(run([one], store)) == ["quarantined event_malformed"]
    (item,) = store.tables[EVENTS].values()
    assert item_bytes(item) > 50 * 1024
    assert item["expires_at"] == {"N": str(NOW_MS // 1000 + QUARANTINE_DAYS * DAY_S)}
    assert not store.payloads


def test_without_a_bucket_it_is_stored_in_the_item() -> None:
    """As before: where there is no bucket, what an item can hold is in the item."""
    store = MemoryStore(has_bucket=False)
    one = replace(forged("r1"), envelope=replace(unsigned(source_of("stripe")), body=RECORD_BODY[: 100 * 1024]))
    assert words(run([one], store)) == ["quarantined signature_mismatch"]
    (item,) = store.tables[EVENTS].values()
    assert "envelope" in item


def test_a_flood_waits_alone_for_the_bucket() -> None:
    """Of a batch with 100 large forgeries, everything else is written before the first of them, in its usual calls."""
    big = replace(unsigned(source_of("stripe")), body=RECORD_BODY[: 60 * 1024])
    flood = [replace(forged(f"r{n}"), envelope=replace(big, request_id=RequestId(f"r{n}"))) for n in range(100)]
    true = [judged(f"e{n}", [Update("balances", {"account": "a"}, add={"EUR": 1})]) for n in range(50)]
    stored = [judged(f"i{n}", None) for n in range(50)]
    batch = [one for three in zip(flood, [*true, *stored], strict=True) for one in three]
    store = FaultyStore()
    run(batch, store)
    first = store.operations.index("put_payload")
    assert store.operations[:first] == ["transact", "insert", "insert"]
    assert len(store.store.tables[EVENTS]) == 200
    assert store.operations.count("put_payload") == 100
    assert store.operations.count("insert") == 2 + 20

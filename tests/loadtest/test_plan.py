from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest

from tests.support.deliveries import draft_of, pair_of, source_of
from tests.support.load import CATALOGUE, plan
from weir.consumers.events_table.mark import mark_key
from weir.ingest.envelope import Envelope, decode
from weir.ingest.errors import OptionInvalid, RecordError, SignatureMismatch
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.sources import catalogue, events, presets
from weir.loadtest.sending import pacer
from weir.loadtest.sending.marks import marks
from weir.loadtest.sending.mix import OVERSIZED_BYTES, USUAL, Mix, parse_sizes, parse_sources
from weir.loadtest.sending.plan import Plan, Planned, Planner, Timing

NOW_MS = 1_780_000_000_000


def made(count: int, mix: Mix, **rest: Any) -> list[Planned]:
    return list(Planner(a_plan(count, mix, **rest), NOW_MS).requests())


def a_plan(count: int, mix: Mix, **rest: Any) -> Plan:
    return plan("http://127.0.0.1:1/v1", Timing("even", pacer.constant(count, 1)), mix=mix, **rest)


def facts(planned: Planned) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(f"{{{planned.facts}}}")
    return found


def arrived(planned: Planned) -> Envelope:
    """Return the envelope that a gateway would make of a request."""
    head, _, body = planned.request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
    path = first.split(" ")[1]
    _, _, source, *key = path.split("/")
    at_ms = NOW_MS + round(planned.at_s * 1000)
    return Envelope(
        RequestId("r"), at_ms, SourceName(source), key[0] if key else "", "127.0.0.1", path, {}, headers, body
    )


def verdict(planned: Planned) -> str:
    envelope = arrived(planned)
    source = CATALOGUE[envelope.source]
    secret = signatures.generate_secret(source.scheme, sha256(envelope.source.encode()).digest()).verify_with
    try:
        signatures.verify(source.scheme, [secret], envelope)
    except RecordError as error:
        return error.code
    return "valid"


def test_every_request_is_signed_as_its_provider_does() -> None:
    """Requests of every source verify, bad signatures do not, and event id, body hash and number are what facts say."""
    seen = Counter[tuple[str, str]]()
    for planned in made(400, USUAL.of(sizes={1024: 1.0}, bad_signatures=0.2, oversized=0.0)):
        said, envelope = facts(planned), arrived(planned)
        seen[said["kind"], said["source"]] += 1
        assert verdict(planned) == (SignatureMismatch.code if said["kind"] == "bad_signature" else "valid")
        assert said["body_sha256"] == sha256(envelope.body).hexdigest()
        assert said["key"] == envelope.key
        assert [e.event_id for e in events.extract(CATALOGUE[said["source"]], envelope)] == said["event_ids"]
        assert envelope.header("X-Weir-Seq") == str(said["seq"])
    assert {source for _, source in seen} == set(CATALOGUE)
    assert {kind for kind, _ in seen} == {"valid", "duplicate", "bad_signature"}


def test_the_body_holds_its_number_and_its_size() -> None:
    """A body says run and number and is about as large as the mix asks."""
    for planned in made(20, Mix(sizes={4096: 1.0})):
        said, body = facts(planned), json.loads(arrived(planned).body)
        assert body["weir_load"]["mark"] == f"test/{said['seq']}"
        assert said["bytes"] == pytest.approx(4096, abs=200)


def test_a_duplicate_is_the_same_delivery_again() -> None:
    """A duplicate has another's exact body, id and signature under a number of its own."""
    by_number = {facts(planned)["seq"]: planned for planned in made(200, Mix(duplicates=0.3))}
    duplicates = [said for planned in by_number.values() if (said := facts(planned))["kind"] == "duplicate"]
    assert len(duplicates) > 20
    for said in duplicates:
        first = by_number[said["duplicate_of"]]
        assert arrived(first).body == arrived(by_number[said["seq"]]).body
        assert facts(first)["event_ids"] == said["event_ids"]


def test_the_ledger_s_sources_move_the_money_that_the_facts_say() -> None:
    """A booked body holds account, currency and amount as the ledger reads them, refunds as their opposite."""
    for planned in made(100, Mix(sources={"stripe": 1, "payments": 1})):
        said, body = facts(planned), json.loads(arrived(planned).body)
        holder = body["data"]["object"] if said["source"] == "stripe" else body["data"]
        sign = -1 if "refund" in body["type"] else 1
        account = body["account"] if said["source"] == "stripe" else holder["account"]
        assert (account, holder["currency"].upper()) == (said["account"], said["currency"])
        assert sign * holder["amount"] == said["change"]


def test_oversized_bodies_are_larger_than_a_record() -> None:
    """An oversized delivery cannot fit a record of the default size."""
    found = [planned for planned in made(60, Mix(oversized=0.2)) if facts(planned)["kind"] == "oversized"]
    assert found
    assert all(facts(planned)["bytes"] > OVERSIZED_BYTES * 0.99 for planned in found)


def test_hot_keys_get_their_share() -> None:
    """Hot keys take the share of all requests that the mix gives them, beside those without a key."""
    keys = Counter(facts(planned)["key"] for planned in made(2000, Mix(keyed=0.6, hot=0.4, hot_key_count=2)))
    hot = keys["test-0"] + keys["test-1"]
    assert hot / 2000 == pytest.approx(0.4, abs=0.05)
    assert keys[""] / 2000 == pytest.approx(0.4, abs=0.05)


def test_workers_share_one_plan() -> None:
    """The parts of three workers are together what one worker sends, duplicates apart."""
    planned = a_plan(90, Mix())
    parts = [request for worker in range(3) for request in Planner(planned, NOW_MS).requests(worker, 3)]
    assert sorted(parts) == sorted(Planner(planned, NOW_MS).requests())


def test_the_engine_gets_the_same_envelopes() -> None:
    """With a stream named, a request is the PutRecord that the gateway would make of the delivery."""
    for planned in made(10, Mix(keyed=1.0), engine_stream="s"):
        head, _, body = planned.request.partition(b"\r\n\r\n")
        call = json.loads(body)
        assert b"X-Amz-Target: Kinesis_20131202.PutRecord" in head
        envelope = decode(__import__("base64").b64decode(call["Data"]))
        assert sha256(envelope.body).hexdigest() == facts(planned)["body_sha256"]
        assert (call["StreamName"], call["PartitionKey"]) == ("s", facts(planned)["key"])


def test_a_mix_is_read_from_text() -> None:
    """Weights and sizes are read as people write them."""
    assert parse_sources("stripe=4, github") == {"stripe": 4.0, "github": 1.0}
    assert parse_sizes("1k:70,900:1,2M:0.5") == {1024: 70.0, 900: 1.0, 2 * 1024 * 1024: 0.5}


@pytest.mark.parametrize("text", ["", "stripe=", "stripe=-1", "stripe=many", "=3"])
def test_a_bad_list_is_refused(text: str) -> None:
    """A list that cannot be read is a sentence about the part that is wrong."""
    if text != "stripe=":
        with pytest.raises(OptionInvalid):
            parse_sources(text)
    with pytest.raises(OptionInvalid):
        parse_sizes(text)


def test_unknown_and_unsigned_sources_are_refused() -> None:
    """A source that is not configured, or has no secret, is named with what to do."""
    with pytest.raises(OptionInvalid, match="no source 'absent'"):
        Planner(a_plan(1, Mix(sources={"absent": 1})), NOW_MS)
    bare = Plan("r", "http://x/v1", CATALOGUE.dump(), {}, Mix(sources={"github": 1}), Timing())
    with pytest.raises(OptionInvalid, match="weir secrets set github"):
        Planner(bare, NOW_MS)
    assert isinstance(catalogue.parse_compiled(CATALOGUE.dump()), type(CATALOGUE))


@pytest.mark.parametrize("preset", presets.names())
def test_marks_are_read_twice_and_agree(preset: str) -> None:
    """The keys that the oracle expects, by its own reading of the rule, are those that the consumer makes."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    draft = draft_of(source, pair)
    option = signatures.option_of(source.scheme, pair.sign_with)
    found = events.extract(source, draft.envelope(), option)
    expected = [mark_key(source.name, event.identity) for event in found]
    assert marks(source, draft, [one.event_id for one in found], [one.type for one in found]) == expected

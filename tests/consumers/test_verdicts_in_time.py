"""The same event, judged when it came, a year later from what is stored, and after its secret was changed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.deliveries import AT_MS, draft_of, envelope_of, judged_cases, pair_of, source_of
from weir.consumers.events_table import blob
from weir.consumers.judging.judge import Judge
from weir.consumers.judging.records import Record
from weir.consumers.judging.secrets import Secrets
from weir.ingest.envelope import Envelope, decode, encode
from weir.ingest.errors import RecordError, SignatureMismatch
from weir.ingest.ids import RequestId, SequenceNumber
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import SecretPair, Verdict
from weir.ingest.sources import presets
from weir.ingest.sources.catalogue import Catalogue, Source
from weir.operate.replay.targets.in_process import TrustingSecrets

YEAR_MS = 366 * 86_400_000
SOURCES = {name: source_of(name) for name in presets.names()}
QUARANTINE_S = 90 * 86_400
UNPROVEN_S = 14 * 86_400


def kept(*values: str) -> str:
    return json.dumps({"secrets": [{"value": value} for value in values]})


class Store:
    """A secret store that changes; the clock of the judge."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.now_ms = AT_MS

    def read(self, names: Sequence[str]) -> Mapping[str, Any]:
        return {name: self.texts.get(name) for name in names}

    def secrets(self, kind: type[Secrets] = Secrets) -> Secrets:
        return kind(self.read, "", ttl_s=300, patience_s=900, clock_ms=lambda: self.now_ms)

    def judge(self, source: Source) -> Judge:
        return Judge(Catalogue({source.name: source}), self.secrets(), quarantine_s=QUARANTINE_S, unproven_s=UNPROVEN_S)


def delivery(source: Source, pair: SecretPair) -> Envelope:
    """Return what the gateway stores of the provider's sample."""
    envelope = envelope_of(source, draft_of(source, pair))
    return replace(envelope, request_id=RequestId("req-1"), source_ip="192.0.2.1", path=f"/v1/{source.name}")


def as_stored(envelope: Envelope) -> Envelope:
    """Return it as the events table gives it back."""
    return blob.unpack(
        blob.pack(envelope),
        request_id=envelope.request_id,
        arrived_at_ms=envelope.arrived_at_ms,
        source=envelope.source,
        key=envelope.key,
    )


def record(envelope: Envelope) -> Record:
    return Record("shardId-000000000000", SequenceNumber("1"), 0, AT_MS, encode(envelope))


def verdicts(judge: Judge, envelope: Envelope) -> set[tuple[str, str, str, int | None]]:
    return {(one.decision, one.event_id, one.scheme, one.secret_index) for one in judge.judge([record(envelope)])}


@pytest.mark.parametrize("name", SOURCES)
def test_a_year_later_the_verdict_is_that_of_arrival(name: str) -> None:
    """From the stored bytes, with the clock a year on, a delivery gets fate, ids, scheme and secret of its arrival."""
    source, store = SOURCES[name], Store()
    pair = pair_of(source)
    store.texts[f"/{name}"] = kept(pair.verify_with)
    live = verdicts(store.judge(source), delivery(source, pair))
    assert {fate for fate, *_ in live} <= {"apply", "ignore"}, live
    store.now_ms += YEAR_MS
    assert verdicts(store.judge(source), as_stored(delivery(source, pair))) == live


@pytest.mark.parametrize("name", SOURCES)
def test_after_a_rotation_the_older_secret_is_the_one_that_matches(name: str) -> None:
    """While the old secret is kept, an old delivery is proven by it, and the place of the secret says which it was."""
    source, store = SOURCES[name], Store()
    old, new = pair_of(source, "old"), pair_of(source, "new")
    before = as_stored(delivery(source, old))
    store.texts[f"/{name}"] = kept(new.verify_with, old.verify_with)
    after = verdicts(store.judge(source), before)
    indexes = {index for *_, index in after}
    same = signatures.verify(source.scheme, [new.verify_with], delivery(source, new)).scheme
    assert {scheme for _, _, scheme, _ in after} == {same}
    # What is not a secret but an identity, as the id of a webhook, may be the same in both.
    assert indexes == ({0} if new.verify_with == old.verify_with else {1})
    store.now_ms += YEAR_MS
    assert verdicts(store.judge(source), before) == after


def test_what_was_proven_stays_proven_after_its_secret_is_retired() -> None:
    """Once the secret is gone, a new judgement fails; the verdict that was stored at arrival stands in for it."""
    source, store = SOURCES["github"], Store()
    old, new = pair_of(source, "old"), pair_of(source, "new")
    envelope = as_stored(delivery(source, old))
    store.texts["/github"] = kept(new.verify_with)
    (refused,) = store.judge(source).judge([record(envelope)])
    assert refused.error is not None
    assert refused.error.code == "signature_mismatch"
    trusting = store.secrets(TrustingSecrets)
    trusting.proven = lambda known: Verdict("github-sha256", 1) if known.request_id == "req-1" else None  # type: ignore[attr-defined]
    trusting.begin_batch(["github"])

    def verify(live: Sequence[str]) -> Verdict:
        return signatures.verify(source.scheme, live, envelope)

    assert trusting.judge("github", envelope, verify) == Verdict("github-sha256", 1)
    with pytest.raises(SignatureMismatch):
        trusting.judge("github", replace(envelope, request_id=RequestId("another")), verify)


@pytest.mark.parametrize("name", SOURCES)
def test_what_was_expired_at_arrival_is_expired_for_ever(name: str) -> None:
    """Every spoilt delivery gets the same refusal a year later as when it came."""
    source = SOURCES[name]
    for case in judged_cases(source, pair_of(source), AT_MS):
        store = Store()
        store.texts[f"/{name}"] = kept(*case.secrets)
        envelope = replace(case.envelope, request_id=RequestId("req-1"))
        live = store.judge(source).judge([record(envelope)])
        store.now_ms += YEAR_MS
        later = store.judge(source).judge([record(as_stored(decode(encode(envelope))))])
        assert [(one.decision, code(one.error)) for one in later] == [
            (one.decision, code(one.error)) for one in live
        ], case.name


def code(error: Any) -> str:
    return error.code if error is not None else ""


# ------------------------------------------------------------------------------------------------ fuzzed

TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=200)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["Content-Type", "X-Signature", "Authorization", "webhook-id", "X-Any"]), TEXT),
    max_size=8,
)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"", b"{}", b"[]", b"[" * 60_000, b'{"a":' * 30_000, b"\xff\xfe\x00", b'{"id":"\\ud800"}']),
)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_delivery_breaks_the_judge(data: st.DataObject) -> None:
    """Whatever is in headers, query and body, and whatever of the sample is kept, every event has a fate."""
    name = data.draw(st.sampled_from(sorted(SOURCES)))
    source, store = SOURCES[name], Store()
    pair = pair_of(source)
    store.texts[f"/{name}"] = kept(pair.verify_with)
    genuine = delivery(source, pair)
    headers = list(genuine.headers) if data.draw(st.booleans()) else []
    for given_name, value in data.draw(HEADERS):
        known = [one for one, _ in genuine.headers]
        chosen = data.draw(st.sampled_from([given_name, *known]))
        if data.draw(st.booleans()):
            headers = [pair for pair in headers if pair[0] != chosen]
        headers.append((chosen, value))
    envelope = replace(
        genuine,
        headers=tuple(headers),
        body=data.draw(BODIES) if data.draw(st.booleans()) else genuine.body,
        query=data.draw(st.dictionaries(TEXT, TEXT, max_size=3)),
        key=data.draw(TEXT),
    )
    judged = store.judge(source).judge([record(envelope)])
    assert judged
    assert {one.decision for one in judged} <= {"apply", "ignore", "quarantine"}
    assert all(one.error is None or isinstance(one.error, RecordError) for one in judged)
    assert not any(code(one.error) == "event_failed" for one in judged), [str(one.error) for one in judged]


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_no_record_breaks_the_judge(raw: bytes) -> None:
    """Bytes that are not an envelope are quarantined as such."""
    source, store = SOURCES["github"], Store()
    (one,) = store.judge(source).judge([Record("shardId-000000000000", SequenceNumber("1"), 0, AT_MS, raw)])
    assert one.decision == "quarantine"


@pytest.mark.parametrize("name", SOURCES)
def test_work_is_bounded(name: str) -> None:
    """A megabyte of header, ten thousand signatures and a deep body are refused, and none of them takes long."""
    source, store = SOURCES[name], Store()
    pair = pair_of(source)
    store.texts[f"/{name}"] = kept(*[pair.verify_with] * 16)
    genuine = delivery(source, pair)
    huge = [
        tuple((header, value * (1 + 1_000_000 // max(1, len(value)))) for header, value in genuine.headers),
        tuple((header, ",".join([value] * 10_000)) for header, value in genuine.headers),
        tuple((header, " ".join(["v1," + "A" * 44] * 10_000)) for header, _ in genuine.headers),
    ]
    tried = [replace(genuine, headers=headers) for headers in huge]
    tried += [replace(genuine, body=body) for body in (b"[" * 500_000, b'{"a":"' + b"x" * 1_000_000 + b'"}')]
    began_s = time.perf_counter()
    for envelope in tried:
        judged = store.judge(source).judge([record(envelope)])
        assert judged
        assert not any(code(one.error) == "event_failed" for one in judged), [str(one.error) for one in judged]
    assert time.perf_counter() - began_s < 5, name

"""Whatever a delivery holds, judging and reading it ends in a verdict, events or a reason for quarantine."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.deliveries import draft_of, envelope_of, pair_of, source_of
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed, RecordError
from weir.ingest.schemes import signatures
from weir.ingest.sources import events, presets

PRESETS = presets.names()
SOURCES = {name: source_of(name) for name in PRESETS}
PAIRS = {name: pair_of(SOURCES[name]) for name in PRESETS}
GENUINE = {name: envelope_of(SOURCES[name], draft_of(SOURCES[name], PAIRS[name])) for name in PRESETS}

fragments = st.sampled_from(
    ["", "=", ",", ";", " ", ".", "|", "&", "t=", "v1=", "v1,", "sha256=", "Basic ", "HMAC ", "0", "-1", "9" * 20, "ff",
     "AAAA", "2026-01-01T00:00:00Z", "Thu, 01 Jan 2026 00:00:00 GMT", "\x00", "é", "%", "{", "null"]
)  # fmt: skip
header_text = st.one_of(
    st.lists(fragments, max_size=12).map("".join),
    st.text(st.characters(codec="latin-1"), max_size=200),
    st.text(max_size=20),
)
others = st.text(max_size=12).map("another secret {}".format)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | header_text
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def bodies(draw: st.DrawFn, genuine: bytes) -> bytes:
    """Return the genuine body with a member changed, any JSON, or any bytes."""
    kind = draw(st.sampled_from(["kept", "cut", "member", "json", "bytes"]))
    if kind == "kept":
        return genuine
    if kind == "cut":
        return genuine[: draw(st.integers(0, len(genuine)))]
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    document = draw(documents)
    if kind == "member":
        with contextlib.suppress(ValueError):
            whole = json.loads(genuine)
            spoilt = _with_member(draw, whole, document)
            return json.dumps(spoilt).encode("utf-8", "surrogatepass")
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _with_member(draw: st.DrawFn, whole: object, document: object) -> object:
    if isinstance(whole, dict) and whole:
        name = draw(st.sampled_from(sorted(whole)))
        inner = _with_member(draw, whole[name], document) if draw(st.booleans()) else document
        return {**whole, name: inner}
    if isinstance(whole, list) and whole:
        return [_with_member(draw, whole[0], document), *whole[1:]]
    return document


@st.composite
def deliveries(draw: st.DrawFn, preset: str) -> Envelope:
    """Return a delivery of a preset, spoilt in some of its headers, body or query."""
    genuine = GENUINE[preset]
    headers = [
        (name, draw(header_text) if draw(st.integers(0, 3)) == 0 else value)
        for name, value in genuine.headers
        for _ in range(draw(st.sampled_from([1, 1, 1, 1, 0, 2])))
    ]
    query = draw(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=2)) | genuine.query
    return replace(genuine, headers=tuple(headers), body=draw(bodies(genuine.body)), query=query)


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_delivery_is_judged(preset: str, data: st.DataObject) -> None:
    """A spoilt delivery under any secrets gives a verdict or a RecordError, and no other exception."""
    envelope = data.draw(deliveries(preset))
    pair = PAIRS[preset]
    secrets = data.draw(st.lists(others | st.just(pair.verify_with), min_size=1, max_size=3))
    with contextlib.suppress(RecordError):
        verdict = signatures.verify(SOURCES[preset].scheme, secrets, envelope)
        assert secrets[verdict.secret_index] == pair.verify_with


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_delivery_is_read(preset: str, data: st.DataObject) -> None:
    """A spoilt delivery gives events with ids that can be stored, or EventMalformed, and no other exception."""
    envelope = data.draw(deliveries(preset))
    with contextlib.suppress(EventMalformed):
        found = events.extract(SOURCES[preset], envelope)
        assert found
        for event in found:
            assert event.event_id.encode("utf-8") or isinstance(event, events.RefusedEvent)
            assert isinstance(event.type.encode("utf-8") + event.key.encode("utf-8"), bytes)


@example(b"[" * 100_000)
@example(b'{"id":' * 50_000)
@example(b'{"id":1e999999999,"type":NaN}')
@example(b'{"id":1e99999999999999999999}')
@example(b'{"id":' + b"9" * 5000 + b"}")
@example(b'{"id":"\\ud800"}')
@example(b"\xff\xfe{\x00}\x00")
@given(st.binary(max_size=64))
@settings(max_examples=50, deadline=None)
def test_hostile_json(body: bytes) -> None:
    """JSON that is endless, deep, huge or no text at all is read or refused."""
    for preset in ("hmac", "stripe", "meta", "linear", "adyen", "aws-sns", "plaid"):
        envelope = replace(GENUINE[preset], body=body)
        with contextlib.suppress(RecordError):
            signatures.verify(SOURCES[preset].scheme, [PAIRS[preset].verify_with], envelope)
        with contextlib.suppress(EventMalformed):
            events.extract(SOURCES[preset], envelope)

"""Deliveries of real senders that public reports describe: odd, genuine, and signed here by hand."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from tests.support.deliveries import AT_MS, source_of
from weir.ingest.envelope import Envelope, decode, encode
from weir.ingest.errors import EnvelopeMalformed
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.sources import events
from weir.ingest.sources.events import Event

SECRET = "a-secret-of-a-real-sender"


def hex_hmac(content: bytes) -> str:
    return hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()


def received(preset: str, body: bytes, headers: dict[str, str], query: dict[str, str] | None = None) -> Envelope:
    """Return what the gateway stores of a JSON delivery."""
    block = (("Content-Type", "application/json"), *headers.items())
    path = f"/v1/{preset}"
    return Envelope(RequestId("req-1"), AT_MS, SourceName(preset), "", "192.0.2.1", path, query or {}, block, body)


def read(preset: str, envelope: Envelope, secret: str = SECRET) -> list[Event]:
    """Return the events of a delivery after its signature was verified."""
    source = source_of(preset)
    signatures.verify(source.scheme, [secret], envelope)
    return events.extract(source, envelope)


@pytest.mark.parametrize("preset", ["meta", "whatsapp"])
@pytest.mark.parametrize(("time", "at_ms"), [(1789999999123, 1789999999123), (1789999999, 1789999999000)])
def test_messenger_writes_milliseconds(preset: str, time: int, at_ms: int) -> None:
    """Meta's entries have seconds or milliseconds. https://github.com/nyaruka/courier/pull/666"""
    body = json.dumps({"object": "page", "entry": [{"id": "1001", "time": time, "messaging": []}]}).encode()
    envelope = received(preset, body, {"X-Hub-Signature-256": f"sha256={hex_hmac(body)}"})
    assert [event.at_ms for event in read(preset, envelope)] == [at_ms]


def test_arrival_in_microseconds_is_unreadable() -> None:
    """An arrival of no calendar is not an envelope. https://github.com/awslabs/amazon-kinesis-client-python/issues/91"""
    record = encode(received("meta", b"{}", {}))
    assert decode(record).arrived_at_ms == AT_MS
    with pytest.raises(EnvelopeMalformed, match="at"):
        decode(record.replace(str(AT_MS).encode(), f"{AT_MS}000".encode()))

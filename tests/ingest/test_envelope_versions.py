"""Envelopes of every version stay readable: records byte for byte. Records are added here, never changed."""

from __future__ import annotations

import pytest

from weir.ingest.envelope import Envelope, decode, encode
from weir.ingest.ids import RequestId, SourceName

# As put_record.vtl of version 1 writes them (2026-11).
V1 = {
    b'{"v":1,"id":"AbCdEfGhIjKlMno=","at":1764122400123,"source":"shop","key":"","ip":"192.0.2.7","path":"L3YxL3Nob3A='
    b'","query":{},"headers":"Q29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9qc29uClgtU2lnbjogYWJjCg==","body":"eyJuIjoxfQ=="}\n': (
        Envelope(
            request_id=RequestId("AbCdEfGhIjKlMno="),
            arrived_at_ms=1764122400123,
            source=SourceName("shop"),
            key="",
            source_ip="192.0.2.7",
            path="/v1/shop",
            query={},
            headers=(("Content-Type", "application/json"), ("X-Sign", "abc")),
            body=b'{"n":1}',
        )
    ),
    b'{"v":1,"id":"-aBcDeFgHiJkLmN=","at":1764122400999,"source":"partner","key":"c2hvcCDDvA==","ip":"2001:db8::1",'
    b'"path":"L3YxL3BhcnRuZXIvc2hvcCUyMCVDMyVCQw==","query":{"YQ==":"Yj0x"},"headers":"WDogw6kK","body":"//4A"}\n': (
        Envelope(
            request_id=RequestId("-aBcDeFgHiJkLmN="),
            arrived_at_ms=1764122400999,
            source=SourceName("partner"),
            key="shop ü",
            source_ip="2001:db8::1",
            path="/v1/partner/shop%20%C3%BC",
            query={"a": "b=1"},
            headers=(("X", "é"),),
            body=b"\xff\xfe\x00",
        )
    ),
}


@pytest.mark.parametrize("record", V1)
def test_records_of_version_1_stay_readable(record: bytes) -> None:
    """A record that version 1 wrote is read as the delivery that it was, also with members that are unknown today."""
    assert decode(record) == V1[record]
    assert decode(record.replace(b"}\n", b',"later":[1]}\n')) == V1[record]


@pytest.mark.parametrize("record", V1)
def test_version_1_is_written_with_the_same_bytes(record: bytes) -> None:
    """Today's version is 1 and writes these bytes; a new version adds records of its own here and leaves these."""
    assert encode(V1[record]) == record

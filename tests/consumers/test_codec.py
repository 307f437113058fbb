from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.batches import envelope
from weir.consumers.events_table.blob import FormError, is_envelope, pack, pack_raw, unpack, unpack_raw
from weir.consumers.events_table.dictionary import WEBHOOKS_1
from weir.ingest.envelope import Envelope, decode, encode

# Latin-1 without what ends a header line, as the gateway hands headers over.
_VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\n\r"), max_size=40)
_NAMES = st.text(st.sampled_from("abcXYZ-_0"), min_size=1, max_size=12)
_ENVELOPES = st.builds(
    Envelope,
    request_id=st.just("r"),
    arrived_at_ms=st.just(5),
    source=st.just("s"),
    key=st.just("k"),
    source_ip=st.just("192.0.2.7"),
    path=st.text(max_size=30),
    query=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    headers=st.lists(st.tuples(_NAMES, _VALUES), max_size=6).map(tuple),
    body=st.binary(max_size=300) | st.binary(max_size=40).map(lambda part: part * 900),
    alternative_body=st.none() | st.just(b"{}"),
)


def back(blob: bytes) -> Envelope:
    return unpack(blob, request_id="r", arrived_at_ms=5, source="s", key="k")


@given(_ENVELOPES)
def test_what_was_packed_comes_back(one: Envelope) -> None:
    """Every part of an envelope that is not an attribute of its item survives, byte by byte."""
    assert back(pack(one)) == one


@given(st.binary(max_size=2000))
def test_a_raw_record_comes_back(data: bytes) -> None:
    """What no gateway wrote is kept as it came, and is not taken for an envelope."""
    blob = pack_raw(data)
    assert unpack_raw(blob) == data
    assert not is_envelope(blob)


def test_an_envelope_as_the_gateway_writes_it_comes_back() -> None:
    """Packing what was decoded loses nothing of the record itself."""
    record = encode(envelope("r9", b'{"a": 10.00}\r\n\r\n\x00\xff'))
    one = decode(record)
    again = unpack(pack(one), request_id="r9", arrived_at_ms=one.arrived_at_ms, source="shop", key="")
    assert encode(again) == record


def test_a_webhook_of_two_kilobytes_fits_beside_its_facts() -> None:
    """An ordinary delivery takes a third of its size, so that its item costs the units of one kilobyte."""
    body = json.dumps(
        {
            "id": "evt_1QabcDEF2eZvKYlo2C",
            "object": "event",
            "data": {"object": {"id": "ch_3x9Yz", "status": "succeeded"}},
            "lines": [{"id": f"li_{number}x9Yz", "quantity": number, "amount": 100 * number} for number in range(30)],
        }
    ).encode()
    assert 1500 < len(body) < 2500
    assert len(pack(envelope("r", body))) < 700


def test_what_does_not_shrink_is_kept_as_it_is() -> None:
    """A body of random bytes costs one byte more, not a deflate block."""
    body = hashlib.shake_256(b"random").digest(5000)
    assert pack_raw(body) == b"\x02" + body


def test_stored_blobs_stay_readable_for_ever() -> None:
    """The dictionary is frozen, and blobs of each form that were written once are read as they were meant."""
    assert hashlib.sha256(WEBHOOKS_1).hexdigest() == DICTIONARY_SHA256
    for blob in (DEFLATED, PLAIN):
        one = back(bytes.fromhex(blob))
        assert (one.source_ip, one.path, one.body) == ("192.0.2.1", "/v1/shop", b'{"id":1}')
        assert one.header("content-length") == "8"
    assert unpack_raw(bytes.fromhex("02") + b"as it came") == b"as it came"


DICTIONARY_SHA256 = "4f3bc6049da3e96d96118afd96a27dfd1eec5c36c43637317ad5b982d643c4a3"
DEFLATED = "010386bf2530d7eb19c1c31f54bf2385338150400f640b98c986b500"
PLAIN = (
    "005b223139322e302e322e31222c222f76312f73686f70222c7b7d2c6e756c6c5d0a436f6e74656e742d547970653a206170"
    "706c69636174696f6e2f6a736f6e0a436f6e74656e742d4c656e6774683a20380a0a7b226964223a317d"
)


@pytest.mark.parametrize("blob", [b"", b"\x09abc", b"\x02abc"])
def test_a_form_that_is_no_envelope_is_told(blob: bytes) -> None:
    """A blob of another form is an error that names the form, never a wrong envelope."""
    with pytest.raises(FormError, match="form"):
        back(blob)


def test_an_envelope_is_no_raw_record() -> None:
    """The two kinds are not mistaken for each other."""
    with pytest.raises(FormError, match="form"):
        unpack_raw(pack(envelope()))

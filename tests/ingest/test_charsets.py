"""Bodies that are not plain UTF-8: read where their text can be known, else refused in words, never ignored."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of, with_header
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed, SignatureMalformed, SignatureMismatch
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.locations import FORM, parse_json
from weir.ingest.schemes import signatures
from weir.ingest.sources import events
from weir.ingest.sources.catalogue import Source
from weir.ingest.sources.events import Event

SECRET = "a-secret-of-a-real-sender"
DOCUMENT = {"id": "evt_1", "type": "order.paid", "timestamp": "2026-09-21T14:13:10Z", "name": "José"}
TEXT = json.dumps(DOCUMENT, ensure_ascii=False)
MARK = b"\xef\xbb\xbf"


def delivery(source: str, body: bytes, content_type: str, **headers: str) -> Envelope:
    """Return a delivery that is signed over the very bytes of its body."""
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    signed = {"hmac": {"X-Signature": digest}, "github": {"X-Hub-Signature-256": f"sha256={digest}"}}[source]
    block = (("Content-Type", content_type), *signed.items(), *headers.items())
    return Envelope(RequestId("req-1"), AT_MS, SourceName(source), "", "192.0.2.1", f"/v1/{source}", {}, block, body)


def read(source: Source, envelope: Envelope) -> Event:
    """Return the event of a delivery whose signature was verified."""
    assert signatures.verify(source.scheme, [SECRET], envelope).secret_index == 0
    (event,) = events.extract(source, envelope)
    return event


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TEXT.encode(), "application/json"),
        (TEXT.encode(), "application/json; charset=iso-8859-1"),  # UTF-8 wins where it is UTF-8
        (MARK + TEXT.encode(), "application/json; charset=utf-8"),
        (TEXT.encode("utf-16"), "application/json"),
        (TEXT.encode("utf-16-le"), "application/json; charset=utf-16"),
        (TEXT.encode("utf-16-be"), "application/json"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "text/plain"),
        (TEXT.encode("utf-32"), "application/json"),
        (TEXT.encode("utf-32-be"), "application/vnd.api+json"),
        (TEXT.encode("latin-1"), "application/json; charset=ISO-8859-1"),
        (TEXT.encode("cp1252"), 'application/json; charset="windows-1252"'),
    ],
)
def test_json_in_its_encoding(body: bytes, content_type: str) -> None:
    """JSON is read by its byte order mark, its zeros, or its charset. https://github.com/n8n-io/n8n/issues/35933"""
    event = read(source_of("hmac"), delivery("hmac", body, content_type))
    assert (event.type, event.payload) == ("order.paid", DOCUMENT)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TEXT.encode("latin-1"), "application/json"),
        (TEXT.encode("latin-1"), "application/json; charset=utf-8"),
        (TEXT.encode("latin-1"), "application/json; charset=rot13"),
        (TEXT.encode("latin-1"), "application/json; charset=weir.cli.main"),
        (TEXT.encode("utf-16")[:-1], "application/json"),
        (MARK + MARK + TEXT.encode(), "application/json"),
        (TEXT[:-1].encode(), "application/problem+json"),
        (b"a=\xe9", FORM),
        (b"\0", "application/json"),
    ],
)
def test_unreadable_body_is_refused_in_words(body: bytes, content_type: str) -> None:
    """A body that is called JSON or a form and is none is refused with a reason, not an event without a type."""
    for preset, headers in (("hmac", {}), ("hmac", {"X-Event-Id": "7"})):
        envelope = delivery(preset, body, content_type, **headers)
        with pytest.raises(EventMalformed, match="no event type: the body is called"):
            read(source_of(preset), envelope)
    typed = delivery("hmac", body, content_type, **{"X-Event-Type": "ping"})
    assert read(source_of("hmac"), typed).type == "ping"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", "application/json"), (b"  ", "application/json"), (b"null", "application/json"), (b"{}", "application/json"),
     (b"\xff\xfe", "application/octet-stream"), (b"<a/>", "application/xml"), (b"ping", "text/plain"), (b"", FORM)],
)  # fmt: skip
def test_bodies_that_say_nothing(body: bytes, content_type: str) -> None:
    """What is empty, or is not called JSON or a form, is an event without a type."""
    assert read(source_of("hmac"), delivery("hmac", body, content_type)).type == ""


@pytest.mark.parametrize("preset", ["sendgrid", "meta"])
def test_batch_that_cannot_be_read(preset: str) -> None:
    """A batch that cannot be read is refused with the reason."""
    source = source_of(preset)
    envelope = envelope_of(source, draft_of(source, pair_of(source)))
    with pytest.raises(EventMalformed, match=r"neither an array nor an object at .*: the body is called JSON"):
        events.extract(source, replace(envelope, body=envelope.body + b"\xe9"))


def test_mark_before_a_form() -> None:
    """The first field of a form keeps its name behind a byte order mark, for GitHub's payload as for any other."""
    form = b"payload=" + quote(json.dumps({"action": "opened", "repository": {"id": 1}})).encode()
    headers = {"X-GitHub-Event": "issues", "X-GitHub-Delivery": "7"}
    for body in (form, MARK + form, form.decode().encode("utf-16")):
        event = read(source_of("github"), delivery("github", body, FORM, **headers))
        assert (event.type, event.payload["action"]) == ("issues.opened", "opened")


@pytest.mark.parametrize("preset", ["twilio", "plivo"])
@pytest.mark.parametrize("change", [lambda body: MARK + body, lambda body: body.decode().encode("utf-16")])
def test_marked_form_is_not_what_was_signed(preset: str, change: object) -> None:
    """Where the fields are signed and not the bytes, other bytes that could be read as the same fields are refused."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    envelope = envelope_of(source, draft_of(source, pair))
    assert callable(change)
    with pytest.raises((SignatureMalformed, SignatureMismatch)):
        signatures.verify(source.scheme, [pair.verify_with], replace(envelope, body=change(envelope.body)))


@pytest.mark.parametrize("preset", ["hmac", "stripe", "shopify", "slack"])
def test_signature_is_over_the_raw_bytes(preset: str) -> None:
    """The same text in another encoding is another body: its signature does not verify."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    envelope = envelope_of(source, draft_of(source, pair))
    for body in (MARK + envelope.body, envelope.body.decode().encode("utf-16")):
        with pytest.raises(SignatureMismatch):
            signatures.verify(source.scheme, [pair.verify_with], replace(envelope, body=body))


def test_braintree_that_is_not_xml() -> None:
    """A notification whose payload is not XML is refused with the reason."""
    source, pair = source_of("braintree"), pair_of(source_of("braintree"))
    draft = draft_of(source, pair)
    draft.body = b"bt_payload=" + quote(base64.b64encode(b"<notification><kind>a</wrong>").decode()).encode()
    signatures.sign_draft(source.scheme, pair.sign_with, draft)
    with pytest.raises(EventMalformed, match="XML at field:bt_payload cannot be read"):
        events.extract(source, envelope_of(source, draft))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_every_encoding_reads_the_same(value: object) -> None:
    """JSON of any value is the same in all encodings that RFC 8259 and RFC 4627 know."""
    text = json.dumps({"value": value}, ensure_ascii=True)
    assert {
        json.dumps(parse_json(text.encode(encoding)))
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
    } == {json.dumps({"value": value})}


def test_content_type_of_the_gateway() -> None:
    """A body without a Content-Type is called nothing, and so is never refused for what it is not."""
    envelope = with_header(delivery("hmac", b"\xff", "x"), "Content-Type", lambda _: None)
    assert read(source_of("hmac"), envelope).type == ""

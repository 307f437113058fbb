"""Deliveries of real senders that public reports describe: odd, genuine, and signed here by hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.deliveries import AT_MS, draft_with, envelope_of, pair_of, source_of, with_headers
from weir.ingest.envelope import Envelope, decode, encode
from weir.ingest.errors import (
    EnvelopeMalformed,
    EventMalformed,
    SignatureExpired,
    SignatureMalformed,
    SignatureMismatch,
    SignatureMissing,
)
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.schemes.parts.checks import MAX_URLS, public_urls
from weir.ingest.sources import events
from weir.ingest.sources.events import Event
from weir.ingest.sources.sources_file import SourceEntry, resolve
from weir.operate.lookup.events import iso

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


def read_signed(preset: str, body: Any) -> list[Event]:
    """Return the events of a body that is signed with the preset's own scheme."""
    source = source_of(preset)
    pair = pair_of(source)
    envelope = envelope_of(source, draft_with(source, pair, json.dumps(body).encode()))
    return read(preset, envelope, pair.verify_with)


def test_sendgrid_event_without_id() -> None:
    """An event without `sg_event_id` has a derived id, its batch is whole. https://github.com/sendgrid/docs/issues/2862"""
    unsubscribed = {"email": "b@example.com", "timestamp": 1789999000, "event": "group_unsubscribe"}
    batch = [{"sg_event_id": "a", "event": "delivered"}, unsubscribed, {"sg_event_id": "c", "event": "bounce"}]
    found = read_signed("sendgrid", batch)
    assert [event.type for event in found] == ["delivered", "group_unsubscribe", "bounce"]
    assert [found[0].event_id, found[2].event_id] == ["a", "c"]
    assert found[1].event_id == read_signed("sendgrid", [unsubscribed])[0].event_id
    twice = read_signed("sendgrid", [*batch, unsubscribed])
    assert [event.event_id for event in twice[1::2]] == [found[1].event_id, f"{found[1].event_id}.1"]


def test_bad_element_is_refused_alone() -> None:
    """What cannot be an event is refused in its place; an id that is there twice stays one id."""
    batch = [{"sg_event_id": "a"}, 7, {"sg_event_id": "\ud800"}, {"sg_event_id": "a"}, None]
    found = read_signed("sendgrid", batch)
    assert [event.event_id for event in found] == ["a", "", "", "a", ""]
    assert [isinstance(event, events.RefusedEvent) for event in found] == [False, True, True, False, True]
    assert [event.index for event in found] == [0, 1, 2, 3, 4]
    with pytest.raises(EventMalformed, match="no event id"):
        read_signed("sendgrid", [7])


@pytest.mark.parametrize("preset", ["hubspot", "hubspot-v2"])
def test_hubspot_workflow_object(preset: str) -> None:
    """A workflow's webhook is one object, one event. https://github.com/HubSpot/hubspot-api-python/issues/19"""
    contact = {"vid": 55, "portal-id": 1, "properties": {"email": {"value": "a@example.com"}}}
    (event,) = read_signed(preset, contact)
    assert event.payload == contact
    assert event.event_id == read_signed(preset, contact)[0].event_id != read_signed(preset, {"vid": 56})[0].event_id


def test_quickbooks_cloudevents() -> None:
    """An array of CloudEvents has their ids. https://github.com/ballerina-platform/ballerina-library/issues/9079"""
    changed = {
        "specversion": "1.0",
        "id": "88cd52aa-33b6-4351-9aa4-47572edbd068",
        "source": "intuit.dsnBgbseACLLRZNxo2dfc4evmEJdxde58xeeYcZliOU=",
        "type": "qbo.customer.created.v1",
        "time": "2026-09-21T14:13:20.179851517Z",
        "intuitentityid": "1234",
        "intuitaccountid": "310687",
        "data": {},
    }
    body = json.dumps([changed, {**changed, "id": "2"}]).encode()
    signature = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha256")).decode()
    found = read("quickbooks", received("quickbooks", body, {"intuit-signature": signature}))
    assert [event.event_id for event in found] == [changed["id"], "2"]
    assert [(event.type, event.key, event.at_ms) for event in found] == [
        ("qbo.customer.created.v1", "310687", 1790000000179)
    ] * 2


def test_quickbooks_old_form() -> None:
    """The form of before is read beside it, with ids of its content."""
    entity = {"name": "Customer", "id": "1", "operation": "Create", "lastUpdated": "2026-09-21T14:13:20.000Z"}
    notification = {"realmId": "310687", "dataChangeEvent": {"entities": [entity]}}
    (event,) = read_signed("quickbooks", {"eventNotifications": [notification]})
    digest = hashlib.sha256(json.dumps(notification, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert (event.event_id, event.type, event.key) == (digest, "Customer.Create", "310687")


def test_klaviyo_batch_and_retry() -> None:
    """Two topics are two events; a retry with another `meta.timestamp` has the same ids (Klaviyo documents it)."""
    data = [{"topic": "event:klaviyo.sent_sms", "payload": {"data": {"id": "1"}}}, {"topic": "b", "payload": {}}]
    first, again = (
        read_signed("klaviyo", {"data": data, "meta": {"timestamp": at}}) for at in ("2026-09-21", "2026-09-22")
    )
    assert [event.type for event in first] == ["event:klaviyo.sent_sms", "b"]
    assert [event.event_id for event in first] == [event.event_id for event in again]


def documented(preset: str, body: Any, headers: dict[str, str] | None = None) -> list[Event]:
    """Return the events of a body that a provider documents, signed with the preset's own scheme."""
    source = source_of(preset)
    pair = pair_of(source)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    envelope = envelope_of(source, draft_with(source, pair, raw))
    return read(preset, with_headers(envelope, headers or {}), pair.verify_with)


NOON = "2026-09-21T14:13:20Z"
NOON_MS = 1790000000000
TOKEN = {
    "createdAt": NOON,
    "eventId": "QBQQ9DLNRHHKGK38",
    "type": "recurring.token.created",
    "data": {"id": "M5N7TQ4TG5PFWR50"},
}
LOG = {"log_id": "900201", "data": {"date": NOON, "type": "s", "user_id": "auth0|1"}}
CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "user.created",
    "id": "evt_1",
    "time": NOON,
    "data": {"object": {"user_id": "auth0|1"}},
}
REFUND = {"id": "EV1", "resource_type": "refunds", "action": "paid", "links": {"refund": "RF1"}}
GRID = {"id": "7", "subject": "s", "eventType": "Order.Made", "eventTime": NOON, "data": {}}
UNWRAPPED = {
    "x-goog-pubsub-subscription-name": "projects/p/subscriptions/s",
    "x-goog-pubsub-message-id": "11",
    "x-goog-pubsub-publish-time": NOON,
}
# Forms of a body that a provider documents beside the sample's: id, type, time and key of each event.
FORMS: list[tuple[str, Any, dict[str, str], list[tuple[str, str, int | None, str]]]] = [
    ("adyen-platform", TOKEN, {}, [("", "recurring.token.created", NOON_MS, "M5N7TQ4TG5PFWR50")]),
    ("aftership", {"event": "tracking_update", "event_id": "u", "ts": 1790000000, "msg": {"id": "t"}}, {},
     [("u", "tracking_update", NOON_MS, "t")]),
    ("alchemy", {"app": "Demo", "webhookType": "MINED_TRANSACTION", "timestamp": NOON}, {},
     [("", "MINED_TRANSACTION", NOON_MS, "Demo")]),
    ("auth0", [LOG], {}, [("900201", "s", NOON_MS, "auth0|1")]),
    ("auth0", CLOUD_EVENT, {}, [("evt_1", "user.created", NOON_MS, "auth0|1")]),
    ("brevo", [{"event": "delivered", "ts_event": 1790000000, "email": "a@x.example"}, {"event": "click"}], {},
     [("", "delivered", NOON_MS, "a@x.example"), ("", "click", None, "")]),
    ("buildkite", {"event": "build.running"}, {"X-Buildkite-Event": "build.finished"},
     [("", "build.running", None, "")]),
    ("front", {"type": "sync", "authorization": {"id": "cmp_abc"}}, {}, [("", "sync", None, "")]),
    ("gocardless", {"events": [REFUND]}, {}, [("EV1", "refunds.paid", None, "RF1")]),
    ("google-pubsub", {"subscription": "of the message"}, UNWRAPPED,
     [("projects/p/subscriptions/s:11", "projects/p/subscriptions/s", NOON_MS, "")]),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "body", "headers", "expected"), FORMS)
def test_documented_forms(
    preset: str, body: Any, headers: dict[str, str], expected: list[tuple[str, str, int | None, str]]
) -> None:
    """Each form that a provider documents is read; what has no id of its own has a digest, the same in a retry."""
    found, again = (documented(preset, body, headers) for _ in range(2))
    assert [(event.type, event.at_ms, event.key) for event in found] == [tuple(one[1:]) for one in expected]
    for event, (event_id, *_) in zip(found, expected, strict=True):
        assert event.event_id == event_id if event_id else re.fullmatch(r"[0-9a-f]{64}", event.event_id)
    assert [event.event_id for event in found] == [event.event_id for event in again]


def sign_event(signature_id: str) -> bytes:
    """Return a callback of Dropbox Sign for one of two signers of a request."""
    event = {"event_type": "signature_request_signed", "event_time": "1767225600", "event_hash": "",
             "event_metadata": {"related_signature_id": signature_id}}  # fmt: skip
    body = json.dumps({"event": event, "signature_request": {"signature_request_id": "r"}})
    part = 'Content-Disposition: form-data; name="json"'
    boundary = "------weir7MA4YWxkTrZu0gW"
    return f"{boundary}\r\n{part}\r\n\r\n{body}\r\n{boundary}--\r\n".encode()


STATUS = {"webhook_id": "w", "history_items": [{"id": "280", "date": "1790000000000"}], "task_id": "1"}
ATTIO = {"webhook_id": "w", "events": [{"event_type": "record.updated", "id": {"record_id": "r"}}]}
SIGNED = {"event": "recipient-completed", "generatedDateTime": NOON, "data": {"envelopeId": "e", "recipientId": "1"}}
SEND = {"send_id": "s", "target": {"address": "a"}, "payload": {"alert": "Hello"}}
# Two events that had one id, or could have: each as body and headers.
PAIRS: list[tuple[str, tuple[Any, dict[str, str]], tuple[Any, dict[str, str]]]] = [
    ("airship", ({"values": [SEND]}, {}), ({"values": [{**SEND, "send_id": "t"}]}, {})),
    ("attio", (ATTIO, {"Idempotency-Key": "1"}), (ATTIO, {"Idempotency-Key": "2"})),
    ("azure-event-grid", ([{"topic": "a", **GRID}], {}), ([{"topic": "b", **GRID}], {})),
    ("clickup", ({"event": "taskCreated", **STATUS}, {}), ({"event": "taskStatusUpdated", **STATUS}, {})),
    ("docusign", (SIGNED, {}), ({**SIGNED, "data": {"envelopeId": "e", "recipientId": "2"}}, {})),
    ("dropbox-sign", (sign_event("1"), {}), (sign_event("2"), {})),
    ("flutterwave", ({"webhook_id": "wbk_1", "type": "charge.completed", "data": {"id": "chg_1"}}, {}),
     ({"webhook_id": "wbk_1", "type": "charge.completed", "data": {"id": "chg_2"}}, {})),
    ("google-pubsub", ({"message": {"messageId": "1"}, "subscription": "a"}, {}),
     ({"message": {"messageId": "1"}, "subscription": "b"}, {})),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "one", "other"), PAIRS)
def test_two_events_have_two_ids(
    preset: str, one: tuple[Any, dict[str, str]], other: tuple[Any, dict[str, str]]
) -> None:
    """Two events that share a part of the id are two, and a retry of one is the same."""
    (first,), (retry,), (second,) = (documented(preset, *delivery) for delivery in (one, one, other))
    assert first.event_id == retry.event_id != second.event_id


FORM = b"AccountSid=AC1&Body=It%27s+me%2C+%E2%9C%8B&From=%2B14155550100&MessageSid=SM1"
QUERIES = [
    "tenant=7&kind=sms", "name=Jo%20Doe", "name=Jo+Doe", "email=jo@example.com", "to=sip:jo@example.com",
    "state=Forli'", "email=jo@example.com&name=Jo%20Doe", "state=Trezzo+Sull'Adda&country=IT",
    "next=https://app.example.com/x&label=a%20b", "ids=1,2,3&label=a%20b", "next=https%3a%2f%2fapp.example.com%2fx",
    "u=%7Ejo", "q=*&n=a%20b", "flag&tenant=7",
    "flag=&tenant=7", "n=Z%C3%BCrich", "n=100%25", "n=%2B1415",
]  # fmt: skip


def from_twilio(registered: str, called: str, arrived: str) -> None:
    """Verify a Twilio delivery: ``registered`` is the source's query, ``called`` signed, ``arrived`` at the gateway."""
    url = "https://hooks.example.com/v1/twilio"
    fields = "".join(name + value for name, value in sorted(parse_qsl(FORM.decode())))
    signed = f"{url}?{called}{fields}".encode()
    headers = {"X-Twilio-Signature": base64.b64encode(hmac.digest(SECRET.encode(), signed, "sha1")).decode()}
    source = resolve("twilio", SourceEntry(preset="twilio", url=url + registered))
    form = (("Content-Type", "application/x-www-form-urlencoded"), *headers.items())
    query = dict(parse_qsl(arrived, keep_blank_values=True))
    envelope = replace(received("twilio", FORM, {}, query), headers=form)
    assert signatures.verify(source.scheme, [SECRET], envelope).secret_index == 0


@pytest.mark.parametrize("query", QUERIES)
def test_spellings_of_a_signed_query(query: str) -> None:
    """A query verifies as it was spelled. https://github.com/twilio/twilio-node/issues/1059 , 621, 1183"""
    from_twilio("", query, query)


@pytest.mark.parametrize("query", [*QUERIES, "tag=a&tag=b", "tenant=7&", "a=%7e+%7E'&b=%20"])
def test_query_as_the_provider_was_given_it(query: str) -> None:
    """Any query verifies that the source's URL has, repeated names included, also with parameters that are added."""
    from_twilio(f"?{query}", query, query)
    added = "CallSid=CA1&x=a+b"
    from_twilio(f"?{query}", f"{query}&{added}", f"{query}&{added}")


def test_query_of_the_source_is_what_arrived() -> None:
    """The source's query proves nothing of a delivery that arrives with another one."""
    from_twilio("?tenant=7", "tenant=8", "tenant=8")
    with pytest.raises(SignatureMismatch):
        from_twilio("?tenant=7", "tenant=7", "tenant=8")
    with pytest.raises(SignatureMismatch):
        from_twilio("?tenant=7", "tenant=7", "tenant=7&admin=1")


def test_urls_are_bounded() -> None:
    """However a query looks, no more URLs are tried than the bound, each once."""
    odd = {f"n{at}~": f"~ü+ '/*{at}" for at in range(40)} | {"empty": ""}
    envelope = received("twilio", b"", {}, odd)
    for base in ("https://x.example/v1/twilio", "https://x.example/v1/twilio?empty"):
        urls = public_urls(base, envelope)
        assert len(set(urls)) == len(urls) <= MAX_URLS


def test_a_query_has_one_reading() -> None:
    """No other query than the signed one verifies: a value may not hold what was a parameter, nor lose its end."""
    envelope = received("twilio", b"", {}, {"a": "1&b=2", "c": "x=", "": ""})
    urls = public_urls("https://x.example/v1/twilio", envelope)
    assert all(dict(parse_qsl(url.partition("?")[2], keep_blank_values=True)) == envelope.query for url in urls)


def meta(object_: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return a delivery of Meta with one entry."""
    return {"object": object_, "entry": [{"id": "1001", "time": 1789999999, **entry}]}


def messaging(**what: Any) -> dict[str, Any]:
    """Return the entry of a messaging event."""
    return {"messaging": [{"sender": {"id": "1"}, "recipient": {"id": "2"}, "timestamp": 1, **what}]}


@pytest.mark.parametrize(
    ("preset", "body", "kind"),
    [
        ("telegram", {"update_id": 1, "message": {"date": 1}}, "message"),
        ("telegram", {"update_id": 1, "edited_message": {"date": 1}}, "edited_message"),
        ("telegram", {"update_id": 1, "callback_query": {"id": "1"}}, "callback_query"),
        ("telegram", {"update_id": 1, "my_chat_member": {"date": 1}}, "my_chat_member"),
        ("x", {"for_user_id": "1", "tweet_create_events": [{}]}, "tweet_create_events"),
        ("x", {"for_user_id": "1", "direct_message_events": [{}], "users": {}}, "direct_message_events"),
        ("x", {"data": {"event_type": "post.create", "filter": {"user_id": "1"}}}, "post.create"),
        ("meta", meta("page", {"changes": [{"field": "feed"}]}), "page.feed"),
        ("meta", meta("page", messaging(message={"mid": "1"})), "page.message"),
        ("meta", meta("page", messaging(postback={"title": "Go"})), "page.postback"),
        ("meta", meta("page", messaging(delivery={"watermark": 1})), "page.delivery"),
        ("meta", meta("instagram", messaging(read={"mid": "1"})), "instagram.read"),
        ("meta", meta("instagram", messaging(reaction={"mid": "1"})), "instagram.reaction"),
        ("meta", meta("page", messaging(unheard_of={})), "page"),
        ("meta", meta("page", {"standby": messaging(message={})["messaging"]}), "page.standby"),
        ("whatsapp", meta("whatsapp_business_account", {"changes": [{"field": "messages", "value": {"messages": []}}]}),
         "whatsapp_business_account.messages"),
        ("whatsapp", meta("whatsapp_business_account", {"changes": [{"field": "messages", "value": {"statuses": []}}]}),
         "whatsapp_business_account.messages.statuses"),
        ("whatsapp", meta("whatsapp_business_account", {"changes": [{"field": "account_update", "value": {}}]}),
         "whatsapp_business_account.account_update"),
        ("azure-event-grid", {"specversion": "1.0", "id": "1", "source": "/a", "type": "Microsoft.Storage.BlobCreated"},
         "Microsoft.Storage.BlobCreated"),
        ("azure-event-grid", [{"id": "1", "eventType": "Microsoft.Resources.X"}], "Microsoft.Resources.X"),
        ("dropbox", {"list_folder": {"accounts": ["dbid:1"]}, "delta": {"users": [1]}}, "list_folder"),
        ("postmark", {"MessageID": "1", "MailboxHash": "", "Subject": "Hi"}, "Inbound"),
        ("postmark", {"MessageID": None, "RecordType": "SubscriptionChange"}, "SubscriptionChange"),
    ],
)  # fmt: skip
def test_type_is_what_happened(preset: str, body: Any, kind: str) -> None:
    """Business code is chosen by a type that tells what happened, also where only a member's name says it."""
    (event,) = read_signed(preset, body)
    assert event.type == kind


def test_type_of_braintree() -> None:
    """Kind and time are read of the XML. https://developer.paypal.com/braintree/docs/guides/webhooks/parse/"""
    document = (
        "<notification><kind>subscription_canceled</kind><timestamp type='datetime'>2026-09-21T14:13:20Z</timestamp>"
    )
    source, pair = source_of("braintree"), pair_of(source_of("braintree"))
    body = urlencode({"bt_payload": base64.encodebytes(document.encode()).decode()}).encode()
    (event,) = read("braintree", envelope_of(source, draft_with(source, pair, body)), pair.verify_with)
    assert (event.type, event.at_ms) == ("subscription_canceled", 1790000000000)


def test_sendgrid_body_ends_with_a_line_end() -> None:
    """The line end behind SendGrid's JSON is signed with it. https://github.com/sendgrid/sendgrid-php/issues/1032"""
    key = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    batch = [{"event": "delivered", "sg_event_id": "a"}, {"event": "group_unsubscribe"}]
    body, at = json.dumps(batch).encode() + b"\r\n", str(AT_MS // 1000)
    header = "X-Twilio-Email-Event-Webhook-"
    signature = base64.b64encode(key.sign(at.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
    envelope = received("sendgrid", body, {f"{header}Signature": signature, f"{header}Timestamp": at})
    found = read("sendgrid", envelope, base64.b64encode(spki).decode())
    assert [event.type for event in found] == ["delivered", "group_unsubscribe"]
    with pytest.raises(SignatureMismatch):
        read("sendgrid", replace(envelope, body=body.rstrip()), base64.b64encode(spki).decode())


def woocommerce(order: int) -> Envelope:
    """Return the update of an order by webhook 10 in one and the same second."""
    body = json.dumps({"id": order, "status": "processing", "date_modified_gmt": "2026-09-21T14:13:20"}).encode()
    signature = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha256")).decode()
    delivery = hashlib.md5(b"101790000000", usedforsecurity=False).hexdigest()
    headers = {"X-WC-Webhook-Topic": "order.updated", "X-WC-Webhook-Delivery-ID": delivery}
    return received("woocommerce", body, {**headers, "X-WC-Webhook-Signature": signature})


def test_woocommerce_of_one_second() -> None:
    """Two orders of one second share the delivery id. https://github.com/woocommerce/woocommerce/issues/28329"""
    (first,), (again,), (second,) = (read("woocommerce", woocommerce(order)) for order in (5001, 5001, 5002))
    assert first.event_id == again.event_id != second.event_id
    assert [(event.type, event.at_ms, event.key) for event in (first, second)] == [
        ("order.updated", NOON_MS, "5001"),
        ("order.updated", NOON_MS, "5002"),
    ]


INBOUND = {"FromName": "Jo", "MessageID": "73e6d360", "MailboxHash": "42", "Subject": "Hi", "Tag": ""}
CHANGED = {"RecordType": "SubscriptionChange", "ChangedAt": NOON, "Recipient": "b@example.com"}
CLICKED = {"RecordType": "Click", "MessageID": "m1", "Recipient": "e@example.com", "ReceivedAt": NOON}
DELIVERED = {"RecordType": "Delivery", "MessageID": "m9", "DeliveredAt": NOON}
# Each is an event of its own: body, type, time and key.
POSTMARK: list[tuple[dict[str, Any], str, int | None, str]] = [
    (INBOUND, "Inbound", None, "73e6d360"),
    ({**CHANGED, "MessageID": None}, "SubscriptionChange", NOON_MS, ""),
    ({**CHANGED, "Recipient": "c@example.com"}, "SubscriptionChange", NOON_MS, ""),
    ({"RecordType": "SMTPApiError", "ErrorCode": 406, "To": "d@example.com"}, "SMTPApiError", None, ""),
    ({**DELIVERED, "MessageID": "m0", "DeliveredAt": "2026-09-21T14:13:20.9070259Z"}, "Delivery", NOON_MS + 907, "m0"),
    ({**CLICKED, "OriginalLink": "https://example.com/a"}, "Click", NOON_MS, "m1"),
    ({**CLICKED, "OriginalLink": "https://example.com/b"}, "Click", NOON_MS, "m1"),
    ({**DELIVERED, "Recipient": "to@example.com"}, "Delivery", NOON_MS, "m9"),
    ({**DELIVERED, "Recipient": "cc@example.com"}, "Delivery", NOON_MS, "m9"),
]


def test_postmark_sends_more_than_deliveries() -> None:
    """What has no message id, or shares one, is an event. https://github.com/mvdnbrk/laravel-postmark-webhooks/issues/13"""
    basic = {"Authorization": f"Basic {base64.b64encode(b'hook:s3cret').decode()}"}
    found = []
    for body, *expected in POSTMARK:
        (event,) = read("postmark", received("postmark", json.dumps(body).encode(), basic), "hook:s3cret")
        assert [event.type, event.at_ms, event.key] == expected
        found.append(event.event_id)
    assert len(set(found)) == len(POSTMARK)


ADYEN_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
REPORT = {
    "eventCode": "REPORT_AVAILABLE",
    "success": "true",
    "eventDate": "2026-09-21T16:13:20+02:00",
    "pspReference": "settlement_detail_report_batch_1.csv",
    "originalReference": "",
    "merchantReference": "",
    "merchantAccountCode": "ShopDE",
    "amount": {"value": 0, "currency": "EUR"},
}
SIGNED_BY_ADYEN = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")


def adyen(*, is_signed: bool = True, **changes: Any) -> Envelope:
    """Return a delivery of Adyen with one item, signed as its documentation says."""
    item: dict[str, Any] = {**REPORT, **changes}
    amount = (str(item["amount"]["value"]), item["amount"]["currency"])
    text = ":".join((*(item[name] for name in SIGNED_BY_ADYEN), *amount, item["eventCode"], item["success"]))
    signature = base64.b64encode(hmac.digest(bytes.fromhex(ADYEN_KEY), text.encode(), "sha256")).decode()
    item["additionalData"] = {"hmacSignature": signature} if is_signed else {}
    return received("adyen", json.dumps({"notificationItems": [{"NotificationRequestItem": item}]}).encode(), {})


def test_adyen_reports() -> None:
    """One file name for two accounts is two events. https://github.com/wvanbergen/adyen/issues/115"""
    (one,), (other,) = (read("adyen", adyen(merchantAccountCode=shop), ADYEN_KEY) for shop in ("ShopDE", "ShopFR"))
    assert one.event_id != other.event_id
    assert (one.type, one.at_ms) == ("REPORT_AVAILABLE", NOON_MS)
    with pytest.raises(SignatureMissing):  # https://github.com/Adyen/adyen-java-api-library/issues/275
        read("adyen", adyen(is_signed=False), ADYEN_KEY)
    payment: dict[str, Any] = {"eventCode": "AUTHORISATION", "pspReference": "88355", "merchantReference": "A:1\\2"}
    (paid,) = read("adyen", adyen(**payment, amount={"value": 1130, "currency": "EUR"}), ADYEN_KEY)
    assert (paid.type, paid.key) == ("AUTHORISATION", "A:1\\2")


HUBSPOT_URL = "https://hooks.example.com/v1/"


@pytest.mark.parametrize("preset", ["hubspot", "hubspot-v2"])
def test_hubspot_signatures_of_a_workflow(preset: str) -> None:
    """Both versions stand beside each other. https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests"""
    body, at, url = json.dumps({"vid": 5501, "portal-id": 33}).encode(), str(AT_MS - 1000), HUBSPOT_URL + preset
    third = base64.b64encode(hmac.digest(SECRET.encode(), f"POST{url}".encode() + body + at.encode(), "sha256"))
    headers = {
        "X-HubSpot-Signature": hashlib.sha256(f"{SECRET}POST{url}".encode() + body).hexdigest(),
        "X-HubSpot-Signature-Version": "v2",
        "X-HubSpot-Signature-v3": third.decode(),
        "X-HubSpot-Request-Timestamp": at,
    }
    (event,) = read(preset, received(preset, body, headers))
    assert event.payload == {"vid": 5501, "portal-id": 33}


@pytest.mark.parametrize("text", ["Zürich ✋ 👩‍👩‍👧", "\u001b[31m", "日本語", "\u2028", "Sull'Adda, 1+1=2"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_character_is_kept(text: str, ascii_only: bool) -> None:
    """Characters are signed as they were sent, raw or escaped. https://github.com/octokit/webhooks.js/issues/71"""
    body = json.dumps({"action": "opened", "title": text}, ensure_ascii=ascii_only).encode()
    headers = {"X-Hub-Signature-256": f"sha256={hex_hmac(body)}", "X-GitHub-Delivery": "1", "X-GitHub-Event": "issues"}
    (event,) = read("github", received("github", body, headers))
    assert (event.type, event.payload["title"]) == ("issues.opened", text)


CHARGE = b'{"id":"evt_1","type":"customer.created","created":1767225590}'
STRIPE_AT = AT_MS // 1000 - 5
RIGHT = hex_hmac(f"{STRIPE_AT}.".encode() + CHARGE)
WRONG = "0" * 64


@pytest.mark.parametrize(
    "value",
    [
        f"t={STRIPE_AT},v1={RIGHT},v0={WRONG}",
        f"t={STRIPE_AT}, v1={RIGHT}, v0={WRONG}",
        f"v1={RIGHT},t={STRIPE_AT}",
        f"t={STRIPE_AT},v1={WRONG},v1={RIGHT}",
        f"t={STRIPE_AT},v1={RIGHT.upper()}",
        f"t={STRIPE_AT},v0=é,v1={RIGHT}",
    ],
)
@pytest.mark.parametrize("name", ["Stripe-Signature", "STRIPE-SIGNATURE", "stripe-signature"])
def test_forms_of_a_header_of_stripe(name: str, value: str) -> None:
    """Order, blanks, case and versions that are not known change nothing."""
    assert read("stripe", received("stripe", CHARGE, {name: value}))[0].event_id == "evt_1"


def test_an_old_signature_of_stripe_is_refused() -> None:
    """A signature counts for 300 seconds to the second."""
    envelope = received("stripe", CHARGE, {"Stripe-Signature": f"t={STRIPE_AT},v1={RIGHT}"})
    assert read("stripe", replace(envelope, arrived_at_ms=(STRIPE_AT + 300) * 1000))
    with pytest.raises(SignatureExpired):
        read("stripe", replace(envelope, arrived_at_ms=(STRIPE_AT + 301) * 1000))


KEY_BYTES = b"a secret of 31 bytes, no padding"[:31]
KEY_BASE64 = base64.b64encode(KEY_BYTES).decode()


@pytest.mark.parametrize("secret", [f"whsec_{KEY_BASE64}", KEY_BASE64, f"whsec_{KEY_BASE64.rstrip('=')}"])
def test_forms_of_a_secret_and_header_of_standard_webhooks(secret: str) -> None:
    """A secret may lack its prefix or its padding; a header may have other versions and signatures beside."""
    at = str(AT_MS // 1000)
    mac = base64.b64encode(hmac.digest(KEY_BYTES, f"msg_1.{at}.".encode() + CHARGE, "sha256")).decode()
    other = base64.b64encode(bytes(32)).decode()
    for value in (f"v1,{mac}", f"v1,{other} v1,{mac}", f"v1a,{other} v1,{mac} v2,{other}"):
        headers = {"webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": value}
        (event,) = read("standard-webhooks", received("standard-webhooks", CHARGE, headers), secret)
        assert event.event_id == "msg_1"


def test_prefix_of_a_signature_is_in_lower_case() -> None:
    """No provider writes `SHA256=`; it is malformed and never read as a digest."""
    with pytest.raises(SignatureMalformed):
        read("github", received("github", b"{}", {"X-Hub-Signature-256": f"SHA256={hex_hmac(b'{}')}"}))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00+02:00", None),
        ("9999-12-31T23:59:59-05:00", None),
    ],
)
def test_a_time_is_stored_that_can_be_shown(text: str, shown: str | None) -> None:
    """The zero times of .NET and Go are shown; what no calendar has leaves the event without a time of its own."""
    body = json.dumps({"id": "t1", "type": "x", "timestamp": text}).encode()
    (event,) = read("hmac", received("hmac", body, {"X-Signature": hex_hmac(body)}))
    assert iso(event.at_ms) == shown


@pytest.mark.parametrize(
    ("body", "event_id", "kind"),
    [
        ('{"sg_event_id":9007199254740993,"event":"x"}', "9007199254740993", "x"),
        ('{"sg_event_id":1e3,"event":"x"}', "1E+3", "x"),
        ('{"sg_event_id":1000.0,"event":"x"}', "1000.0", "x"),
        ('{"sg_event_id":"a","sg_event_id":"b","event":"x"}', "b", "x"),
        (f'{{"sg_event_id":"{"i" * 3000}","event":"x"}}', "i" * 3000, "x"),
        ('{"sg_event_id":"a\\u0000b","event":"x"}', "a\0b", "x"),
        (f'{{"sg_event_id":"a","event":"{"t" * 300_000}"}}', "a", "t" * 300_000),
    ],
)
def test_odd_values_of_an_id(body: str, event_id: str, kind: str) -> None:
    """Numbers keep their digits and form, of doubled members the last counts, and nothing is cut."""
    (event,) = documented("sendgrid", f"[{body}]".encode())
    assert (event.event_id, event.type) == (event_id, kind)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000 + b"]" * 100_000, b'[{"sg_event_id":NaN}]', b'[{"sg_event_id":' + b"9" * 5000 + b"}]", b"[7]"],
)
def test_odd_bodies_are_refused_or_read_and_break_nothing(body: bytes) -> None:
    """What JSON does not know, or no program nests or writes so, is refused in words or is an event with an id."""
    try:
        found = documented("sendgrid", body)
    except EventMalformed:
        return
    assert all(event.event_id for event in found)

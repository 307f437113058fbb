"""What presets read of payloads that their samples do not show: events of one object, retries, other forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.deliveries import AT_MS, envelope_of, pair_of, source_of
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.sources import events, samples
from weir.ingest.sources.events import Event

JULY = "2026-07-01T12:00:00Z"
JULY_MS = 1_782_907_200_000
AUGUST = "2026-08-01T12:00:00Z"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def read(preset: str, body: Any, headers: dict[str, str] | None = None, at_ms: int = AT_MS) -> list[Event]:
    """Return the events of a body that is signed with the preset's scheme and has the headers of its sample."""
    source = source_of(preset)
    pair = pair_of(source)
    _, given = samples.sample(preset, at_ms=AT_MS)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    draft = Draft(content, at_ms, "msg_1", {**given, **(headers or {})}, query=samples.query(preset, at_ms=AT_MS))
    signatures.sign_draft(source.scheme, pair.sign_with, draft)
    envelope = envelope_of(source, draft, arrived_at_ms=at_ms)
    signatures.verify(source.scheme, [pair.verify_with], envelope)
    return events.extract(source, envelope)


ASSOCIATION = {"eventId": 7, "subscriptionId": 1, "occurredAt": 1, "subscriptionType": "contact.associationChange"}
MAILGUN = {"signature": {"token": "t", "timestamp": str(AT_MS // 1000), "signature": ""}}
OTHER_MAILGUN = {"signature": {**MAILGUN["signature"], "token": "u"}}
CLICK = {"id": "Ase7i2zsRYeDXztHGENqRA", "event": "clicked", "timestamp": 1782907200.5}
LATER_CLICK = {**CLICK, "timestamp": 1785585600.5}
ORDER = {"id": "23603350837", "type": "topic_merchant_order_wh", "action": "update", "version": 1}
DEPLOY = {"id": "5ebc34bf", "state": "ready", "created_at": JULY, "updated_at": JULY}
INVOICE = {"event": "invoice.update", "data": {"id": 9, "status": "pending"}}
DEAL_V1 = {"v": 1, "action": "updated", "object": "deal", "id": 123, "timestamp": 1782907200}
SUBSCRIPTION = {"id": "ra8foq26o2", "uuid": "63c1a4c7", "object_type": "subscription", "event_time": JULY}
MESSAGE = {"type": "message", "id": "1485983408511", "timestamp": JULY}
DOCUMENT = {"event": "document_updated", "data": {"id": "d1", "date_modified": JULY}}
CHANGED_DOCUMENT = {"event": "document_updated", "data": {"id": "d1", "date_modified": AUGUST}}
HEADER = "X-PandaDoc-Webhook-Event-Id"

# Two events that are two, although one id is in both of them: preset, body, other body, headers, other headers.
TOLD_APART: list[tuple[str, Any, Any, dict[str, str], dict[str, str]]] = [
    ("hmac", {"id": 5, "state": "open"}, {"id": 5, "state": "closed"}, {}, {}),
    ("http-message-signatures", {"id": 5, "state": "open"}, {"id": 5, "state": "closed"}, {}, {}),
    ("hubspot", [{**ASSOCIATION, "fromObjectId": 1}], [{**ASSOCIATION, "fromObjectId": 2}], {}, {}),
    ("mailgun", {**MAILGUN, "event-data": CLICK}, {**OTHER_MAILGUN, "event-data": LATER_CLICK}, {}, {}),
    ("mercado-pago", {**ORDER, "status": "opened"}, {**ORDER, "status": "closed"}, {}, {}),
    ("netlify", DEPLOY, DEPLOY, {"X-Netlify-Event": "deploy_created"}, {"X-Netlify-Event": "deploy_unlocked"}),
    ("paystack", INVOICE, {**INVOICE, "data": {"id": 9, "status": "success"}}, {}, {}),
    ("pandadoc", [DOCUMENT], [DOCUMENT], {HEADER: "a"}, {HEADER: "b"}),
    ("pipedrive", {"meta": {**DEAL_V1, "timestamp_micro": 1}}, {"meta": {**DEAL_V1, "timestamp_micro": 2}}, {}, {}),
    ("recurly", {**SUBSCRIPTION, "event_type": "created"}, {**SUBSCRIPTION, "event_type": "canceled"}, {}, {}),
    ("sentry", {"action": "created"}, {"action": "created"}, {}, {"Sentry-Hook-Resource": "comment"}),
    ("teams", {**MESSAGE, "conversation": {"id": "19:a"}}, {**MESSAGE, "conversation": {"id": "19:b"}}, {}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "body", "other", "headers", "others"), TOLD_APART)
def test_events_with_one_id(
    preset: str, body: Any, other: Any, headers: dict[str, str], others: dict[str, str]
) -> None:
    """An id that the provider gives to several events does not make the second of them a duplicate."""
    (first,), (second,) = read(preset, body, headers), read(preset, other, others)
    assert first.event_id != second.event_id


CREATION = {"eventId": 7, "subscriptionId": 1, "occurredAt": 1, "objectId": 2, "subscriptionType": "contact.creation"}
NOTIFICATION = {"id": "notif_1", "topic": "company.created", "created_at": 1}
SENT = {"topic": "event:klaviyo.sent_sms", "external_id": "5U", "payload": {"data": {"id": "5U"}}}
DEAL_V2 = {
    "id": "a-guid",
    "version": "2.0",
    "action": "change",
    "entity": "deal",
    "entity_id": "123",
    "timestamp": JULY,
}
READY = {"id": "e1", "type": "video.asset.ready", "created_at": JULY}
ISSUE = {"action": "resolved", "installation": {"uuid": "u"}, "data": {"issue": {"id": "1"}}}
STOCK = {"triggerType": "ecomm_inventory_changed", "payload": {"id": "p", "quantity": 4}}

# One event and what its retry has: preset, body, body of the retry, headers, headers of the retry.
REPEATED: list[tuple[str, Any, Any, dict[str, str], dict[str, str]]] = [
    ("hubspot", [{**CREATION, "attemptNumber": 0}], [{**CREATION, "attemptNumber": 1}], {}, {}),
    ("intercom", {**NOTIFICATION, "delivery_attempts": 1}, {**NOTIFICATION, "delivery_attempts": 2}, {}, {}),
    ("klaviyo", {"data": [SENT], "meta": {"timestamp": JULY}}, {"data": [SENT], "meta": {"timestamp": AUGUST}}, {}, {}),
    ("mux", {**READY, "attempts": []}, {**READY, "attempts": [{"id": "x"}]}, {}, {}),
    ("pandadoc", [DOCUMENT], [CHANGED_DOCUMENT], {HEADER: "a"}, {HEADER: "a"}),
    ("pipedrive", {"meta": {**DEAL_V2, "attempt": 1}}, {"meta": {**DEAL_V2, "attempt": 2}}, {}, {}),
    ("sentry", ISSUE, ISSUE, {"Request-ID": "a"}, {"Request-ID": "b"}),
    ("webflow", STOCK, STOCK, {}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "body", "again", "headers", "others"), REPEATED)
def test_retry_is_recognised(
    preset: str, body: Any, again: Any, headers: dict[str, str], others: dict[str, str]
) -> None:
    """A retry has the id of the first delivery, though it is signed ten minutes later and counts its attempts."""
    (first,), (retry,) = read(preset, body, headers), read(preset, again, others, AT_MS + 600_000)
    assert first.event_id == retry.event_id


LIFECYCLE = {"subscriptionId": "s", "clientState": "", "lifecycleEvent": "reauthorizationRequired"}
INSTALLED = {"type": "install", "data": {"app_id": 1}}
SUBMISSION = {"id": "s1", "form_id": "f1", "form_name": "contact", "created_at": JULY, "data": {}}
SUBMITTED = {"X-Netlify-Event": "submission_created"}
PING = {"type": "notification_event", "id": None, "topic": "ping", "created_at": JULY_MS // 1000}
THIN = {
    "id": "evt_1",
    "object": "v2.core.event",
    "type": "v2.core.account.updated",
    "created": JULY,
    "context": "acct_1",
}
COMMAND = b"command=%2Fdeploy&text=api&team_id=T1&trigger_id=1.2"
ACTION = b"payload=%7B%22type%22%3A%22view_closed%22%2C%22team%22%3A%7B%22id%22%3A%22T1%22%7D%7D"

# Other forms of today: preset, body, headers, what is read as type, time (None: not judged here) and key.
FORMS: list[tuple[str, Any, dict[str, str], str, int | None, str]] = [
    ("intercom", PING, {}, "ping", JULY_MS, ""),
    ("microsoft-graph", {"value": [LIFECYCLE]}, {}, "reauthorizationRequired", None, "s"),
    ("monday", INSTALLED, {}, "install", None, ""),
    ("netlify", SUBMISSION, SUBMITTED, "submission_created", JULY_MS, ""),
    ("pipedrive", {"meta": {**DEAL_V1, "timestamp_micro": 1}}, {}, "deal.updated", JULY_MS, "123"),
    ("stripe", THIN, {}, "v2.core.account.updated", JULY_MS, "acct_1"),
    ("slack", COMMAND, FORM, "/deploy", AT_MS, "T1"),
    ("slack", ACTION, FORM, "view_closed", AT_MS, "T1"),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "body", "headers", "kind", "at_ms", "key"), FORMS)
def test_other_forms(preset: str, body: Any, headers: dict[str, str], kind: str, at_ms: int | None, key: str) -> None:
    """A payload of another form than the sample's is an event with an id, its type, its time and its key."""
    (event,) = read(preset, body, headers)
    assert event.event_id
    assert (event.type, event.at_ms, event.key) == (kind, at_ms, key)

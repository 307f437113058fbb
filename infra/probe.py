"""A stack that runs, tried from outside: each answer of the door, and each source's way from the URL to its outcome.

What is sent changes nothing: requests that the door refuses, and for each source a delivery without a signature, which
is stored, consumed and quarantined like a forgery, and then discarded. Only when that is asked for is a signed sample
sent, which the business code takes for an event.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from weir.infra import control, sender
from weir.infra.doctor import FAIL, OK, UNKNOWN, WARN, Check, checked
from weir.infra.place import Place
from weir.infra.sender import Answer
from weir.ingest.errors import ServiceError
from weir.ingest.ids import EventId, RequestId, SourceName
from weir.ingest.sources.catalogue import Catalogue

if TYPE_CHECKING:
    from types_boto3_cloudwatch.literals import StateValueType

T = TypeVar("T")

_POLL_S = 0.2
_STATES: tuple[StateValueType, ...] = ("ALARM", "OK")
_BODY = b'{"weir":"doctor"}'
_READING = ("GET", "HEAD")
# More than any MaxRecordKiB lets through, and less than API Gateway's own limit of 10 MB, whose answer is its own.
_TOO_LARGE_BYTES = 5_000_000
_JSON = {"Content-Type": "application/json"}


class Outcomes(Protocol):
    """What the events table says of deliveries."""

    def outcome(self, source: SourceName, identities: list[EventId], request_id: RequestId) -> str | None:
        """Say in a line what became of a delivery; None while nothing has."""

    def is_refused(self, outcome: str) -> bool:
        """Tell whether such a line says that the delivery is quarantined."""

    def discard(self, source: SourceName, request_id: RequestId) -> None:
        """Take a delivery that is quarantined out of the quarantine."""


class Refusal(NamedTuple):
    """A request that the door is to refuse, and with which status."""

    name: str
    path: str
    status: int
    method: str = "POST"
    body: bytes = _BODY
    headers: dict[str, str] = _JSON


def door(place: Place, catalogue: Catalogue) -> Iterator[Check]:
    """Check each status with which the door refuses. 429 is not tried: it would take the flood that it is against."""
    name = next(iter(catalogue), None)
    asked = [Refusal("unknown source", "weir-doctor-no-such-source", 404)]
    unasked = [name for name, source in catalogue.items() if not source.handshakes]
    asked += [
        Refusal(f"{method} where none is asked", each, 405, method=method)
        for each in unasked[:1]
        for method in _READING
    ]
    if name is not None:
        asked += [
            Refusal("another method", name, 405, method="PUT"),
            Refusal("another content type", name, 415, headers={"Content-Type": "application/x-weir-doctor"}),
            Refusal("a body too large", name, 413, body=b" " * _TOO_LARGE_BYTES),
        ]
    for one in asked:
        yield checked(f"door: {one.name}", lambda one=one: _refusal(place, one))  # type: ignore[misc]


def _refusal(place: Place, asked: Refusal) -> Check:
    answer = sender.request(f"{place.outputs().endpoint}/{asked.path}", asked.method, asked.headers, asked.body)
    if answer.status == asked.status:
        return Check(f"door: {asked.name}", OK, f"{answer.status}")
    seen = f"{answer.status} where {asked.status} is promised: {answer.body[:200]}"
    return Check(f"door: {asked.name}", FAIL, seen, "Is the URL this stack's? `weir deploy` puts the API back.")


def consumer(place: Place) -> Check:
    """Check that the consumer reads."""

    def look() -> Check:
        if control.is_paused(place):
            return Check("consumer", FAIL, "it is paused: what arrives waits in the stream", "`weir resume`")
        return Check("consumer", OK, "its event source mapping is on")

    return checked("consumer", look)


def way(
    place: Place, catalogue: Catalogue, name: str, stored: Outcomes, *, signed: bool, wait_s: float
) -> Iterator[Check]:
    """Follow one delivery of a source from its URL to the events table, the access log and the consumer's log."""
    label = f"{name}: {'signed' if signed else 'unsigned'} delivery"
    try:
        answer, identities = _sent(place, catalogue, name, signed=signed)
    except ServiceError as error:
        yield Check(label, FAIL, error.detail or str(error), error.hint)
        return
    request_id = RequestId(answer.request_id or "")
    if not request_id:
        yield Check(
            label, FAIL, f"{answer.status}: {answer.body[:200]}", "The query `refused` of Logs Insights says why."
        )
        return
    seen: list[str] = []

    def look() -> Check:
        outcome = _await(lambda: stored.outcome(SourceName(name), identities, request_id), wait_s)
        seen.extend([outcome] if outcome else [])
        return _judged(label, request_id, outcome, stored, signed=signed)

    yield checked(label, look)
    if seen:
        yield checked(f"{name}: consumer's log", lambda: _logged(place, name, request_id, wait_s))
    yield checked(f"{name}: access log", lambda: _access(place, name, request_id, wait_s))
    if seen and not signed:
        yield from _discarded(name, request_id, stored)


def _discarded(name: str, request_id: RequestId, stored: Outcomes) -> Iterator[Check]:
    """Take the delivery out of the quarantine; yield only what stood against that."""

    def look() -> Check:
        stored.discard(SourceName(name), request_id)
        return Check(f"{name}: discarded", OK, request_id)

    if (check := checked(f"{name}: discarded", look)).verdict != OK:
        yield check._replace(fix=f"`weir quarantine discard {request_id}`")


def _sent(place: Place, catalogue: Catalogue, name: str, *, signed: bool) -> tuple[Answer, list[EventId]]:
    if not signed:
        return sender.request(f"{place.outputs().endpoint}/{name}", "POST", _JSON, _BODY), []
    sent = sender.send(place, catalogue, name, body=None, key="", times=1, tamper=False)
    answer = sent.answers[0]
    return answer, [EventId(one) for one in sent.identities_of(answer.request_id or "")]


def _judged(label: str, request_id: str, outcome: str | None, stored: Outcomes, *, signed: bool) -> Check:
    if outcome is None:
        later = f"`weir events {request_id}`" if signed else f"`weir quarantine discard {request_id}`"
        fix = f"`weir lag` says whether it was read; when it was: {later}"
        return Check(label, FAIL, f"stored as {request_id}, and no outcome yet", fix)
    if stored.is_refused(outcome) == signed:
        fix = f"`weir events {request_id}` shows it." if signed else "Its signature is not checked: do not use it."
        return Check(label, FAIL, outcome, fix)
    return Check(label, OK, outcome)


def _logged(place: Place, source: str, request_id: str, wait_s: float) -> Check:
    name, found = f"{source}: consumer's log", _await(lambda: place.log_lines([request_id]) or None, wait_s)
    if not found:
        return Check(name, FAIL, f"no line of {request_id}", "May the function's role write its log group?")
    return Check(name, OK, f"{len(found)} line")


def _access(place: Place, source: str, request_id: str, wait_s: float) -> Check:
    name, outputs = f"{source}: access log", place.outputs()
    if place.kind == "localstack":
        return Check(name, UNKNOWN, "LocalStack writes no access log")

    def lines() -> list[str] | None:
        if outputs.access_log is not None:
            texts = outputs.access_log.read_text(encoding="utf-8", errors="replace").splitlines()
            return [line for line in texts if request_id in line] or None
        pages = (
            place.client("logs")
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=outputs.access_log_group,
                filterPattern=f'"{request_id}"',
                startTime=round(time.time() * 1000) - 900_000,
            )
        )
        return [event["message"] for page in pages for event in page["events"]] or None

    found = _await(lines, wait_s)
    if not found:
        return Check(
            name, FAIL, f"no line of {request_id}", "Without it, `weir account` proves nothing. Is the log role set?"
        )
    return Check(name, OK, f"status {json.loads(found[0])['status']}")


def metrics(place: Place) -> Check:
    """Check that CloudWatch has the consumer's metrics; they take some minutes after the first delivery."""

    def look() -> Check:
        if place.kind == "embedded":
            return Check("metrics", UNKNOWN, "the embedded stack has no CloudWatch; its metrics are in consumer.log")
        found = place.client("cloudwatch").list_metrics(
            Namespace="Weir", Dimensions=[{"Name": "Stack", "Value": place.stack}]
        )["Metrics"]
        if not found:
            fix = "They come some minutes after the first delivery: run it again."
            return Check("metrics", WARN, f"none of {place.stack} in the namespace Weir yet", fix)
        return Check("metrics", OK, f"{len(found)} of {place.stack} in the namespace Weir")

    return checked("metrics", look)


def archive(place: Place) -> Check:
    """Check that the delivery stream that fills the archive is there and takes records."""

    def look() -> Check:
        name = place.outputs().archive_name
        if name is None:
            fix = "Without one, a replay reaches as far back as the stream: --set ArchiveMode=firehose."
            return Check("archive", WARN, "this stack has none", fix)
        if place.kind == "embedded":
            return Check("archive", OK, "a part of the stack that runs; `weir account` compares it")
        found = place.client("firehose").describe_delivery_stream(DeliveryStreamName=name)
        status = found["DeliveryStreamDescription"]["DeliveryStreamStatus"]
        if status != "ACTIVE":
            return Check("archive", FAIL, f"{name} is {status}", "The Firehose console says why; see ArchiveAlarm.")
        return Check("archive", OK, f"{name} is {status}")

    return checked("archive", look)


def alarm(place: Place, wait_s: float) -> Check:
    """Take one alarm to ALARM and back to OK, so that whom it reaches sees both; return what CloudWatch did."""

    def look() -> Check:
        if place.kind == "embedded":
            return Check("alarm", UNKNOWN, "the embedded stack has no CloudWatch")
        pages = place.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=place.stack)
        names = {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
        }
        cloudwatch, name = place.client("cloudwatch"), names["RefusedAlarm"]
        began = datetime.now(UTC) - timedelta(seconds=5)
        for state in _STATES:
            cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="weir doctor: this is a test")

        def actions() -> list[str] | None:
            found = cloudwatch.describe_alarm_history(AlarmName=name, HistoryItemType="Action", StartDate=began)
            return [one["HistorySummary"] for one in found["AlarmHistoryItems"]] or None

        told = _await(actions, wait_s) or []
        if failed := [one for one in told if "Fail" in one]:
            return Check(
                "alarm", FAIL, failed[0], "May CloudWatch publish to the topic? See the topic's policy and key."
            )
        if not told:
            return Check("alarm", UNKNOWN, f"{name} went to ALARM and back; CloudWatch tells of no action so far")
        return Check("alarm", OK, f"{name} went to ALARM and back: {told[0]}. Did you hear of both?")

    return checked("alarm", look)


def _await(ask: Callable[[], T | None], wait_s: float) -> T | None:
    deadline = time.monotonic() + wait_s
    while (found := ask()) is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return found

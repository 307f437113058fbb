"""From deliveries to events: ids that each retry repeats and no two events share, types, times, keys, batches."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of, with_header
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.sources import events, presets
from weir.ingest.sources.catalogue import EventSpec, Source

PRESETS = presets.names()
ID_IS_REQUEST = {"dropbox", "freshdesk", "huggingface", "plaid", "sharepoint"}


def source_with(**spec: Any) -> Source:
    """Return a source with this event specification."""
    return source_of("hmac").model_copy(update={"event": EventSpec.model_validate(spec)})


def delivery(
    body: bytes | str | list[Any] | dict[str, Any], content_type: str = "application/json", **changes: Any
) -> Envelope:
    """Return an envelope with this body."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    plain = Envelope(
        RequestId("req-1"),
        AT_MS,
        SourceName("hmac"),
        "",
        "192.0.2.1",
        "/v1/hmac",
        {},
        (("Content-Type", content_type),),
        raw,
    )
    return replace(plain, **changes)


@pytest.mark.parametrize("preset", PRESETS)
def test_sample_of_every_preset(preset: str) -> None:
    """Each preset's sample gives ids that a retry repeats and another delivery does not, and types, or says why not."""
    source = source_of(preset)
    pair = pair_of(source)
    first, again, other = (envelope_of(source, draft_of(source, pair, n=n)) for n in (1, 1, 2))
    found = events.extract(source, first)
    ids = [event.event_id for event in found]
    assert len(set(ids)) == len(ids) >= 1
    assert ids == [event.event_id for event in events.extract(source, again)]
    assert not set(ids) & {event.event_id for event in events.extract(source, other)}
    assert [bool(event.type) for event in found] == [not presets.preset(preset).no_type] * len(found)
    assert [event.index for event in found] == list(range(len(found)))


@pytest.mark.parametrize("preset", PRESETS)
def test_id_survives_another_attempt(preset: str) -> None:
    """A retry has another request id and arrival; the event id stays, but where the preset says it cannot."""
    source = source_of(preset)
    envelope = envelope_of(source, draft_of(source, pair_of(source)))
    retried = replace(envelope, request_id=RequestId("req-2"), arrived_at_ms=AT_MS + 60_000)
    ids, again = ([event.event_id for event in events.extract(source, one)] for one in (envelope, retried))
    assert (ids != again) == (preset in ID_IS_REQUEST)


@pytest.mark.parametrize(
    ("preset", "count"),
    [("sendgrid", 2), ("hubspot", 2), ("okta", 2), ("line", 2), ("meta", 2), ("microsoft-graph", 2), ("gocardless", 2),
     ("twilio-events", 2), ("xero", 1), ("adyen", 1), ("auth0", 1), ("quickbooks", 1), ("asana", 1), ("stripe", 1)],
)  # fmt: skip
def test_batches_are_split(preset: str, count: int) -> None:
    """A provider's batch gives as many events as it has elements, each with its own element as payload."""
    source = source_of(preset)
    found = events.extract(source, envelope_of(source, draft_of(source, pair_of(source))))
    assert len(found) == count
    assert all(event.payload is not None for event in found)


def test_money_is_exact() -> None:
    """Numbers with a point are exact decimals, and ids keep the digits that were sent."""
    source = source_with(id="$.id", type="$.amount")
    (event,) = events.extract(source, delivery('{"id": 12345678901234567890, "amount": 10.00}'))
    assert event.payload["amount"] == Decimal("10.00")
    assert (event.event_id, event.type) == ("12345678901234567890", "10.00")


def test_parts_of_an_id() -> None:
    """All parts of an id must be there; of alternatives the first that is there counts."""
    source = source_with(id=["$.a", "$.b | $.c"], type=["$.kind", "$.missing", "header:X-Kind"])
    event = events.extract(source, delivery({"a": 1, "c": True, "kind": "k"}))[0]
    assert (event.event_id, event.type) == ("1:true", "k")
    with pytest.raises(EventMalformed):
        events.extract(source, delivery({"a": 1}))


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"<xml/>", b"[]", b"{}", b'{"id":null}', b'{"id":""}', b'{"id":{}}', b'{"id":"\\ud800"}']
)
def test_no_id(body: bytes) -> None:
    """A delivery whose id cannot be found, or could not be stored, is malformed."""
    with pytest.raises(EventMalformed):
        events.extract(source_with(id="$.id"), delivery(body))


@pytest.mark.parametrize("body", [b"", bytes(range(256)), b"<xml/>"])
def test_opaque_body(body: bytes) -> None:
    """A body of any bytes is an event without payload where the id is in a header or made of the bytes."""
    for spec in ({"id": "header:X-Id"}, {"id": "sha256"}):
        envelope = delivery(body, headers=(("Content-Type", "application/xml"), ("x-id", "7")))
        (event,) = events.extract(source_with(**spec), envelope)
        assert event.payload is None
        assert event.event_id


def test_header_id_twice() -> None:
    """An id header that is there twice names no event."""
    envelope = delivery(b"{}", headers=(("X-Id", "1"), ("x-id", "2")))
    with pytest.raises(EventMalformed):
        events.extract(source_with(id="header:X-Id"), envelope)


def test_forms() -> None:
    """A form's fields are its payload, its first value counts, and a field may hold the JSON body."""
    fields = delivery(b"a=1&b=%C3%A9+x&a=2", "application/x-www-form-urlencoded; charset=utf-8")
    (event,) = events.extract(source_with(id="field:a", type="$.b"), fields)
    assert (event.event_id, event.type, event.payload) == ("1", "é x", {"a": "1", "b": "é x"})
    github = source_of("github")
    envelope = envelope_of(github, draft_of(github, pair_of(github)))
    form = with_header(
        replace(envelope, body=b"payload=%7B%22action%22%3A%22opened%22%7D"),
        "Content-Type",
        lambda _: "application/x-www-form-urlencoded",
    )
    assert events.extract(github, form)[0].type == "issues.opened"


def test_any_depth() -> None:
    """A body is read or refused at each depth of nesting, and never breaks the reader."""
    meta = source_of("meta")
    outcomes = set()
    for depth in (*range(800, 1100), 200_000):  # Python 3.11 reads about 990 levels, 3.13 thousands
        body = b'{"object":"page","entry":[{"id":' + b"[" * depth + b"]" * depth + b"}]}"
        try:
            outcomes.add(len(events.extract(meta, delivery(body))))
        except EventMalformed:
            outcomes.add(0)
    assert outcomes == {0, 1}


def test_empty_batch() -> None:
    """A batch without elements is one event of its own type, so that the delivery is accounted for."""
    line = source_of("line")
    (event,) = events.extract(line, delivery({"destination": "x", "events": []}))
    assert event.type == events.EMPTY_BATCH


@pytest.mark.parametrize("body", [{}, {"events": None}, {"events": {}}, [1]])
def test_no_batch(body: Any) -> None:
    """A body without the array that the source splits is malformed."""
    with pytest.raises(EventMalformed):
        events.extract(source_of("line"), delivery(body))


def test_oversized_batch() -> None:
    """A batch of more events than are taken is refused whole."""
    with pytest.raises(EventMalformed):
        events.extract(source_with(split="$", id="sha256"), delivery([0] * (events.MAX_EVENTS + 1)))


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.randoms())
def test_derived_ids(elements: list[int], random: Any) -> None:
    """Derived ids tell equal elements apart and do not depend on order or on how a provider batches again."""
    source = source_with(split="$.all", id="sha256")
    bodies = [{"n": n, "at": 1.50} for n in elements]
    ids = [event.event_id for event in events.extract(source, delivery({"all": bodies, "attempt": 1}))]
    shuffled = bodies[:]
    random.shuffle(shuffled)
    again = [event.event_id for event in events.extract(source, delivery({"attempt": 2, "all": shuffled}))]
    assert len(set(ids)) == len(elements)
    assert set(ids) == set(again)


def test_key_of_the_url_comes_first() -> None:
    """The ordering key of the URL is the event's; only without one the body's is shown."""
    source = source_with(id="$.id", key="$.account")
    assert events.extract(source, delivery({"id": 1, "account": "a"}))[0].key == "a"
    assert events.extract(source, delivery({"id": 1, "account": "a"}, key="shop-1"))[0].key == "shop-1"


@pytest.mark.parametrize(
    ("unit", "value", "at_ms"),
    [("s", 1700000000, 1700000000000), ("s", 1700000000.75, 1700000000000), ("ms", "1700000000123", 1700000000123),
     ("rfc3339", "2023-11-14T22:13:20.123456789Z", 1700000000123), ("rfc3339", "2023-11-14T22:13:20", 1700000000000),
     ("http-date", "Tue, 14 Nov 2023 22:13:20 GMT", 1700000000000), ("s", "soon", None), ("rfc3339", "x", None),
     ("http-date", "x", None), ("s", None, None), ("s", -1, None),
     ("s-or-ms", 1700000000, 1700000000000), ("s-or-ms", 1700000000123, 1700000000123),
     ("s-or-rfc3339", 1700000000, 1700000000000), ("s-or-rfc3339", "2023-11-14T22:13:20Z", 1700000000000),
     ("s-or-rfc3339", "soon", None),
     ("s", 1700000000123, None), ("ms", 253402300799999, 253402300799999), ("ms", 253402300800000, None),
     ("s", 253402300799, 253402300799000), ("s", 253402300800, None), ("rfc3339", "0001-01-01T00:00:00+02:00", None),
     ("rfc3339", "9999-12-31T23:59:59-05:00", None), ("rfc3339", "9999-12-31T23:59:59.9999999Z", None)],
)  # fmt: skip
def test_time(unit: str, value: Any, at_ms: int | None) -> None:
    """The event's time is read in the unit of its source; one that cannot be read is not a reason to refuse."""
    source = source_with(id="$.id", time={"at": "$.at", "unit": unit})
    assert events.extract(source, delivery({"id": 1, "at": value}))[0].at_ms == at_ms


def test_root_of_a_split_body() -> None:
    """Of a split body `$` means the element and `$$` the whole."""
    source = source_with(split="$.entry", id=["$$.object", "$.id"], type="$.changes[1].field")
    body = {"object": "page", "entry": [{"id": 1, "changes": [{}, {"field": "feed"}]}, {"id": 2}]}
    found = events.extract(source, delivery(body))
    assert [(event.event_id, event.type) for event in found] == [("page:1", "feed"), ("page:2", "")]

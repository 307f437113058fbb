"""Applied at most once, whatever a stranger makes of one captured delivery: every preset, the real judge and commit."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count

import pytest

from tests.support.batches import run
from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of, with_header, with_headers
from tests.support.memory_store import MemoryStore
from tests.support.stores import real_bench
from weir.consumers.business.changes import Change, Update
from weir.consumers.business.effects import effect
from weir.consumers.events_table.item import JudgedEvent
from weir.consumers.events_table.port import Store
from weir.consumers.judging.judge import Judge
from weir.consumers.judging.records import Record
from weir.consumers.judging.secrets import Secrets
from weir.infra.local.engine.engine import Engine
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SequenceNumber, SourceName
from weir.ingest.live_secrets import LiveSecret, secrets_text
from weir.ingest.locations import parse_json
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft, SecretPair
from weir.ingest.sources import presets, samples
from weir.ingest.sources.catalogue import Catalogue, Source
from weir.ingest.sources.events import Event
from weir.ingest.sources.identity import identity_of

NAME = SourceName("captured")
YEAR_MS = 366 * 86_400_000
QUARANTINE_S = 90 * 86_400
NUMBERS = count()
FORM = "application/x-www-form-urlencoded"


@effect(NAME, "*")
def counted(event: Event) -> Iterable[Change]:
    """Count every event, whatever its type."""
    return [
        Update("things", {"id": "applied"}, add={"n": 1}),
        Update("things", {"id": f"type {event.type}"}, add={"n": 1}),
    ]


class World:
    """One source with its secret, the real judge and commit, and a table that counts."""

    def __init__(self, preset: str, store: Store | None = None) -> None:
        known = source_of(preset)
        self.source = known.model_copy(update={"name": NAME, "preset": preset})
        self.pair: SecretPair = pair_of(known)
        self.store = MemoryStore()
        self._target: Store = store or self.store
        kept = secrets_text([LiveSecret(self.pair.verify_with, 0)])
        secrets = Secrets(
            lambda names: dict.fromkeys(names, kept),
            "/s",
            ttl_s=1e9,
            patience_s=1e9,
            clock_ms=lambda: AT_MS + 10 * YEAR_MS,
        )
        self._judge = Judge(Catalogue({NAME: self.source}), secrets, quarantine_s=QUARANTINE_S, unproven_s=86_400)

    def genuine(self, n: int = 1) -> Envelope:
        """Return the sample as its provider sends it."""
        return envelope_of(self.source, draft_of(self.source, self.pair, n=n))

    def judged(self, deliveries: Iterable[Envelope]) -> list[JudgedEvent]:
        numbered = [replace(one, request_id=RequestId(f"r{next(NUMBERS)}")) for one in deliveries]
        return self._judge.judge(
            Record("shard", SequenceNumber(str(at)), 0, AT_MS, encode(one)) for at, one in enumerate(numbered)
        )

    def take(self, deliveries: Iterable[Envelope]) -> list[str]:
        """Consume deliveries as one batch; return what became of each event."""
        return [str(result.outcome) for result in run(self.judged(deliveries), self._target, now_ms=AT_MS).results]

    @property
    def applied(self) -> int:
        return int(self.store.tables["things"].get("applied", {}).get("n", {}).get("N", 0))

    @property
    def most_of_one_type(self) -> int:
        """Return how often the type was applied that was applied most."""
        items = self.store.tables["things"].items()
        return max(int(item["n"]["N"]) for name, item in items if name.startswith("type "))


def other_headers(source: Source, genuine: Envelope) -> Iterator[Envelope]:
    """Yield the delivery with each header changed, left out or added: its own, the source's, and some of HTTP."""
    spec = source.event
    texts = [spec.id, spec.type, spec.key or "", spec.time.at if spec.time else ""]
    places = [
        place for text in texts for part in ([text] if isinstance(text, str) else text) for place in part.split(" | ")
    ]
    read = [place.strip()[7:] for place in places if place.strip().startswith("header:")]
    for name in dict.fromkeys([*read, *(name for name, _ in genuine.headers), *source.scheme.header_names, "X-Other"]):
        yield with_header(genuine, name, lambda _: None)
        for value in ("forged-1", "forged-2"):
            yield with_headers(genuine, {name: value})
    for kind in ("application/json", FORM, "multipart/form-data; boundary=x", "text/plain", "application/x-www"):
        yield with_headers(genuine, {"Content-Type": kind})
    yield replace(genuine, headers=tuple(reversed(genuine.headers)))
    yield replace(genuine, headers=tuple((name.upper(), value) for name, value in genuine.headers))


def other_labels(source: Source, genuine: Envelope) -> Iterator[Envelope]:
    """Yield the delivery with the headers of one scheme of the source under the names that another one gives them."""

    def names(option: object) -> list[str]:
        parts = [getattr(option, "signature", None), getattr(option, "timestamp", None)]
        found = [getattr(part, "at", None) or "" for part in parts] + [getattr(option, "id", None) or ""]
        return [place.removeprefix("header:") for place in found]

    for one in source.scheme.options:
        for other in source.scheme.options:
            relabelled = genuine
            for old, new in zip(names(one), names(other), strict=True):
                if old and new and (value := genuine.header(old)):
                    relabelled = with_headers(with_header(relabelled, old, lambda _: None), {new: value})
            yield relabelled
            yield with_headers(relabelled, dict.fromkeys(filter(None, names(one)[2:]), "forged"))


def other_bodies(source: Source, genuine: Envelope) -> Iterator[Envelope]:
    """Yield the delivery with its body changed as no signature of the body allows: appended, reordered, cut."""
    for change in (b"&x=1", b"&", b" ", b"\n", b"\x00"):
        yield replace(genuine, body=genuine.body + change)
        yield replace(genuine, body=change + genuine.body)
    try:
        value = parse_json(genuine.body)
    except ValueError:
        fields = genuine.body.split(b"&")
        yield replace(genuine, body=b"&".join(reversed(fields)))
        yield replace(genuine, body=b"&".join([*fields, *fields]))
        return
    if isinstance(value, dict):
        yield replace(genuine, body=json.dumps(dict(reversed(value.items())), default=str).encode())
        yield replace(genuine, body=json.dumps({**value, "forged": 1}, default=str).encode())
        for name in value:
            left = {other: part for other, part in value.items() if other != name}
            yield replace(genuine, body=json.dumps(left, default=str).encode())
    as_form = f'{{"x":"&{genuine.body.decode("latin-1", "replace")[:40]}&y="}}'.encode()
    yield with_headers(replace(genuine, body=as_form), {"Content-Type": FORM})


def other_urls(genuine: Envelope) -> Iterator[Envelope]:
    """Yield the delivery under other queries and keys."""
    yield replace(genuine, query={**genuine.query, "forged": "1"})
    yield replace(genuine, query={})
    for name, value in genuine.query.items():
        yield replace(genuine, query={**genuine.query, name: f"{value} "})
        yield replace(genuine, query={**genuine.query, name.upper(): value})
    yield replace(genuine, key="forged", path=f"/v1/{NAME}/forged")


def captured(source: Source, genuine: Envelope) -> list[Envelope]:
    """Return what can be made of one delivery without its secret, each of it also a year later."""
    made = [
        genuine,
        *other_headers(source, genuine),
        *other_labels(source, genuine),
        *other_bodies(source, genuine),
        *other_urls(genuine),
    ]
    return [*made, *(replace(one, arrived_at_ms=one.arrived_at_ms + YEAR_MS) for one in made)]


def bases(source: Source) -> set[str]:
    return {identity_of(source, option).basis for option in source.scheme.options}


# Who holds a delivery of these can send any other: the secret is in it, or the body is not signed.
OPEN = {"bearer", "unsigned body"}
# Here only the id tells one delivery from the next: a captured one can be applied again under another id.
BY_ID = {"repeats", "each delivery"}

PRESETS = presets.names()
BY_TYPE = {"digest and type"}  # here one captured delivery can be applied once under each type
HELD = [name for name in PRESETS if not bases(source_of(name)) & (OPEN | BY_ID | BY_TYPE)]
TYPED = [name for name in PRESETS if bases(source_of(name)) <= BY_TYPE]
REPEATING = [name for name in PRESETS if bases(source_of(name)) == {"repeats"}]


def test_exceptions_are_few_and_stated() -> None:
    """What a captured delivery can do to a source is said in its preset: no body is signed, or the bodies repeat."""
    assert len(HELD) > 110
    for name in sorted(set(PRESETS) - set(HELD)):
        preset = presets.preset(name)
        said = preset.event.repeats_because or preset.note or "request" in str(preset.event.id)
        assert said or not preset.covers_body or bases(source_of(name)) & {"signed id", "digest"}, name
    for name in REPEATING + TYPED:
        assert presets.preset(name).event.repeats_because, name


@pytest.mark.parametrize("preset", HELD)
@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "one batch"])
def test_applied_at_most_once(preset: str, at_once: bool) -> None:
    """Of all deliveries that can be made of one without its secret, only its own events are applied, each once."""
    world = World(preset)
    genuine = world.genuine()
    expected = world.take([genuine])
    assert set(expected) == {"applied"}
    count_before = world.applied
    forged = captured(world.source, genuine)
    said = world.take(forged) if at_once else [word for one in forged for word in world.take([one])]
    assert set(said) <= {"duplicate", "quarantined"}
    assert world.applied == count_before == len(expected)


@pytest.mark.parametrize("preset", TYPED)
def test_applied_once_under_each_type(preset: str) -> None:
    """Where one body is sent under several types, no type is applied twice, whatever else is changed."""
    world = World(preset)
    genuine = world.genuine()
    assert world.take([genuine]) == ["applied"]
    world.take(captured(world.source, genuine))
    assert world.most_of_one_type == 1


@pytest.mark.parametrize("preset", HELD)
def test_first_of_a_batch_decides(preset: str) -> None:
    """Where the genuine delivery comes in one batch with all that was made of it, one of them is applied."""
    world = World(preset)
    genuine = world.genuine()
    events = len(world.judged([genuine]))
    said = world.take(captured(world.source, genuine))
    assert said[:events] == ["applied"] * events
    assert world.applied == events


@pytest.mark.parametrize("preset", REPEATING)
def test_repeating_bodies_are_told_apart_by_their_id_alone(preset: str) -> None:
    """Where bodies repeat, nothing but another id lets a captured delivery be applied again."""
    world = World(preset)
    genuine = world.genuine()
    assert world.take([genuine]) == ["applied"]
    ids = {name.lower() for text in _texts(world.source.event.id) for name in _headers(text)}
    for one in captured(world.source, genuine):
        same_id = all(one.header(name) == genuine.header(name) for name in ids)
        if same_id and one.body == genuine.body:
            assert world.take([one])[0] in {"duplicate", "quarantined"}
    assert world.applied == 1
    again = with_headers(genuine, dict.fromkeys(ids, "another"))
    assert world.take([again]) == ["applied"]


def _texts(value: str | tuple[str, ...]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value


def _headers(location: str) -> list[str]:
    return [place.strip()[7:] for place in location.split(" | ") if place.strip().startswith("header:")]


@pytest.mark.engine
@pytest.mark.parametrize("preset", ["github", "shopify", "svix", "twilio"])
def test_applied_once_on_the_engine(engine: Engine, preset: str) -> None:
    """On the embedded engine, too, a captured delivery is applied once, or once under each type where that is so."""
    bench = real_bench(engine.endpoint)
    world = World(preset, bench.store)
    genuine = world.genuine()
    assert world.take([genuine]) == ["applied"]
    assert world.take([genuine]) == ["duplicate"]
    world.take(captured(world.source, genuine))
    counts = {name: int(item["n"]["N"]) for name, item in bench.items("things").items()}
    assert max(count for name, count in counts.items() if name.startswith("type ")) == 1
    assert preset in TYPED or counts["applied"] == 1


def test_judge_refuses_what_a_question_signs() -> None:
    """The judge itself refuses a delivery whose signed text anyone can have signed by a question."""
    world = World("x")
    body = b"for_user_id=12345"
    draft = Draft(body, AT_MS, "msg_1", {"Content-Type": FORM})
    signatures.sign_draft(world.source.scheme, world.pair.sign_with, draft)
    envelope = envelope_of(world.source, draft)
    verdict = signatures.verify(world.source.scheme, [world.pair.verify_with], envelope)
    assert verdict.contents == (body,)
    (judged,) = world.judged([envelope])
    assert (judged.decision, getattr(judged.error, "code", "")) == ("quarantine", "signature_mismatch")


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "one batch"])
def test_another_type_is_kept_as_long_as_a_quarantined_event(at_once: bool) -> None:
    """A captured delivery that is sent under many types leaves nothing for the 400 days of its event's mark."""
    world = World("github")
    genuine = world.genuine()
    forged = [with_headers(genuine, {"X-GitHub-Event": f"forged-{n}"}) for n in range(3)]
    sent = [genuine, *forged]
    assert (world.take(sent) if at_once else [world.take([one])[0] for one in sent]) == ["applied"] + [
        "quarantined"
    ] * 3
    lives = {
        item["outcome"]["S"]: int(item["expires_at"]["N"]) - AT_MS // 1000
        for item in world.store.tables["events"].values()
    }
    assert lives == {"applied": 400 * 86_400, "quarantined": QUARANTINE_S}


def _time_place(option: object) -> str:
    return getattr(getattr(option, "timestamp", None), "at", None) or ""


# These have the time of signing in the id: whether a retry keeps its signature is not documented.
SIGNED_AGAIN_IS_NEW = {"airship", "frame-io", "webflow"}


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - SIGNED_AGAIN_IS_NEW))
def test_retry_is_a_duplicate(preset: str) -> None:
    """The same event, signed again a minute later as a retry is, is a duplicate of the first."""
    world = World(preset)
    if bases(world.source) == {"each delivery"}:
        pytest.skip("its provider gives events no id")
    draft = draft_of(world.source, world.pair)
    first = world.take([envelope_of(world.source, draft)])
    _, headers = samples.sample(preset, 1, at_ms=AT_MS)
    body, _ = samples.sample(preset, 1, at_ms=AT_MS)
    in_body = any(_time_place(option).startswith("$") for option in world.source.scheme.options)
    at_ms = AT_MS if in_body else AT_MS + 60_000
    again = Draft(body, at_ms, draft.message_id, headers, query=samples.query(preset, 1, at_ms=AT_MS))
    signatures.sign_draft(world.source.scheme, world.pair.sign_with, again)
    assert world.take([envelope_of(world.source, again)]) == ["duplicate"] * len(first)
    assert world.applied == len(first)


@pytest.mark.parametrize("preset", PRESETS)
def test_two_events_are_two(preset: str) -> None:
    """Two genuine events of a provider are both applied."""
    world = World(preset)
    said = world.take([world.genuine(1), world.genuine(2)])
    assert set(said) == {"applied"}
    assert world.applied == len(said)


def test_attempts_may_differ_where_the_provider_says_so() -> None:
    """Linear and Wise sign a body with the time of sending: a retry has another, and is the same event."""
    for preset, member in (("linear", "webhookTimestamp"), ("wise", "sent_at")):
        world = World(preset)
        body, headers = samples.sample(preset, 1, at_ms=AT_MS)
        for offset_ms, expected in ((0, "applied"), (30_000, "duplicate")):
            sent = {"webhookTimestamp": AT_MS + offset_ms, "sent_at": f"2026-01-01T00:00:{offset_ms // 1000:02}Z"}[
                member
            ]
            changed = json.dumps({**json.loads(body), member: sent}).encode()
            draft = Draft(changed, AT_MS + offset_ms, "msg_1", headers)
            signatures.sign_draft(world.source.scheme, world.pair.sign_with, draft)
            assert world.take([envelope_of(world.source, draft)]) == [expected], preset


def signed(world: World, body: bytes, headers: dict[str, str], **changes: str) -> Envelope:
    """Return a genuine delivery of the world's source with this body and these headers beside its proof."""
    draft = Draft(body, AT_MS, "msg_1", {"Content-Type": "application/json", **headers})
    signatures.sign_draft(world.source.scheme, world.pair.sign_with, draft)
    return replace(envelope_of(world.source, draft), **changes)  # type: ignore[arg-type]


def test_one_guid_of_two_apps_is_two_events() -> None:
    """GitHub gives one GUID to one issue's delivery to two Apps. https://github.com/github/docs/issues/32822"""
    world = World("github")
    headers = {"X-GitHub-Event": "issues", "X-GitHub-Delivery": "12345678-26c8-11ef-8000-000000000000"}
    bodies = [json.dumps({"action": "opened", "installation": {"id": app}}).encode() for app in (11, 22)]
    deliveries = [signed(world, body, headers, key=f"app-{n}") for n, body in enumerate(bodies)]
    assert world.take(deliveries) == ["applied", "applied"]
    same_words = replace(deliveries[0], key="another-key")
    assert world.take([*deliveries, same_words]) == ["duplicate"] * 3  # marks are per source, not per key


def test_two_orders_of_one_second_are_two() -> None:
    """WooCommerce's delivery id is of a webhook and a second. https://github.com/woocommerce/woocommerce/issues/28329"""
    world = World("woocommerce")
    headers = {"X-WC-Webhook-Topic": "order.updated", "X-WC-Webhook-Delivery-ID": "f" * 32}
    orders = [signed(world, json.dumps({"id": order}).encode(), headers) for order in (5001, 5002)]
    assert world.take(orders) == ["applied", "applied"]
    assert world.take(orders) == ["duplicate", "duplicate"]


def with_checksum(start: bytes, end: bytes, wanted: int) -> bytes:
    """Return a text with these ends whose CRC-32 is the wanted one; the four bytes between are found, not tried.

    A CRC is linear: each bit of the four changes the checksum in a way of its own, whatever stands beside it.
    """
    zero = zlib.crc32(start + bytes(4) + end)
    ways = [(zlib.crc32(start + (1 << bit).to_bytes(4, "big") + end) ^ zero, 1 << bit) for bit in range(32)]
    left, bits = zero ^ wanted, 0
    for place in reversed(range(32)):
        pivot = next((way for way in ways if way[0] >> place & 1), None)
        if pivot is None:
            continue
        ways = [(way ^ pivot[0], made ^ pivot[1]) if way >> place & 1 else (way, made) for way, made in ways]
        if left >> place & 1:
            left, bits = left ^ pivot[0], bits ^ pivot[1]
    return start + bits.to_bytes(4, "big") + end


def paypal_forgery(genuine: Envelope, event_id: str) -> Envelope:
    """Return another body under the signature of a delivery of PayPal, which is of the body's CRC-32."""
    for n in range(10_000):
        kind = json.loads(genuine.body)["event_type"]
        start = json.dumps({"id": event_id, "event_type": kind, "n": n})[:-1] + ',"pad":"'
        body = with_checksum(start.encode(), b'"}', zlib.crc32(genuine.body))
        if all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in body[len(start) : -2]):
            return replace(genuine, body=body)
    raise AssertionError("no body of readable characters has this checksum")


def test_a_checksum_signs_no_body() -> None:
    """A body made for PayPal's checksum replaces no event that is there, and nothing is taken after four days.

    Within them a captured delivery carries any body; the preset's note and the threat model say so.
    """
    world = World("paypal")
    genuine = world.genuine()
    known, other = (paypal_forgery(genuine, name) for name in (json.loads(genuine.body)["id"], "WH-FORGED"))
    assert zlib.crc32(known.body) == zlib.crc32(other.body) == zlib.crc32(genuine.body)
    assert world.take([genuine]) == ["applied"]
    assert world.take([known]) == ["duplicate"]
    late = [replace(one, arrived_at_ms=AT_MS + days * 86_400_000) for one in (known, other) for days in (5, 400)]
    assert world.take(late) == ["quarantined"] * 4
    assert world.applied == 1
    assert "any body for 4 days" in presets.preset("paypal").note

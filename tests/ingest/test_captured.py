"""What a stranger can make of one captured delivery, without its secret: derived from each preset's own schemes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of, with_header
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed, RecordError, SignatureMalformed, SignatureMismatch
from weir.ingest.handshakes import questions
from weir.ingest.ids import RequestId
from weir.ingest.schemes import signatures
from weir.ingest.schemes.any_of import AnyOf
from weir.ingest.schemes.base import Draft, Scheme
from weir.ingest.sources import events, presets, samples
from weir.ingest.sources.catalogue import PLACEHOLDER, Source

PRESETS = presets.names()


def options_of(preset: str) -> tuple[Scheme, ...]:
    """Return the schemes of a preset, of which one must prove a delivery."""
    scheme = presets.preset(preset).scheme
    return scheme.any_of if isinstance(scheme, AnyOf) else (scheme,)


def read(source: Source, secret: str, envelope: Envelope) -> list[tuple[str, str, int | None, str]]:
    """Return id, type, time and key of each event of a delivery, once it is proven."""
    verdict = signatures.verify(source.scheme, [secret], envelope)
    found = events.extract(source, verdict.proven(envelope))
    return [(event.event_id, event.type, event.at_ms, event.key) for event in found]


SHADOWS = [
    (preset, place, name)
    for preset in PRESETS
    for place, option in enumerate(options_of(preset))
    for name in sorted(presets.preset(preset).scheme.header_names - option.header_names)
]


@pytest.mark.parametrize(("preset", "place", "name"), SHADOWS)
def test_header_of_another_option(preset: str, place: int, name: str) -> None:
    """A header that only another scheme of the source signs changes neither id, type, time nor key."""
    source = source_of(preset)
    option = source.model_copy(update={"scheme": options_of(preset)[place]})
    pair = pair_of(option)
    draft = samples.delivery(option, pair.sign_with, 1, at_ms=AT_MS)
    envelope = envelope_of(source, draft)
    bare = replace(envelope, headers=tuple(one for one in envelope.headers if one[0].lower() != name))
    forged = replace(bare, headers=(*bare.headers, (name, "forged")))
    assert read(source, pair.verify_with, forged) == read(source, pair.verify_with, bare)


FORM_MAC = [name for name in PRESETS if getattr(options_of(name)[0], "alg", "") in {"twilio", "plivo-v3"}]
FORM = "application/x-www-form-urlencoded"
UNSIGNED_BODIES = {
    "too many fields": (FORM, b'{"id":"EZ1","pad":"' + b"&" * 1001 + b'"}'),
    "not UTF-8": (FORM, b'id=EZ1&x="\xff"'),
    "JSON as a form": (FORM, b'{"id":"EZ1"}'),
    "no field": (FORM, b"&"),
    "JSON": ("application/json", b'{"id":"EZ1"}'),
    "text": ("text/plain", b"id=EZ1"),
    "multipart": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--',
    ),
}


def typed(envelope: Envelope, content_type: str, body: bytes) -> Envelope:
    """Return the delivery with another body and its type."""
    kept = tuple(header for header in envelope.headers if header[0].lower() != "content-type")
    return replace(envelope, headers=(*kept, ("Content-Type", content_type)), body=body)


@pytest.mark.parametrize("preset", FORM_MAC)
@pytest.mark.parametrize(
    "signed", [("application/json", b'{"id":"EZ0"}'), ("application/json", b"")], ids=["json", "empty"]
)
@pytest.mark.parametrize("forged", UNSIGNED_BODIES)
def test_unreadable_form_is_not_an_empty_one(preset: str, signed: tuple[str, bytes], forged: str) -> None:
    """Under a signature of the URL alone no other body is accepted: one that gives no fields is refused."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    draft = Draft(b"" if preset == "plivo" else signed[1], AT_MS, "msg_1", {"Content-Type": signed[0]})
    signatures.sign_draft(source.scheme, pair.sign_with, draft)
    envelope = envelope_of(source, draft)
    assert signatures.verify(source.scheme, [pair.verify_with], envelope).secret_index == 0
    with pytest.raises((SignatureMalformed, SignatureMismatch)):
        signatures.verify(source.scheme, [pair.verify_with], typed(envelope, *UNSIGNED_BODIES[forged]))


def test_nonce_has_one_form() -> None:
    """Fields cannot move into Plivo's nonce, nor into a query, although both are signed beside them."""
    source, pair = source_of("plivo"), pair_of(source_of("plivo"))
    draft = Draft(b"Amount=100&Duration=10.5&Text=a%3Db&To=1", AT_MS, "nonce-1", {"Content-Type": FORM})
    signatures.sign_draft(source.scheme, pair.sign_with, draft)
    envelope = envelope_of(source, draft)
    assert signatures.verify(source.scheme, [pair.verify_with], envelope).secret_index == 0
    moved = with_header(envelope, "X-Plivo-Signature-V3-Nonce", lambda nonce: f"5Texta=bTo1.{nonce}")
    with pytest.raises(SignatureMalformed):
        signatures.verify(source.scheme, [pair.verify_with], replace(moved, body=b"Amount=100&Duration=10"))
    queried = replace(typed(envelope, "application/json", b""), query={"Amount100Duration10.5Texta": "bTo1"})
    with pytest.raises(SignatureMalformed):
        signatures.verify(source.scheme, [pair.verify_with], queried)


@pytest.mark.parametrize(("name", "value"), [("a.b", "1"), ("a=b", "1"), ("a&b", "1"), ("a", "1&b=2"), ("a", "1.2")])
def test_ambiguous_query(name: str, value: str) -> None:
    """A query whose names or values hold a separator of Plivo's text is refused, even if it was signed so."""
    source, pair = source_of("plivo"), pair_of(source_of("plivo"))
    draft = draft_of(source, pair)
    envelope = replace(envelope_of(source, draft), query={name: value})
    with pytest.raises(SignatureMalformed, match="separator"):
        signatures.verify(source.scheme, [pair.verify_with], envelope)


def test_parameters_do_not_merge() -> None:
    """Of two signed query parameters no single one can be made, although its plain spelling is the same."""
    source, pair = source_of("twilio"), pair_of(source_of("twilio"))
    draft = draft_of(source, pair)
    draft.query = {"a": "1", "b": "2"}
    signatures.sign_draft(source.scheme, pair.sign_with, draft)
    envelope = envelope_of(source, draft)
    assert signatures.verify(source.scheme, [pair.verify_with], envelope).secret_index == 0
    with pytest.raises(SignatureMismatch):
        signatures.verify(source.scheme, [pair.verify_with], replace(envelope, query={"a": "1&b=2"}))


RESPELLED = {
    "twilio": lambda body: b"&" + body,
    "plivo": lambda body: b"&" + body,
    "braintree": lambda body: body + b"&x=1",
}


@pytest.mark.parametrize("preset", RESPELLED)
def test_hash_is_of_what_is_signed(preset: str) -> None:
    """Other bytes that the same signature proves have the same id where the id is a hash."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    envelope = envelope_of(source, draft_of(source, pair))
    bare = replace(envelope, headers=tuple(one for one in envelope.headers if "idempotency" not in one[0].lower()))
    forged = replace(bare, body=RESPELLED[preset](bare.body))
    assert read(source, pair.verify_with, forged) == read(source, pair.verify_with, bare)


@pytest.mark.parametrize("name", ["MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Message"])
@pytest.mark.parametrize("value", [7, ["x"], {"x": 1}, True, "a\nb", "a\rb"])
def test_members_of_sns_have_one_reading(name: str, value: object) -> None:
    """A member that is not a text, or has lines of its own, is refused, for it could be several members."""
    source, pair = source_of("aws-sns"), pair_of(source_of("aws-sns"))
    envelope = envelope_of(source, draft_of(source, pair))
    forged = replace(envelope, body=json.dumps(json.loads(envelope.body) | {name: value}).encode())
    with pytest.raises((SignatureMalformed, SignatureMismatch)):
        signatures.verify(source.scheme, [pair.verify_with], forged)


@pytest.mark.parametrize("cut", ["MessageId", "Subject"])
def test_lines_of_sns_do_not_move(cut: str) -> None:
    """The lines of one member cannot become those of another, although the signed text is the same."""
    source, pair = source_of("aws-sns"), pair_of(source_of("aws-sns"))
    envelope = envelope_of(source, draft_of(source, pair))
    message = json.loads(envelope.body)
    before = {"MessageId": "Message", "Subject": "MessageId"}[cut]
    merged = {**message, before: f"{message[before]}\n{cut}\n{message[cut]}"}
    del merged[cut]
    with pytest.raises(SignatureMalformed):
        signatures.verify(source.scheme, [pair.verify_with], replace(envelope, body=json.dumps(merged).encode()))


SIGNS_ON_REQUEST = [
    name
    for name, preset in presets.all_presets().items()
    if any(blank["hmac"] for one in preset.handshakes for blank in PLACEHOLDER.finditer(one.reply.body))
]
TOKENS = st.from_regex(r"[A-Za-z0-9+/=_-]{1,256}|[a-f0-9]{20,32}", fullmatch=True)


@pytest.mark.parametrize("preset", SIGNS_ON_REQUEST)
@settings(max_examples=60, deadline=None)
@given(token=TOKENS)
@example(token="for_user_id=12345")
@example(token="null")
@example(token="12345")
@example(token="00" * 16)
def test_signed_on_request_proves_nothing(preset: str, token: str) -> None:
    """Whatever text a question has signed: a delivery that signs that text is refused, in any shape of body."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    bodies = ((FORM, token), (FORM, urlencode({"bt_payload": token})), ("application/json", token))
    for content_type, body in bodies:
        draft = Draft(body.encode(), AT_MS, "msg_1", {"Content-Type": content_type})
        try:
            signatures.sign_draft(source.scheme, pair.sign_with, draft)
        except (ValueError, RecordError):
            continue  # not of the provider's form
        try:
            verdict = signatures.verify(source.scheme, [pair.verify_with], envelope_of(source, draft))
        except RecordError:
            continue
        if any(is_signed_on_request(source, pair.verify_with, content) for content in verdict.contents):
            with pytest.raises(SignatureMismatch):
                questions.refuse_answers(source, verdict.contents)
        else:
            questions.refuse_answers(source, verdict.contents)


def is_signed_on_request(source: Source, secret: str, content: bytes) -> bool:
    """Tell whether the handshake function signs a text, by asking it each of the source's questions."""
    text = content.decode("latin-1")
    for handshake in source.handshakes:
        names = [name for name, wanted in handshake.match.query.items()]
        asked = {"event": "endpoint.url_validation", "payload": {"plainToken": text}}  # Zoom's, and Smartcar's
        body = json.dumps(asked | {"eventType": "VERIFY", "data": {"challenge": text}}).encode()
        question = Envelope(
            RequestId("r"), AT_MS, source.name, "", "", "", dict.fromkeys(names, text), (), b"" if names else body
        )
        if not questions.needs_secret(handshake) or questions.asked(source, handshake.match.method, question) is None:
            continue
        try:
            questions.answer(handshake, source, question, secret)
        except EventMalformed:
            continue
        return True
    return False


# What NMI signs is a nonce.
TIME_NOT_JUDGED = {"nmi"}


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - TIME_NOT_JUDGED))
def test_signed_time_is_judged(preset: str) -> None:
    """What signs a time judges it: a captured delivery cannot be used for ever."""
    for option in options_of(preset):
        signs_time = getattr(option, "timestamp", None) or re.search("time", getattr(option, "content", ""))
        if signs_time or getattr(option, "alg", "") in {"paypal", "aws-sns", "hygraph"}:
            assert getattr(option, "tolerance_s", None) is not None


KEEPS_SIGNATURE = ["aws-sns", "mailgun", "paypal", "sanity", "sendgrid", "zoom"]


@pytest.mark.parametrize("preset", KEEPS_SIGNATURE)
def test_last_retry_is_in_time(preset: str) -> None:
    """A retry that keeps its first signature is accepted for as long as the provider tries."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    assert source.retry_window_s
    late = envelope_of(source, draft_of(source, pair), arrived_at_ms=AT_MS + source.retry_window_s * 1000)
    assert signatures.verify(source.scheme, [pair.verify_with], late).secret_index == 0

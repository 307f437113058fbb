"""The handshake function without AWS: what it answers, and that what it stores is what the gateway would store."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.deliveries import AT_MS, draft_of, pair_of, source_of
from tests.support.templates import CONTEXT, HEADER_NAMES, HEADER_VALUES, TEXTS, Given, render
from weir.consumers.handshake.responder import KeyTooLong, RecordTooLarge, Responder
from weir.consumers.judging.secrets import Secrets, elsewhere
from weir.consumers.settings import HANDSHAKE_VARIABLES, HandshakeSettings
from weir.ingest.contract.routes import api_definition, mapping_template
from weir.ingest.envelope import decode
from weir.ingest.errors import ConfigError, SecretUnavailable, SettingInvalid
from weir.ingest.ids import SourceName
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft, SecretPair
from weir.ingest.sources import presets
from weir.ingest.sources.catalogue import Catalogue, Source

ASKING = [name for name, preset in presets.all_presets().items() if any(one.needs_code for one in preset.handshakes)]
SETTINGS = HandshakeSettings.from_environment({"STREAM": "s", "SECRETS_PREFIX": "/s"})


class Fixture:
    """The function for one source: its secret store, the stream that it writes to and its log."""

    def __init__(self, preset: str, *, readings: Mapping[str, Any] | None = None) -> None:
        self.source: Source = source_of(preset).model_copy(update={"handshake_function": True})
        self.pair: SecretPair = pair_of(self.source)
        self.catalogue = Catalogue({preset: self.source})
        self.readings: dict[str, Any] = dict(readings or {f"/s/{preset}": kept(self.pair.verify_with)})
        self.stored: list[tuple[str, bytes]] = []
        self.failure: Exception | None = None
        self.output = io.StringIO()
        secrets = Secrets(
            self._read, "/s", ttl_s=300, patience_s=0, clock_ms=lambda: AT_MS, elsewhere=elsewhere(self.catalogue)
        )
        self.answering = Responder(SETTINGS, self.catalogue, secrets, self._put, stream=self.output)

    def _read(self, names: Sequence[str]) -> Mapping[str, Any]:
        return {name: self.readings.get(name) for name in names}

    def _put(self, partition_key: str, data: bytes) -> str:
        if self.failure is not None:
            raise self.failure
        self.stored.append((partition_key, data))
        return "49590338271490256608559692538361571095921575989136588898"

    def ask(self, draft: Draft, method: str = "POST", **changes: Any) -> dict[str, Any]:
        return self.answering.serve(proxy_event(self.source.name, draft, method, **changes))


def kept(*values: str) -> str:
    return json.dumps({"secrets": [{"value": value, "created_at_ms": 1} for value in values]})


def proxy_event(source: str, draft: Draft, method: str = "POST", **changes: Any) -> dict[str, Any]:
    event = {
        "resource": f"/v1/{source}",
        "path": f"/v1/{source}",
        "httpMethod": method,
        "headers": draft.headers,
        "multiValueHeaders": {name: [value] for name, value in draft.headers.items()},
        "queryStringParameters": draft.query or None,
        "pathParameters": None,
        "stageVariables": {},
        "requestContext": {
            "extendedRequestId": "Zb1XpE9WoAMEbbQ=",
            "requestTimeEpoch": draft.at_ms,
            "identity": {"sourceIp": "192.0.2.7"},
            "path": f"/v1/{source}",
        },
        "body": b64encode(draft.body).decode() or None,
        "isBase64Encoded": True,
    }
    return event | changes


def question(fixture: Fixture, body: Any, pair: SecretPair | None = None) -> Draft:
    """Return a question with this body, signed as the provider signs everything."""
    headers = {"Content-Type": "application/json"}
    draft = Draft(json.dumps(body).encode(), AT_MS, "msg_1", headers)
    signatures.sign_draft(fixture.source.scheme, (pair or fixture.pair).sign_with, draft)
    return draft


QUESTIONS: dict[str, Any] = {
    "azure-event-grid": [
        {
            "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"},
        }
    ],
    "slack": {"type": "url_verification", "token": "t", "challenge": '3eZbrw1a"\\'},
    "zoom": {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}},
    "discord": {"version": 1, "application_id": "1", "type": 0},
    "xero": {"events": [], "firstEventSequence": 0, "lastEventSequence": 0, "entropy": "S0m3r4Nd0mt3xt"},
    "monday": {"challenge": '3eZbrw1a"\\\n'},
    "smartcar": {"eventId": "1", "eventType": "VERIFY", "data": {"challenge": "4c9e78bb-c8d2"}},
    "tebex": {"id": "2a8dc1c3-6df9", "type": "validation.webhook", "date": "2026-09-21T14:13:20+00:00", "subject": {}},
    "twitch": {"challenge": "pogchamp-kappa", "subscription": {"type": "channel.follow"}},
}


def test_every_question_that_needs_code_is_asked_here() -> None:
    """The presets below are all those whose questions no template can answer."""
    assert {*QUESTIONS, "x", "braintree", "linkedin"} == set(ASKING)


@pytest.mark.parametrize("preset", sorted(QUESTIONS))
def test_a_question_is_answered_and_stored(preset: str) -> None:
    """Each provider gets the answer that its documentation asks for, and a POST is stored like every other."""
    fixture = Fixture(preset)
    draft = question(fixture, QUESTIONS[preset])
    if preset == "twitch":
        draft.headers["Twitch-Eventsub-Message-Type"] = "webhook_callback_verification"
    answer = fixture.ask(draft)
    body = QUESTIONS[preset]
    if preset in {"slack", "twitch"}:
        assert (answer["statusCode"], answer["body"]) == (200, body["challenge"])
        assert answer["headers"]["X-Content-Type-Options"] == "nosniff"
    elif preset == "monday":
        assert json.loads(answer["body"]) == body
    elif preset == "tebex":
        assert json.loads(answer["body"]) == {"id": body["id"]}
    elif preset == "smartcar":
        digest = hmac.new(fixture.pair.sign_with.encode(), b"4c9e78bb-c8d2", hashlib.sha256).hexdigest()
        assert json.loads(answer["body"]) == {"challenge": digest}
    elif preset == "azure-event-grid":
        assert json.loads(answer["body"]) == {"validationResponse": body[0]["data"]["validationCode"]}
    elif preset == "zoom":
        token = body["payload"]["plainToken"]
        digest = hmac.new(fixture.pair.sign_with.encode(), token.encode(), hashlib.sha256).hexdigest()
        assert json.loads(answer["body"]) == {"plainToken": token, "encryptedToken": digest}
    else:
        assert (answer["statusCode"], answer["body"]) == ({"discord": 204, "xero": 200}[preset], "")
    ((_, data),) = fixture.stored
    assert decode(data).body == draft.body


def test_a_question_that_cannot_be_stored_is_not_answered() -> None:
    """A 2xx means stored, to a question too: when the stream refuses, the answer lets the provider ask again."""
    fixture = Fixture("slack")
    fixture.failure = OSError("the network is down")
    assert fixture.ask(question(fixture, QUESTIONS["slack"]))["statusCode"] == 503


def test_x_is_answered_under_get_alone() -> None:
    """X's challenge is answered with its HMAC; a GET without it is 405, and a POST is stored."""
    fixture = Fixture("x")
    digest = hmac.new(fixture.pair.sign_with.encode(), b"foo", hashlib.sha256).digest()
    answer = fixture.ask(Draft(b"", AT_MS, "m", {}, query={"crc_token": "foo"}), "GET")
    assert json.loads(answer["body"]) == {"response_token": f"sha256={b64encode(digest).decode()}"}
    refused = fixture.ask(Draft(b"", AT_MS, "m", {}), "GET")
    assert (refused["statusCode"], refused["headers"]["Allow"]) == (405, "POST")
    assert fixture.ask(draft_of(fixture.source, fixture.pair))["statusCode"] == 200
    assert len(fixture.stored) == 1


def test_linkedin_is_answered_under_get() -> None:
    """LinkedIn's code, a UUID, is answered with itself and its HMAC; any other text is not signed."""
    fixture, code = Fixture("linkedin"), "890e4665-4dfe-4ab1-b689-ed553bceeed0"
    answer = fixture.ask(Draft(b"", AT_MS, "m", {}, query={"challengeCode": code}), "GET")
    digest = hmac.new(fixture.pair.sign_with.encode(), code.encode(), hashlib.sha256).hexdigest()
    assert json.loads(answer["body"]) == {"challengeCode": code, "challengeResponse": digest}
    forged = fixture.ask(Draft(b"", AT_MS, "m", {}, query={"challengeCode": "hmacsha256={}"}), "GET")
    assert forged["statusCode"] == 405


ANSWERS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "answers.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("vector", ANSWERS, ids=lambda vector: vector["preset"])
def test_the_answer_is_that_of_the_providers_own_code(vector: dict[str, Any]) -> None:
    """A challenge under GET is answered as the provider's package answers it, by the scheme's own algorithm and key."""
    fixture = Fixture(vector["preset"], readings={f"/s/{vector['preset']}": kept(vector["secret"])})
    answer = fixture.ask(Draft(b"", AT_MS, "m", {}, query=vector["query"]), "GET")
    assert (answer["statusCode"], answer["body"]) == (200, vector["answer"])
    assert fixture.stored == []


def test_braintree_without_a_public_key() -> None:
    """A private key alone verifies deliveries; the challenge, whose answer names the public key, has to wait for it."""
    plain = pair_of(source_of("braintree")).sign_with.partition("|")[2]
    fixture = Fixture("braintree", readings={"/s/braintree": kept(plain)})
    assert fixture.ask(Draft(b"", AT_MS, "m", {}, query=ANSWERS[0]["query"]), "GET")["statusCode"] == 503
    signatures.verify(fixture.source.scheme, [plain], draft_of(fixture.source, fixture.pair).envelope())
    signatures.verify(fixture.source.scheme, [f"p|{plain}"], draft_of(fixture.source, fixture.pair).envelope())


def test_no_question_signs_a_forged_delivery() -> None:
    """No question gets a signature of a text that could be a delivery's: of a body, or of a time and a body."""
    forged = '{"event":"meeting.deleted"}'
    payload = b64encode(b"<notification><kind>check</kind></notification>").decode()
    get = [
        ("x", {"crc_token": forged}),
        ("braintree", {"bt_challenge": payload}),
        ("braintree", {"bt_challenge": f"{payload}\n"}),
    ]
    for preset, query in get:
        assert Fixture(preset).ask(Draft(b"", AT_MS, "m", {}, query=query), "GET")["statusCode"] in {400, 405}
    for token in (forged, f"v0:{AT_MS // 1000}:{forged}", f"v0:{AT_MS // 1000}:"):
        fixture = Fixture("zoom")
        asked = {"event": "endpoint.url_validation", "payload": {"plainToken": token}}
        answer = fixture.ask(Draft(json.dumps(asked).encode(), AT_MS, "m", {"Content-Type": "application/json"}))
        assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (400, "question_malformed")


@pytest.mark.parametrize("preset", ["discord", "xero", "twitch"])
def test_a_wrong_signature_of_a_question_is_401(preset: str) -> None:
    """Providers that send wrong signatures on purpose get 401, with an empty body where they want none."""
    fixture = Fixture(preset)
    draft = question(fixture, QUESTIONS[preset], pair_of(fixture.source, "another"))
    if preset == "twitch":
        draft.headers["Twitch-Eventsub-Message-Type"] = "webhook_callback_verification"
    answer = fixture.ask(draft)
    assert answer["statusCode"] == 401
    assert preset == "twitch" or answer["body"] == ""
    assert fixture.stored == []


def test_an_answer_is_keyed_with_the_secret_that_signed_the_question() -> None:
    """While two secrets are live, the answer takes the one that the provider holds."""
    fixture = Fixture("zoom")
    fixture.readings["/s/zoom"] = kept("a newer one", fixture.pair.verify_with)
    answer = fixture.ask(question(fixture, QUESTIONS["zoom"]))
    digest = hmac.new(fixture.pair.sign_with.encode(), b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
    assert json.loads(answer["body"])["encryptedToken"] == digest


@pytest.mark.parametrize("reading", [None, SecretUnavailable("")], ids=["absent", "unreadable"])
def test_without_a_secret_the_provider_is_told_to_ask_again(reading: Any) -> None:
    """A secret that is not there is no wrong signature: the question is answered 503."""
    for preset in ("zoom", "discord"):
        fixture = Fixture(preset, readings={f"/s/{preset}": reading})
        answer = fixture.ask(question(fixture, QUESTIONS[preset]))
        assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("preset", ASKING)
def test_a_delivery_is_stored_and_never_taken_for_a_question(preset: str) -> None:
    """The provider's sample is stored with its bytes and answered with its id, whatever members it shares with one."""
    fixture = Fixture(preset)
    draft = draft_of(fixture.source, fixture.pair)
    answer = fixture.ask(draft)
    assert (answer["statusCode"], answer["body"]) == (200, '{"id":"Zb1XpE9WoAMEbbQ="}')
    ((partition_key, data),) = fixture.stored
    envelope = decode(data)
    assert partition_key == envelope.request_id == "Zb1XpE9WoAMEbbQ="
    assert draft.body in (envelope.body, envelope.alternative_body)
    signatures.verify(fixture.source.scheme, [fixture.pair.verify_with], envelope)


@settings(max_examples=300, deadline=None)
@given(
    body=st.binary(),
    key=st.none() | TEXTS.filter(bool) | st.text("abcXYZ019._~:@+=, -", min_size=1),
    query=st.dictionaries(TEXTS, TEXTS, max_size=4),
    headers=st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=6),
)
@example(body=b"", key=None, query={}, headers={})
@example(body=bytes(range(256)), key='a/b "c $x', query={"a": "é"}, headers={"X": "\x85é"})
def test_what_is_stored_is_what_the_mapping_template_stores(
    body: bytes, key: str | None, query: dict[str, str], headers: dict[str, str]
) -> None:
    """For any request, record and partition key are those of the mapping template, byte for byte."""
    parameters = {} if key is None else {"key": key}
    put = render(mapping_template("github"), Given(b64encode(body).decode(), parameters, query, headers))
    assert put.text is not None
    expected = json.loads(put.text)
    fixture = Fixture("slack")
    draft = Draft(body, CONTEXT["requestTimeEpoch"], "m", headers, query=query)
    context = dict(CONTEXT)
    event = proxy_event("slack", draft, pathParameters=parameters or None, requestContext=context)
    assert fixture.answering.serve(event)["statusCode"] == 200
    ((partition_key, data),) = fixture.stored
    assert partition_key == expected["PartitionKey"]
    by_template = replace(decode(b64decode(expected["Data"])), source=SourceName("slack"))
    assert decode(data) == by_template


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (KeyTooLong(), '{"message":"1 validation error detected: Value at \'partitionKey\' failed"}'),
        (RecordTooLarge(), '{"__type":"ValidationException","message":"Value at \'data\' failed"}'),
        (OSError("the network is down"), '{"__type":"ProvisionedThroughputExceededException"}'),
    ],
    ids=["key", "size", "other"],
)
def test_failures_are_answered_as_the_gateway_answers_them(failure: Exception, said: str) -> None:
    """Status, headers and body of each failure are those of the API definition."""
    fixture = Fixture("slack")
    fixture.failure = failure
    answer = fixture.ask(draft_of(fixture.source, fixture.pair))
    substitutions = dict.fromkeys(("partition", "region", "credentials", "handshake_function"), "x")
    post = api_definition(["github"], substitutions)["paths"]["/v1/github"]["post"]
    template = post["x-amazon-apigateway-integration"]["responses"]["4\\d{2}"]["responseTemplates"]["application/json"]
    given = Given(said, stage_variables={"maxRecordKiB": "1024", "maxBodyKiB": "750"})
    by_gateway = render(template, given)
    assert (answer["statusCode"], answer["body"]) == (by_gateway.status, by_gateway.text)
    assert {**by_gateway.headers, "Content-Type": "application/json"} == answer["headers"]


@pytest.mark.parametrize("part", ["headers", "query"])
def test_what_the_template_could_not_store_is_refused(part: str) -> None:
    """More names than a loop of the mapping template reads are refused, as the gateway refuses them."""
    fixture = Fixture("slack")
    for count, status in ((1000, 200), (1001, 400)):
        draft = draft_of(fixture.source, fixture.pair)
        given = getattr(draft, part)
        given |= {f"n{number}": "" for number in range(count - len(given))}
        answer = fixture.ask(draft)
        assert answer["statusCode"] == status, answer


def test_the_acknowledgement_of_a_source_is_given() -> None:
    """A source that wants an answer of its own gets it from the function too."""
    fixture = Fixture("slack")
    ack = source_of("adyen").ack
    fixture.catalogue = Catalogue({"slack": fixture.source.model_copy(update={"ack": ack})})
    fixture.answering._catalogue = fixture.catalogue
    answer = fixture.ask(draft_of(fixture.source, fixture.pair))
    assert (answer["statusCode"], answer["headers"]["Content-Type"], answer["body"]) == (
        200,
        "text/plain",
        "[accepted]",
    )


def test_no_log_line_holds_what_was_sent() -> None:
    """The log names source, status and request, and neither token nor secret."""
    fixture = Fixture("zoom")
    fixture.ask(question(fixture, QUESTIONS["zoom"]))
    line = json.loads(fixture.output.getvalue())
    assert line["action"] == "handshake"
    assert (line["source"], line["status"], line["request_id"]) == ("zoom", 200, "Zb1XpE9WoAMEbbQ=")
    assert "qgg8vlv" not in fixture.output.getvalue()
    assert fixture.pair.sign_with not in fixture.output.getvalue()


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"null", b'{"type":', b"[" * 100_000, b'{"type":0}' * 9])
@pytest.mark.parametrize("preset", ASKING)
def test_malformed_requests_are_stored(preset: str, body: bytes) -> None:
    """What cannot be read is not a question: it is stored for the consumer to judge, and nothing is raised."""
    fixture = Fixture(preset)
    assert fixture.ask(Draft(body, AT_MS, "m", {"Content-Type": "application/json"}))["statusCode"] == 200
    assert len(fixture.stored) == 1


def test_other_events_are_refused() -> None:
    """The function says what it is for when something else invokes it."""
    with pytest.raises(ConfigError, match="proxy event"):
        Fixture("slack").answering.serve({"Records": []})


def test_an_unknown_source_is_404() -> None:
    """A source that the function was not deployed with is answered as an unknown path."""
    fixture = Fixture("slack")
    assert fixture.answering.serve(proxy_event("unknown", Draft(b"", AT_MS, "m", {})))["statusCode"] == 404


def test_settings_are_listed() -> None:
    """Every setting of the function is listed with its meaning, and only the stream has no default."""
    assert {variable.field for variable in HANDSHAKE_VARIABLES} == set(HandshakeSettings._fields)
    assert [variable.name for variable in HANDSHAKE_VARIABLES if variable.default is None] == ["STREAM"]
    assert HandshakeSettings.from_environment({"STREAM": "s"}).sources_file == Path("sources.json").resolve()
    with pytest.raises(SettingInvalid, match="STREAM"):
        HandshakeSettings.from_environment({})

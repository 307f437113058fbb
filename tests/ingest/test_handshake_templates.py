"""Questions that the API definition answers alone, rendered by the embedded engine and by Apache Velocity."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.deliveries import source_of
from tests.support.templates import HEADER_VALUES, TEXTS, Given, Rendered, render, render_on_velocity, started_velocity
from tests.support.velocity import Velocity
from weir.ingest.contract.routes import api_definition
from weir.ingest.errors import CatalogueInvalid
from weir.ingest.handshakes.handshake_templates import Questions, constant
from weir.ingest.sources import presets
from weir.ingest.sources.catalogue import Handshake

SUBSTITUTIONS = {
    "partition": "aws",
    "region": "us-east-1",
    "credentials": "arn:aws:iam::000000000000:role/gateway",
    "handshake_function": "arn:aws:lambda:us-east-1:000000000000:function:weir-handshake",
}
REFUSAL = '{"__type":"ValidationException","message":"Value null at \'partitionKey\'"}'
FREE = {
    "dropbox": "challenge",
    "meta": "hub.challenge",
    "whatsapp": "hub.challenge",
    "microsoft-graph": "validationToken",
    "nylas": "challenge",
    "sharepoint": "validationtoken",
}
IN_JSON = {"oura": "challenge"}
IN_HEADER = {
    "adobe-sign": "X-AdobeSign-ClientId",
    "asana": "X-Hook-Secret",
    "clio": "X-Hook-Secret",
    "front": "X-Front-Challenge",
    "okta": "x-okta-verification-challenge",
    "ringcentral": "Validation-Token",
    "worldline": "X-GCS-Webhooks-Endpoint-Verification",
}
POSTED = {"asana", "clio", "front", "microsoft-graph", "ringcentral", "sharepoint"}
PLAIN = {"circle": "head", "mailchimp": "get", "mandrill": "head", "trello": "head"}
OPTIONS = {"azure-event-grid"}
PINGS = {"bitbucket": {"X-Event-Key": "diagnostics:ping"}}
ECHOING = [*sorted(FREE), *sorted(IN_JSON), *sorted(IN_HEADER)]


@pytest.fixture(scope="module")
def velocity() -> Iterator[Velocity]:
    yield from started_velocity()


def integration(preset: str, method: str) -> dict[str, Any]:
    definition = api_definition({preset: source_of(preset)}, SUBSTITUTIONS)
    found: dict[str, Any] = definition["paths"][f"/v1/{preset}"][method]["x-amazon-apigateway-integration"]
    return found


def request_template(preset: str, method: str) -> str:
    return str(integration(preset, method)["requestTemplates"]["application/json"])


def response_template(preset: str, method: str) -> str:
    pattern = "4\\d{2}" if method == "post" else "200"
    return str(integration(preset, method)["responses"][pattern]["responseTemplates"]["application/json"])


def asked_with(preset: str, value: str) -> Given:
    if preset in {"meta", "whatsapp"}:
        return Given(querystring={"hub.mode": "subscribe", "hub.challenge": value, "hub.verify_token": "t"})
    if preset in IN_JSON:
        return Given(querystring={IN_JSON[preset]: value, "verification_token": "t"})
    if preset in FREE:
        return Given(querystring={FREE[preset]: value})
    return Given(header={"Host": "h", IN_HEADER[preset]: value})


def test_every_template_question_of_the_presets_is_covered_here() -> None:
    """The presets below are all those whose questions a template answers."""
    templated = {
        name for name, preset in presets.all_presets().items() for each in preset.handshakes if not each.needs_code
    }
    assert templated == {*FREE, *IN_JSON, *IN_HEADER, *PLAIN, *OPTIONS, *PINGS}


@pytest.mark.parametrize("preset", ECHOING)
def test_a_question_is_answered_and_nothing_is_stored(preset: str) -> None:
    """A question under POST asks Kinesis for nothing, one under GET is not answered 405, and each gets its echo."""
    method = "post" if preset in POSTED else "get"
    asked = asked_with(preset, "a1B2:+/ ok")
    request = render(request_template(preset, method), asked)
    assert request.text is not None
    assert json.loads(request.text) == ({} if method == "post" else {"statusCode": 200})
    answered = render(response_template(preset, method), Given(REFUSAL, {}, asked.querystring, asked.header))
    assert answered.status == 200
    if preset == "adobe-sign":
        assert answered.headers["X-AdobeSign-ClientId"] == "a1B2:+/ ok"
        assert json.loads(answered.text or "") == {"xAdobeSignClientId": "a1B2:+/ ok"}
    elif preset in {"asana", "clio", "ringcentral"}:
        assert answered.headers[IN_HEADER[preset]] == "a1B2:+/ ok"
    elif preset == "okta":
        assert json.loads(answered.text or "") == {"verification": "a1B2:+/ ok"}
    elif preset in {"front", "oura"}:
        assert json.loads(answered.text or "") == {"challenge": "a1B2:+/ ok"}
    else:
        assert answered.text == "a1B2:+/ ok"
        assert answered.headers == {"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff"}


@pytest.mark.parametrize(("preset", "headers"), PINGS.items())
def test_unsigned_pings_are_answered_and_not_stored(preset: str, headers: dict[str, str]) -> None:
    """A provider's test of the connection is a 200, and no event; what only looks like it is stored."""
    asked = Given(header=headers)
    assert render(request_template(preset, "post"), asked).text == "{}"
    assert render(response_template(preset, "post"), Given(REFUSAL, {}, {}, headers)).status == 200
    other = Given(header={name: f"{value}s" for name, value in headers.items()})
    assert "PartitionKey" in (render(request_template(preset, "post"), other).text or "")


def test_permission_to_send_is_given_under_options() -> None:
    """The origin that asks under OPTIONS is allowed; without one, or with one that could break out, it is 405."""
    asked = Given(header={"Host": "h", "WebHook-Request-Origin": "eventgrid.azure.net"})
    assert json.loads(render(request_template("azure-event-grid", "options"), asked).text or "") == {"statusCode": 200}
    answered = render(response_template("azure-event-grid", "options"), asked)
    assert (answered.status, answered.text) == (200, "")
    assert answered.headers == {
        "Content-Type": "application/json",
        "WebHook-Allowed-Origin": "eventgrid.azure.net",
        "WebHook-Allowed-Rate": "*",
        "Allow": "POST",
    }
    for refused in (Given(), Given(header={"WebHook-Request-Origin": 'a"b'})):
        assert render(request_template("azure-event-grid", "options"), refused).text == '{"statusCode":405}'


def test_what_is_no_question_is_refused_or_stored() -> None:
    """Without the question a GET is 405 and a POST is stored; so is one whose header could break out of the answer."""
    assert render(request_template("meta", "get"), Given(querystring={"hub.mode": "unsubscribe"})).text == (
        '{"statusCode":405}'
    )
    assert render(request_template("okta", "get"), asked_with("okta", 'x","y":"')).text == '{"statusCode":405}'
    for request in (Given(), asked_with("asana", "a\"b'c$d")):
        put = render(request_template("asana", "post"), request)
        assert put.text is not None
        assert json.loads(put.text).keys() == {"StreamName", "PartitionKey", "Data"}


def test_a_refusal_without_a_question_stays_one() -> None:
    """A delivery that Kinesis refuses is answered 413 or 503 as for any other source."""
    template = response_template("microsoft-graph", "post")
    assert render(template, Given('{"__type":"ProvisionedThroughputExceededException"}')).status == 503
    assert render(template, Given('{"__type":"ValidationException","message":"at \'data\' failed"}')).status == 413


@pytest.mark.parametrize("spelled", ["X-Hook-Secret", "x-hook-secret", "X-HOOK-SECRET"])
def test_header_questions_ignore_case(spelled: str) -> None:
    """A header is found however HTTP/2 or the sender spells its name."""
    assert render(request_template("asana", "post"), Given(header={spelled: "abc"})).text == "{}"


@pytest.mark.parametrize(("preset", "method"), PLAIN.items())
def test_a_plain_question_is_answered(preset: str, method: str) -> None:
    """A provider's HEAD or GET that asks for nothing in particular is a 200 without a body."""
    assert render(request_template(preset, method), Given()).text == '{"statusCode":200}'
    assert render(response_template(preset, method), Given()) == Rendered("", 200, {"Content-Type": "application/json"})


@pytest.mark.velocity
@settings(max_examples=150, deadline=None)
@given(preset=st.sampled_from(ECHOING), value=TEXTS | HEADER_VALUES, body=TEXTS)
@example("meta", "$foo #if(1) ${x}", "")
@example("microsoft-graph", "<script>alert('x')</script>", REFUSAL)
@example("asana", "é\"'\\", "")
@example("microsoft-graph", "", "00")
@example("microsoft-graph", "", "00=")
@example("microsoft-graph", "", "nul")
@example("microsoft-graph", "", "00000")
def test_both_engines_render_the_same(velocity: Velocity, preset: str, value: str, body: str) -> None:
    """Whatever is echoed, request and answer are the same on Apache Velocity and on the embedded gateway."""
    method = "post" if preset in POSTED else "get"
    asked = asked_with(preset, value)
    if any(not text.isprintable() or ord(max(text, default=" ")) > 255 for text in asked.header.values()):
        return  # no HTTP server lets such a header through
    for template in (request_template(preset, method), response_template(preset, method)):
        request = Given(body, {}, asked.querystring, asked.header)
        assert render(template, request) == render_on_velocity(velocity, template, request)


@settings(max_examples=150, deadline=None)
@given(value=TEXTS.filter(bool))
@example("$foo ${bar} #if(1)<b>&\"'\\ 😀")
def test_free_text_is_echoed_as_it_came(value: str) -> None:
    """A query parameter comes back letter by letter, as plain text that no browser takes for a page."""
    for preset, method in (("microsoft-graph", "post"), ("meta", "get")):
        asked = asked_with(preset, value)
        answered = render(response_template(preset, method), Given(REFUSAL, {}, asked.querystring))
        assert answered.text == value
        assert answered.headers["X-Content-Type-Options"] == "nosniff"


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\")))
@example("[accepted]")
@example("\n$")
@example("costs $5 #now ${x} #end")
def test_an_acknowledgement_is_printed_as_written(text: str) -> None:
    """The answer that a provider demands is given letter by letter, whatever signs it holds."""
    assert render(constant(text), Given()).text == text


@pytest.mark.velocity
@pytest.mark.parametrize("text", ["", "[accepted]", "<Response></Response>", "costs $5 #now ${x} #end", '{"a":"$b"}'])
def test_an_acknowledgement_is_the_same_on_velocity(velocity: Velocity, text: str) -> None:
    """Apache Velocity prints the answer as the embedded gateway does."""
    assert render_on_velocity(velocity, constant(text), Given()) == Rendered(text)


@pytest.mark.parametrize(
    "handshake",
    [
        {"match": {"method": "GET", "query": {"a'b": "*"}}, "reply": {}},
        {"match": {"method": "GET", "query": {"a": "$b"}}, "reply": {}},
        {"match": {"method": "GET", "headers": {"a b": "*"}}, "reply": {}},
        {"match": {"method": "GET"}, "reply": {"body": "#end"}},
        {"match": {"method": "GET"}, "reply": {"headers": {"X": "$x"}}},
    ],
)
def test_what_no_template_can_hold_is_refused(handshake: dict[str, Any]) -> None:
    """A handshake with signs of the template language in it is an error of the sources file, never a broken API."""
    with pytest.raises(CatalogueInvalid):
        Questions([Handshake.model_validate(handshake)])

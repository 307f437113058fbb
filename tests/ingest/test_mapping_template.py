from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.templates import (
    CONTEXT,
    HEADER_NAMES,
    HEADER_VALUES,
    TEXTS,
    Given,
    Rendered,
    render,
    render_on_velocity,
    started_velocity,
)
from tests.support.velocity import Velocity
from weir.ingest.contract.routes import api_definition, mapping_template
from weir.ingest.envelope import Envelope, decode, encode, partition_key

TEMPLATE = mapping_template("github")
SUBSTITUTIONS = {"partition": "aws", "region": "us-east-1", "credentials": "arn:role"}


@pytest.fixture(scope="module")
def velocity() -> Iterator[Velocity]:
    yield from started_velocity()


@st.composite
def requests(draw: st.DrawFn) -> Given:
    """Any request that an HTTP server lets through, its body already base64 as contentHandling makes it."""
    key = draw(st.none() | TEXTS.filter(bool) | st.text("abcXYZ019._~:@+=, -", min_size=1))
    return Given(
        body=b64encode(draw(st.binary())).decode(),
        path={} if key is None else {"key": key},
        querystring=draw(st.dictionaries(TEXTS, TEXTS, max_size=4)),
        header=draw(st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=6)),
    )


def stored(request: Given, result: Rendered) -> Envelope:
    """Decode the record that a rendered PutRecord request would store."""
    assert result.text is not None
    put = json.loads(result.text)
    assert put.keys() == {"StreamName", "PartitionKey", "Data"}
    assert put["StreamName"] == request.stage_variables["stream"]
    return decode(b64decode(put["Data"], validate=True))


HARD = Given(
    body=b64encode(bytes(range(256))).decode(),
    path={"key": "a/b \"c' $x #end \\ 😀"},
    querystring={"$a": "#if", '"': "'", "": "", "ü&=": "\\u0041\n"},
    header={"X-Q": 'it\'s "q" $foo #if(1) ${q} \\\' \\" \x85 é', "X-Empty": "", "x-colon": ": a: b", "$name": "#end"},
)


@settings(max_examples=400, deadline=None)
@given(request=requests())
@example(HARD)
@example(Given())
def test_what_is_stored_is_what_came(request: Given) -> None:
    """Decoding what the template wrote gives the request back, every byte of it."""
    envelope = stored(request, render(TEMPLATE, request))
    assert envelope.request_id == CONTEXT["extendedRequestId"]
    assert envelope.arrived_at_ms == CONTEXT["requestTimeEpoch"]
    assert envelope.source == "github"
    assert envelope.source_ip == CONTEXT["identity"]["sourceIp"]
    assert envelope.path == CONTEXT["path"]
    assert envelope.key == request.path.get("key", "")
    assert envelope.query == request.querystring
    assert envelope.headers == tuple(request.header.items())
    # A body of `{}` and none at all look the same; then the envelope holds both.
    assert b64decode(request.body) in (envelope.body, envelope.alternative_body)


@pytest.mark.velocity
@settings(max_examples=400, deadline=None)
@given(request=requests())
@example(HARD)
@example(Given())
@example(Given(querystring={f"n{number}": "" for number in range(1001)}))
@example(Given(header={f"n{number}": "" for number in range(1000)}))
def test_the_template_renders_the_same_on_velocity(velocity: Velocity, request: Given) -> None:
    """Apache Velocity 1.7 renders the mapping template to the same bytes as the embedded gateway."""
    assert render(TEMPLATE, request) == render_on_velocity(velocity, TEMPLATE, request)


@pytest.mark.parametrize("part", ["header", "querystring"])
def test_what_a_loop_cannot_hold_is_not_stored(part: str) -> None:
    """API Gateway ends a loop after 1,000 turns: of one more name there is no partition key, which Kinesis refuses."""
    for count, has_key in ((0, True), (1000, True), (1001, False)):
        request = Given(**{part: {f"n{number}": "" for number in range(count)}})  # type: ignore[arg-type]
        result = render(TEMPLATE, request)
        assert result.text is not None
        assert bool(json.loads(result.text)["PartitionKey"]) == has_key
        if has_key:
            assert stored(request, result).query == request.querystring


@settings(max_examples=200, deadline=None)
@given(request=requests())
def test_encode_writes_what_the_template_writes(request: Given) -> None:
    """An envelope that is encoded again gives the bytes of the record it was read from."""
    result = render(TEMPLATE, request)
    envelope = stored(request, result)
    assert result.text is not None
    record = b64decode(json.loads(result.text)["Data"])
    if request.body:  # an empty body is written as {} where it stands, and as base64 by encode
        assert encode(envelope) == record
    assert decode(encode(envelope)) == envelope or envelope.body in (b"", b"{}")


@settings(max_examples=300, deadline=None)
@given(request=requests())
@example(Given(path={"key": "k" * 256}))
def test_the_partition_key_follows_the_key_alone(request: Given) -> None:
    """The partition key is the request's id or made of the key in the URL, whatever else was sent."""
    result = render(TEMPLATE, request)
    bare = render(TEMPLATE, Given(path=request.path))
    assert result.text is not None
    assert bare.text is not None
    given = json.loads(result.text)["PartitionKey"]
    assert given == json.loads(bare.text)["PartitionKey"]
    key = request.path.get("key", "")
    if not key:
        assert given == CONTEXT["extendedRequestId"]
    else:
        assert given == key or b64decode(given).decode() == key


@settings(max_examples=300, deadline=None)
@given(request=requests())
@example(HARD)
@example(Given(path={"key": "k\n"}))
@example(Given(path={"key": " "}))
def test_the_partition_key_is_said_once(request: Given) -> None:
    """`partition_key` gives a stored envelope the partition key that the template gave the request."""
    result = render(TEMPLATE, request)
    assert result.text is not None
    assert partition_key(stored(request, result)) == json.loads(result.text)["PartitionKey"]


DEFINITION = api_definition(["github"], {"partition": "aws", "region": "us-east-1", "credentials": "arn:role"})
RESPONSES = DEFINITION["paths"]["/v1/github"]["post"]["x-amazon-apigateway-integration"]["responses"]
ANSWERS = [
    b'{"SequenceNumber":"1","ShardId":"shardId-000000000000"}',
    b'{"__type":"ProvisionedThroughputExceededException","message":"Rate exceeded for shard"}',
    b'{"__type":"ValidationException","message":"1 validation error detected: Value at \'data\' failed"}',
    b'{"__type":"KMSThrottlingException","message":""}',
    b'<html>it\'s "broken" $x #end</html>',
    b"",
]


@pytest.mark.velocity
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("encoded", [True, False], ids=["base64", "text"])
@pytest.mark.parametrize("pattern", sorted(RESPONSES))
def test_responses_render_the_same_on_velocity(velocity: Velocity, pattern: str, answer: bytes, encoded: bool) -> None:
    """Every response template gives the same text, status and headers on Apache Velocity, whatever Kinesis answered."""
    body = b64encode(answer).decode() if encoded else answer.decode()
    request = Given(body=body, stage_variables={"maxRecordKiB": "1024", "maxBodyKiB": "500"})
    for template in RESPONSES[pattern]["responseTemplates"].values():
        assert render(template, request) == render_on_velocity(velocity, template, request)

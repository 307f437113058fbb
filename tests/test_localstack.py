"""The same template on LocalStack: deployed, fed, asked, taken down; and what a sender gets when Kinesis fails."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.running import github
from weir.infra import place
from weir.ingest.contract import routes
from weir.ingest.envelope import decode, encode

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
WEIR = Path(sys.executable).with_name("weir")
STACK = f"test-{uuid.uuid4().hex[:8]}"
SECRET = "It's a Secret to Everybody"

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]


def weir(*arguments: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEIR_"))}
    done = subprocess.run(
        [WEIR, *arguments], input=text.encode(), env=kept, capture_output=True, check=False, timeout=300
    )
    assert done.returncode == 0 or not check, done.stderr.decode() + done.stdout.decode()
    return done


def there(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return weir(*arguments, "--endpoint", str(ENDPOINT), "--stack", STACK, **options)


@pytest.fixture(scope="module")
def deployed() -> Iterator[place.Place]:
    prefix = f"/weir/{STACK}"
    out = weir(
        *("deploy", "--at", "localstack", "--endpoint", str(ENDPOINT), "--stack", STACK),
        *("--set", f"SecretsPrefix={prefix}", "--set", "StreamMode=PROVISIONED", "--set", "ShardCount=1"),
    ).stdout.decode()
    assert "CREATE_COMPLETE" in out
    there("secrets", "set", "github", text=SECRET)
    there("secrets", "set", "partner", text="partner secret")
    yield place.at_endpoint(str(ENDPOINT), STACK)
    gone = weir(
        *("destroy", "--to", "localstack", "--endpoint", str(ENDPOINT), "--stack", STACK, "--delete-data", "--yes")
    )
    assert b"kept" not in gone.stdout


def post(
    where: place.Place, path: str, body: bytes, headers: Mapping[str, str | bytes], method: str = "POST"
) -> tuple[int, Any]:
    import http.client

    address = urlsplit(where.outputs().endpoint)
    connection = http.client.HTTPConnection(address.netloc, timeout=60)
    try:
        connection.request(method, address.path.removesuffix("/v1") + path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


def stored() -> list[dict[str, Any]]:
    return [json.loads(line) for line in there("events", "--json").stdout.splitlines()]


def outcome_of(request_id: str, within_s: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while True:
        found = [event for event in stored() if event["request_id"] == request_id]
        if found:
            return found[0]
        assert time.monotonic() < deadline, stored()
        time.sleep(0.5)


def test_main_job_runs_there(deployed: place.Place) -> None:
    """Signed, forged and repeated deliveries end on LocalStack as they do on the embedded stack."""
    body = b'{"zen": "10.00 \xf0\x9f\x8c\x8a"}'
    real = github(SECRET, body, "delivery-1")
    status, answer = post(deployed, "/v1/github", body, real)
    assert status == 200
    event = outcome_of(answer["id"])
    assert (event["event_id"], event["outcome"]) == ("delivery-1", "ignored")
    assert event["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert there("events", "delivery-1", "--body").stdout == body
    _, forged = post(deployed, "/v1/github", body, github("wrong", body, "delivery-1"))
    _, again = post(deployed, "/v1/github", body, real)
    assert outcome_of(forged["id"])["reason"] == "signature_mismatch"
    time.sleep(3)
    assert again["id"] not in {event["request_id"] for event in stored()}


def test_the_newest_are_listed_there(deployed: place.Place) -> None:
    """By CloudWatch Logs, read backwards, and the same as by the whole table."""
    sent = []
    for number in range(4):
        body = json.dumps({"n": number}).encode()
        sent.append(post(deployed, "/v1/github", body, github(SECRET, body, f"newest-{number}"))[1]["id"])
    for request_id in sent:
        outcome_of(request_id)
    everything = sorted(stored(), key=lambda event: event["received_at_ms"], reverse=True)
    listed = there("events", "--limit", "3", "--json").stdout.splitlines()
    assert [json.loads(line) for line in listed] == everything[:3]
    since = [json.loads(line) for line in there("events", "--since", "1h", "--json").stdout.splitlines()]
    assert since == everything


def test_samples_are_sent_there(deployed: place.Place) -> None:
    """`weir send` posts a signed sample to LocalStack and tells its outcome."""
    said = there("send", "partner", "--wait", "60").stdout.decode().splitlines()
    assert re.match(r'200 \{"id":"[^"]+"\}', said[0]), said
    assert said[1].strip() in {"applied", "ignored"}, said


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=xyz",
        "text/plain; charset=UTF-8",
        "application/octet-stream",
        "application/cloudevents+json",
    ],
)
def test_bytes_come_through_under_each_content_type(deployed: place.Place, content_type: str | None) -> None:
    """Bytes 0 to 255 are stored unchanged, whatever the Content-Type says; LocalStack refuses a broken multipart."""
    body = bytes(range(256))
    if content_type and "boundary" in content_type:
        body = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + body + b"\r\n--xyz--\r\n"
    status, answer = post(deployed, "/v1/github", body, {"Content-Type": content_type} if content_type else {})
    assert status == 200, answer
    assert outcome_of(answer["id"])["body_sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("path", "method", "body", "headers", "status"),
    [
        ("/v1/github", "POST", b"x" * 2_000_000, {}, 413),
        ("/v1/absent", "POST", b"{}", {}, 404),
        ("/v1/github", "GET", b"", {}, 405),
        ("/v1/github", "POST", b"x", {"Content-Type": "application/x-unheard-of"}, 415),
    ],
)
def test_refusals(
    deployed: place.Place, path: str, method: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    """What is not stored is refused with the same status as elsewhere; LocalStack does not shape gateway responses."""
    assert post(deployed, path, body, headers, method)[0] == status


# Printable bytes but for spaces at the ends, which HTTP trims; names that no server uses for itself.
HEADER_NAMES = st.from_regex(r"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40).map(
    str.strip
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    headers=st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=8),
    body=st.binary(min_size=1, max_size=300),
    key=st.from_regex(r"[A-Za-z0-9._~-]{0,12}", fullmatch=True),
)
def test_what_is_stored_is_what_was_sent(deployed: place.Place, headers: dict[str, str], body: bytes, key: str) -> None:
    """Over generated requests the mapping template's record decodes to the request, and is the bytes we would write."""
    headers = {name.lower(): value for name, value in headers.items()}
    path = f"/v1/partner/{key}" if key else "/v1/partner"
    sent: dict[str, str | bytes] = {name: value.encode("latin-1") for name, value in headers.items()}
    status, answer = post(deployed, path, body, {**sent, "Content-Type": "application/octet-stream"})
    assert status == 200, answer
    data = record_of(deployed, answer["id"])
    envelope = decode(data)
    assert encode(envelope) == data
    assert (envelope.body, envelope.key, envelope.source) == (body, key, "partner")
    assert {name: envelope.header(name) for name in headers} == headers


def record_of(where: place.Place, request_id: str) -> bytes:
    """Find one delivery's record in the stream."""
    kinesis, stream = where.client("kinesis"), where.outputs().stream_name
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            for record in reversed(kinesis.get_records(ShardIterator=iterator)["Records"]):
                if f'"id":"{request_id}"'.encode() in record["Data"]:
                    return bytes(record["Data"])
    pytest.fail(f"no record with id {request_id}")


# Every error that PutRecord may answer, and what the sender gets.
# Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html#API_PutRecord_Errors
KINESIS_ERRORS = [
    "AccessDeniedException",
    "InternalFailure",
    "InvalidArgumentException",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "KMSOptInRequired",
    "KMSThrottlingException",
    "ProvisionedThroughputExceededException",
    "ResourceNotFoundException",
]


def answers_as_asked(where: place.Place) -> bool:
    """Tell whether Kinesis answers with the error that the stream's name asks for, and not that there is no stream."""
    try:
        where.client("kinesis").put_record(StreamName="answers-KMSDisabledException", Data=b"x", PartitionKey="x")
    except ClientError as error:
        return error.response["Error"]["Code"] == "KMSDisabledException"
    return False


@pytest.fixture(scope="module")
def failing_api() -> Iterator[tuple[Any, str]]:
    where = place.at_endpoint(str(ENDPOINT), STACK)
    if not answers_as_asked(where):
        pytest.skip("LocalStack runs without tests/localstack/start.d: copy it to /etc/localstack/init/start.d")
    gateway = where.client("apigateway")
    role = "arn:aws:iam::000000000000:role/any"
    definition = routes.api_definition(["github"], {"partition": "aws", "region": "us-east-1", "credentials": role})
    api = gateway.import_rest_api(body=routes.render(definition))["id"]
    yield gateway, api
    gateway.delete_rest_api(restApiId=api)


@pytest.mark.parametrize("code", KINESIS_ERRORS)
def test_failing_kinesis_is_503(failing_api: tuple[Any, str], code: str) -> None:
    """Whatever Kinesis answers but success and size, the answer lets the sender try again."""
    gateway, api = failing_api
    stage = f"s{KINESIS_ERRORS.index(code)}"
    variables = {"stream": f"answers-{code}", "maxRecordKiB": "1024", "maxBodyKiB": "560"}
    gateway.create_deployment(restApiId=api, stageName=stage, variables=variables)
    import http.client

    connection = http.client.HTTPConnection(urlsplit(str(ENDPOINT)).netloc, timeout=60)
    connection.request("POST", f"/_aws/execute-api/{api}/{stage}/v1/github", body=b"{}")
    response = connection.getresponse()
    document = json.loads(response.read())
    connection.close()
    assert (response.status, document["error"]) == (503, "unavailable"), document
    assert response.headers["Retry-After"] == "5"


@pytest.fixture(scope="module")
def many() -> Iterator[str]:
    """300 sources of one API on LocalStack, before a stream of its own; its stage's address."""
    where = place.at_endpoint(str(ENDPOINT), STACK)
    gateway, kinesis = where.client("apigateway"), where.client("kinesis")
    kinesis.create_stream(StreamName=f"{STACK}-many", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=f"{STACK}-many", WaiterConfig={"Delay": 1})
    names = [f"shop-{number:03}" for number in range(300)]
    role = "arn:aws:iam::000000000000:role/any"
    definition = routes.api_definition(names, {"partition": "aws", "region": "us-east-1", "credentials": role})
    api = gateway.import_rest_api(body=routes.render(definition))["id"]
    variables = {"stream": f"{STACK}-many", "maxRecordKiB": "1024", "maxBodyKiB": "750"}
    gateway.create_deployment(restApiId=api, stageName="live", variables=variables)
    yield f"/_aws/execute-api/{api}/live"
    gateway.delete_rest_api(restApiId=api)
    kinesis.delete_stream(StreamName=f"{STACK}-many")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/shop-000", 200),
        ("POST", "/v1/shop-299", 200),
        ("POST", "/v1/shop-299/a-key", 200),
        ("POST", "/v1/shop-300", 404),
        ("POST", "/v1/shop-298%2Fshop-299", 404),
        ("POST", "/v1/shop-300/key", 404),
        ("GET", "/v1/shop-300", 404),
        ("GET", "/v1/shop-299", 405),
    ],
)
def test_sources_that_share_a_path(many: str, method: str, path: str, status: int) -> None:
    """What 300 sources store and refuse is the same on LocalStack, those that share a path included."""
    import http.client

    connection = http.client.HTTPConnection(urlsplit(str(ENDPOINT)).netloc, timeout=60)
    connection.request(method, many + path, body=b"{}" if method == "POST" else None)
    response = connection.getresponse()
    document = json.loads(response.read())
    connection.close()
    assert response.status == status, document
    if status != 200:
        return
    kinesis = place.at_endpoint(str(ENDPOINT), STACK).client("kinesis")
    (shard,) = kinesis.list_shards(StreamName=f"{STACK}-many")["Shards"]
    start = kinesis.get_shard_iterator(
        StreamName=f"{STACK}-many", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    records = kinesis.get_records(ShardIterator=start["ShardIterator"])["Records"]
    envelope = next(found for record in records if (found := decode(record["Data"])).request_id == document["id"])
    assert (envelope.source, envelope.key) == (path.split("/")[2], "a-key" if "key" in path else "")

"""An engine answers programs that name the session's key; no web page, and no other user, reads or changes anything."""

from __future__ import annotations

import http.client
import json

import pytest
from botocore.config import Config

from tests.support import aws
from weir.infra.local.engine.engine import Engine

pytestmark = pytest.mark.engine

GET = json.dumps({"Name": "/weir/guarded", "WithDecryption": True}).encode()
UNSIGNED = {"X-Amz-Target": "AmazonSSM.GetParameter", "Content-Type": "application/x-amz-json-1.1"}


def signed(access_key: str) -> str:
    scope = f"{access_key}/20260101/us-east-1/ssm/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"


TARGET = {**UNSIGNED, "Authorization": signed(aws.ACCESS_KEY)}


def ask(
    engine: Engine, headers: dict[str, str], body: bytes = GET, method: str = "POST", path: str = "/"
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.fixture
def secret(engine: Engine) -> str:
    aws.client("ssm", engine.endpoint).put_parameter(
        Name="/weir/guarded", Value="whsec_real", Type="SecureString", Overwrite=True
    )
    return "whsec_real"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.evil.example"},
        {"Host": "rebound.evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
    ],
)
def test_a_web_page_reads_and_changes_nothing(engine: Engine, secret: str, headers: dict[str, str]) -> None:
    """Cross-site and rebound requests are refused, preflights and resets too; the data is as it was."""
    given = {name: value.format(port=engine.port) for name, value in headers.items()}
    for method, path, body in (("POST", "/", GET), ("OPTIONS", "/", b""), ("POST", "/_ministack/reset", b"")):
        status, answered, text = ask(engine, {**TARGET, **given}, body, method, path)
        assert status == 403
        assert secret.encode() not in text
        assert not [name for name in answered if name.startswith("access-control-")]
    assert secret.encode() in ask(engine, TARGET)[2]


def test_a_program_is_answered_and_no_origin_may_read_it(engine: Engine, secret: str) -> None:
    """Both names of loopback with the port work, and no answer has a CORS header."""
    for host in (f"127.0.0.1:{engine.port}", f"localhost:{engine.port}", f"LOCALHOST:{engine.port}"):
        status, answered, text = ask(engine, {**TARGET, "Host": host})
        assert (status, secret.encode() in text) == (200, True)
        assert not [name for name in answered if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "path", ["/_ministack/reset", "//_ministack/reset", "/%5Fministack/reset", "/_ministack/config"]
)
def test_controls_of_the_engine_are_closed(engine: Engine, secret: str, path: str) -> None:
    """No program resets or changes an engine; only its health answers."""
    assert ask(engine, {}, b"", path=path)[0] == 403
    assert ask(engine, {}, b"", "GET", "/_ministack/health")[0] == 200
    assert secret.encode() in ask(engine, TARGET)[2]


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({}, "/"),
        ({"Authorization": signed("")}, "/"),
        ({"Authorization": signed("test")}, "/"),
        ({"Authorization": signed(f"{aws.ACCESS_KEY}x")}, "/"),
        ({"Authorization": signed(aws.ACCESS_KEY[:-1])}, "/"),
        ({"Authorization": "AWS weir:c2lnbmF0dXJl"}, "/"),
        ({"Authorization": "Basic d2Vpcjp3ZWly"}, "/"),
        ({"Authorization": "Credential=/"}, "/"),
        ({"Authorization": signed("\xff\xfe")}, "/"),
        ({}, "/?X-Amz-Credential=test%2F20260101%2Fus-east-1%2Fssm%2Faws4_request"),
        ({"Authorization": signed(aws.ACCESS_KEY)}, "/?X-Amz-Credential=test%2F20260101"),
        ({"Authorization": signed(aws.ACCESS_KEY)}, "/?a;x-amz-%63redential=test"),
        ({"Authorization": signed("test")}, f"/?X-Amz-Credential={aws.ACCESS_KEY}%2F20260101"),
        ({}, "/bucket/key"),
        ({}, "/000000000000/queue?Action=ReceiveMessage"),
    ],
)
def test_another_user_of_the_machine_reads_and_changes_nothing(
    engine: Engine, secret: str, headers: dict[str, str], path: str
) -> None:
    """A call that does not name the session's access key, or another one beside it, is refused whatever it asks for."""
    for method, body in (("POST", GET), ("GET", b""), ("PUT", b"x"), ("DELETE", b""), ("HEAD", b"")):
        status, _, text = ask(engine, {**UNSIGNED, **headers}, body, method, path)
        assert status == 403
        assert secret.encode() not in text
    assert secret.encode() in ask(engine, TARGET)[2]


def test_two_headers_that_name_keys_are_refused(engine: Engine, secret: str) -> None:
    """The second of two Authorization headers cannot name another key than the first."""
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=10)
    connection.putrequest("POST", "/")
    for name, value in ({**TARGET, "Content-Length": str(len(GET))}).items():
        connection.putheader(name, value)
    connection.putheader("authorization", signed("test"))
    connection.endheaders(GET)
    answer = connection.getresponse()
    assert (answer.status, secret.encode() in answer.read()) == (403, False)
    connection.close()


def test_a_presigned_address_names_the_key(engine: Engine) -> None:
    """What boto3 presigns with the session's key is answered, with another one it is not."""
    s3 = aws.client("s3", engine.endpoint, Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    s3.create_bucket(Bucket="presigned")
    s3.put_object(Bucket="presigned", Key="a/b", Body=b"content")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "a/b"})
    path = url.removeprefix(engine.endpoint)
    assert ask(engine, {}, b"", "GET", path)[::2] == (200, b"content")
    other = path.replace(f"Credential={aws.ACCESS_KEY}", "Credential=AKIAOTHER")
    assert other != path
    assert ask(engine, {}, b"", "GET", other)[0] == 403

"""An engine answers programs of this machine; a web page in the browser gets nothing and changes nothing."""

from __future__ import annotations

import http.client
import json

import pytest

from tests.support import aws
from weir.infra.local.engine.engine import Engine

pytestmark = pytest.mark.engine

GET = json.dumps({"Name": "/weir/guarded", "WithDecryption": True}).encode()
TARGET = {"X-Amz-Target": "AmazonSSM.GetParameter", "Content-Type": "application/x-amz-json-1.1"}


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

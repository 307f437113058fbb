"""An HTTP address as the target, and `weir listen`."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http_server import Server
from tests.support.stack_env import StackEnv
from weir.infra.local.engine.engine import free_port
from weir.ingest.envelope import Envelope, encode
from weir.ingest.errors import OptionInvalid, TargetUnavailable
from weir.ingest.ids import RequestId, SourceName
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.preview import Previewer
from weir.operate.replay.targets.to_http import ToHttp


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


def delivered(url: str, *envelopes: Envelope, **options: Any) -> list[tuple[str, str]]:
    target = ToHttp(url, Previewer({}), patience_s=options.pop("patience_s", 5.0), **options)
    try:
        deliveries = [Delivery(encode(one), "file", str(n)) for n, one in enumerate(envelopes)]
        return [tuple(one) for one in target.deliver(deliveries, [False] * len(deliveries), None)]  # type: ignore[misc]
    finally:
        target.close()


def envelope(body: bytes, *headers: tuple[str, str], key: str = "", query: dict[str, str] | None = None) -> Envelope:
    given = (("Host", "api.example"), ("Content-Length", str(len(body))), ("Connection", "close"), *headers)
    return Envelope(
        RequestId("req-1"),
        1_700_000_000_000,
        SourceName("stripe"),
        key,
        "192.0.2.1",
        "/v1/stripe",
        query or {},
        given,
        body,
    )


def test_bytes_headers_and_query_arrive_as_they_came(server: Server) -> None:
    """Body, own headers (Latin-1 bytes too) and query are the sender's; what names the connection is new."""
    body = bytes(range(256))
    headers = (("Stripe-Signature", "t=1,v1=ab"), ("X-Odd", "caf\xe9 'quoted' $x"), ("Content-Type", "text/plain; a=b"))
    sent = envelope(body, *headers, key="acct 1", query={"a b": "c&d"})
    assert delivered(f"{server.url}/hooks/{{source}}/{{key}}?own=1", sent) == [("delivered", "")]
    path, found, received = server.requests[0]
    assert path == "/hooks/stripe/acct%201?own=1&a+b=c%26d"
    assert received == body
    kept = {name: value for name, value in found if name not in {"Host", "Content-Length"}}
    assert kept == dict(headers)
    assert dict(found)["Host"] == f"127.0.0.1:{server.port}"


def test_an_encoding_that_the_gateway_has_undone_is_not_claimed(server: Server) -> None:
    """A body that is not gzip any more loses its Content-Encoding; one that is keeps it."""
    import gzip

    plain, packed = envelope(b"{}{}", ("Content-Encoding", "gzip")), gzip.compress(b"x")
    delivered(server.url, plain, envelope(packed, ("Content-Encoding", "gzip")))
    assert ["Content-Encoding" in dict(headers) for _, headers, _ in server.requests] == [False, True]


def test_an_answer_that_is_no_2xx_is_a_failure_and_does_not_stop_the_rest(server: Server) -> None:
    """Each refused delivery is counted with its status."""
    server.status = 422
    assert delivered(server.url, envelope(b"1"), envelope(b"2")) == [("failed", "HTTP 422")] * 2


def test_a_server_that_comes_late_misses_nothing_and_one_that_never_comes_ends_it() -> None:
    """While nothing answers it says so and waits; after its patience it gives up with a sentence."""
    port = free_port()
    said: list[str] = []
    started: list[Server] = []
    timer = threading.Timer(1.0, lambda: started.append(Server(port)))
    timer.start()
    try:
        assert delivered(f"http://127.0.0.1:{port}/", envelope(b"late"), say=said.append) == [("delivered", "")]
    finally:
        timer.join()
        started[0].close()
    assert said[0].startswith("not delivering: ")
    assert said[-1].startswith("delivering again, after ")
    with pytest.raises(TargetUnavailable):
        delivered(f"http://127.0.0.1:{port}/", envelope(b"never"), patience_s=0.3)
    with pytest.raises(OptionInvalid):
        ToHttp("ftp://x", Previewer({}), patience_s=1)


@pytest.mark.parametrize("key", ["..", ".", "../../admin", "a/../../b", "..\\admin", "x/."])
def test_no_key_leaves_its_part_of_the_path(server: Server, key: str) -> None:
    """A key with a dot segment fails and the next delivery arrives; a slash in a key is quoted."""
    url, one = f"{server.url}/hooks/{{source}}/{{key}}", "a source or key with '.' or '..' as a part of a path"
    assert delivered(url, envelope(b"", key=key), envelope(b"", key="a/b?c#d%2e;{source}\r\n")) == [
        ("failed", one),
        ("delivered", ""),
    ]
    assert [path for path, _, _ in server.requests] == ["/hooks/stripe/a%2Fb%3Fc%23d%252e%3B%7Bsource%7D%0D%0A"]


def test_a_sender_does_not_choose_the_host() -> None:
    """An address whose host or port holds a placeholder is refused."""
    for url in ("http://{key}/", "http://{source}.localhost/", "http://127.0.0.1:3000@{key}/"):
        with pytest.raises(OptionInvalid):
            ToHttp(url, Previewer({}), patience_s=1)


TRUSTED = (
    "Authorization",
    "Cookie",
    "X-Forwarded-For",
    "x_forwarded_host",
    "Forwarded",
    "Via",
    "X-HTTP-Method-Override",
)
CONNECTION = ("Transfer-Encoding", "Proxy-Authorization", "Upgrade", "TE", "X-Hop")


@pytest.mark.parametrize("all_headers", [False, True])
def test_headers_that_servers_trust_stay_behind_unless_asked_for(server: Server, all_headers: bool) -> None:
    """Credentials and forwarding headers need --all-headers; what belongs to one connection never goes on."""
    given = [(name, "x") for name in (*TRUSTED, *CONNECTION, "X-Signature")]
    delivered(server.url, envelope(b"{}", *given, ("Connection", "x, X-Hop")), all_headers=all_headers)
    kept = {name for name, _ in server.requests[0][1]} - {"Host", "Content-Length"}
    assert kept == {"X-Signature", *(TRUSTED if all_headers else ())}


ILLEGAL = [
    (" X", "1"),
    ("X:Y", "1"),
    ("X\tY", "1"),
    ("X-\xe9", "1"),
    ("A", "a\rb"),
    ("A", "a\r\n b"),
    ("A", "\0"),
]


@pytest.mark.parametrize(("name", "value"), ILLEGAL)
def test_a_header_that_http_does_not_allow_fails_its_delivery_only(server: Server, name: str, value: str) -> None:
    """It is counted as failed, none of it is sent, and the next delivery arrives whole."""
    seen: list[int | None] = []
    results = delivered(
        server.url, envelope(b"1", (name, value)), envelope(b"2"), answered=lambda _, status, __: seen.append(status)
    )
    assert [kind for kind, _ in results] == ["failed", "delivered"]
    assert results[0][1].endswith("that HTTP does not allow")
    assert [body for _, _, body in server.requests] == [b"2"]
    assert seen == [None, 200]


def test_an_address_that_http_does_not_allow_fails_the_delivery(server: Server) -> None:
    """A blank in the address, and letters that are not ASCII, are counted at once."""
    assert delivered(f"{server.url}/a b", envelope(b"")) == [("failed", "an address that HTTP does not allow")]
    assert delivered(f"{server.url}/\xe9", envelope(b"")) == [("failed", "an address that HTTP does not allow")]


def test_a_redirection_is_not_followed(server: Server) -> None:
    """302 with a Location is a failure, and nothing is asked there."""
    server.status, server.location = 302, f"{server.url}/elsewhere"
    assert delivered(f"{server.url}/here", envelope(b"1")) == [
        ("failed", "HTTP 302: a redirection, which is not followed")
    ]
    assert [path for path, _, _ in server.requests] == ["/here"]


def test_a_delivery_that_ends_its_connection_holds_up_no_other(server: Server) -> None:
    """What a server takes and never answers has failed after a few tries, however patient the replay is."""
    server.silent = b"poison"
    results = delivered(server.url, envelope(b"poison"), envelope(b"good"), patience_s=None, sleep=lambda _: None)
    assert results == [("failed", "no answer, though the server took it"), ("delivered", "")]
    assert [body for _, _, body in server.requests].count(b"good") == 1


@pytest.mark.engine
def test_listen_forwards_what_arrives_and_resumes_where_it_stopped(stack_env: StackEnv) -> None:
    """Off for a while, server down for a while: every delivery that fits arrives, in order; older ones do not."""
    stack_env.put(stack_env.payment("before", 1))
    time.sleep(0.01)
    port = free_port()
    arguments = ("listen", "--to", f"http://127.0.0.1:{port}/{{source}}", "--type", "payment.*")

    def listening() -> Any:
        running = stack_env.start(*arguments)
        assert running.stdout
        for line in running.stdout:
            if b"forwarding to" in line:
                return running
        raise AssertionError(running.wait())

    def stop(running: Any) -> str:
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=20)
        assert running.returncode == 0, out
        return str(out.decode())

    def wait_for(server: Server, count: int) -> list[str]:
        deadline = time.monotonic() + 20
        while len(server.requests) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return [json.loads(body)["data"]["account"] for _, _, body in server.requests]

    server = Server(port)
    running = listening()
    stack_env.put(stack_env.payment("one", 1), stack_env.delivery({"type": "other"}), stack_env.payment("two", 1))
    assert wait_for(server, 2) == ["one", "two"]
    assert stop(running).count("-> 200") == 2
    stack_env.put(stack_env.payment("three", 1))
    running = listening()
    assert wait_for(server, 3) == ["one", "two", "three"]
    server.close()
    stack_env.put(stack_env.payment("four", 1))
    assert running.stdout
    line = b""
    while b"not delivering" not in line:
        line = running.stdout.readline()
    server = Server(port)
    assert wait_for(server, 1) == ["four"]
    assert stop(running).splitlines()[-1] == "stopped: 4 delivered in all, 0 answered otherwise"
    server.close()
    assert stack_env.events() == {}

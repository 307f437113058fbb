"""What Weir opens by itself stays at the host that was checked."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest

from weir.ingest.errors import CertificateAbsent
from weir.ingest.opener import open_url
from weir.ingest.schemes.crypto.certificate_cache import CertificateCache
from weir.operate.subscriptions import ask

ROOT = Path(__file__).parents[2]


class Redirecting:
    """Answers a status that its path says, with the address of another path of its own."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(int(self.path[1:4]))
                self.send_header("Location", f"{outer.url}/200")
                self.send_header("Content-Length", "7")
                self.end_headers()
                self.wfile.write(b"content")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def redirecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Redirecting]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Redirecting()
    yield server
    server.close()


def test_an_answer_is_given_as_it_is(redirecting: Redirecting) -> None:
    """A 2xx is returned with its content."""
    with open_url(f"{redirecting.url}/200", timeout_s=5) as answer:
        assert (answer.status, answer.read()) == (200, b"content")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_no_redirect_is_followed(redirecting: Redirecting, status: int) -> None:
    """By the opener, by a certificate's fetch and by a subscription's confirmation."""
    with pytest.raises(HTTPError) as refused:
        open_url(f"{redirecting.url}/{status}", timeout_s=5)
    assert refused.value.code == status
    refused.value.close()
    assert ask(f"{redirecting.url}/{status}") == (status, "content")

    def get(url: str) -> bytes:  # as the cache gets it, but for https
        with open_url(url, timeout_s=5) as answer:
            return answer.read()

    with pytest.raises(CertificateAbsent):
        CertificateCache(lambda: 0.0, get).fetch(f"{redirecting.url}/{status}")
    assert redirecting.asked == [f"/{status}"] * 3


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1:1/x", "data:text/plain,x", "gopher://x"])
def test_only_http_is_opened(url: str) -> None:
    """Nothing else that urllib could open."""
    with pytest.raises(URLError):
        open_url(url, timeout_s=1)


def test_nothing_else_opens_urls() -> None:
    """No file of the product but the opener uses urllib's request functions."""
    found = {
        path.relative_to(ROOT).as_posix()
        for room in ("cli", "consumers", "infra", "ingest", "loadtest", "operate")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(name.name == "urllib.request" for name in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "urllib.request")
    }
    assert found == {"ingest/opener.py"}

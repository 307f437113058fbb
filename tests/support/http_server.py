"""A web server of somebody's own on loopback, which keeps the requests that it gets."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """Keeps what it is sent, answers ``status`` and closes each connection."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[tuple[str, list[tuple[str, str]], bytes]] = []
        self.status = 200
        self.location = ""
        self.silent: bytes | None = None  # a body that gets no answer: its connection is closed
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.requests.append((self.path, self.headers.items(), body))
                if body == kept.silent:
                    self.close_connection = True
                    return
                self.send_response(kept.status)
                self.send_header("Content-Length", "0")
                if kept.location:
                    self.send_header("Location", kept.location)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

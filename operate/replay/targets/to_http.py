"""An HTTP address as the target: each delivery as it came, its bytes, headers and query, one after the other.

What names a connection (Host, Connection, lengths) is the new connection's own. API Gateway unpacks a compressed body
before it is stored; a Content-Encoding that is no longer true is left out.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlencode, urlsplit

from weir.ingest.envelope import Envelope
from weir.ingest.errors import OptionInvalid, TargetUnavailable
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.times import show_duration
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.ports import Result, Stopped
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.waits import backoff_s, rest

_OWN_HEADERS = frozenset(
    ("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
_MAGIC = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "deflate": b"\x78", "identity": b""}
_BACKOFF_MAX_S = 10.0
_PATIENCE_S = 60.0


class ToHttp:
    """Posts to an address; ``{source}`` and ``{key}`` in it are the delivery's own.

    Any answer counts: 2xx is delivered, another one failed. While nothing answers at all it says so and tries again,
    for ``patience_s`` or, with None, until it is stopped; the delivery is not lost, since the replay does not go on.
    """

    batch_count = 1

    def __init__(
        self,
        url: str,
        previewer: Previewer,
        *,
        patience_s: float | None,
        timeout_s: float = 30.0,
        say: Callable[[str], object] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], object] = time.sleep,
        answered: Callable[[Delivery, int, float], object] = lambda *_: None,
    ) -> None:
        if not _is_address(url):
            raise OptionInvalid(
                f"{url!r} is not an HTTP address; write it as http://127.0.0.1:3000/webhooks/{{source}}."
            )
        self.label = url
        self._url = url
        self._previewer = previewer
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._say, self._stopped, self._sleep = say, stopped, sleep
        self.answered = answered
        self._connection: http.client.HTTPConnection | None = None
        self._silent = ""  # why nothing answers, once that has been said

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:  # noqa: ARG002 - the port
        """Post each and wait for its answer."""
        return [self._deliver(delivery) for delivery in deliveries]

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _deliver(self, delivery: Delivery) -> Result:
        envelope = self._previewer.preview(delivery).envelope
        if envelope is None:
            return Result("failed", "no envelope: it has no headers and no path")
        began_s = time.monotonic()
        status = self._post_patiently(envelope)
        self.answered(delivery, status, time.monotonic() - began_s)
        redirects = ": a redirection, which is not followed" if 300 <= status < 400 else ""
        return Result("delivered") if 200 <= status < 300 else Result("failed", f"HTTP {status}{redirects}")

    def _post_patiently(self, envelope: Envelope) -> int:
        began_s, attempt = time.monotonic(), 0
        while True:
            try:
                status = self._post(envelope)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                reason = str(error) or type(error).__name__
            else:
                if self._silent:
                    self._silent = ""
                    self._say(f"delivering again, after {show_duration(time.monotonic() - began_s)}")
                return status
            attempt += 1
            waited_s = time.monotonic() - began_s
            if self._patience_s is not None and waited_s > self._patience_s:
                raise TargetUnavailable(f"{self._url}: {reason}", waited_s=round(waited_s))
            wait_s = backoff_s(attempt, longest_s=_BACKOFF_MAX_S)
            # Not worth a line: a connection that the server had closed meanwhile, and the same reason again.
            if attempt > 1 and reason != self._silent:
                self._silent = reason
                self._say(f"not delivering: {self._url} does not answer ({reason}); trying again until it does")
            self._rest(wait_s)

    def _rest(self, wait_s: float) -> None:
        if not rest(wait_s, stopped=self._stopped, sleep=self._sleep):
            raise Stopped

    def _post(self, envelope: Envelope) -> int:
        parts = urlsplit(self._url.replace("{source}", quote(envelope.source)).replace("{key}", quote(envelope.key)))
        query = "&".join(filter(None, (parts.query, urlencode(envelope.query))))
        if self._connection is None:
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(parts.netloc, timeout=self._timeout_s)
        connection = self._connection
        connection.putrequest("POST", (parts.path or "/") + (f"?{query}" if query else ""), skip_accept_encoding=True)
        for name, value in _headers(envelope):
            connection.putheader(name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        connection.putheader("Content-Length", str(len(envelope.body)))
        connection.endheaders(envelope.body)
        response = connection.getresponse()
        response.read()
        return response.status


def make(context: ReplayContext, request: ReplayRequest) -> ToHttp:
    """Return an address as the target of a replay; one that is followed waits for its server until it is stopped.

    Raises: OptionInvalid.
    """
    patience_s = None if request.follow else _PATIENCE_S
    console = context.console
    return ToHttp(request.target, context.previewer, patience_s=patience_s, say=console.say, stopped=console.stopped)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number
        return False


def _headers(envelope: Envelope) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in envelope.headers
        if name.lower() not in _OWN_HEADERS
        and not (name.lower() == "content-encoding" and _is_unpacked(envelope, value))
    ]


def _is_unpacked(envelope: Envelope, encoding: str) -> bool:
    magic = _MAGIC.get(encoding.strip().lower())
    return magic is not None and not envelope.body.startswith(magic)

"""An HTTP address as the target: each delivery as it came, its bytes, headers and query, one after the other.

What names a connection (Host, Connection, lengths) is the new connection's own. API Gateway unpacks a compressed body
before it is stored; a Content-Encoding that is no longer true is left out.

Everything in a delivery is its sender's choice, and often no proof was asked for yet. So what a sender writes never
changes where it goes, and headers that servers trust (who called, from where, instead of which path) stay behind
unless all headers are asked for.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote, urlencode, urlsplit

from weir.ingest.envelope import Envelope
from weir.ingest.errors import OptionInvalid, TargetUnavailable
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.times import show_duration
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.ports import Result, Stopped
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.waits import backoff_s, rest

# Of one connection only: RFC 9110, section 7.6.1, and what `http.client` writes itself.
_OWN_HEADERS = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
# What a server may take for the word of a proxy in front of it, or for its own client's credentials.
_TRUSTED_HEADERS = frozenset(
    (
        "authorization",
        "cf-connecting-ip",
        "client-ip",
        "cookie",
        "cookie2",
        "fastly-client-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-host",
        "x-http-host-override",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-host",
        "x-original-url",
        "x-real-ip",
        "x-rewrite-url",
    )
)
_TRUSTED_PREFIXES = ("x-forwarded-", "x-amzn-", "cloudfront-")
# RFC 9110, sections 5.1 and 5.5: a token; visible characters, blanks, tabs, and bytes above ASCII.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_MAGIC = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "deflate": b"\x78", "identity": b""}
_BACKOFF_MAX_S = 10.0
_PATIENCE_S = 60.0


# A server that takes connections and answers this one delivery not at all, so often: the others must not wait for it.
_ANSWERLESS_MAX = 3


class _Unsendable(Exception):
    """A delivery that cannot be written as an HTTP request to this address; its text says why, in our words only."""


class _NotReachedError(Exception):
    """No connection could be made; its text says why."""


class ToHttp:
    """Posts to an address; ``{source}`` and ``{key}`` in it are the delivery's own.

    Any answer counts: 2xx is delivered, another one failed. While nothing takes a connection it says so and tries
    again, for ``patience_s`` or, with None, until it is stopped; the delivery is not lost, since the replay does not go
    on. A delivery that HTTP cannot carry failed, too, and one that the server takes again and again without an answer;
    ``answered`` gets None in place of the status. Redirections are not followed. ``all_headers``: send also the headers
    of `_TRUSTED_HEADERS`.
    """

    batch_count = 1

    def __init__(
        self,
        url: str,
        previewer: Previewer,
        *,
        patience_s: float | None,
        timeout_s: float = 30.0,
        all_headers: bool = False,
        say: Callable[[str], object] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], object] = time.sleep,
        answered: Callable[[Delivery, int | None, float], object] = lambda *_: None,
    ) -> None:
        if not _is_address(url):
            raise OptionInvalid(
                f"{url!r} is not an HTTP address; write it as http://127.0.0.1:3000/webhooks/{{source}}, "
                "with no {source} or {key} in host and port: a sender chooses them."
            )
        self.label = url
        self._url = url
        self._previewer = previewer
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._all_headers = all_headers
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
        envelope = self._previewer.envelope(delivery)
        if envelope is None:
            return Result("failed", "no envelope: it has no headers and no path")
        began_s = time.monotonic()
        try:
            status = self._post_patiently(envelope)
        except _Unsendable as error:
            self.close()  # it may hold a request that was begun
            self.answered(delivery, None, time.monotonic() - began_s)
            return Result("failed", str(error))
        self.answered(delivery, status, time.monotonic() - began_s)
        redirects = ": a redirection, which is not followed" if 300 <= status < 400 else ""
        return Result("delivered") if 200 <= status < 300 else Result("failed", f"HTTP {status}{redirects}")

    def _post_patiently(self, envelope: Envelope) -> int:
        began_s, attempt, answerless = time.monotonic(), 0, 0
        while True:
            try:
                status = self._post(envelope)
            except (_NotReachedError, OSError, http.client.HTTPException) as error:
                self.close()
                reason = str(error) or type(error).__name__
                answerless += not isinstance(error, _NotReachedError)
                if answerless > _ANSWERLESS_MAX:  # the first may have been a connection that was closed meanwhile
                    raise _Unsendable("no answer, though the server took it") from error
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
        address = _filled(self._url, envelope)
        headers = [one for one in _headers(envelope) if self._all_headers or not _is_trusted(one[0])]
        connection = self._connect()
        try:
            connection.putrequest("POST", address, skip_accept_encoding=True)
        except (http.client.InvalidURL, UnicodeError) as error:
            raise _Unsendable("an address that HTTP does not allow") from error
        for name, value in headers:
            connection.putheader(*_header(name, value))
        connection.putheader("Content-Length", str(len(envelope.body)))
        connection.endheaders(envelope.body)
        response = connection.getresponse()
        response.read()
        return response.status

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            parts = urlsplit(self._url)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            connection = kind(parts.netloc, timeout=self._timeout_s)
            try:
                connection.connect()
            except (OSError, http.client.HTTPException) as error:
                raise _NotReachedError(str(error) or type(error).__name__) from error
            self._connection = connection
        return self._connection


def make(context: ReplayContext, request: ReplayRequest) -> ToHttp:
    """Return an address as the target of a replay; one that is followed waits for its server until it is stopped.

    Raises: OptionInvalid.
    """
    patience_s = None if request.follow else _PATIENCE_S
    console = context.console
    return ToHttp(
        request.target,
        context.previewer,
        patience_s=patience_s,
        all_headers=request.all_headers,
        say=console.say,
        stopped=console.stopped,
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_fixed = "{source}" not in parts.netloc and "{key}" not in parts.netloc
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and is_fixed
    except ValueError:  # the port is not a number
        return False


def _filled(url: str, envelope: Envelope) -> str:
    """Return path and query of an address with the delivery's own source, key and query. Raises: _Unsendable."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (_with_names(parts.query, envelope), urlencode(envelope.query, errors="replace"))))
    path = "/".join(_with_names(part, envelope) for part in parts.path.split("/"))
    if path != parts.path and any(_climbs(part) for part in path.split("/")):
        raise _Unsendable("a source or key with '.' or '..' as a part of a path")
    return (path or "/") + (f"?{query}" if query else "")


def _with_names(text: str, envelope: Envelope) -> str:
    """Fill in source and key, in one pass and without a character that separates parts of an address."""
    names = {"{source}": envelope.source, "{key}": envelope.key}
    return re.sub(r"\{source\}|\{key\}", lambda found: quote(names[found[0]], safe="", errors="replace"), text)


def _climbs(part: str) -> bool:
    """Tell whether a server that decodes %2F before it reads the path could leave a folder by this part."""
    return bool({".", ".."} & set(re.split(r"[/\\]", unquote(part))))


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    """Return a header as bytes. Raises: _Unsendable; `http.client` lets folded lines and NUL pass."""
    if not _NAME.fullmatch(name):
        raise _Unsendable("a header's name that HTTP does not allow")
    if not _VALUE.fullmatch(value):
        raise _Unsendable("a header's value that HTTP does not allow")
    return name.encode("ascii"), value.encode("latin-1", "replace")


def _is_trusted(name: str) -> bool:
    """Tell whether servers trust a header of this name; CGI and WSGI read an underscore as a hyphen."""
    plain = name.strip().lower().replace("_", "-")
    return plain in _TRUSTED_HEADERS or plain.startswith(_TRUSTED_PREFIXES)


def _headers(envelope: Envelope) -> list[tuple[str, str]]:
    own = _OWN_HEADERS | _named_by_connection(envelope)
    return [
        (name, value)
        for name, value in envelope.headers
        if name.lower().replace("_", "-") not in own
        and not (name.lower() == "content-encoding" and _is_unpacked(envelope, value))
    ]


def _named_by_connection(envelope: Envelope) -> set[str]:
    values = [value for name, value in envelope.headers if name.lower() == "connection"]
    return {token.strip().lower() for value in values for token in value.split(",")}


def _is_unpacked(envelope: Envelope, encoding: str) -> bool:
    magic = _MAGIC.get(encoding.strip().lower())
    return magic is not None and not envelope.body.startswith(magic)

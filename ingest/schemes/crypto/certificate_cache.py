"""Fetches certificates from URLs that `parts.certificates` has allowed, keeps them, and asks as rarely as possible.

A certificate that is kept is used as long as the process lives: providers give a new one a new URL. Keys that an
issuer publishes change at one URL: they are read again when they lack the key that is wanted, but not within
`RENEW_S`, and when they are `LIFE_S` old. A URL without a certificate is remembered too. A forger who invents URLs
causes at most `MAX_FETCHES_PER_MINUTE` requests, and meanwhile deliveries under certificates already kept are verified
as usual.

The delivery chose the URL, and nothing of it is proven. So what fails because of the URL is the delivery's own fault,
and it does not wait: a shard would wait with it. Only when the provider's host itself fails may waiting help.
"""

from __future__ import annotations

import contextlib
import socket
import urllib.error
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from weir.ingest.errors import CertificateAbsent, CertificateUnavailable
from weir.ingest.opener import open_url

TIMEOUT_S = 3.0
MAX_BYTES = 64 * 1024
MAX_FETCHES_PER_MINUTE = 20
MAX_KEPT = 256
# For how long a host that did not answer is not asked again: each question may take the time-out.
PAUSE_S = 10.0
# How long keys of an issuer are believed to be all that it has, and to be its own.
RENEW_S, LIFE_S = 60.0, 6 * 3600.0
_NOTHING_THERE = {400, 403, 404, 410}
_REDIRECTS = range(300, 400)  # the host that was checked has no certificate there
_UNKNOWN_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}  # BSD has no EAI_NODATA

# Returns what is at a URL, None if that cannot be a certificate. Raises: OSError.
Get = Callable[[str], bytes | None]


class CertificateCache:
    """A `Fetch` for `signatures.verify`. ``clock_s`` is monotonic; ``get`` raises OSError as `urllib` does."""

    def __init__(self, clock_s: Callable[[], float], get: Get | None = None) -> None:
        self._clock_s = clock_s
        self._get = get or _get
        self._kept: dict[str, bytes | None] = {}
        self._asked_s: deque[float] = deque(maxlen=MAX_FETCHES_PER_MINUTE)
        self._silent_since_s: dict[str, float] = {}
        self._read_s: dict[str, float] = {}

    def fetch(self, url: str) -> bytes:
        """Return the PEM certificate at ``url``; of ``URL#NAME`` what is at the URL, fresh if it lacks the name.

        Raises: CertificateAbsent when there is none, or too many were asked for; CertificateUnavailable when the host
        does not answer.
        """
        url, _, name = url.partition("#")
        if url not in self._kept:
            self._keep(url, self._ask(url))
        elif name and self._is_stale(url, name):
            self._renew(url)
        found = self._kept[url]
        if found is None:
            raise CertificateAbsent("There is no certificate at the certificate's URL.")
        return found

    def _is_stale(self, url: str, name: str) -> bool:
        is_there = name.encode("utf-8", "surrogatepass") in (self._kept[url] or b"")
        return self._clock_s() - self._read_s[url] >= (LIFE_S if is_there else RENEW_S)

    def _renew(self, url: str) -> None:
        """Read a URL again; what is kept stays if that fails: anyone can invent a name."""
        self._read_s[url] = self._clock_s()
        with contextlib.suppress(CertificateAbsent, CertificateUnavailable):
            self._kept[url] = self._ask(url) or self._kept[url]

    def _ask(self, url: str) -> bytes | None:
        host = urlsplit(url).netloc
        self._spend(host)
        try:
            return self._get(url)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _NOTHING_THERE or error.code in _REDIRECTS:
                return None
            raise CertificateUnavailable(status=error.code) from error
        except OSError as error:
            if _is_unknown_name(error):
                raise CertificateAbsent("The certificate's host does not exist.") from error
            self._silent_since_s[host] = self._clock_s()
            raise CertificateUnavailable(f"{error}.", host=host) from error

    def _spend(self, host: str) -> None:
        """Count one request. Raises: CertificateAbsent after too many, CertificateUnavailable soon after a failure."""
        now_s = self._clock_s()
        if now_s - self._silent_since_s.get(host, -PAUSE_S) < PAUSE_S:
            raise CertificateUnavailable(host=host)
        if len(self._asked_s) == MAX_FETCHES_PER_MINUTE and now_s - self._asked_s[0] < 60:
            raise CertificateAbsent("Too many certificates were requested within a minute.")
        self._asked_s.append(now_s)

    def _keep(self, url: str, found: bytes | None) -> None:
        if len(self._kept) >= MAX_KEPT:
            misses = [known for known, content in self._kept.items() if content is None]
            for known in misses or list(self._kept)[:1]:
                del self._kept[known], self._read_s[known]
        self._kept[url], self._read_s[url] = found, self._clock_s()


def _is_unknown_name(error: OSError) -> bool:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return isinstance(cause, socket.gaierror) and cause.errno in _UNKNOWN_NAME


def _get(url: str) -> bytes | None:
    if not url.startswith("https://"):
        return None
    with open_url(url, timeout_s=TIMEOUT_S) as answer:
        content: bytes = answer.read(MAX_BYTES + 1)
    return content if len(content) <= MAX_BYTES else None

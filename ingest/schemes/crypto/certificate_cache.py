"""Fetches certificates from URLs that `parts.certificates` has allowed, keeps them, and asks as rarely as possible.

A certificate that is kept is used as long as the process lives: providers give a new one a new URL. A URL
without a certificate is remembered too. A forger who invents URLs causes at most `MAX_FETCHES_PER_MINUTE` requests, and
meanwhile deliveries under certificates already kept are verified as usual.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable

from weir.ingest.errors import SecretUnavailable, SignatureMalformed

TIMEOUT_S = 3.0
MAX_BYTES = 64 * 1024
MAX_FETCHES_PER_MINUTE = 20
MAX_KEPT = 256

Get = Callable[[str], bytes]


class CertificateCache:
    """A `Fetch` for `signatures.verify`. ``clock_s`` is monotonic; ``get`` raises OSError as `urllib` does."""

    def __init__(self, clock_s: Callable[[], float], get: Get | None = None) -> None:
        self._clock_s = clock_s
        self._get = get or _get
        self._kept: dict[str, bytes | None] = {}
        self._asked_s: deque[float] = deque(maxlen=MAX_FETCHES_PER_MINUTE)

    def fetch(self, url: str) -> bytes:
        """Return the PEM certificate at ``url``.

        Raises: SignatureMalformed when there is none; SecretUnavailable when it cannot be fetched now.
        """
        if url not in self._kept:
            self._keep(url, self._ask(url))
        found = self._kept[url]
        if found is None:
            raise SignatureMalformed("There is no certificate at the certificate's URL.")
        return found

    def _ask(self, url: str) -> bytes | None:
        now_s = self._clock_s()
        if len(self._asked_s) == MAX_FETCHES_PER_MINUTE and now_s - self._asked_s[0] < 60:
            raise SecretUnavailable("Too many certificates were requested within a minute.")
        self._asked_s.append(now_s)
        try:
            return self._get(url)
        except urllib.error.HTTPError as error:
            if error.code in {400, 403, 404, 410}:
                return None
            raise SecretUnavailable("The certificate could not be fetched.", status=error.code) from error
        except OSError as error:
            raise SecretUnavailable(f"The certificate could not be fetched: {error}.") from error

    def _keep(self, url: str, found: bytes | None) -> None:
        if len(self._kept) >= MAX_KEPT:
            misses = [known for known, content in self._kept.items() if content is None]
            for known in misses or list(self._kept)[:1]:
                del self._kept[known]
        self._kept[url] = found


def _get(url: str) -> bytes:
    if not url.startswith("https://"):
        raise OSError("not https")
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - https only, and allowed by pattern
        content: bytes = answer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(f"more than {MAX_BYTES} bytes")
    return content

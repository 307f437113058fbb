"""The one way in which Weir opens a URL by itself: at the host that was checked, and nowhere else.

A redirect would lead from a host that was checked to one that was not, so it is an error. Files, FTP and data URLs are
not opened.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from http.client import HTTPResponse

_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.UnknownHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
)


def open_url(url: str, *, timeout_s: float, body: bytes | None = None, headers: Mapping[str, str] = {}) -> HTTPResponse:
    """Open an HTTP or HTTPS URL and return its answer, which is 2xx; close it after use. A ``body`` is POSTed.

    Raises: HTTPError, with the answer, for every other status, redirects too; OSError when there is no answer.
    """
    director = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        director.add_handler(handler())
    request = urllib.request.Request(url, body, dict(headers))  # noqa: S310 - there is no handler of other schemes
    return cast("HTTPResponse", director.open(request, timeout=timeout_s))

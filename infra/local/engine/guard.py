"""Who may call an engine: programs that can read the state of the stack, and no web page.

Any page in the developer's browser can send requests to loopback. A browser says so: `Origin` and `Sec-Fetch-Site` are
headers that a page can neither set nor remove (Fetch Standard, forbidden request-headers), and the name that a page was
loaded from, where DNS points it to loopback later, stays in `Host`.

Other users of this machine reach loopback, too. A call is answered only if it names the access key of the session,
which is random and in a file that its owner alone can read. MiniStack checks no signature, so the key's id is the
whole secret here.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote_plus

from weir.infra.local.asgi import App, Receive, Scope, Send

_HEALTH = "/_ministack/health"
_OF_BROWSERS = frozenset((b"origin", b"sec-fetch-site"))
_CORS = b"access-control-"
# How Signature Version 4 names the key, in the header and in a presigned URL.
# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
_CREDENTIAL = b"Credential="
_QUERY_CREDENTIAL = "x-amz-credential"
_REFUSAL = (
    b"This engine answers only programs that name the access key of the session (`weir env`), and no web page; "
    b"its own controls are closed.\n"
)


class Guard:
    """ASGI middleware in front of an engine: 403 for what is not a client of this session.

    Refused are requests of web pages, another ``Host`` than 127.0.0.1 or localhost with this ``port``, paths of
    MiniStack's own but its health, and calls that do not name ``access_key``, or another one beside it. No answer
    allows another origin to read it.
    """

    def __init__(self, app: App, port: int, access_key: str) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._access_key = access_key.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif self._is_allowed(scope):
            await self._app(scope, receive, _without_cors(send))
        else:
            await _refuse(send)

    def _is_allowed(self, scope: Scope) -> bool:
        hosts, keys = [], []
        for name, value in scope["headers"]:
            if name in _OF_BROWSERS:
                return False
            if name == b"host":
                hosts.append(value.lower())
            elif name == b"authorization":
                keys.append(_key_in(value))
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return False
        if scope["path"].lstrip("/").startswith("_"):
            return bool(scope["path"] == _HEALTH)
        keys += _keys_in_query(scope["query_string"])
        return bool(keys) and all(hmac.compare_digest(key, self._access_key) for key in keys)


def _key_in(authorization: bytes) -> bytes:
    """Return the access key that an Authorization header names, empty if it names none."""
    _, found, rest = authorization.partition(_CREDENTIAL)
    return rest.partition(b"/")[0] if found else b""


def _keys_in_query(query: bytes) -> Iterable[bytes]:
    """Return the access keys that a query string names."""
    if b"=" not in query:
        return []
    pairs = (part.partition("=") for part in query.decode("latin-1").replace(";", "&").split("&"))
    named = (unquote_plus(value) for name, _, value in pairs if unquote_plus(name).lower() == _QUERY_CREDENTIAL)
    return [value.partition("/")[0].encode("utf-8", "replace") for value in named]


def _without_cors(send: Send) -> Send:
    async def without(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if not name.lower().startswith(_CORS)]
            message = {**message, "headers": kept}
        await send(message)

    return without


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(_REFUSAL)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSAL})

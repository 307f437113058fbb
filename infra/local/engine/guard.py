"""Who may call an engine: programs on this machine that mean it, and no web page.

Any page in the developer's browser can send requests to loopback. A browser says so: `Origin` and `Sec-Fetch-Site` are
headers that a page can neither set nor remove (Fetch Standard, forbidden request-headers), and the name that a page was
loaded from, where DNS points it to loopback later, stays in `Host`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from weir.infra.local.asgi import App, Receive, Scope, Send

_HEALTH = "/_ministack/health"
_OF_BROWSERS = frozenset((b"origin", b"sec-fetch-site"))
_CORS = b"access-control-"
_REFUSAL = b"This engine answers only programs on this machine, not web pages; its own controls are closed.\n"


class Guard:
    """ASGI middleware in front of an engine: 403 for what is not a client of this session.

    Refused are requests of web pages, another ``Host`` than 127.0.0.1 or localhost with this ``port``, and paths of
    MiniStack's own but its health. No answer allows another origin to read it.
    """

    def __init__(self, app: App, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}

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
        names = [name for name, _ in scope["headers"]]
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if _OF_BROWSERS & set(names) or len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return False
        return scope["path"] == _HEALTH or not scope["path"].lstrip("/").startswith("_")


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

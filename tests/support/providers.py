"""All known providers as sources, and the questions that they ask before they send."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from tests.support.deliveries import URL
from weir.ingest.sources import presets

# (path, body, headers, method) -> status, headers with names in lower case, body
Post = Callable[..., tuple[int, dict[str, str], bytes]]

# One API holds about thirty sources, so the providers share out over stacks.
STACKS = 5
PARTS = [presets.names()[at::STACKS] for at in range(STACKS)]


def write_sources(path: Path, names: list[str]) -> Path:
    lines = []
    for name in names:
        preset = presets.preset(name)
        lines += [f"{name}:", f"  preset: {name}"]
        lines += [f"  url: {URL}{name}"] if preset.scheme.needs_url else []
        lines += ["  handshake_function: true"] if any(one.needs_code for one in preset.handshakes) else []
    path.write_text("\n".join([*lines, ""]))
    return path


def ask(name: str, key: str, post: Post) -> None:
    """Ask a provider's question and check the answer, by its documentation; ``key`` is what it signs with."""
    if name in {"meta", "whatsapp", "dropbox"}:
        query = "challenge=c%26h" if name == "dropbox" else "hub.mode=subscribe&hub.challenge=c%26h&hub.verify_token=t"
        status, headers, body = post(f"/v1/{name}?{query}", b"", method="GET")
        assert (status, body, headers["content-type"]) == (200, b"c&h", "text/plain")
        assert headers["x-content-type-options"] == "nosniff"
        assert post(f"/v1/{name}", b"", method="GET")[0] == 405
    elif name == "microsoft-graph":
        status, headers, body = post(f"/v1/{name}/key?validationToken=a+b", b"")
        assert (status, headers["content-type"], body) == (200, "text/plain", b"a b")
    elif name == "asana":
        status, headers, body = post(f"/v1/{name}", b"{}", {"x-hook-secret": "b537"})
        assert (status, headers["x-hook-secret"], body) == (200, "b537", b"")
    elif name == "okta":
        _, _, body = post(f"/v1/{name}", b"", {"x-okta-verification-challenge": "abc"}, method="GET")
        assert json.loads(body) == {"verification": "abc"}
    elif name in {"trello", "mandrill"}:
        assert post(f"/v1/{name}", b"", method="HEAD")[0] == 200
    elif name == "front":
        asked = {"type": "sync", "authorization": {"id": "cmp_abc"}}
        headers = {"Content-Type": "application/json", "X-Front-Challenge": "a1B2"}
        assert json.loads(post(f"/v1/{name}", json.dumps(asked).encode(), headers)[2]) == {"challenge": "a1B2"}
    elif name == "worldline":
        status, headers, body = post(f"/v1/{name}", b"", {"X-GCS-Webhooks-Endpoint-Verification": "c-1"}, method="GET")
        assert (status, headers["content-type"], body) == (200, "text/plain", b"c-1")
    elif name == "x":
        _, _, body = post(f"/v1/{name}?crc_token=foo", b"", method="GET")
        digest = b64encode(hmac.new(key.encode(), b"foo", hashlib.sha256).digest()).decode()
        assert json.loads(body) == {"response_token": f"sha256={digest}"}
    elif name == "zoom":
        asked = {"event": "endpoint.url_validation", "payload": {"plainToken": "plain"}}
        _, _, body = post(f"/v1/{name}", json.dumps(asked).encode(), {"Content-Type": "application/json"})
        digest = hmac.new(key.encode(), b"plain", hashlib.sha256).hexdigest()
        assert json.loads(body) == {"plainToken": "plain", "encryptedToken": digest}
    elif name == "braintree":
        public, _, private = key.partition("|")
        challenge = "20f9f8ed05f77439fe955c977e4c8a53"
        _, headers, body = post(f"/v1/{name}?bt_challenge={challenge}", b"", method="GET")
        digest = hmac.new(hashlib.sha1(private.encode()).digest(), challenge.encode(), hashlib.sha1).hexdigest()
        assert (headers["content-type"], body.decode()) == ("text/plain", f"{public}|{digest}")
    elif name in {"slack", "monday"}:
        asked = {"type": "url_verification", "challenge": "3eZ"}
        _, _, body = post(f"/v1/{name}", json.dumps(asked).encode(), {"Content-Type": "application/json"})
        assert body in (b"3eZ", b'{"challenge":"3eZ"}')
    else:  # they send wrong signatures on purpose
        asked = {"discord": {"type": 0}, "xero": {"events": [], "entropy": "x"}, "twitch": {"challenge": "c"}}[name]
        kind = {"Twitch-Eventsub-Message-Type": "webhook_callback_verification", "x-xero-signature": "AAAA"}
        headers = {"Content-Type": "application/json", **kind}
        assert post(f"/v1/{name}", json.dumps(asked).encode(), headers)[0] == 401

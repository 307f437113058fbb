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
# post, path of the source, key
Ask = Callable[[Post, str, str], None]
JSON = {"Content-Type": "application/json"}

# One API holds about thirty sources, so the providers share out over stacks.
STACKS = 8
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


def _echoes_a_query(post: Post, path: str, query: str) -> None:
    status, headers, body = post(f"{path}?{query}", b"", method="GET")
    assert (status, body, headers["content-type"]) == (200, b"c&h", "text/plain")
    assert headers["x-content-type-options"] == "nosniff"
    assert post(path, b"", method="GET")[0] == 405


def _meta(post: Post, path: str, _key: str) -> None:
    _echoes_a_query(post, path, "hub.mode=subscribe&hub.challenge=c%26h&hub.verify_token=t")


def _dropbox(post: Post, path: str, _key: str) -> None:
    _echoes_a_query(post, path, "challenge=c%26h")


def _microsoft_graph(post: Post, path: str, _key: str) -> None:
    status, headers, body = post(f"{path}/key?validationToken=a+b", b"")
    assert (status, headers["content-type"], body) == (200, "text/plain", b"a b")


def _asana(post: Post, path: str, _key: str) -> None:
    status, headers, body = post(path, b"{}", {"x-hook-secret": "b537"})
    assert (status, headers["x-hook-secret"], body) == (200, "b537", b"")


def _okta(post: Post, path: str, _key: str) -> None:
    _, _, body = post(path, b"", {"x-okta-verification-challenge": "abc"}, method="GET")
    assert json.loads(body) == {"verification": "abc"}


def _nylas(post: Post, path: str, _key: str) -> None:
    _echoes_a_query(post, path, "challenge=c%26h")


def _sharepoint(post: Post, path: str, _key: str) -> None:
    status, headers, body = post(f"{path}?validationtoken=a+b", b"")
    assert (status, headers["content-type"], body) == (200, "text/plain", b"a b")


def _oura(post: Post, path: str, _key: str) -> None:
    _, _, body = post(f"{path}?verification_token=t&challenge=abc", b"", method="GET")
    assert json.loads(body) == {"challenge": "abc"}


def _ringcentral(post: Post, path: str, _key: str) -> None:
    status, headers, body = post(path, b"", {"Validation-Token": "a-b"})
    assert (status, headers["validation-token"], body) == (200, "a-b", b"")


def _adobe_sign(post: Post, path: str, _key: str) -> None:
    _, headers, body = post(path, b"", {"X-AdobeSign-ClientId": "UB7E5BXCXY"}, method="GET")
    assert (headers["x-adobesign-clientid"], json.loads(body)) == ("UB7E5BXCXY", {"xAdobeSignClientId": "UB7E5BXCXY"})


def _bitbucket(post: Post, path: str, _key: str) -> None:
    status, _, body = post(path, b'{"test":true}', {**JSON, "X-Event-Key": "diagnostics:ping"})
    assert (status, body) == (200, b"")


def _get(post: Post, path: str, _key: str) -> None:
    assert post(path, b"", method="GET")[0] == 200


def _linkedin(post: Post, path: str, key: str) -> None:
    code = "890e4665-4dfe-4ab1-b689-ed553bceeed0"
    _, _, body = post(f"{path}?challengeCode={code}", b"", method="GET")
    digest = hmac.new(key.encode(), code.encode(), hashlib.sha256).hexdigest()
    assert json.loads(body) == {"challengeCode": code, "challengeResponse": digest}


def _smartcar(post: Post, path: str, key: str) -> None:
    question = {"eventId": "1", "eventType": "VERIFY", "data": {"challenge": "4c9e78bb"}}
    _, _, body = post(path, json.dumps(question).encode(), JSON)
    assert json.loads(body) == {"challenge": hmac.new(key.encode(), b"4c9e78bb", hashlib.sha256).hexdigest()}


def _tebex(post: Post, path: str, _key: str) -> None:
    question = {"id": "2a8dc1c3", "type": "validation.webhook", "subject": {}}
    assert json.loads(post(path, json.dumps(question).encode(), JSON)[2]) == {"id": "2a8dc1c3"}


def _head(post: Post, path: str, _key: str) -> None:
    assert post(path, b"", method="HEAD")[0] == 200


def _front(post: Post, path: str, _key: str) -> None:
    question = {"type": "sync", "authorization": {"id": "cmp_abc"}}
    answer = post(path, json.dumps(question).encode(), {**JSON, "X-Front-Challenge": "a1B2"})
    assert json.loads(answer[2]) == {"challenge": "a1B2"}


def _azure_event_grid(post: Post, path: str, _key: str) -> None:
    asked = [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6"}}]
    assert json.loads(post(path, json.dumps(asked).encode(), JSON)[2]) == {"validationResponse": "512d38b6"}
    question = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}
    status, headers, _ = post(path, b"", question, method="OPTIONS")
    assert (status, headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")
    assert headers["webhook-allowed-rate"] == "*"
    assert post(path, b"", method="OPTIONS")[0] == 405


def _worldline(post: Post, path: str, _key: str) -> None:
    status, headers, body = post(path, b"", {"X-GCS-Webhooks-Endpoint-Verification": "c-1"}, method="GET")
    assert (status, headers["content-type"], body) == (200, "text/plain", b"c-1")


def _x(post: Post, path: str, key: str) -> None:
    _, _, body = post(f"{path}?crc_token=foo", b"", method="GET")
    digest = b64encode(hmac.new(key.encode(), b"foo", hashlib.sha256).digest()).decode()
    assert json.loads(body) == {"response_token": f"sha256={digest}"}


def _zoom(post: Post, path: str, key: str) -> None:
    question = {"event": "endpoint.url_validation", "payload": {"plainToken": "plain"}}
    _, _, body = post(path, json.dumps(question).encode(), JSON)
    digest = hmac.new(key.encode(), b"plain", hashlib.sha256).hexdigest()
    assert json.loads(body) == {"plainToken": "plain", "encryptedToken": digest}


def _braintree(post: Post, path: str, key: str) -> None:
    public, _, private = key.partition("|")
    challenge = "20f9f8ed05f77439fe955c977e4c8a53"
    _, headers, body = post(f"{path}?bt_challenge={challenge}", b"", method="GET")
    digest = hmac.new(hashlib.sha1(private.encode()).digest(), challenge.encode(), hashlib.sha1).hexdigest()
    assert (headers["content-type"], body.decode()) == ("text/plain", f"{public}|{digest}")


def _url_verification(post: Post, path: str, _key: str) -> None:
    question = {"type": "url_verification", "challenge": "3eZ"}
    _, _, body = post(path, json.dumps(question).encode(), JSON)
    assert body in (b"3eZ", b'{"challenge":"3eZ"}')


def _refused(question: dict[str, object], headers: dict[str, str] | None = None) -> Ask:
    """Return a question of a provider that sends wrong signatures on purpose: the answer is 401."""

    def ask_it(post: Post, path: str, _key: str) -> None:
        assert post(path, json.dumps(question).encode(), {**JSON, **(headers or {})})[0] == 401

    return ask_it


QUESTIONS: dict[str, Ask] = {
    "adobe-sign": _adobe_sign,
    "asana": _asana,
    "azure-event-grid": _azure_event_grid,
    "bitbucket": _bitbucket,
    "braintree": _braintree,
    "circle": _head,
    "clio": _asana,
    "discord": _refused({"type": 0}),
    "dropbox": _dropbox,
    "front": _front,
    "linkedin": _linkedin,
    "mailchimp": _get,
    "mandrill": _head,
    "meta": _meta,
    "microsoft-graph": _microsoft_graph,
    "monday": _url_verification,
    "nylas": _nylas,
    "okta": _okta,
    "oura": _oura,
    "ringcentral": _ringcentral,
    "sharepoint": _sharepoint,
    "smartcar": _smartcar,
    "slack": _url_verification,
    "tebex": _tebex,
    "trello": _head,
    "twitch": _refused({"challenge": "c"}, {"Twitch-Eventsub-Message-Type": "webhook_callback_verification"}),
    "whatsapp": _meta,
    "worldline": _worldline,
    "x": _x,
    "xero": _refused({"events": [], "entropy": "x"}, {"x-xero-signature": "AAAA"}),
    "zoom": _zoom,
}


def ask(name: str, key: str, post: Post) -> None:
    """Ask a provider's question and check the answer, by its documentation; ``key`` is what it signs with."""
    QUESTIONS[name](post, f"/v1/{name}", key)

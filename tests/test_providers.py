"""Every known provider end to end: its sample sent as it sends, stored, proven and settled; its question asked."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import place, sender
from infra.signing_keys import signing_key
from ingest import presets, sources
from ingest.sources import Catalogue
from tests.support.deliveries import URL
from tests.support.running import Running, running

# One API holds about thirty sources, so the providers share out over stacks.
STACKS = 4
PARTS = [presets.names()[at::STACKS] for at in range(STACKS)]
SETTLED_S = 60.0


def write_sources(path: Path, names: list[str]) -> Path:
    lines = []
    for name in names:
        preset = presets.preset(name)
        lines += [f"{name}:", f"  preset: {name}"]
        lines += [f"  url: {URL}{name}"] if preset.scheme.needs_url else []
        lines += ["  handshake_function: true"] if any(one.needs_code for one in preset.handshakes) else []
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.fixture(scope="module", params=range(STACKS))
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, list[str]]]:
    folder, names = tmp_path_factory.mktemp("providers"), PARTS[request.param]
    file = write_sources(folder / "sources.yaml", names)
    with running(folder / "home", WEIR_SOURCES=str(file)) as started:
        yield started, names


def catalogue_of(started: Running) -> Catalogue:
    return sources.load(started.environment["WEIR_SOURCES"])


def test_every_sample_is_stored_proven_and_settled(stack: tuple[Running, list[str]]) -> None:
    """What `weir send` posts for each provider is acknowledged as it demands; each event ends applied or ignored."""
    started, names = stack
    where, known = place.embedded(started.home), catalogue_of(started)
    sent = {}
    for name in names:
        one = sender.send(where, known, name, body=None, key="", times=1, tamper=False)
        (answer,) = one.answers
        ack = known[name].ack
        assert answer.status == (ack.status if ack else 200), (name, answer)
        assert answer.body == (ack.body if ack else f'{{"id":"{answer.request_id}"}}'), name
        assert one.event_ids, name
        sent[name] = one
    ids = {name: one.ids_of(one.answers[0].request_id or "") for name, one in sent.items()}
    wanted = {(name, event_id) for name in ids for event_id in ids[name]}
    deadline = time.monotonic() + SETTLED_S
    while True:
        stored = started.events()
        if len(stored) >= len(wanted) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert {event["outcome"] for event in stored} <= {"applied", "ignored"}, [
        (event["source"], event["reason"], event["detail"]) for event in stored if event["outcome"] == "quarantined"
    ]
    assert {(event["source"], event["event_id"]) for event in stored} == wanted


def test_batches_became_events(stack: tuple[Running, list[str]]) -> None:
    """Each event of a batch has an id and an outcome of its own, under one request."""
    started, names = stack
    split = {name for name in names if presets.preset(name).event.split}
    stored = [event for event in started.events() if event["source"] in split]
    assert {event["source"] for event in stored} == split
    for name in split:
        events = [event for event in stored if event["source"] == name]
        assert len({event["request_id"] for event in events}) == 1
        assert len({event["event_id"] for event in events}) == len(events)


def ask(started: Running, name: str) -> None:
    """Ask a provider's question and check the answer, by its documentation."""
    key = signing_key(place.embedded(started.home), catalogue_of(started)[name])
    if name in {"meta", "whatsapp", "dropbox"}:
        query = "challenge=c%26h" if name == "dropbox" else "hub.mode=subscribe&hub.challenge=c%26h&hub.verify_token=t"
        status, headers, body = started.post(f"/v1/{name}?{query}", b"", method="GET")
        assert (status, body, headers["content-type"]) == (200, b"c&h", "text/plain")
        assert headers["x-content-type-options"] == "nosniff"
        assert started.post(f"/v1/{name}", b"", method="GET")[0] == 405
    elif name == "microsoft-graph":
        status, headers, body = started.post(f"/v1/{name}/key?validationToken=a+b", b"")
        assert (status, headers["content-type"], body) == (200, "text/plain", b"a b")
    elif name == "asana":
        status, headers, body = started.post(f"/v1/{name}", b"{}", {"x-hook-secret": "b537"})
        assert (status, headers["x-hook-secret"], body) == (200, "b537", b"")
    elif name == "okta":
        _, _, body = started.post(f"/v1/{name}", b"", {"x-okta-verification-challenge": "abc"}, method="GET")
        assert json.loads(body) == {"verification": "abc"}
    elif name == "trello":
        assert started.post(f"/v1/{name}", b"", method="HEAD")[0] == 200
    elif name == "x":
        _, _, body = started.post(f"/v1/{name}?crc_token=foo", b"", method="GET")
        digest = b64encode(hmac.new(key.encode(), b"foo", hashlib.sha256).digest()).decode()
        assert json.loads(body) == {"response_token": f"sha256={digest}"}
    elif name == "zoom":
        asked = {"event": "endpoint.url_validation", "payload": {"plainToken": "plain"}}
        _, _, body = started.post(f"/v1/{name}", json.dumps(asked).encode(), {"Content-Type": "application/json"})
        digest = hmac.new(key.encode(), b"plain", hashlib.sha256).hexdigest()
        assert json.loads(body) == {"plainToken": "plain", "encryptedToken": digest}
    elif name in {"slack", "monday"}:
        asked = {"type": "url_verification", "challenge": "3eZ"}
        _, _, body = started.post(f"/v1/{name}", json.dumps(asked).encode(), {"Content-Type": "application/json"})
        assert body in (b"3eZ", b'{"challenge":"3eZ"}')
    else:  # they send wrong signatures on purpose
        asked = {"discord": {"type": 0}, "xero": {"events": [], "entropy": "x"}, "twitch": {"challenge": "c"}}[name]
        kind = {"Twitch-Eventsub-Message-Type": "webhook_callback_verification", "x-xero-signature": "AAAA"}
        headers = {"Content-Type": "application/json", **kind}
        assert started.post(f"/v1/{name}", json.dumps(asked).encode(), headers)[0] == 401


def test_every_question_is_answered(stack: tuple[Running, list[str]]) -> None:
    """Before it sends, each provider that asks gets its answer from the listening gateway, under both its paths."""
    started, names = stack
    for name in names:
        if presets.preset(name).handshakes:
            ask(started, name)


def test_nothing_acknowledged_is_unaccounted_for(stack: tuple[Running, list[str]]) -> None:
    """After all of that the account closes: what was answered 2xx to a POST is stored, questions too."""
    started, _ = stack
    deadline = time.monotonic() + SETTLED_S
    while True:
        done = started.call("account", "--json")
        if done.returncode == 0 or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_providers_without_a_source_are_told_how(tmp_path: Path) -> None:
    """`weir send` of a provider that is no source is refused by the gateway and says how to add it; adding it works."""
    file = tmp_path / "sources.yaml"
    file.write_text("github:\n  preset: github\n")
    with running(tmp_path / "home", WEIR_SOURCES=str(file)) as started:
        done = started.call("send", "stripe")
        assert done.returncode == 1
        assert done.stdout.startswith(b"404 ")
        assert b"weir sources add stripe" in done.stderr
        assert started.call("sources", "add", "stripe").returncode == 0
    with running(tmp_path / "home", WEIR_SOURCES=str(file)) as started:
        assert started.weir("send", "stripe").startswith("200 ")
        checked = started.weir("sources", "check")
        assert "stripe" in checked
        assert "1 live in ssm" in checked

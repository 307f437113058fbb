"""Every known provider end to end: its sample sent as it sends, stored, proven and settled; its question asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.providers import PARTS, STACKS, ask, write_sources
from tests.support.running import Running, running
from weir.infra import place, sender
from weir.infra.signing_keys import signing_key
from weir.ingest.sources import presets, sources_file
from weir.ingest.sources.catalogue import Catalogue

SETTLED_S = 60.0


@pytest.fixture(scope="module", params=range(STACKS))
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, list[str]]]:
    folder, names = tmp_path_factory.mktemp("providers"), PARTS[request.param]
    file = write_sources(folder / "sources.yaml", names)
    with running(folder / "home", WEIR_SOURCES=str(file)) as started:
        yield started, names


def catalogue_of(started: Running) -> Catalogue:
    return sources_file.load(started.environment["WEIR_SOURCES"])


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
        assert one.identities, name
        sent[name] = one
    ids = {name: one.identities_of(one.answers[0].request_id or "") for name, one in sent.items()}
    wanted = {f"{name}#{identity}" for name in ids for identity in ids[name]}
    deadline = time.monotonic() + SETTLED_S
    while True:
        stored = started.events()
        if len(stored) >= len(wanted) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert {event["outcome"] for event in stored} <= {"applied", "ignored"}, [
        (event["source"], event["reason"], event["detail"]) for event in stored if event["outcome"] == "quarantined"
    ]
    assert {event["pk"] for event in stored} == wanted


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


def test_an_ordering_key_in_the_url_is_signed_with_it(stack: tuple[Running, list[str]]) -> None:
    """Providers that sign their URL sign the ordering key at its end, too."""
    started, names = stack
    where, known = place.embedded(started.home), catalogue_of(started)
    for name in names:
        if known[name].scheme.needs_url:
            sender.send(where, known, name, body=None, key="shop 7", times=1, tamper=False)
    deadline = time.monotonic() + SETTLED_S
    wanted = sum(known[name].scheme.needs_url for name in names)
    while True:
        keyed = [event for event in started.events() if event["key"] == "shop 7"]
        if len(keyed) >= wanted or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert len(keyed) >= wanted
    assert {event["outcome"] for event in keyed} <= {"applied", "ignored"}


def test_every_question_is_answered(stack: tuple[Running, list[str]]) -> None:
    """Before it sends, each provider that asks gets its answer from the listening gateway, under both its paths."""
    started, names = stack
    where, known = place.embedded(started.home), catalogue_of(started)
    for name in names:
        if presets.preset(name).handshakes:
            ask(name, signing_key(where, known[name]), started.post)


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
    """`weir send` of a provider without a source is refused by the gateway and says how to add it; adding it works."""
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

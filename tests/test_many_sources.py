"""300 sources in one stack: the last ones share a path, and are as well kept as the first."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.running import Running, github, running

pytestmark = pytest.mark.engine

SECRET = "It's a Secret to Everybody"
BODY = b'{"zen": "one of many"}'
OWN, SHARED = "shop-000", "shop-299"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("many")
    sources = "".join(f"shop-{number:03}: {{preset: github}}\n" for number in range(300))
    (home / "many.yaml").write_text(sources, encoding="utf-8")
    with running(home, WEIR_SOURCES=str(home / "many.yaml")) as started:
        for name in (OWN, SHARED):
            started.weir("secrets", "set", name, text=SECRET)
        yield started


def test_each_source_stores_what_is_its_own(stack: Running) -> None:
    """A signed delivery of the first source and of the last, with a key and without, has its outcome there."""
    sent: dict[str, str] = {}
    for name in (OWN, SHARED):
        for path in (f"/v1/{name}", f"/v1/{name}/order%2F7"):
            body = json.dumps({"zen": path}).encode()
            status, _, answer = stack.post(path, body, github(SECRET, body, f"{name}-{len(sent)}"))
            assert status == 200, answer
            sent[json.loads(answer)["id"]] = name
    events = {event["request_id"]: event for event in stack.settled(len(sent))}
    assert {request_id: event["source"] for request_id, event in events.items()} == sent
    assert {event["outcome"] for event in events.values()} == {"ignored"}
    account = json.loads(stack.weir("account", "--since", "1h", "--json"))
    assert (account["acknowledged"], account["unaccounted"]) == (4, 0)


@pytest.mark.parametrize(
    "path", ["/v1/shop-300", "/v1/shop", "/v1/SHOP-299", "/v1/shop-298%2Fshop-299", "/v1/%24source", "/v1/shop-300/key"]
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_what_is_not_a_source_is_refused_at_the_door(stack: Running, path: str, method: str) -> None:
    """An unknown name is 404 under any method, and nothing of it is stored."""
    before = len(stack.events())
    status, _, answer = stack.post(path, BODY if method == "POST" else b"", {}, method)
    assert (status, json.loads(answer)["error"]) == (404, "not_found")
    assert len(stack.events()) == before


def test_other_refusals_are_as_everywhere(stack: Running) -> None:
    """415, 413, 405 and the refusals of keys are those of a source with paths of its own."""
    for name in (OWN, SHARED):
        assert stack.post(f"/v1/{name}", b"x", {"Content-Type": "application/x-unheard-of"})[0] == 415
        assert stack.post(f"/v1/{name}", b"x" * 1_200_000)[0] == 413
        assert stack.post(f"/v1/{name}/{'k' * 300}", b"{}")[0] == 400
        status, headers, _ = stack.post(f"/v1/{name}", b"", method="DELETE")
        assert (status, headers["allow"]) == (405, "POST")


def test_the_check_says_who_shares(stack: Running) -> None:
    """`weir sources check` says how many share the path, and of each source in JSON."""
    assert "sources share the path /v1/{source}" in stack.weir("sources", "check")
    lines = map(json.loads, stack.weir("sources", "check", "--json").splitlines())
    shares = {line["source"]: line["shares_path"] for line in lines}
    assert (len(shares), shares[OWN], shares[SHARED]) == (300, False, True)

"""A replay's request as data: what a checkpoint keeps of it, and what is read of one that an earlier Weir wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stack_env import StackEnv
from weir.ingest.envelope import encode
from weir.ingest.errors import OptionInvalid
from weir.operate.replay.checkpoint import load
from weir.operate.replay.listen import listening
from weir.operate.replay.request import ReplayRequest

TEXTS = st.lists(st.text(max_size=8), max_size=3).map(tuple)
TIMES = st.none() | st.integers(0, 2**53)
REQUESTS = st.builds(
    ReplayRequest,
    origin=st.text(max_size=9),
    target=st.text(max_size=9),
    sources=TEXTS,
    types=TEXTS,
    ids=TEXTS,
    keys=TEXTS,
    outcomes=TEXTS,
    reasons=TEXTS,
    where=TEXTS,
    since_ms=TIMES,
    until_ms=TIMES,
    ends_ms=TIMES,
    shards=TEXTS,
    first_sequence=st.text(max_size=9),
    last_sequence=st.text(max_size=9),
    rate_per_s=st.none() | st.floats(0.1, 1e6),
    dry_run=st.booleans(),
    diff=st.booleans(),
    plain=st.booleans(),
    follow=st.booleans(),
    stack=st.text(max_size=9),
)
# As commit 8986f6a wrote it: without "follow", which only listeners had.
OLD: dict[str, Any] = {
    "from": "stream",
    "to": "consumer",
    "since_ms": 1,
    "until_ms": 2,
    "ends_ms": 3,
    "rate_per_s": 50.0,
    "first_sequence": "",
    "last_sequence": "",
    "dry_run": False,
    "diff": False,
    "plain": False,
    "sources": ["stripe", "pay*"],
    "types": [],
    "ids": ["b", "a"],
    "keys": [],
    "outcomes": ["missing"],
    "reasons": [],
    "where": ["$.a > 1"],
    "shards": ["shardId-000000000003"],
    "place": "this machine, /srv/weir",
}
REPORT = {"read": 0, "matched": 0, "counts": {}, "reasons": {}}


def checkpoint(path: Path, asked: dict[str, Any], **state: Any) -> Path:
    document = {
        "version": 1,
        "asked": asked,
        "done": False,
        "cursor": {},
        "report": REPORT,
        "target": {},
        "pending": {"since_ms": None, "lanes": {}},
    }
    path.write_text(json.dumps({**document, **state}))
    return path


@given(REQUESTS)
def test_a_request_comes_back_from_a_checkpoint_as_it_was(request: ReplayRequest) -> None:
    """Every field survives the file's JSON."""
    assert ReplayRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """The names in the file are those that earlier versions wrote; what they had not yet has its default."""
    request = load(checkpoint(tmp_path / "old.json", OLD)).request
    assert (request.origin, request.target, request.stack) == ("stream", "consumer", "this machine, /srv/weir")
    assert (request.since_ms, request.until_ms, request.ends_ms, request.rate_per_s) == (1, 2, 3, 50.0)
    assert request.wanted.sources == ("stripe", "pay*")
    assert request.wanted.ids == {"a", "b"}
    assert request.shards == ("shardId-000000000003",)
    assert not request.follow
    assert request.to_json() == {**OLD, "follow": False, "all_headers": False, "past_marks": False}


@pytest.mark.parametrize(
    "changed", [{"sources": "stripe"}, {"since_ms": "yesterday"}, {"dry_run": "no"}, {"from": None}, {"ids": [1]}]
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    """A file that was edited by hand is refused with a sentence, before anything is read."""
    with pytest.raises(OptionInvalid, match="not a checkpoint file: TypeError"):
        load(checkpoint(tmp_path / "edited.json", OLD | changed))


def test_a_listener_follows_the_stream_without_an_end() -> None:
    """`weir listen` begins now and ends when it is stopped."""
    request = listening({"target": "http://127.0.0.1:1/", "sources": ("a",)})
    assert (request.origin, request.until_ms, request.ends_ms, request.follow) == ("stream", None, None, True)
    assert request.since_ms is not None


@pytest.mark.engine
def test_a_replay_that_an_earlier_version_began_is_resumed(stack_env: StackEnv) -> None:
    """Its position, its filter and its report go on from where they were."""
    envelopes = [stack_env.payment("ann", 1, message_id=f"m-{number}") for number in range(5)]
    lines = [encode(one) for one in envelopes]
    source = stack_env.home / "five.jsonl"
    source.write_bytes(b"".join(lines))
    asked = OLD | {
        "from": str(source),
        "since_ms": None,
        "until_ms": None,
        "sources": ["pay*"],
        "ids": [],
        "outcomes": [],
        "where": [],
        "shards": [],
        "place": stack_env.context().label,
    }
    path = checkpoint(
        stack_env.home / "old.json",
        asked,
        cursor={"file": str(len(lines[0]) + len(lines[1]))},
        report={"read": 2, "matched": 2, "counts": {"applied": 2}, "reasons": {}},
    )
    report = json.loads(stack_env.weir("replay", "--resume", str(path), "--json").splitlines()[-1])
    assert (report["read"], report["applied"]) == (5, 5)
    assert stack_env.balances() == {"ann": {"EUR": 3, "events": 3}}
    assert load(path).is_done

"""What a replay refuses to be asked, and what it makes of a damaged file: sentences, never a traceback."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.ingest.envelope import Envelope, encode
from weir.ingest.errors import OptionInvalid
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.locations import View
from weir.operate.lookup.delivery import Delivery
from weir.operate.replay.filters import compile_test
from weir.operate.replay.options import check_resumed, request_of
from weir.operate.replay.origins.from_file import FromFile
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.targets import make_target
from weir.operate.replay.targets.to_file import ToFile

STREAM = {"origin": "stream", "target": "consumer"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--from is required"),
        ({"origin": "stream"}, "--to is required"),
        (STREAM | {"since": "1h", "until": "2h"}, "--until 2h is before --since 1h"),
        (STREAM | {"since": "yesterday"}, "'yesterday' is not a time"),
        (STREAM | {"diff": True}, "--diff works only with --dry-run"),
        (STREAM | {"plain": True}, "--plain works only with --to stream"),
        (STREAM | {"all_headers": True}, "--all-headers works only with --to an HTTP address"),
        ({"origin": "stream", "target": "stream", "dry_run": True}, "leave out --to stream"),
        (STREAM | {"reasons": ["nonsense"]}, "'nonsense'"),
        (STREAM | {"from_sequence": "abc", "shards": ["0"]}, "'abc' is not a sequence number"),
        (STREAM | {"from_sequence": "9", "to_sequence": "8", "shards": ["0"]}, "--to-sequence is before"),
        ({"origin": "archive", "target": "consumer", "shards": ["0"]}, "work only with --from stream"),
        ({"origin": "events", "target": "consumer", "to_sequence": "1"}, "work only with --from stream"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(options: dict[str, Any], said: str) -> None:
    """Each wrong request has a sentence that names what is wrong."""
    with pytest.raises(OptionInvalid, match=said):
        request_of(options)


def test_a_shard_may_be_named_by_the_number_that_lag_shows() -> None:
    """`--shard 3` is the shard that Kinesis calls shardId-000000000003; any other name is taken as it is."""
    found = request_of(STREAM | {"shards": ["3", "000000000004", "shardId-x"]})
    assert found.shards == ("shardId-000000000003", "shardId-000000000004", "shardId-x")


def test_only_what_can_be_changed_is_taken_by_a_replay_that_is_resumed() -> None:
    """The rate may be another; an option that would change nothing is refused."""
    check_resumed({"rate": 5.0, "origin": None, "sources": (), "dry_run": False})
    with pytest.raises(OptionInvalid, match="leave out --from, --source"):
        check_resumed({"origin": "stream", "sources": ("x",), "rate": 5.0})


@pytest.mark.engine
@pytest.mark.parametrize("name", ["consumers", "ftp://x/y", "http://127.0.0.1:99999/", "http://"])
def test_a_target_that_does_not_exist_is_refused(name: str, stack_env: StackEnv) -> None:
    """A typing mistake makes no file and waits for no server."""
    with pytest.raises(OptionInvalid, match=r"no target|not an HTTP address"):
        make_target(stack_env.context(), ReplayRequest(target=name, origin="stream"))


@pytest.mark.parametrize(
    ("test", "passes"),
    [
        ("$.n == 5", True),
        ("$.n = 5", True),
        ("$.n >= 6", False),
        ("$.kind == 'a b'", True),
        ('$.kind = "a b"', True),
        ("$.kind != a b", False),
        ("$.kind ~ a*", True),
        ("$.gone", False),
    ],
)
def test_comparisons_are_read_as_people_write_them(test: str, passes: bool) -> None:
    """One or two equals signs, with or without quotation marks."""
    body = b'{"n": 5, "kind": "a b"}'
    envelope = Envelope(
        RequestId("r"), 1, SourceName("s"), "", "", "/", {}, (("content-type", "application/json"),), body
    )
    assert compile_test(test)(View(envelope)) is passes


@pytest.mark.parametrize("test", ["$.n >>> 5", "$.n =! 5", "$.[", "n = 5"])
def test_a_comparison_that_is_none_is_refused(test: str) -> None:
    """It never matches nothing in silence."""
    with pytest.raises(OptionInvalid):
        compile_test(test)


def envelope(number: int) -> bytes:
    return encode(
        Envelope(
            RequestId(f"r-{number}"), 1_700_000_000_000 + number, SourceName("s"), "", "192.0.2.1", "/", {}, (), b"x"
        )
    )


def read(path: Path, said: list[str], position: str = "0") -> list[bytes]:
    steps = FromFile(path, said.append).read({"file": position})
    return [step.data for step in steps if isinstance(step, Delivery)]


def test_torn_lines_of_a_file_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    """Half a line, one written into another, and a record whose bytes are not base64 cost only themselves."""
    path, said = tmp_path / "torn.jsonl", list[str]()
    half = envelope(2)[:40]
    path.write_bytes(envelope(1) + half + envelope(3) + b"garbage\n" + b'{"raw":"!"}\n\n' + envelope(4).rstrip())
    assert read(path, said) == [envelope(1), envelope(3), envelope(4).rstrip()]
    assert "3 pieces are not deliveries" in said[0]
    assert FromFile(path).estimate().records == 6


def test_a_compressed_file_that_ends_early_gives_what_comes_before(tmp_path: Path) -> None:
    """Cut off in the middle it is reported; damaged in the middle it is refused: anything may have been altered."""
    path, said = tmp_path / "cut.jsonl.gz", list[str]()
    whole = gzip.compress(b"".join(map(envelope, range(3000))))
    path.write_bytes(whole[: len(whole) // 2])
    found = read(path, said)
    assert 100 < len(found) < 3000
    assert found == list(map(envelope, range(len(found))))
    assert "ends early" in said[0]
    path.write_bytes(whole[:-8] + bytes(8))
    with pytest.raises(OptionInvalid, match="corrupt"):
        read(path, said)


def test_a_file_that_cannot_be_written_is_told_before_anything_is_read(tmp_path: Path) -> None:
    """One that is there, one in a folder that is not, and a folder itself."""
    (tmp_path / "there").touch()
    for name in ("there", "no/such/folder", ""):
        with pytest.raises(OptionInvalid, match=r"exists already|cannot be written"):
            ToFile(tmp_path / name).check()


@pytest.mark.engine
def test_a_replay_of_an_unknown_source_has_no_answer_unless_it_finds_some(stack_env: StackEnv) -> None:
    """It says that the sources file has no such source and reads all the same: the source may be a former one."""
    stack_env.put(stack_env.payment("a", 1))
    out = stack_env.weir(
        "replay", "--from", "stream", "--source", "paymemts", "--to", str(stack_env.home / "a.jsonl"), code=2
    )
    assert "'paymemts'" in out
    assert "payments" in out
    found = stack_env.weir(
        *("replay", "--from", "stream", "--source", "former", "--source", "pay*", "--json"),
        *("--to", str(stack_env.home / "b.jsonl")),
    )
    assert json.loads(found.splitlines()[-1])["written"] == 1


@pytest.mark.engine
def test_a_checkpoint_file_of_another_stack_is_refused(stack_env: StackEnv) -> None:
    """Positions in another stream mean nothing here."""
    path = stack_env.home / "c.json"
    stack_env.weir("replay", "--from", "stream", "--to", str(stack_env.home / "out.jsonl"), "--checkpoint", str(path))
    state = json.loads(path.read_text())
    state["asked"]["place"] = "AWS, another-table"
    path.write_text(json.dumps(state))
    stack_env.weir("replay", "--resume", str(path), code=2)

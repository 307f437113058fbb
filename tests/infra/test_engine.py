"""The engine keeps what it answered: over a clean stop, over a kill, and never listens beyond loopback."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from tests.support import aws
from weir.infra.local.engine.engine import STORE_SERVICES, STREAM_SERVICES, Engine, divide
from weir.infra.local.engine.saved_state import SavedState
from weir.ingest.errors import StackFailed


def engine_in(state: Path, **options: Any) -> Engine:
    return Engine(state, access_key=aws.ACCESS_KEY, **options)


def client(engine: Engine, service: str, *, attempts: int = 5) -> Any:
    return aws.client(service, engine.endpoint, Config(retries={"total_max_attempts": attempts}))


def records(engine: Engine) -> list[bytes]:
    kinesis = client(engine, "kinesis")
    shard = kinesis.list_shards(StreamName="stream")["Shards"][0]["ShardId"]
    asked = {"StreamName": "stream", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**asked)["ShardIterator"]
    return [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]


def fill(engine: Engine) -> None:
    kinesis, dynamodb, s3 = (client(engine, service) for service in ("kinesis", "dynamodb", "s3"))
    kinesis.create_stream(StreamName="stream", ShardCount=1)
    dynamodb.create_table(
        TableName="table",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="a/b c'", Body=bytes(range(256)))
    client(engine, "ssm").put_parameter(Name="/weir/x", Value="secret", Type="SecureString")
    for number in range(50):
        kinesis.put_record(StreamName="stream", PartitionKey=str(number), Data=bytes([number]))
    put = {"Put": {"TableName": "table", "Item": {"pk": {"S": "1"}, "b": {"B": b"\x00\xff"}}}}
    dynamodb.transact_write_items(TransactItems=[put])


def held(engine: Engine, stream: Engine | None = None) -> tuple[list[bytes], Any, bytes, str]:
    kinesis = client(stream or engine, "kinesis")
    iterator = kinesis.get_shard_iterator(
        StreamName="stream", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]
    item = client(engine, "dynamodb").get_item(TableName="table", Key={"pk": {"S": "1"}})["Item"]
    body = client(engine, "s3").get_object(Bucket="bucket", Key="a/b c'")["Body"].read()
    secret = client(engine, "ssm").get_parameter(Name="/weir/x", WithDecryption=True)["Parameter"]["Value"]
    return records, item, body, secret


EXPECTED = (
    [bytes([number]) for number in range(50)],
    {"pk": {"S": "1"}, "b": {"B": b"\x00\xff"}},
    bytes(range(256)),
    "secret",
)


def test_killed_engine_loses_nothing_it_answered(tmp_path: Path) -> None:
    """Killed twice and then stopped cleanly, it still holds every record, item, object and parameter."""
    first = engine_in(tmp_path)
    first.start()
    fill(first)
    for _ in range(2):
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        first.stop()
        assert first.ended_uncleanly
        first = engine_in(tmp_path)
        first.start()
        assert held(first) == EXPECTED
    first.stop()
    assert not first.ended_uncleanly
    last = engine_in(tmp_path)
    last.start()
    try:
        assert held(last) == EXPECTED
    finally:
        last.stop()


def test_cut_line_of_the_journal_is_left_out(tmp_path: Path) -> None:
    """A line that a kill cut short was never answered; the lines before it and the calls after it count."""
    engine = engine_in(tmp_path)
    engine.start()
    fill(engine)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    engine.stop()
    with (tmp_path / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"method": "POST", "pa')
    engine = engine_in(tmp_path)
    engine.start()
    assert "was cut off" in engine.log.read_text(encoding="utf-8")
    client(engine, "kinesis").put_record(StreamName="stream", PartitionKey="last", Data=b"last")
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    engine.stop()
    engine = engine_in(tmp_path)
    engine.start()
    try:
        assert held(engine) == ([*EXPECTED[0], b"last"], *EXPECTED[1:])
    finally:
        engine.stop()


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "first byte": lambda whole: bytes([whole[0] ^ 0x55]) + whole[1:],
    "a character in the middle": lambda whole: _another_character(whole),  # noqa: PLW0108 - defined below
    "last byte": lambda whole: whole[:-1] + bytes([whole[-1] ^ 0x55]),
    "another encoding": lambda whole: whole.decode().encode("utf-16"),
    "removed": lambda whole: None,
}


def _another_character(whole: bytes) -> bytes:
    """Change one letter or digit, after which JSON mostly is JSON still."""
    place = next(at for at in range(len(whole) // 2, len(whole)) if whole[at : at + 1].isalnum())
    return whole[:place] + (b"7" if whole[place : place + 1] != b"7" else b"3") + whole[place + 1 :]


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_damaged_file_stops_the_start_and_is_named(tmp_path: Path, end: str) -> None:
    """Neither does the engine start empty, nor is any file changed; once the file is whole again, all is there."""
    engine = engine_in(tmp_path)
    engine.start()
    fill(engine)
    assert engine.pid is not None
    if end == "killed":
        os.kill(engine.pid, signal.SIGKILL)
    engine.stop()
    files = [tmp_path / "journal.jsonl"] if end == "killed" else sorted(tmp_path.glob("*.json"))
    assert len(files) >= (1 if end == "killed" else 5)
    for path in [*files, tmp_path / "saved"]:
        whole = path.read_bytes()
        for damage, change in DAMAGES.items():
            if (path.name, damage) == ("saved", "removed"):  # below
                continue
            changed = change(whole)
            path.unlink() if changed is None else path.write_bytes(changed)
            before = {one: one.read_bytes() for one in _files(tmp_path)}
            engine = engine_in(tmp_path)
            with pytest.raises(StackFailed, match=path.name):
                engine.start()
            assert engine.poll() == 65, (path, damage)
            assert {one: one.read_bytes() for one in _files(tmp_path)} == before
            path.write_bytes(whole)
    (tmp_path / "saved").unlink()  # nothing of what was answered is in it
    engine = engine_in(tmp_path)
    engine.start()
    try:
        assert held(engine) == EXPECTED
    finally:
        engine.stop()


def test_a_kill_while_files_are_saved_is_no_damage(tmp_path: Path) -> None:
    """Some files are new and some are old: the journal is there, and brings all back."""
    engine = engine_in(tmp_path)
    engine.start()
    fill(engine)
    engine.stop()
    engine = engine_in(tmp_path)
    engine.start()
    client(engine, "kinesis").put_record(StreamName="stream", PartitionKey="last", Data=b"last")
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    engine.stop()
    saved = SavedState(tmp_path)
    saved.begin_saving()
    (tmp_path / "kinesis.json").write_bytes((tmp_path / "kinesis.json").read_bytes() + b" ")
    engine = engine_in(tmp_path)
    engine.start()
    try:
        assert held(engine) == ([*EXPECTED[0], b"last"], *EXPECTED[1:])
    finally:
        engine.stop()


def _files(folder: Path) -> list[Path]:
    return [one for one in sorted(folder.rglob("*")) if one.is_file() and one.name != "engine.log"]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit the files of another process")
@pytest.mark.parametrize("log", ["has room", "is on the full disk"])
def test_a_full_disk_ends_the_engine_before_it_answers(tmp_path: Path, log: str) -> None:
    """With no room for the journal it ends, says why if it can, and holds all that it answered once there is room."""
    if log == "is on the full disk":
        (tmp_path / "engine.log").symlink_to("/dev/full")
    engine = engine_in(tmp_path)
    engine.start()
    kinesis, answered = client(engine, "kinesis", attempts=1), []
    kinesis.create_stream(StreamName="stream", ShardCount=1)
    assert engine.pid is not None
    full_bytes = (tmp_path / "journal.jsonl").stat().st_size + 10_000
    resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (full_bytes, full_bytes))
    with suppress(ConnectionClosedError):
        for number in range(256):
            kinesis.put_record(StreamName="stream", PartitionKey="k", Data=bytes([number]) * 700)
            answered.append(bytes([number]) * 700)
    engine.stop()
    assert engine.poll() == 74
    if log == "has room":
        assert "Make room and start again" in engine.log.read_text(encoding="utf-8")
    else:
        engine.log.unlink()
    assert answered
    engine = engine_in(tmp_path)
    engine.start()
    try:
        assert records(engine) == answered
    finally:
        engine.stop()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit the files of another process")
def test_a_state_that_cannot_be_saved_is_replayed(tmp_path: Path) -> None:
    """A clean stop on a full disk saves some files and not others: the journal stays, and brings all back."""
    engine = engine_in(tmp_path)
    engine.start()
    fill(engine)
    kinesis = client(engine, "kinesis")
    kinesis.create_stream(StreamName="large", ShardCount=1)
    kinesis.put_record(StreamName="large", PartitionKey="k", Data=bytes(500_000))
    assert engine.pid is not None
    journal_bytes = (tmp_path / "journal.jsonl").stat().st_size
    resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (journal_bytes // 2, journal_bytes // 2))
    engine.stop()
    assert not (tmp_path / "kinesis.json").exists()
    assert (tmp_path / "ssm.json").exists()
    assert engine.ended_uncleanly
    engine = engine_in(tmp_path)
    engine.start()
    try:
        assert held(engine) == EXPECTED
    finally:
        engine.stop()


@pytest.mark.parametrize("ended", ["cleanly", "killed", "killed, and the division interrupted"])
def test_a_folder_of_one_engine_is_divided_between_two(tmp_path: Path, ended: str) -> None:
    """What one engine kept comes back in the two that do now, however it ended; both folders are never mixed up."""
    old, streams, stores = tmp_path / "engine", tmp_path / "stream", tmp_path / "store"
    engine = engine_in(old)
    engine.start()
    fill(engine)
    if ended != "cleanly":
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
    engine.stop()
    if ended.endswith("interrupted"):
        (tmp_path / "stream.new").mkdir()
    divide(old, stream=streams, store=stores)
    stream, store = engine_in(streams, services=STREAM_SERVICES), engine_in(stores, services=STORE_SERVICES)
    try:
        for one in (stream, store):
            assert one.has_state
            one.start()
        assert held(store, stream) == EXPECTED
        divide(old, stream=streams, store=stores)  # nothing is left to do
    finally:
        for one in (stream, store):
            one.stop()
    assert not stream.ended_uncleanly
    assert not store.ended_uncleanly
    old.mkdir()
    with pytest.raises(StackFailed, match="both hold"):
        divide(old, stream=streams, store=stores)


def test_engine_listens_on_loopback_only(engine: Engine) -> None:
    """No socket of the engine's process is bound to another address than 127.0.0.1."""
    inodes = set()
    for descriptor in Path(f"/proc/{engine.pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert listening
    assert {address.partition(":")[0] for address in listening} == {"0100007F"}


def test_ctrl_c_in_the_terminal_does_not_end_the_engine(tmp_path: Path) -> None:
    """SIGINT, which a terminal sends to every process of the stack, is left to the supervisor."""
    engine = engine_in(tmp_path)
    engine.start()
    try:
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGINT)
        assert client(engine, "kinesis").list_streams()["StreamNames"] == []
        assert engine.poll() is None
    finally:
        engine.stop()

"""The newest events by the consumer's log: the same as by reading the whole table, without doing so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.places import write_state
from tests.support.stack_env import StackEnv
from weir.consumers.batch import metrics
from weir.infra import consumer_log, place
from weir.infra.consumer_log import LogPart, backwards
from weir.ingest.envelope import Envelope
from weir.operate.lookup import newest as lookup
from weir.operate.lookup.newest import Listed, newest

FORGED = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
MINUTE_MS = 60_000
_BATCH = 5

# ------------------------------------------------------------------------------------------ the log, backwards


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A stack's log with the lines of forty batches, and the beginning of another's."""
    path = tmp_path / "consumer.log"
    write_state(tmp_path, ConsumerLog=str(path))
    texts = []
    for batch in range(40):
        texts += [json.dumps({"action": "event", "batch": batch, "text": "é" * (batch % 7)}) for _ in range(batch % 5)]
        document = json.loads(metrics.document("weir", {"Events": batch % 5}, {}))
        document["_aws"]["Timestamp"] = 1_790_000_000_000 + batch * 1000
        texts.append(json.dumps(document))
    path.write_text("\n".join(texts) + '\n{"action":"event","ba', encoding="utf-8")
    return path


@pytest.mark.parametrize("block", [1, 7, 100, 1000, 10_000, 1 << 20])
def test_parts_are_the_whole_log(log: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever falls where two blocks meet, each whole line is in one part, the newest part first."""
    monkeypatch.setattr(consumer_log, "_BLOCK_BYTES", block)
    parts = list(backwards(place.embedded(log.parent)))
    whole = log.read_text(encoding="utf-8").splitlines()[:-1]
    assert [line for part in reversed(parts) for line in part.lines] == whole
    assert parts[-1].since_ms == 0


@pytest.mark.parametrize("block", [100, 1000])
def test_what_was_written_since_is_in_the_parts_so_far(log: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_log, "_BLOCK_BYTES", block)
    written = {}
    for line in log.read_text(encoding="utf-8").splitlines()[:-1]:
        document = json.loads(line)
        if "_aws" in document:
            written[line] = document["_aws"]["Timestamp"]
    read: set[str] = set()
    for part in backwards(place.embedded(log.parent)):
        read |= set(part.lines)
        assert {line for line, at_ms in written.items() if at_ms >= part.since_ms} <= read


def test_a_log_that_is_not_there_has_no_parts(tmp_path: Path) -> None:
    write_state(tmp_path, ConsumerLog=str(tmp_path / "consumer.log"))
    assert list(backwards(place.embedded(tmp_path))) == []


# ------------------------------------------------------------------------------------------ the list


def consumed(env: StackEnv, envelopes: list[Envelope], rng: Random) -> list[LogPart]:
    """Have deliveries consumed in this order, each batch when all of it was there; return the log as parts of any size.

    The lines are the consumer's, but for the time: they are dated as if the batches had followed the arrivals.
    """
    lines: list[dict[str, Any]] = []
    pipeline = env.pipeline()
    env.put(*envelopes)
    shard = env.kinesis.list_shards(StreamName=env.stream)["Shards"][0]["ShardId"]
    records, at_ms = env.unread(shard), 0
    for start in range(0, len(records), _BATCH):
        at_ms = max([at_ms, *(one.arrived_at_ms for one in envelopes[start : start + _BATCH])]) + 100
        texts: list[str] = []
        pipeline.log = texts.append
        pipeline.run(records[start : start + _BATCH])
        lines += [{**json.loads(line), "at": at_ms} for text in texts for line in text.splitlines()]
        for again in rng.sample(lines, 3):
            # A reading of the same record again, or a repeat that arrived later, or earlier in another shard.
            arrived_ms = min(at_ms, again["received_at"] + rng.choice([0, rng.randrange(-5 * MINUTE_MS, MINUTE_MS)]))
            lines.append({**again, "received_at": arrived_ms, "outcome": "duplicate", "at": at_ms})
    parts, end = [], len(lines)
    while end:
        start = max(0, end - rng.randrange(1, 40))
        since_ms = lines[start]["at"] if start else 0
        parts.append(LogPart(since_ms, [json.dumps(line, separators=(",", ":")) for line in lines[start:end]]))
        end = start
    return parts


def deliveries(env: StackEnv, rng: Random) -> list[Envelope]:
    """Deliveries of every outcome that arrived within minutes, some consumed long after others that arrived later."""
    now_ms = round(time.time() * 1000)
    arrivals = sorted(now_ms - rng.randrange(5 * MINUTE_MS) for _ in range(60))
    made = []
    for number, at_ms in enumerate(arrivals):
        options: dict[str, Any] = {"at_ms": at_ms, "message_id": f"msg_{number % 50}"}
        if number % 7 == 3:
            made.append(env.payment("ann", 1, **options, secret=FORGED))
        elif number % 7 == 5:
            made.append(env.delivery({"type": "of.no.interest"}, **options))
        else:
            made.append(env.payment("bob", 1, **options))
    for _ in range(5):
        late = made.pop(rng.randrange(len(made)))
        made.insert(rng.randrange(len(made)), late)
    return made


@pytest.mark.engine
@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_the_whole_table_says(stack_env: StackEnv, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every filter and limit, whatever order events arrived, were consumed and were repeated in."""
    monkeypatch.setattr(lookup, "_CHUNK", (1, 2, 3, 7, 100)[seed])
    rng = Random(seed)
    parts = consumed(stack_env, deliveries(stack_env, rng), rng)
    table, now_ms = stack_env.table(), round(time.time() * 1000)
    everything = sorted(table.scan(), key=lambda one: (one["received_at_ms"], one["pk"]), reverse=True)
    assert {one["outcome"] for one in everything} == {"applied", "ignored", "quarantined"}
    wanted = [
        Listed(),
        Listed(source="payments"),
        Listed(source="nothing"),
        Listed(outcome="applied"),
        Listed(outcome="quarantined"),
        Listed(outcome="waiting"),
        Listed(type="of.no.interest"),
        Listed(type="payment.*"),
        Listed(since_ms=now_ms - 2 * MINUTE_MS),
        Listed(since_ms=now_ms - 3 * MINUTE_MS, until_ms=now_ms - MINUTE_MS, outcome="ignored"),
    ]
    for one in wanted:
        meant = [facts for facts in everything if one.wants(facts)]
        for limit in (1, 3, 10, 1000, None):
            assert newest(table, parts, one, limit) == meant[:limit], (one, limit)


class Calls:
    """Which calls a client makes."""

    def __init__(self, client: Any) -> None:
        self.made: list[str] = []
        client.meta.events.register("before-call.dynamodb.*", lambda model, **_: self.made.append(model.name))


@pytest.mark.engine
def test_the_table_is_not_read_whole(stack_env: StackEnv) -> None:
    """However many lines the log has, and its newest part: as many items are read as it takes to be certain."""
    rng = Random(1)
    parts = consumed(stack_env, deliveries(stack_env, rng), rng)
    newer = [stack_env.payment("new", 1, at_ms=round(time.time() * 1000) + 3 * MINUTE_MS) for _ in range(5)]
    lines: list[str] = []
    pipeline = stack_env.pipeline()
    pipeline.log = lambda text: lines.extend(text.splitlines())
    stack_env.put(*newer)
    pipeline.run(stack_env.unread("shardId-000000000000")[-5:])
    since_ms = json.loads(lines[0])["at"]
    line = {"action": "event", "outcome": "applied", "source": "payments", "at": since_ms}
    lines += [json.dumps({**line, "event_id": f"no_{n}", "received_at": since_ms + MINUTE_MS}) for n in range(500)]
    calls = Calls(stack_env.dynamodb)
    taken = iter([LogPart(since_ms, lines), *parts])
    found = newest(stack_env.table(), taken, Listed(), 5)
    assert {one["request_id"] for one in found} == {one.request_id for one in newer}
    assert calls.made == ["BatchGetItem"]
    assert list(taken) == parts  # the older parts were not read


@pytest.mark.engine
def test_a_log_without_what_went_well_is_not_believed(stack_env: StackEnv) -> None:
    """With LOG_LEVEL=WARNING only refusals are in the log: the newest of these are not the newest events."""
    rng = Random(2)
    parts = consumed(stack_env, deliveries(stack_env, rng), rng)
    document = metrics.document("weir", {"Events": 10, "Applied": 8, "Quarantined": 2}, {})

    def warnings() -> Iterator[LogPart]:
        for part in parts:
            kept = [line for line in part.lines if '"level":"WARNING"' in line]
            yield LogPart(part.since_ms, [*kept, document])

    everything = newest(stack_env.table(), [], Listed(), None)
    assert newest(stack_env.table(), warnings(), Listed(), 4) == everything[:4]


@pytest.mark.engine
def test_what_a_replay_applies_is_listed(stack_env: StackEnv) -> None:
    """A replay to the consumer runs in the operator's process: it logs what it stores, and the list has it."""
    stack_env.put(stack_env.payment("ann", 5, message_id="msg_replayed"))
    stack_env.weir("replay", "--from", "stream", "--to", "consumer")
    lines = stack_env.place.log_lines(["msg_replayed"])
    assert [(line["outcome"], line["invocation"]) for line in lines] == [("applied", "replay")]
    assert "msg_replayed" in stack_env.weir("events", "--limit", "1")
    assert "replay" not in stack_env.weir("rebuild")
    assert len(stack_env.place.log_lines(["msg_replayed"])) == 1  # a rebuild fills tables of its own


@pytest.mark.engine
def test_strange_lines_break_no_list(stack_env: StackEnv) -> None:
    """What a kill has cut, what business code has printed, and what names no item at all is passed over."""
    rng = Random(3)
    parts = consumed(stack_env, deliveries(stack_env, rng), rng)
    whole = parts[0].lines[0]
    line = json.loads(whole)
    strange = [
        whole[: len(whole) // 2],
        'printed by business code: {"action":"event"}',
        "[1]",
        '{"_aws": 1, "Applied": "many"}',
        *(
            json.dumps({**line, **change})
            for change in (
                {"outcome": 7},
                {"at": None},
                {"received_at": "yesterday"},
                {"item": ""},
                {"item": "x" * 5000},
                {"item": "no such item"},
                {"outcome": "fenced"},
            )
        ),
        '"event"',
    ]
    everything = newest(stack_env.table(), [], Listed(), None)
    mixed = [LogPart(part.since_ms, [*strange, *part.lines, *strange]) for part in parts]
    assert newest(stack_env.table(), mixed, Listed(), 7) == everything[:7]

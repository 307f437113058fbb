"""Replays at any overlap with live traffic change nothing: property-tested against a model, on the real engine."""

from __future__ import annotations

import json
import threading
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.stack_env import StackEnv
from weir.consumers.outcome import Outcome
from weir.infra.local.engine.engine import Engine
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SequenceNumber, SourceName
from weir.operate.lookup.preview import Previewer
from weir.operate.replay.checkpoint import Checkpoint
from weir.operate.replay.filters import Filter
from weir.operate.replay.loop import Replay
from weir.operate.replay.origins.from_file import FromFile, line_of
from weir.operate.replay.pace import Pace
from weir.operate.replay.request import Wanted

pytestmark = pytest.mark.engine

OTHER_SECRET = "whsec_" + "QUJD" * 8


@dataclass
class Day:
    """The deliveries of a day, and what each event's first good delivery adds to whom."""

    envelopes: list[Envelope] = field(default_factory=list)
    amounts: dict[str, tuple[str, int]] = field(default_factory=dict)

    def add(self, stack_env: StackEnv, prefix: str, number: int, account: int, cents: int, *, forged: bool) -> None:
        message_id = f"{prefix}-{number}"
        known = self.amounts.get(message_id)
        if known is not None:  # a provider sends the very same event again
            account, cents = int(known[0].rpartition("-")[2]), known[1]
        name = f"{prefix}-{account}"
        options: dict[str, Any] = {"secret": OTHER_SECRET} if forged else {}
        self.envelopes.append(stack_env.payment(name, cents, message_id=message_id, key=name, **options))
        if not forged:
            self.amounts[message_id] = (name, cents)

    def balances(self) -> dict[str, dict[str, int]]:
        totals: dict[str, dict[str, int]] = defaultdict(lambda: {"EUR": 0, "events": 0})
        for account, cents in self.amounts.values():
            totals[account]["EUR"] += cents
            totals[account]["events"] += 1
        return dict(totals)


DELIVERIES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(0, 500), st.booleans()), min_size=1, max_size=25
)
# What happens, in order: live reads on by so many, or a replay of all from one place to another.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 10), st.just(0)),
        st.tuples(st.just("replay"), st.integers(0, 25), st.integers(0, 25)),
        st.tuples(st.just("both"), st.integers(0, 25), st.integers(1, 25)),
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
def shared(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> StackEnv:
    return StackEnv(engine, tmp_path_factory.mktemp("interleaved"))


def replay(stack_env: StackEnv, envelopes: list[Envelope]) -> dict[str, Any]:
    path = stack_env.home / f"{uuid.uuid4().hex}.jsonl"
    path.write_bytes(b"".join(map(encode, envelopes)))
    try:
        wants = Filter(Wanted(), Previewer(stack_env.catalogue), stack_env.catalogue)
        job = Replay(
            FromFile(path),
            wants,
            stack_env.to_consumer(),
            Checkpoint(None),
            Pace(None, clock=lambda: 0.0, sleep=lambda _: None),
        )
        assert job.run()
        return job.report.as_dict()
    finally:
        path.unlink()


def stored(stack_env: StackEnv, prefix: str, day: Day) -> tuple[dict[str, Any], dict[str, Any]]:
    requests = {one.request_id for one in day.envelopes}
    events = {
        key: (item["outcome"]["S"], item["request_id"]["S"], item["applied_at"]["N"])
        for key, item in stack_env.events().items()
        if item.get("request_id", {}).get("S") in requests and item["outcome"]["S"] != Outcome.FENCED
    }
    balances = {name: row for name, row in stack_env.balances().items() if name.startswith(prefix)}
    return events, balances


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=DELIVERIES, steps=STEPS)
def test_a_day_replayed_at_any_overlap_with_live_traffic_changes_nothing(
    shared: StackEnv, deliveries: list[tuple[int, int, int, bool]], steps: list[tuple[str, int, int]]
) -> None:
    """However replays and live batches interleave, side by side too, each event is applied once and forgeries never."""
    prefix, day = uuid.uuid4().hex[:8], Day()
    for number, account, cents, forged in deliveries:
        day.add(shared, prefix, number, account, cents, forged=forged)
    live, read = shared.pipeline(), 0

    def read_on(count: int) -> None:
        nonlocal read
        chunk = day.envelopes[read : read + count]
        live.run([line_record(one, read + at) for at, one in enumerate(chunk)])
        read += len(chunk)

    for kind, first, second in [*steps, ("live", len(deliveries), 0)]:
        if kind == "live":
            read_on(first)
        elif kind == "replay":
            replay(shared, day.envelopes[min(first, second) : max(first, second)])
        else:
            beside = threading.Thread(target=read_on, args=(second,))
            beside.start()
            replay(shared, day.envelopes[first:])
            beside.join()
    before = stored(shared, prefix, day)
    assert before[1] == day.balances()
    assert {key for key, one in before[0].items() if one[0] == "applied"} == {
        f"payments#{message_id}" for message_id in day.amounts
    }
    for _ in range(2):
        replay(shared, day.envelopes)
    assert stored(shared, prefix, day) == before


def line_record(envelope: Envelope, number: int) -> Any:
    from weir.consumers.judging.records import Record

    return Record(
        "shardId-000000000000", SequenceNumber(str(1000 + number)), 0, envelope.arrived_at_ms, encode(envelope)
    )


def test_a_line_of_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    """An envelope's line is written as it is; what is not an envelope keeps its bytes and its position."""
    from weir.consumers.judging.records import Record
    from weir.operate.lookup.delivery import Delivery

    raw = bytes(range(256)) + b"\n\n"
    path = tmp_path / "mixed.jsonl.gz"
    import gzip

    record = Record("shardId-7", SequenceNumber("49"), 3, 1_700_000_000_000, raw)
    whole = encode(Envelope(RequestId("x"), 1, SourceName("s"), "", "192.0.2.1", "/", {}, (), b"body"))
    text = whole + line_of(Delivery(raw, "shardId-7", "49.3", record=record))
    path.write_bytes(gzip.compress(text))
    first, second = list(FromFile(path).read({}))
    assert isinstance(first, Delivery)
    assert isinstance(second, Delivery)
    assert first.data == line_of(first) == whole
    assert line_of(Delivery(b'{"v":1,"id":"x"}\n', "shardId-7", "50.0")).startswith(b'{"raw":')
    assert second.data == raw
    assert second.as_record().position == "shardId-7:49.3"
    (again,) = list(FromFile(path).read({"file": first.position}))
    assert isinstance(again, Delivery)
    assert again.data == raw
    assert json.loads(text.splitlines()[1])["place"] == "shardId-7:49.3"

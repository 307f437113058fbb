"""Whatever happens between the calls, the tables end as if each event had been applied once, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.batches import NOW_MS, of_record
from tests.support.memory_store import EVENTS, MemoryStore
from tests.support.model import Model, Record, plain
from weir.consumers.business.changes import Change, Check, Delete, Newer, Put, Update, Wait, absent, at_least, exists
from weir.consumers.commit.machine import Session
from weir.consumers.commit.recent_marks import RecentMarks
from weir.consumers.commit.strands import Step
from weir.consumers.events_table.port import StoreCall
from weir.ingest.errors import CommitConflict, DeadlineNear, StoreThrottled, StoreUnavailable

_NUMBERS = st.integers(-50, 50)
_THINGS = st.sampled_from(["t0", "t1", "t2"])
_VERSIONS = st.integers(1, 4)


@st.composite
def _change(draw: st.DrawFn) -> Any:
    """Draw a change: mostly additions, as in life, and every other kind."""
    number, thing, version = draw(_NUMBERS), draw(_THINGS), draw(_VERSIONS)
    account = draw(st.sampled_from(["a0", "a1"]))
    addition = Update("balances", {"account": account}, add={"EUR": number, "events": 1})
    return draw(
        st.sampled_from(
            [
                addition,
                addition,
                Update("balances", {"account": account}, add={"EUR": -1}, condition=at_least("EUR", number)),
                Put("things", {"id": thing}, {"n": number}),
                Put("things", {"id": thing}, {"n": number}, newer=Newer("version", version)),
                Put("things", {"id": thing}, {"n": number}, condition=absent("id")),
                Update("things", {"id": thing}, set={"v": f"v{number}"}, newer=Newer("version", version)),
                Update("things", {"id": thing}, set={"n": "text"}),
                Update("things", {"id": thing}, add={"n": number}),
                Update("things", {"id": thing}, add={"n": number}, condition=at_least("n", -number)),
                Update("things", {"id": thing}, set={"v": "w"}, remove=("n",)),
                Delete("things", {"id": thing}),
                Delete("things", {"id": thing}, newer=Newer("version", version)),
                Check("things", {"id": thing}, exists("id")),
                Check("things", {"id": thing}, exists("id"), wait=Wait()),
                Update("things", {"id": thing}, set={"n": number}, condition=at_least("n", 0), wait=Wait()),
                Check("things", {"id": thing}, ~exists("v") | at_least("n", 0)),
                Put("things", {"id": 7}, {"n": number}),
                Put("nowhere", {"id": thing}),
            ]
        )
    )


@st.composite
def _streams(draw: st.DrawFn) -> list[Record]:
    """Draw a shard: deliveries of a few events, many more than once, some forged or too old, some with another's id.

    Some come under another type, which not every sender signs.
    """
    events: dict[str, tuple[Change, ...] | None] = {}
    for number in range(draw(st.integers(1, 8))):
        wanted = draw(st.lists(_change(), max_size=3, unique_by=lambda change: (change.table, str(change.key))))
        events[f"e{number}"] = None if draw(st.integers(0, 7)) == 7 else tuple(wanted)
    keys = {event_id: draw(st.sampled_from(["", "k0", "k1"])) for event_id in events}
    records = []
    for number, event_id in enumerate(draw(st.lists(st.sampled_from(sorted(events)), min_size=1, max_size=14))):
        is_forged, like = draw(st.integers(0, 11)) == 11, event_id
        if draw(st.integers(0, 7)) == 7:
            like = draw(st.sampled_from(sorted(events)))
        is_past = draw(st.integers(0, 5)) == 5
        kind = "order.void" if draw(st.integers(0, 5)) == 5 else "order.paid"
        signs_type = draw(st.booleans())
        records.append(Record(event_id, f"r{number}", keys[like], events[like], is_forged, is_past, kind, signs_type))
    return records


@dataclass
class _Choices:
    """The adversary: a list of numbers that decides everything; when it is used up, all goes well."""

    numbers: list[int]

    def below(self, bound: int) -> int:
        return self.numbers.pop() % bound if self.numbers and bound > 1 else 0


@dataclass
class _Flight:
    """A call on its way: not yet made, or made and its answer not yet read."""

    step: Step
    call: StoreCall
    answer: Any = None
    is_made: bool = False


@dataclass
class _Consumer:
    """Reads the stream from its checkpoint, dies and is started again, splits batches: as Lambda's poller would.

    ``reports`` are the outcomes that it told, by position in the stream.
    """

    records: list[Record]
    store: MemoryStore
    choices: _Choices
    wire: list[StoreCall]
    seeds: Iterator[int]  # as every process has its own, no two tokens are equal
    reports: list[tuple[int, str]] = field(default_factory=list)
    recent: RecentMarks = field(default_factory=RecentMarks)
    checkpoint: int = 0

    def run(self) -> Iterator[None]:
        """Work to the end of the stream; yields after every single thing that happens."""
        while self.checkpoint < len(self.records):
            size = 1 + self.choices.below(len(self.records) - self.checkpoint) if self.choices.numbers else 100
            yield from self._consume(self.records[self.checkpoint : self.checkpoint + size])

    def _consume(self, records: Sequence[Record]) -> Iterator[None]:
        rng = Random(next(self.seeds))
        batch = [of_record(record) for record in records]
        session = Session(batch, self.store.layout, self.recent, now_ms=NOW_MS, rng=rng, refuses_past=True)
        ready = [task.step for task in session.start()]
        flights: list[_Flight] = []
        while ready or flights:
            fate = self.choices.below(40)
            if fate == 39:  # killed: what is on the wire may still arrive, at any time
                self.wire += [flight.call for flight in flights if not flight.is_made]
                self.recent = RecentMarks()
                return
            if fate == 38:  # time is up: answers that have not come are not waited for
                self.wire += [flight.call for flight in flights if not flight.is_made]
                break
            self._happen(session, ready, flights)
            yield
        self._report(session, len(batch))

    def _happen(self, session: Session, ready: list[Step], flights: list[_Flight]) -> None:
        """Begin a step, make a call that is under way, or bring an answer: whichever is chosen."""
        at = self.choices.below(len(ready) + len(flights))
        if at < len(ready):
            step = ready.pop(at)
            call, unlocked = session.begin(step)
            ready += [task.step for task in unlocked]
            if call is not None:
                flights.append(_Flight(step, call))
            return
        flight = flights[at - len(ready)]
        if flight.is_made:
            flights.remove(flight)
            ready += [task.step for task in session.answer(flight.step, flight.answer)]
        else:
            flight.answer, flight.is_made = self._make(flight.call), True

    def _make(self, call: StoreCall) -> Any:
        fate = self.choices.below(12)
        if fate == 11:
            return StoreThrottled()
        if fate == 10:
            return CommitConflict()
        if fate == 9:  # it never arrived, or it will
            self.wire.append(call)
            return StoreUnavailable()
        answer = attempt(call, self.store)
        return StoreUnavailable() if fate == 8 else answer  # done, but the answer is lost

    def _report(self, session: Session, size: int) -> None:
        results = session.results(DeadlineNear())
        assert len(results) == size
        assert session.bugs == []
        done = [result.outcome != "retry" for result in results]
        for at, result in enumerate(results):
            if done[at]:
                self.reports.append((self.checkpoint + at, result.outcome))
        self.checkpoint += done.index(False) if False in done else size


def attempt(call: StoreCall, store: MemoryStore) -> Any:
    try:
        return call.run(store)
    except Exception as error:  # noqa: BLE001 - as the driver does
        return error


def _interleave(consumers: list[_Consumer], store: MemoryStore, choices: _Choices, wire: list[StoreCall]) -> None:
    """Let all consumers work to their ends, and every call on the wire arrive at some time or never."""
    running = [consumer.run() for consumer in consumers]
    while running:
        at = choices.below(len(running) + 1)
        if at == len(running):
            if wire:
                attempt(wire.pop(choices.below(len(wire))), store)
            continue
        if next(running[at], "over") == "over":
            running.pop(at)
    for call in wire:
        attempt(call, store)


def _check(records: list[Record], store: MemoryStore, consumers: list[_Consumer]) -> None:
    model = Model().apply_all(records)
    for table in ("balances", "things"):
        assert {key: plain(item) for key, item in store.tables[table].items()} == model.tables[table]
    for consumer in consumers:
        for position, told in consumer.reports:
            assert (position, told) == (position, model.outcomes[position])
        assert {position for position, _ in consumer.reports} == set(range(len(records)))
    events = {
        key: item["outcome"]["S"] for key, item in store.tables[EVENTS].items() if item["outcome"]["S"] != "fenced"
    }
    expected = {}
    for record, outcome in zip(records, model.outcomes, strict=True):
        if outcome in {"quarantined", "waiting"}:
            expected[f"shop!{record.request_id}"] = outcome
        elif outcome != "duplicate":
            expected[f"shop#{record.event_id}"] = outcome
    assert events == expected


# A check, a second delivery of its event that would change the item, and another check of it: the last must not be
# judged together with the first.
_JUDGED_TOO_EARLY = [
    Record("e2", "r0", "", (Check("things", {"id": "t2"}, exists("id")),)),
    Record("e2", "r1", "", (Put("things", {"id": "t2"}, {"n": 0}),)),
    Record("e0", "r2", "", (Check("things", {"id": "t2"}, exists("id")),)),
]

# Two events share a check, only one of them would wait for it, and that one can never be applied for another reason.
_NOT_WAITED_FOR = [
    Record("e3", "r0", "", (Check("things", {"id": "t0"}, exists("id")),)),
    Record(
        "e2",
        "r1",
        "",
        (
            Update("balances", {"account": "a0"}, add={"EUR": -1}, condition=at_least("EUR", 0)),
            Check("things", {"id": "t0"}, exists("id"), wait=Wait()),
        ),
    ),
]

# Two events are refused as invalid, one after the other, and the second delivery of each takes its place: that of the
# first must not be judged before what that of the second leaves of the item.
_JUDGED_BEFORE_A_FOLLOWER = [
    Record("e0", "r0", "", (Put("things", {"id": 7}, {"n": 0}),)),
    Record("e2", "r1", "", (Put("things", {"id": 7}, {"n": 0}),)),
    Record("e2", "r2", "", (Put("things", {"id": "t0"}, {"n": 0}),)),
    Record("e0", "r3", "", (Check("things", {"id": "t0"}, exists("id")),)),
]

_CHOICES = st.lists(st.integers(0, 1 << 16), max_size=400)
_PROPERTY = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


@_PROPERTY
@given(_streams(), _CHOICES)
@example(_JUDGED_TOO_EARLY, [])
@example(_NOT_WAITED_FOR, [])
@example(_JUDGED_BEFORE_A_FOLLOWER, [])
def test_one_consumer_ends_in_the_model_s_table(records: list[Record], numbers: list[int]) -> None:
    """A consumer that is throttled, killed, cut short and read again ends in the table of the exact model."""
    store, choices, wire, seeds = MemoryStore(), _Choices(numbers), list[StoreCall](), count()
    consumer = _Consumer(records, store, choices, wire, seeds)
    _interleave([consumer], store, choices, wire)
    _check(records, store, [consumer])


@_PROPERTY
@given(_streams(), _CHOICES)
def test_two_consumers_at_once_end_in_the_model_s_table(records: list[Record], numbers: list[int]) -> None:
    """Two consumers on the same records, as live and replay are, change nothing twice and nothing out of order."""
    store, choices, wire, seeds = MemoryStore(), _Choices(numbers), list[StoreCall](), count()
    consumers = [_Consumer(records, store, choices, wire, seeds) for _ in range(2)]
    _interleave(consumers, store, choices, wire)
    _check(records, store, consumers)

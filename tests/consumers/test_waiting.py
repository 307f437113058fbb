"""An event waits for what business code says is not there yet: without holding others, bounded, applied once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.consumers.test_properties import _Choices, _Consumer, _interleave
from tests.support.batches import NOW_MS, judged, of_record, run, words
from tests.support.memory_store import EVENTS, MemoryStore
from tests.support.model import Model, Record, plain
from weir.consumers.business.changes import Change, Check, Put, Update, Wait, absent, exists
from weir.consumers.commit.machine import Session
from weir.consumers.events_table.actions import WAIT_ATTEMPTS_MAX, WAIT_S_MAX, compile_changes
from weir.consumers.events_table.item import JudgedEvent, next_try_ms
from weir.consumers.events_table.port import StoreCall
from weir.ingest.errors import ChangeInvalid

WAIT = Wait(for_s=3600, attempts=3)
THING = {"id": "t0"}
PAY = (Update("things", THING, set={"v": "paid"}, condition=exists("id"), wait=WAIT),)
ORDER = (Put("things", THING, {"n": 1}),)


def waiting(store: MemoryStore) -> list[str]:
    return [key for key, item in store.tables[EVENTS].items() if item["outcome"]["S"] == "waiting"]


def again(event: JudgedEvent, attempts: int = 1) -> JudgedEvent:
    """Return the event as it is judged when it is tried again."""
    return replace(event, earlier_tries=attempts)


def test_what_is_not_there_yet_is_waited_for_and_holds_up_nothing() -> None:
    """The event is kept with its bytes; what is behind it in its key goes on; then it is applied, once."""
    store = MemoryStore()
    late = judged("pay", PAY, key="k")
    report = run([late, judged("order", ORDER, key="k")], store)
    assert words(report) == ["waiting not_yet", "applied"]
    (key,) = waiting(store)
    item = store.tables[EVENTS][key]
    assert key == "shop!r-pay"
    assert item["attempts"] == {"N": "1"}
    assert item["waits_until"] == {"N": str(NOW_MS + 3_600_000)}
    assert int(item["due_at"]["N"]) == NOW_MS + 30_000
    assert item["mark"] == {"S": "shop#pay"}
    assert "envelope" in item
    assert "quarantine" not in item
    assert words(run([again(late)], store)) == ["applied"]
    assert store.tables["things"]["t0"]["v"] == {"S": "paid"}
    assert store.tables[EVENTS]["shop#pay"]["attempts"] == {"N": "2"}
    assert words(run([again(late)], store)) == ["applied"]  # the answer to it was lost


def test_a_record_that_is_read_again_waits_on() -> None:
    """One record has one outcome, although what it waits for is there by now."""
    store = MemoryStore()
    late = judged("pay", PAY)
    run([late], store)
    run([judged("order", ORDER)], store)
    assert words(run([late], store)) == ["waiting not_yet"]


def test_another_delivery_of_what_waits_is_applied_and_the_first_is_a_duplicate() -> None:
    """The provider sends it again after its order has come."""
    store = MemoryStore()
    first = judged("pay", PAY, request_id="r1")
    run([first, judged("order", ORDER)], store)
    assert words(run([judged("pay", PAY, request_id="r2")], store)) == ["applied"]
    assert words(run([again(first)], store)) == ["duplicate"]


def test_two_deliveries_of_one_event_wait_both() -> None:
    """In one batch, too."""
    store = MemoryStore()
    both = [judged("pay", PAY, request_id="r1"), judged("pay", PAY, request_id="r2")]
    assert words(run(both, store)) == ["waiting not_yet"] * 2
    run([judged("order", ORDER)], store)
    assert words(run([again(one) for one in both], store)) == ["applied", "duplicate"]


def test_still_not_there_writes_nothing() -> None:
    """A try that fails costs one cancelled transaction."""
    store = MemoryStore()
    late = judged("pay", PAY)
    run([late], store)
    before = dict(store.tables[EVENTS])
    store.calls.clear()
    assert words(run([again(late)], store)) == ["waiting not_yet"]
    assert store.tables[EVENTS] == before
    assert store.calls == ["read_marks", "transact"]


@pytest.mark.parametrize("first", [True, False])
def test_what_can_never_be_applied_is_not_waited_for(*, first: bool) -> None:
    """Of two conditions that fail, the one without a wait decides, in whichever order they stand."""
    store = MemoryStore()
    never = Check("things", {"id": "t1"}, exists("id"))
    changes = (never, *PAY) if first else (*PAY, never)
    assert words(run([judged("pay", changes)], store)) == ["quarantined condition_failed"]
    assert waiting(store) == []


def test_an_event_waits_for_its_own_wait_where_a_check_is_shared() -> None:
    """Two events demand the same of one item, and only one of them would wait."""
    store = MemoryStore()
    patient = judged("patient", (Check("things", THING, exists("id"), wait=WAIT),))
    hasty = judged("hasty", (Check("things", THING, exists("id")),))
    assert words(run([patient, hasty], store)) == ["waiting not_yet", "quarantined condition_failed"]


def test_nothing_waits_longer_than_its_mark_would_live() -> None:
    """Its source keeps marks for a day: after that it is unknown whether it was applied."""
    store = MemoryStore()
    late = judged("pay", (replace(PAY[0], wait=Wait(for_s=WAIT_S_MAX)),))
    run([late], store)
    until_ms = int(store.tables[EVENTS]["shop!r-pay"]["waits_until"]["N"])
    assert until_ms < late.received_at_ms + late.retention_s * 1000 - 3_600_000


@pytest.mark.parametrize(
    "change",
    [
        Update("things", THING, set={"v": "x"}, wait=WAIT),
        Update("things", THING, add={"n": 1}, wait=WAIT),
        Put("things", THING, {"n": 1}, wait=WAIT),
        Update("things", THING, set={"v": "x"}, condition=exists("id"), wait=Wait(for_s=0)),
        Update("things", THING, set={"v": "x"}, condition=exists("id"), wait=Wait(for_s=WAIT_S_MAX + 1)),
        Update("things", THING, set={"v": "x"}, condition=exists("id"), wait=Wait(attempts=WAIT_ATTEMPTS_MAX + 1)),
        Update("things", THING, set={"v": "x"}, condition=exists("id"), wait=Wait(for_s=True)),
    ],
    ids=str,
)
def test_a_wait_that_means_nothing_is_refused(change: Change) -> None:
    """Without a condition there is nothing to wait for; a wait has bounds."""
    with pytest.raises(ChangeInvalid, match="wait"):
        compile_changes([change], {"things": "things"})


def test_pauses_double_to_a_quarter_of_an_hour_and_end_with_the_time() -> None:
    """The last try is made when the time is over, not before."""
    pauses = [(next_try_ms(tries, 0, 10**9)) / 1000 for tries in range(1, 9)]
    assert pauses == [30, 60, 120, 240, 480, 900, 900, 900]
    assert next_try_ms(5, 1000, 2000) == 2000
    assert next_try_ms(5, 3000, 2000) == 3000


# ---------------------------------------------------------------------------------- the model

_CHOICES = st.lists(st.integers(0, 1 << 16), max_size=300)
_KINDS = st.sampled_from(["order", "pay", "pay", "note"])


@st.composite
def _streams(draw: st.DrawFn) -> list[Record]:
    """Draw a shard in which payments come before their orders, deliveries twice, keys in common."""
    records = []
    for number in range(draw(st.integers(1, 10))):
        thing = draw(st.sampled_from(["t0", "t1"]))
        kind = draw(_KINDS)
        addition = Update("balances", {"account": "a0"}, add={"EUR": 1})
        made: dict[str, tuple[Change, ...]] = {
            "order": (Put("things", {"id": thing}, {"n": number}, condition=absent("id")),),
            "pay": (Update("things", {"id": thing}, add={"paid": 1}, condition=exists("id"), wait=WAIT), addition),
            "note": (addition,),
        }
        event_id = draw(st.sampled_from([f"e{number}", f"e{number}", "e0"]))
        records.append(Record(event_id, f"r{number}", draw(st.sampled_from(["", "k0"])), made[kind]))
    return records


class _Retrier(_Consumer):
    """Tries one event that waits, killed and started again as a consumer is, until it has an outcome."""

    def _consume(self, records: Any) -> Iterator[None]:
        rng = Random(next(self.seeds))
        batch = [again(of_record(record)) for record in records]
        session = Session(batch, self.store.layout, self.recent, now_ms=NOW_MS, rng=rng, refuses_past=True)
        ready = [task.step for task in session.start()]
        flights: list[Any] = []
        while ready or flights:
            if self.choices.below(30) == 29:
                self.wire += [flight.call for flight in flights if not flight.is_made]
                return
            self._happen(session, ready, flights)
            yield
        self._report(session, len(batch))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(_streams(), _CHOICES)
def test_what_waited_ends_in_the_model_s_table(records: list[Record], numbers: list[int]) -> None:
    """Consumers and tries are killed, throttled and doubled; each event has its effect once or not at all."""
    store, choices, wire, seeds = MemoryStore(), _Choices(numbers), list[StoreCall](), count()
    consumer = _Consumer(records, store, choices, wire, seeds)
    _interleave([consumer], store, choices, wire)
    model = Model().apply_all(records)
    assert [told for _, told in sorted(dict(consumer.reports).items())] == model.outcomes
    for record, outcome in zip(records, model.outcomes, strict=True):
        if outcome != "waiting":
            continue
        expected = model.try_again(record)
        both: list[_Consumer] = [_Retrier([record], store, choices, list[StoreCall](), seeds) for _ in range(2)]
        _interleave(both, store, choices, [])
        told = {outcome for one in both for _, outcome in one.reports}
        assert told <= {expected, "duplicate"} if expected == "applied" else told == {expected}
    for table in ("balances", "things"):
        assert {key: plain(item) for key, item in store.tables[table].items()} == model.tables[table]

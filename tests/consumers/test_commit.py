from __future__ import annotations

import math
from base64 import b64decode
from random import Random
from threading import Barrier, BrokenBarrierError
from time import monotonic
from typing import Any

import pytest

from tests.support.batches import NOW_MS, Clock, envelope, forged, judged, run, words
from tests.support.faulty_store import FaultyStore
from tests.support.memory_store import EVENTS, MemoryStore
from weir.consumers.business.changes import Change, Check, Newer, Put, Update, at_least, exists
from weir.consumers.commit.commit import commit
from weir.consumers.commit.recent_marks import RecentMarks
from weir.consumers.events_table import item as items
from weir.consumers.events_table.blob import unpack
from weir.consumers.events_table.item import payload_key
from weir.consumers.events_table.mark import source_of_part
from weir.consumers.events_table.port import Cancelled, Reason, Refused
from weir.ingest.errors import CommitConflict, ConfigError, SecretUnavailable, StoreThrottled, StoreUnavailable


def pay(account: str, amount: int) -> list[Change]:
    return [Update("balances", {"account": account}, add={"EUR": amount, "events": 1})]


def thing(name: str, **attributes: int) -> list[Change]:
    return [Put("things", {"id": name}, attributes)]


def spend(account: str, amount: int) -> list[Change]:
    return [Update("balances", {"account": account}, add={"EUR": -amount}, condition=at_least("EUR", amount))]


def balance(store: MemoryStore, account: str) -> int:
    return int(store.tables["balances"][account]["EUR"]["N"])


def outcome_of(store: MemoryStore, key: str) -> str:
    return str(store.tables[EVENTS][key]["outcome"]["S"])


# What a batch costs


def test_a_batch_is_one_transaction_for_a_hundred_actions() -> None:
    """475 events of 142 accounts are seven calls, and every balance is the sum of its events."""
    store = MemoryStore()
    batch = [judged(f"e{number}", pay(f"a{number % 142}", number)) for number in range(475)]
    report = run(batch, store, concurrency=4)
    assert words(report) == ["applied"] * 475
    assert (report.calls_count, store.calls) == (7, ["transact"] * 7)
    assert balance(store, "a3") == 3 + 145 + 287 + 429
    assert report.write_units == 2 * (475 + 142)


def test_events_that_nobody_wants_are_inserted() -> None:
    """Ignored events and those that change nothing cost one write unit each and a call for every 25."""
    store = MemoryStore()
    batch = [judged(f"e{number}", None if number % 2 else ()) for number in range(60)]
    report = run(batch, store)
    assert words(report) == ["applied", "ignored"] * 30
    assert store.calls == ["insert"] * 3
    assert report.write_units == 60


def test_one_event_is_one_call_without_a_thread() -> None:
    """The smallest batch is made by the caller's own thread: a cold start starts none."""
    store = MemoryStore()
    report = run([judged("e", pay("a", 5))], store, concurrency=8)
    assert (words(report), store.calls) == (["applied"], ["transact"])


# Duplicates


def test_a_later_delivery_of_an_applied_event_is_a_duplicate() -> None:
    """Another request with the same event id changes nothing; the same request read again is still applied."""
    store = MemoryStore()
    run([judged("e", pay("a", 5), request_id="r1")], store)
    assert words(run([judged("e", pay("a", 5), request_id="r2")], store)) == ["duplicate"]
    assert words(run([judged("e", pay("a", 5), request_id="r1")], store)) == ["applied"]
    assert balance(store, "a") == 5


def test_duplicates_in_one_batch_take_no_action() -> None:
    """Of three deliveries of an event in one batch the first is applied, and the transaction has two actions."""
    store = FaultyStore()
    report = run([judged("e", pay("a", 5), request_id=f"r{number}") for number in range(3)], store)
    assert words(report) == ["applied", "duplicate", "duplicate"]
    assert [len(requests) for _, (requests, _) in store.asked] == [2]


def test_a_duplicate_costs_its_neighbours_one_more_call() -> None:
    """A transaction that a duplicate cancelled goes again without it."""
    store = MemoryStore()
    run([judged("e5", pay("a", 100), request_id="earlier")], store)
    report = run([judged(f"e{number}", pay("a", 1)) for number in range(10)], store)
    assert words(report) == ["applied"] * 5 + ["duplicate"] + ["applied"] * 4
    assert report.calls_count == 2
    assert balance(store, "a") == 109


def test_a_duplicate_of_what_this_process_marked_costs_one_read() -> None:
    """An id that was marked lately is looked up first: no transaction is cancelled."""
    store, recent = MemoryStore(), RecentMarks()
    run([judged("e5", pay("a", 100), request_id="earlier")], store, recent=recent)
    store.calls.clear()
    report = run([judged(f"e{number}", pay("a", 1)) for number in range(10)], store, recent=recent)
    assert words(report).count("duplicate") == 1
    assert store.calls == ["read_marks", "transact"]


def test_a_replay_costs_reads_and_not_cancelled_writes() -> None:
    """Once a batch was full of duplicates, the marks of the next are read, a hundred a call, and nothing is written."""
    store, recent = MemoryStore(), RecentMarks()
    batches = [[judged(f"e{at}-{number}", pay("a", 1)) for number in range(300)] for at in range(2)]
    for batch in batches:
        run(batch, store)
    run(batches[0], store, recent=recent)
    store.calls.clear()
    report = run(batches[1], store, recent=recent)
    assert store.calls == ["read_marks"] * 3
    assert (words(report), report.write_units) == (["applied"] * 300, 0)


def test_a_replay_is_noticed_within_a_batch() -> None:
    """After the first cancelled transaction the marks of the others are read before they are sent."""
    store = MemoryStore()
    batch = [judged(f"e{number}", pay(f"a{number}", 1)) for number in range(300)]
    run(batch, store)
    store.calls.clear()
    run(batch, store)
    assert store.calls == ["transact"] + ["read_marks"] * 5


def test_a_hint_that_is_wrong_harms_nothing() -> None:
    """An id that this process remembers and the table does not is applied."""
    recent = RecentMarks()
    run([judged("e", pay("a", 5))], MemoryStore(), recent=recent)
    store = MemoryStore()
    assert words(run([judged("e", pay("a", 5))], store, recent=recent)) == ["applied"]
    assert balance(store, "a") == 5


def test_an_ignored_event_never_overwrites_an_applied_one() -> None:
    """An event that was applied before its business code was removed keeps its item."""
    store = MemoryStore()
    run([judged("e", pay("a", 5), request_id="r1")], store)
    assert words(run([judged("e", None, request_id="r2")], store)) == ["duplicate"]
    assert words(run([judged("e", None, request_id="r1")], store)) == ["applied"]
    assert outcome_of(store, "shop#e") == "applied"


def test_a_forgery_takes_no_event_s_place() -> None:
    """What fails verification lies under its request id, and the real event is applied."""
    store = MemoryStore()
    assert words(run([forged("r1"), judged("e", pay("a", 5))], store)) == [
        "quarantined signature_mismatch",
        "applied",
    ]
    assert words(run([forged("r1")], store)) == ["quarantined signature_mismatch"]
    item = store.tables[EVENTS]["shop!r1"]
    assert (item["outcome"]["S"], source_of_part(item["quarantine"]["S"])) == ("quarantined", "shop")


# What cannot be applied


def test_a_failed_condition_quarantines_its_event_alone() -> None:
    """Business code's condition fails: one more call, the neighbours applied, the reason names the item."""
    store = MemoryStore()
    batch = [judged("e1", pay("b", 1)), judged("e2", spend("a", 3)), judged("e3", pay("c", 1))]
    report = run(batch, store)
    assert words(report) == ["applied", "quarantined condition_failed", "applied"]
    assert report.calls_count == 2
    assert '"a"' in report.results[1].detail
    item = store.tables[EVENTS]["shop!r-e2"]
    assert (item["reason"]["S"], item["event_id"]["S"]) == ("condition_failed", "e2")


def test_a_refusal_is_final_for_its_delivery() -> None:
    """When the batch is read again the refused event stays refused, although its condition holds by now."""
    store = MemoryStore()
    run([judged("e2", spend("a", 3))], store)
    run([judged("e3", pay("a", 10))], store)
    assert words(run([judged("e2", spend("a", 3))], store)) == ["quarantined condition_failed"]
    assert balance(store, "a") == 10


def test_another_delivery_of_a_refused_event_is_tried() -> None:
    """The fence of a refused delivery does not make the next one a duplicate; both keep their outcomes."""
    store = MemoryStore()
    run([judged("e2", spend("a", 3), request_id="r1")], store)
    run([judged("e3", pay("a", 10))], store)
    assert words(run([judged("e2", spend("a", 3), request_id="r2")], store)) == ["applied"]
    assert words(run([judged("e2", spend("a", 3), request_id="r2")], store)) == ["applied"]
    assert words(run([judged("e2", spend("a", 3), request_id="r1")], store))[0].startswith("quarantined")
    assert words(run([judged("e2", spend("a", 3), request_id="r3")], store)) == ["duplicate"]
    assert balance(store, "a") == 7


def test_the_second_in_a_batch_is_tried_after_the_first_was_refused() -> None:
    """Two deliveries of an event in a batch, with what its condition needs between them: the second is applied."""
    store = MemoryStore()
    batch = [
        judged("e", spend("a", 3), request_id="r1"),
        judged("e2", pay("a", 10)),
        judged("e", spend("a", 3), request_id="r2"),
        judged("e", spend("a", 3), request_id="r3"),
    ]
    assert words(run(batch, store)) == ["quarantined condition_failed", "applied", "applied", "duplicate"]
    assert balance(store, "a") == 7


def test_an_event_that_lost_its_business_code_passes_its_fence() -> None:
    """An ignored delivery of an event whose earlier delivery was refused is written, and both remain told apart."""
    store = MemoryStore()
    run([judged("e", spend("a", 3), request_id="r1")], store)
    batch = [judged("e", None, request_id="r1"), judged("e", None, request_id="r2")]
    assert words(run(batch, store)) == ["quarantined condition_failed", "ignored"]
    assert outcome_of(store, "shop#e") == "ignored"


class Grumpy(FaultyStore):
    """Refuses every transaction that touches a poisonous item, and does not say which."""

    def __init__(self, *poisonous: str) -> None:
        super().__init__()
        self._poisonous = [f'"id":{{"S":"{name}"}}' for name in poisonous]

    def transact(self, requests: Any, token: str) -> float:
        if any(name in request for name in self._poisonous for request in requests):
            self.asked.append(("transact", (list(requests), token)))
            raise Refused("One or more parameter values were invalid")
        return super().transact(requests, token)


@pytest.mark.parametrize("size", [2, 17, 50])
@pytest.mark.parametrize("at", [0, 0.5, 1])
def test_a_poisonous_event_is_found_in_logarithmic_calls(size: int, at: float) -> None:
    """A refused transaction is halved until the fault is alone; its neighbours are applied together."""
    poison = int(at * (size - 1))
    store = Grumpy(f"t{poison}")
    report = run([judged(f"e{number}", thing(f"t{number}")) for number in range(size)], store)
    assert words(report) == ["applied"] * poison + ["quarantined change_invalid"] + ["applied"] * (size - poison - 1)
    assert report.calls_count <= 2 * math.ceil(math.log2(size)) + 3


def test_many_poisonous_events_are_found() -> None:
    """Several faults in one transaction are each isolated, in order."""
    store = Grumpy("t3", "t4", "t40")
    report = run([judged(f"e{number}", thing(f"t{number}"), key="k") for number in range(50)], store)
    assert [at for at, word in enumerate(words(report)) if word != "applied"] == [3, 4, 40]
    assert report.calls_count <= 3 * (2 * 6 + 3)


def test_a_fault_that_the_store_points_at_is_refused_at_once() -> None:
    """A reason with a position needs no search: an addition to text is one more call."""
    store = MemoryStore()
    run([judged("e0", [Put("balances", {"account": "x"}, {"EUR": "text"})])], store)
    report = run([judged(f"e{n}", pay("x" if n == 7 else f"a{n}", 1)) for n in range(1, 40)], store)
    assert words(report)[6] == "quarantined change_invalid"
    assert words(report).count("applied") == 38
    assert report.calls_count == 2


def test_a_fault_of_a_shared_action_is_found_among_those_who_share_it() -> None:
    """Two additions share an action that fails: each is tried alone, and both are refused."""
    store = MemoryStore()
    run([judged("e0", [Put("balances", {"account": "x"}, {"EUR": "text"})])], store)
    batch = [judged("e1", pay("x", 1)), judged("e2", pay("a", 1)), judged("e3", pay("x", 1))]
    assert words(run(batch, store)) == ["quarantined change_invalid", "applied", "quarantined change_invalid"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([Put("nowhere", {"id": "x"})], "change_invalid"),
        ([Put("things", {"id": "x"}, {"price": 1.5})], "change_invalid"),  # type: ignore[dict-item]
        ([Put("things", {"id": ""})], "change_invalid"),
        ([Put("things", {"id": "x"}), Update("things", {"id": "x"}, add={"n": 1})], "change_invalid"),
        ([Put("things", {"id": "x"}, {"text": "x" * 410_000})], "too_large"),
        ([Put("things", {"id": f"x{number}"}) for number in range(100)], "too_large"),
        ([Put("things", {"id": f"x{number}"}, {"t": "x" * 390_000}) for number in range(11)], "too_large"),
        ([Update("things", {"id": "x"}, set={"n": 1}, condition=exists("n"), newer=Newer("v", 1))], "change_invalid"),
    ],
)
def test_changes_that_can_never_work_are_refused_before_any_call(changes: list[Change], reason: str) -> None:
    """What is wrong by its form alone is quarantined with its fence in one call; the neighbour is in it too."""
    store = MemoryStore()
    report = run([judged("e1", changes), judged("e2", pay("a", 1))], store)
    assert words(report) == [f"quarantined {reason}", "applied"]
    assert store.calls == ["transact"]


def test_an_item_that_grew_too_large_quarantines_the_event() -> None:
    """An update that would take an item over 400 KB is reported as too large."""
    store = MemoryStore()
    run([judged("e1", [Put("things", {"id": "x"}, {"a": "x" * 390_000})])], store)
    report = run([judged("e2", [Update("things", {"id": "x"}, set={"b": "x" * 30_000})])], store)
    assert words(report) == ["quarantined too_large"]


def test_a_quarantine_that_is_refused_leaves_the_event_to_the_failure_destination() -> None:
    """When not even the quarantine can be written the event is left to the next batch, and the others are done."""

    class Stubborn(Grumpy):
        def transact(self, requests: Any, token: str) -> float:
            if any("shop!r-e1" in request for request in requests):
                raise Refused("no")
            return super().transact(requests, token)

    report = run([judged("e1", thing("bad")), judged("e2", thing("good"))], Stubborn("bad"))
    assert words(report) == ["retry", "applied"]


# If newer, checks


def test_an_older_version_is_left_out_and_the_event_applied() -> None:
    """Of three versions that come in the wrong order the newest stays, and the event's other changes are made."""
    store = MemoryStore()
    for version in (2, 3, 1):
        changes = [Put("things", {"id": "x"}, {"v": version}, newer=Newer("at", version)), *pay("a", 1)]
        assert words(run([judged(f"e{version}", changes)], store)) == ["applied"]
    assert store.tables["things"]["x"]["v"] == {"N": "3"}
    assert balance(store, "a") == 3


def test_a_check_that_many_share_is_one_action() -> None:
    """Ninety events that demand the same of one item fit into a transaction, and a failed check refuses them all."""
    store = MemoryStore()
    changes = [Check("things", {"id": "open"}, exists("id"))]
    report = run([judged(f"e{number}", changes) for number in range(90)], store)
    assert set(words(report)) == {"quarantined condition_failed"}
    run([judged("open", thing("open"))], store)
    report = run([judged(f"f{number}", changes) for number in range(90)], store)
    assert (set(words(report)), report.calls_count) == ({"applied"}, 1)


def test_conditions_on_one_item_are_judged_in_order() -> None:
    """Spending more than there is fails at exactly the event that does it."""
    store = MemoryStore()
    batch = [judged("e0", pay("a", 10)), *[judged(f"e{number}", spend("a", 4)) for number in range(1, 5)]]
    assert words(run(batch, store)) == ["applied"] * 3 + ["quarantined condition_failed"] * 2
    assert balance(store, "a") == 2


# What time fixes


@pytest.mark.parametrize(
    "fault",
    [
        StoreThrottled(),
        StoreUnavailable(),
        CommitConflict(),
        Cancelled([Reason("TransactionConflict"), Reason("None")]),
        Cancelled([Reason("None"), Reason("ThrottlingError")]),
        Cancelled([Reason("ProvisionedThroughputExceeded"), Reason("None")]),
        Cancelled(()),
    ],
)
def test_what_time_mends_is_tried_again_after_a_pause(fault: Exception) -> None:
    """Throttles, conflicts and failures of the store are waited out with growing, jittered pauses."""
    store, clock = FaultyStore(transact=[fault] * 5), Clock(60)
    report = run([judged("e", pay("a", 5))], store, clock=clock)
    assert (words(report), report.calls_count) == (["applied"], 6)
    assert [pause <= 0.025 * 2**attempt for attempt, pause in enumerate(clock.slept, 1)] == [True] * 5
    assert balance(store.store, "a") == 5


def test_pauses_differ_between_consumers() -> None:
    """Two consumers that collide do not come back at the same time."""

    def pauses(seed: int) -> list[float]:
        clock = Clock(60)
        run([judged("e", pay("a", 5))], FaultyStore(transact=[CommitConflict()] * 4), clock=clock, seed=seed)
        return clock.slept

    assert pauses(1) != pauses(2)


def test_a_lost_answer_changes_nothing_twice() -> None:
    """The write happened, the answer was lost: the same request goes again under its token, and writes nothing."""
    store = FaultyStore(lost_transact=[StoreUnavailable()])
    report = run([judged("e1", pay("a", 5)), judged("e2", pay("a", 6))], store)
    assert words(report) == ["applied", "applied"]
    assert store.asked[0] == store.asked[1]
    assert balance(store.store, "a") == 11


def test_a_lost_answer_is_recognised_when_its_token_is_forgotten() -> None:
    """Ten minutes later, or in another process, the marks tell: applied, for it was this very delivery."""
    store = FaultyStore(lost_transact=[StoreUnavailable()])

    def forget() -> None:
        store.store._tokens.clear()

    store.before["transact"] = [None, forget]
    report = run([judged("e1", pay("a", 5)), judged("e2", pay("a", 6))], store)
    assert words(report) == ["applied", "applied"]
    assert balance(store.store, "a") == 11


def test_a_lost_insert_is_recognised() -> None:
    """An insert whose answer was lost is found to be this delivery's own."""
    store = FaultyStore(lost_insert=[StoreUnavailable()])
    assert words(run([judged("e1", None), forged("r9")], store)) == ["ignored", "quarantined signature_mismatch"]
    assert store.operations == ["insert", "insert", "read_marks"]


def test_one_insert_of_many_that_is_throttled_goes_again_alone() -> None:
    """What an insert left out is inserted after a pause; what it wrote is not."""

    class Throttling(FaultyStore):
        def insert(self, items: Any) -> Any:
            answer = super().insert(items[1:] if len(self.asked) == 0 else items)
            if len(self.asked) == 1:
                return type(answer)([Reason("ThrottlingError"), *answer.reasons], answer.write_units)
            return answer

    store = Throttling()
    assert words(run([judged(f"e{number}", None) for number in range(5)], store)) == ["ignored"] * 5
    assert [len(asked) for _, asked in store.asked] == [4, 1]


def test_time_that_is_up_leaves_the_rest_to_the_next_batch() -> None:
    """No call begins after the deadline; what was done is reported, the rest says why."""
    store = FaultyStore(transact=[None, *[StoreThrottled()] * 1000])
    clock = Clock(5)
    batch = [judged(f"e{number}", thing(f"t{number}")) for number in range(60)]
    report = run(batch, store, clock=clock)
    assert words(report) == ["applied"] * 50 + ["retry"] * 10
    assert {type(result.error) for result in report.results[50:]} == {StoreThrottled}
    assert clock.left_s <= 0


def test_no_time_at_all_is_no_call_at_all() -> None:
    """An invocation that begins too late reports all of its batch as not done."""
    store = FaultyStore()
    report = run([judged("e", pay("a", 5)), judged("e2", None)], store, clock=Clock(0))
    assert (words(report), store.asked) == (["retry", "retry"], [])
    assert report.results[0].error is not None
    assert report.results[0].error.code == "deadline_near"


class HotItem(FaultyStore):
    """An item whose every write is throttled."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._key = f'"id":{{"S":"{name}"}}'

    def transact(self, requests: Any, token: str) -> float:
        reasons = [Reason("ThrottlingError" if self._key in request else "None") for request in requests]
        if any(reason.code != "None" for reason in reasons):
            self.asked.append(("transact", (list(requests), token)))
            raise Cancelled(reasons)
        return super().transact(requests, token)


def test_a_later_event_of_the_key_never_overtakes() -> None:
    """While the first of a key is throttled those behind it do not start, and all that is not behind it goes on."""
    batch = [judged("e0", thing("hot"), key="k"), judged("e1", thing("cold"), key="k")]
    batch += [judged("e2", pay("a", 1), key="k"), judged("e3", pay("a", 2))]
    batch += [judged(f"o{number}", thing(f"o{number}")) for number in range(120)]
    store = HotItem("hot")
    report = run(batch, store, clock=Clock(5))
    assert words(report) == ["retry"] * 3 + ["applied"] * 121
    assert set(store.store.tables["things"]) == {f"o{number}" for number in range(120)}
    assert balance(store.store, "a") == 2


def test_an_event_that_waits_holds_back_its_key_and_nothing_else() -> None:
    """Behind an event that could not be judged yet, events of its key with effects wait too; duplicates of those do."""
    store = MemoryStore()
    batch = [
        items.wait(SecretUnavailable(), position=0, partition_key="k"),
        judged("e1", pay("a", 1), key="k"),
        judged("e2", pay("a", 2), key="l"),
        judged("e3", None, key="k"),
        judged("e1", pay("a", 1), request_id="again"),
        judged("e4", thing("x")),
    ]
    assert words(run(batch, store)) == ["retry", "retry", "applied", "ignored", "retry", "applied"]
    assert balance(store, "a") == 2


def test_a_set_up_that_cannot_work_ends_the_batch_at_once() -> None:
    """A missing table or right is not an event's fault: all is left to the next batch at once."""
    store, clock = FaultyStore(transact=[ConfigError("Requested resource not found")]), Clock(60)
    report = run([judged("e", pay("a", 5))], store, clock=clock)
    assert (words(report), report.calls_count, clock.slept) == (["retry"], 1, [])
    assert "Requested resource not found" in str(report.results[0].error)


def test_a_bug_is_told_and_loses_nothing() -> None:
    """An exception that no code foresaw leaves its events to the next batch and is reported."""
    store = FaultyStore(transact=[RuntimeError("oops")])
    report = run([judged("e", pay("a", 5))], store)
    assert words(report) == ["retry"]
    assert [str(bug) for bug in report.bugs] == ["oops"]


def test_a_cancellation_without_items_is_looked_up() -> None:
    """A store that does not tell which item stood in the way is asked for the mark."""
    store = MemoryStore()
    run([judged("e1", pay("a", 5), request_id="earlier")], store)
    faulty = FaultyStore(store, transact=[Cancelled([Reason("ConditionalCheckFailed"), Reason("None")])])
    report = run([judged("e1", pay("a", 5))], faulty)
    assert (words(report), faulty.operations) == (["duplicate"], ["transact", "read_marks"])


def test_a_look_up_that_fails_stops_nobody() -> None:
    """Reading ahead is a matter of cost: when it does not work the transactions find out by themselves."""
    recent, store = RecentMarks(), FaultyStore(read_marks=[StoreThrottled()] * 9)
    run([judged("e1", pay("a", 5))], store, recent=recent)
    report = run([judged("e1", pay("a", 5), request_id="again")], store, recent=recent)
    assert words(report) == ["duplicate"]
    assert store.operations == ["transact", "read_marks", "read_marks", "transact"]


# Bodies of every size

LARGE = Random(7).randbytes(450_000)


def test_a_large_body_goes_to_the_bucket_first() -> None:
    """An item points to what it cannot hold, the object is there before it, and the envelope comes back whole."""
    store = FaultyStore()
    one = judged("e", pay("a", 5), body=LARGE)
    assert words(run([one], store)) == ["applied"]
    assert store.operations == ["put_payload", "transact"]
    pointer = store.store.tables[EVENTS]["shop#e"]["payload_s3"]["S"]
    assert pointer == payload_key(one)
    assert pointer.startswith("payloads/2026/09/21/")
    back = unpack(store.store.payloads[pointer], request_id="r-e", arrived_at_ms=NOW_MS - 5, source="shop", key="")
    assert back == one.envelope


@pytest.mark.parametrize("changes", [None, ()])
def test_a_large_body_that_nobody_wants_is_kept_too(changes: list[Change] | None) -> None:
    """The cheap way writes the object first as well."""
    store = FaultyStore()
    run([judged("e", changes, body=LARGE)], store)
    assert store.operations == ["put_payload", "insert"]


def test_a_bucket_that_does_not_answer_stops_only_what_needs_it() -> None:
    """The large event waits for the bucket until time is up; the others are done."""
    store = FaultyStore(put_payload=[StoreUnavailable()] * 1000)
    batch = [judged("e1", pay("a", 5)), judged("e2", pay("a", 6), body=LARGE), judged("e3", pay("b", 7))]
    batch[1:1] = [judged("e4", pay("c", 1), body=LARGE)]
    report = run(batch, store, clock=Clock(5), concurrency=1)
    assert words(report)[1] == "retry"
    assert words(report)[3] == "applied"


def test_without_a_bucket_a_large_body_is_left_to_the_failure_destination() -> None:
    """There is nowhere to keep it, so it is not done; the others are."""
    store = MemoryStore(has_bucket=False)
    assert words(run([judged("e1", pay("a", 5), body=LARGE), judged("e2", pay("b", 6))], store)) == [
        "retry",
        "applied",
    ]


def test_the_events_of_one_delivery_share_one_object() -> None:
    """A delivery of many events is stored once, not with each of them."""
    store = FaultyStore()
    body = Random(3).randbytes(3000)
    batch = [judged(f"e{index}", pay("a", 1), request_id="r", body=body, index=index, count=20) for index in range(20)]
    assert words(run(batch, store)) == ["applied"] * 20
    assert store.operations == ["put_payload", "transact"]
    assert len(store.store.payloads) == 1


def test_a_delivery_of_a_few_small_events_needs_no_bucket() -> None:
    """Where it is cheaper each event has the whole envelope."""
    store = FaultyStore()
    run([judged(f"e{index}", pay("a", 1), request_id="r", index=index, count=3) for index in range(3)], store)
    assert store.operations == ["transact"]


# Calls side by side


def test_calls_go_side_by_side_under_the_bound() -> None:
    """With room for four calls exactly four are under way at once."""
    barrier, most = Barrier(4, timeout=5), 0

    class Meeting(MemoryStore):
        under_way = 0

        def transact(self, requests: Any, token: str) -> float:
            nonlocal most
            Meeting.under_way += 1
            most = max(most, Meeting.under_way)
            barrier.wait()
            Meeting.under_way -= 1
            return super().transact(requests, token)

    batch = [judged(f"e{number}", thing(f"t{number}")) for number in range(400)]
    report = run(batch, Meeting(), concurrency=4)
    assert (set(words(report)), report.calls_count, most) == ({"applied"}, 8, 4)


def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    """A call that hangs past the deadline leaves its events to the next batch, which finds them applied."""
    hold = Barrier(2, timeout=20)

    class Hanging(MemoryStore):
        _hangs = True

        def transact(self, requests: Any, token: str) -> float:
            units = super().transact(requests, token)
            if self._hangs and '"a0"' in str(requests):
                with pytest.raises(BrokenBarrierError):
                    hold.wait()
            elif self._hangs:
                others_done_s.append(monotonic())
            return units

    others_done_s: list[float] = []
    store = Hanging()
    batch = [judged(f"e{number}", thing(f"a{number}")) for number in range(60)]
    report = commit(
        batch,
        store,
        # However slow this machine is, the time is up after what does not hang is done.
        deadline=lambda: others_done_s[0] + 0.3 - monotonic() if others_done_s else 30.0,
        concurrency=2,
        rng=Random(1),
        sleep=lambda _: None,
        now_ms=NOW_MS,
    )
    assert set(words(report)) == {"applied", "retry"}
    hold.abort()
    store._hangs = False
    assert set(words(run(batch, store))) == {"applied"}


def test_the_stored_envelope_is_the_one_that_came() -> None:
    """What an item holds is packed without loss, whatever bytes the body has."""
    store = MemoryStore()
    body = bytes(range(256)) * 20
    run([judged("e", pay("a", 1), body=body)], store)
    [value] = [value for name, value in store.tables[EVENTS]["shop#e"].items() if name == "envelope"]
    back = unpack(b64decode(value["B"]), request_id="r-e", arrived_at_ms=NOW_MS - 5, source="shop", key="")
    assert back == envelope("r-e", body)

"""What the commit relies on, case by case, on the engine in this process and on real ones alike."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.support.batches import NOW_MS, judged, of_record, run, words
from tests.support.model import Model, Record, plain
from tests.support.stores import Bench, MemoryBench, RealBench, fields, real_bench, request
from weir.consumers.business.changes import Change, Check, Delete, Newer, Put, Update, absent, at_least, exists
from weir.consumers.commit.recent_marks import RecentMarks
from weir.consumers.events_table.item import JudgedEvent
from weir.consumers.events_table.mark import Mark
from weir.consumers.events_table.port import (
    CONDITION_FAILED,
    DUPLICATE_ITEM,
    NONE,
    VALIDATION_ERROR,
    Cancelled,
    Reason,
    Refused,
)
from weir.infra.local.engine.engine import Engine
from weir.ingest.errors import ConfigError
from weir.ingest.ids import MarkKey, RequestId
from weir.testing.memory_store import key_text

LOCALSTACK = os.environ.get("LOCALSTACK_ENDPOINT")

_made: dict[str, Bench] = {}


@pytest.fixture(
    params=[
        "memory",
        pytest.param("engine", marks=pytest.mark.engine),
        pytest.param(
            "localstack",
            marks=[
                pytest.mark.localstack,
                pytest.mark.skipif(not LOCALSTACK, reason="LOCALSTACK_ENDPOINT names no LocalStack"),
            ],
        ),
    ]
)
def bench(request: pytest.FixtureRequest) -> Bench:
    """Return a store on each engine in turn; cases share its tables, so they use keys of their own."""
    name: str = request.param
    if name not in _made:
        _made[name] = _make(name, lambda: request.getfixturevalue("engine"))
    return _made[name]


def _make(name: str, engine: Callable[[], Engine]) -> Bench:
    if name == "memory":
        return MemoryBench()
    return real_bench(engine().endpoint if name == "engine" else str(LOCALSTACK))


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def token() -> str:
    return uuid.uuid4().hex


def put(bench: Bench, key: str, **attributes: Any) -> str:
    return request("Put", bench.table("things"), Item={"id": {"S": key}, **attributes})


def guarded(bench: Bench, key: str, *, wants_old: bool = True) -> str:
    options = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if wants_old else {}
    return request(
        "Put",
        bench.table("events"),
        Item={"pk": {"S": key}, "request_id": {"S": "r1"}, "outcome": {"S": "applied"}},
        ConditionExpression="attribute_not_exists(pk)",
        **options,
    )


def update(bench: Bench, key: str, expression: str, **values: Any) -> str:
    return request(
        "Update",
        bench.table("things"),
        Key={"id": {"S": key}},
        UpdateExpression=expression,
        ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
    )


def cancelled(bench: Bench, *requests: str) -> list[Reason]:
    with pytest.raises(Cancelled) as caught:
        bench.store.transact(requests, token())
    return list(caught.value.reasons)


# Transactions


def test_a_transaction_is_done_whole(bench: Bench, key: str) -> None:
    """Each action takes effect and two write units a kilobyte are reported."""
    units = bench.store.transact([put(bench, key, n={"N": "1"}), put(bench, f"{key}b", t={"S": "x" * 1500})], token())
    assert bench.items("things")[key]["n"] == {"N": "1"}
    assert units == 2 + 4


def test_a_failed_condition_undoes_all_and_tells_where(bench: Bench, key: str) -> None:
    """Reasons are in the order of the actions; each failed one is reported, with the mark if that was asked for."""
    bench.store.transact([guarded(bench, key), guarded(bench, f"{key}2")], token())
    reasons = cancelled(
        bench,
        put(bench, key),
        guarded(bench, key),
        guarded(bench, f"{key}3"),
        guarded(bench, f"{key}2", wants_old=False),
    )
    assert [reason.code for reason in reasons] == [NONE, CONDITION_FAILED, NONE, CONDITION_FAILED]
    assert [reason.mark for reason in reasons] == [None, Mark(RequestId("r1"), "applied", key=MarkKey(key)), None, None]
    assert key not in bench.items("things")


def test_a_token_makes_a_transaction_once(bench: Bench, key: str) -> None:
    """The same request under the same token succeeds again and adds nothing."""
    add, once = update(bench, key, "ADD n :n", n={"N": "5"}), token()
    bench.store.transact([add], once)
    bench.store.transact([add], once)
    assert bench.items("things")[key]["n"] == {"N": "5"}


def test_a_token_of_something_else_does_nothing(bench: Bench, key: str) -> None:
    """Another request under a used token is a cancellation without reasons."""
    once = token()
    bench.store.transact([update(bench, key, "ADD n :n", n={"N": "5"})], once)
    with pytest.raises(Cancelled) as caught:
        bench.store.transact([update(bench, key, "ADD n :n", n={"N": "6"})], once)
    assert list(caught.value.reasons) == []
    assert bench.items("things")[key]["n"] == {"N": "5"}


def test_a_cancelled_transaction_does_not_use_up_its_token(bench: Bench, key: str) -> None:
    """After a cancellation the same request under the same token is judged again."""
    once, check = (
        token(),
        request(
            "ConditionCheck",
            bench.table("things"),
            Key={"id": {"S": f"{key}c"}},
            ConditionExpression="attribute_exists(id)",
        ),
    )
    with pytest.raises(Cancelled):
        bench.store.transact([put(bench, key), check], once)
    bench.store.transact([put(bench, f"{key}c")], token())
    bench.store.transact([put(bench, key), check], once)
    assert key in bench.items("things")


@pytest.mark.parametrize("count", [0, 101])
def test_a_transaction_has_1_to_100_actions(bench: Bench, key: str, count: int) -> None:
    """More actions, or none, are refused."""
    with pytest.raises(Refused):
        bench.store.transact([put(bench, f"{key}{number}") for number in range(count)], token())


def test_a_hundred_actions_are_taken(bench: Bench, key: str) -> None:
    """The limit itself is allowed."""
    assert bench.store.transact([put(bench, f"{key}{number}") for number in range(100)], token()) == 200


def test_no_item_is_twice_in_a_transaction(bench: Bench, key: str) -> None:
    """Two actions on one item are refused."""
    with pytest.raises(Refused):
        bench.store.transact([put(bench, key), update(bench, key, "ADD n :n", n={"N": "1"})], token())


def test_a_key_of_the_wrong_type_does_not_get_through(bench: Bench, key: str) -> None:
    """A numeric key where the table has text is pointed at or refused as a whole."""
    wrong = request("Put", bench.table("things"), Item={"id": {"N": "1"}})
    with pytest.raises((Refused, Cancelled)) as caught:
        bench.store.transact([put(bench, key), wrong], token())
    if isinstance(caught.value, Cancelled):
        assert [reason.code for reason in caught.value.reasons] == [NONE, VALIDATION_ERROR]
    assert key not in bench.items("things")


def test_adding_to_text_is_pointed_at(bench: Bench, key: str) -> None:
    """An addition that the stored type forbids is a validation error at its position."""
    bench.store.transact([put(bench, key, n={"S": "text"})], token())
    reasons = cancelled(bench, put(bench, f"{key}2"), update(bench, key, "ADD n :n", n={"N": "1"}))
    assert [reason.code for reason in reasons] == [NONE, VALIDATION_ERROR]


def test_a_failed_condition_comes_before_a_faulty_update(bench: Bench, key: str) -> None:
    """If a duplicate's mark fails and its change is faulty by now, the mark is reported."""
    bench.store.transact([guarded(bench, key), put(bench, key, n={"S": "text"})], token())
    reasons = cancelled(bench, guarded(bench, key), update(bench, key, "ADD n :n", n={"N": "1"}))
    assert reasons[0].code == CONDITION_FAILED


def test_an_item_over_400_kb_is_refused(bench: Bench, key: str) -> None:
    """A Put that is too large says so."""
    with pytest.raises((Refused, Cancelled)) as caught:
        bench.store.transact([put(bench, key, t={"S": "x" * 410_000})], token())
    assert "size" in _message(caught.value)


def test_an_item_that_would_grow_over_400_kb_is_refused(bench: Bench, key: str) -> None:
    """An Update that takes an item over the limit says so."""
    bench.store.transact([put(bench, key, t={"S": "x" * 390_000})], token())
    with pytest.raises((Refused, Cancelled)) as caught:
        bench.store.transact([update(bench, key, "SET u = :u", u={"S": "x" * 30_000})], token())
    assert "size" in _message(caught.value)


def _message(error: BaseException) -> str:
    return " ".join(reason.message for reason in error.reasons) if isinstance(error, Cancelled) else str(error)


def test_a_table_that_is_not_there_is_nobodys_fault(bench: Bench, key: str) -> None:
    """A missing table is an error of the set-up."""
    with pytest.raises(ConfigError):
        bench.store.transact([request("Put", f"{bench.table('things')}-no", Item={"id": {"S": key}})], token())


@pytest.mark.parametrize(
    ("old", "new", "sum_"),
    [
        ("1", "-3", "-2"),
        ("999999999999999999999999998", "1", "999999999999999999999999999"),
        ("0.1", "0.2", "0.3"),
        ("5", "-5", "0"),
    ],
)
def test_additions_are_exact(bench: Bench, key: str, old: str, new: str, sum_: str) -> None:
    """Numbers are decimal; the emulators keep 28 of DynamoDB's 38 digits."""
    for amount in (old, new):
        bench.store.transact([update(bench, key, "ADD n :n", n={"N": amount})], token())
    assert bench.items("things")[key]["n"] == {"N": sum_}


def test_sets_of_text_are_compared_whole(bench: Bench, key: str) -> None:
    """A fence is recognised by the set of deliveries that it holds, and grows by additions."""
    add = update(bench, key, "ADD refused :r", r={"SS": ["a"]})
    bench.store.transact([add], token())
    bench.store.transact([update(bench, key, "ADD refused :r", r={"SS": ["b"]})], token())
    for names, holds in ((["b", "a"], True), (["a"], False)):
        check = request(
            "ConditionCheck",
            bench.table("things"),
            Key={"id": {"S": key}},
            ConditionExpression="refused = :r",
            ExpressionAttributeValues={":r": {"SS": names}},
        )
        if holds:
            bench.store.transact([check], token())
        else:
            assert [reason.code for reason in cancelled(bench, check)] == [CONDITION_FAILED]


# Inserts, marks, payloads


def test_inserts_are_each_for_itself(bench: Bench, key: str) -> None:
    """What is there already stays as it is and is reported; the others are written."""
    first = fields(pk={"S": key}, outcome={"S": "ignored"}, received_at={"N": "7"}, envelope={"B": "AAEC"})
    answer = bench.store.insert([first])
    assert [reason.code for reason in answer.reasons] == [NONE]
    second = fields(pk={"S": key}, outcome={"S": "applied"}, received_at={"N": "8"}, envelope={"B": "AAED"})
    answer = bench.store.insert([fields(pk={"S": f"{key}2"}), second, fields(pk={"S": f"{key}3"})])
    assert [reason.code for reason in answer.reasons] == [NONE, DUPLICATE_ITEM, NONE]
    items = bench.items("events")
    assert items[key]["outcome"] == {"S": "ignored"}
    assert {f"{key}2", f"{key}3"} <= items.keys()


def test_an_insert_takes_25_items(bench: Bench, key: str) -> None:
    """The limit itself is allowed, one more is not."""
    items = [fields(pk={"S": f"{key}{number}"}, outcome={"S": "ignored"}) for number in range(26)]
    assert [reason.code for reason in bench.store.insert(items[:25]).reasons] == [NONE] * 25
    with pytest.raises(Refused):
        bench.store.insert(items)


def test_an_insert_costs_half_of_a_transaction(bench: Bench, key: str) -> None:
    """One write unit an item of up to a kilobyte."""
    assert bench.store.insert([fields(pk={"S": key}), fields(pk={"S": f"{key}2"})]).write_units == 2


def test_a_name_is_text_to_an_insert(bench: Bench, key: str) -> None:
    """Quotes, question marks and braces in values are values: the statement has none of them."""
    odd = f"{key}'; DROP {{?}} \"\\"
    bench.store.insert([fields(pk={"S": odd}, outcome={"S": "it's"})])
    assert bench.items("events")[odd]["outcome"] == {"S": "it's"}


@pytest.mark.parametrize("consistent", [True, False])
def test_marks_are_read_in_bulk(bench: Bench, key: str, consistent: bool) -> None:
    """A hundred keys are one call; those without an item are absent."""
    bench.store.insert([fields(pk={"S": key}, outcome={"S": "ignored"}, request_id={"S": "r9"}, applied_at={"N": "7"})])
    refused = request(
        "Update",
        bench.table("events"),
        Key={"pk": {"S": f"{key}f"}},
        UpdateExpression="SET outcome = :o, reason = :w ADD refused :r",
        ExpressionAttributeValues={":o": {"S": "fenced"}, ":w": {"S": "why"}, ":r": {"SS": ["x", "y"]}},
    )
    bench.store.transact([refused], token())
    asked = [key, f"{key}f", *[f"{key}{number}" for number in range(98)]]
    assert bench.store.read_marks(asked, consistent=consistent) == {
        key: Mark(RequestId("r9"), "ignored", key=MarkKey(key), applied_at_ms=7),
        f"{key}f": Mark(RequestId(""), "fenced", "why", frozenset({"x", "y"}), key=MarkKey(f"{key}f")),
    }


def test_a_payload_is_kept(bench: Bench, key: str) -> None:
    """The bucket gives back what it was given; putting it twice is the same as once."""
    for _ in range(2):
        bench.store.put_payload(f"payloads/{key}", b"\x00\xff" * 1000)
    assert bench.payload(f"payloads/{key}") == b"\x00\xff" * 1000


# Keys of every kind


ANY_KEY = [
    ("lines", {"order": {"S": "KEY"}, "line": {"N": "7"}}),
    ("lines", {"order": {"S": "KEY"}, "line": {"N": "-0.5"}}),
    ("blobs", {"digest": {"B": "KEY"}}),
]


def of_key(name: str, template: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a key with a value of the test's own in it; binary is base64."""
    return json.loads(json.dumps(template).replace("KEY", key))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("name", "template"), ANY_KEY, ids=["sort key", "decimal", "binary"])
def test_an_item_has_a_key_of_any_kind(bench: Bench, key: str, name: str, template: dict[str, Any]) -> None:
    """It is put, changed under a condition, checked and deleted by it; another sort key is another item."""
    table, own = bench.table(name), of_key(name, template, key)
    bench.store.transact([request("Put", table, Item={**own, "n": {"N": "1"}})], token())
    add = {"UpdateExpression": "ADD n :n", "ExpressionAttributeValues": {":n": {"N": "2"}}}
    bench.store.transact([request("Update", table, Key=own, **add, ConditionExpression="attribute_exists(n)")], token())
    assert bench.items(name)[key_text(own)]["n"] == {"N": "3"}
    check = request("ConditionCheck", table, Key=own, ConditionExpression="attribute_not_exists(n)")
    assert [reason.code for reason in cancelled(bench, check)] == [CONDITION_FAILED]
    if name == "lines":
        other = {**own, "line": {"N": "8"}}
        bench.store.transact([request("Put", table, Item=other), request("Delete", table, Key=own)], token())
        assert key_text(other) in bench.items(name)
    else:
        bench.store.transact([request("Delete", table, Key=own)], token())
    assert key_text(own) not in bench.items(name)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("lines", {"order": {"S": "KEY"}}),
        ("lines", {"order": {"S": "KEY"}, "line": {"S": "7"}}),
        ("lines", {"order": {"N": "1"}, "line": {"N": "7"}}),
        ("blobs", {"digest": {"S": "KEY"}}),
    ],
    ids=["no sort key", "text for a number", "number for a text", "text for binary"],
)
def test_a_key_that_is_not_the_table_s_is_refused(bench: Bench, key: str, name: str, wrong: dict[str, Any]) -> None:
    """Nothing of the transaction is done."""
    if isinstance(bench, RealBench) and bench.endpoint == LOCALSTACK and len(wrong) < 2 and name == "lines":
        pytest.skip(
            "LocalStack's DynamoDB may be MiniStack as it comes, which takes it: infra/local/engine has the patch"
        )
    bad = request("Put", bench.table(name), Item=of_key(name, wrong, key))
    with pytest.raises((Cancelled, Refused)):
        bench.store.transact([put(bench, key), bad], token())
    assert key not in bench.items("things")


# Whole commits


def _changes(random: Random, prefix: str) -> tuple[Change, ...]:
    number, version = random.randrange(-20, 20), random.randrange(1, 5)
    thing, account = {"id": f"{prefix}t{random.randrange(3)}"}, {"account": f"{prefix}a{random.randrange(2)}"}
    kinds: list[Change] = [
        Update("balances", account, add={"EUR": number, "events": 1}),
        Update("balances", account, add={"EUR": -1}, condition=at_least("EUR", number)),
        Put("things", thing, {"n": number}, newer=Newer("version", version)),
        Put("things", thing, {"n": number}, condition=absent("id")),
        Update("things", thing, set={"v": f"v{number}"}, newer=Newer("version", version)),
        Update("things", thing, set={"n": "text"}),
        Update("things", thing, add={"n": number}),
        Update("things", thing, set={"v": "w"}, remove=("n",)),
        Delete("things", thing, newer=Newer("version", version)),
        Check("things", thing, exists("id") & ~exists("v")),
    ]
    chosen = {str(change.key): change for change in random.sample(kinds, random.choice([0, 1, 1, 2]))}
    return tuple(chosen.values())


@pytest.mark.parametrize("seed", range(6))
def test_a_stream_ends_in_the_model_s_table(bench: Bench, key: str, seed: int) -> None:
    """Random batches, each read twice, end on every engine as the exact model does, and are reported as it says."""
    random = Random(seed)
    events = [None if random.random() < 0.1 else _changes(random, key) for _ in range(30)]
    records = []
    for number in range(60):
        at = random.randrange(30)
        records.append(
            Record(f"{key}e{at}", f"{key}r{number}", f"k{at % 4}" if at % 2 else "", events[at], random.random() < 0.05)
        )
    model, recent = Model().apply_all(records), RecentMarks()
    for start in range(0, 60, 20):
        batch = [of_record(record) for record in records[start : start + 20]]
        for concurrency in (4, 1):
            report = run(batch, bench.store, recent=recent, concurrency=concurrency)
            assert [result.outcome for result in report.results] == model.outcomes[start : start + 20]
    for table in ("balances", "things"):
        stored = {name: plain(item) for name, item in bench.items(table).items() if name.startswith(key)}
        assert stored == model.tables[table]


def test_a_batch_of_real_size(bench: Bench, key: str) -> None:
    """500 records with duplicates are applied by a handful of calls, and again by none that writes."""
    batch = [
        judged(
            f"{key}{number % 475}",
            [Update("balances", {"account": f"{key}{number % 475 % 142}"}, add={"EUR": 1})],
            request_id=f"{key}r{number}",
        )
        for number in range(500)
    ]
    report = run(batch, bench.store, concurrency=8)
    assert words(report) == ["applied"] * 475 + ["duplicate"] * 25
    assert report.calls_count <= 10
    assert words(run(batch, bench.store, concurrency=8)) == words(report)
    stored = [int(item["EUR"]["N"]) for name, item in bench.items("balances").items() if name.startswith(key)]
    assert sum(stored) == 475


# What was ignored


def over(event: JudgedEvent) -> JudgedEvent:
    """Let an event take the place of its own ignored mark."""
    return replace(event, replaces_ignored=True)


def test_an_ignored_event_is_applied_in_the_place_of_its_mark(bench: Bench, key: str) -> None:
    """Once, with what it changes; again, and by another delivery, nothing happens; so does one that changes nothing."""
    events = [
        (f"{key}{number}", [Update("balances", {"account": f"{key}a"}, add={"EUR": number})]) for number in (1, 2)
    ]
    events.append((f"{key}none", []))
    run([judged(name, None) for name, _ in events], bench.store, concurrency=4)
    batch = [over(judged(name, changes)) for name, changes in events]
    again = [over(judged(events[0][0], events[0][1], request_id=f"{key}other"))]
    assert words(run([*batch, *again], bench.store, concurrency=4)) == ["applied"] * 3 + ["duplicate"]
    assert words(run([*batch, *again], bench.store, recent=RecentMarks())) == ["applied"] * 3 + ["duplicate"]
    assert bench.items("balances")[f"{key}a"]["EUR"] == {"N": "3"}
    assert {bench.items("events")[f"shop#{name}"]["outcome"]["S"] for name, _ in events} == {"applied"}


@pytest.mark.parametrize("outcome", ["absent", "applied", "of another delivery", "fenced"])
def test_only_its_own_ignored_mark_is_replaced(bench: Bench, key: str, outcome: str) -> None:
    """Without a mark the event is applied as any other; every other mark says what it always says."""
    change = [Update("balances", {"account": f"{key}a"}, add={"EUR": 1})]
    if outcome == "applied":
        run([judged(key, change)], bench.store)
    elif outcome == "of another delivery":
        run([judged(key, None, request_id=f"{key}first")], bench.store)
    elif outcome == "fenced":
        refused = [Update("balances", {"account": f"{key}a"}, add={"EUR": 1}, condition=exists("never"))]
        run([judged(key, refused)], bench.store)
    said = words(run([over(judged(key, change))], bench.store))
    wanted = {"absent": "applied", "applied": "applied", "of another delivery": "duplicate"}
    assert said == [wanted.get(outcome, "quarantined condition_failed")]
    booked = bench.items("balances").get(f"{key}a", {"EUR": {"N": "0"}})["EUR"]["N"]
    assert booked == ("1" if outcome in {"absent", "applied"} else "0")


@pytest.mark.parametrize("size", [10, 500_000], ids=["small", "in the bucket"])
def test_what_cannot_be_applied_stays_ignored(bench: Bench, key: str, size: int) -> None:
    """The mark, its bytes and everything else are as they were: no fence, no quarantined item."""
    body = Random(1).randbytes(size)
    neighbour, refused = f"{key}good", [Check("things", {"id": key}, exists("id"))]
    run([judged(key, None, body=body), judged(neighbour, None)], bench.store)
    before = bench.items("events")[f"shop#{key}"]
    batch = [over(judged(key, refused, body=body)), over(judged(neighbour, [Put("things", {"id": f"{key}n"}, {})]))]
    assert words(run(batch, bench.store)) == ["quarantined condition_failed", "applied"]
    assert bench.items("events")[f"shop#{key}"] == before
    assert not [name for name in bench.items("events") if name.startswith("shop!") and key in name]


@pytest.mark.parametrize(("later_ms", "wanted"), [(-1000, "applied"), (1000, "applied"), (60_000, "duplicate")])
def test_a_delivery_that_is_in_the_stream_once_more_is_a_duplicate(
    bench: Bench, key: str, later_ms: int, wanted: str
) -> None:
    """A record read again is what it was; a record that came after the mark was written is another one."""
    change = [Update("balances", {"account": f"{key}a"}, add={"EUR": 1})]
    once = replace(judged(key, change), stored_at_ms=NOW_MS - 10)
    assert words(run([once], bench.store)) == ["applied"]
    again = replace(once, stored_at_ms=NOW_MS + later_ms)
    assert words(run([again], bench.store, now_ms=NOW_MS + 90_000)) == [wanted]
    assert bench.items("balances")[f"{key}a"]["EUR"] == {"N": "1"}

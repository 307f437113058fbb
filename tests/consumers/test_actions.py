from __future__ import annotations

import json
import uuid
from decimal import Context, Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import aws
from weir.consumers.business.changes import (
    Change,
    Check,
    Delete,
    Newer,
    Put,
    Update,
    above,
    absent,
    at_least,
    at_most,
    below,
    equals,
    exists,
)
from weir.consumers.events_table.actions import ADDS, Action, compile_changes, merged
from weir.consumers.events_table.attributes import from_item, item_bytes, number, to_wire
from weir.infra.local.engine.engine import Engine
from weir.ingest.errors import ChangeInvalid, EventTooLarge
from weir.operate.replay.targets.simulate import Simulation

TABLES = {"things": "real-things"}
KEY = {"id": "x"}


def compiled(change: Change) -> Action:
    [action] = compile_changes([change], TABLES)
    return action


def request_of(change: Change) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(merged([compiled(change)]))
    return found


# Values


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("a", {"S": "a"}),
        ("", {"S": ""}),
        (5, {"N": "5"}),
        (True, {"BOOL": True}),
        (None, {"NULL": True}),
        (Decimal("10.00"), {"N": "10"}),
        (Decimal("-0.50"), {"N": "-0.5"}),
        (Decimal(0), {"N": "0"}),
        (b"\x00\xff", {"B": "AP8="}),
        ([1, "b"], {"L": [{"N": "1"}, {"S": "b"}]}),
        ({"k": (None,)}, {"M": {"k": {"L": [{"NULL": True}]}}}),
        ({"b", "a"}, {"SS": ["a", "b"]}),
        (frozenset({2, 1}), {"NS": ["1", "2"]}),
        ({b"b"}, {"BS": ["Yg=="]}),
    ],
)
def test_values_are_written_as_dynamodb_knows_them(value: Any, wire: dict[str, Any]) -> None:
    """Every kind of value has its wire form; equal numbers have equal text."""
    assert to_wire(value) == wire


@pytest.mark.parametrize(
    "value",
    [1.5, object(), set(), {1, "a"}, {1: "a"}, 10**39 + 1, Decimal("NaN"), Decimal("1E+126"), "\ud800", ["\udfff"]],
)
def test_what_dynamodb_cannot_hold_is_refused(value: Any) -> None:
    """Floats, mixed or empty sets, numbers out of range and lone surrogates never reach the wire."""
    with pytest.raises((TypeError, ValueError)):
        to_wire(value)


@given(
    st.integers(-(10**38) + 1, 10**38 - 1)
    | st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**25), max_value=10**25)
)
def test_a_number_keeps_its_value(value: Any) -> None:
    """Writing a number and reading it back is exact."""
    assert Decimal(number(value)) == value


def spellings(value: Decimal) -> list[int | Decimal]:
    """Return a number as Python may have it: as it is, shortest, with a zero behind its last digit, and as an int."""
    padded = Decimal((value.as_tuple().sign, (*value.as_tuple().digits, 0), int(value.as_tuple().exponent) - 1))
    found: list[int | Decimal] = [value, value.normalize(Context(prec=38)), padded]
    return [*found, int(value)] if value == value.to_integral_value() else found


NUMBERS = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent, Context(prec=38)),
    st.integers(-(10**30), 10**30),
    st.integers(-12, 60),
)


@given(NUMBERS)
@example(Decimal("1E+2"))
@example(Decimal("-0.0"))
@example(Decimal("1E+38"))
@example(Decimal("1E+125"))
def test_a_number_has_one_spelling(value: Decimal) -> None:
    """Equal numbers are equal text, as a key and in a sum (https://github.com/scylladb/scylladb/pull/29501)."""
    assert len({number(one) for one in spellings(value)}) == 1
    actions = compile_changes([Update("things", {"n": one}, add={"EUR": 1}) for one in spellings(value)], TABLES)
    assert len(actions) == 1


@pytest.mark.engine
def test_spellings_of_a_number_are_one_item(engine: Engine) -> None:
    """On the engine, additions under each spelling of a key meet in one item, and so do they in a dry run."""
    dynamodb = aws.client("dynamodb", engine.endpoint)
    table = f"numbers-{uuid.uuid4().hex}"
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "n", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "n", "KeyType": "HASH"}],
    )

    @settings(max_examples=25, deadline=None)
    @given(NUMBERS)
    @example(Decimal("1E+2"))
    def meet(value: Decimal) -> None:
        simulation = Simulation(lambda _, __: None)
        for one in spellings(value):
            change = Update("things", {"n": one}, add={"EUR": Decimal("100.0")})
            [action] = compile_changes([change], {"things": table})
            dynamodb.transact_write_items(TransactItems=[json.loads(merged([action]))])
            simulation.apply((change,))
        items = dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
        for item in items:
            dynamodb.delete_item(TableName=table, Key={"n": item["n"]})
        total = 100 * len(spellings(value))
        assert [from_item(item) for item in items] == [{"n": value, "EUR": total}]
        assert [after for _, _, after in simulation.differences()] == [{"n": value, "EUR": total}]

    meet()


def test_sizes_are_those_that_are_billed() -> None:
    """Names and values count; text by its UTF-8, binary by its bytes and not its base64."""
    assert item_bytes({"é": {"S": "éé"}}) == 2 + 4
    assert item_bytes({"b": {"B": "AP8="}}) == 1 + 2
    assert item_bytes({"m": {"M": {"k": {"BOOL": True}}}}) == 1 + 3 + 1 + 1 + 1
    assert item_bytes({"s": {"SS": ["ab", "c"]}, "n": {"NULL": True}}) == 1 + 3 + 1 + 1


# Changes


def test_a_put_writes_key_attributes_and_version() -> None:
    """The whole item is written, and the version that guards it with it."""
    assert request_of(Put("things", KEY, {"size": 5}, newer=Newer("seen", 7))) == {
        "Put": {
            "TableName": "real-things",
            "Item": {"id": {"S": "x"}, "size": {"N": "5"}, "seen": {"N": "7"}},
            "ConditionExpression": "(attribute_not_exists(#0) OR #0 < :0)",
            "ExpressionAttributeNames": {"#0": "seen"},
            "ExpressionAttributeValues": {":0": {"N": "7"}},
        }
    }
    assert compiled(Put("things", KEY, newer=Newer("seen", 7))).stale_ok


def test_an_update_sets_adds_and_removes() -> None:
    """All three in one expression; names are placeholders, so reserved words are names like any other."""
    change = Update("things", KEY, set={"status": "a"}, add={"n": 2}, remove=["old"], condition=equals("status", "b"))
    assert request_of(change) == {
        "Update": {
            "TableName": "real-things",
            "Key": {"id": {"S": "x"}},
            "UpdateExpression": "SET #0 = :0 ADD #1 :1 REMOVE #2",
            "ConditionExpression": "#0 = :2",
            "ExpressionAttributeNames": {"#0": "status", "#1": "n", "#2": "old"},
            "ExpressionAttributeValues": {":0": {"S": "a"}, ":1": {"N": "2"}, ":2": {"S": "b"}},
        }
    }


def test_conditions_join() -> None:
    """Conditions nest with their brackets, whatever their order."""
    condition = (exists("a") & ~absent("b")) | below("c", 1) & (at_most("d", 2) | above("e", 3)) & at_least("f", 4)
    expression = request_of(Check("things", KEY, condition))["ConditionCheck"]["ConditionExpression"]
    assert expression == (
        "((attribute_exists(#0) AND (NOT attribute_not_exists(#1)))"
        " OR ((#2 < :0 AND (#3 <= :1 OR #4 > :2)) AND #5 >= :3))"
    )


def test_a_delete_names_the_item() -> None:
    """A Delete has a key and nothing else."""
    assert request_of(Delete("things", KEY)) == {"Delete": {"TableName": "real-things", "Key": {"id": {"S": "x"}}}}


def test_additions_to_one_item_become_one() -> None:
    """The merged request adds the sums, attribute by attribute."""
    actions = [compiled(Update("things", KEY, add={"EUR": amount, "n": 1})) for amount in (5, -7, 10**19)]
    actions.append(compiled(Update("things", KEY, add={"USD": Decimal("0.5")})))
    request = json.loads(merged(actions))["Update"]
    named = {
        request["ExpressionAttributeNames"][f"#{mark[1:]}"]: value["N"]
        for mark, value in request["ExpressionAttributeValues"].items()
    }
    assert named == {"EUR": str(10**19 - 2), "n": "3", "USD": "0.5"}
    assert request["UpdateExpression"] == "ADD #0 :0, #1 :1, #2 :2"


@given(st.lists(st.integers(-(10**20) + 1, 10**20 - 1), min_size=1, max_size=100))
def test_a_merged_sum_is_exact(amounts: list[int]) -> None:
    """However many additions share a write, the sum is what one after the other gives."""
    actions = [compiled(Update("things", KEY, add={"n": amount})) for amount in amounts]
    assert json.loads(merged(actions))["Update"]["ExpressionAttributeValues"][":0"] == {"N": str(sum(amounts))}


@pytest.mark.parametrize(
    "change",
    [
        Update("things", KEY, add={"n": 10**20}),
        Update("things", KEY, add={"n": Decimal("1E-13")}),
        Update("things", KEY, add={"n": 1}, set={"s": 1}),
        Update("things", KEY, add={"n": 1}, condition=exists("n")),
    ],
)
def test_what_might_not_add_up_exactly_stays_alone(change: Update) -> None:
    """Huge or fine amounts, and updates that do more than add, do not share a write."""
    assert compiled(change).shares == ""


def test_equal_checks_can_be_shared() -> None:
    """The same demand of the same item is the same to the planner, another one is not."""
    one, same, other = (compiled(Check("things", KEY, exists(name))) for name in ("a", "a", "b"))
    assert one.shares == same.shares != other.shares
    assert one.shares != ADDS


def test_one_event_may_add_twice_to_an_item() -> None:
    """Additions of one event to one item are joined."""
    [action] = compile_changes(
        [Update("things", KEY, add={"a": 1, "b": 1}), Update("things", KEY, add={"a": 2})], TABLES
    )
    assert action.adds == {"a": 3, "b": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Put("elsewhere", KEY), "no table 'elsewhere'"),
        ("what is this", "str, which is not a change"),
        (None, "NoneType, which is not a change"),
        (Put("things", {}), "no key"),
        (Put("things", {"id": None}), "NoneType"),  # type: ignore[dict-item]
        (Put("things", {"id": True}), "bool"),
        (Put("things", {"id": b""}), "empty"),
        (Put("things", KEY, {"id": "y"}), "belongs to the key"),
        (Put("things", KEY, {"price": 9.99}), "a float is not exact"),  # type: ignore[dict-item]
        (Update("things", KEY), "changes nothing"),
        (Update("things", KEY, set={"id": "y"}), "belongs to the key"),
        (Update("things", KEY, remove=["id"]), "belongs to the key"),
        (Update("things", KEY, remove="name"), "a list of names"),
        (Update("things", KEY, add={"id": 1}), "cannot be added to"),
        (Update("things", KEY, add={"n": True}), "only int and Decimal"),
        (Update("things", KEY, add={"n": "5"}), "only int and Decimal"),  # type: ignore[dict-item]
        (Update("things", KEY, set={"": 1}), "attribute name"),
        (Put("things", KEY, condition=exists("a"), newer=Newer("v", 1)), "not both"),
    ],
)
def test_a_change_that_makes_no_sense_says_why(change: Change, words: str) -> None:
    """What is wrong with a change by its form alone is reported before anything is sent."""
    with pytest.raises(ChangeInvalid, match=words):
        compile_changes([change], TABLES)


def test_an_item_that_is_too_large_is_told_by_its_size() -> None:
    """400 KB is counted as DynamoDB counts it."""
    with pytest.raises(EventTooLarge, match="real-things"):
        compile_changes([Put("things", KEY, {"t": "é" * 205_000})], TABLES)


def test_two_different_changes_of_an_item_are_refused() -> None:
    """DynamoDB takes one action an item, and which of two comes first must not be guessed."""
    with pytest.raises(ChangeInvalid, match="two changes of one item"):
        compile_changes([Put("things", KEY), Delete("things", KEY)], TABLES)

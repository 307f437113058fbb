from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.consumers.commit.plan import ACTIONS_MAX, TRANSACTION_BYTES_MAX, Group, Unit, plan
from weir.consumers.events_table.actions import ADDS


@dataclass(frozen=True)
class Item:
    item: tuple[str, str]
    shares: str = ""
    size_bytes: int = 100


def adds(name: str) -> Item:
    return Item(("balances", name), ADDS)


def unit(*touches: Item, key: str = "", size_bytes: int = 1000) -> Unit:
    """Make an event; without a key it has one of its own."""
    made = Unit(key, size_bytes, touches)
    made.partition_key = key or f"own {id(made)}"
    return made


def after(groups: Sequence[Group]) -> list[set[int]]:
    """Return for each group all that must be over before it starts."""
    known: dict[int, set[int]] = {}

    def all_before(at: int) -> set[int]:
        if at not in known:
            known[at] = set(groups[at].after).union(*(all_before(earlier) for earlier in groups[at].after))
        return known[at]

    return [all_before(at) for at in range(len(groups))]


def place(groups: Sequence[Group]) -> dict[int, int]:
    return {member: at for at, group in enumerate(groups) for member in group.members}


def test_events_of_one_account_share_one_action() -> None:
    """Ninety-nine additions to one item and their marks are one transaction of a hundred actions."""
    [group] = plan([unit(adds("a")) for _ in range(99)])
    assert group.members == list(range(99))
    assert group.fill.actions == ACTIONS_MAX


def test_the_hundredth_addition_waits_for_the_others() -> None:
    """What does not fit goes into a transaction that starts when the first with the same item is over."""
    first, second = plan([unit(adds("a")) for _ in range(100)])
    assert (first.members, second.members) == (list(range(99)), [99])
    assert (first.after, second.after) == (set(), {0})


def test_independent_events_fill_transactions_that_run_side_by_side() -> None:
    """Two hundred events of an account each are four transactions of a hundred actions, none of which waits."""
    groups = plan([unit(adds(f"a{number}")) for number in range(200)])
    assert [group.fill.actions for group in groups] == [100] * 4
    assert all(not group.after for group in groups)


def test_a_batch_as_in_life_takes_the_fewest_transactions() -> None:
    """475 events of 142 accounts are 617 actions and seven transactions."""
    units = [unit(adds(f"a{number % 142}")) for number in range(475)]
    groups = plan(units)
    assert sum(group.fill.actions for group in groups) == 617
    assert len(groups) == 7


@pytest.mark.parametrize("shares", ["", "check:x"])
def test_what_does_not_commute_with_an_addition_goes_after_it(shares: str) -> None:
    """An item that is added to and otherwise used is in two transactions, in the order of the events."""
    first, second = plan([unit(adds("a")), unit(Item(("balances", "a"), shares))])
    assert (first.members, second.members, second.after) == ([0], [1], {0})


def test_equal_checks_share_an_action() -> None:
    """An item that many events demand the same of is checked once."""
    [group] = plan([unit(Item(("t", "x"), "check:exists")) for _ in range(50)])
    assert group.fill.actions == 51


def test_events_of_one_key_keep_their_order_across_items() -> None:
    """Events of one key that touch different items never go side by side."""
    groups = plan([unit(Item(("t", str(number))), key="shop") for number in range(120)])
    assert place(groups) == dict.fromkeys(range(50), 0) | dict.fromkeys(range(50, 100), 1) | dict.fromkeys(
        range(100, 120), 2
    )
    assert after(groups) == [set(), {0}, {0, 1}]


def test_bytes_bound_a_transaction_too() -> None:
    """Events of 300 KB go ten to a transaction, because it may hold 4 MB and items grow."""
    groups = plan([unit(adds(f"a{number}"), size_bytes=299_000) for number in range(25)])
    assert [len(group.members) for group in groups] == [10, 10, 5]


def test_a_phantom_takes_no_room_but_a_place() -> None:
    """A second delivery of an event is planned with the first or after it, before later events of its key."""
    units = [unit(adds("a"), key="k") for _ in range(101)]
    for at in (0, 50):
        units[at].mark = "e"
    units[50].phantom = True
    groups = plan(units)
    assert [group.fill.actions for group in groups] == [100, 2]
    assert place(groups)[50] == place(groups)[0]


def test_slow_events_wait_with_their_like() -> None:
    """An event whose body goes to S3 first does not hold up those that have nothing to do with it."""
    units = [unit(adds(f"a{number}")) for number in range(10)]
    units[3].slow = True
    assert [group.members for group in plan(units)] == [[0, 1, 2, 4, 5, 6, 7, 8, 9], [3]]


_ITEMS = st.builds(
    Item,
    st.tuples(st.just("t"), st.sampled_from("abcdefgh")),
    st.sampled_from([ADDS, ADDS, "", "check:x", "check:y"]),
    st.integers(0, 400_000),
)
_UNITS = st.builds(
    Unit,
    st.sampled_from(["k", "l", *"0123456789"]),
    st.integers(0, 400_000),
    st.lists(_ITEMS, max_size=4, unique_by=lambda touch: touch.item),
)


@given(st.lists(_UNITS, max_size=60))
def test_no_plan_breaks_a_rule(units: list[Unit]) -> None:
    """Each event is in one transaction, limits hold, no item is twice in one, and order holds between them."""
    groups = plan(units)
    where, before = place(groups), after(groups)
    assert sorted(member for group in groups for member in group.members) == list(range(len(units)))
    for group in groups:
        assert group.members == sorted(group.members)
        touched: dict[tuple[str, str], str] = {}
        for member in group.members:
            for touch in units[member].touches:
                assert touched.setdefault(touch.item, touch.shares) == touch.shares
                assert touch.shares or [t.item for m in group.members for t in units[m].touches].count(touch.item) == 1
        assert len(group.members) + len(touched) <= ACTIONS_MAX
        assert group.fill.size_bytes <= TRANSACTION_BYTES_MAX or len(group.members) == 1
    for earlier, later in combinations(range(len(units)), 2):
        one, other = where[earlier], where[later]
        if one != other and _exclude(units[earlier], units[later]):
            assert one in before[other] or (other in before[one] and not _ordered(units[earlier], units[later]))


def _exclude(one: Unit, other: Unit) -> bool:
    """Tell whether two events must not be written side by side."""
    return bool({touch.item for touch in one.touches} & {touch.item for touch in other.touches}) or _ordered(one, other)


def _ordered(one: Unit, other: Unit) -> bool:
    """Tell whether the second event must not overtake the first."""
    shares = {touch.item: touch.shares for touch in one.touches}
    excludes = [touch for touch in other.touches if touch.item in shares and shares[touch.item] != touch.shares]
    same = [touch for touch in other.touches if touch.item in shares and not touch.shares]
    return bool(excludes or same) or one.partition_key == other.partition_key


@given(st.lists(_UNITS, max_size=40))
def test_a_plan_is_the_same_each_time(units: list[Unit]) -> None:
    """The same batch gives the same transactions: a lost answer is repeated with the very same request."""
    assert [(group.members, group.after) for group in plan(units)] == [
        (group.members, group.after) for group in plan(units)
    ]

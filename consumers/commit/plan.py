"""Which events share a transaction, and which transaction waits for which. Pure and deterministic.

Three steps. Events that touch a common item or have the same partition key form a *cluster*. A cluster is cut into
*blocks*, each of which one transaction can hold: an event goes to the earliest block that does not come before any
earlier event of its key or its items. Blocks are packed into *groups*, the transactions, so that a block's group always
comes after that of the block before it. Groups that do not follow each other share no item and may run side by side.

              cluster 1: |block 0|->|block 1|->|block 2|        group A: 1.0 2.0     A -> B -> C
              cluster 2: |block 0|->|block 1|                   group B: 1.1 2.1 3.0
              cluster 3: |block 0|                              group C: 1.2
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from weir.consumers.events_table.actions import ItemKey

# Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
ACTIONS_MAX = 100
TRANSACTION_BYTES_MAX = 4 * 1000 * 1000

# What an update leaves of an item counts too and is not known beforehand; so is the request's own text.
_BYTES_TARGET = TRANSACTION_BYTES_MAX * 3 // 4

# One event may change as much as a transaction can take beside its mark, which is an item.
CHANGES_MAX = ACTIONS_MAX - 1
CHANGES_BYTES_MAX = TRANSACTION_BYTES_MAX - 400 * 1024


class Touch(Protocol):
    """An item that an event touches. Equal ``shares``, not empty, may be joined in one action of a transaction."""

    @property
    def item(self) -> ItemKey:
        """Return which item it is."""

    @property
    def shares(self) -> str:
        """Return what it must have in common with another touch of the item to be joined."""

    @property
    def size_bytes(self) -> int:
        """Return what the action adds to the transaction."""


@dataclass(slots=True, eq=False)
class Unit:
    """What the plan needs to know of one event: its mark is one action of ``size_bytes``, its touches are the others.

    ``mark`` is given where the batch has the event id more than once. All but the first of them are ``phantom``: they
    take no room, because they vanish as soon as the first is applied, but they have a place in the order, in case it is
    refused. A ``slow`` event waits for something else before its transaction can start; only slow ones wait with it.
    """

    partition_key: str
    size_bytes: int
    touches: Sequence[Touch]
    mark: str = ""
    phantom: bool = False
    slow: bool = False


@dataclass(slots=True, eq=False)
class Fill:
    """How full a transaction is."""

    actions: int = 0
    size_bytes: int = 0

    def takes(self, actions: int, size_bytes: int) -> bool:
        if not self.actions:
            return True
        return self.actions + actions <= ACTIONS_MAX and self.size_bytes + size_bytes <= _BYTES_TARGET

    def add(self, actions: int, size_bytes: int) -> None:
        self.actions += actions
        self.size_bytes += size_bytes


@dataclass(slots=True, eq=False)
class Group:
    """One transaction: indexes of its events in their order, and the groups that must be over before it starts."""

    members: list[int] = field(default_factory=list)
    after: set[int] = field(default_factory=set)
    fill: Fill = field(default_factory=Fill)
    rank: int = 0
    slow: bool = False


# What events may have in common (an item, a key, an id) and with whom they may change places over it.
_Resource: TypeAlias = tuple[tuple[str, str], str]


@dataclass(slots=True, eq=False)
class _Block:
    """What goes into one transaction. ``shares`` are the items in it, ``reserved`` those that a phantom would touch."""

    members: list[int] = field(default_factory=list)
    shares: dict[ItemKey, str] = field(default_factory=dict)
    reserved: dict[ItemKey, str] = field(default_factory=dict)
    fill: Fill = field(default_factory=Fill)
    slow: bool = False

    def admit(self, index: int, unit: Unit) -> bool:
        """Take the event if the block has room for it and nothing in it excludes it."""
        if unit.phantom:
            # Subtle: what a later event is judged by must not change if the phantom turns out to be real.
            for touch in unit.touches:
                is_like_others = self.reserved.get(touch.item, touch.shares) == touch.shares
                self.reserved[touch.item] = touch.shares if is_like_others else ""
        elif not self._take(unit):
            return False
        self.members.append(index)
        self.slow = self.slow or unit.slow
        return True

    def _take(self, unit: Unit) -> bool:
        actions, size_bytes = 1, unit.size_bytes
        for touch in unit.touches:
            present = self.shares.get(touch.item)
            if _excludes(present, touch) or _excludes(self.reserved.get(touch.item), touch):
                return False
            if present is None:
                actions += 1
                size_bytes += touch.size_bytes
        if not self.fill.takes(actions, size_bytes):
            return False
        self.fill.add(actions, size_bytes)
        for touch in unit.touches:
            self.shares[touch.item] = touch.shares
        return True


def _excludes(present: str | None, touch: Touch) -> bool:
    return present is not None and (present != touch.shares or not present)


def plan(units: Sequence[Unit]) -> list[Group]:
    """Return the transactions in the order in which they are best started, the longest chain first."""
    resources = _resources(units)
    chains = [_cut(cluster, units, resources) for cluster in _clusters(resources)]
    chains.sort(key=lambda chain: (-len(chain), -max(block.fill.actions for block in chain)))
    groups: list[Group] = []
    for chain in chains:
        _pack(chain, groups)
    for group in groups:
        group.members.sort()
    return groups


def _resources(units: Sequence[Unit]) -> list[list[_Resource]]:
    """Return for each event what orders it. A key or an id that no other event has orders nothing."""
    keys = Counter([unit.partition_key for unit in units])
    found = []
    for unit in units:
        resources = [(touch.item, touch.shares) for touch in unit.touches]
        if keys[unit.partition_key] > 1:
            resources.append((("", unit.partition_key), ""))
        if unit.mark:
            resources.append(((" ", unit.mark), ""))
        found.append(resources)
    return found


def _clusters(resources: Sequence[Sequence[_Resource]]) -> Iterable[list[int]]:
    """Join events that have a resource in common: union-find over the first event seen with each."""
    parents = list(range(len(resources)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, shared in enumerate(resources):
        for resource, _ in shared:
            earlier = first.setdefault(resource, index)
            if earlier != index:
                parents[root(index)] = root(earlier)
    clusters: dict[int, list[int]] = {}
    for index in range(len(resources)):
        clusters.setdefault(root(index), []).append(index)
    return clusters.values()


def _cut(cluster: list[int], units: Sequence[Unit], resources: Sequence[Sequence[_Resource]]) -> list[_Block]:
    """Put each event into the earliest block that does not come before one that it must not overtake."""
    blocks: list[_Block] = []
    latest: dict[tuple[str, str], dict[str, int]] = {}  # the last block that has it, by who may share it
    for index in cluster:
        level = 0
        for resource, shares in resources[index]:
            for others, last in latest.get(resource, {}).items():
                if last > level and (others != shares or not shares):
                    level = last
        while level == len(blocks) or not blocks[level].admit(index, units[index]):
            if level == len(blocks):
                blocks.append(_Block())
            else:
                level += 1
        for resource, shares in resources[index]:
            known = latest.setdefault(resource, {})
            known[shares] = max(known.get(shares, 0), level)
    return blocks


def _pack(chain: list[_Block], groups: list[Group]) -> None:
    """Put each block of a chain into the first group that has room and comes after the group of the block before it.

    What need not wait is put only where nothing waits: a hot item that is throttled holds up those behind it alone.
    """
    before: int | None = None
    slow = any(block.slow for block in chain)
    for block in chain:
        rank = 0 if before is None else groups[before].rank + 1
        ranks = range(1) if before is None else range(rank, len(groups) + 1)
        fits = (at for at, group in enumerate(groups) if group.rank in ranks and group.slow == slow)
        chosen = next((at for at in fits if _fits(groups[at], block)), None)
        if chosen is None:
            groups.append(Group(rank=rank, slow=slow))
            chosen = len(groups) - 1
        groups[chosen].members.extend(block.members)
        groups[chosen].fill.add(block.fill.actions, block.fill.size_bytes)
        if before is not None:
            groups[chosen].after.add(before)
        before = chosen


def _fits(group: Group, block: _Block) -> bool:
    return group.fill.takes(block.fill.actions, block.fill.size_bytes)

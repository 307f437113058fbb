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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from consumers.actions import ItemKey

# Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
ACTIONS_MAX = 100
TRANSACTION_BYTES_MAX = 4 * 1000 * 1000

# What an update leaves of an item counts too and is not known beforehand; so is the request's own text.
_BYTES_TARGET = TRANSACTION_BYTES_MAX * 3 // 4

# One mark and what an event changes may be as much as one transaction can take.
CHANGES_MAX = ACTIONS_MAX - 1


@dataclass(frozen=True, slots=True)
class Touch:
    """An item that an event touches. Equal ``shares``, not empty, may be joined in one action of a transaction."""

    item: ItemKey
    shares: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Unit:
    """What the plan needs to know of one event: its mark is one action of ``size_bytes``, its touches are the others.

    ``mark`` is given where the batch has the event id more than once. All but the first of them are ``phantom``: they
    take no room, because they vanish as soon as the first is applied, but they have a place in the order, in case it is
    refused. A ``slow`` event waits for something else before its transaction can start; only slow ones wait with it.
    """

    partition_key: str
    size_bytes: int
    touches: tuple[Touch, ...]
    mark: str = ""
    phantom: bool = False
    slow: bool = False

    def resources(self) -> list[tuple[str, str]]:
        """Return what this event has in common with those that it must not overtake."""
        common = [touch.item for touch in self.touches]
        common.append(("", self.partition_key))
        if self.mark:
            common.append((" ", self.mark))
        return common


@dataclass(slots=True)
class Load:
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


@dataclass(slots=True)
class Group:
    """One transaction: indexes of its events in their order, and the groups that must be over before it starts."""

    members: list[int] = field(default_factory=list)
    after: set[int] = field(default_factory=set)
    load: Load = field(default_factory=Load)
    rank: int = 0
    slow: bool = False


@dataclass(slots=True)
class _Block:
    members: list[int] = field(default_factory=list)
    shares: dict[ItemKey, str] = field(default_factory=dict)
    load: Load = field(default_factory=Load)
    slow: bool = False

    def cost(self, unit: Unit) -> tuple[int, int]:
        fresh = [touch for touch in unit.touches if touch.item not in self.shares]
        return 1 + len(fresh), unit.size_bytes + sum(touch.size_bytes for touch in fresh)

    def admits(self, unit: Unit) -> bool:
        if unit.phantom:
            return True
        for touch in unit.touches:
            present = self.shares.get(touch.item)
            if present is not None and (present != touch.shares or not present):
                return False
        return self.load.takes(*self.cost(unit))

    def add(self, index: int, unit: Unit) -> None:
        self.members.append(index)
        self.slow = self.slow or unit.slow
        if unit.phantom:
            return
        self.load.add(*self.cost(unit))
        self.shares.update((touch.item, touch.shares) for touch in unit.touches)


def plan(units: Sequence[Unit]) -> list[Group]:
    """Return the transactions in the order in which they are best started, the longest chain first."""
    chains = [_cut(cluster, units) for cluster in _clusters(units)]
    chains.sort(key=lambda chain: (-len(chain), -max(block.load.actions for block in chain)))
    groups: list[Group] = []
    for chain in chains:
        _pack(chain, groups)
    for group in groups:
        group.members.sort()
    return groups


def _clusters(units: Sequence[Unit]) -> Iterable[list[int]]:
    """Join events that touch a common item or share a key: union-find over the first event seen with each."""
    parents = list(range(len(units)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, unit in enumerate(units):
        for resource in unit.resources():
            parents[root(index)] = root(first.setdefault(resource, index))
    clusters: dict[int, list[int]] = {}
    for index in range(len(units)):
        clusters.setdefault(root(index), []).append(index)
    return clusters.values()


def _cut(cluster: list[int], units: Sequence[Unit]) -> list[_Block]:
    blocks: list[_Block] = []
    latest: dict[tuple[str, str], int] = {}  # resource -> the last block that has it
    for index in cluster:
        unit = units[index]
        resources = unit.resources()
        level = max(latest.get(resource, 0) for resource in resources)
        while level < len(blocks) and not blocks[level].admits(unit):
            level += 1
        if level == len(blocks):
            blocks.append(_Block())
        blocks[level].add(index, unit)
        latest.update(dict.fromkeys(resources, level))
    return blocks


def _pack(chain: list[_Block], groups: list[Group]) -> None:
    """Put each block of a chain into the first group that has room and comes after the group of the block before it."""
    before: int | None = None
    slow = any(block.slow for block in chain)
    for block in chain:
        rank = 0 if before is None else groups[before].rank + 1
        fits = (at for at, group in enumerate(groups) if group.rank >= rank and group.slow == slow)
        chosen = next((at for at in fits if _fits(groups[at], block)), None)
        if chosen is None:
            groups.append(Group(rank=rank, slow=slow))
            chosen = len(groups) - 1
        groups[chosen].members.extend(block.members)
        groups[chosen].load.add(block.load.actions, block.load.size_bytes)
        if before is not None:
            groups[chosen].after.add(before)
        before = chosen


def _fits(group: Group, block: _Block) -> bool:
    return group.load.takes(block.load.actions, block.load.size_bytes)

"""Events applied by the consumer's own commit to tables in memory, which the contract suite holds to DynamoDB."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeAlias

from weir.consumers.business import effects
from weir.consumers.business.tables import WIRE_TYPES, Table
from weir.consumers.commit.commit import commit
from weir.consumers.events_table import item
from weir.consumers.events_table.attributes import from_item, to_wire
from weir.consumers.events_table.item import EventResult, JudgedEvent
from weir.consumers.outcome import Outcome
from weir.ingest.errors import EffectsInvalid
from weir.ingest.ids import RequestId
from weir.ingest.sources.catalogue import DAY_S, Catalogue
from weir.ingest.sources.events import Event
from weir.testing.memory_store import MemoryStore, key_text

Item: TypeAlias = dict[str, Any]
_PATIENCE_S = 10.0
_RETENTION_S = 30 * DAY_S


class Tables:
    """The tables of the project while a test runs, and what became of each event, in order.

    ``outcomes`` are ``applied``, ``ignored``, ``duplicate``, ``waiting`` or ``quarantined``, the last two with their
    reasons behind them. What waits is tried again after each batch, as the consumer does later.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._declared: Mapping[str, Table] = effects.tables()
        self._store = MemoryStore({name: wire_key(table) for name, table in self._declared.items()})
        self._count = 0
        self._waiting: list[Event[Any]] = []
        self.outcomes: list[str] = []

    def items(self, table: str) -> list[Item]:
        """Return the items of a table as business code wrote them, in the order of their keys."""
        stored = self._store.tables[self._known(table)]
        return [from_item(stored[key]) for key in sorted(stored)]

    def item(self, table: str, *key: Any) -> Item | None:
        """Return one item by the values of its key, None if there is none: ``item("lines", "order-7", 2)``."""
        names = self._declared[self._known(table)].key
        if len(key) != len(names):
            raise ValueError(f"the key of {table!r} is {', '.join(names)}")
        wire = {name: to_wire(value) for name, value in zip(names, key, strict=True)}
        found = self._store.tables[table].get(key_text(wire))
        return None if found is None else from_item(found)

    def put(self, table: str, item: Mapping[str, Any]) -> None:
        """Put an item into a table before events come."""
        wire = {name: to_wire(value) for name, value in item.items()}
        key = {name: wire[name] for name in self._declared[self._known(table)].key}
        self._store.tables[table][key_text(key)] = wire

    def apply(self, batch: Iterable[Event[Any]]) -> list[str]:
        """Apply a batch in its order and return its outcomes, which are added to ``outcomes``, too.

        What an effect raises comes out of here: a test should see it, where the consumer would quarantine the event.
        """
        given = list(batch)
        found = self._commit(given)
        self._waiting += [event for event, words in zip(given, found, strict=True) if words.startswith(Outcome.WAITING)]
        self._try_waiting()
        self.outcomes += found
        return found

    def _try_waiting(self) -> None:
        """Try what waits as long as that brings something; each as another delivery, which a fence lets through."""
        before = -1
        while before != len(self._waiting):
            before = len(self._waiting)
            self._waiting = [one for one in self._waiting if self._commit([one])[0].startswith(Outcome.WAITING)]

    def _commit(self, given: Sequence[Event[Any]]) -> list[str]:
        judged = [self._judged(position, event) for position, event in enumerate(given)]
        began_s = time.monotonic()
        report = commit(
            judged,
            self._store,
            deadline=lambda: _PATIENCE_S - (time.monotonic() - began_s),
            concurrency=1,
            rng=Random(),  # noqa: S311 - tokens of transactions, which must differ and need not be secret
            sleep=time.sleep,
            now_ms=round(time.time() * 1000),
        )
        if report.bugs:
            raise report.bugs[0]
        return [_words(result) for result in report.results]

    def snapshot(self) -> dict[str, list[Item]]:
        """Return every item of every table."""
        return {name: self.items(name) for name in self._declared}

    def _judged(self, position: int, event: Event[Any]) -> JudgedEvent:
        source = self._catalogue.get(event.source)
        preset = (source.preset if source else event.source) or ""
        run = effects.find(event.source, preset, event.type)
        changes = None if run is None else list(run(event))
        self._count += 1
        # Each delivery has a request of its own, as one that is sent again has.
        request = RequestId(f"{event.envelope.request_id}-{self._count}")
        return item.apply(
            replace(event, envelope=replace(event.envelope, request_id=request)),
            changes,
            position=position,
            partition_key=event.key or request,
            retention_s=source.dedupe_s if source else _RETENTION_S,
        )

    def _known(self, table: str) -> str:
        if table not in self._declared:
            raise KeyError(f"no table {str(table)!r} is declared; declared: {', '.join(self._declared) or 'none'}")
        return str(table)


def applied(catalogue: Catalogue, batches: Sequence[Sequence[Event[Any]]], tables: Tables | None = None) -> Tables:
    """Apply batches one after the other, to given tables or to empty ones."""
    tables = tables or Tables(catalogue)
    for batch in batches:
        tables.apply(batch)
    return tables


def check_repeats(catalogue: Catalogue, given: Sequence[Event[Any]], tables: Tables) -> None:
    """Demand that the events, sent again in other batches, change nothing.

    Raises: AssertionError that shows what differs.
    """
    before = tables.snapshot()
    alone = applied(catalogue, [[event] for event in given])
    together = applied(catalogue, [given])
    _same(alone.snapshot(), together.snapshot(), "one batch, and a batch for each event")
    tables.apply(given)
    for event in given:
        tables.apply([event])
    _same(before, tables.snapshot(), "once, and again")


def _same(one: dict[str, list[Item]], other: dict[str, list[Item]], how: str) -> None:
    if one != other:
        shown = [json.dumps(found, indent=1, default=str, sort_keys=True) for found in (one, other)]
        raise AssertionError(f"The tables differ ({how}):\n{shown[0]}\n{shown[1]}")


def wire_key(table: Table) -> dict[str, str]:
    """Return DynamoDB's type of each attribute of a table's key."""
    return {name: WIRE_TYPES[kind] for name, kind in table.key.items()}


def _words(result: EventResult) -> str:
    if result.error is not None:
        raise EffectsInvalid(f"The event could not be applied: {result.error}")
    return f"{result.outcome} {result.reason}".strip()

"""The newest events, without reading the whole table: the consumer's log, which is in the order of time, names them.

The events table has no order, and an index that had one would cost a write unit an event. The consumer logs a line for
each event anyway, with the arrival of its delivery and the key of its item. Read backwards, the log gives keys, and
the items say what became of them since. An event that arrived after a moment was logged after it, so that what has
been read of the log tells how far back the list is complete, however late an event was consumed or repeated.

Where the log does not reach far enough, or does not say what went well (LOG_LEVEL), the table is read after all.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Protocol

from weir.consumers.batch.event_lines import ACTION, item_key
from weir.consumers.events_table.bulk import read_items
from weir.consumers.events_table.mark import waiting_parts
from weir.consumers.outcome import DONE, HELD_BACK, METRICS, Outcome
from weir.consumers.waiting.waiting_table import INDEX as WAITS
from weir.operate.lookup.events import SUMMARY, Table, summary

# By how much the clock of a function may be behind that of the gateway.
_SKEW_MS = 2000
_CHUNK = 100  # a call takes as many keys
_NOTABLE_ITEMS = 10_000  # fewer are read in a second
_KEY_CHARS_MAX = 2048  # more is not a key of DynamoDB
_EVENT, _METRICS = f'"{ACTION}"', '"_aws"'


class LogPart(Protocol):
    """Lines of the log. What was written at ``since_ms`` or later is in this part or in one before it."""

    @property
    def since_ms(self) -> int: ...
    @property
    def lines(self) -> list[str]: ...


class Listed(NamedTuple):
    """Which events are meant; times of arrival are epoch milliseconds, both included. "" and None: any.

    ``type`` is one as the table has it, or a pattern with ``*``. The log cuts a type after 256 characters.
    """

    source: str = ""
    outcome: str = ""
    type: str = ""
    since_ms: int | None = None
    until_ms: int | None = None

    def wants(self, facts: Mapping[str, Any]) -> bool:
        """Tell by an item's `summary` whether it is meant."""
        at_ms = facts["received_at_ms"] or 0
        return (
            (self.since_ms is None or at_ms >= self.since_ms)
            and (self.until_ms is None or at_ms <= self.until_ms)
            and self.source in {"", facts["source"]}
            and self.outcome in {"", facts["outcome"]}
            and (not self.type or fnmatchcase(facts["type"] or "", self.type))
        )

    def may_be(self, line: Mapping[str, Any]) -> bool:
        """Tell by a line of the log whether its event may be meant; what became of it since is not known."""
        repeated = line["outcome"] == Outcome.DUPLICATE
        return (
            line["outcome"] != Outcome.RETRY
            and self.source in {"", line.get("source", "")}
            and (repeated or not self.type or fnmatchcase(line.get("type", ""), self.type))
            and (self.outcome not in HELD_BACK or self.outcome == line["outcome"])
        )


def newest(
    table: Table,
    log: Iterable[LogPart],
    wanted: Listed,
    limit: int | None,
    say: Callable[[str], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return summaries of the events that are meant, the latest arrival first; with a limit, no more than that.

    ``say`` is called before a large table is read whole.

    Raises: what the reads raise.
    """
    if wanted.outcome == Outcome.WAITING:
        return _largest(_waiting(table), wanted, limit)
    if limit is not None or wanted.since_ms is not None:
        found = _Found(table, wanted, limit)
        for part in log:
            found.read(part)
            if found.is_enough() and not found.is_silent:
                return found.listed()
    items = table.dynamodb.describe_table(TableName=table.name)["Table"].get("ItemCount", 0)
    if items > _NOTABLE_ITEMS:
        say(f"the consumer's log does not reach that far back: reading the whole table, {items:,} items")
    return _largest(table.scan(source=wanted.source or None, outcome=wanted.outcome or None), wanted, limit)


@dataclass
class _Found:
    """What the log has named so far.

    One of the lines about an item is of the delivery that it keeps, and says when that arrived; the others are of
    repeats, which arrived before or after. So items are read in the order of the latest arrival that any line says,
    and what arrived later than the next of them is certain: it is in ``certain``, in its order. ``named`` and
    ``read_ones`` are heaps, of keys and of items, the latest arrival on top.
    """

    table: Table
    wanted: Listed
    limit: int | None
    complete_ms: int = 1 << 62  # the log is read so far back that every event is named that arrived since
    named: list[tuple[int, str]] = field(default_factory=list)
    latest: dict[str, int] = field(default_factory=dict)  # the arrival under which a key is in ``named``
    asked: set[str] = field(default_factory=set)  # keys whose items were read
    read_ones: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    certain: list[dict[str, Any]] = field(default_factory=list)
    done_count: int = 0  # what the metrics say went well
    line_count: int = 0  # lines of what went well

    def read(self, part: LogPart) -> None:
        """Take what a part of the log names."""
        for line in event_lines(part.lines):
            self.line_count += line["outcome"] in DONE
            if self.wanted.may_be(line):
                self._name(item_key(line), _arrival(line))
        self.done_count += sum(_done(part.lines))
        self.complete_ms = part.since_ms + _SKEW_MS if part.since_ms else 0

    def _name(self, key: str, arrived_at_ms: int) -> None:
        is_key = 0 < len(key) <= _KEY_CHARS_MAX
        if is_key and key not in self.asked and arrived_at_ms > self.latest.get(key, -1):
            self.latest[key] = arrived_at_ms
            heapq.heappush(self.named, (-arrived_at_ms, key))

    @property
    def is_silent(self) -> bool:
        """Whether the log leaves out what went well, so that it names only what did not."""
        return self.line_count * 2 < self.done_count

    def is_enough(self) -> bool:
        """Tell whether the list is known as far as it is asked for, and read the items that it takes."""
        reaches = self.wanted.since_ms is not None and self.complete_ms <= self.wanted.since_ms
        if self.limit is None and not reaches:
            return False
        while not self._is_full and self.named and -self.named[0][0] >= self.complete_ms:
            self._read_some()
            is_next_named = self.named and -self.named[0][0] >= self.complete_ms
            self._make_certain(1 - self.named[0][0] if is_next_named else self.complete_ms)
        return reaches or self._is_full

    def listed(self) -> list[dict[str, Any]]:
        return self.certain[: self.limit]

    @property
    def _is_full(self) -> bool:
        return self.limit is not None and len(self.certain) >= self.limit

    def _read_some(self) -> None:
        keys: list[Mapping[str, Any]] = []
        while self.named and len(keys) < _CHUNK and -self.named[0][0] >= self.complete_ms:
            key = heapq.heappop(self.named)[1]
            if key not in self.asked:
                self.asked.add(key)
                keys.append({"pk": {"S": key}})
        for item in read_items(self.table.dynamodb, self.table.name, keys, attributes=SUMMARY):
            facts = summary(item)
            if _is_event(facts) and self.wanted.wants(facts):
                heapq.heappush(self.read_ones, (-_age(facts)[0], facts["pk"], facts))

    def _make_certain(self, since_ms: int) -> None:
        found = []
        while self.read_ones and -self.read_ones[0][0] >= since_ms:
            found.append(heapq.heappop(self.read_ones)[2])
        self.certain += sorted(found, key=_age, reverse=True)


def event_lines(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the lines of the consumer's log that say what became of an event.

    A line that a kill has cut is left out, and so is what business code has printed.
    """
    for text in lines:
        line = _json(text) if _EVENT in text else {}
        if line.get("action") == ACTION and isinstance(line.get("outcome"), str) and isinstance(line.get("at"), int):
            yield line


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text[text.index("{") :])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _arrival(line: Mapping[str, Any]) -> int:
    arrived_at_ms = line.get("received_at")
    return arrived_at_ms if isinstance(arrived_at_ms, int) else int(line["at"])


def _done(lines: Iterable[str]) -> Iterator[int]:
    """Yield how many events each batch says went well: these lines are there whatever the log's level."""
    names = [metric for outcome, metric in METRICS.items() if outcome.is_done]
    for text in lines:
        if _METRICS in text:
            values = _json(text)
            yield sum(int(values[name]) for name in names if isinstance(values.get(name), int | float))


def _waiting(table: Table) -> Iterator[dict[str, Any]]:
    """Yield what waits, by the index that has nothing else."""
    keys: list[Mapping[str, Any]] = []
    for part in waiting_parts():
        pages = table.dynamodb.get_paginator("query").paginate(
            TableName=table.name,
            IndexName=WAITS,
            KeyConditionExpression="waits = :part",
            ExpressionAttributeValues={":part": {"S": part}},
        )
        keys += [{"pk": item["pk"]} for page in pages for item in page["Items"]]
    yield from map(summary, read_items(table.dynamodb, table.name, keys, attributes=SUMMARY))


def _largest(found: Iterable[dict[str, Any]], wanted: Listed, limit: int | None) -> list[dict[str, Any]]:
    chosen = (facts for facts in found if _is_event(facts) and wanted.wants(facts))
    if limit is None:
        return sorted(chosen, key=_age, reverse=True)
    return heapq.nlargest(limit, chosen, key=_age)


def _is_event(facts: Mapping[str, Any]) -> bool:
    """Tell a stored event from a fence, which guards the id of one that is quarantined under its request id."""
    return bool(facts["outcome"] != Outcome.FENCED)


def _age(facts: Mapping[str, Any]) -> tuple[int, str]:
    return facts["received_at_ms"] or 0, facts["pk"]

"""The quarantine as an operator works through it: what is in it, another judgement, discarding.

`verify` delivers to the replay's own target, the consumer in this process, so that there is one pipeline: judged as
of their arrival with today's sources, secrets and business code, applied exactly once under the usual marks. An item
leaves the quarantine only after the events of its delivery have their marks; whatever is killed in between is done
again by the next run, to no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from weir.consumers.outcome import Outcome
from weir.ingest.errors import IdUnknown, OptionInvalid
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.events import Table
from weir.operate.replay.origins.from_table import FromTable
from weir.operate.replay.ports import Target
from weir.operate.replay.progress import Report

REASON_CHARS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of the quarantine is meant; times are epoch milliseconds, both included."""

    source: str = ""
    reason: str = ""
    since_ms: int | None = None
    until_ms: int | None = None

    def wants(self, facts: Mapping[str, Any]) -> bool:
        """Tell by an item's facts whether it is meant."""
        at_ms = facts["received_at_ms"] or 0
        if self.since_ms is not None and at_ms < self.since_ms:
            return False
        if self.until_ms is not None and at_ms > self.until_ms:
            return False
        return self.reason in {"", facts["reason"]}

    def origin(self, table: Table, say: Callable[[str], object] = lambda _: None) -> FromTable:
        """Return where its deliveries are read from, the oldest first."""
        return FromTable(table, wants=self.wants, quarantine_only=True, source=self.source, say=say)


def listing(table: Table, selection: Selection, limit: int | None = None) -> list[Mapping[str, Any]]:
    """Return the facts of what is selected, oldest first; with a limit the newest only."""
    origin = selection.origin(table)
    chosen = islice(origin.newest(), limit) if limit and selection.source else origin.scan()
    found = sorted(chosen, key=lambda facts: (facts["received_at_ms"] or 0, facts["pk"]))
    return found[-limit if limit else None :]


def find(table: Table, identifier: str, sources: Iterable[str]) -> list[dict[str, Any]]:
    """Return the quarantined items with this request id, event id or key, discarded ones too.

    Raises: IdUnknown when there is none.
    """
    found = [item for item in table.find(identifier, sources) if item["outcome"]["S"] == Outcome.QUARANTINED]
    if not found:
        raise IdUnknown(f"{identifier!r} is not in quarantine; `weir events {identifier}` shows what became of it.")
    return found


def find_delivery(table: Table, identifier: str, sources: Iterable[str]) -> dict[str, Any]:
    """Return the quarantined item that is meant by an id, the first of a delivery's.

    An id that nothing has proven is anyone's choice, so that of several deliveries with one id none is taken for the
    other. Raises: IdUnknown when there is none; OptionInvalid, with their request ids, when there are several.
    """
    found = find(table, identifier, sources)
    requests = list(dict.fromkeys(item["request_id"]["S"] for item in found if "request_id" in item))
    if len(requests) > 1:
        raise OptionInvalid(
            f"{len(requests)} deliveries in quarantine have the id {identifier!r}: the requests {', '.join(requests)}. "
            "Name one by its request, and compare where they came from."
        )
    return found[0]


def verify(
    table: Table,
    selection: Selection,
    target: Target,
    *,
    watch: Callable[[Report], object],
    say: Callable[[str], object],
) -> Report:
    """Judge again what is selected, and apply what passes now; ``watch`` is called after each batch.

    Raises: TransientError when the target cannot go on; what is done stays done.
    """
    report = Report()
    for batch in _batches(selection.origin(table, say).read({}), target.batch_count):
        report.read += len(batch)
        report.matched += len(batch)
        report.add(target.deliver(batch, [False] * len(batch), None))
        watch(report)
    return report


def discard(table: Table, key: str, reason: str, *, now_ms: int) -> bool:
    """Take an item out of the quarantine; it stays stored, with the reason. False if it had left it already.

    Raises: OptionInvalid for a reason that is empty or too long.
    """
    words = reason.strip()
    if not words or len(words) > REASON_CHARS_MAX:
        raise OptionInvalid(f"--reason must have 1 to {REASON_CHARS_MAX} characters: it is kept with the delivery.")
    try:
        table.dynamodb.update_item(
            TableName=table.name,
            Key={"pk": {"S": key}},
            UpdateExpression="SET discarded = :reason, discarded_at = :now REMOVE quarantine",
            ConditionExpression="attribute_exists(quarantine)",
            ExpressionAttributeValues={":reason": {"S": words}, ":now": {"N": str(now_ms)}},
        )
    except table.dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def _batches(steps: Iterable[object], size: int) -> Iterator[list[Delivery]]:
    deliveries = (step for step in steps if isinstance(step, Delivery))
    while batch := list(islice(deliveries, size)):
        yield batch

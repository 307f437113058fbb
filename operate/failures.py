"""What failed and why: quarantined events and batches that the mapping gave up on, grouped by cause.

A group's id follows from its cause, so that a later command can name it. What has been applied since, by a retry or a
replay, is not a failure any more and not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.consumers.outcome import Outcome
from weir.ingest.errors import IdUnknown
from weir.operate.lookup.causes import Cause, FailureKind, Group, Groups, cause_of
from weir.operate.lookup.delivery import Advance, Cursor, Delivery, Estimate, Origin
from weir.operate.lookup.events import Table
from weir.operate.lookup.kept import lifecycle_days
from weir.operate.lookup.stack import Stack
from weir.operate.lookup.status import UNFINISHED, DeliveryStatuses
from weir.operate.replay.checkpoint import Checkpoint
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.origins.from_failures import PREFIX, FailedBatch, FromFailures
from weir.operate.replay.origins.from_table import FromTable
from weir.operate.replay.ports import Settling
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.runner import run
from weir.operate.replay.targets import make_target

# Returns, by request id, why the consumer said that it could not finish a delivery.
Explain = Callable[[Sequence[str]], Mapping[str, str]]

_DAY_MS = 86_400_000
_EXPLAINED = 200


class Failures:
    """Finds and groups failures of one stack."""

    def __init__(
        self,
        table: Table,
        statuses: DeliveryStatuses,
        *,
        explain: Explain,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._table = table
        self._statuses = statuses
        self._explain = explain
        self._given_up = FromFailures(table.s3, table.bucket, say=say)

    def groups(self) -> list[Group]:
        """Return the groups, the largest first."""
        groups = Groups()
        for facts in self._quarantined():
            groups.add_quarantined(facts, facts["pk"])
        for cause, batch, delivery in self._unfinished():
            identity = self._identity(delivery)
            group = groups.add(cause, delivery.arrived_at_ms, identity, f"s3://{self._table.bucket}/{batch.key}")
            group.objects.add(batch.key)
            group.request_ids.add(identity)
        found = groups.largest_first()
        for group in found:
            group.kept_until_ms = self._kept_until_ms(group)
        return found

    def given_up(self, identifier: str) -> dict[str, Any] | None:
        """Return what is known of a delivery that the mapping gave up on, by the id of its request or of an event.

        ``body`` is its bytes, ``kept_in`` the object that holds it, ``group`` its group; None if there is none.
        """
        for cause, batch, delivery in self._unfinished():
            preview = self._statuses.previewer.preview(delivery)
            event_ids = [event.event_id for event in preview.events]
            if preview.envelope is None or identifier not in (preview.envelope.request_id, *event_ids):
                continue
            return {
                "outcome": cause.kind,
                "reason": cause.reason,
                "exception": cause.exception,
                "source": preview.envelope.source,
                "type": cause.type,
                "event_id": next(iter(event_ids), ""),
                "request_id": preview.envelope.request_id,
                "received_at_ms": preview.envelope.arrived_at_ms,
                "kept_in": f"s3://{self._table.bucket}/{batch.key}",
                "group": cause.group_id,
                "body": preview.envelope.body,
            }
        return None

    def origin(self, group_id: str) -> tuple[Group, Origin]:
        """Return a group and where its deliveries can be replayed from. Raises: IdUnknown."""
        groups = self.groups()
        group = next((one for one in groups if one.cause.group_id == group_id), None)
        if group is None:
            known = ", ".join(one.cause.group_id for one in groups) or "none"
            raise IdUnknown(f"There is no group {group_id!r} of failures; the groups are: {known}.")
        if group.cause.kind is Outcome.QUARANTINED:
            return group, FromTable(
                self._table, wants=lambda facts: cause_of(facts) == group.cause, quarantine_only=True
            )
        origin = FromFailures(self._table.s3, self._table.bucket, only=frozenset(group.objects))
        return group, Chosen(origin, lambda delivery: self._identity(delivery) in group.request_ids)

    def _quarantined(self) -> Iterator[Mapping[str, Any]]:
        return FromTable(self._table, quarantine_only=True).scan()

    def _unfinished(self) -> Iterator[tuple[Cause, FailedBatch, Delivery]]:
        """Yield what the mapping gave up on and is not known to be done, each delivery once."""
        seen: set[str] = set()
        left: list[tuple[FailedBatch, Delivery]] = []
        kinds: list[FailureKind] = []
        for batch in self._given_up.unfinished():
            deliveries = batch.deliveries()
            for delivery, status in zip(deliveries, self._statuses.of(deliveries), strict=True):
                identity = self._identity(delivery)
                if status in UNFINISHED and identity not in seen:
                    seen.add(identity)
                    left.append((batch, delivery))
                    kinds.append("given up" if status == "open" else "too old to tell")
        said = self._explain([self._identity(delivery) for _, delivery in left[-_EXPLAINED:]]) if left else {}
        for kind, (batch, delivery) in zip(kinds, left, strict=True):
            yield self._cause(kind, batch, delivery, said.get(self._identity(delivery), "")), batch, delivery

    def _cause(self, kind: FailureKind, batch: FailedBatch, delivery: Delivery, said: str) -> Cause:
        preview = self._statuses.previewer.glance(delivery)
        source = preview.envelope.source if preview.envelope else ""
        types = {event.type for event in preview.events}
        type_ = types.pop() if len(types) == 1 else "several" if types else ""
        return Cause(kind, batch.condition, said or batch.error, source, type_)

    def _identity(self, delivery: Delivery) -> str:
        envelope = self._statuses.previewer.envelope(delivery)
        return envelope.request_id if envelope else delivery.as_record().position

    def _kept_until_ms(self, group: Group) -> int | None:
        if group.cause.kind is Outcome.QUARANTINED:
            item = self._table.item(group.example) or {}
            return int(item["expires_at"]["N"]) * 1000 if "expires_at" in item else None
        days = lifecycle_days(self._table.s3, self._table.bucket, PREFIX)
        return None if days is None else group.first_ms + days * _DAY_MS


@dataclass(frozen=True, slots=True)
class Chosen:
    """Those of an origin's deliveries that ``wants`` says yes to."""

    origin: Origin
    wants: Callable[[Delivery], bool]

    @property
    def label(self) -> str:
        return self.origin.label

    def estimate(self) -> Estimate:
        """Return the origin's."""
        return self.origin.estimate()

    def settle(self, statuses: DeliveryStatuses) -> None:
        """See `Settling`."""
        if isinstance(self.origin, Settling):
            self.origin.settle(statuses)

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield what was chosen; the rest only moves the position."""
        for step in self.origin.read(cursor):
            if isinstance(step, Delivery) and not self.wants(step):
                yield Advance(step.lane, step.position)
            else:
                yield step


def find_failures(
    stack: Stack, log_lines: Callable[[Sequence[str]], list[dict[str, Any]]], say: Callable[[str], object]
) -> Failures:
    """Return what finds failures; the consumer's log explains those that the mapping gave up on."""

    def explain(request_ids: Sequence[str]) -> Mapping[str, str]:
        return explain_by_log(log_lines(request_ids)) if request_ids else {}

    return Failures(stack.table, stack.statuses, explain=explain, say=say)


def retry(
    context: ReplayContext,
    failures: Failures,
    group_id: str,
    *,
    rate_per_s: float | None,
    dry_run: bool,
    past_marks: bool,
) -> int:
    """Replay one group of failures to the consumer in this process; return the exit code. Raises: IdUnknown."""
    group, origin = failures.origin(group_id)
    for line in group.lines():
        context.console.say(line)
    # By the name of an origin whose deliveries were refused, the consumer gives them another chance.
    request = ReplayRequest(
        origin="failures", target="consumer", dry_run=dry_run, rate_per_s=rate_per_s, past_marks=past_marks
    )
    target = make_target(context, request)
    checkpoint = Checkpoint(None, request)
    return run(context, origin, Filter.of(context, request), target, checkpoint)


def explain_by_log(lines: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return, by request id, the last reason that the consumer's log gives for reading a delivery again."""
    return {
        str(line["request_id"]): str(line.get("reason") or "")
        for line in lines
        if line.get("outcome") == Outcome.RETRY and line.get("request_id")
    }

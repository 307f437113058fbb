"""What failed and why: quarantined events and batches that the mapping gave up on, grouped by cause.

A group's id follows from its cause, so that it can be named in a later command. What has been applied since, by a retry
or a replay, is no failure any more and not listed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, TypeAlias

from weir.consumers.batch.tally import BUG
from weir.consumers.outcome import Outcome
from weir.ingest.errors import IdUnknown
from weir.operate.lookup.delivery import Advance, Cursor, Delivery, Estimate, Origin
from weir.operate.lookup.events import Table
from weir.operate.lookup.status import Settled
from weir.operate.replay.origins.from_failures import PREFIX, FailedBatch, FromFailures
from weir.operate.replay.origins.from_table import FromTable

Kind: TypeAlias = Literal[Outcome.QUARANTINED, "given up"]
# Returns, by request id, why the consumer said that it could not finish a delivery.
Explain = Callable[[Sequence[str]], Mapping[str, str]]

_DAY_MS = 86_400_000
_EXPLAINED = 200
# A bug is told by type and place, at the end of the detail.
PLACE = re.compile(r"(\S+) at (?:\S*/)?([^/\s:]+:\d+) in (\S+)")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something failed; equal causes are one group."""

    kind: Kind
    reason: str
    exception: str
    source: str
    type: str

    @property
    def group_id(self) -> str:
        """Return a short name that this cause always has."""
        text = repr((str(self.kind), self.reason, self.exception, self.source, self.type))
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


@dataclass(slots=True)
class Group:
    """All failures of one cause. ``example`` is the oldest; ``kept_until_ms`` None: until somebody deletes it."""

    cause: Cause
    count: int = 0
    first_ms: int = 0
    last_ms: int = 0
    example: str = ""
    detail: str = ""
    kept_until_ms: int | None = None
    objects: set[str] = field(default_factory=set)
    request_ids: set[str] = field(default_factory=set)

    def add(self, at_ms: int, example: str, detail: str) -> None:
        """Take one more failure in."""
        if not self.count or at_ms < self.first_ms:
            self.first_ms, self.example, self.detail = at_ms, example, detail
        self.last_ms = max(self.last_ms, at_ms)
        self.count += 1

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        cause = self.cause
        return {
            "group": cause.group_id,
            "kind": cause.kind,
            "reason": cause.reason,
            "exception": cause.exception,
            "source": cause.source,
            "type": cause.type,
            "count": self.count,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "example": self.example,
            "detail": self.detail,
            "kept_until_ms": self.kept_until_ms,
        }


class Failures:
    """Finds and groups failures of one stack."""

    def __init__(
        self, table: Table, settled: Settled, *, explain: Explain, say: Callable[[str], object] = lambda _: None
    ) -> None:
        self._table = table
        self._settled = settled
        self._explain = explain
        self._given_up = FromFailures(table.s3, table.bucket, say=say)

    def groups(self) -> list[Group]:
        """Return the groups, the largest first."""
        found: dict[Cause, Group] = {}
        for facts in self._quarantined():
            group = found.setdefault(cause_of(facts), Group(cause_of(facts)))
            group.add(facts["received_at_ms"] or 0, facts["pk"], facts["detail"] or "")
        for cause, batch, delivery in self._unfinished():
            group = found.setdefault(cause, Group(cause))
            group.add(delivery.arrived_at_ms, self._identity(delivery), f"s3://{self._table.bucket}/{batch.key}")
            group.objects.add(batch.key)
            group.request_ids.add(self._identity(delivery))
        for group in found.values():
            group.kept_until_ms = self._kept_until_ms(group)
        return sorted(found.values(), key=lambda group: (-group.count, group.cause.group_id))

    def origin(self, group_id: str) -> tuple[Group, Origin]:
        """Return a group and where its deliveries can be replayed from. Raises: IdUnknown."""
        groups = self.groups()
        group = next((one for one in groups if one.cause.group_id == group_id), None)
        if group is None:
            known = ", ".join(one.cause.group_id for one in groups) or "none"
            raise IdUnknown(f"There is no group {group_id!r} of failures; there are: {known}.")
        if group.cause.kind is Outcome.QUARANTINED:
            return group, FromTable(
                self._table, wants=lambda facts: cause_of(facts) == group.cause, quarantine_only=True
            )
        origin = FromFailures(self._table.s3, self._table.bucket, only=frozenset(group.objects))
        return group, Chosen(origin, lambda delivery: self._identity(delivery) in group.request_ids)

    def _quarantined(self) -> Iterator[Mapping[str, Any]]:
        return FromTable(self._table, quarantine_only=True).scan()

    def _unfinished(self) -> Iterator[tuple[Cause, FailedBatch, Delivery]]:
        """Yield what the mapping gave up on and nobody has finished since, each delivery once."""
        seen: set[str] = set()
        left: list[tuple[FailedBatch, Delivery]] = []
        for batch in self._given_up.batches():
            deliveries = batch.deliveries()
            for delivery, state in zip(deliveries, self._settled.states(deliveries), strict=True):
                identity = self._identity(delivery)
                if state == "unsettled" and identity not in seen:
                    seen.add(identity)
                    left.append((batch, delivery))
        said = self._explain([self._identity(delivery) for _, delivery in left[-_EXPLAINED:]]) if left else {}
        for batch, delivery in left:
            yield self._cause(batch, delivery, said.get(self._identity(delivery), "")), batch, delivery

    def _cause(self, batch: FailedBatch, delivery: Delivery, said: str) -> Cause:
        look = self._settled.looker.look(delivery)
        source = look.envelope.source if look.envelope else ""
        types = {event.type for event in look.events}
        type_ = types.pop() if len(types) == 1 else "several" if types else ""
        return Cause("given up", batch.condition, said or batch.error, source, type_)

    def _identity(self, delivery: Delivery) -> str:
        envelope = self._settled.looker.look(delivery).envelope
        return envelope.request_id if envelope else delivery.as_record().position

    def _kept_until_ms(self, group: Group) -> int | None:
        if group.cause.kind is Outcome.QUARANTINED:
            item = self._table.item(group.example) or {}
            return int(item["expires_at"]["N"]) * 1000 if "expires_at" in item else None
        days = lifecycle_days(self._table.s3, self._table.bucket, PREFIX)
        return None if days is None else group.first_ms + days * _DAY_MS


@dataclass(frozen=True, slots=True)
class Chosen:
    """Those of an origin's deliveries that somebody chose."""

    origin: Origin
    wants: Callable[[Delivery], bool]

    @property
    def label(self) -> str:
        return self.origin.label

    def estimate(self) -> Estimate:
        """Return the origin's."""
        return self.origin.estimate()

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield what was chosen; the rest only moves the position."""
        for step in self.origin.read(cursor):
            if isinstance(step, Delivery) and not self.wants(step):
                yield Advance(step.lane, step.position)
            else:
                yield step


def cause_of(facts: Mapping[str, Any]) -> Cause:
    """Return why an event was quarantined."""
    reason = str(facts.get("reason") or "")
    place = PLACE.search(facts.get("detail") or "") if reason == BUG else None
    exception = f"{place[1].rpartition('.')[2]} at {place[2]} in {place[3]}" if place else ""
    return Cause(Outcome.QUARANTINED, reason, exception, str(facts.get("source") or ""), str(facts.get("type") or ""))


def explain_by_log(lines: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return, by request id, the last reason that the consumer's log gives for reading a delivery again."""
    return {
        str(line["request_id"]): str(line.get("reason") or "")
        for line in lines
        if line.get("outcome") == Outcome.RETRY and line.get("request_id")
    }


def lifecycle_days(s3: Any, bucket: str, prefix: str) -> int | None:
    """Return after how many days the bucket deletes what has a prefix; None if it never does."""
    try:
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except s3.exceptions.ClientError:
        return None
    days = [
        int(rule["Expiration"]["Days"])
        for rule in rules
        if rule.get("Status") == "Enabled"
        and "Days" in rule.get("Expiration", {})
        and prefix.startswith(rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")))
    ]
    return min(days, default=None)

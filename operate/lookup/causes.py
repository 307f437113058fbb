"""Why deliveries failed: failures with equal causes are one group, whose id always follows from the cause."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, TypeAlias

from weir.consumers.batch.event_lines import BUG
from weir.consumers.outcome import Outcome
from weir.operate.lookup.times import show_time

FailureKind: TypeAlias = Literal[Outcome.QUARANTINED, "given up", "too old to tell"]

# `weir.consumers.raised` writes a bug's type, file, line and function at the end of the detail.
RAISED_AT = re.compile(r"(\S+) at (?:\S*/)?([^/\s:]+:\d+) in (\S+)")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something failed; equal causes are one group."""

    kind: FailureKind
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
    """All failures of one cause. ``example`` is the oldest; ``kept_until_ms`` None: until a person deletes it."""

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
        """Count one more failure."""
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

    def lines(self) -> list[str]:
        """Return it for a person."""
        cause = self.cause
        kept = "until it is deleted" if self.kept_until_ms is None else f"until {show_time(self.kept_until_ms)}"
        why = f"{cause.reason}{f' {cause.exception}' if cause.exception else ''}"
        return [
            f"{cause.group_id}  {self.count:>8,}  {cause.kind}: {why}  {cause.source or '?'} {cause.type or '-'}",
            f"          {show_time(self.first_ms)} to {show_time(self.last_ms)}; payload kept {kept}",
            f"          {self.example}  {self.detail}",
        ]


class Groups:
    """Failures grouped by cause."""

    def __init__(self) -> None:
        self._found: dict[Cause, Group] = {}

    def add(self, cause: Cause, at_ms: int, example: str, detail: str) -> Group:
        """Count a failure in the group of its cause, and return the group."""
        group = self._found.setdefault(cause, Group(cause))
        group.add(at_ms, example, detail)
        return group

    def add_quarantined(self, facts: Mapping[str, Any], example: str) -> None:
        """Count a quarantined item by its facts."""
        self.add(cause_of(facts), facts["received_at_ms"] or 0, example, facts["detail"] or "")

    def largest_first(self) -> list[Group]:
        """Return the groups, the largest first; groups of one size in the order of their ids."""
        return sorted(self._found.values(), key=lambda group: (-group.count, group.cause.group_id))


def group_quarantined(listed: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Group the facts of quarantined items by cause; each group's example is the oldest delivery's request id."""
    groups = Groups()
    for facts in listed:
        groups.add_quarantined(facts, facts["request_id"] or facts["pk"])
    return groups.largest_first()


def cause_of(facts: Mapping[str, Any]) -> Cause:
    """Return why an event was quarantined."""
    reason = str(facts.get("reason") or "")
    raised = RAISED_AT.search(facts.get("detail") or "") if reason == BUG else None
    exception = f"{raised[1].rpartition('.')[2]} at {raised[2]} in {raised[3]}" if raised else ""
    return Cause(Outcome.QUARANTINED, reason, exception, str(facts.get("source") or ""), str(facts.get("type") or ""))

"""The verdict on a run, and the names under which its events stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weir.loadtest.sending.results import Result

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of deliveries and events, and faults by name; each fault is the ids it concerns and why.

    ``applied``, ``ignored``, ``quarantined`` and ``waiting`` count what became of the events. ``refused_by_code`` are
    those of the last two that business code refused, by reason. ``unshown`` says in words what could not be looked at
    in this place.
    """

    sent: int
    acknowledged: int
    stored: int
    applied: int
    ignored: int
    quarantined: int
    duplicates: int
    refused: int
    unanswered: int
    faults: Mapping[str, Sequence[str]]
    unshown: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    waiting: int = 0
    refused_by_code: Mapping[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not any(self.faults.values())

    def as_json(self) -> dict[str, Any]:
        """Return the verdict for machines: each fault with its count and the first ids."""
        counts = ("sent", "acknowledged", "stored", "applied", "ignored", "quarantined", "waiting", "duplicates")
        return {
            "passed": self.passed,
            **{name: getattr(self, name) for name in (*counts, "refused", "unanswered")},
            **{name: len(ids) for name, ids in self.faults.items()},
            "named": {name: list(ids[:_NAMED]) for name, ids in self.faults.items() if ids},
            "unshown": list(self.unshown),
            "refused_by_code": dict(self.refused_by_code),
            **self.facts,
        }


def mark_keys(results: Iterable[Result]) -> list[str]:
    """Return the partition keys of the events that these deliveries hold."""
    return [key for result in results for key in result.marks]


def refusal_keys(results: Iterable[Result]) -> list[str]:
    """Return the partition keys under which these deliveries would be quarantined."""
    return [f"{result.source}!{result.request_id}" for result in results if result.request_id]

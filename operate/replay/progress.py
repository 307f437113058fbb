"""What a replay counted, how it gets on, and to whom it says so."""

from __future__ import annotations

import resource
import sys
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from weir.consumers.outcome import FINAL
from weir.operate.lookup.delivery import Estimate
from weir.operate.lookup.times import show_duration, show_time
from weir.operate.replay.ports import Result

# What an event may count as that a replay did not do and leaves where it is; its exit code says so.
NOT_DONE = ("too old to tell", "failed")
_USUAL = (*FINAL, "failed")
_WINDOW_S = 15.0
_FEW = 20  # records: too few for a speed
_MIB = 1024 * 1024


def peak_mib() -> float:
    """Return the most memory that this process has had, in MiB; systems count it in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_MIB if sys.platform == "darwin" else 1024)


@dataclass(slots=True)
class Report:
    """Counts: ``read`` and ``matched`` are records, the others events (records, where a target opens none)."""

    read: int = 0
    matched: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, results: list[Result]) -> None:
        """Count what became of a batch."""
        for kind, reason in results:
            self.counts[kind] += 1
            if reason:
                self.reasons[f"{kind}: {reason}"] += 1

    def as_dict(self) -> dict[str, Any]:
        """Return the figures; those of the report's own words are always there."""
        usual = {name: self.counts.get(name, 0) for name in _USUAL}
        return {
            "read": self.read,
            "matched": self.matched,
            **usual,
            **{name: count for name, count in sorted(self.counts.items()) if name not in usual},
            "reasons": dict(sorted(self.reasons.items())),
        }

    def saved(self) -> dict[str, Any]:
        """Return it as the checkpoint file keeps it."""
        return {"read": self.read, "matched": self.matched, "counts": dict(self.counts), "reasons": dict(self.reasons)}

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> Report:
        """Read what `saved` wrote."""
        return cls(saved["read"], saved["matched"], Counter(saved["counts"]), Counter(saved["reasons"]))

    def lines(self) -> list[str]:
        """Return it for a person."""
        said = self.as_dict()
        reasons = said.pop("reasons")
        said["failed"] = said.pop("failed")  # last
        shown = {name: count for name, count in said.items() if count or name in {"read", "matched", "failed"}}
        width = max(map(len, shown))
        lines = [f"{name:{width}}  {count:>12,}" for name, count in shown.items()]
        return lines + [f"{'':{width}}  {count:>12,}  {reason}" for reason, count in reasons.items()]


@dataclass(slots=True)
class Progress:
    """Speed and position of a replay that runs; times are monotonic seconds but for ``position_ms``."""

    estimate: Estimate
    report: Report
    position_ms: int = 0
    _points: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, at_s: float) -> None:
        """Remember how much has been read by now."""
        self._points.append((at_s, self.report.read))
        while len(self._points) > 2 and at_s - self._points[0][0] > _WINDOW_S:
            self._points.popleft()

    @property
    def rate_per_s(self) -> float:
        """Return the records read a second, lately."""
        if len(self._points) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._points[0], self._points[-1]
        return (last - first) / max(last_s - first_s, 1e-9)

    @property
    def left_s(self) -> float | None:
        """Return the seconds until the estimate is reached; None when it is not known."""
        total, rate = self.estimate.records, self.rate_per_s
        is_known = total is not None and rate and self.report.read > _FEW
        return max(0.0, ((total or 0) - self.report.read) / rate) if is_known else None

    def line(self, now_ms: int) -> str:
        """Return one line for a person."""
        total = f" of about {self.estimate.records:,}" if self.estimate.records else ""
        parts = [f"{self.report.read:,}{total} read", f"{self.report.matched:,} matched", f"{self.rate_per_s:,.0f}/s"]
        if self.position_ms:
            behind = show_duration((now_ms - self.position_ms) / 1000)
            parts.append(f"at {show_time(self.position_ms)}, {behind} ago")
        if self.left_s is not None:
            parts.append(f"{show_duration(self.left_s)} left")
        parts += [f"{count:,} {name}" for name in NOT_DONE if (count := self.report.counts.get(name))]
        return ", ".join(parts)


class Console(Protocol):
    """The person who started a replay: reads lines and progress, and may stop it."""

    def stopped(self) -> bool:
        """Tell whether the person has asked to stop."""

    def say(self, line: str) -> None:
        """Print a line for the person; it is not a part of the result."""

    def result(self, value: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print a part of the result: ``value`` as one line of JSON where that is asked for, else ``lines``."""

    def watch(self, progress: Progress) -> None:
        """Show progress, as often as suits; called after each chunk."""

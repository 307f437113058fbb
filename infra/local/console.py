"""What `make run` prints: a line per batch, with the outcomes that the consumer's own log tells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from weir.infra import Say
from weir.infra.local.poller.reports import BatchReport
from weir.ingest.lines import whole


class Console:
    """Turns reports of batches into lines for a person; ``log`` is the function's log file."""

    def __init__(self, log: Path, say: Say) -> None:
        self._log, self._say = log, say
        self._read_bytes = log.stat().st_size if log.exists() else 0

    def on_batch(self, report: BatchReport) -> None:
        """Print one line about one try of a batch."""
        what = ", ".join(self._outcomes()) or report.outcome
        if report.outcome != "done":
            what = f"{what}; {_trouble(report)}"
        shard = report.shard_id.removeprefix("shardId-").lstrip("0") or "0"
        plural = "" if report.records == 1 else "s"
        self._say(
            f"{datetime.now().astimezone():%H:%M:%S}  shard {shard}  {report.records} record{plural}  "
            f"{report.duration_ms:.0f} ms  {what}"
        )

    def on_notice(self, notice: str) -> None:
        """Print what the poller has to tell beside batches."""
        self._say(notice)

    def _outcomes(self) -> Iterator[str]:
        counts: Counter[str] = Counter()
        for line in self._new_lines():
            outcome, reason = line.get("outcome"), line.get("reason")
            if outcome:
                named = f"{line.get('source') or '?'} {line.get('type') or ''}".strip()
                counts[f"{named} {outcome}" + (f" ({reason})" if reason else "")] += 1
        for name, count in counts.most_common(4):
            yield name if count == 1 else f"{count} x {name}"
        if len(counts) > 4:
            yield f"and {sum(counts.values()) - sum(count for _, count in counts.most_common(4))} more"

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        try:
            with self._log.open("rb") as log:
                log.seek(self._read_bytes)
                lines = list(whole(log))
        except OSError:
            return
        self._read_bytes += sum(map(len, lines))
        for line in lines:
            if line.startswith(b"{") and b'"outcome"' in line and isinstance(told := _parsed(line), dict):
                yield told


def _parsed(line: bytes) -> Any:
    """Return what a line holds; None for one that business code wrote in its own way, or that a kill tore."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _trouble(report: BatchReport) -> str:
    attempt = f"attempt {report.attempt}"
    match report.outcome:
        case "partial":
            return f"the rest again from {report.reported}, {attempt}"
        case "given_up" | "discarded":
            return f"given up ({report.condition}) after {attempt}: " + (
                "kept in the bucket" if report.outcome == "given_up" else "no failure destination"
            )
    return f"{report.error or report.outcome}, {attempt}"

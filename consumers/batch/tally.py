"""What a batch came to: the answer to Lambda, the log lines, the metrics. It decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set

from weir.consumers.batch import metrics
from weir.consumers.batch.event_lines import BUG, add_event
from weir.consumers.batch.logs import Log
from weir.consumers.events_table.item import EventResult, JudgedEvent
from weir.consumers.judging.records import Record, lowest
from weir.consumers.outcome import METRICS, Outcome
from weir.consumers.raised import raised_at
from weir.consumers.settings import LOG_LEVELS
from weir.ingest.errors import AggregateDamaged, TransientError
from weir.ingest.ids import SequenceNumber, SourceName

Response = dict[str, list[dict[str, str]]]

_INFO, _WARNING, _ERROR = (LOG_LEVELS[name] for name in ("INFO", "WARNING", "ERROR"))


class Tally:
    """Counts outcomes as they are added, a log line each."""

    def __init__(self, log: Log, records: Sequence[Record], watched: Set[SourceName] = frozenset()) -> None:
        """Count for a batch whose events name their records by position; for each source ``watched`` also by itself."""
        self._log = log
        self._records = records
        self._watched = watched
        self._outcomes: Counter[str] = Counter()
        self._by_source: dict[str, Counter[str]] = {}
        self._proven: Counter[SourceName] = Counter()
        self._retried: set[SequenceNumber] = set()
        self._bug_count = 0
        self._oldest_ms: int | None = None

    def add(self, judged: JudgedEvent, result: EventResult) -> None:
        """Take note of what became of one event."""
        record = self._records[judged.position]
        outcome = result.outcome
        self._outcomes[outcome] += 1
        known = judged.source if judged.scheme else "unverified"
        self._by_source.setdefault(known, Counter())[outcome] += 1
        if judged.scheme and judged.source in self._watched and outcome is not Outcome.RETRY:
            self._proven[judged.source] += 1
        if outcome is Outcome.RETRY:
            self._retried.add(record.sequence_number)
        if judged.received_at_ms and (self._oldest_ms is None or judged.received_at_ms < self._oldest_ms):
            self._oldest_ms = judged.received_at_ms
        is_bug = result.reason == BUG
        self._bug_count += is_bug
        add_event(
            self._log,
            judged,
            result,
            detail=result.detail if is_bug else _cause(result.error),
            sequence_number=record.sequence_number,
            sub_sequence=record.sub_sequence or None,
        )

    def add_bug(self, error: BaseException) -> None:
        """Take note of an exception that no code foresaw and that does not belong to one event."""
        self._bug_count += 1
        self._log.add(_ERROR, "bug", detail=raised_at(error))

    def close(self, stack: str, *, now_ms: int, duration_ms: float, calls: int, write_units: float) -> Response:
        """Add the line and the metrics of the batch; return what Lambda wants to know.

        The lowest sequence number not done and nothing else: Lambda goes on from the lowest that it is given, and an
        identifier too many, or one that is not in the batch, fails all of it.
        Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
        """
        failed = lowest(self._retried) if self._retried else None
        values = self._values(now_ms, duration_ms) | {"CommitCalls": calls, "WriteUnits": write_units}
        facts = {_snake(name): value for name, value in values.items()}
        level = _ERROR if self._bug_count else (_WARNING if failed else _INFO)
        self._log.add(level, "batch", first_not_done=failed, **facts)
        properties = {"shard_id": self._records[0].shard_id, "sources": self._by_source}
        self._log.add_document(metrics.document(stack, values, properties))
        for source, proven in sorted(self._proven.items()):
            self._log.add_document(metrics.document(stack, {metrics.PROVEN: proven}, {}, source=source))
        return {"batchItemFailures": [{"itemIdentifier": failed}] if failed else []}

    def _values(self, now_ms: int, duration_ms: float) -> dict[str, float]:
        damaged = sum(isinstance(record.damage, AggregateDamaged) for record in self._records)
        values: dict[str, float] = {
            "Records": len({record.sequence_number for record in self._records}),
            "Events": self._outcomes.total(),
            **{metric: self._outcomes[outcome] for outcome, metric in METRICS.items()},
            "AggregatesDamaged": damaged,
            "BugCount": self._bug_count,
            "BatchDuration": round(duration_ms, 1),
        }
        if self._oldest_ms is not None:
            values["OldestArrivalAge"] = max(0, now_ms - self._oldest_ms)
        return values


def _cause(error: TransientError | None) -> str | None:
    """Return the code that a service gave for its failure."""
    cause = error.facts.get("cause") or error.facts.get("code") if error else None
    return cause if isinstance(cause, str) and cause.isalnum() else None


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")

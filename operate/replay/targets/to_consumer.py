"""The consumer as the target, in this process: what is applied already is not touched, the rest takes its usual way.

Marks are read first. An event whose mark is there has had its effect, whoever delivered it: it is a duplicate and not
judged again, since its secret may have been retired meanwhile. What a replay has applied in an attempt that was killed
is told by the mark too: this delivery's, and written since the attempt began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weir.consumers.events_table.item import EventResult, Prepared, mark_key
from weir.consumers.outcome import Outcome
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.marks import Mark, Marks
from weir.operate.lookup.preview import Look, Looker
from weir.operate.replay.progress import Kind, Result
from weir.operate.replay.targets.in_process import Pipeline
from weir.operate.replay.targets.release import Release


class ToConsumer:
    """Judges and commits in batches. With ``release`` a delivery that was refused gets another chance."""

    batch_count = 500
    label = "the consumer in this process"

    def __init__(
        self, pipeline: Pipeline, marks: Marks, looker: Looker, release: Release, *, retries: bool = False
    ) -> None:
        self._pipeline = pipeline
        self._marks = marks
        self._looker = looker
        self._release = release
        self._retries = retries
        self._claimed: set[str] = set()  # marks of the interrupted attempt that have been counted

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:
        """Apply what is not applied; return what became of each event."""
        looks = [self._looker.look(delivery) for delivery in deliveries]
        known = self._marks.read(key for look in looks for keys in look.mark_keys() for key in keys)
        results: list[Result] = []
        left: list[tuple[Delivery, bool]] = []
        for delivery, look, again in zip(deliveries, looks, repeats, strict=True):
            keys = self._all_done(look, known)
            if keys is None:
                left.append((delivery, again))
            else:
                results += [Result(self._known_kind(known[key], look, since_ms if again else None)) for key in keys]
                if delivery.facts.get("outcome") == Outcome.QUARANTINED:
                    self._release.discard(delivery.facts["pk"])
        if left:
            if self._retries:
                self._release.lift([look for look in looks if look.envelope], known)
            results += self._commit(left, known, since_ms)
        if not any(repeats):
            self._claimed.clear()
        return results

    def state(self) -> dict[str, Any]:
        """Return nothing: the table keeps its own."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def _commit(self, left: list[tuple[Delivery, bool]], known: dict[str, Mark], since_ms: int | None) -> list[Result]:
        pairs = self._pipeline.run([delivery.as_record() for delivery, _ in left])
        waiting = {prepared.position for prepared, result in pairs if result.outcome is Outcome.RETRY}
        results = []
        seen: set[str] = set()
        for prepared, result in pairs:
            delivery, again = left[prepared.position]
            results.append(self._result(prepared, result, known, since_ms if again else None, seen))
            if result.outcome.is_done and prepared.position not in waiting:
                self._release.settle(delivery, prepared)
            elif result.outcome is Outcome.QUARANTINED and self._retries:
                self._release.renew(delivery, prepared, result)
        self._release.flush()
        return results

    def _result(
        self, prepared: Prepared, result: EventResult, known: dict[str, Mark], since_ms: int | None, seen: set[str]
    ) -> Result:
        if result.outcome is Outcome.QUARANTINED:
            return Result(Outcome.QUARANTINED, result.reason)
        if result.outcome is Outcome.RETRY:
            return Result("failed", result.error.code if result.error else "")
        key = mark_key(prepared.source, prepared.event_id)
        mark = known.get(key)
        if mark is not None and mark.is_done:
            return Result(self._kind(mark, prepared.request_id, since_ms))
        if result.outcome is Outcome.DUPLICATE or key in seen:
            return Result(Outcome.DUPLICATE)
        seen.add(key)
        return Result(result.outcome)

    def _known_kind(self, mark: Mark, look: Look, since_ms: int | None) -> Kind:
        return self._kind(mark, look.envelope.request_id if look.envelope else "", since_ms)

    def _kind(self, mark: Mark, request_id: str, since_ms: int | None) -> Kind:
        """Return what an event that is there already counts as: its outcome if it is this replay's own work."""
        is_own = since_ms is not None and mark.request_id == request_id and mark.applied_at_ms >= since_ms
        if is_own and mark.key not in self._claimed:
            self._claimed.add(mark.key)
            return Outcome.APPLIED if mark.outcome == Outcome.APPLIED else Outcome.IGNORED
        return Outcome.DUPLICATE

    def _all_done(self, look: Look, known: dict[str, Mark]) -> tuple[str, ...] | None:
        """Return the keys of a reading of the delivery all of whose events are done; None if there is no such reading.

        A retry of what was refused is judged unless its own marks are there: a forgery must stay in quarantine.
        """
        own = look.envelope.request_id if self._retries and look.envelope else ""
        for keys in look.mark_keys():
            marks = [known[key] for key in keys if key in known]
            if len(marks) == len(keys) and all(mark.is_done and own in {"", mark.request_id} for mark in marks):
                return keys
        return None

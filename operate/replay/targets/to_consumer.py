"""The consumer as the target, in this process: what is applied already is left alone, the rest is judged and applied.

Marks are read first. An event that has a mark is applied, by whichever delivery: it is a duplicate and not
judged again, since its secret may have been retired meanwhile. What a replay has applied in an attempt that was killed
shows in the mark too: it is this delivery's, written since the attempt began.

An event without a mark that is too old to tell is not applied and stays where it is, unless ``past_marks`` asks for it.

What is quarantined is always judged, whatever mark its id names: nothing has proven that id. Only a verdict takes it
out.

What is ignored has a mark that says so. A replay of the ignored applies what business code wants by now, in the place
of that mark and on the condition that it is still there; all else stays ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from weir.consumers.events_table.item import EventResult, JudgedEvent
from weir.consumers.events_table.mark import Mark, mark_key
from weir.consumers.events_table.store import client_config
from weir.consumers.judging.secrets import Secrets
from weir.consumers.outcome import HELD_BACK, Outcome
from weir.consumers.settings import Settings
from weir.ingest.ids import MarkKey
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.marks import Marks
from weir.operate.lookup.preview import Preview, Previewer
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.origins import kind_of
from weir.operate.replay.ports import Result, ResultKind
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.targets.in_process import HELD, Pipeline, make_judge, make_pipeline, make_secrets
from weir.operate.replay.targets.release import Release


class ToConsumer:
    """Judges and commits in batches.

    With ``retries`` a delivery that was refused gets another chance, with ``over_ignored`` one that was ignored.
    """

    batch_count = 500
    label = "the consumer in this process"

    def __init__(
        self,
        pipeline: Pipeline,
        marks: Marks,
        previewer: Previewer,
        release: Release,
        horizons: Horizons,
        *,
        retries: bool = False,
        over_ignored: bool = False,
    ) -> None:
        pipeline.holds = self._not_wanted if over_ignored else self._too_old
        pipeline.over_ignored = self._over_ignored = over_ignored
        pipeline.retries = self._retries = retries
        self._pipeline = pipeline
        self._horizons = horizons
        self._marks = marks
        self._previewer = previewer
        self._release = release
        self._claimed: set[MarkKey] = set()  # marks of the interrupted attempt that have been counted

    def log_to(self, log: Callable[[str], object]) -> None:
        """Have what is stored logged, as lines of the consumer's log."""
        self._pipeline.log = log

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:
        """Apply what is not applied; return what became of each event."""
        previews = [self._previewer.preview(delivery) for delivery in deliveries]
        known = self._marks.read(key for preview in previews for key in preview.all_keys())
        refused = self._refused(deliveries, previews, known)
        results: list[Result] = []
        left: list[tuple[Delivery, bool]] = []
        for delivery, preview, again in zip(deliveries, previews, repeats, strict=True):
            by_itself = self._retries or id(delivery) in refused
            done = _all_done(preview, known, by_itself=by_itself) or _all_older(preview, known)
            if self._over_ignored and done is not None and _is_ignored(preview, done):
                done = None
            if done is None:
                left.append((delivery, again))
            else:
                results += [Result(self._known_kind(mark, preview, since_ms if again else None)) for mark in done]
                if delivery.facts.get("outcome") == Outcome.QUARANTINED and _all_done(preview, known, by_itself=True):
                    self._release.discard(delivery.facts["pk"])
        if left:
            if self._retries:
                self._release.lift(previews, known, is_too_old=lambda one: self._horizons.is_behind(one.envelope))
            results += self._commit(left, known, since_ms)
        if not any(repeats):
            self._claimed.clear()
        return results

    def _commit(self, left: list[tuple[Delivery, bool]], known: dict[str, Mark], since_ms: int | None) -> list[Result]:
        pairs = self._pipeline.run([delivery.as_record() for delivery, _ in left])
        waiting = {judged.position for judged, result in pairs if result.outcome is Outcome.RETRY or result is HELD}
        results = []
        seen: set[MarkKey] = set()
        for judged, result in pairs:
            delivery, again = left[judged.position]
            results.append(self._result(judged, result, known, since_ms if again else None, seen))
            if result.outcome.is_done and judged.position not in waiting:
                self._release.note_done(delivery, judged)
            elif result.outcome in HELD_BACK and result is not HELD and self._retries:
                self._release.renew(delivery, judged, result)
        self._release.flush()
        return results

    def _result(
        self, judged: JudgedEvent, result: EventResult, known: dict[str, Mark], since_ms: int | None, seen: set[MarkKey]
    ) -> Result:
        if result is HELD or result.outcome in HELD_BACK:
            return self._refusal(judged, result)
        if result.outcome is Outcome.RETRY:
            return Result("failed", result.error.code if result.error else "")
        key = mark_key(judged.source, judged.identity)
        mark = known.get(key)
        was_ignored = self._over_ignored and mark is not None and mark.outcome == Outcome.IGNORED
        if mark is not None and mark.is_done and not was_ignored:
            return Result(self._kind(mark, judged.request_id, since_ms))
        if result.outcome is Outcome.DUPLICATE or key in seen:
            return Result(Outcome.DUPLICATE)
        seen.add(key)
        return Result(result.outcome)

    def _refusal(self, judged: JudgedEvent, result: EventResult) -> Result:
        """Return what an event counts as that was not applied, now or ever."""
        if self._over_ignored:
            return Result("stays ignored", result.reason if result is not HELD else getattr(judged.error, "code", ""))
        if result is HELD:
            return Result("too old to tell", judged.source)
        # What is in quarantine stays there if what it waited for is still not there.
        return Result(Outcome.QUARANTINED if self._retries else result.outcome, result.reason)

    def _not_wanted(self, judged: Sequence[JudgedEvent]) -> set[int]:
        """Return, by their `id`, the events that business code does not want today either, or refuses."""
        return {id(one) for one in judged if one.decision in {"ignore", "quarantine"}}

    def _too_old(self, judged: Sequence[JudgedEvent]) -> set[int]:
        """Return, by their `id`, the events that would be applied, have no mark, and are too old to tell."""
        old = {id(one): mark_key(one.source, one.identity) for one in judged if is_too_old(one, self._horizons)}
        known = self._marks.read(old.values()) if old else {}
        return {one for one, key in old.items() if not (key in known and known[key].is_done)}

    def _known_kind(self, mark: Mark, preview: Preview, since_ms: int | None) -> ResultKind:
        return self._kind(mark, preview.envelope.request_id if preview.envelope else "", since_ms)

    def _kind(self, mark: Mark, request_id: str, since_ms: int | None) -> ResultKind:
        """Return what an event that is there already counts as: its outcome if it is this replay's own work."""
        is_own = since_ms is not None and mark.request_id == request_id and mark.applied_at_ms >= since_ms
        if is_own and mark.key not in self._claimed:
            self._claimed.add(mark.key)
            return Outcome.APPLIED if mark.outcome == Outcome.APPLIED else Outcome.IGNORED
        return Outcome.DUPLICATE

    def _refused(self, deliveries: Sequence[Delivery], previews: Sequence[Preview], known: dict[str, Mark]) -> set[int]:
        """Return, by their `id`, the deliveries whose id has the mark of another one and that are quarantined."""
        keys = {
            id(delivery): _quarantine_keys(delivery, preview)
            for delivery, preview in zip(deliveries, previews, strict=True)
            if not self._retries and _all_done(preview, known) and not _all_done(preview, known, by_itself=True)
        }
        found = self._marks.read(key for names in keys.values() for key in names)
        quarantined = {key for key, mark in found.items() if mark.outcome == Outcome.QUARANTINED}
        return {one for one, names in keys.items() if quarantined & set(names)}


def _all_done(preview: Preview, known: dict[str, Mark], *, by_itself: bool = False) -> list[Mark] | None:
    """Return the marks of a reading of the delivery all of whose events are done; None if there is no such reading.

    ``by_itself`` asks for marks that this delivery wrote, which only a verdict can have let it do.
    """
    own = preview.envelope.request_id if by_itself and preview.envelope else ""
    for reading in preview.known(known):
        marks = [mark for mark in reading if mark is not None and mark.is_done and own in {"", mark.request_id}]
        if len(marks) == len(reading):
            return marks
    return None


def _is_ignored(preview: Preview, done: list[Mark]) -> bool:
    """Tell whether a mark of the delivery says that it was ignored itself, not as a duplicate of another."""
    own = preview.envelope.request_id if preview.envelope else ""
    return any(mark.outcome == Outcome.IGNORED and mark.request_id == own for mark in done)


def _all_older(preview: Preview, known: dict[str, Mark]) -> list[Mark] | None:
    """Return the marks of a reading all of whose events are done under their ids, since before marks were digests.

    The commit would not find them, and so they are believed: nothing may be applied twice.
    """
    for keys, reading in zip(preview.mark_keys(), preview.known(known), strict=True):
        marks = [mark for mark in reading if mark is not None and mark.is_done and mark.key not in keys]
        if len(marks) == len(reading):
            return marks
    return None


def _quarantine_keys(delivery: Delivery, preview: Preview) -> list[str]:
    """Return the keys under which a delivery, or a part of it, may be quarantined."""
    stored = delivery.facts.get("pk", "") if delivery.facts.get("outcome") == Outcome.QUARANTINED else ""
    return [*preview.quarantine_keys(), *([stored] if stored else [])]


def is_too_old(judged: JudgedEvent, horizons: Horizons) -> bool:
    """Tell whether a judged event, if it has no mark, is left alone for its age."""
    return judged.decision in {"apply", "ignore"} and judged.received_at_ms < horizons.of(judged.source)


def make(context: ReplayContext, request: ReplayRequest) -> ToConsumer:
    """Return the consumer in this process as the target of a replay. Raises: EffectsInvalid."""
    secrets = make_secrets(context.stack.catalogue, context.client, context.settings)
    origin, horizons = kind_of(request.origin), context.horizons(request)
    ways = {"retries": origin.holds_refused, "over_ignored": origin.holds_ignored}
    consumer = with_secrets(context, secrets, context.settings, horizons, **ways)
    consumer.log_to(context.log)
    return consumer


def with_secrets(
    context: ReplayContext, secrets: Secrets, settings: Settings, horizons: Horizons, **ways: bool
) -> ToConsumer:
    """Return the consumer in this process with given secrets and tables; ``ways`` are those of `ToConsumer`."""
    stack = context.stack
    judge = make_judge(stack.catalogue, context.client, settings, secrets)
    dynamodb = context.client_with("dynamodb", client_config(settings.commit_concurrency))
    pipeline = make_pipeline(judge, dynamodb, settings, s3=stack.table.s3, stopped=context.console.stopped)
    table = settings.events_table
    return into_table(pipeline, context.previewer, stack.table.dynamodb, table, horizons, **ways)


def into_table(
    pipeline: Pipeline, previewer: Previewer, dynamodb: Any, events_table: str, horizons: Horizons, **ways: bool
) -> ToConsumer:
    """Return a pipeline as a target; ``dynamodb`` reads and releases in its events table."""
    marks = Marks(dynamodb, events_table)
    return ToConsumer(pipeline, marks, previewer, Release(dynamodb, events_table, marks), horizons, **ways)

"""What a replay would do, without doing it: judged by this working tree's sources, secrets and business code.

Each event is compared with what the table says of it, so that a deploy can be tried on last week's real traffic:
an event that was applied and would now be quarantined is worth knowing before the deploy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from weir.consumers.batch.event_lines import BUG
from weir.consumers.commit.pending import compiled
from weir.consumers.events_table.item import JudgedEvent, detail, quarantine_key, refusal_key
from weir.consumers.events_table.mark import Mark, mark_key
from weir.consumers.judging.judge import Judge
from weir.consumers.outcome import Outcome
from weir.ingest.errors import ChangeInvalid, NotYet, RecordError, ServiceError, TypeUnproven
from weir.operate.lookup.causes import RAISED_AT
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.marks import Marks
from weir.operate.lookup.preview import Previewer
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.origins import kind_of
from weir.operate.replay.ports import Result, ResultKind
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.targets.in_process import make_judge
from weir.operate.replay.targets.simulate import LoadItem, Simulation, show, show_difference
from weir.operate.replay.targets.to_consumer import is_too_old

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_WOULD: dict[str, ResultKind] = {
    "apply": "would apply",
    "ignore": "would ignore",
    "quarantine": "would be quarantined",
    "wait": "cannot be judged",
}


class _Prediction(NamedTuple):
    """What would become of an event, and why."""

    kind: ResultKind
    reason: str = ""
    detail: str = ""


class DryRun:
    """Judges, looks up and simulates; writes nothing.

    ``load`` reads an item of the ``tables``, whose real names are given by their logical ones. With ``shows_items`` it
    says what each event would write, and how items would differ. With ``retries`` it says what becomes of deliveries
    that were refused and get another chance.
    """

    batch_count = 500
    label = "nothing: a dry run"

    def __init__(
        self,
        judge: Judge,
        marks: Marks,
        previewer: Previewer,
        horizons: Horizons,
        *,
        load: LoadItem,
        tables: Mapping[str, str],
        shows_items: bool = False,
        retries: bool = False,
        over_ignored: bool = False,
        result: Callable[[Mapping[str, Any], Sequence[str]], object] = lambda _, __: None,
    ) -> None:
        self._judge = judge
        self._marks = marks
        self._previewer = previewer
        self._horizons = horizons
        self._print = result
        self._over_ignored = over_ignored
        self._simulation = Simulation(load)
        self._tables = tables
        self._shows_items = shows_items
        self._retries = retries
        self._seen: set[int] = set()
        self.changed: Counter[str] = Counter()

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:  # noqa: ARG002 - the port
        """Say of each event what would become of it."""
        judged = self._judge.judge([delivery.as_record() for delivery in deliveries])
        keys = [key for one in judged for key in (*_mark_keys(one), quarantine_key(one))]
        unproven = [key for delivery in deliveries for key in self._previewer.preview(delivery).all_keys()]
        known = self._marks.read([*keys, *unproven])
        return [self._result(one, deliveries[one.position], known) for one in judged]

    def close(self) -> None:
        """Print how items would differ, and which events would come out otherwise than they did."""
        for text, count in sorted(self.changed.items()):
            self._print({"changed": text, "count": count}, [f"{count:>12,}  {text}"])
        if self._shows_items:
            for difference in self._simulation.differences():
                line = show_difference(*difference)
                self._print({"difference": line}, [line])

    def _result(self, judged: JudgedEvent, delivery: Delivery, known: dict[str, Mark]) -> Result:
        stored = self._stored(judged, delivery, known)
        is_own = stored is not None and stored.request_id == judged.request_id
        if self._over_ignored and is_own and stored is not None and stored.outcome == Outcome.IGNORED:
            return self._result_over_ignored(judged)
        if held := _held_back(judged, stored, known, retries=self._retries):
            self._tell(judged, held)
            return Result(held.kind, held.reason)
        fate = _other_type(judged, stored) or self._fate(judged, stored)
        if stored is None or not stored.is_done or _is_other_type(stored, judged):
            self._tell(judged, fate)
            return Result(fate.kind, fate.reason)
        now = f"{fate.kind} now" if self._compare(stored, fate) else ""
        why = ": ".join(filter(None, (fate.reason, fate.detail))) if now else ""
        self._tell(judged, _Prediction("already applied", now, why))
        return Result("already applied")

    def _result_over_ignored(self, judged: JudgedEvent) -> Result:
        """Say what would become of an event whose own mark says ignored: what cannot be applied stays so."""
        fate = self._simulated(judged) if judged.decision == "apply" else _because("would stay ignored", judged.error)
        if fate.kind not in {"would apply", "already applied"}:
            fate = fate._replace(kind="would stay ignored")
        self._tell(judged, fate)
        return Result(fate.kind, fate.reason)

    def _fate(self, judged: JudgedEvent, stored: Mark | None) -> _Prediction:
        """Return what this working tree would do with the event if it came now."""
        if is_too_old(judged, self._horizons) and not (stored is not None and stored.is_done):
            return _Prediction("too old to tell", judged.source)
        if stored is not None and stored.is_fence and not self._retries:
            if stored.lets_wait(refusal_key(judged)):
                return _Prediction("would wait", NotYet.code, "As before; it is tried again by itself.")
            return _Prediction(
                "would be quarantined", stored.reason, "As before; `weir failures retry` judges it again."
            )
        is_done = stored is not None and stored.is_done
        if is_done or judged.decision not in {"apply", "ignore"}:
            return _because(_WOULD[judged.decision], judged.error)
        fate = self._simulated(judged)
        # What is in quarantine stays there if what it waits for is not there.
        return fate._replace(kind="would be quarantined") if self._retries and fate.kind == "would wait" else fate

    def _simulated(self, judged: JudgedEvent) -> _Prediction:
        """Return what becomes of an event that would be applied or ignored, and remember it for the next."""
        digest = hash((judged.source, judged.identity))
        if digest in self._seen:
            return _Prediction("already applied")
        try:
            compiled(judged, self._tables)
            self._simulation.apply(judged.changes)
        except NotYet as missing:
            return _because("would wait", missing)
        except RecordError as refused:
            return _because("would be quarantined", refused)
        self._seen.add(digest)
        return _Prediction(_WOULD[judged.decision])

    def _stored(self, judged: JudgedEvent, delivery: Delivery, known: dict[str, Mark]) -> Mark | None:
        """Return the mark under which the event is done, or the fence that keeps this delivery of it out.

        The id of what is refused and quarantined is proven by nothing, so its mark says nothing of this delivery.
        """
        marks = [known.get(key) for key in _mark_keys(judged)]
        stored = known.get(quarantine_key(judged))
        is_quarantined = stored is not None and stored.outcome == Outcome.QUARANTINED
        if judged.decision == "quarantine" and not judged.event_id and not is_quarantined:
            marks += next(iter(self._previewer.preview(delivery).known(known)), ())
        for mark in marks:
            if mark is not None and (mark.is_done or mark.keeps_out(refusal_key(judged))):
                return mark
        return None

    def _compare(self, stored: Mark, fate: _Prediction) -> bool:
        """Count an event that would come out otherwise than it did, and return whether it would."""
        now = {"would apply": Outcome.APPLIED, "would ignore": Outcome.IGNORED}.get(fate.kind)
        if now == stored.outcome:
            return False
        why = f": {fate.reason}" if fate.reason else ""
        why += " (as a retired secret makes it)" if fate.reason.startswith(("signature", "secret")) else ""
        why += f" {raised[0]}" if fate.reason == BUG and (raised := RAISED_AT.search(fate.detail)) else ""
        self.changed[f"{stored.outcome} then, {fate.kind}{why} by this working tree"] += 1
        return True

    def _tell(self, judged: JudgedEvent, fate: _Prediction) -> None:
        identity = judged.event_id or judged.request_id or judged.stream_position
        why = "".join(f": {part}" for part in (fate.reason, fate.detail) if part)
        facts = {
            "would": fate.kind,
            "source": judged.source,
            "type": judged.type,
            "event_id": judged.event_id,
            "request_id": judged.request_id,
            "reason": fate.reason,
            "detail": fate.detail,
        }
        line = f"{fate.kind:20} {judged.source or '?':14} {judged.type or '-':28} {identity}{why}"
        if not self._shows_items:
            self._print(facts, [line])
            return
        changes = [show(change) for change in judged.changes]
        self._print({**facts, "changes": changes}, [line, *(f"{'':20} {change}" for change in changes)])


def _mark_keys(judged: JudgedEvent) -> list[str]:
    """Return the keys under which an event may have its mark; one that is older than digests has it under its id."""
    if not judged.event_id:
        return []
    return list(dict.fromkeys(mark_key(judged.source, name) for name in (judged.identity, judged.event_id)))


def _held_back(
    judged: JudgedEvent, stored: Mark | None, known: Mapping[str, Mark], *, retries: bool
) -> _Prediction | None:
    """Return what becomes of a delivery that was refused before another one of its event was applied, if it stays so.

    Where it gets another chance it is a duplicate of that one, unless it is refused before its event is known.
    """
    name, item = refusal_key(judged), known.get(quarantine_key(judged))
    if stored is None or item is None or not stored.is_done or item.outcome != Outcome.QUARANTINED:
        return None
    if judged.decision == "quarantine":
        return _because("would be quarantined", judged.error)
    if retries or not stored.has_refused(name):
        return None
    return _Prediction("would be quarantined", item.reason, "As before; another delivery of the event was applied.")


def _other_type(judged: JudgedEvent, stored: Mark | None) -> _Prediction | None:
    """Return what becomes of an event whose mark is another type's, None if it is not."""
    if stored is None or not _is_other_type(stored, judged):
        return None
    return _Prediction("would be quarantined", TypeUnproven.code, f"It was applied as {stored.type or 'no type'}.")


def _is_other_type(stored: Mark, judged: JudgedEvent) -> bool:
    return stored.is_done and stored.is_other_type(judged.request_id, judged.type, is_signed=judged.is_type_signed)


def _because(kind: ResultKind, error: ServiceError | None) -> _Prediction:
    return _Prediction(kind, error.code, detail(error)) if error else _Prediction(kind)


def make(context: ReplayContext, request: ReplayRequest) -> DryRun:
    """Return a target that only says what the consumer would do. Raises: EffectsInvalid."""
    stack, settings = context.stack, context.settings
    judge = make_judge(stack.catalogue, context.client, settings)
    origin = kind_of(request.origin)
    return DryRun(
        judge,
        stack.marks,
        context.previewer,
        context.horizons(request),
        load=_loader(stack.table.dynamodb, settings.tables),
        tables=settings.tables,
        shows_items=request.diff,
        retries=origin.holds_refused,
        over_ignored=origin.holds_ignored,
        result=context.console.result,
    )


def _loader(dynamodb: DynamoDBClient, tables: Mapping[str, str]) -> LoadItem:
    def load(table: str, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if table not in tables:
            return None
        try:
            return dynamodb.get_item(TableName=tables[table], Key=key, ConsistentRead=True).get("Item")
        except dynamodb.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            raise ChangeInvalid(error.response["Error"]["Message"]) from error  # as the write would be refused

    return load

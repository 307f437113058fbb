"""What the reasons of a cancelled transaction, read by position, mean for each event in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from weir.consumers.commit.pending import Work
from weir.consumers.commit.transaction import Role
from weir.consumers.events_table.actions import describe
from weir.consumers.events_table.item import detail
from weir.consumers.events_table.port import (
    CONDITION_FAILED,
    CONFLICT,
    DUPLICATE_ITEM,
    NONE,
    TOO_LARGE,
    VALIDATION_ERROR,
    Reason,
)
from weir.consumers.outcome import Outcome
from weir.ingest.errors import (
    ChangeInvalid,
    CommitConflict,
    ConditionFailed,
    EventTooLarge,
    RecordError,
    StoreThrottled,
    StoreUnavailable,
    TransientError,
)

_THROTTLES = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded", "Throttling"})


@dataclass(slots=True, eq=False)
class Verdict:
    """What a cancellation leaves to do.

    ``progress``: at least one event will not be sent again as it was. ``unclear`` says what is wrong with an action
    that several events share. ``transient`` is what only time mends, and ``stuck`` are the events that it concerns.
    """

    progress: bool = False
    unclear: str = ""
    transient: TransientError | None = None
    stuck: list[Work] = field(default_factory=list)


def read_reasons(roles: Sequence[Role], reasons: Sequence[Reason]) -> Verdict:
    """Settle or refuse the events that the reasons name."""
    verdict = Verdict()
    failed = [(role, reason) for role, reason in zip(roles, reasons, strict=False) if reason.code != NONE]
    for role, reason in failed:
        if reason.code == CONDITION_FAILED:
            _fail(role, reason)
            verdict.progress = True
        elif reason.code not in (VALIDATION_ERROR, TOO_LARGE):
            verdict.transient = transient(reason)
            verdict.stuck += role.works
        elif len(role.works) == 1:
            _refuse(role, role.works[0], refusal(reason.message or reason.code))
            verdict.progress = True
        else:
            verdict.unclear = reason.message or reason.code
    if not failed:
        verdict.transient = StoreUnavailable("A transaction was cancelled without a reason.")
    return verdict


def read_inserted(works: Sequence[Work], reasons: Sequence[Reason]) -> TransientError | None:
    """Settle what was inserted or stood there already; return what only time mends."""
    found: TransientError | None = None
    for work, reason in zip(works, reasons, strict=True):
        if reason.code == NONE:
            work.settle_written()
        elif reason.code in (DUPLICATE_ITEM, CONDITION_FAILED):
            _meet(work, reason, own=work.prepared.fate == "quarantine")
        elif reason.code == VALIDATION_ERROR:
            work.refuse(refusal(reason.message))
        else:
            found = transient(reason)
    return found


def refusal(message: str) -> RecordError:
    """Return the error of a change that the store will never take."""
    if "size" in message.lower():
        return EventTooLarge(message)
    return ChangeInvalid(message)


def transient(reason: Reason) -> TransientError:
    """Return the error of something that time may mend."""
    if reason.code == CONFLICT:
        return CommitConflict(reason.message)
    if reason.code in _THROTTLES:
        return StoreThrottled(reason.message)
    return StoreUnavailable(reason.message, code=reason.code)


def _fail(role: Role, reason: Reason) -> None:
    if role.kind != "change":
        _meet(role.works[0], reason, own=role.kind == "quarantine")
        return
    for work in role.works:
        if role.action is None or work.outcome is not None:
            continue
        if role.action.stale_ok and work.refusal is None:
            work.actions.remove(role.action)
        else:
            _refuse(role, work, ConditionFailed(describe(role.action.item)))


def _refuse(role: Role, work: Work, error: RecordError) -> None:
    """Refuse an event once, whatever else of it failed in the same transaction, or give up its quarantine."""
    if work.outcome is None and (work.refusal is None or role.kind != "change"):
        work.refuse(error)


def _meet(work: Work, reason: Reason, *, own: bool) -> None:
    """Compare an event with the item in its way; its ``own`` key is the delivery's, so an earlier try wrote that."""
    error = work.refusal or work.prepared.error
    if own and error is not None:
        work.settle(Outcome.QUARANTINED, error.code, detail(error))
    elif reason.mark is None:
        work.doubtful = True
    else:
        work.meet(reason.mark)

"""What the reasons of a cancelled transaction, read by position, mean for each event in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from weir.consumers.business.changes import Wait
from weir.consumers.commit.pending import PendingEvent
from weir.consumers.commit.transaction import Role
from weir.consumers.events_table.actions import Action, describe
from weir.consumers.events_table.port import (
    CONDITION_FAILED,
    CONFLICT,
    DUPLICATE_ITEM,
    NONE,
    TOO_LARGE,
    VALIDATION_ERROR,
    Reason,
)
from weir.ingest.errors import (
    ChangeInvalid,
    CommitConflict,
    ConditionFailed,
    EventTooLarge,
    NotYet,
    RecordError,
    StoreThrottled,
    StoreUnavailable,
    TransientError,
)

_THROTTLES = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded", "Throttling"})


@dataclass(slots=True, eq=False)
class Findings:
    """What a cancellation leaves to do.

    ``progress``: at least one event will not be sent again as it was. ``unclear`` says what is wrong with an action
    that several events share. ``transient`` is what only time can fix, and ``stuck`` are the events that it concerns.
    """

    progress: bool = False
    unclear: str = ""
    transient: TransientError | None = None
    stuck: list[PendingEvent] = field(default_factory=list)


def read_reasons(roles: Sequence[Role], reasons: Sequence[Reason]) -> Findings:
    """Settle or refuse the events that the reasons name."""
    found = Findings()
    failed = [(role, reason) for role, reason in zip(roles, reasons, strict=False) if reason.code != NONE]
    patient: list[tuple[PendingEvent, Action, Wait]] = []
    for role, reason in failed:
        if reason.code == CONDITION_FAILED:
            patient += _fail(role, reason)
            found.progress = True
        elif reason.code not in (VALIDATION_ERROR, TOO_LARGE):
            found.transient = transient(reason)
            found.stuck += role.events
        elif len(role.events) == 1:
            _refuse(role, role.events[0], refusal(reason.message or reason.code))
            found.progress = True
        else:
            found.unclear = reason.message or reason.code
    for event, action, wait in patient:
        # What can never be applied is not waited for, whatever else of the event is not yet there.
        if event.result is None and event.refusal is None:
            event.wait_for(wait)
            event.refuse(NotYet(describe(action.item)))
    if not failed:
        found.transient = StoreUnavailable("A transaction was cancelled without a reason.")
    return found


def read_inserted(events: Sequence[PendingEvent], reasons: Sequence[Reason]) -> TransientError | None:
    """Settle what was inserted or stood there already; return what only time can fix."""
    found: TransientError | None = None
    for event, reason in zip(events, reasons, strict=True):
        if reason.code == NONE:
            event.written()
        elif reason.code in (DUPLICATE_ITEM, CONDITION_FAILED):
            _meet(event, reason, own=event.judged.decision == "quarantine")
        elif reason.code == VALIDATION_ERROR:
            event.refuse(refusal(reason.message))
        else:
            found = transient(reason)
    return found


def refusal(message: str) -> RecordError:
    """Return the error of a change that the store will never take."""
    if "size" in message.lower():
        return EventTooLarge(message)
    return ChangeInvalid(message)


def transient(reason: Reason) -> TransientError:
    """Return the error of something that time may fix."""
    if reason.code == CONFLICT:
        return CommitConflict(reason.message)
    if reason.code in _THROTTLES:
        return StoreThrottled(reason.message)
    return StoreUnavailable(reason.message, code=reason.code)


def _fail(role: Role, reason: Reason) -> list[tuple[PendingEvent, Action, Wait]]:
    """Settle or refuse the events of a failed condition; return those that may wait for it, each with its own action.

    Events that share a check need not agree on that.
    """
    patient: list[tuple[PendingEvent, Action, Wait]] = []
    if role.kind != "change":
        _meet(role.events[0], reason, own=role.kind == "quarantine")
        return patient
    for event in role.events:
        if role.action is None or event.result is not None:
            continue
        if role.action.stale_ok and event.refusal is None:
            event.leave_out(role.action)
            continue
        own = next((action for action in event.actions if action.item == role.action.item), role.action)
        if own.wait is not None:
            patient.append((event, own, own.wait))
        else:
            _refuse(role, event, ConditionFailed(describe(own.item)))
    return patient


def _refuse(role: Role, event: PendingEvent, error: RecordError) -> None:
    """Refuse an event once, whatever else of it failed in the same transaction, or give up its quarantine."""
    if event.result is None and (event.refusal is None or role.kind != "change"):
        event.refuse(error)


def _meet(event: PendingEvent, reason: Reason, *, own: bool) -> None:
    """Compare an event with the item in its way; its ``own`` key is the delivery's, so an earlier try wrote that."""
    if own:
        event.written()
    elif reason.mark is None:
        event.doubt()
    else:
        event.meet(reason.mark)

"""Several events in one TransactWriteItems: which of them fit, and what is written for each, position by position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from weir.consumers.commit.fences import put_if_free, put_over_ignored, put_through_fence, raise_fence
from weir.consumers.commit.pending import PendingEvent
from weir.consumers.commit.plan import ACTIONS_MAX
from weir.consumers.events_table.actions import Action, ActionJson, ItemKey, merged
from weir.consumers.events_table.attributes import Field
from weir.consumers.events_table.item import event_fields, quarantined_fields, refusal_key, waiting_fields
from weir.consumers.events_table.mark import refusals, stored_text
from weir.consumers.outcome import Outcome
from weir.ingest.errors import ServiceError


class Role(NamedTuple):
    """What one action of a transaction is there for, and for which events."""

    kind: Literal["mark", "change", "quarantine", "fence"]
    events: list[PendingEvent]
    action: Action | None = None


class Transaction(NamedTuple):
    """Some events in one call: roles and requests, position by position."""

    events: list[PendingEvent]
    roles: list[Role]
    requests: list[ActionJson]


def fill(events: Sequence[PendingEvent]) -> list[PendingEvent]:
    """Return as many of the events, from the first on, as one transaction takes.

    What a phantom would touch ends it for others, as in the plan: they are judged by what the phantom leaves, should it
    turn out to be real. That is needed here, too, for events that were phantoms themselves when the plan was made.
    """
    taken: list[PendingEvent] = []
    shares: dict[ItemKey, str] = {}
    reserved: dict[ItemKey, str] = {}
    actions = 0
    for event in events:
        if event.is_phantom:
            for action in event.actions:
                is_like_others = reserved.get(action.item, action.shares) == action.shares
                reserved[action.item] = action.shares if is_like_others else ""
        else:
            fresh = [action for action in event.actions if action.item not in shares]
            clash = any(
                _excludes(held.get(action.item), action) for action in event.actions for held in (shares, reserved)
            )
            behind_refused = event.head is not None and event.head.result is None
            actions += 2 if event.refusal else 1 + len(fresh)
            if taken and (clash or behind_refused or actions > ACTIONS_MAX):
                break
            shares.update((action.item, action.shares) for action in event.actions)
        taken.append(event)
    return taken


def _excludes(present: str | None, action: Action) -> bool:
    return present is not None and (present != action.shares or not present)


def entangled(events: Sequence[PendingEvent], stuck: Iterable[PendingEvent]) -> set[PendingEvent]:
    """Return those of the events, in their order, that must not overtake any that is stuck: with it or behind it."""
    found = set(stuck)
    held: dict[tuple[str, str], set[str]] = {}  # what the stuck ones touch, and with whom they would share it
    for event in events:
        ties = [(("", event.judged.partition_key), ""), ((" ", event.key), "")]
        ties += [(action.item, action.shares) for action in event.actions]
        if any(held.get(item, set()) - {shares or None} for item, shares in ties):
            found.add(event)
        if event in found:
            for item, shares in ties:
                held.setdefault(item, set()).add(shares)
    return found


def build(events: list[PendingEvent], table: str, now_ms: int) -> Transaction:
    """Write the requests of a transaction; events that wait for one in it take part without an action."""
    transaction = Transaction(events, [], [])
    shared: dict[ItemKey, Role] = {}
    joined: dict[ItemKey, list[Action]] = {}
    for event in events:
        if event.is_phantom:
            continue
        if event.refusal is None:
            transaction.roles.append(Role("quarantine" if event.is_untrusted else "mark", [event]))
            transaction.requests.append(_mark(event, table, now_ms))
        else:
            transaction.roles.extend((Role("quarantine", [event]), Role("fence", [event])))
            transaction.requests.append(_refused(event, event.refusal, table, now_ms))
            transaction.requests.append(_fence(event, event.refusal, table, now_ms))
        for action in event.actions:
            if action.item in shared:
                shared[action.item].events.append(event)
                joined[action.item].append(action)
            else:
                shared[action.item] = Role("change", [event], action)
                joined[action.item] = [action]
    for item, role in shared.items():
        transaction.roles.append(role)
        transaction.requests.append(merged(joined[item]))
    return transaction


def insertable(event: PendingEvent, now_ms: int) -> list[Field]:
    """Return the item of an event that is written by an insert alone."""
    error = event.judged.error
    if event.judged.decision == "quarantine" and error is not None:
        return quarantined_fields(event.judged, error, now_ms, event.pack())
    outcome = Outcome.IGNORED if event.judged.decision == "ignore" else Outcome.APPLIED
    return event_fields(event.judged, outcome, now_ms, event.pack())


def _mark(event: PendingEvent, table: str, now_ms: int) -> ActionJson:
    fields = insertable(event, now_ms)
    if event.is_over_ignored:
        return put_over_ignored(table, fields, stored_text(event.judged.request_id))
    if not event.fence:
        return put_if_free(table, fields)
    own = refusal_key(event.judged) if event.judged.earlier_tries else ""
    return put_through_fence(table, fields, event.fence, own)


def _refused(event: PendingEvent, error: ServiceError, table: str, now_ms: int) -> ActionJson:
    """Return the action that keeps what is not applied, now or ever, under its delivery's key."""
    if event.waits is not None:
        return put_if_free(table, waiting_fields(event.judged, event.waits, error, now_ms, event.pack()))
    return put_if_free(table, quarantined_fields(event.judged, error, now_ms, event.pack()))


def _fence(event: PendingEvent, error: ServiceError, table: str, now_ms: int) -> ActionJson:
    expires_at_s = now_ms // 1000 + event.judged.retention_s
    for_good, for_now = refusals(refusal_key(event.judged))
    delivery = for_good if event.waits is None else for_now
    return raise_fence(table, event.key, delivery, reason=error.code, expires_at_s=expires_at_s)

"""What has become of deliveries, by the events table alone: the question that account, lag and failures share.

A delivery is settled when every event in it has a mark, or it stands in quarantine. Events whose mark belongs to
another delivery make it a duplicate: their effect has been had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from weir.consumers.outcome import Outcome
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.marks import Mark, Marks
from weir.operate.lookup.preview import Look, Looker

State: TypeAlias = Outcome | Literal["unsettled"]


@dataclass(frozen=True, slots=True)
class Settled:
    """Tells the state of many deliveries at once."""

    looker: Looker
    marks: Marks

    def states(self, deliveries: Sequence[Delivery]) -> list[State]:
        """Return the state of each delivery.

        Of several events in one delivery the state that says most counts: one that is unsettled, then quarantined,
        applied, ignored, duplicate.
        """
        looks = [self.looker.look(delivery) for delivery in deliveries]
        known = self.marks.read(key for look in looks for keys in look.mark_keys() for key in keys)
        states = [_of_marks(look, known) for look in looks]
        left = [at for at, state in enumerate(states) if state == "unsettled"]
        if left:
            keys = {at: _quarantine_keys(looks[at], deliveries[at]) for at in left}
            refused = self.marks.read(key for group in keys.values() for key in group)
            for at in left:
                states[at] = _of_quarantine(looks[at], known, refused, keys[at])
        return states


def _of_marks(look: Look, known: dict[str, Mark]) -> State:
    request_id = look.envelope.request_id if look.envelope else ""
    for keys in look.mark_keys():
        marks = [
            known[key]
            for index, key in enumerate(keys)
            if key in known and known[key].is_done and not known[key].refused & {request_id, f"{request_id}.{index}"}
        ]
        if len(marks) == len(keys):
            own = {mark.outcome for mark in marks if mark.request_id == request_id}
            if Outcome.APPLIED in own:
                return Outcome.APPLIED
            return Outcome.IGNORED if own else Outcome.DUPLICATE
    return "unsettled"


def _of_quarantine(look: Look, known: dict[str, Mark], refused: dict[str, Mark], keys: list[str]) -> State:
    """Judge what the marks alone do not explain: quarantined as a whole, or event by event."""
    found = [key for key in keys if key in refused and refused[key].outcome == Outcome.QUARANTINED]
    if not found:
        return "unsettled"
    if keys[0] in found:
        return Outcome.QUARANTINED
    whole = f"{keys[0]}."
    singles = {int(key.removeprefix(whole)) for key in found}
    for reading in look.mark_keys():
        done = {index for index, key in enumerate(reading) if key in known and known[key].is_done}
        if done | singles >= set(range(len(reading))):
            return Outcome.QUARANTINED
    return "unsettled"


def _quarantine_keys(look: Look, delivery: Delivery) -> list[str]:
    return look.quarantine_keys() or [f"!{delivery.as_record().position}"]

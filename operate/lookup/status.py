"""What has become of deliveries, by the events table alone; account, lag and failures ask this.

A delivery has an outcome when every event in it has a mark, or it is in quarantine; until then it is `open`. Events
whose mark belongs to another delivery make it a duplicate: they are applied already. An open delivery that is older
than the marks of its source is `too old to tell`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from weir.consumers.events_table.mark import Mark, delivery_name, mark_key, quarantined_key, unreadable_key
from weir.consumers.outcome import HELD_BACK, Outcome
from weir.ingest.ids import RequestId
from weir.ingest.sources.events import Event
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.marks import Marks
from weir.operate.lookup.preview import UNPROVEN_BYTES, Preview, Previewer

Status: TypeAlias = Outcome | Literal["open", "too old to tell"]
UNFINISHED: frozenset[Status] = frozenset({"open", "too old to tell"})  # nothing in the table says that it is done


@dataclass(frozen=True, slots=True)
class DeliveryStatuses:
    """Reads the status of many deliveries at once."""

    previewer: Previewer
    marks: Marks
    horizons: Horizons

    def of(self, deliveries: Sequence[Delivery]) -> list[Status]:
        """Return the status of each delivery.

        Of several events in one delivery the status that says most counts: one that is open, then quarantined, waiting,
        applied, ignored, duplicate. The body of a large delivery is not read if it is in quarantine as a whole.
        """
        found = self._refused_unread(deliveries)
        left = [delivery for delivery in deliveries if id(delivery) not in found]
        known = self._of_likeliest(left, found)
        left = [delivery for delivery in left if id(delivery) not in found]
        found |= {id(delivery): status for delivery, status in zip(left, self._of_read(left, known), strict=True)}
        return [found[id(delivery)] for delivery in deliveries]

    def _refused_unread(self, deliveries: Sequence[Delivery]) -> dict[int, Status]:
        """Return, by their `id`, what the table has large deliveries as: quarantined, or waiting."""
        keys = {}
        for delivery in deliveries:
            envelope = self.previewer.envelope(delivery)
            if envelope is not None and len(envelope.body) > UNPROVEN_BYTES:
                keys[id(delivery)] = quarantined_key(envelope.source, envelope.request_id)
        marks = self.marks.read(keys.values()) if keys else {}
        return {one: status for one, key in keys.items() if key in marks and (status := _held(marks[key]))}

    def _of_likeliest(self, deliveries: Sequence[Delivery], found: dict[int, Status]) -> dict[str, Mark | None]:
        """Put into ``found`` what the likeliest reading alone proves, by `id`; return the marks that were asked for.

        Most deliveries are the one that wrote the mark. Then no other reading can say anything else, and neither can a
        mark of before there were digests: half of the work, and of what is read, is left out.
        """
        likely = [self.previewer.likeliest(delivery) for delivery in deliveries]
        keys = [[mark_key(event.source, event.identity) for event in events] for events in likely]
        wanted = list(dict.fromkeys(key for group in keys for key in group))
        marks = self.marks.read(wanted)
        for delivery, events, group in zip(deliveries, likely, keys, strict=True):
            own = _own_outcome(events, [marks.get(key) for key in group])
            if own is not None:
                found[id(delivery)] = own
        return {key: marks.get(key) for key in wanted}

    def _of_read(self, deliveries: Sequence[Delivery], asked: Mapping[str, Mark | None]) -> list[Status]:
        previews = [self.previewer.preview(delivery) for delivery in deliveries]
        known = {key: mark for key, mark in asked.items() if mark is not None}
        known |= self.marks.read(key for preview in previews for key in preview.all_keys() if key not in asked)
        statuses = [_of_marks(preview, known) for preview in previews]
        # An id that has the mark of another delivery is not proven to be this one's: it may be a quarantined forgery.
        left = [at for at, status in enumerate(statuses) if status in {"open", Outcome.DUPLICATE}]
        if left:
            keys = {at: _quarantine_keys(previews[at], deliveries[at]) for at in left}
            refused = self.marks.read(key for group in keys.values() for key in group)
            for at in left:
                if held := _held_back(previews[at], known, refused, keys[at]):
                    statuses[at] = held
        return [self._in_time(status, preview) for status, preview in zip(statuses, previews, strict=True)]

    def _in_time(self, status: Status, preview: Preview) -> Status:
        """Return a status as the delivery's age allows: it is open only if a missing mark is proof."""
        return "too old to tell" if status == "open" and self.horizons.is_behind(preview.envelope) else status


def _own_outcome(events: Sequence[Event], marks: Sequence[Mark | None]) -> Outcome | None:
    """Return the outcome of a delivery where its own marks say so as `_of_marks` would; None where more must be read.

    ``marks`` are those of the events' identities, in their order.
    """
    own = set()
    for index, (event, mark) in enumerate(zip(events, marks, strict=True)):
        request_id = event.envelope.request_id
        if mark is None or not mark.is_done or (event.digest and mark.request_id != request_id):
            return None
        if mark.is_other_type(request_id, event.type, is_signed=event.is_type_signed):
            return None
        if mark.has_refused(request_id) or mark.has_refused(delivery_name(request_id, index, len(events))):
            return None
        if mark.request_id == request_id:
            own.add(mark.outcome)
    if Outcome.APPLIED in own:
        return Outcome.APPLIED
    return Outcome.IGNORED if own else None


def _of_marks(preview: Preview, known: dict[str, Mark]) -> Status:
    request_id = preview.envelope.request_id if preview.envelope else RequestId("")
    for reading in preview.known(known):
        marks = [
            mark
            for index, mark in enumerate(reading)
            if mark is not None
            and mark.is_done
            and not any(map(mark.has_refused, (request_id, delivery_name(request_id, index, len(reading)))))
        ]
        if len(marks) == len(reading):
            own = {mark.outcome for mark in marks if mark.request_id == request_id}
            if Outcome.APPLIED in own:
                return Outcome.APPLIED
            return Outcome.IGNORED if own else Outcome.DUPLICATE
    return "open"


def _held(mark: Mark) -> Outcome | None:
    """Return how an item holds its delivery back; None if it does not."""
    return next((outcome for outcome in HELD_BACK if outcome == mark.outcome), None)


def _held_back(preview: Preview, known: dict[str, Mark], refused: dict[str, Mark], keys: list[str]) -> Outcome | None:
    """Return how what the marks alone do not explain is held back, as a whole or event by event; None if it is not."""
    found = {key: refused[key].outcome for key in keys if key in refused and refused[key].outcome in HELD_BACK}
    if not found:
        return None
    status = Outcome.QUARANTINED if Outcome.QUARANTINED in found.values() else Outcome.WAITING
    if keys[0] in found:
        return status
    whole = f"{keys[0]}."
    singles = {int(key.removeprefix(whole)) for key in found}
    for reading in preview.known(known):
        done = {index for index, mark in enumerate(reading) if mark is not None and mark.is_done}
        if done | singles >= set(range(len(reading))):
            return status
    return None


def _quarantine_keys(preview: Preview, delivery: Delivery) -> list[str]:
    return preview.quarantine_keys() or [unreadable_key(delivery.as_record().position)]

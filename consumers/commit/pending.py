"""The state of a commit, and everything that changes it: each event on its way, and what all of them share.

The other modules of this package decide; what they decided happens here, by methods that are named for it. A test finds
an attribute of this state that is set elsewhere.

An event is written in one of two forms. *Applied*: its mark (a Put that demands that the id be free) and its changes.
*Refused*, after its changes turned out to be impossible: its quarantined item and a fence on its id. The fence makes
the refusal final for this delivery: when the batch is read again, or is being read by another consumer at this moment,
the event cannot be applied late and out of order. Another delivery of the same event passes the fence, judged anew.
What business code waits for is refused likewise, for now: its item says *waiting*, and `consumers.waiting` tries it
again.

What the table shows may also turn an event into one that is *quarantined as if it had been judged so*: its mark is
there, but of another type, and the sender does not sign the type. Then it has its delivery's key, and no fence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from weir.consumers.business.changes import Wait
from weir.consumers.commit.plan import CHANGES_BYTES_MAX, CHANGES_MAX, Unit
from weir.consumers.events_table.actions import ADDS, Action, compile_changes
from weir.consumers.events_table.attributes import Field
from weir.consumers.events_table.item import (
    EventResult,
    JudgedEvent,
    detail,
    inline,
    pack,
    payload_key,
    pointer,
    quarantine_key,
    refusal_key,
)
from weir.consumers.events_table.mark import Mark, mark_key, refusals, stored_text
from weir.consumers.outcome import HELD_BACK, Outcome
from weir.ingest.errors import (
    EventTooLarge,
    NotYet,
    QuarantineRefused,
    RecordError,
    ServiceError,
    TooOldToTell,
    TransientError,
    TypeUnproven,
)
from weir.ingest.ids import MarkKey
from weir.ingest.sources.catalogue import MARK_MARGIN_S

# What an item of the events table holds beside the blob, roughly; only for the 4 MB of a transaction.
_FACTS_BYTES = 1024

# Full jitter: a pause is uniform between nothing and the base doubled with every attempt, up to the cap.
# Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
BACKOFF_BASE_S = 0.025
BACKOFF_CAP_S = 2.0
# By how much the stream's clock may be ahead of the consumer's.
_CLOCKS_MS = 5_000


@dataclass(slots=True, eq=False)
class CommitState:
    """What all steps of a commit share: the table, the time, and what the answers have shown so far.

    ``reads_ahead``: marks are read before a transaction is sent, since this looks like a replay. ``last_error`` is why
    a call failed last, for the events that are left to the next batch.
    """

    events_table: str
    now_ms: int
    rng: Random
    reads_ahead: bool = False
    write_units: float = 0.0
    last_error: TransientError | None = None

    def pause_s(self, attempt: int) -> float:
        """Return how long to wait before trying again for the ``attempt``-th time, counted from 1."""
        return self.rng.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempt, 16)))

    def consume(self, write_units: float) -> None:
        """Count the write units that an answer reports."""
        self.write_units += write_units

    def fail(self, error: TransientError) -> None:
        """Take note of why a call failed."""
        self.last_error = error

    def recognise_replay(self) -> None:
        """Read marks ahead from now on: a transaction was cancelled because many of its events are present."""
        self.reads_ahead = True


@dataclass(slots=True, eq=False)
class PendingEvent:
    """One event: what is to be written, what the table said of it so far, and in the end its result.

    ``size_bytes`` is that of its envelope before any packing; ``blob`` is what the bucket must hold before the event is
    written, ``content`` the attribute with the envelope or the pointer to it.
    ``head`` is the first event of the batch with the same id, ``followers`` those after it. ``refused`` holds the
    refused deliveries that the table names under its id, ``fence`` the same if there is only a fence so far.
    ``doubtful`` means that its mark must be read,
    ``was_present`` that it was there before, ``is_planned`` that a transaction has it. ``is_past``: it is older than
    its mark would live, so that without a mark it is not applied. ``met`` is the mark of another delivery that was
    there before: it judges the followers, too. ``is_over_ignored``: its own mark says ignored, and it takes its place.
    ``waits``: it is refused for now only, since what it waits for is not there.
    """

    index: int
    judged: JudgedEvent
    key: MarkKey
    size_bytes: int = 0
    actions: list[Action] = field(default_factory=list)
    refusal: ServiceError | None = None
    waits: Wait | None = None
    fence: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    met: Mark | None = None
    doubtful: bool = False
    was_present: bool = False
    is_planned: bool = False
    is_past: bool = False
    is_over_ignored: bool = False
    result: EventResult | None = None
    head: PendingEvent | None = None
    followers: list[PendingEvent] = field(default_factory=list)
    content: Field | None = None
    blob: bytes | None = None

    @property
    def is_open(self) -> bool:
        """Return whether nothing is known yet of what becomes of it."""
        return self.result is None

    @property
    def is_left(self) -> bool:
        """Return whether it is left to the next batch."""
        return self.result is not None and self.result.outcome is Outcome.RETRY

    @property
    def has_mark(self) -> bool:
        """Return whether the table now has a mark of its id, be it another delivery's."""
        return self.result is not None and self.result.outcome.is_done

    @property
    def is_cheap(self) -> bool:
        """Return whether one conditional insert keeps all promises: nothing else has to happen with it."""
        if self.actions or self.refusal or self.fence or self.judged.replaces_ignored or self.judged.earlier_tries:
            return False
        return not any(other.actions for other in self.followers)

    @property
    def is_untrusted(self) -> bool:
        """Return whether it is to be quarantined under its delivery's key, and was so already when it was judged."""
        return self.judged.decision == "quarantine"

    @property
    def is_phantom(self) -> bool:
        """Return whether the event waits for an earlier one with the same id."""
        return self.head is not None and self.head.result is None and self.head.refusal is None

    def resources(self) -> list[tuple[str, str]]:
        """Return what the event has in common with those that it must not overtake; nothing if it has no effect."""
        if self.judged.decision != "wait" and not (self.actions or self.refusal):
            return []
        return [("", self.judged.partition_key), *[action.item for action in self.actions if action.shares != ADDS]]

    def unit(self) -> Unit:
        """Return what the plan needs to know."""
        shared = self.key if self.head is not None or self.followers else ""
        return Unit(
            self.judged.partition_key,
            self.size_bytes + _FACTS_BYTES,
            self.actions,
            mark=shared,
            phantom=self.head is not None,
            slow=self.blob is not None,
        )

    def pack(self) -> Field:
        """Return the attribute that holds, or points to, the event's blob; packed when it is first asked for."""
        if self.content is None:
            self.content = inline(pack(self.judged))
        return self.content

    def keep_inline(self, blob: bytes) -> None:
        """Let the item hold the blob itself."""
        self.content = inline(blob)

    def keep_in_bucket(self, blob: bytes) -> None:
        """Let the bucket hold the blob, which must be there first, and the item point to it."""
        self.blob = blob
        self.content = pointer(payload_key(self.judged))

    def follow(self, head: PendingEvent) -> None:
        """Wait for what becomes of an earlier event of the batch with the same id."""
        self.doubtful = False
        self.head = head
        head.followers.append(self)

    def enter_plan(self) -> None:
        """Become part of a transaction."""
        self.is_planned = True

    def doubt(self) -> None:
        """Have the mark read: the table has an item under the event's key, and did not say whose."""
        self.doubtful = True

    def leave_out(self, action: Action) -> None:
        """Drop a change that an older event must not make; the event counts as applied without it."""
        self.actions.remove(action)

    def learn(self, mark: Mark | None) -> None:
        """Take note of a read of the event's key: the mark, or that there is none."""
        self.doubtful = False
        if mark is not None:
            self.meet(mark)
        if self.is_past and self.is_open and self.refusal is None:
            self.refuse(TooOldToTell())

    def meet(self, mark: Mark) -> None:
        """Take note of the mark that holds the event's id: this delivery's own, another's, or a fence."""
        self.doubtful = False
        if self.is_untrusted:  # under its key stands what an earlier try wrote
            self.written()
            return
        self.was_present = not mark.is_fence
        self.refused = mark.refused
        if self._was_refused(mark.refused, mark.reason):
            return
        if mark.is_fence:
            self.fence = mark.refused
        elif mark.request_id != self.judged.request_id:
            self.met = mark
            self._repeat(mark.type)
        elif mark.outcome == Outcome.IGNORED and self.judged.replaces_ignored:
            self.is_over_ignored = True
        elif mark.applied_at_ms and mark.applied_at_ms + _CLOCKS_MS < self.judged.stored_at_ms:
            # Marked before this record was in the stream: a replay has put the delivery into it once more.
            self._end(Outcome.DUPLICATE)
        else:
            # Our own write whose answer was lost, or this very record read again: one record, one outcome.
            self._end(Outcome.IGNORED if mark.outcome == Outcome.IGNORED else Outcome.APPLIED)

    def written(self) -> None:
        """Take note that what was to be written of the event is in the table, by this call or by one before."""
        error = self.refusal or (self.judged.error if self.is_untrusted else None)
        if error is None:
            self._end(Outcome.IGNORED if self.judged.decision == "ignore" else Outcome.APPLIED)
        else:
            self._end(_held_back(error.code), error.code, detail(error))

    def wait_for(self, wait: Wait) -> None:
        """Take note of for how long the event may wait, should it be refused for this."""
        if self.refusal is None:
            self.waits = wait

    def refuse(self, error: RecordError) -> None:
        """Quarantine the event instead of applying it; what cannot even be quarantined is left to the next batch."""
        if not isinstance(error, NotYet):
            self.waits = None
        if self.judged.replaces_ignored or self.judged.earlier_tries:
            # Nothing is written, and what is there stays: it has the bytes.
            self._end(_held_back(error.code), error.code, detail(error))
        if self.refusal is not None or self.is_untrusted:
            self.leave(QuarantineRefused(cause=str(error)))
        self.refusal = error
        self.actions = []

    def leave(self, error: TransientError) -> None:
        """Leave the event to the next batch, unless it has a result."""
        self._end(Outcome.RETRY, error=error)

    def spread(self) -> list[PendingEvent]:
        """Let the later events with the same id follow this one; return those that now go on by themselves."""
        followers, result = self.followers, self.result
        if not followers or (result is None and self.met is None):
            return []
        self.followers = []
        if self.met is not None or (result is not None and result.outcome.is_done and not self.is_untrusted):
            for follower in followers:
                follower._follow_done(self.met.type if self.met else stored_text(self.judged.type), self.refused)
            return [follower for follower in followers if follower.is_open]
        if result is not None and result.outcome in HELD_BACK and not self.is_untrusted:
            followers[0]._take_the_lead(followers[1:])
            return followers[:1]
        _end_all(followers, result)
        return []

    def _follow_done(self, marked_type: str, refused: frozenset[str]) -> None:
        """Meet the mark that the first of the batch with the same id has written, or was stopped by."""
        self.head = None
        if not self._was_refused(refused):
            self._repeat(marked_type)

    def _was_refused(self, refused: frozenset[str], reason: str = "") -> bool:
        """Be what this delivery was before if the table names it as refused, and tell whether it does.

        A fence has the reason of the delivery that was refused last, a mark has none; the delivery's own item has it.
        """
        for_good, for_now = refusals(refusal_key(self.judged))
        if self.judged.earlier_tries or refused.isdisjoint((for_good, for_now)):
            return False
        self._end(*((Outcome.WAITING, NotYet.code) if for_now in refused else (Outcome.QUARANTINED, reason)))
        return True

    def _repeat(self, marked_type: str) -> None:
        """Be a duplicate of the event that has the mark, or a delivery that is not proven to be one."""
        judged = self.judged
        if judged.is_type_signed or stored_text(judged.type) == marked_type:
            self._end(Outcome.DUPLICATE)
        elif self.result is None:
            error = TypeUnproven(applied_as=marked_type or "no type")
            kept_s = judged.quarantine_s or judged.retention_s
            self.judged = replace(judged, decision="quarantine", error=error, retention_s=kept_s)
            self.key = key_of(self.judged)
            self.refusal, self.waits, self.fence, self.actions, self.is_past = None, None, frozenset(), [], False

    def _take_the_lead(self, followers: list[PendingEvent]) -> None:
        """Become the first of the batch with its id: the one before was refused, and this delivery is judged anew."""
        self.followers = followers
        for follower in followers:
            follower.head = self
        self.head = None
        self.doubtful = True

    def _end(self, outcome: Outcome, reason: str = "", words: str = "", error: TransientError | None = None) -> None:
        """Set the result, once, and let go of what was to be written."""
        if self.result is None:
            self.result = EventResult(outcome, reason, words, error)
            self.content = self.blob = None


def _held_back(reason: str) -> Outcome:
    return Outcome.WAITING if reason == NotYet.code else Outcome.QUARANTINED


def _end_all(events: Iterable[PendingEvent], result: EventResult | None) -> None:
    if result is not None:
        for event in events:
            event._end(*result)


def begin(
    index: int,
    judged: JudgedEvent,
    tables: Mapping[str, str],
    *,
    now_ms: int,
    refuses_past: bool,
    marks_first: bool = False,
) -> PendingEvent:
    """Return an event at the start of a commit, its changes compiled; refused already if they cannot be.

    With ``refuses_past`` the mark of an event that is older than marks live is read first, for there must be one; with
    ``marks_first`` each event's is.
    """
    event = PendingEvent(index, judged, key_of(judged), content_bytes(judged))
    if refuses_past and now_ms - judged.received_at_ms > (judged.retention_s - MARK_MARGIN_S) * 1000:
        event.is_past = event.doubtful = judged.decision in ("apply", "ignore")
    if marks_first or judged.replaces_ignored or judged.earlier_tries:
        event.doubtful = judged.decision in ("apply", "ignore")
    if isinstance(judged.error, TransientError):
        event.leave(judged.error)
    try:
        event.actions = compiled(judged, tables)
    except RecordError as error:
        event.refuse(error)
    return event


def compiled(judged: JudgedEvent, tables: Mapping[str, str]) -> list[Action]:
    """Return what an event changes, item by item. Raises: ChangeInvalid; EventTooLarge for one transaction."""
    actions = compile_changes(judged.changes, tables)
    size_bytes = sum(action.size_bytes for action in actions)
    if len(actions) > CHANGES_MAX or size_bytes > CHANGES_BYTES_MAX:
        raise EventTooLarge("", items=len(actions), bytes=size_bytes)
    return actions


def link(events: Iterable[PendingEvent]) -> None:
    """Let each event whose id the batch had before follow the first event with that id."""
    first: dict[str, PendingEvent] = {}
    for event in events:
        if event.judged.decision != "wait" and (head := first.setdefault(event.key, event)) is not event:
            event.follow(head)


def key_of(judged: JudgedEvent) -> MarkKey:
    """Return the key of the item that the event is to become."""
    if judged.decision == "quarantine":
        return MarkKey(quarantine_key(judged))
    return mark_key(judged.source, judged.identity)


def content_bytes(judged: JudgedEvent) -> int:
    """Return the size of what is to be stored before any packing."""
    envelope = judged.envelope
    if envelope is None:
        return len(judged.record_data)
    head = sum([len(name) + len(value) for name, value in envelope.headers])
    query = sum([len(name) + len(value) for name, value in envelope.query.items()]) if envelope.query else 0
    return len(envelope.body) + len(envelope.path) + head + query

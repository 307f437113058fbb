"""The account: what was acknowledged equals what was applied, was a duplicate, ignored, quarantined or is in flight.

    access log  --ids-->  stream or archive  --deliveries-->  events table  --states-->  the sum

What is left over is named, with where it was last seen. What has no mark and is older than marks live counts apart, as
too old to tell: it may have been applied. An id of the access log that neither the stream nor the archive
has is looked for in the table itself, once for all of them. A hole in the archive is reported while the stream can
fill it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from weir.consumers.outcome import FINAL
from weir.ingest.ids import RequestId, SequenceNumber
from weir.operate.lookup.delivery import Delivery, Origin
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.status import DeliveryStatuses, Status
from weir.operate.lookup.times import show_time

_CHUNK = 500
_SHOWN = 20
_NAMED = 1000
_LOG_ALONE = "the access log: neither in the stream nor in the archive nor in the table"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One request that was answered 2xx; ``at_ms`` is when it arrived."""

    request_id: RequestId
    at_ms: int


@dataclass(frozen=True, slots=True)
class Missing:
    """An acknowledged delivery that is nowhere it should be."""

    request_id: RequestId
    at_ms: int
    source: str
    last_seen: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """A delivery that is in the stream more than once; it was applied once."""

    request_id: RequestId
    positions: tuple[str, ...]


class ConsumerProgress(Protocol):
    """How far the consumer has read."""

    def has_read(self, shard_id: str, sequence_number: SequenceNumber, arrived_at_ms: int) -> bool:
        """Tell whether the consumer is done with a record of the stream, one way or another."""

    def has_passed(self, arrived_at_ms: int) -> bool:
        """Tell the same of a delivery whose position in the stream is not known, by its arrival alone."""


@dataclass(slots=True)
class Account:
    """The sum over a window. ``unacknowledged`` are stored and were never answered 2xx: their sender tried again."""

    since_ms: int
    until_ms: int
    acknowledged: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    missing: list[Missing] = field(default_factory=list)
    repeated: list[Repeated] = field(default_factory=list)
    unacknowledged: int = 0
    log_since_ms: int = 0
    unarchived: list[Acknowledged] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_even(self) -> bool:
        """Tell whether nothing is unaccounted for."""
        return not self.missing

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "since_ms": self.since_ms,
            "until_ms": self.until_ms,
            "acknowledged": self.acknowledged,
            **{outcome: self.counts[outcome] for outcome in FINAL},
            "in_flight": self.counts["in_flight"],
            "too_old_to_tell": self.counts["too old to tell"],
            "unaccounted": len(self.missing),
            "unacknowledged": self.unacknowledged,
            "unarchived": [one.request_id for one in self.unarchived],
            "missing": [
                {"request_id": one.request_id, "at_ms": one.at_ms, "source": one.source, "last_seen": one.last_seen}
                for one in self.missing
            ],
            "repeated": [{"request_id": one.request_id, "places": list(one.positions)} for one in self.repeated],
            "notes": self.notes,
        }

    def lines(self) -> list[str]:
        """Return it for a person: the sum, then what is missing, then what else is worth knowing."""
        sums: dict[str, int] = {"acknowledged": self.acknowledged}
        sums |= {outcome: self.counts[outcome] for outcome in FINAL}
        sums |= {"in flight": self.counts["in_flight"]}
        sums |= {name: count for name in ("too old to tell",) if (count := self.counts[name])}
        sums |= {"unaccounted": len(self.missing)}
        lines = [f"{show_time(self.since_ms)} to {show_time(self.until_ms)}"]
        lines += [f"{name:15} {count:>11,}" for name, count in sums.items()]
        for lost in self.missing[:_NAMED]:
            lines.append(f"  {lost.request_id} {lost.source or '?'}: last seen in {lost.last_seen}")
        if len(self.missing) > _NAMED:
            lines.append(f"  and {len(self.missing) - _NAMED:,} more; --json names them all")
        for one in self.repeated[:_SHOWN]:
            lines.append(f"  {one.request_id} is in the stream {len(one.positions)} times: {', '.join(one.positions)}")
        if len(self.repeated) > _SHOWN:
            lines.append(f"  and {len(self.repeated) - _SHOWN:,} more that are there more than once")
        if self.unacknowledged:
            begins = f", which begins at {show_time(self.log_since_ms)}" if self.log_since_ms > self.since_ms else ""
            lines.append(f"  {self.unacknowledged:,} more are stored that the access log does not have{begins}")
        return lines + [f"  {note}" for note in [*self._hole(), *self.notes]]

    def _hole(self) -> list[str]:
        """Say what the archive lacks, and how it is filled."""
        if not self.unarchived:
            return []
        times = [one.at_ms for one in self.unarchived]
        since, until = show_time(min(times)), show_time(max(times))
        return [
            f"{len(times):,} that arrived from {since} to {until} are not in the archive;",
            f"  while the stream has them: weir replay --from stream --since {since} --until {until} --to stream",
        ]


@dataclass(frozen=True, slots=True)
class AuditSources:
    """What the account is made of. ``acknowledged`` None: there is no access log, so the stream counts as one.

    ``primary`` is the stream, or the archive for what is older; ``others`` are read in turn, and only for what has not
    been seen yet. ``failures`` yields (request id, object) of what the mapping gave up on,
    ``stored`` (request id, outcome) of the whole table in the window, ``archived`` the request ids in the archive; what
    arrived up to ``archived_until_ms`` should be there by now.
    """

    acknowledged: Iterable[Acknowledged] | None
    primary: Origin
    others: Sequence[Origin]
    statuses: DeliveryStatuses
    progress: ConsumerProgress
    failures: Callable[[], Iterable[tuple[RequestId, str]]]
    stored: Callable[[], Iterable[tuple[RequestId, str]]]
    grace_ms: int = 0
    archived: Callable[[], Iterable[RequestId]] = lambda: ()
    archived_until_ms: int = -1


def compute_account(
    sources: AuditSources, since_ms: int, until_ms: int, watch: Callable[[int], object] = lambda _: None
) -> Account:
    """Compute the account of a window, both ends included. ``watch`` is called with how many have been read."""
    return _Computation(sources, Account(since_ms, until_ms), watch).run()


class _Computation:
    """One account that is being computed."""

    def __init__(self, sources: AuditSources, account: Account, watch: Callable[[int], object]) -> None:
        self._sources = sources
        self._account = account
        self._watch = watch
        self._previewer: Previewer = sources.statuses.previewer
        self._has_log = sources.acknowledged is not None
        self._unseen: dict[RequestId, int] = {}  # acknowledged, arrival; not seen anywhere yet
        self._unarchived: dict[RequestId, int] = {}  # the same; not seen in the archive, where it should be
        self._open: dict[RequestId, Delivery] = {}
        self._positions: dict[RequestId, str] = {}  # of each delivery in the primary source, the first
        self._repeated: dict[RequestId, list[str]] = {}

    def run(self) -> Account:
        """Read all sources in turn, each only for what the ones before leave open."""
        sources, account = self._sources, self._account
        self._unseen = {one.request_id: one.at_ms for one in sources.acknowledged or () if self._is_within(one.at_ms)}
        account.acknowledged = len(self._unseen)
        account.log_since_ms = min(self._unseen.values(), default=0)
        self._unarchived = {one: at_ms for one, at_ms in self._unseen.items() if at_ms <= sources.archived_until_ms}
        self._match(sources.primary, is_primary=True)
        for other in sources.others:
            if self._unseen:
                self._match(other, is_primary=False)
        if self._unseen:
            self._search_table()
        self._read_again()
        self._name_missing()
        self._search_archive()
        if account.counts["too old to tell"]:
            horizons = sources.statuses.horizons
            account.notes += horizons.lines([True] * len(horizons.catalogue), account.since_ms)
        account.repeated = [Repeated(request_id, tuple(positions)) for request_id, positions in self._repeated.items()]
        return account

    def _match(self, origin: Origin, *, is_primary: bool) -> None:
        for chunk in _chunks(self._within(origin)):
            fresh = [delivery for delivery in chunk if self._takes(delivery, is_primary=is_primary)]
            for delivery, status in zip(fresh, self._sources.statuses.of(fresh), strict=True):
                self._count(delivery, status)
            self._watch(len(self._positions))

    def _within(self, origin: Origin) -> Iterator[Delivery]:
        for step in origin.read({}):
            if isinstance(step, Delivery):
                envelope = self._previewer.envelope(step)
                if envelope is not None and self._is_within(envelope.arrived_at_ms):
                    if step.record is None:  # only in the archive a record has no position
                        self._unarchived.pop(envelope.request_id, None)
                    yield step

    def _is_within(self, at_ms: int) -> bool:
        return self._account.since_ms <= at_ms <= self._account.until_ms

    def _takes(self, delivery: Delivery, *, is_primary: bool) -> bool:
        """Tell whether a delivery is to be looked up: if it was acknowledged, the first time that it is seen."""
        request_id = self._request_id(delivery)
        if is_primary:
            if request_id in self._positions:
                self._repeated.setdefault(request_id, [self._positions[request_id]]).append(delivery.where)
                return False
            self._positions[request_id] = delivery.where
        if self._unseen.pop(request_id, None) is not None:
            return True
        if self._has_log:
            self._account.unacknowledged += is_primary
        else:
            self._account.acknowledged += is_primary
        return is_primary and not self._has_log

    def _count(self, delivery: Delivery, status: Status) -> None:
        request_id = self._request_id(delivery)
        if status == "open":
            self._open[request_id] = delivery
            return
        self._open.pop(request_id, None)
        waits = status == "too old to tell" and self._is_in_flight(delivery)
        self._account.counts["in_flight" if waits else status] += 1

    def _search_table(self) -> None:
        for request_id, outcome in self._sources.stored():
            if self._unseen.pop(request_id, None) is not None:
                self._account.counts[outcome] += 1

    def _search_archive(self) -> None:
        """Look for what should be in the archive and has not been met there; a hole may have been filled later."""
        for missing in self._account.missing:  # named already
            self._unarchived.pop(missing.request_id, None)
        for request_id in self._sources.archived() if self._unarchived else ():
            self._unarchived.pop(request_id, None)
            if not self._unarchived:
                break
        self._account.unarchived = [Acknowledged(*one) for one in self._unarchived.items()]

    def _read_again(self) -> None:
        """Give what was being committed while the sources were read another chance."""
        for chunk in _chunks(list(self._open.values())):
            for delivery, status in zip(chunk, self._sources.statuses.of(chunk), strict=True):
                self._count(delivery, status)

    def _name_missing(self) -> None:
        given_up = dict(self._sources.failures()) if self._open else {}
        for request_id, delivery in self._open.items():
            if request_id in given_up:
                last_seen = f"given up by the mapping and kept in {given_up[request_id]}: weir failures"
                self._miss(delivery, last_seen)
            elif self._is_in_flight(delivery):
                self._account.counts["in_flight"] += 1
            else:
                self._miss(delivery, _last_seen(delivery))
        horizon_ms = self._sources.statuses.horizons.latest_ms() if self._unseen else 0
        for request_id, at_ms in self._unseen.items():
            if at_ms > self._account.until_ms - self._sources.grace_ms:
                self._account.counts["in_flight"] += 1
            elif at_ms < horizon_ms:
                self._account.counts["too old to tell"] += 1
            else:
                self._account.missing.append(Missing(request_id, at_ms, "", _LOG_ALONE))

    def _miss(self, delivery: Delivery, last_seen: str) -> None:
        envelope = self._previewer.envelope(delivery)
        if envelope is not None:
            missing = Missing(envelope.request_id, envelope.arrived_at_ms, envelope.source, last_seen)
            self._account.missing.append(missing)

    def _is_in_flight(self, delivery: Delivery) -> bool:
        record = delivery.record
        if record is None:
            envelope = self._previewer.envelope(delivery)
            return envelope is not None and not self._sources.progress.has_passed(envelope.arrived_at_ms)
        sequence_number = SequenceNumber(record.sequence_number)
        return not self._sources.progress.has_read(record.shard_id, sequence_number, record.arrived_at_ms)

    def _request_id(self, delivery: Delivery) -> RequestId:
        envelope = self._previewer.envelope(delivery)
        return envelope.request_id if envelope else RequestId("")


def _last_seen(delivery: Delivery) -> str:
    if delivery.record is None:
        return f"the archive, {delivery.where}: not in the stream and not in the table"
    return f"the stream, {delivery.where}: read by the consumer, but not in the table"


def _chunks(deliveries: Iterable[Delivery]) -> Iterator[Sequence[Delivery]]:
    chunk: list[Delivery] = []
    for delivery in deliveries:
        chunk.append(delivery)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

"""The oracle: from what was sent and what is found, the verdict. Pure; it reads nothing and decides everything.

Nothing acknowledged may be lost, nothing applied twice, nothing altered, nothing out of order within a key, and
balances are the sum of the events. Whatever breaks one of these is named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from weir.loadtest.judging.evidence import Commit, Evidence, StoredItem, StoredRecord
from weir.loadtest.judging.verdict import Verdict, mark_keys, refusal_keys
from weir.loadtest.sending.results import Result, Run

# Reasons that an event has from business code, or from what it wanted to write. They are words, since the oracle shares
# no code with the product.
_OF_CODE = frozenset(
    {"condition_failed", "not_yet", "change_invalid", "too_large", "event_rejected", "event_failed", "event_malformed"}
)


def judge(run: Run, found: Evidence, *, expected_reasons: Collection[str] = ()) -> Verdict:
    """Compare. ``expected_reasons`` are reasons for which this run's correct deliveries may be in quarantine."""
    return _Oracle(run, found, expected_reasons).verdict()


class _Oracle:
    def __init__(self, run: Run, found: Evidence, expected_reasons: Collection[str]) -> None:
        self._run, self._found = run, found
        self._expected_reasons = set(expected_reasons)
        self._events = _events(run.results)
        self._accounts = {result.account for result in run.results if result.account}
        self._by_number = {result.seq: result for result in run.results}
        self._faults: dict[str, list[str]] = {
            name: []
            for name in (
                *("lost", "applied_twice", "altered", "out_of_order", "wrong_balances"),
                *("forged", "wrongly_refused", "wrongly_quarantined"),
            )
        }
        self._unshown: list[str] = []
        self._by_code: Counter[str] = Counter()

    def verdict(self) -> Verdict:
        self._check_events()
        self._check_forgeries()
        self._check_refusals()
        self._check_balances()
        self._check_commits()
        self._check_stream()
        outcomes = Counter(item.outcome for item in self._found.items.values())
        accepted = self._run.accepted
        records = self._found.records
        return Verdict(
            sent=len(self._run.results),
            acknowledged=len(accepted),
            stored=len(records) if records is not None else len(self._found.items),
            applied=outcomes["applied"],
            ignored=outcomes["ignored"],
            quarantined=outcomes["quarantined"],
            waiting=outcomes["waiting"],
            refused_by_code=dict(sorted(self._by_code.items())),
            duplicates=self._duplicate_count(),
            refused=sum(not result.accepted and result.status > 0 for result in self._run.results),
            unanswered=sum(result.status == 0 for result in self._run.results),
            faults=self._faults,
            unshown=tuple(self._unshown),
        )

    def _fault(self, name: str, what: str) -> None:
        self._faults[name].append(what)

    def _duplicate_count(self) -> int:
        good = [result for result in self._run.accepted if result.kind != "bad_signature"]
        return len(good) - len({result.marks for result in good})

    # --- events

    def _check_events(self) -> None:
        """Every acknowledged event is there, once, with its bytes."""
        for pk, deliveries in self._events.items():
            item = self._found.items.get(pk)
            if item is not None and item.outcome in {"applied", "ignored"}:
                self._check_item(pk, item, deliveries)
                self._check_bytes(pk, item, deliveries)
            elif any(result.accepted for result in deliveries):
                self._check_missing(pk, deliveries)

    def _check_item(self, pk: str, item: StoredItem, deliveries: Sequence[Result]) -> None:
        """It stands under its own name, came by one of its deliveries, and had its effect if it moves money."""
        if self._is_booked(deliveries) and item.outcome != "applied":
            self._fault("lost", f"{pk}: it moves money, but its outcome is {item.outcome!r}")
        named = {(result.source, event_id) for result in deliveries for event_id in result.event_ids}
        if (item.source, item.event_id) not in named:
            self._fault("altered", f"{pk}: it says that it is {item.source}#{item.event_id}")
        # What was sent again may have been stored by the attempt that got no 2xx.
        known = all(result.accepted and result.attempts == 1 for result in deliveries)
        if known and item.request_id not in {result.request_id for result in deliveries if result.accepted}:
            self._fault("altered", f"{pk}: no delivery of it was acknowledged as request {item.request_id}")

    def _check_bytes(self, pk: str, item: StoredItem, deliveries: Sequence[Result]) -> None:
        sent = {result.body_sha256 for result in deliveries}
        if item.body_sha256 not in sent:
            self._fault("altered", f"{pk}: its hash is of other bytes than were sent")
        elif item.bytes_sha256 not in sent:
            self._fault("altered", f"{pk}: the bytes it keeps are not those that were sent")
        if item.key not in {"", *(result.key for result in deliveries)} and any(result.key for result in deliveries):
            self._fault("altered", f"{pk}: its key is {item.key!r}")

    def _check_missing(self, pk: str, deliveries: Sequence[Result]) -> None:
        refused = [item for key in refusal_keys(deliveries) if (item := self._found.items.get(key)) is not None]
        accepted = [result for result in deliveries if result.accepted]
        if not refused:
            said = ", ".join(f"request {result.request_id} (number {result.seq})" for result in accepted)
            self._fault("lost", f"{pk}: acknowledged to {said}")
            return
        if not self._is_refused_by_code(refused, deliveries) and not self._are_expected(refused):
            self._fault("wrongly_quarantined", f"{pk}: {refused[0].reason} ({refused[0].pk})")
        sent = {result.body_sha256 for result in deliveries}
        for item in refused:
            if not {item.body_sha256, item.bytes_sha256} <= sent:
                self._fault("altered", f"{item.pk}: its bytes are not those that were sent")

    def _are_expected(self, refused: Sequence[StoredItem]) -> bool:
        return {item.reason for item in refused} <= self._expected_reasons

    def _is_refused_by_code(self, refused: Sequence[StoredItem], deliveries: Sequence[Result]) -> bool:
        """Tell whether business code refused an event, or lets it wait; count it. The ledger's refuses none of ours."""
        if self._is_booked(deliveries) or not all(item.scheme and item.reason in _OF_CODE for item in refused):
            return False
        self._by_code.update([refused[0].reason])
        return True

    def _is_booked(self, deliveries: Sequence[Result]) -> bool:
        """Tell whether an event moves money here: only a project with the ledger's table keeps such accounts."""
        return bool(deliveries[0].account) and self._found.balances is not None

    def _check_forgeries(self) -> None:
        """A bad signature is kept under its request, never under the event's id, which stays free."""
        good = {pk for pk, deliveries in self._events.items() if deliveries}
        for result in self._run.results:
            if result.kind != "bad_signature":
                continue
            for pk in mark_keys([result]):
                if pk not in good and pk in self._found.items:
                    self._fault("forged", f"{pk}: {self._found.items[pk].outcome} with a bad signature")
            if result.accepted:
                self._check_quarantined(result)

    def _check_quarantined(self, result: Result) -> None:
        (key,) = refusal_keys([result])
        item = self._found.items.get(key)
        if item is None:
            self._fault("lost", f"{key}: acknowledged (number {result.seq}), not in quarantine")
        elif not item.reason.startswith("signature_"):
            self._fault("wrongly_quarantined", f"{key}: {item.reason} instead of a bad signature")
        elif {item.body_sha256, item.bytes_sha256} != {result.body_sha256}:
            self._fault("altered", f"{key}: its bytes are not those that were sent")

    def _check_refusals(self) -> None:
        """Only what is too large is refused for good."""
        for result in self._run.results:
            final = result.status not in {0, 429, 503} and not result.accepted
            if final and result.kind != "oversized":
                self._fault("wrongly_refused", f"number {result.seq}: {result.status} {result.said}")

    # --- balances

    def _check_balances(self) -> None:
        if self._found.balances is None:
            if self._accounts:
                self._unshown.append("the balances: this project has no table `balances`, which examples/ledger has")
            return
        balances = self._found.balances
        expected: dict[str, Counter[str]] = defaultdict(Counter)
        for pk, deliveries in self._events.items():
            item, result = self._found.items.get(pk), deliveries[0]
            if result.account and item is not None and item.outcome == "applied":
                expected[result.account][result.currency] += result.change
                expected[result.account]["events"] += 1
        for account in sorted(self._accounts):
            self._check_balance(account, expected[account], balances.get(account, {}))

    def _check_balance(self, account: str, expected: Mapping[str, int], given: Mapping[str, int]) -> None:
        for name in sorted({*expected, *given}):
            excess = given.get(name, 0) - expected.get(name, 0)
            if excess:
                suspects = [pk for pk, result in self._booked(account) if result.change == excess or name == "events"]
                named = f"; it may be {', '.join(suspects[:5])}" if suspects else ""
                self._fault("wrong_balances", f"{account}: {name} is off by {excess:+d}{named}")

    def _booked(self, account: str) -> Iterator[tuple[str, Result]]:
        for pk, deliveries in self._events.items():
            if deliveries[0].account == account:
                yield pk, deliveries[0]

    # --- order

    def _check_commits(self) -> None:
        """No mark is written twice, and marks of one key are written in the order of the stream."""
        commits = self._found.commits
        if commits is None:
            self._unshown.append(
                "the order of commits: this place keeps no journal; the times of application replace it"
            )
            self._check_times()
            return
        place: dict[str, int] = {}
        for number, commit in enumerate(commits):
            for pk in commit.marks:
                if pk in place and pk in self._events:
                    self._fault("applied_twice", f"{pk}: by transactions {place[pk]} and {number}")
                place.setdefault(pk, number)
            self._check_effects(number, commit)
        # What had to wait was to be overtaken.
        applied = {
            pk
            for pk, item in self._found.items.items()
            if item.outcome == "applied" and pk in self._events and not item.attempts
        }
        if missing := len(applied - place.keys()):
            self._unshown.append(f"the order of {missing} events: the journal begins after them")
        self._check_order({pk: place[pk] for pk in applied & place.keys()})

    def _check_effects(self, number: int, commit: Commit) -> None:
        """A transaction adds what the events whose marks it writes are to add, no more and no less."""
        if self._found.balances is None:
            return
        marks = [pk for pk in commit.marks if "!" not in pk]
        given = {where: amount for where, amount in commit.added.items() if where[0] in self._accounts and amount}
        if not all(pk in self._events for pk in marks):
            return  # events of another run are in it
        wanted: Counter[tuple[str, str]] = Counter()
        for result in (self._events[pk][0] for pk in marks if self._events[pk][0].account):
            wanted[result.account, result.currency] += result.change
            wanted[result.account, "events"] += 1
        if given != {where: amount for where, amount in wanted.items() if amount}:
            named = ", ".join(marks[:5]) or "no event at all"
            self._fault("wrong_balances", f"transaction {number} does not add what its events do: {named}")

    def _check_times(self) -> None:
        items = self._found.items
        applied = {
            pk for pk in self._events if pk in items and items[pk].outcome == "applied" and not items[pk].attempts
        }
        self._check_order({pk: items[pk].applied_at_ms for pk in applied})

    def _check_order(self, place: Mapping[str, int]) -> None:
        if self._found.records is None:
            self._unshown.append("order within keys: the stream could not be read")
            return
        for records in _by_key(self._found.records).values():
            ordered = dict.fromkeys(pk for record in records for pk in self._marks_of(record) if pk in place)
            for earlier, later in pairwise(ordered):
                if place[earlier] > place[later]:
                    self._fault("out_of_order", f"{later} was applied before {earlier}, key {records[0].key!r}")

    def _marks_of(self, record: StoredRecord) -> list[str]:
        result = self._by_number.get(record.seq)
        return mark_keys([result]) if result is not None and result.kind != "bad_signature" else []

    # --- the stream

    def _check_stream(self) -> None:
        """Every acknowledged delivery is in the stream with its bytes, in its sender's order within a key."""
        records = self._found.records
        if records is None:
            return
        by_request = {record.request_id: record for record in records}
        for result in self._run.accepted:
            record = by_request.get(result.request_id)
            if record is None:
                self._fault("lost", f"request {result.request_id} (number {result.seq}): not in the stream")
            elif record.seq != result.seq:
                self._fault("lost", f"number {result.seq}: request {result.request_id} is number {record.seq}'s")
            elif record.body_sha256 != result.body_sha256:
                self._fault("altered", f"request {result.request_id} (number {result.seq}): other bytes in the stream")
            elif record.key != result.key:
                self._fault("altered", f"request {result.request_id} (number {result.seq}): key {record.key!r}")
        for key, kept in _by_key(records).items():
            if len({record.partition_key for record in kept}) > 1:
                self._fault("out_of_order", f"key {key!r}: under several partition keys, {kept[0].request_id} and on")
        self._check_senders_order(by_request)

    def _check_senders_order(self, by_request: Mapping[str, StoredRecord]) -> None:
        """What was acknowledged before another of its key was sent stands before it in the stream."""
        keyed: dict[str, list[Result]] = defaultdict(list)
        for result in self._run.accepted:
            if result.key and result.request_id in by_request:
                keyed[result.key].append(result)
        for results in keyed.values():
            answered = sorted(results, key=lambda result: result.done_at_ms)
            latest, index = -1, 0
            for result in sorted(results, key=lambda result: result.sent_at_ms):
                while answered[index].done_at_ms < result.sent_at_ms:
                    latest = max(latest, by_request[answered[index].request_id].position)
                    index += 1
                if by_request[result.request_id].position < latest:
                    self._fault("out_of_order", f"request {result.request_id}: before an older one in the stream")


def _events(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the deliveries of each event that was signed well, by its mark."""
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.kind != "bad_signature":
            for pk in mark_keys([result]):
                found.setdefault(pk, []).append(result)
    return found


def _by_key(records: Iterable[StoredRecord]) -> dict[str, list[StoredRecord]]:
    found: dict[str, list[StoredRecord]] = defaultdict(list)
    for record in records:
        if record.key:
            found[record.key].append(record)
    return found

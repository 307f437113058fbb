"""A small world in which all went well: a run, and stores that agree with it, to break in one place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from weir.loadtest.judging.evidence import Commit, Evidence, StoredItem, StoredRecord
from weir.loadtest.sending.results import Result, Run


def result(seq: int, **changes: Any) -> Result:
    """Return an accepted, booked delivery."""
    digest = sha256(b"%d" % seq).hexdigest()
    base = Result(
        seq=seq,
        kind="valid",
        source="stripe",
        key=f"k{seq % 2}",
        event_ids=(f"evt_{seq}",),
        marks=(f"stripe#evt_{seq}",),
        body_sha256=digest,
        bytes=100,
        intended_at_ms=1000.0 + seq * 10,
        sent_at_ms=1000.0 + seq * 10,
        done_at_ms=1005.0 + seq * 10,
        status=200,
        first_status=200,
        attempts=1,
        request_id=f"req_{seq}",
        account=f"a{seq % 3}",
        currency="EUR",
        change=seq + 1,
    )
    return replace(base, **changes)


def results(count: int = 12) -> list[Result]:
    """Return deliveries of every kind, the last four a duplicate, a forgery, one too large, one not acknowledged."""
    valid = [result(seq) for seq in range(count - 4)]
    twin = replace(valid[3], seq=count - 4, kind="duplicate", duplicate_of=3, request_id=f"req_{count - 4}")
    twin = replace(twin, sent_at_ms=2000, done_at_ms=2001)
    forged = result(count - 3, kind="bad_signature", sent_at_ms=2002, done_at_ms=2003)
    large = result(count - 2, kind="oversized", status=413, first_status=413, request_id="", account="")
    given_up = result(count - 1, status=503, first_status=503, request_id="", sent_at_ms=2004)
    return [*valid, twin, forged, large, given_up]


def run(of: Sequence[Result]) -> Run:
    """Return a run with these results."""
    return Run({"run": "r", "started_at_ms": 1000, "connections": 1}, tuple(of), None)


def found(of: Sequence[Result]) -> Evidence:
    """Return the stores after these deliveries, all promises kept: a commit for each event."""
    accepted = sorted((one for one in of if one.accepted), key=lambda one: one.sent_at_ms)
    items: dict[str, StoredItem] = {}
    commits: list[Commit] = []
    balances: dict[str, Counter[str]] = defaultdict(Counter)
    for one in accepted:
        forged = one.kind == "bad_signature"
        pk = f"{one.source}!{one.request_id}" if forged else f"{one.source}#{one.event_ids[0]}"
        if pk in items:
            continue
        items[pk] = item(pk, one, outcome="quarantined" if forged else "applied")
        if not forged:
            commits.append(Commit((pk,), {(one.account, "EUR"): one.change, (one.account, "events"): 1}))
            balances[one.account]["EUR"] += one.change
            balances[one.account]["events"] += 1
    return Evidence(items, balances, [record(one, position) for position, one in enumerate(accepted)], commits)


def item(pk: str, of: Result, *, outcome: str) -> StoredItem:
    """Return the item that a delivery becomes."""
    return StoredItem(
        pk=pk,
        outcome=outcome,
        reason="signature_mismatch" if outcome == "quarantined" else "",
        source=of.source,
        event_id=of.event_ids[0],
        request_id=of.request_id,
        key=of.key,
        received_at_ms=int(of.sent_at_ms) + 1,
        applied_at_ms=int(of.sent_at_ms) + 50,
        body_sha256=of.body_sha256,
        bytes_sha256=of.body_sha256,
    )


def record(of: Result, position: int) -> StoredRecord:
    """Return the record of a delivery."""
    return StoredRecord(
        of.seq,
        of.request_id,
        of.key,
        of.key,
        "shard-0",
        str(position),
        position,
        int(of.sent_at_ms) + 1,
        of.body_sha256,
    )

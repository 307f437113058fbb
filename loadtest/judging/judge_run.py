"""Waiting until a run is done with, then reading everything and judging it."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weir.loadtest import Say
from weir.loadtest.judging import consumer_log, reconcile, series
from weir.loadtest.judging.evidence import Evidence, StoredItem
from weir.loadtest.judging.stores import Stores
from weir.loadtest.judging.verdict import Verdict, mark_keys, refusal_keys
from weir.loadtest.sending.results import Result, Run

_POLL_S = 0.5
_LAG_STEP_MS = 250.0
_LAG_LIMIT_S = 2.0
# The stream's clock may be a little before or behind the driver's.
_MARGIN_MS = 5000


def judge_run(
    run: Run, stores: Stores, *, wait_s: float, say: Say, expected_reasons: Collection[str] = ()
) -> tuple[Verdict, dict[str, Any]]:
    """Wait until everything acknowledged is stored or ``wait_s`` brought nothing new; return verdict and observations.

    Observations are for the report: lag over time and the consumer's batches.
    """
    items = _await_items(run.results, stores, wait_s=wait_s, say=say)
    started_ms = int(run.header["started_at_ms"])
    found = Evidence(
        items=items,
        balances=stores.balances({result.account for result in run.results if result.account}),
        records=stores.records(run.name, started_ms - _MARGIN_MS),
        commits=stores.commits(),
    )
    verdict = reconcile.judge(run, found, expected_reasons=expected_reasons)
    spans = [(item.received_at_ms, item.applied_at_ms) for item in items.values()]
    lag = _lag(spans, run)
    observed: dict[str, Any] = {
        "lag": lag,
        "batches": [_plain(batch) for batch in consumer_log.batches(stores.place, started_ms)],
    }
    delays_s = [(applied - received) / 1000 for received, applied in spans]
    facts = {name: value for name, value in lag.items() if name != "series_s"}
    facts |= {"delay_p50_s": series.nearest(delays_s, 0.5), "delay_p99_s": series.nearest(delays_s, 0.99)}
    facts["delay_max_s"] = max(delays_s, default=0.0)
    return replace(verdict, facts=facts), observed


def write(path: Path, verdict: Verdict, observed: dict[str, Any]) -> None:
    """Keep verdict and observations beside the results."""
    path.write_text(json.dumps({"verdict": verdict.as_json(), **observed}), encoding="utf-8")


def lines(verdict: Verdict) -> list[str]:
    """Return the verdict for people."""
    said = verdict.as_json()
    counts = ("sent", "acknowledged", "stored", "applied", "ignored", "quarantined", "waiting", "duplicates", "refused")
    found = [
        ", ".join(f"{name} {said[name]:,}" for name in counts),
        ", ".join(f"{name.replace('_', ' ')} {len(ids)}" for name, ids in verdict.faults.items()),
        f"lag at most {said['lag_max_s']:.1f} s, under 2 s within {said['lag_under_2_s_after_s']:.1f} s of the end",
    ]
    if by_code := verdict.refused_by_code:
        found.append(
            f"refused by business code: {', '.join(f'{reason} {count:,}' for reason, count in by_code.items())}"
        )
    found += [f"not shown: {what}" for what in verdict.unshown]
    for name, ids in verdict.faults.items():
        found += [f"  {name.replace('_', ' ')}: {what}" for what in ids[:10]]
    return [*found, "PASSED" if verdict.passed else "FAILED"]


def _await_items(results: Sequence[Result], stores: Stores, *, wait_s: float, say: Say) -> dict[str, StoredItem]:
    """Read items until none that must be there is missing, or none came for ``wait_s``."""
    good = [result for result in results if result.kind != "bad_signature"]
    bad = [result for result in results if result.kind == "bad_signature"]
    items = stores.items(mark_keys(good))
    forged = stores.items(mark_keys(bad))
    deadline_s = time.monotonic() + wait_s
    while True:
        missing = _missing(results, items)
        if not missing or time.monotonic() > deadline_s:
            return forged | items
        came = stores.items(missing)
        if came:
            items |= came
            deadline_s = time.monotonic() + wait_s
            say(f"  {len(missing) - len(came):,} not stored yet")
        time.sleep(_POLL_S)


def _missing(results: Sequence[Result], items: dict[str, StoredItem]) -> list[str]:
    """Return the keys under which something acknowledged may still appear."""
    missing: dict[str, None] = {}
    for result in results:
        keys = refusal_keys([result])
        if not result.accepted or any(key in items for key in keys):
            continue
        if result.kind != "bad_signature":
            absent = [pk for pk in mark_keys([result]) if pk not in items]
            if not absent:
                continue
            missing.update(dict.fromkeys(absent))
        missing.update(dict.fromkeys(keys))
    return list(missing)


def _lag(spans: Sequence[tuple[float, float]], run: Run) -> dict[str, Any]:
    start_ms = float(run.header["started_at_ms"])
    sent_until_ms = max((result.sent_at_ms for result in run.results), default=start_ms)
    last_ms = max([sent_until_ms, *(applied for _, applied in spans)])
    count = int((last_ms - start_ms) / _LAG_STEP_MS) + 2
    over_time = series.lag_s(spans, start_ms, step_ms=_LAG_STEP_MS, count=count)
    late = [start_ms + index * _LAG_STEP_MS for index, lag in enumerate(over_time) if lag >= _LAG_LIMIT_S]
    return {
        "lag_max_s": round(max(over_time, default=0.0), 3),
        "lag_under_2_s_after_s": round(max(0.0, (late[-1] - sent_until_ms) / 1000) if late else 0.0, 3),
        "all_applied_after_s": round(max(0.0, (last_ms - sent_until_ms) / 1000), 3),
        "series_s": [round(lag, 3) for lag in over_time],
    }


def _plain(batch: consumer_log.Batch) -> dict[str, Any]:
    return {name: getattr(batch, name) for name in batch.__slots__}

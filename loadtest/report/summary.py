"""What a run came to: figures for machines, words for people, and two runs side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weir.ingest.errors import OptionInvalid
from weir.loadtest.judging import series
from weir.loadtest.sending.results import Result, Run

VERDICT_FILE = "verdict.json"
RESULTS_FILE = "results.jsonl"
_STEADY_SHARE = 0.8

# What `report A B` compares: path of the figure, its name, and whether more of it is better, None if it is neither.
COMPARED: tuple[tuple[tuple[str, ...], str, bool | None], ...] = (
    (("rates", "offered_per_s"), "offered/s", None),
    (("rates", "accepted_per_s"), "accepted/s", True),
    (("latency_ms", "p50"), "latency p50, ms", False),
    (("latency_ms", "p99"), "latency p99, ms", False),
    (("latency_ms", "p99_9"), "latency p99.9, ms", False),
    (("send_lag_ms", "p99"), "send lag p99, ms", False),
    (("lag", "lag_max_s"), "stream lag, most, s", False),
    (("lag", "lag_under_2_s_after_s"), "lag under 2 s after, s", False),
    (("consumer", "calls_per_event"), "database calls an event", False),
    (("consumer", "write_units_per_event"), "write units an event", False),
    (("consumer", "batch_ms_p95"), "batch p95, ms", False),
)


def compute(run: Run, observed: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return every figure of a run; ``observed`` is what `reconcile` kept, None if it has not run."""
    results = run.results
    if not results:
        return {"run": run.name, "header": run.header, "driver": run.end, "verdict": None, "rates": {}, "series": {}}
    start_ms = float(run.header["started_at_ms"])
    accepted = [result for result in results if result.accepted]
    sent_s = (max(result.sent_at_ms for result in results) - start_ms) / 1000
    last_ms = max(result.done_at_ms for result in results)
    observed = observed or {}
    lag = observed.get("lag") or {}
    batches = observed.get("batches") or []
    length_s = int((last_ms - start_ms) / 1000) + 1
    if lag:
        length_s = max(length_s, int(sent_s + lag["all_applied_after_s"]) + 2)
    return {
        "run": run.name,
        "header": run.header,
        "driver": run.end,
        "verdict": observed.get("verdict"),
        "rates": {
            "offered_per_s": round(len(results) / max(sent_s, 0.001), 1),
            "accepted_per_s": round(_steady_rate(accepted, start_ms), 1),
            "duration_s": round(sent_s, 1),
        },
        "latency_ms": series.quantiles(result.latency_ms for result in accepted),
        "attempt_latency_ms": series.quantiles(
            result.done_at_ms - result.sent_at_ms for result in accepted if result.attempts == 1
        ),
        "send_lag_ms": series.quantiles(result.send_lag_ms for result in results),
        "statuses": _counts(str(result.status) for result in results),
        "first_statuses": _counts(str(result.first_status) for result in results),
        "kinds": _counts(result.kind for result in results),
        "retried": sum(result.attempts > 1 for result in results),
        "lag": {name: value for name, value in lag.items() if name != "series_s"},
        "consumer": _consumer(batches),
        "series": _series(results, start_ms, length_s) | _observed_series(lag, batches, start_ms, length_s),
    }


def load(path: Path) -> tuple[Path, dict[str, Any] | None]:
    """Return the results file of a run's folder or file, and what was observed of it."""
    results = path / RESULTS_FILE if path.is_dir() else path
    kept = results.with_name(VERDICT_FILE)
    try:
        return results, json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else None
    except (OSError, ValueError) as error:
        raise OptionInvalid(f"{kept} cannot be read; `weir load reconcile {path}` writes it again.") from error


def summary(figures: Mapping[str, Any]) -> list[str]:
    """Return the run in a few lines."""
    if not figures["rates"]:
        return ["nothing was sent"]
    rates, latency, driver = figures["rates"], figures["latency_ms"], figures["driver"] or {}
    offered, accepted = (f"{rates[name]:,.0f}/s" for name in ("offered_per_s", "accepted_per_s"))
    statuses = ", ".join(f"{status}: {count:,}" for status, count in figures["statuses"].items())
    found = [
        f"offered {offered} over {rates['duration_s']} s; accepted {accepted}, first and last tenth left out",
        f"answers: {statuses}",
        f"latency from the intended time: {_shown(latency)}",
        f"send lag: {_shown(figures['send_lag_ms'])}",
    ]
    if consumer := figures["consumer"]:
        found.append(
            f"consumer: {consumer['batches']:,} batches of {consumer['records_p50']} records (median), "
            f"{consumer['concurrency_max']} at once, {consumer['calls_per_event']} calls and "
            f"{consumer['write_units_per_event']} write units an event"
        )
    found.append(driver_said(figures))
    if driver.get("waited_for_connection"):
        most = figures["header"]["connections"]
        found.append(f"{driver['waited_for_connection']:,} requests waited for one of the {most} connections")
    return found


def driver_said(figures: Mapping[str, Any]) -> str:
    """Return whether the driver itself was the limit, in words."""
    driver = figures["driver"]
    if driver is None:
        return "the run was killed or still goes on: whether the driver was the limit is not known"
    if limited := driver.get("limited"):
        return f"THE DRIVER WAS THE LIMIT: {'; '.join(limited)}"
    return "the driver was not the limit" + ("; Ctrl-C ended the run early" if driver.get("stopped") else "")


def compare(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[tuple[str, Any, Any, float | None, bool | None]]:
    """Return rows: name, first, second, second divided by first, whether more is better; None where it is neither."""
    rows = []
    for path, name, more_is_better in COMPARED:
        a, b = _at(first, path), _at(second, path)
        if a is not None or b is not None:
            rows.append((name, a, b, round(b / a, 3) if a and b is not None else None, more_is_better))
    return rows


def comparison_lines(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return two runs side by side, a line a figure."""
    found = [f"{'':26} {first['run']:>18} {second['run']:>18}   ratio"]
    for name, a, b, ratio, _ in compare(first, second):
        shown = [f"{value:,.3f}" if value is not None else "-" for value in (a, b)]
        found.append(f"{name:26} {shown[0]:>18} {shown[1]:>18}   {ratio if ratio is not None else '-'}")
    return found


def started(figures: Mapping[str, Any]) -> str:
    """Return when a run began, for people."""
    at_s = figures["header"]["started_at_ms"] / 1000
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _steady_rate(accepted: Sequence[Result], start_ms: float) -> float:
    """Return accepted a second, over the time in which the first and last tenth do not count."""
    if not accepted:
        return 0.0
    times = sorted((result.done_at_ms - start_ms) / 1000 for result in accepted)
    edge = int(len(times) * (1 - _STEADY_SHARE) / 2)
    middle = times[edge : len(times) - edge]
    length_s = middle[-1] - middle[0]
    return (len(middle) - 1) / length_s if length_s > 0 else len(times) / max(times[-1], 0.001)


def _consumer(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not batches:
        return {}
    events = sum(batch["applied"] + batch["duplicate"] + batch["ignored"] + batch["quarantined"] for batch in batches)
    durations = [batch["duration_ms"] for batch in batches]
    spans = [_span(batch) for batch in batches]
    start_ms = min(begin for begin, _ in spans)
    length_s = int((max(end for _, end in spans) - start_ms) / 1000) + 1
    return {
        "batches": len(batches),
        "events": events,
        "records_p50": series.nearest([batch["records"] for batch in batches], 0.5),
        "batch_ms_p50": series.nearest(durations, 0.5),
        "batch_ms_p95": series.nearest(durations, 0.95),
        "concurrency_max": max(series.concurrency(spans, start_ms, length_s)),
        "calls_per_event": round(sum(batch["calls"] for batch in batches) / max(1, events), 4),
        "write_units_per_event": round(sum(batch["write_units"] for batch in batches) / max(1, events), 3),
        "retried": sum(batch["retried"] for batch in batches),
    }


def _series(results: Sequence[Result], start_ms: float, length_s: int) -> dict[str, Any]:
    accepted = [result for result in results if result.accepted]
    latencies = [(result.intended_at_ms, result.latency_ms) for result in accepted]
    over_time: dict[str, Any] = {
        "offered": series.per_second((result.intended_at_ms for result in results), start_ms, length_s),
        "accepted": series.per_second((result.done_at_ms for result in accepted), start_ms, length_s),
    }
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        over_time[name] = series.quantile_per_second(latencies, start_ms, length_s, share)
    for status in sorted({result.status for result in results if not result.accepted}):
        times = (result.done_at_ms for result in results if result.status == status)
        over_time[f"status_{status}"] = series.per_second(times, start_ms, length_s)
    return over_time


def _observed_series(
    lag: Mapping[str, Any], batches: Sequence[Mapping[str, Any]], start_ms: float, length_s: int
) -> dict[str, Any]:
    if not batches:
        return {"lag_s": lag.get("series_s", [])}
    over_time: dict[str, Any] = {"lag_s": lag.get("series_s", [])}
    for name in ("records", "applied", "duplicate", "ignored", "quarantined", "retried", "calls", "write_units"):
        pairs = ((batch["ended_at_ms"], batch[name]) for batch in batches)
        over_time[name] = series.sum_per_second(pairs, start_ms, length_s)
    over_time["batches"] = series.per_second((batch["ended_at_ms"] for batch in batches), start_ms, length_s)
    over_time["concurrency"] = series.concurrency([_span(batch) for batch in batches], start_ms, length_s)
    return over_time


def _span(batch: Mapping[str, Any]) -> tuple[float, float]:
    return batch["ended_at_ms"] - batch["duration_ms"], batch["ended_at_ms"]


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _shown(found: Mapping[str, float]) -> str:
    if not found.get("count"):
        return "none"
    return ", ".join(
        f"{name.replace('_', '.')} {found[name]:,.1f} ms" for name in ("p50", "p90", "p99", "p99_9", "max")
    )


def _at(figures: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = figures
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value

"""What the commands do, put together: ask, estimate, run, report."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from weir.ingest.errors import OptionInvalid, TransientError
from weir.operate.audit.sources import Stack
from weir.operate.failures import Failures, Group, explain_by_log
from weir.operate.lookup.delivery import Delivery, Estimate, Origin
from weir.operate.lookup.times import show_bytes, show_moment, show_span
from weir.operate.replay.checkpoint import Checkpoint, load
from weir.operate.replay.factory import (
    Bench,
    make_consumer,
    make_dry_run,
    make_filter,
    make_origin,
    make_target,
    to_http,
)
from weir.operate.replay.filters import Filter
from weir.operate.replay.loop import Replay, Target
from weir.operate.replay.pace import Pace
from weir.operate.replay.request import LISTS, asked, unknown_sources
from weir.operate.replay.targets.to_file import ToFile
from weir.operate.replay.terminal import Terminal, peak_mib

_STOPPED, _FAILED = 130, 1


def default_name() -> str:
    """Return a name for a checkpoint file that no other has: it begins with the time."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"


def replay(
    bench: Bench,
    wish: Mapping[str, Any] | None,
    path: Path,
    terminal: Terminal,
    *,
    as_json: bool,
    rate_per_s: float | None = None,
) -> int:
    """Start a replay, or with no wish go on with the one of a checkpoint file; return the exit code."""
    checkpoint = _open_checkpoint(bench, wish, path)
    if checkpoint.is_done:
        terminal.say(f"{path}: this replay is over; its report:")
        _print_report(checkpoint, terminal, as_json=as_json)
        return 0
    asked_for = checkpoint.asked
    wants = make_filter(bench, asked_for)
    if unknown := unknown_sources(wants.wanted.sources, wants.are_sources_known(), bench.stack.catalogue):
        terminal.say(unknown)
    asked_for["rate_per_s"] = rate_per_s or asked_for.get("rate_per_s")
    origin, target = make_origin(bench, asked_for, wants), make_target(bench, asked_for)
    if wish is not None and isinstance(target, ToFile):
        target.check()
    code = run(origin, wants, target, checkpoint, terminal, rate_per_s=asked_for["rate_per_s"], as_json=as_json)
    return _FAILED if unknown and not checkpoint.report.matched else code


def run(
    origin: Origin,
    wants: Filter,
    target: Target,
    checkpoint: Checkpoint,
    terminal: Terminal,
    *,
    rate_per_s: float | None,
    as_json: bool,
) -> int:
    """Estimate, run and report; return the exit code."""
    estimate = origin.estimate()
    if not as_json:
        terminal.say(f"from {origin.label} to {target.label}: {_show_estimate(estimate, rate_per_s)}")
    if checkpoint.cursor or any(checkpoint.again.values()):
        target.restore(checkpoint.target)
    pace = Pace(rate_per_s, clock=time.monotonic, sleep=time.sleep)
    job = Replay(origin, wants, target, checkpoint, pace, stopped=terminal.stopped, watch=terminal.watch)
    job.progress.estimate = estimate
    try:
        is_done = job.run()
    except TransientError as error:
        _print_report(checkpoint, terminal, as_json=as_json)
        terminal.say(f"{error.advice}{_how_to_resume(checkpoint)}")
        return _FAILED
    except BaseException:
        terminal.say(f"interrupted{_how_to_resume(checkpoint)}")
        raise
    target.close()
    _print_report(checkpoint, terminal, as_json=as_json)
    if not is_done:
        terminal.say(f"stopped{_how_to_resume(checkpoint)}")
        return _STOPPED
    return _FAILED if checkpoint.report.counts.get("failed") else 0


def listen(bench: Bench, options: Mapping[str, Any], folder: Path, terminal: Terminal, *, afresh: bool) -> int:
    """Forward live deliveries until stopped; return the exit code."""
    wish = asked({**options, "origin": "stream", "since": options.get("since") or "now"})
    wish |= {"until_ms": None, "ends_ms": None, "follow": True}
    choice = {name: wish[name] for name in ("to", *LISTS)}
    name = sha256(json.dumps([choice, bench.stack.stream], sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"listen-{name}.json"
    if path.exists() and not afresh:
        checkpoint = load(path)
        terminal.say(f"going on where it stopped; {path} keeps the position, --new begins afresh")
    else:
        checkpoint = _fresh(path, wish)
    checkpoint.is_done = False
    wants = make_filter(bench, checkpoint.asked)
    origin, target = make_origin(bench, checkpoint.asked, wants), to_http(bench, wish["to"], patience_s=None)
    target.answered = _teller(wants, terminal.say)
    checkpoint.save()
    terminal.say(f"listening to {origin.label}, forwarding to {target.label}; Ctrl-C stops")
    pace = Pace(None, clock=time.monotonic, sleep=time.sleep)
    Replay(origin, wants, target, checkpoint, pace, stopped=terminal.stopped).run()
    target.close()
    counts = checkpoint.report.counts
    terminal.say(f"stopped: {counts['delivered']:,} delivered in all, {counts['failed']:,} answered otherwise")
    return 0


def _teller(wants: Filter, say: Callable[[str], object]) -> Callable[[Delivery, int, float], None]:
    def tell(delivery: Delivery, status: int, took_s: float) -> None:
        look = wants.looker.look(delivery)
        event = look.events[0] if look.events else None
        envelope = look.envelope
        if envelope is not None:
            what = f"{event.type or '-'} {event.event_id}" if event else envelope.request_id
            verdict = "" if 200 <= status < 300 else "  not delivered: the server refused it"
            at = time.strftime("%H:%M:%S")
            say(f"{at}  {envelope.source:14} {what} -> {status} ({took_s * 1000:.0f} ms){verdict}")

    return tell


# ------------------------------------------------------------------------------------------------ failures


def find_failures(
    stack: Stack, log_lines: Callable[[Sequence[str]], list[dict[str, Any]]], say: Callable[[str], object]
) -> Failures:
    """Return what finds failures; the consumer's log explains those that the mapping gave up on."""

    def explain(request_ids: Sequence[str]) -> Mapping[str, str]:
        return explain_by_log(log_lines(request_ids)) if request_ids else {}

    return Failures(stack.table, stack.settled, explain=explain, say=say)


def retry(
    bench: Bench,
    found: Failures,
    group_id: str,
    options: Mapping[str, Any],
    terminal: Terminal,
    *,
    as_json: bool,
) -> int:
    """Replay one group of failures to the consumer in this process; return the exit code."""
    group, origin = found.origin(group_id)
    if not as_json:
        terminal.say(show_group(group))
    target: Target = make_consumer(bench, retries=True)
    if options.get("dry_run"):
        target = make_dry_run(bench, with_items=False)
    wants = make_filter(bench, {})
    return run(origin, wants, target, Checkpoint(None), terminal, rate_per_s=options.get("rate"), as_json=as_json)


def show_group(group: Group) -> str:
    """Write a group of failures for a person, in a few lines."""
    cause = group.cause
    kept = "until it is deleted" if group.kept_until_ms is None else f"until {show_moment(group.kept_until_ms)}"
    why = f"{cause.reason}{f' {cause.exception}' if cause.exception else ''}"
    times = f"{show_moment(group.first_ms)} to {show_moment(group.last_ms)}"
    return (
        f"{cause.group_id}  {group.count:>8,}  {cause.kind}: {why}  {cause.source or '?'} {cause.type or '-'}\n"
        f"          {times}; payload kept {kept}\n"
        f"          {group.example}  {group.detail}"
    )


# ------------------------------------------------------------------------------------------------ parts


def _open_checkpoint(bench: Bench, wish: Mapping[str, Any] | None, path: Path) -> Checkpoint:
    if wish is None:
        checkpoint = load(path)
        if checkpoint.asked.get("place", bench.place) != bench.place:
            raise OptionInvalid(f"{path} belongs to {checkpoint.asked['place']}; this is {bench.place}.")
        return checkpoint
    if wish["dry_run"]:
        return Checkpoint(None, dict(wish))
    if path.exists():
        raise OptionInvalid(f"{path} is there already: --resume goes on with it.")
    return _fresh(path, {**wish, "place": bench.place})


def _fresh(path: Path, wish: Mapping[str, Any]) -> Checkpoint:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Checkpoint(path, dict(wish))


def _show_estimate(estimate: Estimate, rate_per_s: float | None) -> str:
    count = estimate.records
    amount = "an unknown number of records" if count is None else f"about {count:,} record{'' if count == 1 else 's'}"
    if estimate.size_bytes:
        amount += f", {show_bytes(estimate.size_bytes)}"
    if estimate.note:
        amount += f" ({estimate.note})"
    if rate_per_s and estimate.records:
        amount += f"; at most {show_span(estimate.records / rate_per_s)} at {rate_per_s:g}/s"
    return amount


def _print_report(checkpoint: Checkpoint, terminal: Terminal, *, as_json: bool) -> None:
    report = checkpoint.report
    if as_json:
        terminal.say(json.dumps(report.as_dict()))
        return
    for line in report.lines():
        terminal.say(line)
    terminal.say(f"memory at most {peak_mib():.0f} MiB")


def _how_to_resume(checkpoint: Checkpoint) -> str:
    return f"; go on with: weir replay --resume {checkpoint.path}" if checkpoint.path else ""

"""One replay from its request to its exit code: open the checkpoint, estimate, run, report."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from pathlib import Path

from weir.ingest.errors import OptionInvalid, TransientError
from weir.operate.lookup.delivery import Estimate, Origin
from weir.operate.lookup.times import show_bytes, show_duration
from weir.operate.replay.checkpoint import Checkpoint, load
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.loop import Replay
from weir.operate.replay.options import unknown_sources
from weir.operate.replay.origins import make_origin
from weir.operate.replay.pace import Pace
from weir.operate.replay.ports import Checked, Settling, Stateful, Target, close
from weir.operate.replay.progress import NOT_DONE, Console, peak_mib
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.targets import make_target

_FAILED, _NO_ANSWER, _STOPPED = 1, 2, 130


def default_name() -> str:
    """Return a name for a checkpoint file that no other has: it begins with the time."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"


def replay(
    context: ReplayContext,
    request: ReplayRequest | None,
    path: Path,
    *,
    rate_per_s: float | None = None,
) -> int:
    """Start a replay, or without a request resume the one of a checkpoint file; return the exit code.

    1: an event failed, or is too old to tell. 2: a service did not answer, or nothing matched because the sources file
    lacks a source that was asked for. 130: stopped before the end.

    Raises: OptionInvalid; ServiceError of what it reads and writes.
    """
    console = context.console
    checkpoint = _open_checkpoint(context, request, path)
    if checkpoint.is_done:
        console.say(f"{path}: this replay is complete; its report:")
        _print_report(checkpoint, console)
        return _verdict(checkpoint)
    checkpoint.request = asked = replace(checkpoint.request, rate_per_s=rate_per_s or checkpoint.request.rate_per_s)
    selection = Filter.of(context, asked)
    if unknown := unknown_sources(asked.sources, selection.are_sources_known(), context.stack.catalogue):
        console.say(unknown)
    origin, target = make_origin(context, asked, selection), make_target(context, asked)
    if request is not None and isinstance(target, Checked):
        target.check()
    code = run(context, origin, selection, target, checkpoint)
    if code == 0 and unknown and not checkpoint.report.matched:
        console.say(f"Error: nothing matched; {unknown}")
        return _NO_ANSWER
    return code


def run(
    context: ReplayContext,
    origin: Origin,
    selection: Filter,
    target: Target,
    checkpoint: Checkpoint,
) -> int:
    """Estimate, run and report; return the exit code."""
    console, rate_per_s, is_dry = context.console, checkpoint.request.rate_per_s, checkpoint.request.dry_run
    estimate = origin.estimate()
    console.say(f"from {origin.label} to {target.label}: {_show_estimate(estimate, rate_per_s)}")
    _tell_horizons(context, selection, checkpoint.request)
    if isinstance(target, Stateful) and (checkpoint.cursor or any(checkpoint.again.values())):
        target.restore(checkpoint.target)
    pace = Pace(rate_per_s)
    job = Replay(origin, selection, target, checkpoint, pace, stopped=console.stopped, watch=console.watch)
    job.progress.estimate = estimate
    try:
        is_done = job.run()
    except TransientError as error:
        _print_report(checkpoint, console)
        for line in f"{error.advice}{_how_to_resume(checkpoint)}".split("\n"):
            console.say(line)
        return _NO_ANSWER
    except BaseException:
        console.say(f"interrupted{_how_to_resume(checkpoint)}")
        raise
    close(target)
    if is_done and isinstance(origin, Settling) and checkpoint.request.target == "consumer" and not is_dry:
        origin.settle(context.stack.statuses)
    _print_report(checkpoint, console)
    if not is_done:
        console.say(f"stopped{_how_to_resume(checkpoint)}")
        return _STOPPED
    return _verdict(checkpoint)


def _tell_horizons(context: ReplayContext, selection: Filter, request: ReplayRequest) -> None:
    """Say from when on the replay can tell what was applied, where it makes a difference."""
    if request.dry_run or request.target in {"consumer", "stream"}:
        horizons = context.horizons(request)
        for line in horizons.lines(selection.wants_sources(horizons.catalogue), request.since_ms):
            context.console.say(line)


def _verdict(checkpoint: Checkpoint) -> int:
    return _FAILED if any(map(checkpoint.report.counts.get, NOT_DONE)) else 0


def new_checkpoint(path: Path, request: ReplayRequest) -> Checkpoint:
    """Return a checkpoint that begins, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return Checkpoint(path, request)


def _open_checkpoint(context: ReplayContext, request: ReplayRequest | None, path: Path) -> Checkpoint:
    if request is None:
        checkpoint = load(path)
        if checkpoint.request.stack not in {"", context.label}:
            raise OptionInvalid(f"{path} belongs to {checkpoint.request.stack}; this is {context.label}.")
        return checkpoint
    if request.dry_run:
        return Checkpoint(None, request)
    if path.exists():
        raise OptionInvalid(f"{path} exists already. Continue it with --resume {path}, or name another --checkpoint.")
    return new_checkpoint(path, replace(request, stack=context.label))


def _show_estimate(estimate: Estimate, rate_per_s: float | None) -> str:
    count = estimate.records
    amount = "an unknown number of records" if count is None else f"about {count:,} record{'' if count == 1 else 's'}"
    if estimate.size_bytes:
        amount += f", {show_bytes(estimate.size_bytes)}"
    if estimate.note:
        amount += f" ({estimate.note})"
    if rate_per_s and estimate.records:
        amount += f"; at most {show_duration(estimate.records / rate_per_s)} at {rate_per_s:g}/s"
    return amount


def _print_report(checkpoint: Checkpoint, console: Console) -> None:
    report = checkpoint.report
    console.result(report.as_dict(), [*report.lines(), f"memory at most {peak_mib():.0f} MiB"])


def _how_to_resume(checkpoint: Checkpoint) -> str:
    return f"; go on with: weir replay --resume {checkpoint.path}" if checkpoint.path else ""

"""A whole run: workers started, set off at one moment, their results gathered into one file."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from weir.ingest.errors import OptionInvalid, StackFailed
from weir.loadtest.sending import results
from weir.loadtest.sending.attack import Limits
from weir.loadtest.sending.plan import Plan, check
from weir.loadtest.sending.worker import Part, WorkerEnd, work

# What one worker sends with room to spare, well below where its ticks come late.
_WORKER_PER_S = 4000.0
_SET_OFF_S = 0.3
_LATE_LIMIT_MS = 10.0
_PREPARE_LIMIT_S = 300.0


def conduct(
    plan: Plan, limits: Limits, path: Path, *, workers: int = 0, on_start: Callable[[float], None] = lambda _: None
) -> results.Run:
    """Run a plan, write its results to ``path`` and return them; ``workers`` 0: as many as the rate needs.

    ``on_start`` gets the epoch time of the start, just before it. Ctrl-C stops the sending, and the results so far
    are the run's; what a run leaves that is killed can be read all the same.

    Raises: OptionInvalid when its requests cannot be made or its results not be kept, StackFailed when a worker ends
    early.
    """
    check(plan)
    count = workers or worker_count(plan)
    context = get_context("spawn")
    parts = [path.with_name(f"{path.name}.{number}") for number in range(count)]
    pairs = [context.Pipe() for _ in range(count)]
    share = _share(limits, count)
    processes = [
        context.Process(target=work, args=(plan, share, Part(number, count), parts[number], pairs[number][1]))
        for number in range(count)
    ]
    _begin(path, parts)
    try:
        pipes = [ours for ours, _ in pairs]
        _start(pipes, processes)
        results.machine()  # which asks git, and is remembered: the start must not wait for it
        start_at_s = time.time() + _SET_OFF_S
        for pipe in pipes:
            pipe.send(start_at_s)
        path.write_text(_header(plan, limits, count, start_at_s), encoding="utf-8")
        on_start(start_at_s)
        ends, stopped = _await_ends(pipes, processes)
    finally:
        _end(processes)
    if failed := [end.failed for end in ends if end.failed]:
        raise _unkept(path, failed[0])
    _gather(path, parts, results.footer(stopped=stopped, **_driver_facts(ends)))
    return results.read(path)


def _start(pipes: Sequence[Pipe], processes: Sequence[BaseProcess]) -> None:
    """Start the workers and wait until each is ready. Raises: StackFailed when one ends early."""
    for process in processes:
        process.start()
    for pipe, process in zip(pipes, processes, strict=True):
        _await_ready(pipe, process)


def _end(processes: Sequence[BaseProcess]) -> None:
    """Give the workers that were started five seconds to end by themselves."""
    for process in processes:
        if process.pid is not None:
            process.join(5)
            process.kill()


def _begin(path: Path, parts: Sequence[Path]) -> None:
    """Make sure that results can be kept. Raises: OptionInvalid."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for part in (path, *parts):
            part.write_bytes(b"")
    except OSError as error:
        raise _unkept(path, error.strerror or str(error)) from error


def _unkept(path: Path, why: str) -> OptionInvalid:
    return OptionInvalid(f"Results cannot be kept in {path}: {why}.")


def _await_ends(pipes: Sequence[Pipe], processes: Sequence[Any]) -> tuple[list[WorkerEnd], bool]:
    """Return what each worker says in the end, and whether Ctrl-C was what ended them; a second one ends the wait."""
    stopped = False
    ends: list[WorkerEnd] = []
    while len(ends) < len(pipes):
        try:
            ends.append(_take(pipes[len(ends)], processes[len(ends)]))
        except KeyboardInterrupt:
            if stopped:
                raise
            stopped = True
            for pipe in pipes[len(ends) :]:
                pipe.send("stop")
    return ends, stopped


def worker_count(plan: Plan) -> int:
    """Return how many processes a plan needs, at most one a core."""
    peak = plan.timing.peak_per_s
    if not math.isfinite(peak):
        return 1
    return max(1, min(os.cpu_count() or 1, math.ceil(peak / _WORKER_PER_S)))


def _share(limits: Limits, count: int) -> Limits:
    return replace(
        limits,
        connections=max(1, limits.connections // count),
        warm_connections=max(1, limits.warm_connections // count),
        ahead_count=max(1, limits.ahead_count // count),
    )


def _await_ready(pipe: Pipe, process: Any) -> None:
    said = _take(pipe, process, limit_s=_PREPARE_LIMIT_S)
    if said != "ready":
        raise StackFailed("A load worker could not make its requests: see its message above.")


def _take(pipe: Pipe, process: Any, *, limit_s: float | None = None) -> Any:
    deadline_s = time.monotonic() + (limit_s or float("inf"))
    while not pipe.poll(0.1):
        if not process.is_alive() and not pipe.poll(0):
            raise StackFailed("A load worker ended early.", exit_code=process.exitcode)
        if time.monotonic() > deadline_s:
            raise StackFailed(f"A load worker was not ready within {limit_s:.0f} s.")
    try:
        return pipe.recv()
    except EOFError as error:
        raise StackFailed("A load worker ended early.", exit_code=process.exitcode) from error


def _header(plan: Plan, limits: Limits, worker_count: int, start_at_s: float) -> str:
    timing = asdict(plan.timing) | {"offsets": len(plan.timing.offsets), "length_s": plan.timing.length_s}
    asked = {
        "endpoint": plan.endpoint,
        "engine_stream": plan.engine_stream,
        "seed": plan.seed,
        "workers": worker_count,
        "timing": timing,
        "mix": asdict(plan.mix),
        "connections": limits.connections,
        "patience_s": limits.patience_s,
        "sender_clock_ms": plan.sender_clock_ms,
    }
    return results.header(plan.run, round(start_at_s * 1000), **asked)


def _gather(path: Path, parts: Sequence[Path], footer: str) -> None:
    """Append the workers' parts and the last line; only when it stands there are the parts done with."""
    try:
        with path.open("ab") as whole:
            for part in parts:
                with part.open("rb") as lines:
                    shutil.copyfileobj(lines, whole)
            whole.write(footer.encode())
    except OSError as error:
        raise _unkept(path, error.strerror or str(error)) from error
    for part in parts:
        part.unlink()


def _driver_facts(ends: Sequence[WorkerEnd]) -> dict[str, Any]:
    """Return the driver's own figures, and why it was the limit, if it was."""
    late: Counter[int] = sum((end.driver.late_tenths_ms for end in ends), Counter())
    late_p99_ms = _quantile(late, 0.99) / 10
    facts: dict[str, Any] = {
        name: sum(getattr(end.driver, name) for end in ends)
        for name in ("sent", "unsent", "attempts", "most_open", "waited_for_connection", "starved")
    }
    busy = max(end.cpu_s / max(end.wall_s, 0.001) for end in ends)
    limited = []
    if late_p99_ms > _LATE_LIMIT_MS:
        limited.append(f"1 % of its clock ticks came more than {late_p99_ms:.1f} ms late")
    if facts["starved"]:
        limited.append(f"it had no request ready at {facts['starved']} ticks")
    if busy > 0.9:
        limited.append(f"a worker used {busy:.0%} of a core")
    return {**facts, "late_p99_ms": late_p99_ms, "busiest_core": round(busy, 3), "limited": limited}


def _quantile(counts: Counter[int], share: float) -> int:
    wanted, seen = share * counts.total(), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    return 0

"""The figures that are promised, measured side by side: driver against null server, gateway against the bare engine."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from weir.loadtest.report import summary
from weir.loadtest.sending import pacer, results
from weir.loadtest.sending.attack import Limits
from weir.loadtest.sending.mix import Mix
from weir.loadtest.sending.plan import Plan, Timing
from weir.loadtest.sending.run import conduct
from weir.loadtest.session import Target, come_to_rest, reconcile, run_name, write_report

MIX = Mix(sizes={1024: 1.0})
_STREAM = "weir-load-bare"
# How many requests have to be ready for a second of saturation.
_ENGINE_MOST_PER_S, _DRIVER_MOST_PER_S = 5000.0, 40_000.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure with what was promised for it."""

    name: str
    value: float
    wanted: str
    met: bool


def lines(figures: Sequence[Figure]) -> list[str]:
    """Return figures for people."""
    return [
        f"{'met   ' if one.met else 'MISSED'} {one.name}: {one.value:,.2f} (wanted {one.wanted})" for one in figures
    ]


def measure(target: Target, *, rounds: int, seconds: float, connections: int) -> list[Figure]:
    """Measure driver, engine and gateway in turn, several rounds, and return medians."""
    engine, gateway, half = [], [], []
    with _stream(target) as endpoint:
        for _ in range(rounds):
            engine.append(saturate(target, endpoint, seconds, connections, engine_stream=_STREAM))
            gateway.append(saturate(target, target.endpoint, seconds, connections))
            target.say(f"  engine {engine[-1]:,.0f}/s, gateway {gateway[-1]:,.0f}/s")
        # Half of what the gateway accepts, for both: the same load, with and without the gateway before the engine.
        rate = statistics.median(gateway) / 2
        for _ in range(rounds):
            own = _p99_ms(target, endpoint, rate, seconds, engine_stream=_STREAM)
            through = _p99_ms(target, target.endpoint, rate, seconds)
            half.append((own, through))
            target.say(f"  p99 at half: engine {own:,.1f} ms, gateway {through:,.1f} ms")
    takes, accepts = statistics.median(engine), statistics.median(gateway)
    own, through = (statistics.median(column) for column in zip(*half, strict=True))
    return [
        Figure("engine PutRecord/s", takes, "-", met=True),
        Figure("accepted webhooks/s", accepts, "-", met=True),
        Figure("accepted / engine", accepts / takes, "at least 0.5", met=accepts >= takes / 2),
        Figure("p99 of acceptance / engine's own p99", through / own, "under 5", met=through < 5 * own),
        *driver(target, accepts, seconds=min(3.0, seconds)),
    ]


def driver(target: Target, accepted_per_s: float, *, seconds: float) -> list[Figure]:
    """Measure the driver against a server that does nothing."""
    with null_server() as endpoint:
        most = saturate(target, endpoint, seconds, 32, most_per_s=_DRIVER_MOST_PER_S)
        half = most / 2
        run = _open_loop(target, endpoint, half, seconds * 2)
    lag = summary.compute(run, None)["send_lag_ms"]["p99"]
    ratio = most / accepted_per_s if accepted_per_s else 0.0
    return [
        Figure("driver requests/s against a null server", most, "-", met=True),
        Figure("driver / accepted webhooks", ratio, "at least 5", met=ratio >= 5),
        Figure(f"send lag p99 at {half:,.0f}/s, ms", lag, "under 10", met=lag < 10),
    ]


def consumption(target: Target, rate_per_s: float, seconds: float) -> list[Figure]:
    """Send for a while at a rate and see how far the consumer is behind at the end; the run is reconciled."""
    plan = target.plan(Timing("poisson", pacer.constant(rate_per_s, seconds)), MIX)
    path = target.folder / plan.run / summary.RESULTS_FILE
    conduct(plan, Limits(), path)
    passed = reconcile(target, path, wait_s=30.0)
    figures = write_report([path], None, target.say)
    behind = float(figures["lag"]["lag_under_2_s_after_s"])
    return [
        Figure(
            f"lag under 2 s again after {seconds:.0f} s at {rate_per_s:,.0f}/s, s", behind, "under 10", met=behind < 10
        ),
        Figure("broken promises", float(not passed), "0", met=passed),
    ]


def saturate(
    target: Target,
    endpoint: str,
    seconds: float,
    connections: int,
    *,
    most_per_s: float = _ENGINE_MOST_PER_S,
    **rest: Any,
) -> float:
    """Return how many requests a second are accepted from senders that do nothing but wait for the answer."""
    plan = _plan(target, endpoint, Timing("saturate", duration_s=seconds), **rest)
    limits = Limits(
        connections=connections, warm_connections=connections, send_for_s=seconds, ahead_count=int(most_per_s * seconds)
    )
    run = _conduct(target, plan, limits)
    _rest(target, run)
    return float(summary.compute(run, None)["rates"]["accepted_per_s"])


@contextlib.contextmanager
def null_server() -> Iterator[str]:
    """Run a null server; give its endpoint."""
    command = [sys.executable, "-P", "-m", "weir.loadtest.bench.null_server", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            said = process.stdout.readline() if process.stdout else ""
            yield f"{said.split()[1]}/v1"
        finally:
            process.terminate()


def _p99_ms(target: Target, endpoint: str, rate_per_s: float, seconds: float, **rest: Any) -> float:
    run = _open_loop(target, endpoint, rate_per_s, seconds, **rest)
    _rest(target, run)
    return float(summary.compute(run, None)["latency_ms"]["p99"])


def _open_loop(target: Target, endpoint: str, rate_per_s: float, seconds: float, **rest: Any) -> results.Run:
    shape = pacer.constant(rate_per_s, seconds)
    return _conduct(target, _plan(target, endpoint, Timing("poisson", shape), **rest), Limits())


def _plan(target: Target, endpoint: str, timing: Timing, **rest: Any) -> Plan:
    plan = target.plan(timing, MIX, **rest)
    return replace(plan, endpoint=endpoint, run=run_name(), access_key=target.place.access_key)


def _rest(target: Target, run: results.Run) -> None:
    if run.header["engine_stream"] is None and run.header["endpoint"] == target.endpoint:
        come_to_rest(target, run)


def _conduct(target: Target, plan: Plan, limits: Limits) -> results.Run:
    return conduct(plan, limits, target.folder / plan.run / summary.RESULTS_FILE, workers=1)


@contextlib.contextmanager
def _stream(target: Target) -> Iterator[str]:
    """Make a stream without a reader, for the bare engine; return the engine's endpoint."""
    kinesis = target.place.client("kinesis")
    shards = kinesis.describe_stream_summary(StreamName=target.place.outputs().stream_name)
    count = shards["StreamDescriptionSummary"]["OpenShardCount"]
    kinesis.create_stream(StreamName=_STREAM, ShardCount=count)
    kinesis.get_waiter("stream_exists").wait(StreamName=_STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    try:
        yield kinesis.meta.endpoint_url
    finally:
        kinesis.delete_stream(StreamName=_STREAM)

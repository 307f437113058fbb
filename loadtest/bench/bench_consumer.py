"""`weir bench consumer`: the handler against Powertools and against a floor, side by side in one run.

Each contestant consumes the same batches in fresh processes of its own, five times in turn, from an endpoint whose
latency is set (4 ms a call, 8 ms + 0.15 ms an action a transaction). Printed are medians.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from weir.ingest.errors import StackFailed
from weir.ingest.opener import open_url
from weir.ingest.sources.sources_file import load
from weir.loadtest.bench.bench_workload import BATCH_RECORDS, SOURCE, Workload

ROOT = Path(__file__).parents[3]
ROUNDS = 5
BATCHES = 10

# Cold starts in turns with the bare client's, a round: they are short, so each is at the mercy of what else runs.
COLD_STARTS = 5

# Source: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
SHARD_RECORDS_PER_S = 1000

# One transaction a record at 20 ms each: a fifth of a batch tells as much as a whole one.
POWERTOOLS_RECORDS = 100

# The business code that both contestants run: examples/ledger, which the package `weir` has, too.
_LEDGER = Path(__file__).parents[2] / "examples" / "ledger"
_SOURCES = f"{SOURCE}: {{preset: standard-webhooks}}\n"
_SEED = 7

# What the consumer promises: figure, sense, bound.
TARGETS = (
    ("records/s, of the floor's", ">=", 0.7),
    ("records/s, times Powertools'", ">=", 80.0),
    ("records/s, times a full shard's", ">=", 4.0),
    ("calls a record", "<=", 0.02),
    ("write units, of the floor's", "<=", 0.8),
    ("cold start, of a bare client's", "<=", 1.3),
    ("peak memory, MiB", "<=", 128.0),
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who consumes, from which files, and how many records each of its measured batches has."""

    name: str
    title: str
    batches: Sequence[Path]
    records_count: int
    python_path: Path | None = None


def run(
    folder: Path,
    *,
    say: Callable[[str], None],
    rounds: int = ROUNDS,
    batches: int = BATCHES,
    with_powertools: bool = True,
) -> dict[str, Any]:
    """Run the benchmark; ``folder`` keeps its batches and Powertools. Return the report that `lines` prints.

    Raises: StackFailed when a process of it fails.
    """
    contestants = _prepare(folder, batches)
    if with_powertools and (packages := _powertools(folder, say)):
        some = [folder / "few.json", folder / "hundred.json"]
        contestants.append(Contestant("powertools", "Powertools, as documented", some, POWERTOOLS_RECORDS, packages))
    one = folder / "one.json"
    starters = {"client": None} | {contestant.name: contestant.python_path for contestant in contestants}
    figures: dict[str, list[dict[str, float]]] = {contestant.name: [] for contestant in contestants}
    colds: dict[str, list[float]] = {name: [] for name in starters}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for contestant in contestants:
            figures[contestant.name].append(_warm(folder, contestant))
        for name, python_path in [*starters.items()] * COLD_STARTS:
            colds[name].append(_cold(folder, name, one, python_path))
    report: dict[str, Any] = {
        "rounds": rounds,
        "cold_starts": rounds * COLD_STARTS,
        "contestants": {
            contestant.name: {
                "title": contestant.title,
                **_medians(figures[contestant.name]),
                "cold_ms": median(colds[contestant.name]),
            }
            for contestant in contestants
        },
        "client_cold_ms": median(colds["client"]),
    }
    return report | {"targets": judge(report, with_powertools=with_powertools)}


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the report as a person reads it."""
    head = ("", "records/s", "calls/rec", "WU/rec", "CPU ms/rec", "p50 ms", "p95 ms", "peak MiB", "cold ms")
    yield f"{head[0]:34}" + "".join(f"{title:>11}" for title in head[1:])
    names = ("records_per_s", "calls", "write_units", "cpu_ms", "p50_ms", "p95_ms", "peak_mib", "cold_ms")
    for contestant in report["contestants"].values():
        yield f"{contestant['title']:34}" + "".join(f"{_short(contestant[name]):>11}" for name in names)
    yield f"{'a bare boto3.client':34}" + " " * 77 + f"{_short(report['client_cold_ms']):>11}"
    sizes = f"p50 and p95 of a batch of {BATCH_RECORDS} records, Powertools' of {POWERTOOLS_RECORDS}"
    yield f"medians of {report['rounds']} rounds and {report['cold_starts']} cold starts; {sizes}"
    for target in report["targets"]:
        verdict = "reached" if target["reached"] else "MISSED"
        value = "unmeasured" if target["value"] is None else _short(target["value"])
        yield f"{target['name']:34}{value:>11}  {target['sense']} {target['bound']:<6} {verdict}"


def is_reached(report: Mapping[str, Any]) -> bool:
    """Tell whether every target was reached."""
    return all(target["reached"] for target in report["targets"])


def _prepare(folder: Path, batches: int) -> list[Contestant]:
    """Write the batches, the same for all."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sources.yaml").write_text(_SOURCES)
    catalogue = load(folder / "sources.yaml")
    (folder / "sources.json").write_text(catalogue.dump())
    workload = Workload(catalogue[SOURCE], _SEED)
    sizes = {f"batch-{number}": BATCH_RECORDS for number in range(batches + 1)}
    sizes |= {"one": 1, "few": 5, "hundred": POWERTOOLS_RECORDS}
    for name, size in sizes.items():
        (folder / f"{name}.json").write_text(json.dumps(workload.batch(size)))
    whole = [folder / f"batch-{number}.json" for number in range(batches + 1)]
    return [
        Contestant("weir", "weir", whole, BATCH_RECORDS),
        Contestant("floor", "floor (botocore, no safety at all)", whole, BATCH_RECORDS),
    ]


def _powertools(folder: Path, say: Callable[[str], None]) -> Path | None:
    """Install Powertools beside the project, not into it; its dependencies are there already."""
    packages = folder / "powertools"
    if not (packages / "aws_lambda_powertools").exists():
        requirements = Path(__file__).parents[1] / "requirements" / "bench.txt"
        command = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--disable-pip-version-check", "--target", str(packages), "-r", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["no message"]
            say(
                f"Powertools could not be installed, so it is not compared with (--no-powertools: nor tried): {said[0]}"
            )
            return None
    return packages


def _warm(folder: Path, contestant: Contestant) -> dict[str, float]:
    with _endpoint() as url:
        found = _child(folder, url, ["warm", contestant.name, *map(str, contestant.batches)], contestant.python_path)
        with open_url(url, timeout_s=10) as answer:
            counted = json.load(answer)
    records = sum(len(json.loads(path.read_bytes())["Records"]) for path in contestant.batches)
    measured = contestant.records_count * len(found["batch_ms"])
    return {
        "records_per_s": contestant.records_count / median(found["batch_ms"]) * 1000,
        "calls": sum(counted["calls"].values()) / records,
        "write_units": counted["write_units"] / records,
        "cpu_ms": found["cpu_s"] * 1000 / measured,
        "p50_ms": median(found["batch_ms"]),
        "p95_ms": _p95(found["batch_ms"]),
        "peak_mib": found["peak_kib"] / 1024,
    }


def _cold(folder: Path, name: str, batch: Path, python_path: Path | None) -> float:
    with _endpoint() as url:
        return float(_child(folder, url, ["cold", name, str(batch)], python_path)["cold_ms"])


@contextmanager
def _endpoint() -> Iterator[str]:
    """Run an endpoint with empty tables."""
    command = [sys.executable, "-P", "-m", "weir.loadtest.bench.bench_endpoint", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("listening "):
                raise StackFailed("The benchmark's endpoint did not start.")
            yield line.split()[1]
        finally:
            process.terminate()


def _child(folder: Path, url: str, arguments: Sequence[str], python_path: Path | None) -> dict[str, Any]:
    """Let a contestant run in a process and an environment of its own; return what its last line says."""
    environment = {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": url,
        "EVENTS_TABLE": "events",
        "TABLES": '{"balances": "balances"}',
        "EFFECTS": "ledger",
        "EFFECTS_FOLDER": str(_LEDGER),
        "SOURCES_FILE": str(folder / "sources.json"),
        "POWERTOOLS_SERVICE_NAME": "bench",
    }
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    command = [sys.executable, "-P", "-m", "weir.loadtest.bench.bench_child", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise StackFailed(f"bench_child {' '.join(arguments[:2])}: {done.stderr[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _p95(times_ms: Sequence[float]) -> float:
    return quantiles(times_ms, n=20, method="inclusive")[-1] if len(times_ms) > 1 else times_ms[0]


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: median(figures[name] for figures in rounds) for name in rounds[0]}


def judge(report: Mapping[str, Any], *, with_powertools: bool) -> list[dict[str, Any]]:
    """Hold a report against the targets; what was to be measured and could not be is not reached."""
    contestants = report["contestants"]
    weir, floor, powertools = contestants["weir"], contestants["floor"], contestants.get("powertools")
    values = (
        weir["records_per_s"] / floor["records_per_s"],
        weir["records_per_s"] / powertools["records_per_s"] if powertools else None,
        weir["records_per_s"] / SHARD_RECORDS_PER_S,
        weir["calls"],
        weir["write_units"] / floor["write_units"],
        weir["cold_ms"] / report["client_cold_ms"],
        weir["peak_mib"],
    )
    return [
        {"name": name, "value": value, "sense": sense, "bound": bound, "reached": _holds(value, sense, bound)}
        for (name, sense, bound), value in zip(TARGETS, values, strict=True)
        if value is not None or with_powertools
    ]


def _holds(value: float | None, sense: str, bound: float) -> bool:
    if value is None:
        return False
    return value >= bound if sense == ">=" else value <= bound


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

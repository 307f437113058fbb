"""One contestant of the consumer's benchmark, in a process of its own.

    python -m weir.loadtest.bench.bench_child warm NAME BATCH...      consumes the batches; the first is not measured
    python -m weir.loadtest.bench.bench_child cold NAME BATCH         times import and first invocation

NAME is `weir`, `floor`, `powertools` or, when cold, `client`: boto3 alone; a
BATCH is a file with a Kinesis event. The last line of output is JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[Any, Any], Any]

# Named and not imported: the benchmark stands outside of what it measures, and each process has one of them alone.
CONTESTANTS = {
    "weir": "weir.consumers.handler",
    "floor": "weir.loadtest.bench.bench_floor",
    "powertools": "weir.loadtest.bench.bench_powertools",
}


class Context:
    """What Lambda would hand over."""

    aws_request_id = "bench"
    function_name = "bench"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:000000000000:function:bench"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def warm(name: str, batches: list[str]) -> dict[str, Any]:
    """Consume batches one after the other; return the milliseconds of each and the CPU seconds of all."""
    handler: Handler = import_module(CONTESTANTS[name]).handler
    times_ms, cpu_s = [], 0.0
    for number, batch in enumerate(batches):
        event = json.loads(Path(batch).read_bytes())
        cpu_began, began = process_time(), perf_counter()
        response = handler(event, Context())
        times_ms.append((perf_counter() - began) * 1000)
        cpu_s += (process_time() - cpu_began) if number else 0.0
        if response and response.get("batchItemFailures"):
            raise SystemExit(f"{name} left records undone: {response}")
    return {"batch_ms": times_ms[1:], "cpu_s": cpu_s, "peak_kib": peak_kib()}


def cold(name: str, batch: str) -> dict[str, Any]:
    """Return how long it takes until the first record is done, or until there is a client."""
    event = json.loads(Path(batch).read_bytes())
    began = perf_counter()
    if name == "client":
        import boto3  # noqa: PLC0415 - it is what is timed

        boto3.client("dynamodb")
    else:
        import_module(CONTESTANTS[name]).handler(event, Context())
    return {"cold_ms": (perf_counter() - began) * 1000}


def peak_kib() -> int:
    """Return the most memory that this process has had; a child's ru_maxrss would begin with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource  # noqa: PLC0415 - where there is no /proc

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    figures = warm(sys.argv[2], sys.argv[3:]) if sys.argv[1] == "warm" else cold(sys.argv[2], sys.argv[3])
    sys.stdout.write("\n" + json.dumps(figures) + "\n")

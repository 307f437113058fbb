"""The results of a run as JSON Lines: a header, a line a request in the order of answers, a last line about the driver.

A file can be read while it grows and reported again at any later time; lines of other programs' making are welcome if
they have the same members. Until a run has ended, its workers' lines are in files beside it: ``results.jsonl.0`` and
on.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from weir.ingest.errors import OptionInvalid

FORMAT = "weir-load/1"


@dataclass(frozen=True, slots=True)
class Result:
    """One request and what became of it; times are epoch milliseconds, ``sent_at_ms`` is of the first attempt.

    ``status`` is the last answer's, 0 for none. ``change`` is what the event adds to ``account`` in ``currency``.
    """

    seq: int
    kind: str
    source: str
    key: str
    event_ids: tuple[str, ...]
    marks: tuple[str, ...]
    body_sha256: str
    bytes: int
    intended_at_ms: float
    sent_at_ms: float
    done_at_ms: float
    status: int
    first_status: int
    attempts: int
    request_id: str = ""
    said: str = ""
    account: str = ""
    currency: str = ""
    change: int = 0
    duplicate_of: int | None = None

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    @property
    def latency_ms(self) -> float:
        """From the intended time to the last answer, retries and waits included."""
        return self.done_at_ms - self.intended_at_ms

    @property
    def send_lag_ms(self) -> float:
        return self.sent_at_ms - self.intended_at_ms


@dataclass(frozen=True, slots=True)
class Run:
    """A results file: ``header`` says what was asked, ``end`` what the driver itself did; None if it was cut off."""

    header: dict[str, Any]
    results: tuple[Result, ...]
    end: dict[str, Any] | None

    @property
    def name(self) -> str:
        return str(self.header["run"])

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C ended it."""
        return bool(self.end and self.end.get("stopped"))

    @property
    def accepted(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.accepted)


def read(path: Path) -> Run:
    """Read a results file. Raises: OptionInvalid, with the number of the line that is not a result."""
    header: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    results: dict[int, Result] = {}
    for number, line in _lines(path):
        if number == 1:
            header = line if line.get("format") == FORMAT else None
        elif line.get("format") == f"{FORMAT}/end":
            end = line
        else:
            one = _result(line, path, number)
            results[one.seq] = one
    if header is None:
        raise OptionInvalid(f"{path} holds no results: its first line is not a header of {FORMAT}.")
    if end is None:  # under way, or killed: by its number, since a kill while they are gathered leaves lines in both
        for part in sorted(path.parent.glob(f"{path.name}.*")):
            found = (_result(line, part, number) for number, line in _lines(part))
            results |= {one.seq: one for one in found}
    return Run(header, tuple(results.values()), end)


def header(run: str, started_at_ms: int, **facts: Any) -> str:
    """Return the first line: what was asked, and on which machine and commit."""
    content = {"format": FORMAT, "run": run, "started_at_ms": started_at_ms, **facts, **machine()}
    return json.dumps(content) + "\n"


def footer(**facts: Any) -> str:
    """Return the last line."""
    return json.dumps({"format": f"{FORMAT}/end", **facts}) + "\n"


@cache
def machine() -> dict[str, Any]:
    """Return what a figure depends on beside the code, and the code's commit."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _commit() -> str:
    try:
        said = subprocess.run(  # noqa: S603
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip()


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith("\n"):
                    return  # cut off while it was written
                content = json.loads(line)
                if not isinstance(content, dict):
                    raise OptionInvalid(f"{path}, line {number}: not a JSON object.")
                yield number, content
    except (OSError, ValueError) as error:
        raise OptionInvalid(f"{path} cannot be read: {error}") from error


def _result(line: dict[str, Any], path: Path, number: int) -> Result:
    try:
        return Result(**{**line, "event_ids": tuple(line["event_ids"]), "marks": tuple(line["marks"])})
    except (TypeError, KeyError) as error:
        raise OptionInvalid(f"{path}, line {number}: no result of a request: {error}") from error

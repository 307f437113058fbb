"""Faults of the disk under the embedded stack's own state: files that are damaged, gone or in another encoding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from weir.ingest.errors import StackFailed
from weir.loadtest.faults.fault_stack import FaultStack
from weir.loadtest.faults.scenario import OUTAGE, scenario
from weir.loadtest.faults.scenario_run import ScenarioRun

# How many files are damaged after each way to end, in the short run.
_COUNT = 4
# What a stack can do without: logs and evidence of load tests, a lock, what is compiled; and what the bucket holds,
# whose objects are read one by one and have checks of their own.
_NO_STATE = ("load", "s3", "__pycache__")


def _first_byte(whole: bytes) -> bytes:
    return bytes([whole[0] ^ 0x55]) + whole[1:]


def _last_byte(whole: bytes) -> bytes:
    return whole[:-1] + bytes([whole[-1] ^ 0x55])


def _a_character(whole: bytes) -> bytes:
    """Change a letter or a digit in the middle, so that JSON mostly stays JSON and says something else."""
    place = next((at for at in range(len(whole) // 2, len(whole)) if whole[at : at + 1].isalnum()), 0)
    return whole[:place] + (b"7" if whole[place : place + 1] != b"7" else b"3") + whole[place + 1 :]


def _another_encoding(whole: bytes) -> bytes:
    return whole.decode("utf-8", "replace").encode("utf-16")


_DAMAGES: dict[str, Callable[[bytes], bytes] | None] = {
    "its first byte": _first_byte,
    "a character in its middle": _a_character,
    "its last byte": _last_byte,
    "its encoding": _another_encoding,
    "all of it": None,
}


@scenario(
    "state-damaged",
    "files of the state damaged or gone: the start is refused and names the file, or nothing is missing",
    OUTAGE,
)
def state_damaged(run: ScenarioRun) -> None:
    stack = run.own_stack
    with run.traffic(3.0):
        run.pass_time(2)
    chosen = Random(round(run.scale * 100))  # noqa: S311 - which files, the same each time
    for name, end in (("after a kill", stack.kill), ("after a clean stop", stack.stop)):
        end()
        tries = [(path, damage) for path in _state_of(stack.home) for damage in _DAMAGES]
        chosen.shuffle(tries)
        tries.sort(key=lambda one: not _is_journal(one[0]))  # what holds the newest goes first
        for path, damage in tries[: round(_COUNT * run.scale)]:
            if path.exists():
                _start_with(stack, path, damage)
                run.hits[f"starts with a damaged file {name}"] = (
                    run.hits.get(f"starts with a damaged file {name}", 0) + 1
                )
                end()
        stack.start()
    run.fault_ends()


@scenario(
    "folder-read-only",
    "a folder that turns read-only ends the stack before it answers, and lets none start; writable again, all is there",
    OUTAGE,
)
def folder_read_only(run: ScenarioRun) -> None:
    stack = run.own_stack
    with run.traffic():
        run.pass_time(2)
        with stack.read_only("store", "stream") as files:
            run.hits["files that could not be written"] = files
            stack.await_end()
        with stack.read_only():
            run.hits["starts refused in a sentence"] = _refused(stack)
        stack.start()
        run.fault_ends()


def _refused(stack: FaultStack) -> int:
    """Try to start; return 1 if that ended with one line that names a file and no traceback."""
    try:
        stack.start()
    except StackFailed:
        said = stack.log.read_text(encoding="utf-8", errors="replace")
        errors = [line for line in said.splitlines() if line.startswith("Error: ")]
        return int(len(errors) == 1 and str(stack.home) in errors[0] and "Traceback" not in said)
    stack.stop()
    return 0


def _start_with(stack: FaultStack, path: Path, damage: str) -> None:
    """Start with one file damaged. If the start is refused, all is made whole. Raises: StackFailed if it is not named.

    Whether a start that is not refused lacks anything is for the judgement at the end to tell.
    """
    whole, change = path.read_bytes(), _DAMAGES[damage]
    if not whole:
        return
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(whole))
    try:
        stack.start()
    except StackFailed:
        said = stack.log.read_text(encoding="utf-8", errors="replace")
        if str(path) not in said:
            raise StackFailed(
                f"The start was refused for {damage} of {path}, and did not name it.", said=said[-500:]
            ) from None
        path.write_bytes(whole)


def _state_of(home: Path) -> list[Path]:
    files = [path for path in sorted(home.rglob("*")) if path.is_file() and path.suffix not in {".log", ".py", ".pyc"}]
    return [path for path in files if path.name != "lock" and not {*path.relative_to(home).parts} & {*_NO_STATE}]


def _is_journal(path: Path) -> bool:
    return path.suffix == ".jsonl"

"""A replay that is killed or stopped goes on, and reports as if it had never been interrupted."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.ingest.envelope import Envelope, encode

pytestmark = pytest.mark.engine

KILLS = 10


def day(stack_env: StackEnv, count: int, name: str) -> list[Envelope]:
    """Return deliveries with repeats, forgeries and events that no business code wants."""
    rng = random.Random(7)
    envelopes: list[Envelope] = []
    for number in range(count):
        kind = rng.random()
        if kind < 0.1 and envelopes:
            envelopes.append(rng.choice(envelopes))  # the same record again
        elif kind < 0.2:
            envelopes.append(stack_env.payment(name, 1, message_id=f"{name}-{rng.randrange(number + 1)}"))
        elif kind < 0.25:
            envelopes.append(stack_env.payment(name, 1, secret="whsec_" + "QUJD" * 8))
        elif kind < 0.35:
            envelopes.append(stack_env.delivery({"type": "other", "number": number}))
        else:
            envelopes.append(stack_env.payment(name, 1, message_id=f"{name}-{number}"))
    return envelopes


def write(path: Path, envelopes: list[Envelope]) -> Path:
    path.write_bytes(b"".join(map(encode, envelopes)))
    return path


def report(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["report"]  # type: ignore[no-any-return]


@pytest.mark.timeout(300)
def test_a_replay_killed_ten_times_gives_the_report_of_one_that_was_not(stack_env: StackEnv) -> None:
    """SIGKILL at ten random moments, resumed each time: the same figures, and the same table, as without."""
    count, seen = 3000, random.Random(11)
    calm = write(stack_env.home / "calm.jsonl", day(stack_env, count, "calm"))
    killed = write(stack_env.home / "killed.jsonl", day(stack_env, count, "killed"))
    checkpoint = stack_env.home / "killed.json"
    expected = json.loads(stack_env.weir("replay", "--from", str(calm), "--to", "consumer", "--json"))
    arguments = ["replay", "--from", str(killed), "--to", "consumer", "--rate", "900", "--checkpoint", str(checkpoint)]
    kills = 0
    while kills < KILLS:
        running = stack_env.start(*arguments)
        deadline = time.monotonic() + 20
        before = report(checkpoint)["read"] if checkpoint.exists() else -1
        while running.poll() is None and time.monotonic() < deadline:
            if checkpoint.exists() and report(checkpoint)["read"] > before:
                break
            time.sleep(0.01)
        time.sleep(seen.uniform(0, 0.25))
        assert running.poll() is None, (kills, running.communicate()[0].decode())
        running.kill()
        running.communicate()
        kills += 1
        arguments = ["replay", "--resume", str(checkpoint)]
    found = json.loads(stack_env.weir("replay", "--resume", str(checkpoint), "--json"))
    assert found == expected
    assert found["read"] == count
    balances = stack_env.balances()
    assert balances["killed"] == balances["calm"]


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(stack_env: StackEnv) -> None:
    """SIGINT ends a replay with 130 at the end of a batch, and the command that it prints finishes the rest."""
    path = write(stack_env.home / "some.jsonl", [stack_env.payment("acct", 1) for _ in range(400)])
    running = stack_env.start("replay", "--from", str(path), "--to", "consumer", "--rate", "200")
    while not any((stack_env.home / "replays").glob("*.json")) or not running.stdout:
        time.sleep(0.05)
    time.sleep(0.6)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=20)[0].decode()
    assert running.returncode == 130, said
    command = said.strip().splitlines()[-1].partition("go on with: weir ")[2].split()
    report_now = json.loads(stack_env.weir(*command, "--json"))
    assert report_now["read"] == report_now["applied"] == 400
    assert stack_env.balances() == {"acct": {"EUR": 400, "events": 400}}
    assert json.loads(stack_env.weir(*command, "--json").splitlines()[-1]) == report_now


def test_a_file_that_was_being_written_is_the_same_after_a_kill(stack_env: StackEnv) -> None:
    """A target file of a replay that was killed twice is byte for byte that of one that was not."""
    source = write(stack_env.home / "source.jsonl", [stack_env.payment("acct", 1) for _ in range(12_000)])
    checkpoint, target = stack_env.home / "c.json", stack_env.home / "out.jsonl"
    arguments = [
        "replay",
        "--from",
        str(source),
        "--to",
        str(target),
        "--checkpoint",
        str(checkpoint),
        "--rate",
        "8000",
    ]
    for _ in range(2):
        running = stack_env.start(*arguments)
        before = report(checkpoint)["read"] if checkpoint.exists() else -1
        while not (checkpoint.exists() and report(checkpoint)["read"] > before):
            time.sleep(0.005)
        running.kill()
        running.communicate()
        arguments = ["replay", "--resume", str(checkpoint)]
    stack_env.weir("replay", "--resume", str(checkpoint))
    assert target.read_bytes() == source.read_bytes()

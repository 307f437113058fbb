"""Every command with every option on a stack with every kind of event: clear, parsable, and of one mind.

Each command is run with each of its options, every id that anything prints is given back to every command that takes
one, and what the commands count is compared with the table itself.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.operate.test_failures import give_up
from tests.operate.test_past_marks import expire, grow_old
from tests.support.commands import PLACE_OPTIONS, commands, options
from tests.support.stack_env import StackEnv
from weir.consumers.business import effects
from weir.consumers.business.changes import Change, Update, Wait, exists
from weir.consumers.business.effects import effect
from weir.ingest.errors import EventRejected
from weir.ingest.sources.events import Event

pytestmark = pytest.mark.engine

FORGED = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
REQUEST_ID = re.compile(r"(?<![A-Za-z0-9_=-])[A-Za-z0-9_-]{15}=(?![A-Za-z0-9=])")
DAY_MS = 86_400_000

# What each option is given; a command whose option needs another value has it in OWN. `None`: the option is a flag.
GIVEN: dict[str, list[str]] = {
    "--since": ["1h", "2020-01-01"],
    "--until": ["2h", "2099-01-01"],
    "--grace": ["0s", "5m"],
    "--source": ["payments", "others", "unknown", "!"],
    "--outcome": ["applied", "ignored", "quarantined", "waiting"],
    "--limit": ["1", "1000"],
    "--reason": ["event_rejected", "no_such_reason"],
    "--rate": ["1000"],
    "--type": ["buggy", "pay*"],
    "--id": ["msg_twice", "-minus", "no-such-id"],
    "--key": ["none"],
    "--where": ["$.type=buggy", "$.data.amount=5"],
    "--over": ["0", "0.2"],
}
OWN: dict[tuple[tuple[str, ...], str], list[str]] = {
    (("replay",), "--from"): ["stream", "quarantine", "ignored", "events", "failures", "archive", "no-such-file"],
    (("replay",), "--to"): ["consumer", "{folder}/out.jsonl"],
    (("replay",), "--outcome"): ["applied", "ignored", "quarantined", "waiting", "missing"],
    (("replay",), "--shard"): ["shardId-000000000000", "shardId-000000000009"],
    (("replay",), "--from-sequence"): ["1"],
    (("replay",), "--to-sequence"): ["99999999999999999999999999999999999999999999999999999999"],
    (("replay",), "--checkpoint"): ["{folder}/one.json"],
    (("replay",), "--resume"): ["{folder}/no-such-checkpoint.json"],
    (("rebuild",), "--from"): ["stream", "archive", "events"],
    (("cost",), "--rate"): ["0.5", "1000"],
    (("cost",), "--peak"): ["2000"],
    (("cost",), "--body"): ["0", "700000"],
    (("cost",), "--write-units"): ["3"],
    (("cost",), "--hostile"): ["100"],
    (("cost",), "--hostile-body"): ["4000000"],
    (("cost",), "--set"): ["ShardCount=3", "Nothing=1"],
    (("quarantine", "discard"), "--reason"): ["tried by hand"],
}
# The arguments without which a command does nothing; several where one is a question of its own.
ARGUMENTS: dict[tuple[str, ...], list[list[str]]] = {
    ("events",): [[], ["msg_twice"], ["no-such-id"]],
    ("items",): [[], ["balances"], ["balances", "ann"], ["nowhere"]],
    ("quarantine", "show"): [["-forged-reques="], ["no-such-id"]],
    ("quarantine", "discard"): [["no-such-id", "--reason", "a test"]],
    ("failures", "retry"): [["{group}", "--dry-run"], ["nothing", "--dry-run"]],
    ("replay",): [["--from", "stream", "--dry-run"], ["--from", "quarantine", "--to", "{folder}/{number}.jsonl"]],
    ("sources", "presets"): [[], ["stripe"], ["no-such-preset"]],
    ("sources", "confirm"): [["payments", "--dry-run"], ["unknown"]],
    ("secrets", "generate"): [["payments"], ["unknown"]],
    ("secrets", "rotate"): [["unknown"]],
    ("secrets", "set"): [["unknown"]],
    ("secrets", "remove"): [["payments", "7"], ["unknown", "0"], ["others", "0"]],
}
# What has no place here, and the tests that try it with its options.
ELSEWHERE: dict[tuple[str, ...], str] = {
    ("run",): "tests/test_stack.py",
    ("send",): "tests/test_stack.py",
    ("listen",): "tests/operate/replay/test_http.py",
    ("init",): "tests/test_wheel.py",
    ("doctor",): "tests/cli/test_doctor.py",
    ("deploy",): "tests/test_localstack.py",
    ("destroy",): "tests/test_localstack_destroy.py",
    ("record",): "tests/infra/test_lifetimes.py",
    ("synth",): "tests/cli/test_synth.py",
    ("policies",): "tests/infra/test_policies.py",
    ("pause",): "tests/test_control.py",
    ("resume",): "tests/test_control.py",
    ("rebuild",): "tests/operate/test_rebuild.py",
    ("sources", "add"): "tests/test_sources_commands.py",
    ("bench", "consumer"): "tests/loadtest/test_bench_consumer.py",
    ("bench", "memory"): "tests/cli/test_json.py",
    ("bench", "republish"): "tests/cli/test_json.py",
    ("load", "attack"): "tests/loadtest/test_attack.py",
    ("load", "faults"): "tests/loadtest/test_faults.py",
    ("load", "figures"): "tests/loadtest/test_figures.py",
    ("load", "reconcile"): "tests/loadtest/test_reconcile.py",
    ("load", "report"): "tests/loadtest/test_report.py",
}
# Commands that change what is stored with these arguments; they are run last.
CHANGING = {("secrets", "generate"), ("secrets", "remove"), ("quarantine", "verify")}


@pytest.fixture(autouse=True)
def own_effects() -> Iterator[None]:
    """Business code with every way to end."""
    before = dict(effects._registrations)

    @effect("payments", "refused")
    def refused(event: Event[Any]) -> Iterable[Change]:
        raise EventRejected("It is not wanted.")

    @effect("payments", "buggy")
    def buggy(event: Event[Any]) -> Iterable[Change]:
        return [event.payload["nothing"]]

    @effect("payments", "conditional")
    def conditional(event: Event[Any]) -> Iterable[Change]:
        return [Update("balances", {"account": "x"}, add={"EUR": 1}, condition=exists("never"))]

    @effect("payments", "early")
    def early(event: Event[Any]) -> Iterable[Change]:
        return [Update("balances", {"account": "x"}, add={"EUR": 1}, condition=exists("never"), wait=Wait())]

    @effect("payments", "invalid")
    def invalid(event: Event[Any]) -> Iterable[Change]:
        return [Update("nowhere", {"account": "x"}, add={"EUR": 1})]

    yield
    effects._registrations.clear()
    effects._registrations.update(before)
    effects.find.cache_clear()


@pytest.fixture
def filled(stack_env: StackEnv) -> StackEnv:
    """A stack with an event of every outcome, some given up, one whose mark has expired; ids begin with a minus."""
    made = stack_env.payment
    old = made("old", 1, message_id="msg_expired", at_ms=round(time.time() * 1000) - 600 * DAY_MS)
    stack_env.put(
        made("ann", 5, message_id="msg_twice", request_id="-first-request="),
        made("ann", 5, message_id="msg_twice", request_id="-second-reques="),
        made("bob", 1, message_id="-minus"),
        *(stack_env.delivery({"type": kind}, message_id=f"msg_{kind}") for kind in ("refused", "buggy", "conditional")),
        stack_env.delivery({"type": "invalid"}, message_id="msg_invalid", request_id="-invalid-reque="),
        stack_env.delivery({"type": "early"}, message_id="msg_early", request_id="-early-request="),
        stack_env.delivery({"type": "unknown"}, message_id="msg_ignored"),
        made("carl", 1, secret=FORGED, request_id="-forged-reques="),
        stack_env.delivery(b"\xff not JSON", message_id="msg_malformed"),
        stack_env.delivery({"type": "a"}, source="others", message_id="msg_other"),
        stack_env.delivery({"events": [{"id": "e1", "type": "a"}, {"id": "e2", "type": "b"}]}, source="batches"),
        old,
        b"not an envelope",
    )
    stack_env.consume()
    grow_old(stack_env)
    expire(stack_env, *(key for key in stack_env.events() if key.endswith("msg_expired")))
    given_up = made("dora", 3, message_id="msg_given_up", request_id="-given-up-requ=")
    give_up(stack_env, "one", given_up, made("emil", 3))
    stack_env.put(given_up)
    return stack_env


def cases() -> list[tuple[tuple[str, ...], list[str]]]:
    """Return each command with its arguments, alone and with each option."""
    found = []
    for words, command in commands().items():
        if words in ELSEWHERE:
            continue
        for arguments in ARGUMENTS.get(words, [[]]):
            found.append((words, arguments))
            for name, option in options(command).items():
                if name in PLACE_OPTIONS or name in arguments:
                    continue
                values = [None] if option.is_flag else OWN.get((words, name)) or GIVEN.get(name)
                assert values, f"{words} {name} has no value here"
                found += [(words, [*arguments, name, *([value] if value else [])]) for value in values]
    return sorted(found, key=lambda one: one[0] in CHANGING)


def test_every_command_is_here_or_elsewhere() -> None:
    """No command is left out, none is named that there is not, and each place that is named exists."""
    known = set(commands())
    assert set(ELSEWHERE) <= known
    assert set(ARGUMENTS) <= known - set(ELSEWHERE)
    root = Path(__file__).parents[2]
    for words, place in ELSEWHERE.items():
        assert words[-1] in (root / place).read_text(), f"{place} does not try `weir {' '.join(words)}`"
    assert all(words in known and name in options(commands()[words]) for words, name in OWN if words not in ELSEWHERE)


def check(done: Result, words: tuple[str, ...], given: list[str]) -> list[Any]:
    """Demand what is true of every command; return what it printed as JSON."""
    shown = f"weir {' '.join((*words, *given))}\n{done.stdout}\n{done.stderr}"
    assert done.exception is None or isinstance(done.exception, SystemExit), shown
    assert done.exit_code in {0, 1, 2}, shown
    assert "Traceback" not in done.output, shown
    assert done.stdout or done.stderr or (done.exit_code == 0 and "--json" in given), shown
    if done.exit_code == 2:
        assert "Error: " in done.output, shown
    return [json.loads(line) for line in done.stdout.splitlines()] if "--json" in given else []


def ids(value: Any) -> set[str]:
    """Return what of a command's JSON is an id of an event or of a request."""
    if isinstance(value, dict):
        own = {value[name] for name in ("event_id", "request_id", "id") if isinstance(value.get(name), str)}
        return {one for one in own if one} | set().union(*map(ids, value.values()), set())
    return set().union(*map(ids, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("part", range(3))
def test_every_command_with_every_option(filled: StackEnv, tmp_path: Path, part: int) -> None:
    """None ends in a traceback or says nothing; each id of an event is one that the stack knows."""
    group = json.loads(filled.weir("failures", "--json").splitlines()[0])["group"]
    for number, (words, arguments) in list(enumerate(cases()))[part::3]:
        given = [one.format(group=group, folder=tmp_path, number=number) for one in arguments]
        check(filled.invoke(*words, *given), words, given)


# What prints ids, and between them every id that there is.
PRINTING: list[tuple[str, ...]] = [
    ("events",),
    ("quarantine", "list"),
    ("quarantine", "groups"),
    ("failures", "list"),
    ("account", "--grace", "0s", "--since", "2020-01-01"),
    ("replay", "--from", "stream", "--dry-run", "--diff"),
    ("replay", "--from", "failures", "--dry-run"),
]


def test_every_printed_id_is_taken(filled: StackEnv) -> None:
    """What one command prints is taken by every one that takes an id, and shows what became of it."""
    found: set[str] = set()
    groups: set[str] = set()
    for words in PRINTING:
        printed = rows(filled, *words)
        found |= ids(printed) | {*REQUEST_ID.findall(filled.weir(*words, code=None))}
        groups |= {one["group"] for one in printed if "group" in one}
    stored = filled.events().values()
    known = {item[name]["S"] for item in stored for name in ("request_id", "event_id") if item.get(name, {}).get("S")}
    assert {*known, "-given-up-requ=", "msg_given_up"} <= found, known - found
    for one in sorted(found):
        shown = filled.invoke("events", one)
        check(shown, ("events",), [one])
        # What a duplicate became of, only the consumer's log knows; nothing here writes one: tests/test_stack.py.
        if shown.exit_code and one != "-second-reques=":  # in no table: the command that is named finds it
            assert f"weir replay --from stream --dry-run --id={one!r}" in shown.output, (one, shown.output)
            said = rows(filled, "replay", "--from", "stream", "--dry-run", f"--id={one}")
            assert [told["would"] for told in said[:-1]] == ["too old to tell"], said
        for more in (("events", one, "--body"), ("quarantine", "show", one)):
            check(filled.invoke(*more), more[:1], list(more[1:]))
    for one in sorted(groups):
        check(filled.invoke("failures", "retry", one, "--dry-run", "--json"), ("failures", "retry"), [one, "--json"])


def rows(stack_env: StackEnv, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack_env.weir(*words, "--json", code=None).splitlines()]


def test_the_commands_are_of_one_mind(filled: StackEnv) -> None:
    """Events, quarantine, failures, account, lag and a dry run count the same as the table itself."""
    items = [item for item in filled.events().values() if item["outcome"]["S"] != "fenced"]
    stored = Counter(item["outcome"]["S"] for item in items)
    listed = rows(filled, "events", "--limit", "1000")
    assert Counter(row["outcome"] for row in listed) == stored
    for outcome in stored:
        assert len(rows(filled, "events", "--outcome", outcome, "--limit", "1000")) == stored[outcome], outcome
    assert len(rows(filled, "quarantine", "list", "--limit", "1000")) == stored["quarantined"]
    assert sum(one["count"] for one in rows(filled, "quarantine", "groups")) == stored["quarantined"]
    failures = rows(filled, "failures")
    kinds = Counter[str]()
    for one in failures:
        kinds[one["kind"]] += one["count"]
    assert kinds == {"quarantined": stored["quarantined"], "given up": 2}
    by_source = [
        one for name in ("payments", "others", "batches", "!") for one in rows(filled, "failures", "--source", name)
    ]
    assert sorted(map(str, by_source)) == sorted(map(str, failures))
    [account] = rows(filled, "account", "--grace", "0s", "--since", "2020-01-01")
    assert [one["request_id"] for one in account["missing"]] == ["-given-up-requ="], account
    assert "given up" in account["missing"][0]["last_seen"], account
    assert account["too_old_to_tell"] == 1
    assert account["quarantined"] == sum(1 for one in listed if one["outcome"] == "quarantined" and one["request_id"])
    for shard in rows(filled, "lag"):
        assert shard.get("behind", 0) in (0, None), shard
    *told, summary = rows(filled, "replay", "--from", "stream", "--dry-run")
    would = {one["event_id"]: one["would"] for one in told}
    assert (would["msg_expired"], would["msg_given_up"]) == ("too old to tell", "would apply")
    assert (summary["would apply"], summary["too old to tell"]) == (1, 1)

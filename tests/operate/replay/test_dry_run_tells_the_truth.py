"""A dry run, then the run: event by event they say the same, whatever the deliveries, the code and the origin are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.support.stack_env import SECRET, StackEnv
from weir.consumers.business import effects
from weir.consumers.business.changes import (
    Change,
    Check,
    Delete,
    Newer,
    Put,
    Update,
    Wait,
    absent,
    at_least,
    exists,
)
from weir.consumers.business.effects import effect
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventRejected
from weir.ingest.sources.events import Event

pytestmark = pytest.mark.engine

FORGED = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
CHANGES = {
    "add": lambda key, n: Update("balances", key, add={"EUR": n}),
    "spend": lambda key, n: Update("balances", key, add={"EUR": -n}, condition=at_least("EUR", n)),
    "open": lambda key, n: Put("balances", key, {"EUR": n}, condition=absent("account")),
    "newer": lambda key, n: Put("balances", key, {"EUR": n, "events": 1}, newer=Newer("version", n)),
    "text": lambda key, n: Update("balances", key, set={"EUR": f"{n}"}),
    "wait": lambda key, n: Update("balances", key, set={"events": n}, condition=exists("EUR"), wait=Wait()),
    "check": lambda key, n: Check("balances", key, exists("version")),
    "close": lambda key, n: Delete("balances", key, condition=exists("EUR") if n % 2 else None),
    "invalid": lambda key, n: Put("balances", {"account": n}, {}),
    "nowhere": lambda key, n: Put("nowhere", key, {}),
}


@pytest.fixture(autouse=True)
def business() -> Iterator[None]:
    """Business code with every way to end."""
    before = dict(effects._registrations)
    for kind, make in CHANGES.items():
        effect("payments", f"t.{kind}")(_effect(make))
    effect("payments", "t.reject")(_reject)
    effect("payments", "t.bug")(_bug)
    yield
    effects._registrations.clear()
    effects._registrations.update(before)
    effects.find.cache_clear()


def _effect(make: Any) -> Any:
    def run(event: Event[Any]) -> list[Change]:
        changes = [make({"account": event.payload["to"]}, event.payload["n"])]
        if event.payload.get("and"):
            changes.append(Update("balances", {"account": event.payload["and"]}, add={"events": 1}))
        return changes

    return run


def _reject(event: Event[Any]) -> list[Change]:
    raise EventRejected("no")


def _bug(event: Event[Any]) -> list[Change]:
    return [event.payload["nothing"]]


def _delivery(stack_env: StackEnv, random: Random, number: int) -> Envelope:
    kind = random.choice([*CHANGES, "add", "add", "open", "wait", "reject", "bug", "unwanted", "later"])
    payload = {"type": f"t.{kind}", "to": f"a{random.randrange(4)}", "n": random.randrange(1, 5)}
    if random.random() < 0.2:
        payload["and"] = "b"
    return stack_env.delivery(
        payload,
        message_id=f"m{random.randrange(max(1, number))}" if random.random() < 0.2 else f"m{number}",
        key=random.choice(["", "", "k1", "k2"]),
        secret=FORGED if random.random() < 0.07 else SECRET,
    )


def _said(stack_env: StackEnv, *words: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run a replay; return what it said of each event, and its sums."""
    lines = [json.loads(line) for line in stack_env.weir("replay", *words, "--json", code=None).splitlines()]
    return [line for line in lines if "would" in line], next(line for line in lines if "read" in line)


def _tables(stack_env: StackEnv) -> dict[str, tuple[str, str]]:
    """Return outcome and writer of every event that is marked, and outcome of every delivery that is held back."""
    return {
        key: (item["outcome"]["S"], item["request_id"]["S"])
        for key, item in stack_env.events().items()
        if item["outcome"]["S"] != "fenced"
    }


def _became(told: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Return the words of a dry run that are true of what became of an event."""
    mark, held = f"payments#{told['event_id']}", f"payments!{told['request_id']}"
    if not told["event_id"]:  # nothing has proven it; it may be one that came before its secret was retired
        return {"would be quarantined"} if held in after else {"already applied"}
    own = after.get(mark, ("", ""))[1] == told["request_id"]
    if held in before and held in after:  # refused before another delivery of its event was applied
        if after[held][0] == "waiting":
            return {"already applied" if mark in before else "would wait"}
        return {"would be quarantined"}
    if mark in before and before[mark][0] != "ignored":
        return {"already applied"} | ({"would be quarantined", "would wait"} if held in after else set())
    if mark in after and own:
        outcome = after[mark][0]
        changed = before.get(mark) != after[mark]
        words = {"applied": "would apply", "ignored": "would ignore"}[outcome]
        return (
            {words if changed else "already applied", "already applied", "would stay ignored"}
            if not changed
            else {words}
        )
    if held in after:
        return {"quarantined": {"would be quarantined"}, "waiting": {"would wait"}}[after[held][0]]
    return {"already applied"} if mark in after else {"nothing"}


@pytest.mark.parametrize("seed", range(8))
def test_a_dry_run_of_the_stream_says_what_the_run_does(stack_env: StackEnv, seed: int) -> None:
    """Some deliveries were consumed before by live traffic, others not; a dry run, then the run."""
    random = Random(seed)
    deliveries = [_delivery(stack_env, random, number) for number in range(60)]
    stack_env.put(*deliveries)
    stack_env.consume(random.choice([0, 15, 40]) or 1)
    before = _tables(stack_env)
    dry, summary = _said(stack_env, "--from", "stream", "--dry-run")
    assert _tables(stack_env) == before
    _, done = _said(stack_env, "--from", "stream", "--to", "consumer")
    after = _tables(stack_env)
    wrong = [(told, _became(told, before, after)) for told in dry]
    wrong = [(told, words) for told, words in wrong if told["would"] not in words]
    about = {told["event_id"] for told, _ in wrong}
    assert not wrong, [told for told in dry if told["event_id"] in about]
    pairs = {
        "would apply": "applied",
        "would ignore": "ignored",
        "would be quarantined": "quarantined",
        "would wait": "waiting",
    }
    assert {done_name: summary.get(dry_name, 0) for dry_name, done_name in pairs.items()} == {
        name: done[name] for name in pairs.values()
    }
    assert summary.get("already applied", 0) == done["duplicate"]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("origin", ["quarantine", "ignored"])
def test_a_dry_run_of_what_was_refused_or_ignored(stack_env: StackEnv, origin: str, seed: int) -> None:
    """The code has changed since: what was refused, or had no code, has its chance."""
    random = Random(100 + seed)
    stack_env.put(*(_delivery(stack_env, random, number) for number in range(60)))
    stack_env.consume()
    for kind in ("reject", "bug", "later"):
        effects._registrations.pop(("payments", f"t.{kind}"), None)
        effect("payments", f"t.{kind}")(_effect(CHANGES[random.choice(["add", "spend", "wait", "text", "nowhere"])]))
    stack_env.put(stack_env.delivery({"type": "t.add", "to": "a0", "n": 100}))
    stack_env.consume()
    before = stack_env.events()
    dry, summary = _said(stack_env, "--from", origin, "--dry-run")
    _, done = _said(stack_env, "--from", origin, "--to", "consumer")
    after = stack_env.events()
    renamed = {
        "would apply": "applied",
        "would ignore": "ignored",
        "would be quarantined": "quarantined",
        "would stay ignored": "stays ignored",
        "already applied": "duplicate",
    }
    wrong = [told for told in dry if told["would"] not in _became_of_held(told, before, after)]
    assert not wrong, wrong
    predicted = Counter({renamed[name]: summary[name] for name in renamed if summary.get(name)})
    assert predicted == Counter({name: done[name] for name in renamed.values() if done.get(name)}), (summary, done)
    assert all(item.get("reason", {}).get("S") for item in after.values() if item["outcome"]["S"] == "quarantined")


def _became_of_held(told: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Return the words of a dry run that are true of what became of a delivery that was quarantined or ignored."""
    mark, held = f"payments#{told['event_id']}", f"payments!{told['request_id']}"
    if held in after:
        return {"would be quarantined"} if after[held]["reason"]["S"] == told["reason"] else {"another reason"}
    is_own = after[mark].get("request_id", {}).get("S") == told["request_id"]
    outcome = after[mark]["outcome"]["S"]
    if is_own and outcome == before.get(mark, {}).get("outcome", {}).get("S"):
        return {"would stay ignored"} if outcome == "ignored" else {"already applied"}
    return {{"applied": "would apply", "ignored": "would ignore"}[outcome]} if is_own else {"already applied"}

"""Every id that a command prints is taken by every command that takes one, and the commands agree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.consumers.business import effects
from weir.consumers.business.changes import Change, Update, exists
from weir.consumers.business.effects import effect
from weir.ingest.errors import EventRejected
from weir.ingest.sources.events import Event

pytestmark = pytest.mark.engine

FORGED = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{15}=")


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

    @effect("payments", "invalid")
    def invalid(event: Event[Any]) -> Iterable[Change]:
        return [Update("nowhere", {"account": "x"}, add={"EUR": 1})]

    yield
    effects._registrations.clear()
    effects._registrations.update(before)
    effects.find.cache_clear()


@pytest.fixture
def filled(stack_env: StackEnv) -> StackEnv:
    """A stack with an event of every outcome and reason that a consumer can give; some ids begin with a minus."""
    twice = stack_env.payment("ann", 5, message_id="msg_twice", request_id="-first-request=")
    stack_env.put(
        twice,
        stack_env.payment("ann", 5, message_id="msg_twice", request_id="-second-reques="),
        stack_env.payment("bob", 1, message_id="-minus"),
        *(stack_env.delivery({"type": kind}, message_id=f"msg_{kind}") for kind in ("refused", "buggy", "conditional")),
        stack_env.delivery({"type": "invalid"}, message_id="msg_invalid", request_id="-invalid-reque="),
        stack_env.delivery({"type": "unknown"}, message_id="msg_ignored"),
        stack_env.payment("carl", 1, secret=FORGED, request_id="-forged-reques="),
        stack_env.delivery(
            {"events": [{"id": "e1", "type": "a"}, {"id": "e2", "type": "b"}]}, source="batches", secret="x"
        ),
        b"not an envelope",
    )
    stack_env.consume()
    return stack_env


def rows(stack_env: StackEnv, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack_env.weir(*words, "--json", code=None).splitlines()]


def ids(value: Any) -> set[str]:
    """Return what of a command's JSON is an id of an event or of a request."""
    if isinstance(value, dict):
        own = {value[name] for name in ("event_id", "request_id", "id") if isinstance(value.get(name), str)}
        return {one for one in own if one} | set().union(*map(ids, value.values()), set())
    return set().union(*map(ids, value)) if isinstance(value, list) else set()


LISTS: list[tuple[str, ...]] = [
    ("events",),
    ("quarantine", "list"),
    ("quarantine", "groups"),
    ("failures", "list"),
    ("account", "--grace", "0s"),
    ("replay", "--from", "stream", "--dry-run", "--diff"),
]


def test_every_id_shows_what_became_of_it(filled: StackEnv) -> None:
    """`weir events ID`, as text, as JSON and as bytes; the outcome is the one that the list has."""
    listed = {row["request_id"]: row for row in rows(filled, "events") if row["request_id"]}
    found = {one for words in LISTS for row in rows(filled, *words) for one in ids(row)}
    found |= {one for words in LISTS for one in REQUEST_ID.findall(filled.weir(*words, code=None))}
    assert {"-first-request=", "-forged-reques=", "-minus", "msg_conditional", "msg_buggy"} <= found
    # What a duplicate's request became of, only the consumer's log knows; nothing here writes one: tests/test_stack.py.
    for one in sorted(found - {"-second-reques="}):
        shown = rows(filled, "events", one)
        assert shown, one
        for item in shown:
            event = item.get("event", item)
            known = listed.get(event.get("request_id"))
            assert known is None or event["outcome"] == known["outcome"], (one, event["outcome"], known)
        assert filled.weir("events", one), one
        assert filled.invoke("events", one, "--body").exit_code == 0, one


def test_what_is_quarantined_is_shown_by_either_id(filled: StackEnv) -> None:
    """By the event's id and by the request's, in `quarantine show` and in `quarantine discard`."""
    quarantined = rows(filled, "quarantine", "list")
    reasons = {row["reason"] for row in quarantined}
    assert {
        "event_rejected",
        "event_failed",
        "condition_failed",
        "change_invalid",
        "signature_mismatch",
        "unreadable",
    } <= reasons
    for row in quarantined:
        for one in filter(None, (row["request_id"], row["event_id"])):
            assert row["reason"] in filled.weir("quarantine", "show", one), one
            assert filled.weir("quarantine", "show", one, "--json")
            assert filled.invoke("quarantine", "show", one, "--body").exit_code == 0
    refused = next(row for row in quarantined if row["reason"] == "event_rejected")
    filled.weir("quarantine", "discard", refused["event_id"], "--reason", "a test")
    assert len(rows(filled, "quarantine", "list")) == len(quarantined) - 1


def test_the_commands_agree(filled: StackEnv) -> None:
    """Events, quarantine, failures and account count the same."""
    stored = rows(filled, "events")
    quarantined = [row for row in stored if row["outcome"] == "quarantined"]
    assert len(quarantined) == len(rows(filled, "quarantine", "list"))
    assert sum(row["count"] for row in rows(filled, "quarantine", "groups")) == len(quarantined)
    [account] = rows(filled, "account", "--grace", "0s")
    assert account["unaccounted"] == 0
    assert account["quarantined"] == sum(1 for row in quarantined if row["request_id"])
    by_group = {row["group"]: row for row in rows(filled, "failures", "list")}
    assert by_group
    for group in by_group:
        assert filled.invoke("failures", "retry", group, "--dry-run").exit_code in {0, 1}, group

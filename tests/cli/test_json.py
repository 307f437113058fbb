"""Standard output under --json, of every command, when there is something to print and when there is nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.commands import commands, options
from tests.support.stack_env import StackEnv

pytestmark = pytest.mark.engine

MINUS = "-x5STq91YMFOM3w="
FORGED = "whsec_" + "QUJD" * 8

# What each command prints lines about, if anything; {group} is a group of failures.
CASES: dict[tuple[str, ...], list[tuple[str, ...]]] = {
    ("events",): [(), ("--limit", "1"), (MINUS,)],
    ("account",): [("--grace", "0s")],
    ("lag",): [("--over", "0")],
    ("failures", "list"): [()],
    ("failures", "retry"): [("{group}", "--dry-run"), ("{group}",)],
    ("quarantine", "groups"): [()],
    ("quarantine", "list"): [()],
    ("quarantine", "show"): [(MINUS,)],
    ("quarantine", "verify"): [()],
    ("quarantine", "discard"): [("--reason", "a test", MINUS)],
    ("items",): [(), ("balances",), ("balances", "a"), ("balances", "--limit", "1")],
    ("effects",): [()],
    ("replay",): [
        ("--from", "stream", "--dry-run"),
        ("--from", "stream", "--dry-run", "--diff"),
        ("--from", "stream", "--to", "consumer"),
        ("--from", "events", "--source", "unknown", "--to", "consumer"),
    ],
    ("rebuild",): [(), ("--keep",), ("--clean",)],
    ("sources", "check"): [()],
    ("sources", "presets"): [(), ("github",)],
    ("secrets", "list"): [()],
    ("cost",): [()],
    ("load", "faults"): [("--list",)],
    ("bench", "memory"): [("--events", "20")],
    ("bench", "republish"): [("--events", "20")],
}
# Commands whose --json other tests read: on a running stack, on LocalStack, and of a load.
ELSEWHERE = {
    ("send",),
    ("listen",),
    ("pause",),
    ("resume",),
    ("deploy",),
    ("doctor",),
    ("destroy",),
    ("synth",),
    ("policies",),
    ("sources", "confirm"),
    ("load", "attack"),
    ("load", "reconcile"),
    ("load", "report"),
    ("load", "figures"),
    ("bench", "consumer"),
}


def lines(text: str) -> list[Any]:
    """Return the values of JSON Lines, one of them for each line. Raises: JSONDecodeError."""
    return [json.loads(line) for line in text.splitlines()]


def test_every_command_is_tried() -> None:
    """Each command with --json is read here or named as read elsewhere."""
    with_json = {words for words, command in commands().items() if "--json" in options(command)}
    assert with_json == set(CASES) | ELSEWHERE


def test_json_is_all_that_is_printed(stack_env: StackEnv) -> None:
    """With events of every outcome, each command prints JSON Lines and nothing else, and at least one."""
    stack_env.put(
        stack_env.payment("a", 5),
        stack_env.delivery({"type": "unknown"}),
        stack_env.payment("b", 1, secret=FORGED, request_id=MINUS),
    )
    stack_env.consume()
    group = lines(stack_env.weir("failures", "--json"))[0]["group"]
    for words, variants in CASES.items():
        for arguments in variants:
            given = [argument.format(group=group) for argument in arguments]
            assert lines(stack_env.weir(*words, *given, "--json", code=None)), (words, arguments)


def test_json_of_nothing_is_nothing_else(stack_env: StackEnv) -> None:
    """Where nothing is stored, what lists prints nothing, and what reports prints one object."""
    listing: list[tuple[str, ...]] = [
        ("events",),
        ("failures",),
        ("quarantine",),
        ("quarantine", "list"),
        ("items", "balances"),
    ]
    for words in listing:
        assert stack_env.weir(*words, "--json") == ""
    reporting = [("account",), ("replay", "--from", "stream", "--dry-run"), ("quarantine", "verify"), ("rebuild",)]
    for words in reporting:
        (report,) = lines(stack_env.weir(*words, "--json"))
        assert isinstance(report, dict)
    assert stack_env.weir("rebuild", "--clean", "--json") == ""


def test_a_dry_run_lists_events_and_then_its_report(stack_env: StackEnv) -> None:
    """Each event of a dry run is an object with what would become of it; with --diff, changes and items, too."""
    stack_env.put(stack_env.payment("a", 5, message_id="m-1"))
    event, report = lines(stack_env.weir("replay", "--from", "stream", "--dry-run", "--json"))
    assert (event["would"], event["event_id"], event["source"]) == ("would apply", "m-1", "payments")
    assert report["would apply"] == 1
    event, difference, report = lines(stack_env.weir("replay", "--from", "stream", "--dry-run", "--diff", "--json"))
    assert event["changes"] == ['update balances {"account": "a"}  ADD EUR +5, events +1']
    assert difference["difference"] == '+ balances {"account": "a"}  EUR=5, events=1'
    assert report["matched"] == 1


def test_every_printed_id_is_an_argument(stack_env: StackEnv) -> None:
    """Ids that `events`, `quarantine` and `failures` print are their arguments, with a minus sign first, too."""
    fenced = stack_env.payment("c", 1, message_id="m-fenced", secret=FORGED)
    mark = {"pk": {"S": "payments#m-fenced"}, "outcome": {"S": "fenced"}, "reason": {"S": "condition_failed"}}
    item = {**mark, "refused": {"SS": [fenced.request_id]}}
    stack_env.dynamodb.put_item(TableName=stack_env.settings.events_table, Item=item)
    stack_env.put(
        stack_env.payment("a", 5, message_id="-m-1", request_id="--5STq91YMFOM3w="),
        stack_env.payment("b", 1, secret=FORGED, request_id=MINUS),
        stack_env.delivery({"type": "payment.succeeded", "data": {"account": "x"}}, message_id="m-bad"),
        fenced,
    )
    stack_env.consume()
    for row in lines(stack_env.weir("events", "--json")):
        for identifier in filter(None, (row["event_id"], row["request_id"], row["pk"])):
            assert row["pk"] in stack_env.weir("events", identifier, "--json")
            assert "history" in stack_env.weir("events", identifier)
            assert stack_env.weir("events", identifier, "--body")
    for row in lines(stack_env.weir("quarantine", "list", "--json")):
        for identifier in filter(None, (row["event_id"], row["request_id"], row["pk"])):
            assert row["pk"] in stack_env.weir("quarantine", "show", identifier, "--json")
            assert row["pk"] in stack_env.weir("quarantine", "show", identifier)
    for group in lines(stack_env.weir("quarantine", "--json")):
        assert stack_env.weir("quarantine", "show", group["example"])
    for failed in lines(stack_env.weir("failures", "--json")):
        assert stack_env.weir("events", failed["example"])
    assert f"payments!{fenced.request_id}" in stack_env.weir("quarantine", "show", "m-fenced")
    assert "discarded" in stack_env.weir("quarantine", "discard", MINUS, "--reason", "a test")

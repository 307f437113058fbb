"""Tables rebuilt from the past: exactly once, compared item by item, swapped if wanted."""

from __future__ import annotations

import gzip
import json
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.stack_env import SECRET, StackEnv, shuffled
from weir.consumers.events_table.mark import mark_key
from weir.infra import secrets
from weir.ingest.envelope import Envelope, encode
from weir.ingest.sources.events import extract
from weir.ingest.sources.sources_file import load
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.preview import Previewer
from weir.operate.rebuild.evidence import Evidence

pytestmark = pytest.mark.engine


def rebuild(stack_env: StackEnv, *arguments: str, code: int = 0) -> dict[str, Any]:
    lines = stack_env.weir("rebuild", "--json", *arguments, code=code).splitlines()
    return json.loads(next(line for line in lines if line.startswith("{")))  # type: ignore[no-any-return]


def fill(stack_env: StackEnv, count: int = 60) -> None:
    payments = [stack_env.payment(f"acct_{n % 5}", n, message_id=f"m-{n}", key=f"acct_{n % 5}") for n in range(count)]
    again = [stack_env.payment(f"acct_{n % 5}", n, message_id=f"m-{n}") for n in range(0, count, 7)]
    stack_env.put(*shuffled([*payments, *again, stack_env.delivery({"type": "other"})], 5))
    stack_env.consume()


def tables_of(stack_env: StackEnv) -> set[str]:
    pages = stack_env.dynamodb.get_paginator("list_tables").paginate()  # the engine has the tables of other tests, too
    return {name for page in pages for name in page["TableNames"] if name.startswith(stack_env.place.stack)}


def test_a_rebuild_of_the_same_code_gives_the_same_tables(stack_env: StackEnv) -> None:
    """Every event once, duplicates not, from the table as from the stream; live tables untouched, fresh ones gone."""
    fill(stack_env)
    before, tables = (stack_env.events(), stack_env.balances()), tables_of(stack_env)
    for origin in ("events", "stream"):
        found = rebuild(stack_env, "--from", origin)
        assert found["tables"]["balances"] == {"same": 5, "moving": 0, "differences": []}, origin
        assert found["report"]["applied"] == 60
    assert (stack_env.events(), stack_env.balances()) == before
    assert tables_of(stack_env) == tables


def test_a_rebuild_needs_no_secret_that_has_been_retired_since(stack_env: StackEnv) -> None:
    """What was proven when it came is applied in a rebuild after its secret is gone; a forgery is not."""
    stack_env.put(stack_env.payment("forger", 1_000_000, secret="whsec_" + "QUJD" * 8))
    fill(stack_env, 20)
    source = stack_env.catalogue["payments"]
    secrets.add(stack_env.place, source, "whsec_" + "WFla" * 8)
    secrets.remove(stack_env.place, source, 1)
    for origin in ("events", "stream"):
        found = rebuild(stack_env, "--from", origin)
        assert found["tables"]["balances"] == {"same": 5, "moving": 0, "differences": []}, origin
    before = stack_env.events()
    said = json.loads(stack_env.weir("replay", "--from", "stream", "--to", "consumer", "--json"))
    assert said["applied"] == 0
    assert stack_env.events() == before


def archive(stack_env: StackEnv, *envelopes: Envelope) -> None:
    content = gzip.compress(b"".join(map(encode, envelopes)))
    day = datetime.fromtimestamp(envelopes[0].arrived_at_ms / 1000, UTC).strftime("%Y/%m/%d/%H")
    key = f"archive/{day}/{uuid.uuid4().hex}"
    stack_env.s3.put_object(Bucket=stack_env.outputs.bucket, Key=key, Body=content)


def test_an_altered_archive_is_not_applied_and_is_named(stack_env: StackEnv) -> None:
    """A line that is not what was proven under its request id is left out, with the secret or without it."""
    kept, altered = stack_env.payment("ann", 3, message_id="m-1"), stack_env.payment("ann", 5, message_id="m-2")
    later = stack_env.payment("ann", 7, message_id="m-3")
    stack_env.put(kept, altered, later)
    stack_env.consume()
    lines = (
        kept,
        replace(altered, body=altered.body.replace(b"5", b"99999999")),
        replace(later, arrived_at_ms=later.arrived_at_ms + 1),
    )
    archive(stack_env, *lines)
    source = stack_env.catalogue["payments"]
    for retired in (False, True):
        if retired:
            secrets.add(stack_env.place, source, "whsec_" + "WFla" * 8)
            secrets.remove(stack_env.place, source, 1)
        found = rebuild(stack_env, "--from", "archive", "--keep", code=1)
        assert (found["report"]["applied"], found["report"]["altered"]) == (1, 2)
        assert found["report"]["reasons"] == {"altered: arrival time": 1, "altered: body": 1}
        stack_env.weir("rebuild", "--clean")
    said = stack_env.weir("rebuild", "--from", "archive", code=1)
    assert f"payments, request {altered.request_id}: not the body that was proven" in said


def test_what_a_retired_secret_proved_is_read_as_it_was_proven(stack_env: StackEnv) -> None:
    """Neither a header that was added to the archive nor one that only another scheme signs gives id, type or path."""
    (stack_env.home / "sources.yaml").write_text("clerk: {preset: svix}\n")
    env = stack_env
    env.catalogue = load(env.home / "sources.yaml")
    secrets.add(env.place, env.catalogue["clerk"], SECRET)
    signed = env.delivery({"type": "other"}, source="clerk", message_id="msg_true")
    # The same secret signs both families alike, so it was sent under the names of the second.
    names = {name: name.replace("svix-", "webhook-") for name, _ in signed.headers}
    sent = replace(signed, headers=tuple((names[name], value) for name, value in signed.headers))
    forged = (*sent.headers, ("svix-id", "msg_forged"), ("X-Added", "1"))
    env.put(replace(sent, headers=forged))
    env.consume()
    assert set(env.events()) == {"clerk#msg_true"}
    secrets.add(env.place, env.catalogue["clerk"], "whsec_" + "WFla" * 8)
    secrets.remove(env.place, env.catalogue["clerk"], 1)
    variants = {
        "as it came": (replace(sent, headers=forged), ("clerk#msg_true", "ignored")),
        "header added": (replace(sent, headers=(*forged, ("svix-type", "x"))), ("clerk#msg_true", "ignored")),
        "header doubled": (replace(sent, headers=(("Webhook-Id", "msg_2"), *forged)), None),
        "path": (replace(sent, headers=forged, path="/v1/clerk/other"), None),
        "query": (replace(sent, headers=forged, query={"a": "b"}), None),
        "key": (replace(sent, headers=forged, key="other"), None),
    }
    for name, (line, expected) in variants.items():
        evidence = Evidence(env.table(), env.catalogue)
        delivery = Delivery(encode(line), "archive", "1")
        evidence.read([Previewer(env.catalogue).preview(delivery)])
        verdict = evidence.verdict(line)
        assert (verdict is not None) == (expected is not None), name
        if verdict is not None and expected is not None:
            (event,) = extract(env.catalogue["clerk"], verdict.proven(line))
            assert mark_key(event.source, event.event_id) == expected[0], name
            assert {"svix-id", "svix-type"}.isdisjoint(header for header, _ in event.envelope.headers), name
            assert verdict.scheme == "standard-webhooks"


def test_differences_are_named_item_by_item_and_swapped(stack_env: StackEnv) -> None:
    """A wrong balance, a lost account and one that no event explains are kept apart; a swap corrects the first two."""
    fill(stack_env)
    balances, table = stack_env.balances(), stack_env.outputs.table("balances")
    stack_env.dynamodb.update_item(
        TableName=table,
        Key={"account": {"S": "acct_1"}},
        UpdateExpression="ADD EUR :n",
        ExpressionAttributeValues={":n": {"N": "5"}},
    )
    stack_env.dynamodb.delete_item(TableName=table, Key={"account": {"S": "acct_2"}})
    stack_env.dynamodb.put_item(TableName=table, Item={"account": {"S": "stray"}, "EUR": {"N": "1"}})
    found = rebuild(stack_env, code=1)["tables"]["balances"]
    kinds = {
        one["key"]["account"]["S"]: (one["present"] is None, one["rebuilt"] is None) for one in found["differences"]
    }
    assert kinds == {"acct_1": (False, False), "acct_2": (True, False), "stray": (False, True)}
    assert found["same"] == 3
    text = stack_env.weir("rebuild", "balances", code=1)
    wrong = balances["acct_1"]["EUR"]
    assert f'~ balances {{"account": "acct_1"}}  EUR {wrong + 5} -> {wrong}' in text
    threading.Thread(target=_supervise, args=(stack_env,), daemon=True).start()
    rebuild(stack_env, "--swap")
    assert stack_env.balances() == {**balances, "stray": {"EUR": 1}}
    (backup,) = (stack_env.home / "replays").glob("swap-*.jsonl")
    kept = [json.loads(line)["key"]["account"]["S"] for line in backup.read_text().splitlines()]
    assert sorted(kept) == ["acct_1", "acct_2"]


def _supervise(stack_env: StackEnv) -> None:
    """Answer pause and resume as the supervisor does."""
    import time

    pause, running = stack_env.home / "paused", stack_env.home / "consuming"
    for _ in range(600):
        if pause.exists():
            running.unlink(missing_ok=True)
        else:
            running.touch()
        time.sleep(0.05)


def test_live_traffic_goes_on_during_a_rebuild_and_is_no_difference(stack_env: StackEnv) -> None:
    """Events that are applied while the past is read are caught up with before anything is called different."""
    fill(stack_env, 40)
    over = threading.Event()

    def live() -> None:
        number = 0
        while not over.wait(0.3):
            stack_env.put(stack_env.payment(f"acct_{number % 5}", 1, message_id=f"live-{number}"))
            stack_env.consume()
            number += 1

    beside = threading.Thread(target=live)
    beside.start()
    try:
        found = rebuild(stack_env)
    finally:
        over.set()
        beside.join()
    assert found["tables"]["balances"]["differences"] == []
    assert found["tables"]["balances"]["same"] + found["tables"]["balances"]["moving"] == 5
    assert found["tables"]["balances"]["same"] >= 3


def test_an_unknown_table_is_refused_before_anything_is_made(stack_env: StackEnv) -> None:
    """The message names the tables that there are."""
    tables = tables_of(stack_env)
    stack_env.weir("rebuild", "nosuch", code=2)
    assert tables_of(stack_env) == tables


def test_what_a_killed_rebuild_left_is_told_and_cleaned_up(stack_env: StackEnv) -> None:
    """Fresh tables of a rebuild that ended without a word are named by the next one, and gone after --clean."""
    fill(stack_env, 10)
    present = tables_of(stack_env)
    stack_env.weir("rebuild", "--keep")
    left = tables_of(stack_env) - present
    assert len(left) == 2
    said = stack_env.weir("rebuild")
    assert all(name in said for name in left)
    stack_env.weir("rebuild", "--clean")
    assert tables_of(stack_env) == present
    stack_env.weir("rebuild", "--delete", code=2)

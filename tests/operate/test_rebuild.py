"""Tables rebuilt from the past: exactly once, compared item by item, swapped if wanted."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.support.stack_env import Stage, shuffled
from weir.infra import secrets

pytestmark = pytest.mark.engine


def rebuild(stage: Stage, *arguments: str, code: int = 0) -> dict[str, Any]:
    lines = stage.weir("rebuild", "--json", *arguments, code=code).splitlines()
    return json.loads(next(line for line in lines if line.startswith("{")))  # type: ignore[no-any-return]


def fill(stage: Stage, count: int = 60) -> None:
    payments = [stage.payment(f"acct_{n % 5}", n, message_id=f"m-{n}", key=f"acct_{n % 5}") for n in range(count)]
    again = [stage.payment(f"acct_{n % 5}", n, message_id=f"m-{n}") for n in range(0, count, 7)]
    stage.put(*shuffled([*payments, *again, stage.delivery({"type": "other"})], 5))
    stage.consume()


def tables_of(stage: Stage) -> set[str]:
    return {name for name in stage.dynamodb.list_tables()["TableNames"] if name.startswith(stage.place.stack)}


def test_a_rebuild_of_the_same_code_gives_the_same_tables(stage: Stage) -> None:
    """Every event once, duplicates not, from the table as from the stream; live tables untouched, fresh ones gone."""
    fill(stage)
    before, tables = (stage.events(), stage.balances()), tables_of(stage)
    for origin in ("events", "stream"):
        found = rebuild(stage, "--from", origin)
        assert found["tables"]["balances"] == {"same": 5, "moving": 0, "differences": []}, origin
        assert found["report"]["applied"] == 60
    assert (stage.events(), stage.balances()) == before
    assert tables_of(stage) == tables


def test_a_rebuild_needs_no_secret_that_has_been_retired_since(stage: Stage) -> None:
    """What was proven when it came is applied in a rebuild after its secret is gone; a forgery is not."""
    stage.put(stage.payment("forger", 1_000_000, secret="whsec_" + "QUJD" * 8))
    fill(stage, 20)
    source = stage.catalogue["payments"]
    secrets.add(stage.place, source, "whsec_" + "WFla" * 8)
    secrets.remove(stage.place, source, 1)
    for origin in ("events", "stream"):
        found = rebuild(stage, "--from", origin)
        assert found["tables"]["balances"] == {"same": 5, "moving": 0, "differences": []}, origin
    before = stage.events()
    said = json.loads(stage.weir("replay", "--from", "stream", "--to", "consumer", "--json"))
    assert said["applied"] == 0
    assert stage.events() == before


def test_differences_are_named_item_by_item_and_swapped(stage: Stage) -> None:
    """A wrong balance, a lost account and one that no event explains are kept apart; a swap corrects the first two."""
    fill(stage)
    balances, table = stage.balances(), stage.outputs.balances_table
    stage.dynamodb.update_item(
        TableName=table,
        Key={"account": {"S": "acct_1"}},
        UpdateExpression="ADD EUR :n",
        ExpressionAttributeValues={":n": {"N": "5"}},
    )
    stage.dynamodb.delete_item(TableName=table, Key={"account": {"S": "acct_2"}})
    stage.dynamodb.put_item(TableName=table, Item={"account": {"S": "stray"}, "EUR": {"N": "1"}})
    found = rebuild(stage, code=1)["tables"]["balances"]
    kinds = {
        one["key"]["account"]["S"]: (one["present"] is None, one["rebuilt"] is None) for one in found["differences"]
    }
    assert kinds == {"acct_1": (False, False), "acct_2": (True, False), "stray": (False, True)}
    assert found["same"] == 3
    text = stage.weir("rebuild", "balances", code=1)
    wrong = balances["acct_1"]["EUR"]
    assert f'~ balances {{"account": "acct_1"}}  EUR {wrong + 5} -> {wrong}' in text
    threading.Thread(target=_supervise, args=(stage,), daemon=True).start()
    rebuild(stage, "--swap")
    assert stage.balances() == {**balances, "stray": {"EUR": 1}}
    (backup,) = (stage.home / "replays").glob("swap-*.jsonl")
    kept = [json.loads(line)["key"]["account"]["S"] for line in backup.read_text().splitlines()]
    assert sorted(kept) == ["acct_1", "acct_2"]


def _supervise(stage: Stage) -> None:
    """Answer pause and resume as the supervisor does."""
    import time

    pause, running = stage.home / "paused", stage.home / "consuming"
    for _ in range(600):
        if pause.exists():
            running.unlink(missing_ok=True)
        else:
            running.touch()
        time.sleep(0.05)


def test_live_traffic_goes_on_during_a_rebuild_and_is_no_difference(stage: Stage) -> None:
    """Events that are applied while the past is read are caught up with before anything is called different."""
    fill(stage, 40)
    over = threading.Event()

    def live() -> None:
        number = 0
        while not over.wait(0.3):
            stage.put(stage.payment(f"acct_{number % 5}", 1, message_id=f"live-{number}"))
            stage.consume()
            number += 1

    beside = threading.Thread(target=live)
    beside.start()
    try:
        found = rebuild(stage)
    finally:
        over.set()
        beside.join()
    assert found["tables"]["balances"]["differences"] == []
    assert found["tables"]["balances"]["same"] + found["tables"]["balances"]["moving"] == 5
    assert found["tables"]["balances"]["same"] >= 3


def test_an_unknown_table_is_refused_before_anything_is_made(stage: Stage) -> None:
    """The message names the tables that there are."""
    tables = tables_of(stage)
    stage.weir("rebuild", "nosuch", code=2)
    assert tables_of(stage) == tables


def test_what_a_killed_rebuild_left_is_told_and_cleaned_up(stage: Stage) -> None:
    """Fresh tables of a rebuild that ended without a word are named by the next one, and gone after --clean."""
    fill(stage, 10)
    present = tables_of(stage)
    stage.weir("rebuild", "--keep")
    left = tables_of(stage) - present
    assert len(left) == 2
    said = stage.weir("rebuild")
    assert all(name in said for name in left)
    stage.weir("rebuild", "--clean")
    assert tables_of(stage) == present
    stage.weir("rebuild", "--delete", code=2)

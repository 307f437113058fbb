"""docs/restore.md, done: tables go back to an earlier moment, and what came after it is brought in once.

The drill of the page on a stack as a user runs it; and with tables that are restored under other names, as DynamoDB
does, from the archive, with a seam that is torn.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.operate.test_rebuild import _supervise
from tests.support.running import Running, running
from tests.support.stack_env import StackEnv
from weir.infra import shapes
from weir.infra.place import STATE_FILE
from weir.infra.stored import TABLE, Stored
from weir.ingest.envelope import Envelope, encode

pytestmark = pytest.mark.engine
PAGE = Path(__file__).parents[2] / "docs" / "restore.md"
RATES = re.compile(r"^(\w[\w ]*?) +(\d[\d,]*)$", re.MULTILINE)


def counts(text: str) -> dict[str, int]:
    """Return the numbers of an account by their words."""
    return {name: int(number.replace(",", "")) for name, number in RATES.findall(text)}


def lines_of_the_drill() -> list[str]:
    """Return the commands of the page's drill."""
    drill = PAGE.read_text(encoding="utf-8").partition("## The drill on your machine")[2].partition("```sh\n")[2]
    return [line.partition("  #")[0].strip() for line in drill.partition("```")[0].splitlines()]


def test_the_drill_of_the_page(tmp_path: Path) -> None:
    """The tables go back, the account names what they lack, a replay from the stream applies that, each event once."""
    commands = [line.removeprefix(".venv/bin/") for line in lines_of_the_drill() if not line.startswith("#")]
    assert commands[:3] == ["make run", "weir send payments", "cp -r .weir/store .weir-restore-point"]
    home, sessions = tmp_path / "home", commands.count("make run")
    assert sessions == 3
    with running(home) as stack:
        sent(stack, "send payments")
    shutil.copytree(home / "store", tmp_path / "restore-point")
    with running(home) as stack:
        sent(stack, "send payments")
        sent(stack, "send github")
        before, two = stack.weir("items", "balances"), counts(stack.weir("account"))
        assert (two["acknowledged"], two["applied"], two["ignored"], two["unaccounted"]) == (3, 2, 1, 0)
    (home / "store").rename(tmp_path / "damaged")
    shutil.copytree(tmp_path / "restore-point", home / "store")
    with running(home) as stack:
        assert stack.weir("items", "balances") != before
        lost = stack.call("account")
        assert (lost.returncode, counts(lost.stdout.decode())["unaccounted"]) == (1, 2)
        assert lost.stdout.decode().count("last seen in the stream") == 2
        replay = next(line for line in commands if line.startswith("weir replay"))
        stack.weir(*replay.split()[1:])
        assert counts(stack.weir("account")) == two
        assert stack.weir("items", "balances") == before
        assert "balances: 1 items the same, 0 different" in stack.weir("rebuild")
        again = stack.weir("replay", "--from", "stream", "--to", "consumer")
        assert counts(again)["duplicate"] == 3


def sent(stack: Running, command: str) -> None:
    """Send, and wait for what becomes of it, as the command does."""
    assert command in " ".join(lines_of_the_drill())
    said = stack.weir(*command.split())
    assert "200" in said
    assert "applied" in said or "ignored" in said


# ---------------------------------------------------------------------------------------------- under other names


def restored(stack_env: StackEnv, table: str) -> str:
    """Make a table of another name with the items that one has now."""
    name, kept = f"{table}-{uuid.uuid4().hex[:6]}", ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    real = shapes.shape(stack_env.place, Stored(TABLE, table))
    shape: Any = {part: real[part] for part in kept if part in real}
    stack_env.dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **shape)
    for item in stack_env.scan(table):
        stack_env.dynamodb.put_item(TableName=name, Item=item)
    return name


def adopt(stack_env: StackEnv, events: str, balances: str) -> None:
    """Let the stack have these tables, as its outputs say after an adoption."""
    stack_env.outputs = replace(stack_env.outputs, events_table=events, tables=json.dumps({"balances": balances}))
    state = json.loads((stack_env.home / STATE_FILE).read_text())
    (stack_env.home / STATE_FILE).write_text(json.dumps({**state, "outputs": stack_env.outputs.as_dict()}))


def archive(stack_env: StackEnv, *envelopes: Envelope) -> None:
    hour = datetime.fromtimestamp(envelopes[0].arrived_at_ms / 1000, UTC).strftime("%Y/%m/%d/%H")
    content = gzip.compress(b"".join(map(encode, envelopes)))
    stack_env.s3.put_object(Bucket=stack_env.outputs.bucket, Key=f"archive/{hour}/{uuid.uuid4().hex}", Body=content)


def account(stack_env: StackEnv, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack_env.weir("account", "--json", code=code))
    return found


def replayed(stack_env: StackEnv, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack_env.weir("replay", *more, "--to", "consumer", "--json"))
    return found


def test_what_came_after_the_restore_is_applied_from_the_archive_once(stack_env: StackEnv) -> None:
    """Also what was repeated across the moment; a second replay changes nothing."""
    early = [stack_env.payment(f"acct_{n % 3}", 100, message_id=f"m-{n}") for n in range(6)]
    late = [stack_env.payment(f"acct_{n % 3}", 10, message_id=f"m-{n}") for n in range(6, 12)]
    again = [stack_env.payment("acct_0", 100, message_id="m-0"), stack_env.payment("acct_0", 10, message_id="m-6")]
    stack_env.put(*early)
    stack_env.consume()
    tables = [restored(stack_env, one) for one in (stack_env.outputs.events_table, stack_env.outputs.table("balances"))]
    stack_env.put(*late, *again)
    stack_env.consume()
    archive(stack_env, *early, *late, *again)
    before, whole = stack_env.balances(), account(stack_env)
    assert (whole["applied"], whole["duplicate"], whole["unaccounted"]) == (12, 2, 0)
    adopt(stack_env, *tables)
    assert len(account(stack_env, code=1)["missing"]) == 7  # the repeat of what is restored is a duplicate of it
    first = replayed(stack_env, "--from", "archive", "--since", "1d")
    assert (first["read"], first["applied"], first["duplicate"]) == (14, 6, 8)
    assert stack_env.balances() == before
    now = account(stack_env)
    assert {name: now[name] for name in ("applied", "duplicate", "unaccounted")} == {
        name: whole[name] for name in ("applied", "duplicate", "unaccounted")
    }
    assert replayed(stack_env, "--from", "archive")["applied"] == 0
    assert stack_env.balances() == before


def test_a_torn_seam_is_found_by_a_rebuild_and_by_nothing_else(stack_env: StackEnv) -> None:
    """A mark without its effect and an effect without its mark: the account is even, the rebuild names both items."""
    sent = [stack_env.payment(f"acct_{n}", 100, message_id=f"m-{n}") for n in range(4)]
    stack_env.put(*sent)
    stack_env.consume()
    archive(stack_env, *sent)
    whole = stack_env.balances()
    events, balances = (
        restored(stack_env, one) for one in (stack_env.outputs.events_table, stack_env.outputs.table("balances"))
    )
    marks = {item["event_id"]["S"]: item["pk"] for item in stack_env.scan(events)}
    stack_env.dynamodb.delete_item(TableName=balances, Key={"account": {"S": "acct_0"}})  # its mark is there
    stack_env.dynamodb.delete_item(TableName=events, Key={"pk": marks["m-1"]})  # its effect is there
    adopt(stack_env, events, balances)
    replayed(stack_env, "--from", "archive")
    assert account(stack_env)["unaccounted"] == 0
    assert (stack_env.balances().get("acct_0"), stack_env.balances()["acct_1"]["EUR"]) == (None, 200)
    differing = json.loads(stack_env.weir("rebuild", "--from", "archive", "--json", code=1).splitlines()[-1])
    keys = [one["key"]["account"]["S"] for one in differing["tables"]["balances"]["differences"]]
    assert sorted(keys) == ["acct_0", "acct_1"]
    threading.Thread(target=_supervise, args=(stack_env,), daemon=True).start()
    stack_env.weir("rebuild", "--from", "archive", "--swap")
    assert stack_env.balances() == whole

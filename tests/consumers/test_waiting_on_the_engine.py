"""Events that wait, on the engine: listed, accounted for, tried when they are due, given up with their reason."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from secrets import token_urlsafe
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.consumers.business import effects
from weir.consumers.business.changes import Change, Update, Wait, absent, exists
from weir.consumers.business.effects import effect
from weir.consumers.events_table.port import StoreLayout
from weir.consumers.events_table.store import DynamoStore, client_config
from weir.consumers.waiting.retry import WaitingRun
from weir.infra import secrets
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventRejected
from weir.ingest.sources.events import Event
from weir.operate.replay.targets.in_process import make_judge

pytestmark = pytest.mark.engine

OPEN, CREDIT = "account.opened", "account.credited"


@pytest.fixture(autouse=True)
def business(stack_env: StackEnv) -> Iterator[None]:
    """Give accounts business code: a credit waits for its account."""
    known = dict(effects._registrations)
    effect("payments", OPEN)(opened)
    effect("payments", CREDIT)(credited)
    yield
    effects._registrations.clear()
    effects._registrations.update(known)
    effects.find.cache_clear()


def opened(event: Event[Any]) -> list[Change]:
    return [Update("balances", {"account": event.payload["to"]}, set={"EUR": 0}, condition=absent("account"))]


def credited(event: Event[Any]) -> list[Change]:
    if event.payload.get("reject"):
        raise EventRejected("Not any more.")
    change = {"EUR": event.payload["cents"]}
    wait = Wait(for_s=event.payload.get("for_s", 600), attempts=event.payload.get("attempts", 50))
    return [Update("balances", {"account": event.payload["to"]}, add=change, condition=exists("account"), wait=wait)]


def credit(stack_env: StackEnv, to: str, cents: int, **options: Any) -> Envelope:
    more = {name: options.pop(name) for name in ("for_s", "attempts", "filler") if name in options}
    return stack_env.delivery({"type": CREDIT, "to": to, "cents": cents, **more}, **options)


def account(stack_env: StackEnv, name: str) -> Envelope:
    return stack_env.delivery({"type": OPEN, "to": name})


@dataclass
class Clock:
    """The time of the tries, moved by hand; the store's own time goes on."""

    ahead_s: int = 0
    log: StringIO = field(default_factory=StringIO)

    def now_ms(self) -> int:
        return round(time.time() * 1000) + self.ahead_s * 1000


def try_waiting(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch, *, after_s: int) -> dict[str, int]:
    """Run what the schedule starts, so many seconds from now; return what became of how many."""
    clock = Clock(after_s)
    monkeypatch.setattr("weir.consumers.waiting.retry._now_ms", clock.now_ms)
    settings = stack_env.settings._replace(stack=stack_env.place.stack)
    run = WaitingRun(
        settings,
        make_judge(stack_env.catalogue, stack_env.place.client, settings),
        DynamoStore(
            stack_env.place.client_with("dynamodb", client_config(4)),
            StoreLayout(settings.events_table, settings.tables, has_bucket=True),
            bucket=settings.payload_bucket,
            s3=lambda: stack_env.s3,
        ),
        dynamodb=stack_env.dynamodb,
        s3=stack_env.s3,
        stream=clock.log,
    )
    return run.run(invocation="i", left_s=lambda: 60.0)


def outcomes(stack_env: StackEnv) -> dict[str, str]:
    """Return outcome and reason of each event by its request id, or its own if it is marked."""
    items = stack_env.events().values()
    told = {item["pk"]["S"]: (item["outcome"]["S"], item.get("reason", {}).get("S", "")) for item in items}
    return {key: " ".join(filter(None, one)) for key, one in told.items() if one[0] != "fenced"}


def test_a_credit_before_its_account_is_applied_after_it(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed, shown and accounted for while it waits; then it is applied once."""
    late = credit(stack_env, "ann", 5, message_id="late", key="ann")
    stack_env.put(late, stack_env.payment("bob", 7, key="ann"))
    stack_env.consume()
    assert stack_env.balances()["bob"]["EUR"] == 7  # the same key, and not held up
    (row,) = [json.loads(line) for line in stack_env.weir("events", "--outcome", "waiting", "--json").splitlines()]
    assert (row["event_id"], row["outcome"], row["reason"], row["attempts"]) == ("late", "waiting", "not_yet", 1)
    assert row["due_at"] is not None
    assert row["waits_until"] is not None
    for name in ("late", late.request_id):
        said = stack_env.weir("events", name)
        assert "waits_until" in said
        assert "balances" in said
    found = json.loads(stack_env.weir("account", "--json", "--grace", "1s"))
    assert (found["waiting"], found["applied"], found["unaccounted"]) == (1, 1, 0)
    assert try_waiting(stack_env, monkeypatch, after_s=0) == {}  # it is not due
    assert try_waiting(stack_env, monkeypatch, after_s=31) == {"waiting": 1}
    stack_env.put(account(stack_env, "ann"))
    stack_env.consume()
    assert try_waiting(stack_env, monkeypatch, after_s=40) == {}  # its pause has doubled
    assert try_waiting(stack_env, monkeypatch, after_s=200) == {"applied": 1}
    assert try_waiting(stack_env, monkeypatch, after_s=2000) == {}
    assert stack_env.balances()["ann"]["EUR"] == 5
    item = stack_env.events()["payments#late"]
    assert (item["outcome"]["S"], item["attempts"]["N"], "refused" in item) == ("applied", "3", False)
    found = json.loads(stack_env.weir("account", "--json", "--grace", "1s"))
    assert (found["waiting"], found["applied"], found["unaccounted"]) == (0, 3, 0)


def test_the_time_is_over(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """By time or by attempts: quarantined as not_yet, in the index, and applied when it is verified again."""
    stack_env.put(credit(stack_env, "ann", 5, for_s=60), credit(stack_env, "bob", 6, attempts=2))
    stack_env.consume()
    assert try_waiting(stack_env, monkeypatch, after_s=31) == {"waiting": 1, "quarantined": 1}
    assert try_waiting(stack_env, monkeypatch, after_s=62) == {"quarantined": 1}
    assert set(outcomes(stack_env).values()) == {"quarantined not_yet"}
    said = stack_env.weir("quarantine", "groups")
    assert "2  not_yet" in " ".join(said.split()) or "2 not_yet" in " ".join(said.split())
    stack_env.put(account(stack_env, "ann"))
    stack_env.consume()
    report = json.loads(stack_env.weir("quarantine", "verify", "--json"))
    assert (report["applied"], report["quarantined"]) == (1, 1)
    assert stack_env.balances() == {"ann": {"EUR": 5}}
    assert sorted(outcomes(stack_env).values()) == ["applied", "applied", "quarantined not_yet"]


def test_a_secret_that_was_retired_and_a_body_in_the_bucket(
    stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was proven when it came stays proven while it waits, wherever its bytes are."""
    large = credit(stack_env, "ann", 5, filler=token_urlsafe(400_000))
    stack_env.put(large)
    stack_env.consume()
    (item,) = [one for one in stack_env.events().values() if one["outcome"]["S"] == "waiting"]
    assert "payload_s3" in item
    secrets.add(stack_env.place, stack_env.catalogue["payments"], "whsec_" + "QUJD" * 8)
    secrets.remove(stack_env.place, stack_env.catalogue["payments"], 1)
    stack_env.put(account_by(stack_env, "ann"))
    stack_env.consume()
    assert try_waiting(stack_env, monkeypatch, after_s=31) == {"applied": 1}
    assert stack_env.balances()["ann"]["EUR"] == 5


def account_by(stack_env: StackEnv, name: str) -> Envelope:
    return stack_env.delivery({"type": OPEN, "to": name}, secret="whsec_" + "QUJD" * 8)


def test_another_delivery_that_was_applied_meanwhile(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider sent it again after its account was open: the first delivery is a duplicate, and accounted for."""
    stack_env.put(credit(stack_env, "ann", 5, message_id="one"))
    stack_env.consume()
    stack_env.put(account(stack_env, "ann"))
    stack_env.consume()
    stack_env.put(credit(stack_env, "ann", 5, message_id="one"))
    stack_env.consume()
    assert try_waiting(stack_env, monkeypatch, after_s=31) == {"duplicate": 1}
    assert stack_env.balances()["ann"]["EUR"] == 5
    found = json.loads(stack_env.weir("account", "--json", "--grace", "1s"))
    assert (found["applied"], found["duplicate"], found["waiting"], found["unaccounted"]) == (2, 1, 0, 0)


def test_business_code_that_changed_its_mind(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused by today's code is quarantined with that reason; what it does not want is ignored."""
    stack_env.put(credit(stack_env, "ann", 5))
    stack_env.consume()
    effects._registrations.pop(("payments", CREDIT))

    def refuse(_: Event[Any]) -> list[Change]:
        raise EventRejected("Not any more.")

    effect("payments", CREDIT)(refuse)
    assert try_waiting(stack_env, monkeypatch, after_s=31) == {"quarantined": 1}
    assert set(outcomes(stack_env).values()) == {"quarantined event_rejected"}
    stack_env.put(account(stack_env, "ann"))
    stack_env.consume()


def test_a_source_that_is_gone_quarantines_what_waits(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to judge it by."""
    stack_env.put(credit(stack_env, "ann", 5))
    stack_env.consume()
    stack_env.catalogue = {name: one for name, one in stack_env.catalogue.items() if name != "payments"}  # type: ignore[assignment]
    assert try_waiting(stack_env, monkeypatch, after_s=31) == {"quarantined": 1}
    assert set(outcomes(stack_env).values()) == {"quarantined source_unknown"}


def test_many_wait_and_each_is_tried_once(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a batch of the run, and more than a part of the index."""
    stack_env.put(*(credit(stack_env, f"acct_{n % 3}", 1) for n in range(230)))
    stack_env.consume()
    stack_env.put(account(stack_env, "acct_0"), account(stack_env, "acct_1"))
    stack_env.consume()
    assert try_waiting(stack_env, monkeypatch, after_s=31) == {"applied": 154, "waiting": 76}
    assert {name: one["EUR"] for name, one in stack_env.balances().items()} == {"acct_0": 77, "acct_1": 77}


def test_a_dry_run_says_what_would_wait(stack_env: StackEnv) -> None:
    """As the real replay does."""
    stack_env.put(credit(stack_env, "ann", 5))
    said = stack_env.weir("replay", "--from", "stream", "--dry-run", "--diff")
    assert "would wait" in said
    done = json.loads(stack_env.weir("replay", "--from", "stream", "--to", "consumer", "--json").splitlines()[-1])
    assert done["waiting"] == 1
    said = stack_env.weir("replay", "--from", "stream", "--dry-run")
    assert "would wait" in said


def test_a_rebuild_applies_what_waited(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order of arrival the credit comes first, as it did then."""
    stack_env.put(credit(stack_env, "ann", 5))
    stack_env.consume()
    stack_env.put(account(stack_env, "ann"))
    stack_env.consume()
    try_waiting(stack_env, monkeypatch, after_s=31)
    for origin in ("events", "stream"):
        lines = stack_env.weir("rebuild", "--json", "--from", origin).splitlines()
        found = json.loads(next(line for line in lines if line.startswith("{")))
        assert found["tables"]["balances"] == {"same": 1, "moving": 0, "differences": []}, origin


def test_nothing_is_swapped_while_an_event_waits(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its schedule may apply it in the middle of the swap, which would write over that."""
    monkeypatch.setattr("weir.infra.control.resume", lambda _: None)  # nothing polls here that could go on
    stack_env.put(credit(stack_env, "ann", 5), stack_env.payment("bob", 7))
    stack_env.consume()
    before = stack_env.balances()
    done = stack_env.invoke("rebuild", "--swap")
    assert "weir events --outcome waiting" in done.stderr
    assert stack_env.balances() == before


def test_an_event_that_cannot_be_read_holds_up_no_other(stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are gone from the bucket: it waits on, and the others are tried."""
    stack_env.put(credit(stack_env, "ann", 5, filler=token_urlsafe(400_000)), credit(stack_env, "ann", 1))
    stack_env.consume()
    (item,) = [one for one in stack_env.events().values() if "payload_s3" in one]
    stack_env.s3.delete_object(Bucket=stack_env.outputs.bucket, Key=item["payload_s3"]["S"])
    stack_env.put(account(stack_env, "ann"))
    stack_env.consume()
    assert try_waiting(stack_env, monkeypatch, after_s=31) == {"applied": 1}
    assert stack_env.balances()["ann"]["EUR"] == 1
    assert sorted(outcomes(stack_env).values()) == ["applied", "applied", "waiting not_yet"]

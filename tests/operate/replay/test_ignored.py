"""What no business code wanted is applied once code is there: each once, in order, and never in the place of a mark."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.consumers.business import effects
from weir.consumers.business.changes import Change, Put, Update, absent
from weir.consumers.business.effects import effect
from weir.ingest.errors import EventRejected
from weir.ingest.sources.events import Event

pytestmark = pytest.mark.engine

REPLAY = ("replay", "--from", "ignored", "--to", "consumer", "--json")


@pytest.fixture(autouse=True)
def own_effects() -> Iterator[None]:
    before = dict(effects._registrations)
    yield
    effects._registrations.clear()
    effects._registrations.update(before)
    effects.find.cache_clear()


def register(run: Callable[[Event[Any]], Iterable[Change]], kind: str = "order.placed") -> None:
    """Give the events of a type business code, as a deployment does."""
    effect("payments", kind)(run)


def credit(event: Event[Any]) -> list[Change]:
    return [Update("balances", {"account": event.payload["to"]}, add={"EUR": event.payload["cents"], "events": 1})]


def order(stack_env: StackEnv, to: str, cents: int, **options: Any) -> Any:
    return stack_env.delivery({"type": "order.placed", "to": to, "cents": cents}, **options)


def counts(stack_env: StackEnv) -> dict[str, int]:
    """Replay the ignored and return how many events each thing happened to."""
    found = json.loads(stack_env.weir(*REPLAY).splitlines()[-1])
    kinds = found.keys() - {"read", "matched", "reasons"}
    return {kind: found[kind] for kind in kinds if found[kind]}


def outcomes(stack_env: StackEnv) -> list[str]:
    return sorted(item["outcome"]["S"] for item in stack_env.events().values())


def test_what_was_ignored_is_applied_once(stack_env: StackEnv) -> None:
    """With code for it; without it stays; a second time there is nothing to do. The bytes are kept."""
    stack_env.put(*(order(stack_env, "ann", cents) for cents in (1, 2, 3)), stack_env.delivery({"type": "other"}))
    stack_env.consume()
    assert outcomes(stack_env) == ["ignored"] * 4
    assert counts(stack_env) == {"stays ignored": 4}
    register(credit)
    before = stack_env.events()
    assert counts(stack_env) == {"applied": 3, "stays ignored": 1}
    assert stack_env.balances() == {"ann": {"EUR": 6, "events": 3}}
    assert outcomes(stack_env) == ["applied"] * 3 + ["ignored"]
    after = stack_env.events()
    assert {key: item["envelope"] for key, item in after.items()} == {
        key: item["envelope"] for key, item in before.items()
    }
    assert counts(stack_env) == {"stays ignored": 1}
    assert stack_env.balances() == {"ann": {"EUR": 6, "events": 3}}


def test_a_dry_run_shows_it_and_changes_nothing(stack_env: StackEnv) -> None:
    """Event by event, with how the items would differ; the run then does what was said."""
    stack_env.put(order(stack_env, "ann", 5), order(stack_env, "bob", 7), stack_env.delivery({"type": "other"}))
    stack_env.consume()
    register(credit)
    before = stack_env.events(), stack_env.balances()
    said = stack_env.weir("replay", "--from", "ignored", "--dry-run", "--diff")
    assert said.count("would apply ") == 2 + 1, said  # and the line of the report
    assert "would stay ignored" in said
    assert '+ balances {"account": "ann"}  EUR=5, events=1' in said
    assert (stack_env.events(), stack_env.balances()) == before
    assert counts(stack_env) == {"applied": 2, "stays ignored": 1}


def test_what_cannot_be_applied_stays_ignored_with_its_reason(stack_env: StackEnv) -> None:
    """A rejection and a condition that fails write nothing: no quarantined item, no fence, and the bytes stay."""

    def picky(event: Event[Any]) -> list[Change]:
        if event.payload["cents"] == 1:
            raise EventRejected("Too little.")
        return [Put("balances", {"account": event.payload["to"]}, {"EUR": 1}, condition=absent("account"))]

    stack_env.put(order(stack_env, "ann", 1), order(stack_env, "ann", 2), order(stack_env, "ann", 3))
    stack_env.consume()
    register(picky)
    assert counts(stack_env) == {"applied": 1, "stays ignored": 2}
    assert outcomes(stack_env) == ["applied", "ignored", "ignored"]
    assert len(stack_env.events()) == 3


def test_the_live_consumer_and_the_replay_apply_it_once(stack_env: StackEnv) -> None:
    """A repetition of the delivery is a duplicate before and after; the mark of another delivery is never replaced."""
    first = order(stack_env, "ann", 5, message_id="msg_1")
    stack_env.put(first)
    stack_env.consume()
    register(credit)
    stack_env.put(replace(first, request_id="another="))
    [(_, result)] = stack_env.consume()
    assert str(result.outcome) == "duplicate"
    assert counts(stack_env) == {"applied": 1}
    stack_env.put(replace(first, request_id="a-third="))
    [(_, result)] = stack_env.consume()
    assert str(result.outcome) == "duplicate"
    assert stack_env.balances() == {"ann": {"EUR": 5, "events": 1}}


def test_two_replays_at_once_apply_each_event_once(stack_env: StackEnv) -> None:
    """Both have read the mark that says ignored; its condition lets one through, and the other finds a duplicate."""
    stack_env.put(*(order(stack_env, f"a{number % 3}", number) for number in range(30)))
    stack_env.consume()
    register(credit)
    pipelines = [stack_env.pipeline() for _ in range(2)]
    records = [delivery.as_record() for delivery in _deliveries(stack_env)]
    for pipeline in pipelines:
        pipeline.over_ignored = True
    kept, told = pipelines[1].store.read_marks, []

    def stale(keys: Any, *, consistent: bool) -> Any:
        """Give the second replay the marks as they were before the first."""
        told.append(keys)
        return kept(keys, consistent=consistent) if len(told) > 1 else marks

    marks = pipelines[0].store.read_marks(list(stack_env.events())[:100], consistent=True)
    pipelines[1].store.read_marks = stale  # type: ignore[method-assign]
    first = [str(result.outcome) for _, result in pipelines[0].run(records)]
    second = [str(result.outcome) for _, result in pipelines[1].run(records)]
    assert (first, set(second)) == (["applied"] * 30, {"applied"})  # its own delivery's mark: applied, by whichever
    assert sum(row["events"] for row in stack_env.balances().values()) == 30
    assert told


def test_order_of_a_key_is_kept(stack_env: StackEnv) -> None:
    """Events of a key are applied in the order in which they arrived, whatever their ids sort like."""

    def latest(event: Event[Any]) -> list[Change]:
        return [Put("balances", {"account": event.key}, {"last": event.payload["cents"]})]

    numbers, random = list(range(20)), Random(3)
    sent = [
        order(
            stack_env,
            "-",
            number,
            key=f"k{number % 2}",
            message_id=f"msg_{random.random()}",
            at_ms=1_790_000_000_000 + number,
        )
        for number in numbers
    ]
    stack_env.put(*sent, logged=False)
    stack_env.consume()
    register(latest)
    assert counts(stack_env) == {"applied": 20}
    rows = {item["account"]["S"]: item["last"]["N"] for item in stack_env.scan(stack_env.outputs.table("balances"))}
    assert rows == {"k0": "18", "k1": "19"}


def test_a_rebuild_that_is_swapped_in_is_not_applied_again(stack_env: StackEnv) -> None:
    """What the rebuild applied and was ignored says applied from then on."""
    stack_env.put(order(stack_env, "ann", 5), stack_env.payment("bob", 7))
    stack_env.consume()
    register(credit)
    said = stack_env.weir("rebuild", "--swap", code=None)  # nothing polls here, so that the consumer cannot be resumed
    assert "1 events that were ignored are applied by this" in said
    assert stack_env.balances() == {"ann": {"EUR": 5, "events": 1}, "bob": {"EUR": 7, "events": 1}}
    assert counts(stack_env) == {}
    assert stack_env.balances()["ann"] == {"EUR": 5, "events": 1}


def test_into_the_stream_is_refused(stack_env: StackEnv) -> None:
    """The live consumer would take them for duplicates."""
    done = stack_env.invoke("replay", "--from", "ignored", "--to", "stream")
    assert done.exit_code == 2
    assert "would take them for duplicates" in done.stderr


def _deliveries(stack_env: StackEnv) -> list[Any]:
    from weir.operate.lookup.delivery import Delivery
    from weir.operate.replay.origins.from_table import FromTable

    found = FromTable(stack_env.table()).read({})
    return [one for one in found if isinstance(one, Delivery)]

from __future__ import annotations

import io
import json
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.engine_env import AT_MS, SECRET, Context, EngineEnv, kinesis_event
from weir.consumers import wiring
from weir.consumers.batch import metrics
from weir.consumers.batch.batch import Consumer, isolate
from weir.consumers.business.changes import Change, Update
from weir.consumers.business.effects import effect
from weir.consumers.commit.commit import CommitReport
from weir.consumers.events_table import blob as codec
from weir.consumers.events_table.item import EventResult, JudgedEvent, wait
from weir.consumers.judging.aggregate import aggregate
from weir.consumers.outcome import Outcome
from weir.consumers.raised import raised_at
from weir.consumers.settings import VARIABLES, Settings
from weir.ingest.envelope import Envelope, encode
from weir.ingest.errors import CatalogueInvalid, ConfigError, EventRejected, SettingInvalid, StoreThrottled
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.sources.events import Event

pytestmark = pytest.mark.engine

CARD = "4111-1111-1111-1111"
OTHER_SECRET = "whsec_" + b64encode(b"quite another secret for signing").decode()


@effect("probe", "crash")
def crash(event: Event) -> Iterable[Change]:
    return [Update("balances", {"account": event.payload[CARD]}, add={"EUR": 1})]


@effect("probe", "reject")
def reject(event: Event) -> Iterable[Change]:
    raise EventRejected(f"No such card: {event.payload['card']}")


@effect("probe", "nonsense")
def nonsense(event: Event) -> Iterable[Change]:
    return ["not a change", CARD]  # type: ignore[list-item]


@effect("probe", "leave")
def leave(event: Event) -> Iterable[Change]:
    sys.exit(1)


@effect("probe", "single")
def single(event: Event) -> Iterable[Change]:
    return Update("balances", {"account": "single"}, add={"EUR": 1})  # type: ignore[return-value]


@effect("batches", "pay")
def pay(event: Event) -> Iterable[Change]:
    if event.payload["cents"] < 0:
        raise EventRejected("negative")
    return [Update("balances", {"account": event.payload["to"]}, add={"EUR": event.payload["cents"]})]


class Run:
    """What one batch came to."""

    def __init__(self, response: dict[str, Any], output: str) -> None:
        self.response = response
        self.output = output
        lines = [json.loads(line) for line in output.splitlines()]
        self.events = [line for line in lines if line.get("action") == "event"]
        self.batch: dict[str, Any] = next((line for line in lines if line.get("action") == "batch"), {})
        self.bugs = [line for line in lines if line.get("action") == "bug"]
        self.metrics: dict[str, Any] = next((line for line in lines if "_aws" in line), {})

    @property
    def outcomes(self) -> list[str]:
        return [line["outcome"] + (f": {line['reason']}" if "reason" in line else "") for line in self.events]


Consume = Callable[..., Run]


@pytest.fixture
def consume(engine_env: EngineEnv, monkeypatch: pytest.MonkeyPatch) -> Consume:
    """Return a function that gives one event to a consumer wired from the environment, as a new process would."""
    for name, value in engine_env.environment.items():
        monkeypatch.setenv(name, value)

    def run(*data: bytes | Envelope, event: Any = None, left_s: float = 60, **environment: str) -> Run:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        wiring._ssm.cache_clear()
        stream = io.StringIO()
        consumer: Consumer = wiring.consumer(stream)
        given = kinesis_event(*data) if event is None else event
        response = consumer.consume(given, invocation="i-1", left_s=lambda: left_s)
        return Run(response, stream.getvalue())

    return run


def probe(engine_env: EngineEnv, kind: str, **options: Any) -> Envelope:
    return engine_env.delivery(json.dumps({"type": kind, "card": CARD}).encode(), source="probe", **options)


def batch(engine_env: EngineEnv, *events: dict[str, Any]) -> Envelope:
    return engine_env.delivery(json.dumps({"events": events}).encode(), source="batches")


DONE: dict[str, Any] = {"batchItemFailures": []}


def not_done(number: int) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": str(number)}]}


def test_verified_payments_are_booked_once(engine_env: EngineEnv, consume: Consume) -> None:
    """Each payment is applied with its balance, and the same batch again changes nothing."""
    payments = [engine_env.payment(f"once-{number % 3}", 100 + number) for number in range(30)]
    first, again = consume(*payments), consume(*payments)
    assert first.response == again.response == DONE
    assert first.outcomes == ["applied"] * 30
    assert {account: cents for account, cents in engine_env.balances().items() if account.startswith("once")} == {
        f"once-{rest}": sum(100 + number for number in range(30) if number % 3 == rest) for rest in range(3)
    }


def test_one_bad_record_stops_nobody(engine_env: EngineEnv, consume: Consume) -> None:
    """Whatever is wrong with a record is its own fate: its neighbours are applied and the batch is done."""
    good = [engine_env.payment("neighbour", 1) for _ in range(5)]
    run = consume(
        good[0],
        b"not an envelope",
        good[1],
        engine_env.payment("neighbour", 1, secret=OTHER_SECRET),
        good[2],
        replace(engine_env.payment("neighbour", 1), source=SourceName("unknown")),
        good[3],
        engine_env.payment("neighbour", 1, source="unset"),
        engine_env.delivery(b"{not json", source="batches"),
        good[4],
    )
    assert run.response == DONE
    assert run.outcomes == [
        "applied",
        "quarantined: unreadable",
        "applied",
        "quarantined: signature_mismatch",
        "applied",
        "quarantined: source_unknown",
        "applied",
        "quarantined: secret_unavailable",
        "quarantined: event_malformed",
        "applied",
    ]
    assert engine_env.balances()["neighbour"] == 5


def test_an_unreadable_record_is_kept_byte_for_byte_under_its_place(engine_env: EngineEnv, consume: Consume) -> None:
    """What is not an envelope is quarantined with its exact bytes, by shard, sequence and sub-sequence number."""
    junk = bytes(range(256))
    consume(event=kinesis_event(junk, first=7_000))
    item = engine_env.events()["!shardId-000000000000:7000.0"]
    assert codec.unpack_raw(item["envelope"]["B"]) == junk
    assert item["reason"]["S"] == "unreadable"
    assert item["received_at"]["N"] == str(AT_MS)


def test_an_aggregate_is_its_records(engine_env: EngineEnv, consume: Consume) -> None:
    """The records of an aggregate are applied one by one, also the unreadable one among them."""
    parts = [encode(engine_env.payment("aggregated", 5)) for _ in range(20)]
    [entry] = aggregate([("k", part) for part in [*parts[:10], b"junk", *parts[10:]]], lanes=1)
    run = consume(event=kinesis_event(entry.data, first=7_100))
    assert run.response == DONE
    assert run.batch["records"] == 1
    assert run.batch["events"] == 21
    assert engine_env.balances()["aggregated"] == 100
    assert "!shardId-000000000000:7100.10" in engine_env.events()


def test_a_damaged_aggregate_is_quarantined_whole_and_counted(engine_env: EngineEnv, consume: Consume) -> None:
    """Nothing of a damaged aggregate is applied, nothing of it is lost, and a metric tells of it."""
    [entry] = aggregate([("k", encode(engine_env.payment("damaged", 5))) for _ in range(20)], lanes=1)
    data = entry.data[:-1] + bytes([entry.data[-1] ^ 1])
    run = consume(event=kinesis_event(data, encode(engine_env.payment("beside", 1)), first=7_200))
    assert run.outcomes == ["quarantined: aggregate_damaged", "applied"]
    assert run.metrics["AggregatesDamaged"] == 1
    assert codec.unpack_raw(engine_env.events()["!shardId-000000000000:7200.0"]["envelope"]["B"]) == data
    assert "damaged" not in engine_env.balances()


def test_a_source_that_is_watched_is_counted_by_what_is_proven(engine_env: EngineEnv, consume: Consume) -> None:
    """Whatever became of it, repeats included; a stranger's POST does not count, and other sources have no metric."""
    quiet = engine_env.delivery(b'{"type":"x"}', source="quiet")
    forged = engine_env.delivery(b"{}", source="quiet", secret=OTHER_SECRET)
    malformed = engine_env.delivery(b"not JSON", source="quiet")
    run = consume(quiet, quiet, forged, malformed, engine_env.payment("beside", 1))
    documents = [json.loads(line) for line in run.output.splitlines() if '"_aws"' in line]
    dimensions = [one["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for one in documents]
    assert dimensions == [[["Stack"]], [["Stack", "Source"]]]
    assert (documents[1]["Source"], documents[1][metrics.PROVEN]) == ("quiet", 3)
    alone = consume(engine_env.delivery(b"{}", source="quiet", secret=OTHER_SECRET), engine_env.payment("beside", 1))
    assert metrics.PROVEN not in alone.output


def test_a_long_path_leaves_room_for_the_place() -> None:
    """In a folder of any depth the log names line and function."""
    scope: dict[str, Callable[[], None]] = {}
    exec(compile("def crash():\n    raise KeyError('x')\n", f"/{'a long folder/' * 30}effects.py", "exec"), scope)
    with pytest.raises(KeyError) as raised:
        scope["crash"]()
    told = raised_at(raised.value)
    assert len(told) < 150
    assert told.endswith("/effects.py:2 in crash")


def test_a_bug_in_business_code_is_quarantined_with_its_place_and_no_value(
    engine_env: EngineEnv, consume: Consume
) -> None:
    """An effect that crashes takes its own event aside; logs and table name the place, and no word of the payload."""
    run = consume(
        engine_env.payment("bug", 1), probe(engine_env, "crash", message_id="msg_crash"), engine_env.payment("bug", 2)
    )
    assert run.response == DONE
    assert run.outcomes == ["applied", "quarantined: event_failed", "applied"]
    assert run.metrics["BugCount"] == 1
    [line] = [line for line in run.events if line["outcome"] == "quarantined"]
    assert "builtins.KeyError" in line["detail"]
    assert "in crash" in line["detail"]
    assert line["level"] == "ERROR"
    assert CARD not in run.output
    [item] = [item for item in engine_env.events().values() if item.get("event_id", {}).get("S") == "msg_crash"]
    assert CARD not in item["detail"]["S"]


def test_a_refusal_of_business_code_is_a_quarantine_and_not_logged_in_its_words(
    engine_env: EngineEnv, consume: Consume
) -> None:
    """What business code says when it refuses is in the table and not in the log, for it may quote the payload."""
    run = consume(probe(engine_env, "reject", message_id="msg_refused"))
    assert run.outcomes == ["quarantined: event_rejected"]
    assert run.metrics["BugCount"] == 0
    assert CARD not in run.output
    [item] = [item for item in engine_env.events().values() if item.get("event_id", {}).get("S") == "msg_refused"]
    assert CARD in item["detail"]["S"]


@pytest.mark.parametrize(
    ("kind", "reason"), [("nonsense", "change_invalid"), ("single", "change_invalid"), ("leave", "event_failed")]
)
def test_changes_that_are_none_are_that_event_s_own_fate(
    engine_env: EngineEnv, consume: Consume, kind: str, reason: str
) -> None:
    """An effect that returns something else than changes, or would end the process, takes no other event with it."""
    run = consume(engine_env.payment(kind, 1), probe(engine_env, kind), engine_env.payment(kind, 2))
    assert run.response == DONE
    assert run.outcomes == ["applied", f"quarantined: {reason}", "applied"]
    assert engine_env.balances()[kind] == 3


def test_a_delivery_of_many_events_is_done_when_all_are(engine_env: EngineEnv, consume: Consume) -> None:
    """Each event of a batch has an outcome and a key of its own; the refused one is found by its place in the batch."""
    delivery = batch(
        engine_env,
        {"id": "b1", "type": "pay", "to": "many", "cents": 10},
        {"id": "b2", "type": "pay", "to": "many", "cents": -1},
        {"id": "b3", "type": "other"},
        {"id": "b4", "type": "pay", "to": "many", "cents": 30},
    )
    run = consume(delivery)
    assert run.outcomes == ["applied", "quarantined: event_rejected", "ignored", "applied"]
    assert engine_env.balances()["many"] == 40
    items = engine_env.events()
    assert {"batches#b1", f"batches!{delivery.request_id}.1", "batches#b3", "batches#b4"} <= items.keys()
    assert "batches#b2" not in items


def test_what_nobody_wants_is_ignored_and_stored(engine_env: EngineEnv, consume: Consume) -> None:
    """A verified event without business code, or of a source that has it switched off, is stored as ignored."""
    run = consume(
        engine_env.delivery(b'{"type":"unheard.of"}', message_id="msg_unwanted"),
        engine_env.payment("off", 1, source="stored", message_id="msg_off"),
    )
    assert run.outcomes == ["ignored", "ignored"]
    assert {"payments#msg_unwanted", "stored#msg_off"} <= engine_env.events().keys()


def test_the_verdict_stands_with_the_event(engine_env: EngineEnv, consume: Consume) -> None:
    """Scheme and number of the secret that matched are stored; an older secret that is still live counts too."""
    engine_env.put_secret("payments", OTHER_SECRET, SECRET)
    try:
        run = consume(
            engine_env.payment("verdict", 1, message_id="msg_new", secret=OTHER_SECRET),
            engine_env.payment("verdict", 1, message_id="msg_old"),
        )
    finally:
        engine_env.put_secret("payments", SECRET)
    assert run.outcomes == ["applied", "applied"]
    items = engine_env.events()
    assert [items[f"payments#{name}"]["secret"]["N"] for name in ("msg_new", "msg_old")] == ["0", "1"]
    assert items["payments#msg_old"]["scheme"]["S"] == "standard-webhooks"


def stored_headers(item: dict[str, Any]) -> set[str]:
    blob = item["envelope"]["B"]
    envelope = codec.unpack(blob, request_id="", arrived_at_ms=0, source="", key="")
    return {name for name, _ in envelope.headers}


def test_redacted_headers_are_dropped(engine_env: EngineEnv, consume: Consume) -> None:
    """Verified and forged are stored without the headers to redact; what another scheme may prove keeps them."""
    private = {"Cookie": "a=1", "authorization": "Bearer x", "X-Tracking": "t", "X-Kept": "k"}
    forged = engine_env.delivery(b"{}", source="quiet", headers=private, secret=OTHER_SECRET)
    unsigned = replace(forged, request_id=RequestId("unsigned"), headers=tuple(private.items()))
    consume(engine_env.delivery(b"{}", source="quiet", headers=private, message_id="msg_quiet"), forged, unsigned)
    items = engine_env.events()
    for key in ("quiet#msg_quiet", f"quiet!{forged.request_id}"):
        kept = stored_headers(items[key])
        assert {"X-Kept", "webhook-signature"} <= kept
        assert not {"Cookie", "authorization", "X-Tracking"} & kept
    assert {"Cookie", "authorization", "X-Tracking"} <= stored_headers(items["quiet!unsigned"])


def test_the_lowest_record_not_done_is_reported_as_an_integer(engine_env: EngineEnv, consume: Consume) -> None:
    """While the secret store is away verified events wait; the lowest number is reported, not the first text."""
    now = time.time_ns() // 1_000_000
    waiting = [engine_env.payment("waiting", 1, at_ms=now) for _ in range(3)]
    event = kinesis_event(b"junk", *waiting, first=9_998)
    run = consume(event=event, AWS_ENDPOINT_URL_SSM="http://127.0.0.1:9")
    assert run.response == not_done(9_999)
    assert run.outcomes == ["quarantined: unreadable"] + ["retry: secret_store_unavailable"] * 3
    assert [line.get("request_id") for line in run.events][1:] == [envelope.request_id for envelope in waiting]
    assert run.metrics["Retried"] == 3
    assert "waiting" not in engine_env.balances()
    later = consume(event=event, AWS_ENDPOINT_URL_SSM=engine_env.environment["AWS_ENDPOINT_URL"])
    assert later.response == DONE
    assert engine_env.balances()["waiting"] == 3


def test_an_event_does_not_wait_for_its_secret_for_ever(engine_env: EngineEnv, consume: Consume) -> None:
    """After its patience an event whose secret cannot be read is quarantined without a verdict."""
    run = consume(engine_env.payment("patience", 1), AWS_ENDPOINT_URL_SSM="http://127.0.0.1:9", SECRET_PATIENCE_S="60")
    assert run.response == DONE
    assert run.outcomes == ["quarantined: secret_unavailable"]


def test_no_time_left_means_nothing_begun(engine_env: EngineEnv, consume: Consume) -> None:
    """Within the margin before the timeout no new work is taken: the whole batch is reported, from its first record."""
    run = consume(engine_env.payment("late", 1), engine_env.payment("late", 2), left_s=1.5)
    assert run.response == not_done(100)
    assert run.outcomes == ["retry: deadline_near"] * 2
    assert "late" not in engine_env.balances()


def test_a_database_that_refuses_everything_is_waited_for(engine_env: EngineEnv, consume: Consume) -> None:
    """A table that is not there quarantines no event: the batch is reported until the set-up is fixed."""
    run = consume(engine_env.payment("nowhere", 1), left_s=4, EVENTS_TABLE=f"{engine_env.name}-missing")
    assert run.response == not_done(100)
    assert run.batch["applied"] == 0


def test_an_empty_batch_is_no_work(consume: Consume) -> None:
    """No records are answered with success and without a word."""
    run = consume(event={"Records": []})
    assert (run.response, run.output) == (DONE, "")


@pytest.mark.parametrize("event", [{}, {"detail-type": "Scheduled Event"}, {"Records": [{"s3": {}}]}])
def test_an_event_of_another_kind_is_refused_in_words(consume: Consume, event: dict[str, Any]) -> None:
    """An invocation that is not the stream's says so instead of failing somewhere inside."""
    with pytest.raises(ConfigError, match="Kinesis"):
        consume(event=event)


def test_nothing_private_is_logged(engine_env: EngineEnv, consume: Consume) -> None:
    """At its most talkative the log holds ids and outcomes, and no body, header value, path or secret."""
    private = {"X-Private": "header-value-7", "Cookie": "cookie-value-8"}
    private_options: list[dict[str, Any]] = [{}, {"secret": OTHER_SECRET}, {"source": "unset"}]
    envelopes = [
        replace(
            engine_env.delivery(b'{"type":"t","body":"body-value-9"}', headers=private, **options), path="/path-value-0"
        )
        for options in private_options
    ]
    run = consume(*envelopes, probe(engine_env, "crash"), b'{"v":1,"id":"junk-value-1"}', LOG_LEVEL="DEBUG")
    assert len(run.events) == 5
    for word in ("value", SECRET[6:], OTHER_SECRET[6:], CARD):
        assert word not in run.output
    assert {line["request_id"] for line in run.events if "request_id" in line} >= {one.request_id for one in envelopes}


def test_each_line_says_which_event_and_what_became_of_it(engine_env: EngineEnv, consume: Consume) -> None:
    """An event's line leads to its item and its record; the batch's line sums up; quiet levels leave the good out."""
    payment = engine_env.payment("line", 1, message_id="msg_line")
    run = consume(payment)
    [line] = run.events
    assert line | {"at": 0} == {
        "level": "INFO",
        "action": "event",
        "at": 0,
        "invocation": "i-1",
        "shard_id": "shardId-000000000000",
        "outcome": "applied",
        "source": "payments",
        "event_id": "msg_line",
        "type": "payment.succeeded",
        "request_id": payment.request_id,
        "received_at": payment.arrived_at_ms,
        "sequence_number": "100",
    }
    assert run.batch["applied"] == 1
    quiet = consume(engine_env.payment("line", 1), b"junk", LOG_LEVEL="WARNING")
    assert [line["outcome"] for line in quiet.events] == ["quarantined"]
    assert quiet.metrics["Applied"] == 1


def test_the_metrics_of_a_batch_add_up(engine_env: EngineEnv, consume: Consume) -> None:
    """Every event is counted under one outcome, and a source's share is a property, not a dimension."""
    run = consume(
        engine_env.payment("sum", 1),
        engine_env.delivery(b"{}"),
        b"junk",
        probe(engine_env, "reject"),
        probe(engine_env, "crash"),
    )
    metrics = run.metrics
    outcomes = ("Applied", "Duplicate", "Ignored", "Quarantined", "Retried")
    assert {name: metrics[name] for name in outcomes} == {
        "Applied": 1,
        "Duplicate": 0,
        "Ignored": 1,
        "Quarantined": 3,
        "Retried": 0,
    }
    assert metrics["Events"] == sum(metrics[name] for name in outcomes)
    assert metrics["CommitCalls"] >= 1
    assert metrics["OldestArrivalAge"] > 0
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Stack"]]
    assert metrics["sources"]["payments"] == {"applied": 1, "ignored": 1}


def judged(position: int, key: str = "") -> JudgedEvent:
    error = StoreThrottled()
    return replace(
        wait(error, position=position, partition_key=key or f"key-{position}"), decision="ignore", error=None
    )


@pytest.mark.parametrize("count", [1, 2, 7, 64])
@pytest.mark.parametrize("poison", [0, -1])
def test_what_breaks_the_commit_itself_is_found_by_halves(count: int, poison: int) -> None:
    """An event on which the commit breaks is quarantined alone, in O(log n) attempts, and the others are written."""
    everything = [judged(position) for position in range(count)]
    sick = everything[poison].position
    attempts = []

    def attempt(part: Any) -> CommitReport:
        attempts.append(len(part))
        if any(one.position == sick and one.decision != "quarantine" for one in part):
            raise RecursionError(CARD)
        outcomes = [
            EventResult(Outcome.QUARANTINED if one.decision == "quarantine" else Outcome.IGNORED) for one in part
        ]
        return CommitReport(outcomes, 1, 1.0, [])

    report = isolate(attempt, everything)
    assert [result.outcome == "quarantined" for result in report.results] == [
        one.position == sick for one in everything
    ]
    assert len(attempts) <= 2 * count.bit_length() + 2


def test_what_cannot_even_be_quarantined_is_left_to_the_mapping() -> None:
    """An event that breaks its own quarantine is reported as not done, and counted as a bug."""

    def attempt(part: Any) -> CommitReport:
        raise ZeroDivisionError

    report = isolate(attempt, [judged(0)])
    assert [result.outcome for result in report.results] == ["retry"]
    assert len(report.bugs) == 1


def test_no_event_overtakes_one_of_its_key_when_a_batch_is_halved() -> None:
    """After a half in which an event has to wait, the later ones of its key wait too, and others do not."""
    batch_of_four = [judged(0, "a"), judged(1, "b"), judged(2, "a"), judged(3, "b")]

    def attempt(part: Any) -> CommitReport:
        if len(part) == 4:
            raise ZeroDivisionError
        waits = [one.position == 0 or one.decision == "wait" for one in part]
        return CommitReport(
            [EventResult(Outcome.RETRY if waiting else Outcome.IGNORED) for waiting in waits], 1, 1.0, []
        )

    report = isolate(attempt, batch_of_four)
    assert [result.outcome for result in report.results] == ["retry", "ignored", "retry", "ignored"]


def test_every_setting_has_a_meaning_and_only_what_must_be_given_has_no_default() -> None:
    """All variables are in one list, which the settings are made from."""
    assert {variable.field for variable in VARIABLES} == set(Settings._fields)
    assert all(variable.meaning for variable in VARIABLES)
    assert [variable.name for variable in VARIABLES if variable.default is None] == ["EVENTS_TABLE"]
    settings = Settings.from_environment({"EVENTS_TABLE": "events"})
    assert settings.events_table == "events"
    assert settings.secrets_prefix == "/weir/secrets"
    assert settings.secrets_ttl_s == 300
    assert settings.secret_patience_s == 900


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVENTS_TABLE", ""),
        ("TABLES", "{"),
        ("TABLES", "[]"),
        ("TABLES", '{"balances": 7}'),
        ("SECRETS_PREFIX", "weir"),
        ("SECRETS_PREFIX", "/weir/"),
        ("SECRETS_TTL_S", "-1"),
        ("SECRET_PATIENCE_S", "1.5"),
        ("COMMIT_CONCURRENCY", "0"),
        ("COMMIT_CONCURRENCY", "many"),
        ("QUARANTINE_DAYS", "0"),
        ("DEADLINE_MARGIN_MS", "99999999"),
        ("STACK", "straße"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_needs(name: str, value: str) -> None:
    """An environment variable that cannot be used is refused by its name."""
    with pytest.raises(SettingInvalid, match=rf"{name}\b"):
        Settings.from_environment({"EVENTS_TABLE": "events", name: value})


def test_missing_sources_are_a_set_up_error(consume: Consume) -> None:
    """A function that was deployed without its compiled sources says which file it looked for."""
    with pytest.raises(CatalogueInvalid, match="no-such-file"):
        consume(b"junk", SOURCES_FILE="/no-such-file.json")


def test_the_entry_answers_as_lambda_wants(engine_env: EngineEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """`weir.consumers.handler.handler` wires itself from the environment, once, and keeps what it made."""
    from weir.consumers import handler

    for name, value in engine_env.environment.items():
        monkeypatch.setenv(name, value)
    handler._consumer.cache_clear()
    assert handler.handler(kinesis_event(engine_env.payment("entry", 4)), Context()) == DONE
    assert handler.handler(kinesis_event(engine_env.payment("entry", 5)), Context()) == DONE
    assert handler._consumer.cache_info().misses == 1
    assert engine_env.balances()["entry"] == 9

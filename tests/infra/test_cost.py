"""What a load needs and costs, against arithmetic done by hand from AWS' price lists."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from tests.infra.test_tables import declared
from weir.cli.main import main
from weir.consumers.batch import metrics
from weir.consumers.batch.event_lines import add_event
from weir.consumers.batch.logs import Log
from weir.consumers.events_table import item as items
from weir.consumers.events_table import mark
from weir.consumers.outcome import Outcome
from weir.consumers.settings import VARIABLES
from weir.infra import cost, template
from weir.infra.business import Business
from weir.infra.costs import account_reads, cost_report, flow, protection
from weir.infra.costs.bill import CAUSES, COSTS_NOTHING, Bill
from weir.infra.costs.billed_stack import BilledStack, runs_a_month
from weir.infra.costs.item import Reckoning
from weir.infra.prices import Prices
from weir.ingest.envelope import Envelope
from weir.ingest.errors import ParameterInvalid
from weir.ingest.ids import EventId, RequestId, SourceName
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import SourceEntry, resolve
from weir.operate.audit import check, sources
from weir.operate.lookup import marks, preview
from weir.operate.replay.origins import archive_objects, from_stream

GIVEN = {"ArtifactBucket": "-", "ApiDefinitionKey": "-", "FunctionKey": "-"}
TWO = {
    "stripe": SourceEntry(preset="stripe", dedupe_days=30),
    "payments": SourceEntry(preset="standard-webhooks", dedupe_days=30),
}
ONE_TABLE = Business("effects", Path(), [declared("balances")])
# Of everything that the template can make beside what it makes by itself.
EVERYTHING: dict[str, Any] = {
    "WafRequestsPerIp": "2000",
    "Dashboard": "on",
    "ContributorInsights": "on",
    "AlarmEmail": "night@example.com",
    "DomainName": "hooks.example.com",
    "CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/1",
    "StreamKmsKey": "arn:aws:kms:us-east-1:000000000000:key/1",
    "SecretsKmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/2",
    "HandshakeFunction": "true",
    "TableMode": "PROVISIONED",
}


WORDS = ["order", "payment", "customer", "invoice", "street", "refund", "total", "item", "green", "shirt"]


def stack_of(
    entries: dict[str, SourceEntry] | None = None, business: Business = ONE_TABLE, **given: str
) -> BilledStack:
    """Return the stack of some sources, with 20 metrics of its own."""
    catalogue = Catalogue({name: resolve(name, entry) for name, entry in (entries or TWO).items()})
    return BilledStack.of(catalogue, business, given, region="us-east-1", metrics=20)


def bill_of(rate: float = 10.0, *, write_units: float | None = None, **asked: Any) -> Bill:
    """Return the bill of a load, its peak five times its rate unless it is given; what is left over is of the stack."""
    peak, body = asked.pop("peak", 5 * rate), asked.pop("body", 1500)
    stack = stack_of(**asked)
    days, changes = stack.kept_days, bool(stack.tables)
    load = cost.Load.of(rate, peak, body, days, write_units=write_units, changes_tables=changes)
    return Bill(Reckoning(cost.Estimate(load, stack.parameters), stack, Prices()))


def months(bill: Bill) -> dict[str, float]:
    """Return the bill by the keys of its lines, which are each there once."""
    found = {item.key: item.month for item in bill.items}
    assert len(found) == len(bill.items)
    return found


def estimated(rate: float = 10.0, peak: float = 50.0, body: int = 1500, **given: str) -> cost.Estimate:
    values = template.parameters(template.load(), {**GIVEN, **given})
    return cost.Estimate(cost.Load.of(rate, peak, body, 30), values)


# ------------------------------------------------------------------------------------------------ by hand


def by_hand(rate: int, body: int) -> dict[str, float]:
    """Return the bill of the default stack with two sources and one table, from nothing but numbers.

    Prices are those of AWS' pages, sizes those of a record and an item as the product writes them.
    """
    gib, hours = 2**30, 730
    month, peak = rate * hours * 3600, 5 * rate
    record = 729 + 4 * ceil(body / 3)
    item = 470 + ceil(0.31 * body)
    shards = max(4, ceil(max(peak * record / 2**20, peak / 1000)))
    lanes = 2 * shards
    batch = min(500, 6_000_000 / (record * 4 / 3), max(1, rate / lanes))
    batches = month / batch
    gb_in = month * ceil(record / 1024) * 1024 / gib
    first, second, third = min(month, 333e6), min(max(0, month - 333e6), 667e6), max(0, month - 1e9)
    event_s = (0.2 + max(0, body - 1500) * 29 / 573_440) * 1769 / 1024 / 1000
    kept_gb = rate * 86_400 * 30 * (item + 100) / gib
    objects = min(month, max(8760, month * record / 2**26))
    accounted = 730 * rate * 7200
    logged = month * 303 + month * 385 + batches * 1900 + 43_800 * 555 + 730 * 1270
    lines = 2 * month + 5 * batches + 4 * 43_800 + 5 * 730
    return {
        "requests": (first * 3.50 + second * 2.80 + third * 2.38) / 1e6,
        "detailed_metrics": 2 * 2 * 5 * 0.30,  # two sources, two paths each, POST
        "answers": month * (370 + 25) / gib * 0.09,
        "stream": hours * 0.04 + gb_in * 0.08 + 2 * gb_in * 0.04,
        "retention": gb_in / hours * (168 - 24) * 0.10,
        "account_stream": gb_in * (22 / 60) * 0.04,  # of each hour the newest 20 minutes and two before them
        "firehose": month * ceil(record / 5120) * 5120 / gib * 0.029,
        "consumer": batches * 0.20e-6 + (batches * 0.015 + month * event_s) * 0.0000133334,
        "waiting": 43_800 * 0.20e-6 + 43_800 * 0.05 * 0.0000133334,
        "account": 730 * 0.20e-6 + accounted * 0.00041 * 0.0000133334,
        "writes": month * (2 * ceil(item / 1024) + 1.8) * 0.625e-6,
        "reads": (accounted * (ceil(item / 4096) + (body > 8192)) + 43_800 * 4 * 0.5) * 0.125e-6,
        "events_kept": kept_gb * 0.25,
        "events_backup": kept_gb * 0.20,
        "archive": rate * 86_400 * 400 * record * 0.4 / gib * 0.023,
        "bucket_requests": (objects + 730 * ceil(objects / 2_628_000 * 8 * 86_400 / 1000)) * 5e-6
        + 730 * objects / 2_628_000 * 3 * 3600 * 0.4e-6,
        "logs": logged / gib * 0.50,
        "logs_kept": (logged * 0.15 + lines * 26) / gib * 30 / (730 / 24) * 0.03,
        "metrics": (20 + 6) * 0.30,
        "alarms": 21 * 0.10,
        "metric_requests": 730 * 0.01e-3,
        "stream_key": shards * (3 * 12 * 730 + 730) * 0.03e-4,
        # Two tables, by each of eight connections of each lane; two secrets, by each lane.
        "kms_requests": (2 * 8 * lanes * 12 * 730 + 8 * 730 + 2 * lanes * 12 * 730) * 0.03e-4,
    }


@pytest.mark.parametrize("body", [1024, 102_400])
@pytest.mark.parametrize("rate", [1, 100, 1000])
def test_a_bill_agrees_with_arithmetic_by_hand(rate: int, body: int) -> None:
    """Each line is what the numbers give, no line is missing, and the total is their sum."""
    bill, expected = bill_of(rate, body=body), by_hand(rate, body)
    assert months(bill) == pytest.approx(expected, rel=1e-9)
    assert bill.total == pytest.approx(sum(expected.values()), rel=1e-9)
    assert bill.items == sorted(bill.items, key=lambda item: -item.month)


def test_some_figures_that_can_be_checked_in_the_head() -> None:
    """A hundred webhooks of 1 KB a second: 262.8 million a month."""
    found = months(bill_of(100, body=1024))
    assert found["requests"] == pytest.approx(919.80)
    assert found["writes"] == pytest.approx(262.8 * 3.8 * 0.625)
    assert found["reads"] == pytest.approx(65.70, abs=0.02)  # each of them twice: 2 x 262.8 million units
    # Records of 2,097 bytes are 3 KB, and 5 KB for Firehose.
    assert found["firehose"] == pytest.approx(262.8e6 * 5 / 2**20 * 0.029)
    assert months(bill_of(1000, body=1024))["requests"] == pytest.approx(333 * 3.5 + 667 * 2.8 + 1628 * 2.38)


def test_a_provisioned_stream_is_paid_by_the_shard() -> None:
    """Two shards of a week's retention, and a unit of 25 KB for each record; what reads it pays nothing."""
    found = months(bill_of(10, StreamMode="PROVISIONED", ArchiveMode="none"))
    assert found["stream"] == pytest.approx(2 * 730 * 0.015 + 26.28 * 0.014)
    assert found["retention"] == pytest.approx(2 * 730 * 0.02)
    assert not {"firehose", "archive", "bucket_requests", "account_stream"} & set(found)
    assert months(bill_of(10, StreamMode="PROVISIONED", RetentionHours="24"))["retention"] == 0


def test_without_an_archive_the_account_reads_all_of_its_window_from_the_stream() -> None:
    """Two hours, the five minutes after them and two before, every hour."""
    gb_in = 26.28e6 * 3 * 1024 / 2**30
    assert months(bill_of(10, ArchiveMode="none"))["account_stream"] == pytest.approx(gb_in * 127 / 60 * 0.04)


def test_what_is_switched_on_has_its_line() -> None:
    """AWS WAF, the dashboard, Contributor Insights, own keys, mails and the handshake function."""
    asks = SourceEntry(preset="slack", handshake_function=True, dedupe_days=30)
    found = months(bill_of(10, entries={**TWO, "slack": asks}, **{**EVERYTHING, "TableMode": "ON_DEMAND"}))
    assert found["waf"] == 5 + 1
    assert found["waf_requests"] == pytest.approx(26.28 * 0.60)
    assert found["dashboard"] == 3
    # Two tables with one key each: a rule for what is used, one for what is throttled. The account reads events twice.
    assert found["insights"] == pytest.approx(2 * 2 * 0.50 + (26.28 * 3 + 26.28) * 0.03, rel=1e-3)
    assert found["kms_keys"] == 2
    assert found["mails"] == pytest.approx(30 * 2e-5)
    assert found["handshake"] == pytest.approx(26.28e6 / 3 * (0.20e-6 + 0.025 * 0.0000133334))
    own = months(bill_of(10, WebAclArn="arn:aws:wafv2:us-east-1:0:regional/webacl/a/1"))
    assert own["waf_requests"] == pytest.approx(26.28 * 0.60)
    assert "waf" not in own  # another stack pays for the web ACL itself


def test_provisioned_tables_are_paid_by_the_hour() -> None:
    """Seven tenths in use, each table and index at least its lowest capacity; four alarms for each policy."""
    found = months(bill_of(100, TableMode="PROVISIONED"))
    written, events, others = 25 + 25 + 25, 200 / 0.7, 180 / 0.7  # three indexes; 2 units of an item, 1.8 of a change
    read = (730 * 100 * 7200 + 43_800 * 2) / (730 * 3600) / 0.7 + 4 * 10
    capacity = (written + events + others) * 730 * 0.00065 + read * 730 * 0.00013
    assert found["writes"] == pytest.approx(capacity)
    assert found["reads"] == 0
    policies = 6 + 2  # events table and quarantine both ways, two indexes that are written; the table both ways
    assert found["alarms"] == pytest.approx((21 + 4 * policies) * 0.10)
    # No more than auto scaling may set: 2,000 units for each table.
    assert months(bill_of(1e5, TableMode="PROVISIONED"))["writes"] < (2 * 2000 + 75 + 500 + 40) * 730 * 0.00065


def test_secrets_of_secrets_manager_are_paid_by_the_month_and_the_reading() -> None:
    """Eight environments read one secret every five minutes."""
    managed = SourceEntry(preset="stripe", secret="secretsmanager:stripe", dedupe_days=30)
    found = months(bill_of(10, entries={"stripe": managed}))
    assert found["secrets"] == pytest.approx(0.40 + 8 * 12 * 730 * 0.05e-4)
    assert "secrets" not in months(bill_of(10))


def test_a_source_adds_its_metrics_its_alarm_and_its_index() -> None:
    """Detailed metrics of two methods, one metric and alarm for its silence; a mark that is a digest is in an index."""
    before = months(bill_of(10))
    silent = SourceEntry(preset="stripe", silent_after_hours=24, dedupe_days=30)
    after = months(bill_of(10, entries={**TWO, "more": silent}))
    assert after["detailed_metrics"] - before["detailed_metrics"] == pytest.approx(2 * 5 * 0.30)
    assert after["metrics"] - before["metrics"] == pytest.approx(0.30)
    assert after["alarms"] - before["alarms"] == pytest.approx(0.10)
    unsigned_id = SourceEntry(preset="github", dedupe_days=30)
    assert stack_of({"github": unsigned_id}).by_digest == 1
    digests = months(bill_of(10, entries={"github": unsigned_id}))
    assert digests["writes"] - before["writes"] == pytest.approx(26.28 * 0.625)
    assert digests["events_kept"] - before["events_kept"] == pytest.approx(10 * 86_400 * 30 * 300 / 2**30 * 0.25)


def test_measured_write_units_take_the_place_of_calculated_ones() -> None:
    """What is not the item's own is the business code's; without a table, events are inserted for a unit each."""
    assert months(bill_of(10, write_units=7.0))["writes"] == pytest.approx(26.28 * 7 * 0.625)
    assert months(bill_of(10, write_units=1.0))["writes"] == pytest.approx(26.28 * 1 * 0.625)
    assert months(bill_of(10, business=Business()))["writes"] == pytest.approx(26.28 * 1 * 0.625)
    assert months(bill_of(10, business=Business(), write_units=3.0))["writes"] == pytest.approx(26.28 * 3 * 0.625)
    existing = Business("effects", Path(), [declared("a"), declared("b", existing="b", real_name="b")])
    assert months(bill_of(10, business=existing))["writes"] == pytest.approx(26.28 * 3.8 * 0.625)


# ------------------------------------------------------------------------------------------------ completeness


# The template has it where the rights to secrets are more than a role's own policies hold.
MADE_FOR_MANY = "AWS::IAM::ManagedPolicy"


def test_every_resource_type_of_the_template_has_a_line_or_costs_nothing() -> None:
    """A new type needs a line of the bill, or the reason for which it has none; none is named that is not there."""
    types = {one["Type"] for one in template.load()["Resources"].values()}
    assert not set(CAUSES) & set(COSTS_NOTHING)
    assert set(CAUSES) | set(COSTS_NOTHING) == {*types, MADE_FOR_MANY}
    assert all(COSTS_NOTHING.values())


def test_every_line_has_a_type_that_causes_it() -> None:
    """With everything switched on, a bill has each line that a type causes, and no other."""
    asks = SourceEntry(preset="slack", handshake_function=True, secret="secretsmanager:slack")
    bill = bill_of(10, entries={**TWO, "slack": asks}, **EVERYTHING)
    assert {item.key for item in bill.items} == {key for keys in CAUSES.values() for key in keys}
    made = {one.type for one in bill.reckoning.stack.resources.values()}
    assert made | {MADE_FOR_MANY} == set(CAUSES) | set(COSTS_NOTHING)


def test_what_many_sources_make_costs_nothing() -> None:
    """300 sources have policies of their own, and no line more than a few have."""
    many = bill_of(10, entries={f"shop-{number}": SourceEntry(preset="github") for number in range(300)})
    assert MADE_FOR_MANY in {one.type for one in many.reckoning.stack.resources.values()}
    assert MADE_FOR_MANY in COSTS_NOTHING


def test_every_price_is_used() -> None:
    """No price is in the list that neither the bill nor what it is compared with multiplies."""
    asks = SourceEntry(preset="slack", handshake_function=True, secret="secretsmanager:slack")
    used: set[str] = set()
    for given in ({}, {"StreamMode": "PROVISIONED", "Architecture": "x86_64"}, EVERYTHING):
        told = cost_report.document(bill_of(10, entries={**TWO, "slack": asks}, **given), Prices().date)
        used |= set(told["price_list"]["prices"])
    assert used == set(Prices().listed)


def test_figures_of_other_rooms_are_theirs() -> None:
    """What infra/ cannot import is the same there."""
    assert (account_reads.SETTLE_S, flow.WAITING_PARTS) == (check._SETTLE_S, mark.WAITING_PARTS)
    assert account_reads.ARCHIVED_S * 1000 == sources._ARCHIVED_MS
    assert account_reads.STAMP_SLACK_S * 1000 == archive_objects.STAMP_SLACK_MS == from_stream.STAMP_SLACK_MS
    assert account_reads.HELD_BACK_S * 1000 == archive_objects._HELD_BACK_MS
    assert account_reads.LARGE_BYTES == preview.UNPROVEN_BYTES
    assert protection.ACCOUNT_CALLS_AT_ONCE == marks._CALLS_AT_ONCE
    assert "two million" in (check.__doc__ or "")
    assert account_reads.HOLDS == 2_000_000
    ttl = next(variable for variable in VARIABLES if variable.name == "SECRETS_TTL_S")
    assert str(protection.SECRETS_TTL_S) == ttl.default


def test_an_item_has_the_size_that_the_consumer_writes() -> None:
    """JSON that repeats as that of providers does, from 300 bytes to 100 KB: the estimate is a little above."""
    random = Random(1)
    for count in (1, 4, 5, 20, 60, 350):
        entries = [_entry(random) for _ in range(count)]
        body = json.dumps({"type": "order.updated", "data": {"items": entries}}).encode()
        assert _item_bytes(body) <= cost.item_bytes(len(body)) <= 1.4 * _item_bytes(body)


def _entry(random: Random) -> dict[str, Any]:
    def words(count: int) -> str:
        return " ".join(random.choices(WORDS, k=count))

    month, day, minute = random.randrange(1, 13), random.randrange(1, 29), random.randrange(60)
    return {
        "id": random.randrange(10**12),
        "uuid": f"{random.getrandbits(128):032x}",
        "sku": f"{random.getrandbits(32):08X}",
        "title": words(6),
        "price": f"{random.random() * 500:.2f}",
        "quantity": random.randrange(1, 9),
        "created_at": f"2026-{month:02}-{day:02}T10:{minute:02}:00Z",
        "properties": [{"name": words(1), "value": words(3)}],
    }


def _item_bytes(body: bytes) -> int:
    """Return the size of an event's item as DynamoDB counts it."""
    headers = tuple(cost._HEADERS.items())
    envelope = Envelope(
        RequestId("0" * 16), 10**12, SourceName("provider"), "", "192.0.2.1", "/v1/p", {}, headers, body
    )
    judged = _judged(envelope)
    total = 0
    for name, written in items.event_fields(judged, Outcome.APPLIED, 10**12, items.inline(items.pack(judged))):
        ((kind, value),) = json.loads(written).items()
        size = {"S": len(value.encode()), "B": len(value) * 3 // 4, "N": len(value) // 2 + 1}[kind]
        total += len(name) + size
    return total


def _judged(envelope: Envelope) -> items.JudgedEvent:
    return items.JudgedEvent(
        position=0,
        partition_key="k",
        decision="apply",
        source=envelope.source,
        event_id=EventId("evt_1NG8Du2eZvKYlo2CUI79vXWy"),
        request_id=envelope.request_id,
        type="charge.succeeded",
        received_at_ms=envelope.arrived_at_ms,
        scheme="stripe",
        secret_index=0,
        envelope=envelope,
    )


def test_log_lines_have_the_size_that_is_counted(tmp_path: Path) -> None:
    """Of an event, and of a batch: its metrics, its line, and Lambda's own three."""
    path = tmp_path / "log"
    envelope = Envelope(RequestId("0" * 16), 10**12, SourceName("provider"), "", "192.0.2.1", "/v1/p", {}, (), b"{}")
    with path.open("w") as stream:
        log = Log(stream, 20, at=10**12, invocation="0" * 36, shard_id="shardId-000000000000")
        add_event(log, _judged(envelope), items.EventResult(Outcome.APPLIED), sequence_number="4" * 56)
        log.flush()
    assert abs(path.stat().st_size - cost.EVENT_LINE_BYTES) < 20
    document = metrics.document("weir", dict.fromkeys(metrics.UNITS, 100), {"shard_id": "shardId-000000000000"})
    assert len(document) < cost.BATCH_LINES_BYTES < 2 * len(document)


def test_the_access_log_line_follows_the_template() -> None:
    """A variable that is added is counted, or named as missing."""
    log_format = template.load()["Resources"]["Stage"]["Properties"]["AccessLogSetting"]["Format"]
    assert cost.access_line_bytes() == pytest.approx(len(log_format), rel=0.5)
    assert "$context" not in cost._LOGGED


@pytest.mark.parametrize(
    ("expression", "runs"),
    [
        ("rate(1 minute)", 43_800),
        ("rate(1 hour)", 730),
        ("rate(2 days)", 365 / 24),
        ("cron(0 * * * ? *)", 730),
        ("cron(0/15 8-17 ? * MON-FRI *)", 4 * 10 * 730 / 24 * 5 / 7),
        ("cron(0 0 1,15 * ? *)", 2),
        ("cron(30 6 L JAN-MAR ? *)", 0.25),
        ("cron(0 12 ? * 6#3 *)", 730 / 24 / 7),
    ],
)
def test_runs_of_a_schedule(expression: str, runs: float) -> None:
    """Rates and cron expressions, as EventBridge reads them."""
    assert runs_a_month(expression) == pytest.approx(runs)


@pytest.mark.parametrize("expression", ["rate(1 week)", "cron(0 * * *)", "cron(99 * * * ? *)", "cron(x * * * ? *)"])
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    """What AWS would refuse too is named."""
    with pytest.raises(ParameterInvalid, match="not a schedule"):
        runs_a_month(expression)


# ------------------------------------------------------------------------------------------------ capacity


@pytest.mark.parametrize(
    ("peak", "body", "shards"),
    [(10, 1500, 2), (2500, 10, 3), (2000, 10, 2), (500, 60_000, 39)],
)
def test_shards_follow_the_peak(peak: float, body: int, shards: int) -> None:
    """A shard takes 1,000 records and 1 MB a second, whichever is less."""
    assert estimated(1, peak, body, StreamMode="PROVISIONED").shards == shards


def test_longer_windows_make_fuller_and_cheaper_batches() -> None:
    """A lane that waits gathers more; a batch never has more than its size, nor more than an invocation takes."""
    hasty, patient = bill_of(100), bill_of(100, BatchWindowSeconds="5")
    assert hasty.reckoning.estimate.batch_records < patient.reckoning.estimate.batch_records
    assert months(hasty)["consumer"] > months(patient)["consumer"]
    assert estimated(1e6, 1e6, BatchWindowSeconds="300").batch_records == 500
    assert estimated(1e4, 1e4, 102_400, BatchWindowSeconds="300").batch_records == pytest.approx(32.8, abs=0.1)


def test_less_memory_is_less_of_a_processor() -> None:
    """Half a processor takes twice as long for an event; more than one takes no less time, and costs more."""
    half, whole, double = (estimated(100, FunctionMemoryMB=mb) for mb in ("884", "1769", "3538"))
    assert half.keeps_up == pytest.approx(whole.keeps_up / 2, rel=0.1)
    assert double.keeps_up == whole.keeps_up
    paid = [months(bill_of(100, FunctionMemoryMB=mb))["consumer"] for mb in ("1769", "3538")]
    assert paid[0] < paid[1]


def test_an_account_check_that_would_not_hold_its_window_is_named() -> None:
    """Two million deliveries: 280 a second over two hours."""
    assert bill_of(270).notes == []
    (said,) = bill_of(1000).notes
    assert "set AccountWindowMinutes to 33 or less" in said
    assert bill_of(1000, AccountWindowMinutes="33").notes == []


# ------------------------------------------------------------------------------------------------ the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["cost", *arguments])


def table(said: list[str]) -> list[str]:
    """Return the lines of the bill as they are printed, the total last."""
    end = next(number for number, line in enumerate(said) if line.startswith("total"))
    return said[3 : end + 1]


def test_the_command_adds_up_and_refuses_what_makes_no_sense() -> None:
    """Lines and total agree; a peak below the average and an unknown parameter are reported."""
    said = run("--rate", "100").stdout.splitlines()
    assert "marks without their events, for the same 400 days: 318.65 a month" in said  # of 220 bytes each
    shown = [float(line[60:74].replace(",", "")) for line in table(said)]
    assert shown[-1] == pytest.approx(sum(shown[:-1]), abs=0.1)
    document = json.loads(run("--rate", "100", "--json").stdout)
    assert sum(item["month"] for item in document["usd_a_month"]) == pytest.approx(shown[-1], abs=0.01)
    assert document["usd_a_month_total"] == pytest.approx(shown[-1], abs=0.01)
    refused = run("--rate", "5", "--peak", "1")
    assert refused.exit_code == 2
    assert "below the average of 5" in refused.output
    unknown = run("--set", "Shards=1")
    assert unknown.exit_code == 2
    assert "no parameter Shards" in unknown.output
    assert run("--set", "AccountSchedule=rate(1 week)").exit_code == 2


@pytest.mark.parametrize("rate", ["0.01", "1", "100", "10000"])
def test_the_table_is_short_and_largest_first(rate: str) -> None:
    """A person sees few lines, what is small in one; --all shows each, and the sum is the same."""
    short, full = (table(run("--rate", rate, *more).stdout.splitlines()) for more in ((), ("--all",)))
    assert len(short) <= 17 < len(full) <= 25
    assert short[-1] == full[-1]
    amounts = [float(line[60:74].replace(",", "")) for line in full[:-1]]
    assert amounts == sorted(amounts, reverse=True)
    assert any(line.startswith("smaller") for line in short)
    assert short[:-2] == full[: len(short) - 2]


def test_json_has_fields_that_stay() -> None:
    """Scripts depend on these names; add, but do not rename."""
    document = json.loads(run("--json").stdout)
    assert list(document) == [
        *("webhooks_a_month", "body_bytes", "record_bytes", "item_bytes", "shards", "batches_at_once", "write_units"),
        *("write_units_per_s", "times_the_peak", "usd_a_month", "usd_a_month_total", "usd_a_month_of_marks_alone"),
        *("costs_nothing", "not_counted", "notes", "alternatives", "price_list"),
    ]
    assert list(document["usd_a_month"][0]) == ["key", "part", "what", "month", "amounts"]
    assert list(document["alternatives"][0]) == [
        *("key", "name", "usd_a_month", "usd_a_month_at_most", "share_of_weir", "lacks", "has", "basis", "page"),
        *("date", "lines"),
    ]
    assert list(document["price_list"]) == ["date", "region", "is_old", "prices"]
    listed = document["price_list"]["prices"]
    assert list(listed["api_requests"]) == ["usd", "per", "unit", "page", "date", "beyond", "note"]
    for item in document["usd_a_month"]:
        assert set(item["amounts"]) <= set(listed)

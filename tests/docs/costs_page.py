"""docs/reference/costs.md: what `weir cost` counts and how, what some loads cost, and the price list."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

from pathlib import Path

from tests.docs import markdown
from weir.consumers.batch.metrics import UNITS
from weir.infra.business import Business
from weir.infra.cost import Estimate, Load
from weir.infra.costs.alternatives import Alternative, alternatives
from weir.infra.costs.bill import CAUSES, COSTS_NOTHING, NOT_COUNTED, Bill
from weir.infra.costs.billed_stack import BilledStack
from weir.infra.costs.item import Reckoning
from weir.infra.prices import HostedPlan, Prices
from weir.infra.tables import TableResource
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import SourceEntry, resolve

RATES, BODIES = (1, 100, 1000), (1024, 102_400)
_TABLE = {
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
}

# How each line is calculated, by its key.
MEANINGS = {
    "requests": "Each request, by AWS's steps for a month's number of them.",
    "detailed_metrics": "The stage switches them on: five metrics for each method of each path that a source has. At most: a method that is not asked in an hour costs nothing for it.",
    "waf": "Only with `WafRequestsPerIp`: a web ACL and its rule.",
    "waf_requests": "Each request, with `WafRequestsPerIp` or a web ACL of your own (`WebAclArn`), which itself is paid where it was made.",
    "answers": "What senders are answered: 370 bytes of head, and Weir's body or the one that a source acknowledges with.",
    "stream": "On demand: the stream by the hour, records in whole KB, once in and once out to the consumer and to Firehose. Provisioned: shards by the hour, and 25 KB of each record.",
    "retention": "What `RetentionHours` adds to the first 24.",
    "account_stream": "What each account check reads of the stream: the newest 22 minutes, or all of its window without an archive. Nothing on a provisioned stream.",
    "firehose": "Each record in whole 5 KB.",
    "archive": "`ArchiveDays` of records at four tenths of their size, once that many days are there.",
    "bucket_requests": "Firehose's objects, by `ArchiveBufferSeconds` or 64 MB; what each account check lists and reads of them.",
    "consumer": "A batch takes 15 ms, an event 0.2 ms of a processor and more for a body of more than 1.5 KB (measured: [benchmarks](../benchmarks.md)).",
    "waiting": "The run of each minute for what waits: 50 ms (assumed) when nothing is due.",
    "account": "The account check: 0.41 ms for each delivery of its window (measured), and each delivery as often as windows overlap.",
    "handshake": "Only with a source that asks for the function: the share of such sources in all, 25 ms each (assumed).",
    "writes": "Two units a KB of an event's item, since it is written in a transaction, and 1.8 of what it changes (measured with one change); `--write-units` takes the place of both. With `TableMode=PROVISIONED`: capacity by the hour, seven tenths of it in use.",
    "reads": "The mark of each delivery that the account check accounts for, read consistently, and the minute's look at what waits.",
    "events_kept": "Items of the longest `dedupe_days` of all sources: 470 bytes, three tenths of the body, and DynamoDB's own 100. At most, if other sources keep theirs for less.",
    "events_backup": "The same bytes, for point-in-time recovery.",
    "insights": "Only with `ContributorInsights`: two rules a table and key, and each item that is written or read.",
    "logs": "A line of the access log and one of the consumer's for each event; three and their metrics for each batch and run.",
    "logs_kept": "The same, compressed, for `LogRetentionDays`.",
    "metrics": "The consumer's and the account's, one for each source with `silent_after_hours`, six of the event source mapping.",
    "alarms": "Each metric that an alarm reads; four for each policy that scales a table.",
    "dashboard": "Only with `Dashboard`.",
    "metric_requests": "One question for each account check. What it asks of the logs (FilterLogEvents) has no price.",
    "mails": "Only with `AlarmEmail`: thirty mails a month (assumed).",
    "stream_key": "A request every five minutes for each shard and each who writes or reads, of AWS's own key too.",
    "kms_requests": "The same for each connection to a table, and for each source's secret that each environment of the function reads every five minutes. At most.",
    "kms_keys": "A key of your own for the stream (`StreamKmsKey`) or the secrets (`SecretsKmsKeyArn`).",
    "secrets": "Secrets that sources keep in Secrets Manager, and each reading of them. Standard parameters of SSM have no price.",
}


def page() -> str:
    """Return the page."""
    return markdown.page(
        "Costs",
        "What `weir cost` counts. The bill follows the template, the sources file and the business code's tables: what a parameter switches off has no line.\n"
        f"Not counted: {'; '.join(NOT_COUNTED)}. A month has 730 hours, a GB 2^30 bytes. Figures that are marked as assumed were never measured, and Weir has\n"
        "not been run on an AWS account: compare the first month's bill with the lines.",
        "## What a load costs",
        "USD a month, with two sources, one table, events kept 30 days, the peak at five times the rate. Of a service, the plan with a public price that takes\n"
        "the load; where its page gives a range of prices, both ends.",
        _loads(),
        "## What the other ways lack and have",
        _differences(),
        "## Lines",
        markdown.table(["key", "caused by", "how it is calculated"], _lines()),
        "## Resource types that cost nothing",
        markdown.table(["type", "why"], ((markdown.code(kind), why) for kind, why in sorted(COSTS_NOTHING.items()))),
        "## The price list",
        f"`infra/prices.yaml`, {Prices().region}. The list is as old as its oldest price, {Prices().date}; `weir cost` warns when that is more than a year ago. To\n"
        "renew it, open each page, correct price and date, set `date` to the oldest of them, and run `make docs`.",
        markdown.table(["name", "USD", "unit", "date", "page", "note"], _prices()),
        "Services that take webhooks for you:",
        markdown.table(
            ["service", "plan", "USD a month", "events included", "USD an event more", "events/s", "date", "page"],
            _plans(),
        ),
    )


def _bill(rate: int, body: int) -> Bill:
    entries = {
        "stripe": SourceEntry(preset="stripe", dedupe_days=30),
        "payments": SourceEntry(preset="standard-webhooks", dedupe_days=30),
    }
    catalogue = Catalogue({name: resolve(name, entry) for name, entry in entries.items()})
    business, prices = Business("effects", Path(), [TableResource("balances", _TABLE)]), Prices()
    stack = BilledStack.of(catalogue, business, {}, region=prices.region, metrics=len(UNITS))
    return Bill(Reckoning(Estimate(Load.of(rate, 5 * rate, body, stack.kept_days), stack.parameters), stack, prices))


def _others(bill: Bill) -> list[Alternative]:
    return list(alternatives(bill))


def _differences() -> str:
    by_text: dict[str, list[str]] = {}
    for one in _others(_bill(1, 1024)):
        name = Prices().hosted[one.key].name if one.page else one.name
        by_text.setdefault(f"lacks {one.lacks}; has {one.has}.", []).append(name)
    return "\n".join(f"- {' or '.join(names)}: {text}" for text, names in by_text.items())


def _loads() -> str:
    bills = [_bill(rate, body) for body in BODIES for rate in RATES]
    names = [one.name if not one.page else Prices().hosted[one.key].name for one in _others(bills[0])]
    header = ["webhooks/s", "body", "Weir", "a million", *names]
    return markdown.table(header, map(_row, bills))


def _row(bill: Bill) -> list[str]:
    load = bill.reckoning.load
    others = [_range(one) for one in _others(bill)]
    million = bill.total / load.month * 1e6
    return [f"{load.rate_per_s:,}", f"{load.body_bytes // 1024} KB", f"{bill.total:,.0f}", f"{million:,.2f}", *others]


def _range(one: Alternative) -> str:
    if one.low is None or one.high is None:
        return "by agreement"
    return f"{one.low:,.0f}" if one.low == one.high else f"{one.low:,.0f} to {one.high:,.0f}"


def _lines() -> list[tuple[str, str, str]]:
    causes = {key: [kind for kind, keys in CAUSES.items() if key in keys] for key in MEANINGS}
    return [(markdown.code(key), ", ".join(map(markdown.code, causes[key])), said) for key, said in MEANINGS.items()]


def _prices() -> list[tuple[object, ...]]:
    return [
        (
            markdown.code(name),
            f"{price.usd:.10f}".rstrip("0").rstrip(".")
            + "".join(f"; from {bound:,} on {usd:.2f}" for bound, usd in price.beyond),
            f"{price.per:,} x {price.unit}" if price.per > 1 else price.unit,
            price.date,
            f"[page]({price.page})",
            price.note,
        )
        for name, price in Prices().listed.items()
    ]


def _plans() -> list[tuple[object, ...]]:
    return [
        (
            service.name,
            plan.name,
            f"{plan.usd:,}",
            "any" if plan.included == float("inf") else f"{plan.included:,}",
            " to ".join(f"{usd:.7f}".rstrip("0") for usd in sorted(set(plan.usd_an_event or ()))),
            f"{plan.included_per_s}{_faster(plan)}",
            service.date,
            f"[page]({service.page})",
        )
        for service in Prices().hosted.values()
        for plan in service.plans
    ]


def _faster(plan: HostedPlan) -> str:
    if plan.usd_per_s is None:
        return ""
    low, high = plan.usd_per_s
    return f", {low} to {high} USD for each more"

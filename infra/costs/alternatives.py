"""What the same load would cost otherwise, and in a sentence what each other way lacks or has.

Those on AWS are the bill with some lines taken out and others put in, so that what is the same costs the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from weir.infra.cost import GB, SECONDS
from weir.infra.costs import watching
from weir.infra.costs.bill import Bill
from weir.infra.costs.item import Item
from weir.infra.prices import HostedService

# An HTTP API counts a request for each 512 KB of it.
# Source: https://aws.amazon.com/api-gateway/pricing/
_HTTP_STEP_BYTES = 512 * 1024
# SQS counts a request for each 64 KB of its messages; ten of them are received and deleted in one, by five pollers.
# Source: https://aws.amazon.com/sqs/pricing/
_SQS_STEP_BYTES, _SQS_BATCH, _SQS_POLLERS = 64 * 1024, 10, 5
# Assumed of a function that checks a signature, sends a message and answers: 20 ms of 256 MB.
_RECEIVER_S, _RECEIVER_GB = 0.020, 0.25

# Lines that no stack has without Kinesis, its archive and the account that both make possible.
_OF_THE_STREAM = frozenset(
    ("stream", "retention", "account_stream", "stream_key", "firehose", "archive", "bucket_requests")
)
_OF_THE_ACCOUNT = frozenset(("account", "reads", "metric_requests"))
# An HTTP API can have no web ACL.
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-vs-rest.html
_OF_THE_FIREWALL = frozenset(("waf", "waf_requests"))

_LAMBDA_LACKS = (
    "order for a key, archive, replay and account; and code answers the sender, so that a bug, a deployment or a cold "
    "start there is a webhook that is not taken"
)
_LAMBDA_HAS = "no price by the hour; a message that fails holds up no other"
_HTTP_LACKS = (
    "mapping templates, gateway responses and web ACLs, so that signature headers beside the exact bytes, the answers "
    "to providers' questions, a 413 and a 503 with Retry-After all need code"
)
_HTTP_HAS = "nothing that Weir does not have"
_HOSTED_LACKS = (
    "what applies an event: it POSTs to a service of yours, which you run and pay for, with its own database and marks "
    "against duplicates"
)
_HOSTED_HAS = "a console, alerts, people on call, and destinations outside AWS"
_HOSTED_BASIS = (
    "its public page: each webhook one event to one destination; what that destination costs is not comparable"
)
_BY_AGREEMENT = "no plan with a public price takes this load"


@dataclass(frozen=True, slots=True)
class Alternative:
    """One other way: USD a month from ``low`` to ``high``, None where there is no public price.

    ``lacks`` and ``has`` say how it differs from Weir, ``basis`` what the figure is made of and what is not comparable.
    """

    key: str
    name: str
    low: float | None
    high: float | None
    lacks: str
    has: str
    basis: str
    page: str = ""
    date: str = ""
    items: Sequence[Item] = field(default=())

    def document(self, total: float) -> dict[str, Any]:
        """Return it for machines, beside the bill's ``total``."""
        return {
            "key": self.key,
            "name": self.name,
            "usd_a_month": self.low,
            "usd_a_month_at_most": self.high,
            "share_of_weir": None if self.low is None or not total else self.low / total,
            "lacks": self.lacks,
            "has": self.has,
            "basis": self.basis,
            "page": self.page,
            "date": self.date,
            "lines": [
                {"key": item.key, "part": item.part, "what": item.what, "month": item.month} for item in self.items
            ],
        }


def alternatives(bill: Bill) -> Iterator[Alternative]:
    """Yield the other ways: two on AWS, then the hosted services of the price list."""
    queue = [*_kept(bill, _OF_THE_STREAM | _OF_THE_ACCOUNT | _OF_THE_FIREWALL), *_lambda_in_front(bill)]
    basis = "a receiver of 256 MB that takes 20 ms; the same consumer, tables, logs, metrics and alarms"
    name = "HTTP API, Lambda, SQS, Lambda, DynamoDB"
    yield _of_items("lambda_in_front", name, queue, lacks=_LAMBDA_LACKS, has=_LAMBDA_HAS, basis=basis)
    stream = [*_kept(bill, _OF_THE_FIREWALL), _http_requests(bill)]
    basis = "API Gateway's Kinesis-PutRecord integration; all other lines are those of this bill"
    name = "HTTP API into Kinesis, the rest the same"
    yield _of_items("http_api", name, stream, lacks=_HTTP_LACKS, has=_HTTP_HAS, basis=basis)
    for key, service in bill.reckoning.prices.hosted.items():
        yield _hosted(key, service, bill)


def _kept(bill: Bill, without: frozenset[str]) -> list[Item]:
    return [item for item in bill.items if item.key not in without | {"requests"}]


def _of_items(key: str, name: str, items: Sequence[Item], **said: str) -> Alternative:
    listed = sorted(items, key=lambda item: -item.month)
    total = sum(item.month for item in listed)
    return Alternative(key, name, total, total, **said, items=listed)


def _http_requests(bill: Bill) -> Item:
    load = bill.reckoning.load
    amount = load.month * max(1, ceil(load.body_bytes / _HTTP_STEP_BYTES))
    return bill.reckoning.item("http_requests", "API Gateway", "requests of an HTTP API", http_requests=amount)


def _lambda_in_front(bill: Bill) -> Iterator[Item]:
    reckoning, load = bill.reckoning, bill.reckoning.load
    yield _http_requests(bill)
    seconds = load.month * _RECEIVER_S * _RECEIVER_GB
    processor = reckoning.stack.parameters["Architecture"]
    receiver = {"invocations": load.month, f"gb_seconds_{processor}": seconds}
    yield reckoning.item("receiver", "Lambda", "receiver, each request", **receiver)
    chunks = ceil(load.record_bytes / _SQS_STEP_BYTES)
    together = min(_SQS_BATCH, max(1.0, load.month / SECONDS / _SQS_POLLERS))
    received = max(1 / together, load.record_bytes / _SQS_STEP_BYTES)
    asked = load.month * (chunks + received + 1 / together)
    yield reckoning.item("queue", "SQS", "sent, received, deleted", sqs_requests=asked)
    gb = load.month * watching.INVOCATION_BYTES / GB
    yield reckoning.item("receiver_logs", "CloudWatch", "logs of the receiver, taken in", log_gb=gb)


def _hosted(key: str, service: HostedService, bill: Bill) -> Alternative:
    load, date = bill.reckoning.load, service.date.isoformat()
    plan = service.plan(load.month, load.peak_per_s)
    if plan is None:
        return Alternative(key, service.name, None, None, _HOSTED_LACKS, _HOSTED_HAS, _BY_AGREEMENT, service.page, date)
    low, high = plan.of(load.month, load.peak_per_s)
    name = f"{service.name}, {plan.name}: kept {plan.keeps}"
    return Alternative(key, name, low, high, _HOSTED_LACKS, _HOSTED_HAS, _HOSTED_BASIS, service.page, date)

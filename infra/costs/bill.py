"""Every line of AWS' bill for a load, and why each resource type of the template has one or costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from weir.infra.costs import door, flow, protection, stores, watching
from weir.infra.costs.account_reads import HOLDS, AccountReads
from weir.infra.costs.item import Item, Reckoning

# The lines that a resource of each type causes, by their keys; a type is here or in `COSTS_NOTHING`.
CAUSES: dict[str, tuple[str, ...]] = {
    "AWS::ApiGateway::RestApi": ("requests", "answers"),
    "AWS::ApiGateway::Stage": ("detailed_metrics",),
    "AWS::ApplicationAutoScaling::ScalingPolicy": ("alarms",),
    "AWS::CloudWatch::Alarm": ("alarms",),
    "AWS::CloudWatch::Dashboard": ("dashboard",),
    "AWS::DynamoDB::Table": ("writes", "reads", "events_kept", "events_backup", "insights", "kms_requests"),
    "AWS::Kinesis::Stream": ("stream", "retention", "account_stream", "stream_key", "kms_keys"),
    "AWS::KinesisFirehose::DeliveryStream": ("firehose",),
    "AWS::Lambda::EventSourceMapping": ("metrics",),
    "AWS::Lambda::Function": (
        *(
            "consumer",
            "waiting",
            "account",
            "handshake",
            "metrics",
            "metric_requests",
            "secrets",
            "kms_requests",
            "kms_keys",
        ),
    ),
    "AWS::Logs::LogGroup": ("logs", "logs_kept"),
    "AWS::S3::Bucket": ("archive", "bucket_requests"),
    "AWS::SNS::Subscription": ("mails",),
    "AWS::WAFv2::WebACL": ("waf",),
    "AWS::WAFv2::WebACLAssociation": ("waf_requests",),
}
COSTS_NOTHING: dict[str, str] = {
    "AWS::ApiGateway::Account": "a setting of the account",
    "AWS::ApiGateway::BasePathMapping": "a setting of the domain",
    "AWS::ApiGateway::Deployment": "a snapshot of the API; requests are charged",
    "AWS::ApiGateway::DomainName": "a domain has no price of its own, nor has a public certificate of ACM",
    "AWS::ApplicationAutoScaling::ScalableTarget": "the capacity and the alarms of its policy are charged",
    "AWS::Events::Rule": "a schedule on the default bus is not a custom event; what it starts is charged",
    "AWS::IAM::ManagedPolicy": "IAM has no price",
    "AWS::IAM::Role": "IAM has no price",
    "AWS::Lambda::EventInvokeConfig": "a setting of the function",
    "AWS::Lambda::Permission": "a policy",
    "AWS::Logs::LogStream": "its log group is charged",
    "AWS::Logs::QueryDefinition": "a saved text; a person who runs it pays for what it scans",
    "AWS::S3::BucketPolicy": "a policy",
    "AWS::SNS::Topic": "alarms are its only messages, far below the first million of a month, which is free",
    "AWS::SQS::Queue": "it has a message only for a batch that is given up",
    "AWS::SQS::QueuePolicy": "a policy",
}
NOT_COUNTED = (
    "what the business code stores and reads",
    "reads by people: Logs Insights, weir events, replays, rebuilds",
    "quarantined events, repeats, failed batches",
    "the bucket of deployments, DNS, tax, support, free tiers, discounts",
)


@dataclass(frozen=True)
class Bill:
    """The bill of one load."""

    reckoning: Reckoning

    @cached_property
    def items(self) -> list[Item]:
        """Return its lines, the largest first."""
        parts = (door, flow, stores, watching, protection)
        found: Iterator[Item] = chain.from_iterable(part.items(self.reckoning) for part in parts)
        return sorted(found, key=lambda item: (-item.month, item.key))

    @property
    def total(self) -> float:
        """Return all of it, in USD a month."""
        return sum(item.month for item in self.items)

    @property
    def by_part(self) -> dict[str, float]:
        """Return it by service, the largest first."""
        found: dict[str, float] = {}
        for item in self.items:
            found[item.part] = found.get(item.part, 0.0) + item.month
        return dict(sorted(found.items(), key=lambda part: -part[1]))

    @property
    def marks(self) -> float:
        """Return what the marks alone would cost a month, with recovery, without the events that they hold."""
        gb, prices = stores.marks_gb(self.reckoning), self.reckoning.prices
        return prices.cost("table_gb_month", gb) + prices.cost("backup_gb_month", gb)

    @property
    def free(self) -> dict[str, str]:
        """Return why they cost nothing, by the types of the stack's resources that do."""
        types = {one.type for one in self.reckoning.stack.resources.values()}
        return {kind: reason for kind, reason in COSTS_NOTHING.items() if kind in types}

    @property
    def notes(self) -> list[str]:
        """Return what a person should know of this load beside its price."""
        account = AccountReads(self.reckoning)
        if account.deliveries_a_run <= HOLDS:
            return []
        minutes = int(HOLDS / self.reckoning.load.rate_per_s / 60)
        said = (
            f"an account check holds about {HOLDS:,} deliveries, and would have {account.deliveries_a_run:,.0f}: "
            f"set AccountWindowMinutes to {minutes} or less, and AccountSchedule to less than that"
        )
        return [said]

"""What a run on an account costs at most, by the list prices of infra/prices.yaml.

The bounds are wide on purpose: each scenario runs as often as it may, and lasts until it is ended. Left out are data
transfer, some MB, and what lies in tables and buckets for minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from tests.conformance.account import MEMORY_MB, AwsAccount
from tests.conformance.scenarios import MAPPING, Scenario
from weir.infra.prices import Prices

# So many batches of a scenario run at once: its shards, or as many of its one shard as ParallelizationFactor lets.
_LANES = 4
# What no scenario exceeds: invocations, units that a note of one takes in the table, units of 25 KB in the stream,
# requests to its API, and MB of an access log.
_INVOCATIONS, _UNITS_OF_A_NOTE, _PUT_UNITS, _API_REQUESTS, _LOG_MB = 1000, 6, 1000, 1000, 1
# What is looked at again and again while a scenario waits: the table, and a bucket or a queue.
_LOOKS_UNITS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the bill in USD."""

    what: str
    usd: float


def at_most(scenarios: Iterable[Scenario]) -> list[Part]:
    """Return the bill that these scenarios cannot exceed on AWS."""
    cost = Prices().cost
    given = list(scenarios)
    tries, limit_s = AwsAccount.tries, AwsAccount.limit_s
    runs = len(given) * tries
    # A shard that was there for a part of an hour counts for the whole of it. One more is for the roles' proof.
    shard_hours = (sum(each.shards for each in given) * tries + 1) * ceil(limit_s / 3600)
    mapping_runs = sum(each.section == MAPPING for each in given) * tries + 1
    gb_seconds = mapping_runs * _LANES * limit_s * MEMORY_MB / 1024
    looks = runs * limit_s / AwsAccount.waits.poll_s
    # Reads cost a fifth of writes; they are counted as writes, and every request as S3's dearest.
    units = mapping_runs * _INVOCATIONS * _UNITS_OF_A_NOTE + looks * _LOOKS_UNITS
    return [
        Part(f"Kinesis: {shard_hours} shard-hours", cost("shard_hours", shard_hours)),
        Part(f"Kinesis: {runs * _PUT_UNITS:,} put units", cost("put_units", runs * _PUT_UNITS)),
        Part(
            f"Lambda: {gb_seconds:,.0f} GB-seconds",
            cost("gb_seconds_x86_64", gb_seconds) + cost("invocations", mapping_runs * _INVOCATIONS),
        ),
        Part(f"DynamoDB: {units:,.0f} units", cost("write_units", units)),
        Part(f"API Gateway: {runs * _API_REQUESTS:,} requests", cost("api_requests", runs * _API_REQUESTS)),
        Part(f"S3, SQS, SNS: {looks:,.0f} requests", cost("bucket_puts", looks)),
        Part(f"CloudWatch: {runs * _LOG_MB} MB of logs", cost("log_gb", runs * _LOG_MB / 1024)),
    ]

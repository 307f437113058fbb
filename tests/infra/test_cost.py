"""What a load costs, against arithmetic done by hand from AWS' price lists."""

from __future__ import annotations

import json
from math import ceil
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from weir.cli.main import main
from weir.consumers.events_table.item import UNPROVEN_BYTES_MAX
from weir.infra import cost, flood, template

GIVEN = {"ArtifactBucket": "-", "ApiDefinitionKey": "-", "FunctionKey": "-"}


def estimated(rate: float = 10.0, peak: float = 50.0, body: int = 1500, **given: str) -> cost.Estimate:
    values = template.parameters(template.load(), {**GIVEN, **given})
    return cost.Estimate(cost.Load(rate, peak, body, 3.8, 30), values, alarms_count=10, metrics_count=10)


def bill(estimate: cost.Estimate) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in estimate.items():
        found[f"{item.part} {item.what}"] = item.month
    return found


def test_a_bill_agrees_with_arithmetic_by_hand() -> None:
    """Ten webhooks/s are 26.28 million a month; each line is its amount times the list price."""
    found = bill(estimated(10))
    assert found["API Gateway requests"] == pytest.approx(26.28 * 3.50)
    assert found["DynamoDB writes"] == pytest.approx(26.28 * 3.8 * 0.625)
    assert found["DynamoDB 30 days of events"] == pytest.approx(10 * 86_400 * 30 * 1.9 * 1024 / 2**30 * 0.45)
    # Records of 2,729 bytes count as 3 KB, and as 5 KB for Firehose; two readers.
    gb = 26.28e6 * 3 * 1024 / 2**30
    assert found["Kinesis in, and out to 2 readers"] == pytest.approx(730 * 0.04 + gb * 0.08 + gb * 2 * 0.04)
    assert found["Kinesis 168 hours of retention"] == pytest.approx(gb / 730 * 144 * 0.10)
    assert found["Firehose records in whole 5 KB"] == pytest.approx(26.28e6 * 5 * 1024 / 2**30 * 0.029)


def test_a_provisioned_stream_is_paid_by_the_shard() -> None:
    """Two shards of a week's retention, and a unit of 25 KB for each record."""
    found = bill(estimated(10, StreamMode="PROVISIONED", ArchiveMode="none"))
    assert found["Kinesis in, and out to 1 reader"] == pytest.approx(2 * 730 * 0.015 + 26.28 * 0.014)
    assert found["Kinesis 168 hours of retention"] == pytest.approx(2 * 730 * 0.02)
    assert not [name for name in found if name.startswith(("Firehose", "S3"))]


@pytest.mark.parametrize(
    ("peak", "body", "shards"),
    [(10, 1500, 2), (2500, 10, 3), (2000, 10, 2), (500, 60_000, 39)],
)
def test_shards_follow_the_peak(peak: float, body: int, shards: int) -> None:
    """A shard takes 1,000 records and 1 MB a second, whichever is less."""
    assert estimated(1, peak, body, StreamMode="PROVISIONED").shards == shards


def test_longer_windows_make_fuller_and_cheaper_batches() -> None:
    """A lane that waits gathers more; a batch never has more than its size."""
    hasty, patient = estimated(100), estimated(100, BatchWindowSeconds="5")
    assert hasty.batch_records < patient.batch_records
    assert min(item.month for item in hasty.items() if item.part == "Lambda") > min(
        item.month for item in patient.items() if item.part == "Lambda"
    )
    assert estimated(1e6, 1e6, BatchWindowSeconds="300").batch_records == 500


def test_less_memory_is_less_of_a_processor() -> None:
    """Half a processor takes twice as long for an event; more than one takes no less time, and costs more."""
    half, whole, double = (estimated(100, FunctionMemoryMB=mb) for mb in ("884", "1769", "3538"))
    assert half.keeps_up == pytest.approx(whole.keeps_up / 2, rel=0.1)
    assert double.keeps_up == whole.keeps_up
    paid = [next(item.month for item in one.items() if item.part == "Lambda") for one in (whole, double)]
    assert paid[0] < paid[1]


def test_every_price_says_where_it_is_from() -> None:
    """A price without unit, page and date is a rumour."""
    for price, count, unit, source, noted in yaml.safe_load(cost.PRICES.read_text()).values():
        assert price > 0
        assert count in {1, 1_000_000}
        assert unit
        assert source.startswith("https://aws.amazon.com/")
        assert noted.year >= 2024


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["cost", *arguments])


def test_the_command_adds_up_and_refuses_what_makes_no_sense() -> None:
    """Lines and total agree; a peak below the average and an unknown parameter are reported."""
    said = run("--rate", "100").output.splitlines()
    assert said.pop().startswith("marks without their events, for the same 400 days: 318.65")  # of 220 bytes each
    months = [float(line[46:58].replace(",", "")) for line in said[3:]]
    assert months[-1] == pytest.approx(sum(months[:-1]), abs=0.06)
    document = json.loads(run("--rate", "100", "--json").output)
    assert sum(item["month"] for item in document["usd_a_month"]) == pytest.approx(months[-1], abs=0.01)
    refused = run("--rate", "5", "--peak", "1")
    assert refused.exit_code == 2
    assert "below the average of 5" in refused.output
    unknown = run("--set", "Shards=1")
    assert unknown.exit_code == 2
    assert "no parameter Shards" in unknown.output


def flood_of(body: int | None, rate: float = 100.0, **given: str) -> flood.Flood:
    return flood.Flood(rate, body, template.parameters(template.load(), {**GIVEN, **given}))


def largest() -> int:
    """Return the bytes of the largest body that is stored."""
    return int(template.parameters(template.load(), GIVEN)["MaxBodyKiB"]) * 1024


def test_a_flood_agrees_with_arithmetic_by_hand() -> None:
    """A million unsigned POSTs of 100 KiB: three write units and one object each, kept 14 days; all else by size."""
    each = flood_of(100 * 1024).usd_per_request(100 * 1024)
    million = {part: usd * 1e6 for part, usd in each.items()}
    record = cost.record_bytes(100 * 1024)
    gb = ceil(record / 1024) * 1024e6 / 2**30
    assert million["API Gateway"] == pytest.approx(3.50)
    assert million["Kinesis"] == pytest.approx(gb * (0.08 + 2 * 0.04 + 0.10 * 144 / 730))
    kept = (1448 + 600) * 1e6 / 2**30 * 14 * 24 / 730 * 0.45
    assert million["DynamoDB"] == pytest.approx(3 * 0.625 + kept)
    archive = record * 0.76e6 / 2**30 * 400 * 24 / 730 * 0.023
    body = 100 * 1024e6 / 2**30 * 14 * 24 / 730 * 0.023
    assert million["S3"] == pytest.approx(5.0 + body + archive)
    assert flood_of(100 * 1024).usd(86_400)["API Gateway"] == pytest.approx(8.64 * 3.50)


def test_a_flood_is_counted_as_the_consumer_stores_it() -> None:
    """The size from which a body is an object is the consumer's, and days are those of the parameter."""
    assert flood.INLINE_BYTES == UNPROVEN_BYTES_MAX
    inline, large = (flood_of(size).usd_per_request(size) for size in (UNPROVEN_BYTES_MAX, UNPROVEN_BYTES_MAX + 1))
    assert inline["DynamoDB"] > 3 * large["DynamoDB"]
    short, long = (flood_of(9000, UnprovenDays=days).usd_per_request(9000) for days in ("7", "70"))
    assert short["DynamoDB"] < long["DynamoDB"]
    assert short["S3"] < long["S3"]


@pytest.mark.parametrize("given", [{}, {"ArchiveMode": "none"}, {"StreamMode": "PROVISIONED"}])
def test_no_size_costs_more_than_the_one_that_is_named(given: dict[str, str]) -> None:
    """The default size is the worst of those that are stored."""
    worst = flood.Flood(100.0, None, template.parameters(template.load(), {**GIVEN, **given}))
    most = sum(worst.usd_per_request(worst.body_bytes).values())
    for size in (0, 1, 1000, 8191, 8192, 8193, 100_000, largest()):
        assert sum(worst.usd_per_request(size).values()) <= most


def test_the_throttle_cuts_a_flood() -> None:
    """Of a flood above the throttle, what gets through is paid: both paths of the source that takes most."""
    parameters = template.parameters(template.load(), {**GIVEN, "ThrottleRate": "20"})
    assert flood.FloodLimits.of(parameters, {}, 3) == flood.FloodLimits(40.0, 120.0)
    limits = flood.FloodLimits.of(parameters, {"a": (5.0, 10), "b": (7.0, 10)}, 2)
    assert limits == flood.FloodLimits(14.0, 24.0)
    document = flood_of(1000, rate=140.0).document(limits)
    assert sum(document["throttled_usd_a_day"].values()) == pytest.approx(sum(document["usd_a_day"].values()) / 10)
    assert document["throttled_per_s"] == 14


def test_the_command_shows_a_flood_beside_the_load() -> None:
    """Parts and totals agree; the size is named when it was chosen for its price; JSON has the same."""
    plain = run("--rate", "10").output.splitlines()
    said = run("--rate", "10", "--hostile", "1e6").output.splitlines()
    assert said[: len(plain)] == plain
    assert f"{largest():,} bytes (the size that costs most)" in said[len(plain) + 1]
    rows = [line for line in said if line.startswith("total")]
    true_load, _, month, _, cut = (float(number.replace(",", "")) for number in rows[1].split()[1:])
    assert true_load == pytest.approx(float(rows[0].split()[1].replace(",", "")), abs=0.01)
    assert month == pytest.approx(500 * cut, rel=1e-3)
    document = json.loads(run("--rate", "10", "--hostile", "5", "--hostile-body", "9000", "--json").output)["hostile"]
    assert document["body_bytes"] == 9000
    assert sum(document["usd_a_month"].values()) == pytest.approx(
        document["usd_a_million"] * 5 * 730 * 3600 / 1e6, rel=1e-6
    )

"""What a load costs, against arithmetic done by hand from AWS' price lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from weir.cli.main import main
from weir.infra import cost, template

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

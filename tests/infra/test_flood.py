"""What a flood of unsigned POSTs costs, against arithmetic done by hand."""

from __future__ import annotations

import json
from math import ceil
from typing import Any

import pytest
from click.testing import CliRunner

from weir.cli.main import main
from weir.consumers.events_table.item import UNPROVEN_BYTES_MAX
from weir.infra import cost, flood, template

GIVEN = {"ArtifactBucket": "-", "ApiDefinitionKey": "-", "FunctionKey": "-"}


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["cost", *arguments])


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
    kept = (1448 + 600) * 1e6 / 2**30 * 14 * 24 / 730 * (0.25 + 0.20)
    assert million["DynamoDB"] == pytest.approx(3 * 0.625 + kept)
    archive = record * 0.76e6 / 2**30 * 400 * 24 / 730 * 0.023
    body = 100 * 1024e6 / 2**30 * 14 * 24 / 730 * 0.023
    assert million["S3"] == pytest.approx(5.0 + body + archive)
    logged = (303 + 385) * 1e6 / 2**30
    stored = (logged * 0.15 + 2 * 26e6 / 2**30) * 30 * 24 / 730 * 0.03
    assert million["CloudWatch"] == pytest.approx(logged * 0.50 + stored)
    assert million["Data transfer"] == pytest.approx(395e6 / 2**30 * 0.09)
    assert "AWS WAF" not in million
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


def test_a_web_acl_is_paid_for_each_request_also_for_what_is_throttled() -> None:
    """AWS WAF judges before the throttle: what it passes on and the throttle refuses is charged too."""
    for given in ({"WafRequestsPerIp": "2000"}, {"WebAclArn": "arn:aws:wafv2:us-east-1:0:regional/webacl/a/1"}):
        judged = flood_of(1000, rate=140.0, **given)
        document = judged.document(flood.FloodLimits(14.0, 28.0))
        assert document["usd_a_day"]["AWS WAF"] == pytest.approx(140 * 86_400 * 0.60e-6)
        assert document["throttled_usd_a_day"]["AWS WAF"] == document["usd_a_day"]["AWS WAF"]
        assert document["throttled_usd_a_day"]["Kinesis"] == pytest.approx(document["usd_a_day"]["Kinesis"] / 10)
        assert any("costs nothing but AWS WAF" in line for line in flood.lines(judged, flood.FloodLimits(14, 28), {}))


def test_the_command_shows_a_flood_beside_the_load() -> None:
    """Parts and totals agree; the size is named when it was chosen for its price; JSON has the same."""
    plain = run("--rate", "10").stdout.splitlines()
    said = run("--rate", "10", "--hostile", "1e6").stdout.splitlines()
    assert said[: len(plain)] == plain
    assert f"{largest():,} bytes (the size that costs most)" in said[len(plain) + 1]
    rows = [line for line in said if line.startswith("total")]
    true_load, _, month, _, cut = (float(number.replace(",", "")) for number in rows[1].split()[1:])
    assert true_load == pytest.approx(float(rows[0].split()[1].replace(",", "")), abs=0.01)
    assert month == pytest.approx(500 * cut, rel=1e-3)
    document = json.loads(run("--rate", "10", "--hostile", "5", "--hostile-body", "9000", "--json").stdout)["hostile"]
    assert document["body_bytes"] == 9000
    assert sum(document["usd_a_month"].values()) == pytest.approx(
        document["usd_a_million"] * 5 * 730 * 3600 / 1e6, rel=1e-6
    )

"""The price list: where each price is from, how old it is, and what else the same load would cost."""

from __future__ import annotations

import datetime
import json

import pytest
from click.testing import CliRunner

from tests.infra.test_cost import bill_of, by_hand, months
from weir.cli.main import main
from weir.infra.costs.alternatives import Alternative, alternatives
from weir.infra.prices import HostedPlan, ListPrice, Prices

TODAY = datetime.date(2026, 11, 28)


def others(rate: float, body: int = 1024) -> dict[str, Alternative]:
    return {one.key: one for one in alternatives(bill_of(rate, body=body))}


# ------------------------------------------------------------------------------------------------ the list


def test_every_price_says_where_it_is_from() -> None:
    """A price without unit, page and date is a rumour."""
    prices = Prices()
    for price in prices.listed.values():
        assert price.usd > 0
        assert price.per in {1, 1000, 10_000, 100_000, 1_000_000}
        assert price.unit
        assert price.page.startswith("https://aws.amazon.com/")
        assert [*price.beyond] == sorted(price.beyond)
    for service in prices.hosted.values():
        assert service.page.startswith("https://")
        assert service.plans


def test_the_date_of_the_list_is_that_of_its_oldest_price() -> None:
    """No price is older than the list says, and none is of tomorrow."""
    prices = Prices()
    dates = [price.date for price in prices.listed.values()] + [one.date for one in prices.hosted.values()]
    assert min(dates) == prices.date
    assert max(dates) <= datetime.datetime.now(datetime.UTC).date()


def test_a_price_falls_beyond_its_bounds() -> None:
    """The first 100 cost two, the next 100 one, all others a half."""
    price = ListPrice(2.0, 1, "unit", "", TODAY, [(100, 1.0), (200, 0.5)])
    assert [price.of(amount) for amount in (0, 50, 100, 150, 200, 400)] == [0, 100, 200, 250, 300, 400]
    assert Prices().cost("api_requests", 1e6) == pytest.approx(3.50)
    assert Prices().cost("api_requests", 25e9) == pytest.approx(333 * 3.50 + 667 * 2.80 + 19_000 * 2.38 + 5_000 * 1.51)


def test_a_list_is_old_after_a_year() -> None:
    """The warning is one line with the date; a year and a day after it, and not before."""
    prices = Prices()
    assert prices.warning(prices.date + datetime.timedelta(days=365)) == ""
    warning = prices.warning(prices.date + datetime.timedelta(days=366))
    assert str(prices.date) in warning
    assert "more than a year ago" in warning
    assert "\n" not in warning


def test_the_command_says_the_date_and_warns_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """The date is in the table's head and in JSON; the warning goes to standard error, one line."""
    today = datetime.datetime.now(datetime.UTC).date()
    for days, is_old in ((10, False), (400, True)):
        date = today - datetime.timedelta(days=days)
        monkeypatch.setattr(Prices, "date", date)
        said = CliRunner().invoke(main, ["cost"])
        assert f"list prices of us-east-1, {date} or later" in said.stdout
        assert len(said.stderr.splitlines()) == is_old
        document = json.loads(CliRunner().invoke(main, ["cost", "--json"]).stdout)["price_list"]
        assert (document["date"], document["is_old"]) == (str(date), is_old)


# ------------------------------------------------------------------------------------------------ the load otherwise


@pytest.mark.parametrize("body", [1024, 102_400])
@pytest.mark.parametrize("rate", [1, 100, 1000])
def test_a_function_in_front_agrees_with_arithmetic_by_hand(rate: int, body: int) -> None:
    """Requests of an HTTP API, a function for each, a queue in 64 KB, its log; without stream, archive and account."""
    same, month = by_hand(rate, body), rate * 2_628_000
    without = {"requests", "stream", "retention", "account_stream", "stream_key", "firehose", "archive"}
    without |= {"bucket_requests", "account", "reads", "metric_requests"}
    record = 729 + 4 * -(-body // 3)
    together = {1: 1, 100: 10, 1000: 10}[rate]
    http = min(month, 300e6) * 1.00e-6 + max(0, month - 300e6) * 0.90e-6
    receiver = month * 0.20e-6 + month * 0.020 * 0.25 * 0.0000133334
    asked = -(-record // 65_536) + max(1 / together, record / 65_536) + 1 / together
    expected = http + receiver + month * asked * 0.40e-6 + month * 290 / 2**30 * 0.50
    expected += sum(usd for key, usd in same.items() if key not in without)
    found = others(rate, body)["lambda_in_front"]
    assert found.low == found.high == pytest.approx(expected)
    assert found.low == pytest.approx(sum(item.month for item in found.items))


def test_an_http_api_into_the_stream_differs_by_its_requests() -> None:
    """A body beyond 512 KB counts twice; a web ACL is taken out, since an HTTP API can have none."""
    for body, requests in ((1024, 26.28), (600_000, 2 * 26.28)):
        bill = bill_of(10, body=body, WafRequestsPerIp="2000")
        found = next(one for one in alternatives(bill) if one.key == "http_api")
        gone = sum(months(bill)[key] for key in ("requests", "waf", "waf_requests"))
        assert found.low == pytest.approx(bill.total - gone + requests * 1.00)


def test_hosted_services_cost_what_their_pages_say() -> None:
    """One webhook a second is 2.628 million a month, five a second at the peak."""
    found = others(1)
    assert found["hookdeck"].low == pytest.approx(39 + 2_618_000 / 1e5 * 0.35)
    assert found["hookdeck"].high == pytest.approx(39 + 2_618_000 / 1e5 * 3.00)
    assert found["svix"].low == found["svix"].high == pytest.approx(2_578_000 * 0.0001)
    assert found["convoy"].low == 99
    many = others(100)  # 500 a second at the peak
    assert many["hookdeck"].low == pytest.approx(39 + 262_790_000 / 1e5 * 0.35 + 495 * 1)
    assert many["hookdeck"].high == pytest.approx(39 + 262_790_000 / 1e5 * 3.00 + 495 * 3)
    assert many["svix"].low == pytest.approx(490 + 262_750_000 * 0.0001)
    assert "Professional" in many["svix"].name
    assert (many["convoy"].low, many["convoy"].high) == (None, None)
    assert others(1000)["svix"].low is None


def test_a_plan_takes_no_more_than_its_page_says() -> None:
    """Without a price for more, neither more events nor a higher peak are taken."""
    plan = HostedPlan("Small", 10, "1 day", included=1000, included_per_s=5)
    assert plan.holds(1000, 5)
    assert not plan.holds(1001, 5)
    assert not plan.holds(1000, 6)
    assert plan.of(1000, 5) == (10, 10)


@pytest.mark.parametrize("rate", [1, 100, 1000])
def test_each_other_way_says_what_it_lacks_and_has(rate: int) -> None:
    """In words, with what the figure is made of; a service with its page and date."""
    for one in others(rate).values():
        assert one.lacks
        assert one.has
        assert one.basis
        document = one.document(1000.0)
        assert document["share_of_weir"] == (None if one.low is None else one.low / 1000)
        is_hosted = one.key in Prices().hosted
        assert bool(one.page) == bool(one.date) == is_hosted
        assert bool(one.items) == (not is_hosted)


def test_the_table_of_other_ways_names_each_once() -> None:
    """A figure and its share of Weir's for each, and a sentence for what the services have in common."""
    said = CliRunner().invoke(main, ["cost", "--rate", "100"]).stdout.splitlines()
    start = next(number for number, line in enumerate(said) if line.startswith("the same load otherwise"))
    part = said[start:]
    assert len(part) <= 16
    assert all(len(line) <= 118 for line in said)
    for name in ("HTTP API, Lambda, SQS, Lambda, DynamoDB", "HTTP API into Kinesis", "Hookdeck", "Svix", "Convoy"):
        assert sum(line.startswith(name) for line in part) == 1
    assert sum("by agreement" in line for line in part) == 1
    assert any("https://hookdeck.com/pricing (2026-07-01)" in line for line in part)

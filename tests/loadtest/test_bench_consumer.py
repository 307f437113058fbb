from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
from click.testing import CliRunner, Result

from weir.cli.main import main
from weir.ingest.envelope import decode
from weir.ingest.schemes.signatures import verify
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import load
from weir.loadtest.bench import bench_consumer
from weir.loadtest.bench.bench_endpoint import ACTION_S, CALL_S, TRANSACTION_S, Endpoint, item_bytes
from weir.loadtest.bench.bench_workload import BATCH_RECORDS, SECRET, SOURCE, Workload


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    file = tmp_path_factory.mktemp("bench") / "sources.yaml"
    file.write_text(f"{SOURCE}: {{preset: standard-webhooks}}\n")
    return load(file)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, dict[str, Any]]:
    """Run the command once, as small as it gets."""
    folder = tmp_path_factory.mktemp("bench-run")
    arguments = ["--rounds", "1", "--batches", "1", "--no-powertools", "--folder", str(folder), "--out"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_consumer, "COLD_STARTS", 1)  # these tests claim nothing about their time
        result = CliRunner().invoke(main, ["bench", "consumer", *arguments, str(folder / "report.json")])
    return result, json.loads((folder / "report.json").read_bytes())


@pytest.fixture(scope="module")
def report(done: tuple[Result, dict[str, Any]]) -> dict[str, Any]:
    return done[1]


def test_the_command_prints_the_report_and_exits_by_its_targets(done: tuple[Result, dict[str, Any]]) -> None:
    """What is printed is the report that --out writes, and the exit code is 1 when one target was missed."""
    result, report = done
    assert result.stdout.splitlines() == list(bench_consumer.lines(report))
    assert result.exit_code == (0 if bench_consumer.is_reached(report) else 1)


def test_what_could_not_be_measured_is_no_target_reached(report: dict[str, Any]) -> None:
    """Without Powertools, where it was to be compared with, the run says so and fails."""
    [unmeasured] = [one for one in bench_consumer.judge(report, with_powertools=True) if one["value"] is None]
    assert (unmeasured["name"], unmeasured["reached"]) == ("records/s, times Powertools'", False)
    assert any("unmeasured" in line for line in bench_consumer.lines({**report, "targets": [unmeasured]}))


def test_what_does_not_depend_on_the_machine_is_reached(report: dict[str, Any]) -> None:
    """Calls, write units and memory of the handler keep to their targets wherever they are counted."""
    reached = {target["name"]: target["reached"] for target in report["targets"]}
    for name in ("calls a record", "write units, of the floor's", "peak memory, MiB"):
        assert reached[name], bench_consumer.lines(report)


def test_the_report_has_every_column(report: dict[str, Any]) -> None:
    """A line for each contestant with all figures, and a line for each target that can be judged."""
    text = list(bench_consumer.lines(report))
    assert all(title in text[0] for title in ("records/s", "calls/rec", "WU/rec", "CPU", "p50", "p95", "peak", "cold"))
    assert [line.split()[0] for line in text[1:4]] == ["weir", "floor", "a"]
    assert len(text) == 4 + 1 + 6
    assert bench_consumer.is_reached({"targets": [{"reached": True}]})
    assert not bench_consumer.is_reached({"targets": [{"reached": True}, {"reached": False}]})


def test_a_batch_is_what_the_benchmark_says(catalogue: Catalogue) -> None:
    """500 signed records of 1 to 2 KB, 5 % of them duplicates, accounts by Zipf's law, the same for the same seed."""
    batch = Workload(catalogue[SOURCE], 3).batch()
    envelopes = [decode(b64decode(record["kinesis"]["data"])) for record in batch["Records"]]
    assert len(envelopes) == BATCH_RECORDS
    assert len({one.request_id for one in envelopes}) == BATCH_RECORDS
    assert len({one.header("webhook-id") for one in envelopes}) == BATCH_RECORDS * 95 // 100
    assert all(1000 <= len(one.body) < 2200 for one in envelopes)
    assert verify(catalogue[SOURCE].scheme, [SECRET], envelopes[0]).secret_index == 0
    accounts = [json.loads(one.body)["data"]["account"] for one in envelopes]
    assert 100 < len(set(accounts)) < 250
    assert max(map(accounts.count, set(accounts))) > 40
    assert batch == Workload(catalogue[SOURCE], 3).batch()


def put(key: str, **attributes: Any) -> dict[str, Any]:
    item = {"pk": {"S": key}, **attributes}
    return {"Put": {"TableName": "t", "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}


def add(account: str, amount: int) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": "b",
            "Key": {"account": {"S": account}},
            "UpdateExpression": "ADD #0 :0, n :1",
            "ExpressionAttributeNames": {"#0": "EUR"},
            "ExpressionAttributeValues": {":0": {"N": str(amount)}, ":1": {"N": "1"}},
        }
    }


def test_the_endpoint_keeps_marks_and_sums() -> None:
    """A transaction is done whole, or not at all when a mark is there, and its latency is what was set."""
    endpoint = Endpoint()
    status, _, delay_s = endpoint.answer("TransactWriteItems", {"TransactItems": [put("e1"), add("a", 5)]})
    assert (status, delay_s) == (200, TRANSACTION_S + 2 * ACTION_S)
    status, body, _ = endpoint.answer("TransactWriteItems", {"TransactItems": [add("a", 6), put("e1"), put("e2")]})
    assert (status, [reason["Code"] for reason in body["CancellationReasons"]]) == (
        400,
        ["None", "ConditionalCheckFailed", "None"],
    )
    endpoint.answer("TransactWriteItems", {"TransactItems": [add("a", 7)]})
    _, found, _ = endpoint.answer("GetItem", {"TableName": "b", "Key": {"account": {"S": "a"}}})
    assert found["Item"] == {"account": {"S": "a"}, "EUR": {"N": "12"}, "n": {"N": "2"}}
    assert endpoint.figures()["calls"] == {"TransactWriteItems": 3, "GetItem": 1}


def test_the_endpoint_bills_as_dynamodb_does() -> None:
    """Two units a kilobyte in a transaction, one in a Put, and a refused Put costs what is there."""
    endpoint = Endpoint()
    endpoint.answer("TransactWriteItems", {"TransactItems": [put("e1", body={"S": "x" * 1500}), add("a", 1)]})
    assert endpoint.figures()["write_units"] == 2 * 2 + 2
    again = {"TableName": "t", "Item": {"pk": {"S": "e1"}}, "ConditionExpression": "attribute_not_exists(pk)"}
    status, _, delay_s = endpoint.answer("PutItem", again)
    assert (status, delay_s, endpoint.figures()["write_units"]) == (400, CALL_S, 2)
    endpoint.answer("PutItem", {"TableName": "t", "Item": {"pk": {"S": "e9"}}})
    assert endpoint.figures()["write_units"] == 1
    assert item_bytes({"ab": {"S": "é"}, "b": {"B": "AP8="}, "m": {"M": {"k": {"BOOL": True}}}}) == 4 + 3 + 7

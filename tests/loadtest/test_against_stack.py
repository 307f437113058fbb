"""The commands of `weir load` as a user runs them, on a stack of their own."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.load_stack import target
from weir.cli.load_target import start_stack
from weir.cli.main import main
from weir.loadtest.faults.fault_stack import FaultStack
from weir.loadtest.judging.stores import Stores
from weir.loadtest.judging.verdict import mark_keys
from weir.loadtest.report import summary
from weir.loadtest.sending import results
from weir.loadtest.session import latest

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStack]:
    with FaultStack(start_stack, target, keep=tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture(scope="module")
def attacked(stack: FaultStack) -> Path:
    """Run a mixed load once; its folder."""
    said = command(
        stack, "attack", "--rate", "80", "--duration", "4", "--oversized", "0.02", "--bad-signatures", "0.05"
    )
    assert said.exit_code == 0, said.output
    assert "PASSED" in said.output
    return latest(stack.home / "load")


def command(stack: FaultStack, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["load", *arguments], env={"WEIR_HOME": str(stack.home), "AWS_ENDPOINT_URL": None})


def verdict(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / summary.VERDICT_FILE).read_text(encoding="utf-8"))["verdict"]
    return found


def test_an_attack_is_accounted_for(attacked: Path) -> None:
    """Every delivery of a mixed load is acknowledged or refused for cause, and each of them has its outcome."""
    run, found = results.read(attacked / summary.RESULTS_FILE), verdict(attacked)
    oversized = sum(result.kind == "oversized" for result in run.results)
    assert found["sent"] == len(run.results)
    assert oversized == found["refused"] > 0
    assert found["acknowledged"] == found["stored"] == found["sent"] - oversized
    outcomes = found["applied"] + found["ignored"] + found["quarantined"] + found["duplicates"]
    assert outcomes == found["acknowledged"]
    assert found["unshown"] == []
    assert {path.suffix for path in attacked.iterdir()} == {".jsonl", ".json", ".html", ".png"}


def test_verdict_and_report_as_json(stack: FaultStack, attacked: Path) -> None:
    """Under --json the verdict, the report and the place of results are all that standard output holds."""
    judged = command(stack, "reconcile", str(attacked), "--json")
    assert (judged.exit_code, json.loads(judged.stdout)) == (0, verdict(attacked))
    report = command(stack, "report", str(attacked), "--json")
    assert json.loads(report.stdout) == json.loads((attacked / "report.json").read_text(encoding="utf-8"))
    sent = command(stack, "attack", "--rate", "20", "--duration", "1", "--attack-only", "--json")
    assert Path(json.loads(sent.stdout)["results"]).name == summary.RESULTS_FILE


def test_the_table_s_bytes_are_read_a_second_time(stack: FaultStack, attacked: Path) -> None:
    """The oracle decodes what items keep to the bytes that were sent, in the item and in the bucket alike."""
    run = results.read(attacked / summary.RESULTS_FILE)
    stores = Stores(stack.target.place, stack.target.dictionary)
    sent = {one.marks[0]: one.body_sha256 for one in run.accepted if one.kind == "valid"}
    items = stores.items(sent)
    assert {pk: item.bytes_sha256 for pk, item in items.items()} == sent


def test_whatever_is_broken_by_hand_fails_the_run_by_name(stack: FaultStack, attacked: Path) -> None:
    """An item gone, bytes exchanged, a forgery applied, a transaction made twice, a cent too much: each is named."""
    run = results.read(attacked / summary.RESULTS_FILE)
    dynamodb, outputs = stack.target.place.client("dynamodb"), stack.target.place.outputs()
    table = outputs.events_table
    valid = [one for one in run.accepted if one.kind == "valid"]
    lost, altered, other = [mark_keys([one])[0] for one in valid if not one.account and one.bytes < 8000][:3]
    booked = next(one for one in valid if one.account)
    forged = next(one for one in run.accepted if one.kind == "bad_signature")
    dynamodb.delete_item(TableName=table, Key={"pk": {"S": lost}})
    items = {pk: dynamodb.get_item(TableName=table, Key={"pk": {"S": pk}})["Item"] for pk in (altered, other)}
    dynamodb.put_item(TableName=table, Item={**items[altered], "envelope": items[other]["envelope"]})
    dynamodb.put_item(TableName=table, Item={**items[other], "pk": {"S": mark_keys([forged])[0]}})
    _make_again(stack, mark_keys([booked])[0])
    dynamodb.update_item(
        TableName=json.loads(outputs.tables)["balances"],
        Key={"account": {"S": booked.account}},
        UpdateExpression=f"ADD {booked.currency} :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )
    said = command(stack, "reconcile", str(attacked), "--wait", "1")
    assert said.exit_code == 1
    for sentence in (
        f"lost: {lost}: acknowledged to request",
        f"altered: {altered}: the bytes it keeps are not those that were sent",
        f"forged: {mark_keys([forged])[0]}: ",
        f"applied twice: {mark_keys([booked])[0]}: by transactions",
        f"wrong balances: {booked.account}: {booked.currency} is off by +1",
    ):
        assert sentence in said.output
    assert said.output.rstrip().endswith("FAILED")


def _make_again(stack: FaultStack, pk: str) -> None:
    """Write an event's transaction into the engine's journal a second time, as if it had taken effect twice."""
    journal = stack.home / "store" / "journal.jsonl"
    for line in journal.read_bytes().splitlines(keepends=True):
        call = json.loads(line)
        if b"TransactWriteItems" in line and pk in (body := b64decode(call["body"]).decode()):
            again = json.dumps({**json.loads(body), "ClientRequestToken": "by hand"})
            with journal.open("ab") as file:
                file.write(json.dumps({**call, "body": b64encode(again.encode()).decode()}).encode() + b"\n")
            return
    raise AssertionError(pk)


def test_two_runs_are_compared(stack: FaultStack, attacked: Path) -> None:
    """The newest run beside an older one, figure by figure."""
    said = command(
        stack, "attack", "--rate", "20..60", "--shape", "ramp", "--duration", "2", "--sizes", "1k", "--attack-only"
    )
    assert said.exit_code == 0, said.output
    newest = Path(said.output.splitlines()[-1]).parent
    compared = command(stack, "report", str(attacked), str(newest), "--out", str(stack.home / "compared"))
    assert compared.exit_code == 0, compared.output
    assert "accepted/s" in compared.output
    assert (stack.home / "compared" / "comparison.html").exists()


def test_mistakes_are_sentences(stack: FaultStack) -> None:
    """An unknown source, rate, size or scenario is one sentence that says what there is."""
    for arguments, sentence in (
        (("attack", "--mix", "absent"), "There is no source 'absent'"),
        (("attack", "--rate", "fast"), "'fast' is not a rate"),
        (("attack", "--rate", "0"), "A rate of 0 sends nothing"),
        (("attack", "--rate", "-1"), "A rate is a number"),
        (("attack", "--rate", "nan"), "'nan' is not a rate"),
        (("attack", "--rate", "5..50"), "for --shape ramp or spike"),
        (("attack", "--rate", "5", "--duration", "nan"), "'nan' is not a number"),
        (("attack", "--rate", "5", "--duration", "0"), "longer than 0 s"),
        (("attack", "--patience", "nan"), "'nan' is not a number"),
        (("attack", "--hot", "1.5"), "is not in the range"),
        (("attack", "--speed", "2"), "no effect without --trace"),
        (("attack", "--profile", "smoke", "--shape", "soak"), "--shape has no effect beside --profile"),
        (("attack", "--trace", __file__), 'line 1: \'"""The commands'),
        (("attack", "--sizes", "big"), "'big' is not a size"),
        (("attack", "--sizes", "0"), "a body has between 1 byte and 16m"),
        (("attack", "--sizes", "99m"), "a body has between 1 byte and 16m"),
        (("attack", "--sizes", ""), "The list is empty"),
        (("faults", "earthquake"), "There is no scenario 'earthquake'"),
        (("faults", "kinesis-down", "--at", "localstack"), "only on the embedded stack"),
    ):
        said = command(stack, *arguments)
        assert said.exit_code in {1, 2}, arguments
        assert sentence in said.output, arguments
        assert "Traceback" not in said.output


def test_scenarios_are_listed(stack: FaultStack) -> None:
    """The list says of each scenario what must hold."""
    said = command(stack, "faults", "--list")
    assert "kinesis-down" in said.output
    assert len(said.output.splitlines()) > 20

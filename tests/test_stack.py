"""The main job on the embedded stack, as a user runs it: `weir run`, POSTs from outside, `weir events`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.running import Running, github, payment, running
from weir.infra import template

pytestmark = pytest.mark.engine

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of test secret!").decode()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("stack")) as started:
        started.weir("secrets", "set", "github", text="It's a Secret to Everybody\n")
        started.weir("secrets", "set", "payments", text=SECRET)
        yield started


def outcome_of(stack: Running, request_id: str, within_s: float = 20.0) -> dict[str, object]:
    deadline = time.monotonic() + within_s
    while True:
        found = [event for event in stack.events() if event["request_id"] == request_id]
        if found:
            return found[0]
        assert time.monotonic() < deadline, stack.output
        time.sleep(0.2)


def test_samples_are_applied_or_stored(stack: Running) -> None:
    """`weir send` of each source in the sources file ends as applied or ignored, and says so."""
    for source in ("github", "stripe", "shopify", "slack", "payments", "partner"):
        said = stack.weir("send", source).splitlines()
        assert re.match(r'200 \{"id":"[^"]+"\}', said[0]), said
        assert said[1].strip() in {"applied", "ignored"}, said


def test_printed_curl_line_works_as_it_is(stack: Running) -> None:
    """The line that `make run` prints can be pasted: 200 the first time, a duplicate the second."""
    (line,) = [line for line in stack.output.splitlines() if line.strip().startswith("curl ")]
    answers = [subprocess.run(shlex.split(line), capture_output=True, check=True, text=True).stdout for _ in range(2)]
    assert all(answer.startswith("HTTP/1.1 200") for answer in answers), answers
    ids = [json.loads(answer.splitlines()[-1])["id"] for answer in answers]
    deadline = time.monotonic() + 20
    # The two have no key and may lie in different shards, so either may be the one that counts.
    while not (found := [event for event in stack.events() if event["request_id"] in ids]):
        assert time.monotonic() < deadline, stack.output
        time.sleep(0.2)
    time.sleep(2)
    assert len([event for event in stack.events() if event["request_id"] in ids]) == 1
    assert found[0]["outcome"] in {"applied", "ignored"}


def test_signed_body_is_kept_byte_for_byte(stack: Running) -> None:
    """A delivery signed by other code than ours is verified, and its body comes back as the exact bytes."""
    body = b'{ "zen":\t"10.00 \xf0\x9f\x8c\x8a" ,\r\n "price": 10.00 }  '
    delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
    status, _, answer = stack.post("/v1/github", body, github("It's a Secret to Everybody", body, delivery))
    assert status == 200
    event = outcome_of(stack, json.loads(answer)["id"])
    assert (event["event_id"], event["type"], event["outcome"]) == (delivery, "push", "ignored")
    assert event["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert stack.call("events", delivery, "--body").stdout == body


def test_forgery_is_quarantined_and_never_touches_the_real_event(stack: Running) -> None:
    """A forged delivery with a real event's id, before and after it, leaves the real one applied once."""
    body = b'{"action":"opened"}'
    forged = {**github("wrong secret", body, "forged-and-real"), "X-Try": "1"}
    real = github("It's a Secret to Everybody", body, "forged-and-real")
    ids = [json.loads(stack.post("/v1/github", body, headers)[2])["id"] for headers in (forged, real, forged)]
    events = [outcome_of(stack, request_id) for request_id in ids]
    assert [event["outcome"] for event in events] == ["quarantined", "ignored", "quarantined"]
    assert [event["reason"] for event in events] == ["signature_mismatch", None, "signature_mismatch"]
    assert stack.call("events", ids[0], "--body").stdout == body


def test_duplicate_changes_nothing_and_is_in_the_history(stack: Running) -> None:
    """The same payment three times moves the balance once; its history shows the repeats."""
    body = b'{"type":"payment.succeeded","data":{"account":"acct-dup","amount":700,"currency":"EUR"}}'
    headers = payment(SECRET, body, "msg_dup", int(time.time()))
    answers = [stack.post("/v1/payments", body, headers) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 200]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        history = stack.call("events", "msg_dup").stdout.decode()
        if history.count("duplicate") == 2:
            break
        time.sleep(0.3)
    assert (history.count(" applied"), history.count("duplicate")) == (2, 2), history  # as a fact and in the history
    assert (
        len(re.findall(r"^  20\d\d-\d\d-\d\dT[0-9:.]+Z (?:received|applied|duplicate)", history, re.MULTILINE)) == 4
    ), history
    ledger = [json.loads(line) for line in stack.weir("items", "balances", "--json").splitlines()]
    assert [row for row in ledger if row["account"] == "acct-dup"] == [{"account": "acct-dup", "EUR": 700, "events": 1}]


@pytest.mark.parametrize(
    ("path", "method", "body", "headers", "status", "error"),
    [
        ("/v1/github", "POST", b"x" * 2_000_000, {}, 413, "too_large"),
        ("/v1/absent", "POST", b"{}", {}, 404, "not_found"),
        ("/elsewhere", "POST", b"{}", {}, 404, "not_found"),
        ("/v1/github", "GET", b"", {}, 405, "method_not_allowed"),
        ("/v1/github", "DELETE", b"", {}, 405, "method_not_allowed"),
        ("/v1/github", "POST", b"x", {"Content-Type": "application/x-unheard-of"}, 415, "unsupported_media_type"),
        ("/v1/github/" + "k" * 300, "POST", b"{}", {}, 400, "key_too_long"),
        ("/v1/github?" + "&".join(f"{n}" for n in range(1001)), "POST", b"{}", {}, 400, "too_many_names"),
    ],
)
def test_refusals_have_one_shape(
    stack: Running, path: str, method: str, body: bytes, headers: dict[str, str], status: int, error: str
) -> None:
    """What is not stored is refused with the promised status and JSON of one shape."""
    got, names, answer = stack.post(path, body, headers, method)
    assert (got, names["content-type"]) == (status, "application/json")
    document = json.loads(answer)
    assert sorted(document) == ["error", "id", "message"]
    assert document["error"] == error


def test_the_limit_in_the_answer_is_the_true_one(stack: Running) -> None:
    """A body of the size that the 413 names is stored, with 8 KiB of headers; the record's 3/4 is not."""
    parameters = template.load()["Parameters"]
    named_kib, record_kib = int(parameters["MaxBodyKiB"]["Default"]), int(parameters["MaxRecordKiB"]["Default"])
    headers = {f"X-Filler-{number}": "f" * 1000 for number in range(8)}
    assert stack.post("/v1/github", b"x" * (named_kib * 1024), headers)[0] == 200
    status, _, answer = stack.post("/v1/github", b"x" * (record_kib * 1024 * 3 // 4), headers)
    assert status == 413
    assert f"a body of about {named_kib} KiB" in json.loads(answer)["message"]


CONTENT_TYPES = [
    None,
    "application/json",
    "application/json; charset=utf-8",
    "application/json;charset=UTF-8",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
    "text/plain",
    "text/xml; charset=ISO-8859-1",
    "application/xml",
    "application/cloudevents+json; charset=utf-8",
    "application/octet-stream",
    "APPLICATION/JSON",
]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_every_content_type_is_stored(stack: Running, content_type: str | None) -> None:
    """Bytes 0 to 255 under each Content-Type, with parameters and without one, are stored unchanged."""
    body = bytes(range(256))
    headers = {"Content-Type": content_type} if content_type else {}
    status, _, answer = stack.post("/v1/partner", body, headers)
    assert status == 200, answer
    event = outcome_of(stack, json.loads(answer)["id"])
    assert (event["outcome"], event["reason"]) == ("quarantined", "signature_missing")
    assert event["body_sha256"] == hashlib.sha256(body).hexdigest()


ODD_HEADERS = {
    "X-Quotes": 'it\'s "quoted" \\\' \\" \\',
    "X-Velocity": "$context.path #if(true)#set($x = 1)#end ${body} $!x #[[ ]]#",
    "X-Bytes": "caf\xe9 \x85 \xff",
    "X-Long": "v" * 6000,
    "X-Empty": "",
    **{f"X-Many-{number}": str(number) for number in range(60)},
}


def test_odd_headers_come_through(stack: Running) -> None:
    """Quotes, backslashes, template directives, Latin-1 bytes, long and many headers are stored as they came."""
    body = b""
    status, _, answer = stack.post("/v1/partner/tenant%201", body, ODD_HEADERS)
    assert status == 200, answer
    request_id = json.loads(answer)["id"]
    outcome_of(stack, request_id)
    from weir.infra import place
    from weir.operate.lookup.events import Table

    here = place.embedded(stack.home)
    table = Table(here.client("dynamodb"), here.outputs().events_table, here.client("s3"), here.outputs().bucket)
    (item,) = table.find(request_id, ["partner"])
    envelope = table.stored(item)
    assert not isinstance(envelope, bytes)
    assert {name: envelope.header(name) for name in ODD_HEADERS} == ODD_HEADERS
    assert (envelope.body, envelope.key, envelope.path) == (b"", "tenant 1", "/v1/partner/tenant%201")


def test_thousand_posts_with_the_handler_killed(tmp_path: Path) -> None:
    """1,000 POSTs by 20 callers, the handler killed at random five times: every one answered 200 is applied once."""
    with running(tmp_path) as stack:
        stack.weir("secrets", "set", "payments", text=SECRET)
        accounts = [f"acct-{number}" for number in range(7)]
        stop = threading.Event()
        killer = threading.Thread(
            target=kill_handlers, args=(stack, stop, 5), daemon=True
        )  # a failed test must end, too
        killer.start()

        def send(number: int) -> tuple[str, str, int]:
            amount, account = number + 1, accounts[number % len(accounts)]
            body = json.dumps(
                {"type": "payment.succeeded", "data": {"account": account, "amount": amount, "currency": "USD"}}
            ).encode()
            headers = payment(SECRET, body, f"msg_{number}", int(time.time()))
            status, _, answer = stack.post(f"/v1/payments/{account}", body, headers)
            assert status == 200, answer
            return json.loads(answer)["id"], hashlib.sha256(body).hexdigest(), number

        with ThreadPoolExecutor(20) as callers:
            sent = list(callers.map(send, range(1000)))
        events = stack.settled(1000, within_s=120)
        stop.set()
        killer.join()
        assert len({request_id for request_id, _, _ in sent}) == 1000
        assert {(event["request_id"], event["body_sha256"], event["event_id"]) for event in events} == {
            (request_id, digest, f"msg_{number}") for request_id, digest, number in sent
        }
        assert {event["outcome"] for event in events} == {"applied"}
        ledger = {
            row["account"]: row for row in map(json.loads, stack.weir("items", "balances", "--json").splitlines())
        }
        for position, account in enumerate(accounts):
            amounts = [number + 1 for number in range(position, 1000, len(accounts))]
            assert ledger[account]["USD"] == sum(amounts)
            assert ledger[account]["events"] == len(amounts)


def kill_handlers(stack: Running, stop: threading.Event, times: int) -> None:
    """Kill one execution environment of the consumer at a time, at random moments."""
    chance = random.Random(7)
    while times and not stop.wait(chance.uniform(0.2, 0.8)):
        pids = handler_pids(stack.process.pid)
        if pids:
            os.kill(chance.choice(pids), signal.SIGKILL)
            times -= 1


def handler_pids(parent: int) -> list[int]:
    """Return the processes under the supervisor that run the consumer."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = status.read_bytes()
            ppid = int((status.parent / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if ppid == parent and b"weir.infra.local.function.runtime" in command:
            found.append(int(status.parent.name))
    return found


def test_second_session_has_the_data_of_the_first(tmp_path: Path) -> None:
    """After Ctrl-C, after a kill of everything, the events are still there, and the stack says where they come from."""
    with running(tmp_path) as first:
        assert "starting empty" in first.output
        first.weir("send", "payments")
        before = first.events()
    assert len(before) == 1
    second = Running(tmp_path)
    try:
        assert "bringing back" in second.wait_ready().output
        assert second.events() == before
        second.weir("send", "payments")
    finally:
        os.killpg(second.process.pid, signal.SIGKILL)
        second.wait(60)
    with running(tmp_path) as third:
        assert "did not end cleanly" in third.output
        assert len(third.settled(2)) == 2


def test_state_is_private(tmp_path: Path) -> None:
    """No file or folder of the state is open to others, and what an earlier session left so is closed at the start."""
    home = tmp_path / "home"
    (home / "store").mkdir(parents=True)
    (home / "store" / "old.json").write_text("{}")
    (home / "access.log").write_text("")
    (home / "other.txt").write_text("not Weir's")
    for path in (home, home / "store", home / "store" / "old.json", home / "access.log", home / "other.txt"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with running(home) as stack:
        stack.weir("send", "partner")
        stack.weir("replay", "--from", "stream", "--to", "./out.jsonl")
        assert open_to_others(home) == {"other.txt"}
        assert home.stat().st_mode & 0o777 == 0o700
    assert open_to_others(home) == {"other.txt"}


def open_to_others(home: Path) -> set[str]:
    """Return what others may read, except what the test itself keeps there: the stack's output."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.stat().st_mode & 0o077} - {"output"}


def test_other_programs_use_the_key_that_weir_env_prints(stack: Running) -> None:
    """With it a program reads the stream and the tables; without it, or with another one, it reads neither."""
    printed = dict(line.split("=", 1) for line in stack.weir("env").splitlines())
    assert json.loads((stack.home / "stack.json").read_text())["access_key"] == printed["AWS_ACCESS_KEY_ID"]
    script = """
import boto3
print(boto3.client("dynamodb").list_tables()["TableNames"], boto3.client("kinesis").list_streams()["StreamNames"])
"""
    kept = {name: value for name, value in stack.environment.items() if name != "WEIR_HOME"}
    for key in (printed["AWS_ACCESS_KEY_ID"], "weir", "test"):
        given = {**kept, **printed, "AWS_ACCESS_KEY_ID": key, "AWS_MAX_ATTEMPTS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", script], env=given, capture_output=True, text=True, check=False, timeout=60
        )
        assert ("weir-" in done.stdout) == (key == printed["AWS_ACCESS_KEY_ID"]), (key, done.stdout, done.stderr)
        assert (
            printed["AWS_ACCESS_KEY_ID"]
            not in subprocess.run(["ps", "-axww", "-o", "args="], capture_output=True, text=True, check=True).stdout
        )


def test_port_in_use_is_one_sentence(stack: Running, tmp_path: Path) -> None:
    """A second stack on the same port says so, without a traceback, and so does one in the same folder."""
    other = Running(tmp_path, port=stack.port)
    assert other.wait(30) == 2
    assert f"Port {stack.port} is in use" in other.output
    assert "Traceback" not in other.output
    same = Running(stack.home)
    assert same.wait(30) == 2
    assert "already runs" in same.output


@pytest.mark.parametrize("killed", ["stream", "store"])
def test_part_that_dies_takes_the_rest_down(tmp_path: Path, killed: str) -> None:
    """When one engine is killed the stack names it, stops, exits with 1, leaves no process behind and loses nothing."""
    stack = Running(tmp_path).wait_ready()
    stack.weir("send", "payments")
    engine = int(re.search(rf"{killed}  .*pid (\d+)", stack.output)[1])  # type: ignore[index]
    os.kill(engine, signal.SIGKILL)
    assert stack.wait(60) == 1
    assert f"engine of the {killed} ended" in stack.output
    assert "Traceback" not in stack.output
    assert handler_pids(stack.process.pid) == []
    with running(tmp_path) as again:
        assert "did not end cleanly" in again.output
        again.weir("send", "payments")
        assert [event["outcome"] for event in again.settled(2)] == ["applied", "applied"]
        assert json.loads(again.weir("account", "--json"))["unaccounted"] == 0

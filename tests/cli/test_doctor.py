"""`weir doctor`: each check says OK where all is well, and FAIL or WARN with the way out where that was broken."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from tests.support.aws import ACCESS_KEY
from tests.support.cloudformation import PlaceWithStates, Stack
from tests.support.running import Running, running
from weir.cli.exit_codes import BAD_ANSWER, FINE
from weir.cli.main import main
from weir.infra import doctor, probe, template
from weir.infra.doctor import FAIL, OK, UNKNOWN, WARN
from weir.infra.outputs import Outputs
from weir.ingest.sources import sources_file
from weir.ingest.sources.catalogue import Catalogue

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
ROOT = Path(__file__).parents[2]

# ------------------------------------------------------------------------------------------ this machine


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without business code, and no stack."""
    (tmp_path / "pyproject.toml").write_text("[tool.weir]\n")
    (tmp_path / "sources.yaml").write_text("github: {preset: github}\n")
    monkeypatch.chdir(tmp_path)
    for name in ("WEIR_HOME", "WEIR_AT", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PORT", str(free.getsockname()[1]))
    return tmp_path


def asked(*arguments: str) -> tuple[Result, dict[str, str]]:
    done = CliRunner().invoke(main, ["doctor", "--json", *arguments])
    return done, {one["name"]: one["verdict"] for one in map(json.loads, done.stdout.splitlines())}


def test_a_machine_on_which_all_is_well(project: Path) -> None:
    done, found = asked()
    assert done.exit_code == FINE, done.output
    assert found == dict.fromkeys(("sources", "business code", "disk", "port"), OK)


def test_a_port_in_use(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(os.environ["PORT"])))
        taken.listen()
        done, found = asked()
    assert (done.exit_code, found["port"]) == (BAD_ANSWER, FAIL)


def test_a_folder_that_cannot_be_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "file").write_text("")
    monkeypatch.setenv("WEIR_HOME", str(project / "file" / "state"))
    done, found = asked()
    assert (done.exit_code, found["disk"]) == (BAD_ANSWER, FAIL)


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("sources.yaml", "github: {preset: no-such-provider}\n", "sources"),
        ("pyproject.toml", '[tool.weir]\neffects = "nowhere"\n', "business code"),
    ],
)
def test_a_project_that_is_broken(project: Path, file: str, text: str, name: str) -> None:
    """What a deployment would refuse is named, and the other checks are made all the same."""
    (project / file).write_text(text)
    done, found = asked()
    if name in found:
        assert (done.exit_code, found[name], found["disk"]) == (BAD_ANSWER, FAIL, OK)
    else:  # the project file itself
        assert done.exit_code != FINE
    assert "Traceback" not in done.output


# ------------------------------------------------------------------------------------------ an account


class Fake:
    """A client whose calls have these answers; an answer that is an exception is raised."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def call(**_: object) -> Any:
            if isinstance(self._answers[name], Exception):
                raise self._answers[name]
            return self._answers[name]

        return call


GOOD: dict[str, dict[str, Any]] = {
    "lambda": {
        "get_account_settings": {"AccountLimit": {"UnreservedConcurrentExecutions": 1000, "ConcurrentExecutions": 1000}}
    },
    "apigateway": {"get_account": {"throttleSettings": {"rateLimit": 10_000.0, "burstLimit": 5000}}},
    "kinesis": {
        "describe_limits": {
            "OnDemandStreamCount": 1,
            "OnDemandStreamCountLimit": 50,
            "OpenShardCount": 2,
            "ShardLimit": 20,
        }
    },
}
SETTINGS = {"ArtifactBucket": "a", "ApiDefinitionKey": "b", "FunctionKey": "c"}


class Account(PlaceWithStates):
    """An account with these answers of its services, and perhaps a stack."""

    def __init__(
        self, answers: Mapping[str, Mapping[str, Any]], status: str | None = None, outputs: Outputs | None = None
    ) -> None:
        super().__init__("weir", endpoint="http://127.0.0.1:9", access_key=ACCESS_KEY, outputs=outputs)
        self._answers = answers
        if status is not None:
            have = {**template.defaults(template.load()), **SETTINGS}
            self.cloudformation.stacks["weir"] = Stack(status, [], have)

    def client(self, service: str) -> Any:
        return Fake(self._answers[service]) if service in self._answers else super().client(service)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    file = tmp_path_factory.mktemp("sources") / "sources.yaml"
    file.write_text("github: {preset: github}\n")
    return sources_file.load(file)


def verdicts(place: Account, catalogue: Catalogue, **given: str) -> dict[str, str]:
    return {check.name: check.verdict for check in doctor.account(place, catalogue, given)}


def test_an_account_in_which_all_is_well(catalogue: Catalogue) -> None:
    found = verdicts(Account(GOOD), catalogue)
    assert {name for name, verdict in found.items() if verdict != OK} == {"secrets"}, found  # there is no stack yet
    assert set(found) >= {
        "credentials",
        "stack",
        "parameters",
        "paths",
        "concurrency",
        "log role",
        "throttle",
        "shards",
    }


def limits(left: int) -> dict[str, Any]:
    return {
        "get_account_settings": {"AccountLimit": {"UnreservedConcurrentExecutions": left, "ConcurrentExecutions": left}}
    }


REFUSED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no right"}}, "Asked")


@pytest.mark.parametrize(
    ("service", "answers", "given", "name", "verdict"),
    [
        ("lambda", limits(16), {}, "concurrency", OK),
        ("lambda", limits(10), {}, "concurrency", WARN),
        ("lambda", limits(7), {"ShardCount": "2", "StreamMode": "PROVISIONED"}, "concurrency", WARN),
        ("lambda", limits(10), {"ParallelizationFactor": "10"}, "concurrency", FAIL),
        ("lambda", limits(50), {"ConsumerConcurrency": "40"}, "concurrency", FAIL),
        ("lambda", {"get_account_settings": REFUSED}, {}, "concurrency", UNKNOWN),
        ("apigateway", {"get_account": {"cloudwatchRoleArn": "arn:role"}}, {}, "log role", WARN),
        ("apigateway", {"get_account": {}}, {"ApiGatewayAccountRole": "exists"}, "log role", FAIL),
        ("apigateway", {"get_account": {}}, {}, "throttle", UNKNOWN),
        (
            "apigateway",
            {"get_account": {"throttleSettings": {"rateLimit": 500.0, "burstLimit": 5000}}},
            {},
            "throttle",
            WARN,
        ),
        (
            "kinesis",
            {"describe_limits": {"OnDemandStreamCount": 50, "OnDemandStreamCountLimit": 50}},
            {},
            "shards",
            FAIL,
        ),
        (
            "kinesis",
            {"describe_limits": {"OpenShardCount": 19, "ShardLimit": 20}},
            {"StreamMode": "PROVISIONED", "ShardCount": "2"},
            "shards",
            FAIL,
        ),
        ("kinesis", {"describe_limits": {"OpenShardCount": 1, "ShardLimit": 2}}, {}, "shards", UNKNOWN),
        ("kinesis", {"describe_limits": REFUSED}, {}, "shards", UNKNOWN),
        ("kinesis", GOOD["kinesis"], {"MaxRecordKiB": "1000"}, "parameters", FAIL),
        ("kinesis", GOOD["kinesis"], {"ConsumerConcurrency": "1"}, "parameters", FAIL),
        ("kinesis", GOOD["kinesis"], {"NoSuchParameter": "1"}, "parameters", FAIL),
    ],
)
def test_each_thing_that_an_account_may_lack(
    service: str, answers: dict[str, Any], given: dict[str, str], name: str, verdict: str, catalogue: Catalogue
) -> None:
    """What does not answer is UNKNOWN; only what was seen to be right is OK."""
    assert verdicts(Account({**GOOD, service: answers}), catalogue, **given)[name] == verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("CREATE_COMPLETE", OK),
        ("ROLLBACK_FAILED", WARN),
        ("UPDATE_IN_PROGRESS", WARN),
        ("UPDATE_ROLLBACK_FAILED", FAIL),
        ("DELETE_FAILED", FAIL),
    ],
)
def test_each_state_of_a_stack(status: str, verdict: str, catalogue: Catalogue) -> None:
    found = {check.name: check for check in doctor.account(Account(GOOD, status), catalogue, {})}
    assert found["stack"].verdict == verdict
    assert bool(found["stack"].fix) == (verdict != OK)


def test_more_shards_of_a_stack_that_is_there_are_counted(catalogue: Catalogue) -> None:
    """What it has already is not counted twice."""
    limits = {"OpenShardCount": 10, "ShardLimit": 12}
    summary = {"StreamDescriptionSummary": {"OpenShardCount": 4}}
    answers = {**GOOD, "kinesis": {"describe_limits": limits, "describe_stream_summary": summary}}
    place = Account(answers, "UPDATE_COMPLETE", Outputs(stream_name="stream"))
    place.cloudformation.stacks["weir"].parameters |= {"StreamMode": "PROVISIONED", "ShardCount": "4"}
    for wanted, verdict in (("4", OK), ("6", OK), ("7", FAIL)):
        assert verdicts(place, catalogue, ShardCount=wanted)["shards"] == verdict


def test_a_stack_that_may_not_be_asked_for_is_unknown(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Account(GOOD)

    def refuse(**_options: object) -> None:
        raise REFUSED

    monkeypatch.setattr(place.cloudformation, "describe_stacks", refuse)
    assert verdicts(place, catalogue)["stack"] == UNKNOWN


# ------------------------------------------------------------------------------------------ a door that is not Weir's


class Anything(BaseHTTPRequestHandler):
    """Answers 200 to whatever is asked, and names no id."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Nothing:
    """A table that must not be asked."""

    def outcome(self, *_: object) -> str | None:
        raise AssertionError("asked for what was not stored")

    def is_refused(self, outcome: str) -> bool:
        raise AssertionError(outcome)

    def discard(self, *_: object) -> None:
        raise AssertionError("discarded what was not stored")


@pytest.fixture
def anything() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Anything)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_door_that_takes_everything_fails(catalogue: Catalogue, anything: str) -> None:
    """Every refusal that is promised, and a delivery whose answer names no id."""
    place = Account(GOOD, outputs=Outputs(endpoint=anything))
    found = list(probe.door(place, catalogue))
    assert len(found) == 6
    assert {check.verdict for check in found} == {FAIL}
    (sent,) = probe.way(place, catalogue, "github", Nothing(), signed=False, wait_s=0)
    assert sent.verdict == FAIL


# ------------------------------------------------------------------------------------------ a stack that runs


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("stack")) as started:
        yield started


def tried(stack: Running, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = stack.call("doctor", "--json", *arguments)
    return done.returncode, {one["name"]: one for one in map(json.loads, done.stdout.decode().splitlines())}


@pytest.mark.engine
def test_a_stack_that_works_passes_and_nothing_is_applied(stack: Running) -> None:
    """Each source's delivery is followed to its end; nothing is left to do, and all is accounted for."""
    code, found = tried(stack)
    assert code == FINE, found
    assert {one["verdict"] for one in found.values()} == {OK, UNKNOWN}
    assert [name for name, one in found.items() if one["verdict"] == UNKNOWN] == ["metrics"]
    for source in ("github", "stripe", "shopify", "slack", "payments", "partner"):
        assert found[f"{source}: unsigned delivery"]["seen"].startswith("quarantined: signature_missing")
        assert found[f"{source}: access log"]["verdict"] == found[f"{source}: consumer's log"]["verdict"] == OK
    assert not json.loads("[" + ",".join(stack.weir("items", "balances", "--json").splitlines()) + "]")
    assert "nothing" in stack.call("quarantine", "list").stderr.decode()
    assert stack.call("account").returncode == FINE


@pytest.mark.engine
def test_signed_samples_are_sent_only_when_that_is_asked_for(stack: Running) -> None:
    code, found = tried(stack, "--send")
    assert code == FINE, found
    assert found["stripe: signed delivery"]["seen"] == "applied"
    assert found["github: signed delivery"]["seen"] == "ignored"


@pytest.mark.engine
def test_nothing_is_sent_when_that_is_not_wanted(stack: Running) -> None:
    """With --no-send the stack is looked at, and neither the door nor a source is tried."""
    before = stack.events()
    code, found = tried(stack, "--no-send")
    assert (code, found["consumer"]["verdict"]) == (FINE, OK)
    assert not [name for name in found if "delivery" in name or name.startswith("door")]
    assert stack.events() == before


@pytest.mark.engine
def test_a_consumer_that_is_paused_fails(stack: Running) -> None:
    """With the way out; nothing is sent that it would not read."""
    stack.weir("pause")
    try:
        began_s = time.monotonic()
        code, found = tried(stack, "--wait", "0.5")
        assert time.monotonic() - began_s < 60
    finally:
        stack.weir("resume")
    assert code == BAD_ANSWER
    assert found["consumer"]["verdict"] == FAIL
    assert "weir resume" in found["consumer"]["fix"]
    assert not [name for name in found if "delivery" in name]  # it would be quarantined later, and stay
    assert found["door: unknown source"]["verdict"] == OK


@pytest.mark.engine
def test_a_source_without_a_secret_is_named(stack: Running) -> None:
    kept = stack.call("secrets", "remove", "partner", "0", "--yes")
    assert kept.returncode == FINE, kept.stderr
    _, found = tried(stack, "--before")
    assert found["secret of partner"]["verdict"] == WARN
    assert "weir secrets set partner" in found["secret of partner"]["fix"]
    assert "endpoint" not in found


# ------------------------------------------------------------------------------------------ LocalStack


@pytest.mark.localstack
@pytest.mark.skipif(not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`")
def test_before_and_after_a_deployment_there(project: Path) -> None:
    """Before: what the emulator answers is right, the rest is unknown. After: the way of a delivery, and an alarm."""
    name = f"r{uuid.uuid4().hex[:8]}"
    where = ("--at", "localstack", "--endpoint", str(ENDPOINT), "--stack", name)
    done, found = asked(*where)
    assert done.exit_code == FINE, done.output
    assert (found["credentials"], found["stack"], found["parameters"]) == (OK, OK, OK)
    run = CliRunner()
    settings = ("StreamMode=PROVISIONED", "ShardCount=1", f"SecretsPrefix=/{name}")
    made = run.invoke(main, ["deploy", *where, *(word for one in settings for word in ("--set", one))])
    assert made.exit_code == FINE, made.output
    try:
        run.invoke(main, ["secrets", "set", "github", *where], input="It's a Secret to Everybody\n")
        done, found = asked(*where, "--send", "--alarm", "--wait", "30")
        assert done.exit_code == FINE, done.output
        expected = {"secret of github", "consumer", "door: unknown source", "github: signed delivery"}
        assert {one for one in expected if found[one] == OK} == expected
        assert found["alarm"] == UNKNOWN  # LocalStack changes the state, and tells of no action
    finally:
        gone = run.invoke(main, ["destroy", *where, "--delete-data", "--yes"])
        assert gone.exit_code == FINE, gone.output

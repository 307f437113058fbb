"""The run on an account of AWS makes, looks and removes, on LocalStack through the same code; without AWS it says so.

LocalStack is asked in a Region of its own, where no other test changes what an account has once.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http.client
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.conformance import account, costs, leftovers, probe, table
from tests.conformance.account import AwsAccount, AwsApi, Pace
from tests.conformance.aws import Aws, Clients, Waits
from tests.conformance.bench import Bench
from tests.conformance.run import Outcome, run_each
from tests.conformance.scenarios import CANNOT, MAPPING, Observation, Scenario, load

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
REGION = "eu-central-1"
ROOT = Path(__file__).parents[2]
FEW = ("mock integration", "batch size", "failure object in s3", "sns as a destination", "access log")
LONG = ("record age", "batch window")

WITHOUT = "set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
pytestmark = pytest.mark.timeout(300)


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which no credentials are found, and none are looked for on the network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nothing = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    return {**kept, **nothing, "AWS_EC2_METADATA_DISABLED": "true", **more}


KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def words(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.conformance", "--at", "aws", *arguments]


def conformance(*arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words(*arguments),
        cwd=ROOT,
        env=environment(**variables),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def rehearsed(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return conformance("--endpoint", str(ENDPOINT), "--hasty", *arguments, text=text, AWS_REGION=REGION, **KEYS)


def only(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield from ("--only", name)


def clients() -> Clients:
    return Clients(boto3.Session("test", "test", region_name=REGION), str(ENDPOINT))


def there() -> list[leftovers.Left]:
    """Return what runs have left; LocalStack's functions may write their logs, which those on AWS may not."""
    return [one for one in leftovers.find(clients()) if not one.id.startswith("/aws/lambda/")]


@pytest.fixture
def empty() -> None:
    """Remove what an earlier test that failed has left."""
    if not ENDPOINT:
        pytest.skip(WITHOUT)
    leftovers.remove(clients(), leftovers.prefixes_in(there(), REGION), Waits())


@contextlib.contextmanager
def running(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run of more than a minute and wait until scenarios have made something; it is killed in the end."""
    output = tmp_path / "output"
    with output.open("wb") as told:
        started = subprocess.Popen(
            words("--endpoint", str(ENDPOINT), "--hasty", "--yes", *only(LONG)),
            cwd=ROOT,
            env=environment(AWS_REGION=REGION, **KEYS),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
        )
    try:
        deadline = time.monotonic() + 60
        while not any(one.kind.what == "bucket" for one in there()):
            assert started.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        yield started
    finally:
        started.kill()
        started.wait()


def refusal(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


# ------------------------------------------------------------------------------------------ without an account


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"AWS_REGION": REGION}, "No AWS credentials."),
        ({"AWS_PROFILE": "unknown"}, "The config profile (unknown) could not be found"),
        (KEYS, "No AWS Region is set."),
        ({**KEYS, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS_ENDPOINT_URL is set,"),
    ],
)
@pytest.mark.parametrize("how", [("--yes",), ("--clean",)])
def test_without_an_account_it_says_one_line(variables: dict[str, str], says: str, how: tuple[str, ...]) -> None:
    """Without credentials, profile or Region, or with an emulator's address set, it says so in a line."""
    done = conformance(*how, **variables)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(says)
    assert done.stderr.endswith("Nothing was made.\n")
    assert done.stderr.count("\n") == 1


def test_the_bill_is_the_prices_times_what_is_announced() -> None:
    """Shards are counted for a whole hour, every try and the roles' proof; the bill is the sum of what it lists."""
    scenarios = list(load().values())
    shards = sum(each.shards for each in scenarios)
    bill = costs.at_most(scenarios)
    assert bill[0].what == f"Kinesis: {shards * 2 + 1} shard-hours"
    assert bill[0].usd == pytest.approx((shards * 2 + 1) * 0.015)
    assert sum(part.usd for part in costs.at_most(scenarios[:1])) < sum(part.usd for part in bill) < 10


def test_the_function_signs_as_botocore_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe's own signature is botocore's, with the token of a role."""
    monkeypatch.setenv("PROBE_ENDPOINT", "https://dynamodb.eu-central-1.amazonaws.com")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_REGION", REGION)
    for name, value in (("ACCESS_KEY_ID", "AKID"), ("SECRET_ACCESS_KEY", "secret"), ("SESSION_TOKEN", "token/+=")):
        monkeypatch.setenv(f"AWS_{name}", value)
    made = types.ModuleType("made")
    exec(probe.PROBE, made.__dict__)
    host, body, at = "dynamodb.eu-central-1.amazonaws.com", b'{"a":1}', 1_764_288_000.0
    signed = made.__dict__["signed"](host, "PutItem", body, at)
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {name: value for name, value in signed.items() if name != "authorization"}
    request = AWSRequest("POST", f"https://{host}/", data=body, headers=headers)
    request.context["timestamp"] = moment
    auth: Any = SigV4Auth(Credentials("AKID", "secret", "token/+="), "dynamodb", REGION)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert isinstance(made.__dict__["connect"](), http.client.HTTPSConnection)
    assert signed["x-amz-date"] == moment
    assert signed["authorization"].endswith(f"Signature={signature}")


# ------------------------------------------------------------------------------------------ what only AWS does


@pytest.mark.parametrize(
    ("region", "host"),
    [
        (REGION, "abc.execute-api.eu-central-1.amazonaws.com"),
        ("cn-north-1", "abc.execute-api.cn-north-1.amazonaws.com.cn"),
    ],
)
async def test_an_api_is_called_by_its_name_over_tls(region: str, host: str) -> None:
    """On AWS an API is called at its own host; an emulator is called in its place, under the same name."""
    session = boto3.Session("k", "k", region_name=region)
    async with contextlib.AsyncExitStack() as undo:
        on_aws = AwsApi(Aws(Clients(session, None), "1" * 12, undo), "abc", None)
        on_emulator = AwsApi(Aws(Clients(session, "http://127.0.0.1:4566/"), "0" * 12, undo), "abc", None)
    assert on_aws.url == on_emulator.url == f"https://{host}/live"
    connection = on_aws._connection()
    assert (type(connection), connection.host, connection.port) == (http.client.HTTPSConnection, host, 443)
    connection = on_emulator._connection()
    assert (type(connection), connection.host, connection.port) == (http.client.HTTPConnection, "127.0.0.1", 4566)


def test_aws_is_given_its_time() -> None:
    """The waits for AWS keep API Gateway's quotas and outlast its documented delays."""
    waits = AwsAccount.waits
    assert (waits.import_s > 3, waits.deploy_s > 5, waits.delete_s > 3) == (True, True, True)
    assert waits.patience * 30 >= 300 > waits.patience * 25
    assert waits.silence_s > 2 * waits.beat_s


async def test_calls_of_api_gateway_keep_their_distance() -> None:
    """Calls that an account may make every so often wait for each other, from any scenario."""
    pace, began = Pace(0.05), time.monotonic()
    await asyncio.gather(*(pace.turn() for _ in range(4)))
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        ("The role defined for the function cannot be assumed by Lambda.", 3),
        ("Cannot access stream arn:... Please ensure the role can perform the GetRecords ... Actions", 3),
        ("Unsupported starting position", 1),
    ],
)
async def test_a_role_that_is_not_known_yet_is_waited_for(message: str, calls: int) -> None:
    """Lambda is asked again while it does not know the role; what it refuses for another reason is refused."""
    made = 0

    async def make() -> str:
        nonlocal made
        made += 1
        if made < 3:
            raise refusal("InvalidParameterValueException", message)
        return "made"

    async with contextlib.AsyncExitStack() as undo:
        aws = Aws(Clients(boto3.Session("k", "k", region_name=REGION), None), "1" * 12, undo, Waits(poll_s=0))
        outcome: Any = None
        with contextlib.suppress(ClientError):
            outcome = await account.retried(aws, make, account._is_of_a_role)
    assert made == calls
    assert outcome == ("made" if calls == 3 else None)


def test_a_run_lives_by_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead is a run whose count stands still or that has no table; one that has just made its table lives."""
    looks: dict[str, list[str | None]] = {
        "counts": ["3", "4"],
        "stands": ["3", "3"],
        "no table": [None, None],
        "begins": [None, "1"],
    }

    def beats(_: Clients, prefix: str) -> str | None:
        return looks[prefix].pop(0)

    monkeypatch.setattr(leftovers, "_beats", beats)
    unused = Clients(boto3.Session("k", "k", region_name=REGION), None)
    assert leftovers.dead(unused, list(looks), Waits(silence_s=0)) == ["stands", "no table"]


def test_only_what_has_our_names_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of others, of another Region and of no run are left alone."""
    names = [
        "weir-conf-eu-central-1-0123456789",
        "weir-conf-eu-central-1-0123456789-ab12cd",
        "weir-conf-eu-central-1-0123456789ab",
        "weir-conf-eu-central-1-mine",
        "weir-conf-us-east-1-0123456789-ab12cd",
        "my-weir-conf-eu-central-1-0123456789",
    ]
    kind = leftovers.Kind("thing", lambda _clients, _base: [(name, name) for name in names], lambda _clients, _id: None)
    monkeypatch.setattr(leftovers, "KINDS", (kind,))
    unused = Clients(boto3.Session("k", "k", region_name=REGION), None)
    assert [one.name for one in leftovers.find(unused)] == names[:2]
    assert leftovers.find(unused, ["weir-conf-eu-central-1-9876543210"]) == []
    assert leftovers.prefixes_in(leftovers.find(unused), REGION) == [names[0]]


# ------------------------------------------------------------------------------------------ the page


def run_on_aws(observed: Mapping[str, Any]) -> table.AwsRun:
    return table.AwsRun("2026-11-28", REGION, observed)


def rows(page: Path, name: str) -> str:
    return "\n".join(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {name} |"))


def test_what_aws_does_is_published_beside_the_emulators(tmp_path: Path) -> None:
    """AWS has a column; a difference without a reason is in it and complained about; what was not run is said."""
    seen = run_on_aws(
        {
            "mock integration": load()["mock integration"].expected,
            "selection pattern": {"404": 400, "503": 502, "201": 204},
            "throttled function": {CANNOT: "The account's concurrency is too low."},
        }
    )
    page = tmp_path / "page.md"
    complaints = table.publish(table.recorded(), seen, page)
    assert [complaint.partition(":")[0] for complaint in complaints] == ["selection pattern"]
    assert f"an account of AWS in {REGION}, last looked at on 2026-11-28" in page.read_text(encoding="utf-8")
    assert "| API Gateway, AWS | 1 | 1 | 0 |" in page.read_text(encoding="utf-8")
    assert "| as documented | as documented | 201: `204` | AWS does otherwise than its page says" in rows(
        page, "selection pattern"
    )
    assert "| cannot be shown | The account's concurrency is too low. |" in rows(page, "throttled function")
    assert "| as documented | differs" not in rows(page, "mock integration")
    assert "| not run |" in rows(page, "gateway response")


def test_a_part_of_a_run_keeps_the_rest(tmp_path: Path) -> None:
    """What a run observed takes the place of the same scenario's, and of no other; scenarios that are gone go."""
    first = {"mock integration": {"status": 1}, "batch size": {"largest": 2}, "no scenario": {}}
    table.record_on_aws(run_on_aws(first), tmp_path)
    table.record_on_aws(run_on_aws({"mock integration": {"status": 2}}), tmp_path)
    found = table.recorded_on_aws(tmp_path)
    assert found is not None
    assert found.observed == {"mock integration": {"status": 2}, "batch size": {"largest": 2}}


# ------------------------------------------------------------------------------------------ on LocalStack


@pytest.mark.localstack
@pytest.mark.usefixtures("empty")
def test_nothing_is_made_without_a_yes() -> None:
    """It says what it would make, where and for how much, and makes nothing if the answer is no, or none comes."""
    for answer in ("n\n", ""):
        done = rehearsed(*only(FEW), text=answer)
        assert done.returncode == 2, done.stderr
        assert f"account  000000000000, {REGION} at {ENDPOINT} (a rehearsal)" in done.stdout
        assert " USD at most, by list prices of us-east-1" in done.stdout
        assert "Nothing was made." in done.stdout
        assert ("YES=1" in done.stdout) == (answer == "")
    assert there() == []


@pytest.mark.localstack
@pytest.mark.usefixtures("empty")
def test_it_makes_runs_and_removes(tmp_path: Path) -> None:
    """Scenarios run on what the run makes for them, a role for logs included; then results and page are there, and all
    that was made is gone, with what a killed run had left.
    """
    killed = f"weir-conf-{REGION}-0123456789"
    clients()("sqs").create_queue(QueueName=f"{killed}-ab12cd")
    gateway = clients()("apigateway")
    before = gateway.get_account().get("cloudwatchRoleArn") or ""
    _set_log_role(gateway, "")
    try:
        done = rehearsed("--yes", *only(FEW), "--results", str(tmp_path), "--page", str(tmp_path / "page.md"))
        assert gateway.get_account().get("cloudwatchRoleArn", "") == ""
    finally:
        _set_log_role(gateway, before)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as documented: 3, differs: 2\n" in done.stdout
    assert "it gets one, if a scenario logs" in done.stdout
    assert f"and first what killed runs have left: queue {killed}-ab12cd\n" in done.stdout
    found = table.recorded_on_aws(tmp_path)
    assert found is not None
    assert found.region == REGION
    localstack_s = table.recorded()["localstack"]
    assert found.observed == {name: localstack_s[name] for name in FEW}
    assert "| API Gateway, AWS | 1 | 1 | 0 |" in (tmp_path / "page.md").read_text(encoding="utf-8")
    assert there() == []


def _set_log_role(gateway: Any, arn: str) -> None:
    gateway.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": arn}])


@pytest.mark.localstack
@pytest.mark.usefixtures("empty")
async def test_a_scenario_that_fails_leaves_nothing() -> None:
    """What a scenario made is removed when it raises, hangs, or has made more than it can undo; the others go on."""

    async def raises(bench: Bench) -> Observation:
        await bench.stream()
        await bench.aws.call("sqs", "create_queue", QueueName=f"{bench.name}-beside")
        raise ValueError("of the scenario")

    async def hangs(bench: Bench) -> Observation:
        await bench.bucket()
        await asyncio.sleep(60)
        return {}

    async def works(bench: Bench) -> Observation:
        return {"bucket": bool(await bench.bucket())}

    place = account.Account(clients())
    place.name, place.waits, place.at_once, place.limit_s, place.tries = "aws", Waits(), 3, 5.0, 1
    given = [Scenario(run.__name__, MAPPING, "", "", {"bucket": True}, run) for run in (raises, hangs, works)]
    outcomes: dict[str, Outcome] = {}
    await run_each(place, given, lambda scenario, outcome: outcomes.update({scenario.name: outcome}))
    assert "ValueError: of the scenario" in str(outcomes["raises"].error)
    assert "TimeoutError" in str(outcomes["hangs"].error)
    assert outcomes["works"].observed == {"bucket": True}
    assert there() == []


@pytest.mark.localstack
@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_removes_all(tmp_path: Path, number: signal.Signals) -> None:
    """After Ctrl-C, or the end of a job, nothing is left."""
    with running(tmp_path) as started:
        started.send_signal(number)
        code = started.wait(120)
    told = (tmp_path / "output").read_text()
    assert code == 130, told
    assert "Interrupted." in told
    assert "Traceback" not in told
    assert there() == []


@pytest.mark.localstack
@pytest.mark.usefixtures("empty")
def test_what_a_killed_run_leaves_is_removed(tmp_path: Path) -> None:
    """A run that lives is left alone; once it is killed, cleaning removes what it left."""
    with running(tmp_path):
        prefixes = leftovers.prefixes_in(there(), REGION)
        beside = rehearsed("--clean")
        assert f"Runs that live: {prefixes[0]};" in beside.stdout
        assert beside.returncode == 0
        assert leftovers.prefixes_in(there(), REGION) == prefixes
    left = {one.kind.what for one in there()}
    assert left > {"bucket", "role", "table"}
    done = rehearsed("--clean")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"removed all that begins with {prefixes[0]}" in done.stdout
    assert there() == []
    assert "No run has left anything" in rehearsed("--clean").stdout

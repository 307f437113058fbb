from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.engine_env import EngineEnv, kinesis_event

pytestmark = pytest.mark.engine

# Nothing of these is needed for a batch of ordinary webhooks, and each costs between 5 and 150 ms.
UNNEEDED = {
    "aiohttp": "aws-embedded-metrics would bring it for its EC2 probe",
    "asyncio": "the consumer has threads, and only when a batch needs several calls at once",
    "aws_embedded_metrics.environment": "it probes the network for where it runs",
    "aws_kinesis_agg": "the gateway writes no aggregates",
    "boto3": "botocore's clients are what boto3.client returns; the S3 client for large bodies brings it",
    "click": "the command line's",
    "cryptography": "only for schemes with public keys",
    "google.protobuf": "the gateway writes no aggregates",
    "weir.infra": "another room",
    "s3transfer": "boto3's",
    "uvicorn": "the embedded stack's",
    "yaml": "the sources are compiled to JSON",
}

SCRIPT = """
import json, sys

class Context:
    aws_request_id = "cold"
    def get_remaining_time_in_millis(self):
        return 60_000

before = set(sys.modules)
from weir.consumers.handler import handler
imported = sorted(set(sys.modules) - before)
responses = [handler(event, Context()) for event in json.load(sys.stdin)]
invoked = sorted(set(sys.modules) - before)
from weir.consumers import wiring
print(json.dumps({"imported": imported, "invoked": invoked, "responses": responses,
                  "s3": wiring._s3.cache_info().currsize, "threads": __import__("threading").active_count()}))
"""


def cold(engine_env: EngineEnv, events: Sequence[dict[str, Any]], before: str = "") -> dict[str, Any]:
    """Return what a fresh process imported for the handler and after these invocations, and its log."""
    run = subprocess.run(
        [sys.executable, "-c", before + SCRIPT],
        input=json.dumps(events),
        env=engine_env.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    *log, last = run.stdout.splitlines()
    found: dict[str, Any] = json.loads(last)
    return found | {"log": [json.loads(line) for line in log]}


@pytest.fixture(scope="module")
def first(engine_env: EngineEnv) -> dict[str, Any]:
    return cold(engine_env, [kinesis_event(engine_env.payment("cold", 1))])


def test_importing_the_handler_imports_next_to_nothing(first: dict[str, Any]) -> None:
    """Lambda's import of the entry brings in no library and no room but its own."""
    foreign = {name.partition(".")[0] for name in first["imported"]} - set(sys.stdlib_module_names)
    assert foreign == {"weir"}
    assert {name for name in first["imported"] if name.startswith("weir")} == {
        "weir",
        "weir.consumers",
        "weir.consumers.handler",
    }


def test_the_first_batch_is_done(first: dict[str, Any]) -> None:
    """The invocation that all these claims are about does its work."""
    assert first["responses"] == [{"batchItemFailures": []}]
    assert {"weir.consumers.commit.commit", "pydantic", "botocore.client"} <= set(first["invoked"])


@pytest.mark.parametrize("module", UNNEEDED)
def test_the_first_batch_does_not_import(first: dict[str, Any], module: str) -> None:
    """What the first batch does not need has not been imported when it is over."""
    assert module not in first["invoked"], UNNEEDED[module]


def test_the_first_batch_makes_no_client_and_no_thread_that_it_does_not_need(first: dict[str, Any]) -> None:
    """One record means one database call: no S3 client, no thread."""
    assert first["s3"] == 0
    assert first["threads"] == 1


def test_modules_come_when_they_are_needed(engine_env: EngineEnv) -> None:
    """An aggregate brings its library, and nothing else changes."""
    from weir.consumers.judging.aggregate import aggregate
    from weir.ingest.envelope import encode

    [entry] = aggregate([("k", encode(engine_env.payment("cold-aggregate", 1)))])
    invoked = set(cold(engine_env, [kinesis_event(entry.data)])["invoked"])
    assert {"aws_kinesis_agg.deaggregator", "google.protobuf"} <= invoked
    assert not (UNNEEDED.keys() - {"aws_kinesis_agg", "google.protobuf"}) & invoked


BROKEN = {
    "the loader moved": """
import botocore.loaders, botocore.session
moved = botocore.loaders.Loader
botocore.session.create_loader = lambda paths=None: moved()
del botocore.loaders.Loader
""",
    "the session takes no such argument": """
import botocore.session
class Session(botocore.session.Session):
    def __init__(self, session_vars=None):
        super().__init__(session_vars)
botocore.session.Session = Session
""",
    "the models have another form": """
import botocore.model
made = botocore.model.ServiceModel.__init__
def make(self, description, **options):
    if len(description["operations"]) < 20:
        raise KeyError("documentation")
    made(self, description, **options)
botocore.model.ServiceModel.__init__ = make
""",
}


@pytest.mark.parametrize("change", BROKEN)
def test_a_botocore_that_makes_no_lean_client_costs_no_batch(engine_env: EngineEnv, change: str) -> None:
    """Where botocore's internals changed, ordinary clients do the batch, and a log line and a metric say so."""
    ended = cold(engine_env, [kinesis_event(engine_env.payment(f"fallback-{change}", 1))], BROKEN[change])
    assert ended["responses"] == [{"batchItemFailures": []}]
    assert engine_env.balances()[f"fallback-{change}"] == 1
    said = [line for line in ended["log"] if line.get("action") == "botocore_fallback"]
    assert [line["service"] for line in said] == ["dynamodb", "ssm"]
    assert {line["level"] for line in said} == {"WARNING"}
    metrics = [line for line in ended["log"] if "BotocoreFallbacks" in line]
    assert [(line["BotocoreFallbacks"], line["Stack"]) for line in metrics] == [(1, engine_env.name)] * 2


def test_the_botocore_of_the_lock_makes_lean_clients(first: dict[str, Any]) -> None:
    """With the version that is locked nothing falls back."""
    assert not [line for line in first["log"] if "fallback" in json.dumps(line).lower()]

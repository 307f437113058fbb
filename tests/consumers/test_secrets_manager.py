"""Secrets that are kept in Secrets Manager, read on the engine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config

from tests.support import aws
from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of
from weir.consumers.judging.secret_readers import secret_reader
from weir.consumers.judging.secrets import REREAD_PAUSE_S, Secrets, elsewhere
from weir.infra.local.engine.engine import Engine
from weir.ingest.errors import SecretAbsent, SecretUnavailable, SignatureMismatch
from weir.ingest.schemes.signatures import verify
from weir.ingest.sources.catalogue import Catalogue, Source

Client = Callable[[], Any]


def client(service: str, endpoint: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=2)
    return aws.client(service, endpoint, config)


@pytest.fixture
def clients(engine: Engine) -> tuple[Any, Any]:
    return client("ssm", engine.endpoint), client("secretsmanager", engine.endpoint)


def calls_of(manager: Any) -> list[int]:
    """Count the secrets asked for in each call from now on."""
    counted: list[int] = []
    manager.meta.events.register(
        "provide-client-params.secretsmanager", lambda params, **_: counted.append(len(params["SecretIdList"]))
    )
    return counted


def test_many_are_read_in_few_calls(clients: tuple[Any, Any]) -> None:
    """Secrets are read twenty a call beside the parameters; what does not exist is distinguished from what does."""
    ssm, manager = clients
    run = uuid.uuid4().hex
    for n in range(43):
        manager.create_secret(Name=f"{run}/{n}", SecretString=f"text {n}")
    ssm.put_parameter(Name=f"/{run}/p", Value="a parameter", Type="SecureString")
    counted = calls_of(manager)
    names = [*(f"secretsmanager:{run}/{n}" for n in range(43)), f"secretsmanager:{run}/absent", f"/{run}/p"]
    readings = secret_reader(lambda: ssm, lambda: manager)(names)
    assert counted == [20, 20, 4]
    assert [readings[name] for name in names] == [*(f"text {n}" for n in range(43)), None, "a parameter"]


def test_a_secret_is_named_by_its_arn_too(clients: tuple[Any, Any]) -> None:
    """An ARN names a secret, with or without the letters that Secrets Manager puts at its end."""
    ssm, manager = clients
    arn = manager.create_secret(Name=f"w/{uuid.uuid4().hex}", SecretString="by arn")["ARN"]
    read = secret_reader(lambda: ssm, lambda: manager)
    for name in (f"secretsmanager:{arn}", f"secretsmanager:{arn[:-7]}"):
        assert read([name]) == {name: "by arn"}


def test_a_store_that_does_not_answer_is_no_absent_secret(clients: tuple[Any, Any]) -> None:
    """Without an answer nothing is known of the secrets there; parameters are read all the same."""
    ssm, _ = clients
    name = f"/{uuid.uuid4().hex}/p"
    ssm.put_parameter(Name=name, Value="a parameter", Type="SecureString")
    gone = client("secretsmanager", "http://127.0.0.1:9")
    readings = secret_reader(lambda: ssm, lambda: gone)(["secretsmanager:any", name])
    assert isinstance(readings["secretsmanager:any"], SecretUnavailable)
    assert readings[name] == "a parameter"


def managed(preset: str) -> Source:
    return source_of(preset).model_copy(update={"secret": f"secretsmanager:w/{uuid.uuid4().hex}"})


def secrets_of(source: Source, clients: tuple[Any, Any], clock_ms: Callable[[], int] = lambda: AT_MS) -> Secrets:
    sources = Catalogue({source.name: source})
    return Secrets(
        secret_reader(lambda: clients[0], lambda: clients[1]),
        "/unused",
        ttl_s=300,
        patience_s=900,
        clock_ms=clock_ms,
        elsewhere=elsewhere(sources),
    )


def test_a_delivery_is_judged_with_them_and_a_rotation_is_seen(clients: tuple[Any, Any]) -> None:
    """A mismatch makes them be read again, once in half a minute, so a rotation is noticed before its time limit."""
    source, (_, manager) = managed("github"), clients
    old, new = pair_of(source, "old"), pair_of(source, "new")
    name = source.secret.removeprefix("secretsmanager:")
    manager.create_secret(Name=name, SecretString=json.dumps({"secrets": [{"value": old.verify_with}]}))
    now_ms = [AT_MS]
    kept = secrets_of(source, clients, lambda: now_ms[0])

    def judge(key: str) -> int:
        envelope = envelope_of(source, draft_of(source, old if key == "old" else new))
        kept.begin_batch([source.name])
        return kept.judge(source.name, envelope, lambda live: verify(source.scheme, live, envelope)).secret_index

    assert judge("old") == 0
    with pytest.raises(SignatureMismatch):
        judge("new")
    both = {"secrets": [{"value": new.verify_with}, {"value": old.verify_with}]}
    manager.put_secret_value(SecretId=name, SecretString=json.dumps(both))
    now_ms[0] += round(REREAD_PAUSE_S * 1000)
    assert judge("new") == 0
    assert judge("old") == 1


def test_one_that_does_not_exist_is_absent(clients: tuple[Any, Any]) -> None:
    """A secret that was never made is absent, which only a person can fix."""
    source = managed("github")
    kept = secrets_of(source, clients)
    envelope = envelope_of(source, draft_of(source, pair_of(source)))
    kept.begin_batch([source.name])
    with pytest.raises(SecretAbsent):
        kept.judge(source.name, envelope, lambda live: live)

"""No delivery holds up its shard by the certificate that it names: nothing of it is proven when that is fetched."""

from __future__ import annotations

import io
import json
import socket
import time
import urllib.error
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from email.message import Message

import pytest

from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of, with_header
from tests.support.engine_env import kinesis_event
from tests.support.memory_store import MemoryStore
from weir.consumers.batch.batch import Consumer
from weir.consumers.events_table.item import JudgedEvent
from weir.consumers.judging.judge import Judge
from weir.consumers.judging.records import Record
from weir.consumers.judging.secrets import Secrets
from weir.consumers.settings import Settings
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SequenceNumber, SourceName
from weir.ingest.schemes.crypto.certificate_cache import CertificateCache
from weir.ingest.sources.catalogue import Catalogue

PAYPAL, SNS = source_of("paypal"), source_of("aws-sns")
IDENTITIES = {source.name: pair_of(source).verify_with.partition("\n")[0] for source in (PAYPAL, SNS)}
GENUINE = {source.name: envelope_of(source, draft_of(source, pair_of(source))) for source in (PAYPAL, SNS)}


class Judging:
    """A judge of two sources whose certificates are not pinned, its clock and the internet that it sees."""

    def __init__(self, get: Callable[[str], bytes]) -> None:
        self.now_ms = AT_MS
        kept = {f"/s/{name}": json.dumps({"secrets": [{"value": text}]}) for name, text in IDENTITIES.items()}
        secrets = Secrets(lambda _: kept, "/s", ttl_s=1e9, patience_s=900, clock_ms=lambda: self.now_ms)
        cache = CertificateCache(lambda: self.now_ms / 1000, get)
        catalogue = Catalogue({source.name: source for source in (PAYPAL, SNS)})
        self.judge_of_all = Judge(catalogue, secrets, quarantine_s=9, unproven_s=9, fetch=cache.fetch)

    def judge(self, *envelopes: Envelope) -> list[str]:
        """Return what becomes of each: its decision, and the reason."""
        judged = self.judge_of_all.judge(
            [Record("shard:1", SequenceNumber("1"), 0, AT_MS, encode(one)) for one in envelopes]
        )
        return [described(one) for one in judged]


def described(judged: JudgedEvent) -> str:
    """Return the decision of an event and why."""
    return f"{judged.decision} {judged.error.code}" if judged.error else str(judged.decision)


def paypal(url: str) -> Envelope:
    """Return a delivery of PayPal that names another certificate."""
    return with_header(GENUINE[PAYPAL.name], "PAYPAL-CERT-URL", lambda _: url)


def failing(error: OSError) -> Callable[[str], bytes]:
    """Return an internet in which every request fails so."""

    def get(_url: str) -> bytes:
        raise error

    return get


def test_a_made_up_host_is_not_waited_for() -> None:
    """A certificate's URL at a host that the delivery made up ends in quarantine, and no name is looked up."""

    def get(url: str) -> bytes:
        raise AssertionError(url)

    sns = GENUINE[SNS.name]
    made_up = replace(sns, body=sns.body.replace(b"sns.eu-west-1.amazonaws.com", b"sns.nowhere.amazonaws.com"))
    url = "https://api.nowhere.paypal.com/v1/notifications/certs/none"
    assert Judging(get).judge(paypal(url), made_up) == ["quarantine signature_malformed"] * 2


def test_made_up_certificates_are_not_waited_for() -> None:
    """Of 200 forgeries under certificates that are not there none waits, and what is genuine behind them is proven."""
    pem = pair_of(PAYPAL).verify_with.partition("\n")[2].encode()

    def get(url: str) -> bytes:
        if "forged" in url:
            raise urllib.error.HTTPError(url, 404, "Not Found", Message(), None)
        return pem

    judging = Judging(get)
    genuine = GENUINE[PAYPAL.name]
    forged = [paypal(f"https://api.paypal.com/v1/notifications/certs/forged-{n:04}") for n in range(200)]
    first, *rest = judging.judge(genuine, *forged, genuine)
    assert first == rest.pop()
    assert "certificate_unavailable" not in first
    assert Counter(rest) == {"quarantine certificate_unavailable": 200}


def test_a_name_that_is_not_known_is_not_waited_for() -> None:
    """A host without an address quarantines the delivery, which can be verified later."""
    unknown = urllib.error.URLError(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert Judging(failing(unknown)).judge(GENUINE[SNS.name]) == ["quarantine certificate_unavailable"]


@pytest.mark.parametrize("source", [PAYPAL.name, SNS.name])
def test_a_silent_host_is_waited_for_a_minute(source: SourceName) -> None:
    """While the provider's host fails a delivery waits, for a minute after its arrival and no longer."""
    judging = Judging(failing(TimeoutError("timed out")))
    assert judging.judge(GENUINE[source]) == ["wait certificate_host_unavailable"]
    judging.now_ms = AT_MS + 60_000
    assert judging.judge(GENUINE[source]) == ["wait certificate_host_unavailable"]
    judging.now_ms = AT_MS + 60_001
    assert judging.judge(GENUINE[source]) == ["quarantine certificate_unavailable"]


def test_a_batch_with_a_made_up_host_is_done() -> None:
    """A batch with forged certificate URLs is done each time it is read, and what is behind them is stored."""
    unknown = urllib.error.URLError(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    now_ms = round(time.time() * 1000)
    judging = Judging(failing(unknown))
    judging.now_ms = now_ms
    known, made_up = (f"https://api.{host}paypal.com/v1/notifications/certs/none" for host in ("", "nowhere."))
    sns = GENUINE[SNS.name]
    hosts = {region: f"sns.{region}.amazonaws.com".encode() for region in ("eu-west-1", "nowhere")}
    other = replace(sns, body=sns.body.replace(hosts["eu-west-1"], hosts["nowhere"]))
    batch = [
        replace(one, arrived_at_ms=now_ms, request_id=RequestId(f"r{n}"))
        for n, one in enumerate([paypal(made_up), other, paypal(known), sns, paypal(made_up)])
    ]
    settings = Settings.from_environment({"EVENTS_TABLE": "events", "TABLES": "{}"})
    store, log = MemoryStore(), io.StringIO()
    consumer = Consumer(settings, judging.judge_of_all, store, stream=log)
    for _ in range(3):
        answer = consumer.consume(kinesis_event(*batch), invocation="i", left_s=lambda: 60.0)
        assert answer == {"batchItemFailures": []}
    assert len(store.tables["events"]) == len(batch)

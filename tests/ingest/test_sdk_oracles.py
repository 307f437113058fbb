"""Weir against the verifiers of the providers themselves: recorded verdicts, published examples, and the SDKs live."""

from __future__ import annotations

import json
import logging
import time
from base64 import b64decode
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.support.deliveries import URL, draft_of, envelope_of, judged_cases, pair_of, source_of, with_headers
from tests.support.sdks import SDKS, Delivery, Sdk, http_signature_is_valid, http_signature_of
from weir.ingest.envelope import Envelope
from weir.ingest.errors import RecordError
from weir.ingest.ids import RequestId
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft, Scheme
from weir.ingest.schemes.http_message_signatures import HttpAlgorithm, HttpSignatureScheme
from weir.ingest.schemes.parts.checks import public_urls
from weir.ingest.sources import presets
from weir.ingest.sources.sources_file import SourceEntry, resolve

VECTORS = Path(__file__).parent.parent / "vectors"
RECORDED = sorted((VECTORS / "sdk").glob("*.json"))
PUBLISHED: list[dict[str, Any]] = json.loads((VECTORS / "published.json").read_text(encoding="utf-8"))

# Where Weir answers otherwise than the SDK, and why that is right.
KNOWN: dict[str | tuple[str, str], str] = {
    "upper-case hex": "Weir decodes hex and compares bytes; some SDKs compare text.",
    ("workos", "second signature valid"): "The SDK refuses more than one signature; rotation may need two.",
    ("elevenlabs", "second signature valid"): "The SDK takes the first signature only.",
    ("sanity", "second signature valid"): "The SDK takes the first signature only.",
    ("aws-sns", "another secret"): "The SDK takes any topic's message; Weir only those of the topics it was given.",
    ("app-store", "old"): "The SDK does not judge the signed time; Weir does, by how long Apple tries again.",
    ("replicate", "old"): "The SDK does not judge the signed time; Weir does, as Standard Webhooks asks.",
    ("webflow", "old"): "The SDK does not judge the signed time; Webflow's documentation asks for 5 minutes.",
    **{
        (name, "old"): "The SDK does not judge the signed time; Weir does, by how long the provider tries again."
        for name in (
            *(
                "aws-sns",
                "cashfree",
                "discord",
                "dropbox-sign",
                "hygraph",
                "mercado-pago",
                "paypal",
                "sanity",
                "sendgrid",
            ),
        )
    },
    ("twitch", "old"): "The third-party package leaves the time to its caller; Twitch asks for 10 minutes.",
}


def accepted(scheme: Scheme, secrets: tuple[str, ...], envelope: Envelope) -> bool:
    """Return whether Weir takes a delivery for genuine."""
    try:
        signatures.verify(scheme, secrets, envelope)
    except RecordError:
        return False
    return True


def recorded_cases() -> list[Any]:
    """Return every recorded verdict as a test parameter."""
    found = []
    for path in RECORDED:
        record = json.loads(path.read_text(encoding="utf-8"))
        found += [pytest.param(record, case, id=f"{record['preset']}-{case['name']}") for case in record["cases"]]
    return found


def recorded_envelope(record: dict[str, Any], case: dict[str, Any]) -> Envelope:
    """Return the delivery of a recorded case."""
    preset = record["preset"]
    return Envelope(
        request_id=RequestId("recorded"),
        arrived_at_ms=record["at_ms"],
        source=preset,
        key="",
        source_ip="192.0.2.1",
        path=f"/v1/{preset}",
        query=case["query"],
        headers=tuple((name, value) for name, value in case["headers"]),
        body=b64decode(case["body"]),
    )


@pytest.mark.parametrize(("record", "case"), recorded_cases())
def test_verdict_is_that_of_the_providers_own_code(record: dict[str, Any], case: dict[str, Any]) -> None:
    """What a provider's package accepted or refused, so does Weir, but for the differences that are named."""
    preset, name = record["preset"], case["name"]
    verdict = accepted(source_of(preset).scheme, (case["secret"],), recorded_envelope(record, case))
    if name in KNOWN or (preset, name) in KNOWN:
        assert verdict == (name not in {"old", "another secret"})
    else:
        assert verdict == case["accepted"]


def test_recorded_verdicts_hold_for_every_preset_that_claims_an_sdk() -> None:
    """A preset that says it was checked against an SDK has the verdicts of that SDK on record."""
    known = {path.stem for path in RECORDED}
    claimed = {name for name, preset in presets.all_presets().items() if preset.checked.startswith("sdk: ")}
    assert len(known) > 40
    assert claimed <= known


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda vector: vector["preset"])
def test_published_example_verifies(vector: dict[str, Any]) -> None:
    """The example that a provider publishes verifies, and with one byte more it does not."""
    url = {"url": vector["url"]} if "url" in vector else {}
    source = resolve(vector["preset"], SourceEntry.model_validate({"preset": vector["preset"], **url}))
    case = {"headers": list(vector["headers"].items()), "query": vector.get("query", {}), "body": ""}
    record = {"preset": vector["preset"], "at_ms": vector.get("at_ms", 0)}
    envelope = recorded_envelope(record, case)
    for body, verdict in ((vector["body"], True), (vector["body"] + "0", False)):
        whole = Envelope(**{name: getattr(envelope, name) for name in envelope.__slots__} | {"body": body.encode()})
        assert accepted(source.scheme, (vector["secret"],), whole) == verdict


def test_every_claimed_vector_is_recorded() -> None:
    """A preset that says it was checked against a published vector has that vector here."""
    published = {vector["preset"] for vector in PUBLISHED}
    claimed = {name for name, preset in presets.all_presets().items() if preset.checked.startswith("vector: ")}
    assert claimed <= published


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    logging.disable(logging.CRITICAL)  # the SDKs log each refusal
    yield
    logging.disable(logging.NOTSET)


def _needs(sdk: Sdk) -> None:
    try:
        metadata.version(sdk.package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{sdk.package} is not installed: pip install -r requirements/oracles.txt")


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.preset)
def test_installed_sdk_agrees(sdk: Sdk) -> None:
    """An installed SDK and Weir give the same verdict on fresh deliveries, whole and spoilt."""
    _needs(sdk)
    source = source_of(sdk.preset)
    at_ms = int(time.time() * 1000)
    for case in judged_cases(source, pair_of(source), at_ms):
        if case.name in KNOWN or (sdk.preset, case.name) in KNOWN:
            continue
        judged = sdk.verdict(Delivery(case.envelope, URL + sdk.preset, case.secrets[0]))
        assert judged == accepted(source.scheme, case.secrets, case.envelope), case.name


@pytest.mark.parametrize("sdk", [sdk for sdk in SDKS if sdk.signs], ids=lambda sdk: sdk.preset)
def test_signature_of_installed_sdk_verifies(sdk: Sdk) -> None:
    """What an installed SDK signs, Weir verifies."""
    _needs(sdk)
    source = source_of(sdk.preset)
    pair = pair_of(source)
    at_ms = int(time.time() * 1000)
    envelope = envelope_of(source, draft_of(source, pair, at_ms=at_ms))
    assert sdk.signs is not None
    headers = sdk.signs(Delivery(envelope, URL + sdk.preset, pair.sign_with), at_ms // 1000, "msg_1")
    verdict = signatures.verify(source.scheme, [pair.verify_with], with_headers(envelope, headers))
    assert verdict.secret_index == 0


@pytest.mark.parametrize("algorithm", get_args(HttpAlgorithm))
@pytest.mark.parametrize("url", ["https://Hooks.example.com:443/v1/acme", "http://hooks.example.com:8080"])
def test_http_message_signatures_both_ways(algorithm: str, url: str) -> None:
    """Over every component, by every algorithm, the package takes what Weir signs, and Weir what the package signs."""
    _needs(next(sdk for sdk in SDKS if sdk.preset == "http-message-signatures"))
    covered = (
        *("@method", "@target-uri", "@authority", "@scheme", "@path", "@query", "@request-target"),
        *('@query-param;name="a%20b"', "content-type", "content-digest"),
    )
    scheme = HttpSignatureScheme.model_validate(
        {"alg": "http-message-signatures", "algorithm": algorithm, "cover": covered, "url": url}
    )
    pair, at_s = signatures.generate_secret(scheme, bytes(range(32))), int(time.time())
    query = {"a b": "ü ~*-._!'()", "c": "1+2&3="}
    draft = Draft(b'{"id":"evt_1"}', at_s * 1000, "msg_1", {"Content-Type": "application/json"}, query=query)
    signatures.sign_draft(scheme, pair.sign_with, draft)
    full = public_urls(f"{url}/" if url.endswith("8080") else url, draft.envelope())[0]
    assert http_signature_is_valid(Delivery(draft.envelope(), full, pair.verify_with), algorithm)
    ids = tuple(name.replace("@query-param", '"@query-param"') for name in covered)
    headers = http_signature_of(Delivery(draft.envelope(), full, pair.sign_with), algorithm, at_s, ids)
    envelope = with_headers(draft.envelope(), headers)
    assert signatures.verify(scheme, [pair.verify_with], envelope).secret_index == 0

"""Sample deliveries: whole, fresh where asked for, the same where not, and as the example ledger reads them."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from tests.support.deliveries import AT_MS, envelope_of, pair_of, source_of
from weir.ingest.contract import routes
from weir.ingest.errors import ConfigError, SignatureMismatch
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.sources import presets, samples

PRESETS = presets.names()


@pytest.mark.parametrize("preset", PRESETS)
def test_sample_is_filled(preset: str) -> None:
    """Every blank of a sample is filled, and its body is of the type that it says."""
    body, headers = samples.sample(preset, 3, at_ms=AT_MS)
    assert not re.search(rb"\{\{\w+\}\}", body + repr(headers).encode())
    assert headers["Content-Type"]
    if "json" in headers["Content-Type"]:
        json.loads(body)


@pytest.mark.parametrize("preset", PRESETS)
def test_sample_is_of_a_stored_type(preset: str) -> None:
    """The gateway stores what the sample says it is; any other type is refused with 415."""
    _, headers = samples.sample(preset, at_ms=AT_MS)
    definition = routes.api_definition({preset: source_of(preset)}, {})
    post = definition["paths"][f"/v1/{preset}"]["post"]
    stored = post["x-amazon-apigateway-integration"]["requestTemplates"]
    assert headers["Content-Type"].partition(";")[0] in stored


@pytest.mark.parametrize("preset", PRESETS)
def test_sample_is_repeatable(preset: str) -> None:
    """The same arguments give the same bytes; another number or seed gives another delivery."""
    source, pair = source_of(preset), pair_of(source_of(preset))
    first = samples.delivery(source, pair.sign_with, 1, seed="a", at_ms=AT_MS)
    assert samples.sample(preset, 1, seed="a", at_ms=AT_MS) == samples.sample(preset, 1, seed="a", at_ms=AT_MS)
    for other in (
        samples.delivery(source, pair.sign_with, 2, seed="a", at_ms=AT_MS),
        samples.delivery(source, pair.sign_with, 1, seed="b", at_ms=AT_MS),
    ):
        assert (other.body, other.message_id) != (first.body, first.message_id)


def test_signed_gives_all_headers() -> None:
    """`signed` returns the headers that were given and those that prove the body."""
    source = source_of("stripe")
    pair = pair_of(source)
    body, headers = samples.sample("stripe", at_ms=AT_MS)
    complete = samples.signed(source, pair.sign_with, body=body, headers=headers, at_ms=AT_MS, message_id="m")
    assert set(complete) == {*headers, "Stripe-Signature"}
    draft = Draft(body, AT_MS, "m", complete)
    assert signatures.verify(source.scheme, [pair.verify_with], envelope_of(source, draft)).secret_index == 0


def test_source_without_preset() -> None:
    """A source that is described in full is sent the generic sample; a preset without one is reported."""
    assert samples.sample(None, at_ms=AT_MS) == samples.sample("hmac", at_ms=AT_MS)
    with pytest.raises(ConfigError):
        samples.sample("no-such-provider", at_ms=AT_MS)


def test_samples_of_the_ledger() -> None:
    """The three senders that the example ledger reads send a payment of ten units."""
    stripe, shopify, payment = (
        json.loads(samples.sample(name, 4, at_ms=AT_MS)[0]) for name in ("stripe", "shopify", "standard-webhooks")
    )
    assert stripe["type"] == "charge.succeeded"
    assert (stripe["data"]["object"]["amount"], stripe["data"]["object"]["currency"]) == (1000, "eur")
    assert (shopify["total_price"], shopify["currency"]) == ("10.00", "EUR")
    assert payment["type"] == "payment.succeeded"
    assert (payment["data"]["amount"], payment["data"]["currency"]) == (1000, "EUR")


def test_query_of_a_sample_is_signed() -> None:
    """A sample may have a query; its delivery has it, and the provider's signature covers it."""
    source = source_of("mercado-pago")
    pair = pair_of(source)
    delivery = samples.delivery(source, pair.sign_with, 2, at_ms=AT_MS)
    assert delivery.query == samples.query("mercado-pago", 2, at_ms=AT_MS)
    assert delivery.query["data.id"] == json.loads(delivery.body)["data"]["id"]
    envelope = envelope_of(source, delivery)
    assert signatures.verify(source.scheme, [pair.verify_with], envelope).secret_index == 0
    with pytest.raises(SignatureMismatch):
        signatures.verify(source.scheme, [pair.verify_with], replace(envelope, query={"data.id": "1"}))
    assert samples.query("stripe", at_ms=AT_MS) == {}

"""Apple's signed payloads: only what a chain under the pinned root signed, for the app that the secret names."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of
from weir.ingest.encodings import decode_base64, encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed, SecretAbsent, SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import MAX_JWS_CHARS
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.schemes.crypto import chains, public_keys
from weir.ingest.sources import events

SOURCE = source_of("app-store")
PAIR = pair_of(SOURCE)
PARTS = json.loads(PAIR.sign_with.partition("\n")[2])
PAYLOAD = {"signedDate": AT_MS, "data": {"bundleId": "com.example", "environment": "Sandbox"}}


def delivery(signed_payload: object) -> Envelope:
    """Return a delivery with this signed payload."""
    body = json.dumps({"signedPayload": signed_payload}).encode()
    return envelope_of(SOURCE, Draft(body, AT_MS, "m", {"Content-Type": "application/json"}))


def jws(payload: Any = PAYLOAD, key: str = PARTS["key"], **header: Any) -> str:
    """Return a payload signed by the leaf's key, with the chain's header or another one."""
    parts = ({"alg": "ES256", "x5c": PARTS["x5c"]} | header, payload)
    signed = ".".join(encode(json.dumps(part).encode(), "base64url") for part in parts)
    signature = public_keys.sign("ecdsa-p256-sha256-raw", public_keys.from_pem(key), signed.encode())
    return f"{signed}.{encode(signature, 'base64url')}"


def verify(envelope: Envelope, secret: str = PAIR.verify_with) -> signatures.Verdict:
    """Verify as the consumer does."""
    return signatures.verify(SOURCE.scheme, [secret], envelope)


def test_payload_signed_by_hand() -> None:
    """What the leaf of the chain signed is genuine."""
    assert verify(delivery(jws())).secret_index == 0


def test_chain_of_a_forger_with_the_same_names() -> None:
    """A chain that a forger made, with Apple's names and marks and the pinned root at its end, is refused."""
    _, private, chain = chains.generate(b"\x07" * 32)
    forged = [b64encode(one).decode() for one in chain[:2]]
    for root in (b64encode(chain[2]).decode(), PARTS["x5c"][2]):
        with pytest.raises(SignatureMismatch):
            verify(delivery(jws(key=private, x5c=[*forged, root])))


def test_key_that_is_not_the_leaf_s() -> None:
    """The right chain beside a signature by another key is refused."""
    with pytest.raises(SignatureMismatch):
        verify(delivery(jws(key=chains.generate(b"\x07" * 32)[1])))


def test_certificates_without_apple_s_marks() -> None:
    """Certificates under the root that are not for App Store data sign nothing: here the intermediate is the leaf."""
    leaf, intermediate, root = PARTS["x5c"]
    with pytest.raises(SignatureMalformed, match="not one for App Store data"):
        verify(delivery(jws(x5c=[intermediate, root, root])))
    with pytest.raises(SignatureMismatch):
        verify(delivery(jws(x5c=[leaf, root, root])))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"x5c": []},
        {"x5c": PARTS["x5c"][:2]},
        {"x5c": [*PARTS["x5c"], PARTS["x5c"][2]]},
        {"x5c": "text"},
        {"x5c": [7, None, {}]},
        {"x5c": [b64encode(b64decode(one)[:-9]).decode() for one in PARTS["x5c"]]},
    ],
    ids=lambda header: str(header)[:30],
)
def test_headers_that_are_refused(header: dict[str, Any]) -> None:
    """Another algorithm, and what is not a chain of three certificates, is malformed."""
    with pytest.raises(SignatureMalformed):
        verify(delivery(jws(**header)))


@pytest.mark.parametrize("payload", [PAYLOAD | {"data": {"bundleId": "com.other"}}, PAYLOAD | {"data": {}}, {}])
def test_notification_of_another_app(payload: dict[str, Any]) -> None:
    """What Apple signed for another app, or for none, is refused."""
    with pytest.raises(SignatureMismatch, match="another app"):
        verify(delivery(jws(payload)))


def test_notification_of_another_environment() -> None:
    """In the sandbox anyone buys for nothing: a secret that does not say Sandbox takes production alone."""
    sandbox = PAIR.verify_with
    production = sandbox.replace("com.example Sandbox", "com.example", 1)
    for purchase, environment in (("SANDBOX_1", "Sandbox"), ("1", "Production")):
        bought = {"externalPurchaseToken": {"bundleId": "com.example", "externalPurchaseId": purchase}}
        named = {"summary": {"bundleId": "com.example", "environment": environment}}
        for payload in (bought, named):
            envelope, right = delivery(jws({"signedDate": AT_MS} | payload)), environment == "Sandbox"
            assert verify(envelope, sandbox if right else production).secret_index == 0
            with pytest.raises(SignatureMismatch, match="another environment"):
                verify(envelope, production if right else sandbox)


@pytest.mark.parametrize("value", ["a", "a.b", "..", "{}.{}.{}", "a" * (MAX_JWS_CHARS + 1), 7])
def test_what_is_not_a_jws(value: object) -> None:
    """Text that is not a JWS, or too long a one, is malformed, and gives no event either."""
    with pytest.raises(SignatureMalformed):
        verify(delivery(value))
    with pytest.raises(EventMalformed):
        events.extract(SOURCE, delivery(value))


def test_nothing_signed() -> None:
    """A body without a signed payload is unsigned."""
    with pytest.raises(SignatureMissing):
        verify(delivery(None))


def test_secrets() -> None:
    """A secret is a bundle id and a certificate; without one it is refused, when it is set and when it is used."""
    for secret in ("com.example", "com.example\nnot pem", PAIR.verify_with.partition("\n")[2]):
        with pytest.raises(ValueError, match=r"bundle id|PEM"):
            signatures.check_secret(SOURCE.scheme, secret)
    with pytest.raises(SecretAbsent):
        verify(delivery(jws()), "com.example\nnot pem")
    signatures.check_secret(SOURCE.scheme, PAIR.verify_with)


def test_event_is_read_from_the_payload() -> None:
    """Id, type and time of the event are those of the signed payload, not of the body around it."""
    envelope = envelope_of(SOURCE, draft_of(SOURCE, PAIR))
    payload = json.loads(decode_base64(json.loads(envelope.body)["signedPayload"].split(".")[1], is_url_safe=True))
    (event,) = events.extract(SOURCE, envelope)
    assert (event.event_id, event.type) == (payload["notificationUUID"], "SUBSCRIBED.INITIAL_BUY")
    assert event.at_ms == payload["signedDate"]

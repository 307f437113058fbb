"""The schemes that are code and not data: tokens that cannot be confused, URLs as the provider saw them."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest

from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of, with_header
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureExpired, SignatureMalformed, SignatureMismatch
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.sources.catalogue import Source, parse_compiled
from weir.ingest.sources.sources_file import SourceEntry, resolve

NETLIFY = source_of("netlify")
PLAID = source_of("plaid")
BODY = b'{"a":1}'


def token(secret: str, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return a token signed with HMAC, whatever its header says."""
    parts = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signed = b".".join(parts)
    mac = hmac.digest(secret.encode(), signed, "sha256")
    return (signed + b"." + urlsafe_b64encode(mac).rstrip(b"=")).decode()


def netlify_delivery(**claims: Any) -> Envelope:
    """Return a delivery of Netlify's under the secret ``key``, with these claims in place of the right ones."""
    right = {"iss": "netlify", "sha256": hashlib.sha256(BODY).hexdigest()}
    header = {"alg": claims.pop("alg", "HS256"), "typ": "JWT"}
    wanted = {name: value for name, value in (right | claims).items() if value is not None}
    headers = (("X-Webhook-Signature", token("key", header, wanted)),)
    return Envelope(RequestId("r"), AT_MS, SourceName("netlify"), "", "192.0.2.1", "/v1/netlify", {}, headers, BODY)


def test_netlify_token() -> None:
    """A token with the body's hash and the right issuer verifies."""
    assert signatures.verify(NETLIFY.scheme, ["key"], netlify_delivery()).scheme == "netlify-jws"


@pytest.mark.parametrize("alg", ["none", "None", "HS512", "RS256", "ES256", "", None, ["HS256"]])
def test_algorithm_is_the_sources(alg: object) -> None:
    """A token that names another algorithm is refused, however it is signed."""
    with pytest.raises(SignatureMalformed):
        signatures.verify(NETLIFY.scheme, ["key"], netlify_delivery(alg=alg))


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"iss": "evil"}, SignatureMismatch),
        ({"iss": None}, SignatureMismatch),
        ({"sha256": "00" * 32}, SignatureMismatch),
        ({"sha256": None}, SignatureMismatch),
        ({"sha256": 5}, SignatureMalformed),
        ({"exp": AT_MS // 1000 - 1}, SignatureExpired),
        ({"nbf": AT_MS // 1000 + 3600}, SignatureExpired),
        ({"exp": "soon"}, SignatureMalformed),
        ({"exp": True}, SignatureMalformed),
        ({"exp": 1e300}, SignatureMalformed),
    ],
)
def test_claims_count(claims: dict[str, Any], error: type[Exception]) -> None:
    """Issuer, hash of the body and times of a token are all judged, the times at the arrival."""
    with pytest.raises(error):
        signatures.verify(NETLIFY.scheme, ["key"], netlify_delivery(**claims))


def test_fractions_of_a_second() -> None:
    """Times of a token may have a fraction: RFC 7519, section 2."""
    assert signatures.verify(NETLIFY.scheme, ["key"], netlify_delivery(exp=AT_MS / 1000 + 0.5)).secret_index == 0


def test_public_key_is_no_shared_secret() -> None:
    """A token that is HMAC-signed with the public key itself does not pass for one signed with the private key."""
    pair = pair_of(PLAID)
    claims = {"iat": AT_MS // 1000, "request_body_sha256": hashlib.sha256(BODY).hexdigest()}
    kid = json.loads(pair.verify_with)["kid"]
    for alg, error in (("HS256", SignatureMalformed), ("ES256", SignatureMismatch)):
        headers = (("Plaid-Verification", token(pair.verify_with, {"alg": alg, "kid": kid}, claims)),)
        envelope = Envelope(RequestId("r"), AT_MS, SourceName("plaid"), "", "192.0.2.1", "/v1/plaid", {}, headers, BODY)
        with pytest.raises(error):
            signatures.verify(PLAID.scheme, [pair.verify_with], envelope)


def test_key_id_chooses() -> None:
    """Of several keys only the one that the token names is tried, and a secret that is not a key is passed over."""
    pair = pair_of(PLAID)
    envelope = envelope_of(PLAID, draft_of(PLAID, pair))
    other = json.dumps(json.loads(pair.verify_with) | {"kid": "other"})
    assert signatures.verify(PLAID.scheme, ["{}", other, pair.verify_with], envelope).secret_index == 2
    with pytest.raises(SignatureMismatch):
        signatures.verify(PLAID.scheme, [other], envelope)
    with pytest.raises(SecretAbsent):
        signatures.verify(PLAID.scheme, ["{}"], envelope)


def test_standard_webhooks_keys_are_not_confused() -> None:
    """A public key of the asymmetric form is never used as the shared secret of the symmetric one."""
    public = pair_of(source_of("standard-webhooks-ed25519")).verify_with
    source = source_of("standard-webhooks")
    with pytest.raises(SecretAbsent):
        signatures.verify(source.scheme, [public], envelope_of(source, draft_of(source, pair_of(source))))


URLS = ["twilio", "twilio-events", "square", "trello", "hubspot", "plivo", "contentful"]


def keyed(preset: str, envelope: Envelope, key: str, query: dict[str, str]) -> Envelope:
    """Return the envelope as it arrives under an ordering key and with a query."""
    return replace(envelope, key=key, path=f"/prod/v1/{preset}/{key}", query=query)


@pytest.mark.parametrize("preset", URLS)
@pytest.mark.parametrize("query", [{}, {"a": "1 2", "b": "ü/+"}])
def test_url_with_key_and_query(preset: str, query: dict[str, str]) -> None:
    """Under an ordering key and with a query the URL that is verified is the one the provider called."""
    source = source_of(preset)
    longer = resolve(
        preset, SourceEntry.model_validate({"preset": preset, "url": f"https://hooks.example.com/v1/{preset}/shop-7"})
    )
    pair = pair_of(source)
    draft = draft_of(longer, pair)
    draft.query |= query
    signatures.sign_draft(longer.scheme, pair.sign_with, draft)
    arrived = keyed(preset, envelope_of(source, draft), "shop-7", draft.query)
    if preset in {"square", "trello", "hubspot"} and query:
        return  # they sign the URL that was registered, and so `url` itself
    assert signatures.verify(source.scheme, [pair.verify_with], arrived).secret_index == 0
    with pytest.raises(SignatureMismatch):
        signatures.verify(source.scheme, [pair.verify_with], keyed(preset, arrived, "shop-8", draft.query))


def test_twilio_port() -> None:
    """Twilio may sign the URL with or without the port: both verify, as in its SDK."""
    source = source_of("twilio")
    pair = pair_of(source)
    ported = resolve("twilio", SourceEntry(preset="twilio", url="https://hooks.example.com:443/v1/twilio"))
    for signer, judge in ((ported, source), (source, ported)):
        envelope = envelope_of(judge, draft_of(signer, pair))
        assert signatures.verify(judge.scheme, [pair.verify_with], envelope).secret_index == 0


def test_twilio_json_needs_the_hash() -> None:
    """A JSON body whose hash is not in the signed URL is refused, for nothing would cover it."""
    source = source_of("twilio-events")
    pair = pair_of(source)
    envelope = envelope_of(source, draft_of(source, pair))
    with pytest.raises(SignatureMalformed, match="bodySHA256"):
        signatures.verify(source.scheme, [pair.verify_with], replace(envelope, query={}))


def test_repeated_form_fields() -> None:
    """A field that is there twice is signed with each different value once, sorted, as Twilio's SDK does."""
    source = source_of("twilio")
    pair = pair_of(source)
    envelope = envelope_of(source, draft_of(source, pair))
    text = "https://hooks.example.com/v1/twilio" + "Media" + "a" + "Media" + "b" + "To" + "+1"
    signature = b64encode(hmac.digest(pair.sign_with.encode(), text.encode(), "sha1")).decode()
    form = replace(envelope, body=b"To=%2B1&Media=b&Media=a&Media=b")
    signed = with_header(form, "X-Twilio-Signature", lambda _: signature)
    assert signatures.verify(source.scheme, [pair.verify_with], signed).secret_index == 0


def test_adyen_verifies_each_item() -> None:
    """Of several items each must be signed."""
    source = source_of("adyen")
    pair = pair_of(source)
    envelope = envelope_of(source, draft_of(source, pair))
    document = json.loads(envelope.body)
    forged = json.loads(json.dumps(document["notificationItems"][0]).replace("AUTHORISATION", "REFUND"))
    for items, accepted in (
        ([document["notificationItems"][0]] * 2, True),
        ([*document["notificationItems"], forged], False),
        ([], False),
    ):
        body = json.dumps(document | {"notificationItems": items}).encode()
        if accepted:
            assert signatures.verify(source.scheme, [pair.verify_with], replace(envelope, body=body)).secret_index == 0
        else:
            with pytest.raises(Exception, match=r"signature|signed|element"):
                signatures.verify(source.scheme, [pair.verify_with], replace(envelope, body=body))


def start(source: Source) -> set[str]:
    """Load a compiled source and verify with it in a process of its own; return the packages that this imported."""
    program = """
import json, sys
text, secret, delivery = json.load(sys.stdin)
from weir.ingest.schemes import signatures
from weir.ingest.sources import events
from weir.ingest.envelope import decode
from weir.ingest.sources.catalogue import parse_compiled
(source,) = parse_compiled(text).values()
signatures.verify(source.scheme, [secret], decode(delivery.encode()))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    from weir.ingest.envelope import encode
    from weir.ingest.sources.catalogue import Catalogue

    pair = pair_of(source)
    text = Catalogue({source.name: source}).dump()
    assert parse_compiled(text)[source.name] == source
    arrived = encode(envelope_of(source, draft_of(source, pair))).decode()
    asked = json.dumps([text, pair.verify_with, arrived])
    run = subprocess.run([sys.executable, "-c", program], input=asked, capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


@pytest.mark.parametrize(
    ("preset", "needed"), [("github", set()), ("netlify", set()), ("twilio", set()), ("discord", {"cryptography"})]
)
def test_function_imports_what_it_needs(preset: str, needed: set[str]) -> None:
    """The function reads its sources and verifies without YAML, and without `cryptography` unless a source needs it."""
    imported = start(source_of(preset))
    assert imported & {"yaml", "cryptography", "boto3", "jsonschema"} == needed

"""HTTP Message Signatures: the RFC's own examples, what must be refused, and whatever a header may hold."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.deliveries import AT_MS, with_header, with_headers
from weir.ingest.envelope import Envelope
from weir.ingest.errors import (
    RecordError,
    SecretAbsent,
    SignatureExpired,
    SignatureMalformed,
    SignatureMismatch,
    SignatureMissing,
)
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.locations import Unreadable
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft, SecretPair
from weir.ingest.schemes.http_message_signatures import MAX_COMPONENTS, MAX_LABELS, HttpSignatureScheme
from weir.ingest.schemes.parts.checks import MAX_KEY_PAIR_SIGNATURES
from weir.ingest.sources.sources_file import SourceEntry, resolve
from weir.ingest.structured_fields import parse_dictionary, serialize

RFC: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "rfc9421.json").read_text(encoding="utf-8")
)
ALGORITHMS = ["hmac-sha256", "ed25519", "ecdsa-p256-sha256", "rsa-v1_5-sha256", "rsa-pss-sha512"]
URL = "https://hooks.example.com/v1/acme"
BODY = b'{"id":"evt_1"}'
EVERYTHING = (
    "@method", "@target-uri", "@authority", "@scheme", "@path", "@query", "@request-target",
    '@query-param;name="a%20b"',     "content-type", "content-digest",
)  # fmt: skip


def scheme_of(algorithm: str = "hmac-sha256", **options: Any) -> HttpSignatureScheme:
    """Return a scheme with these options."""
    return HttpSignatureScheme.model_validate({"alg": "http-message-signatures", "algorithm": algorithm, **options})


def made(
    scheme: HttpSignatureScheme, *, body: bytes = BODY, query: dict[str, str] | None = None
) -> tuple[Envelope, SecretPair]:
    """Return a delivery that Weir signed, and its secret."""
    pair = signatures.generate_secret(scheme, hashlib.sha256(b"acme").digest())
    return signed(scheme, pair.sign_with, body=body, query=query), pair


def signed(
    scheme: HttpSignatureScheme, secret: str, *, body: bytes = BODY, query: dict[str, str] | None = None
) -> Envelope:
    """Return a delivery signed with this secret."""
    draft = Draft(
        body, AT_MS, "msg_1", {"Content-Type": "application/json"}, query=query or {}, source=SourceName("acme")
    )
    signatures.sign_draft(scheme, secret, draft)
    return draft.envelope()


def rfc_case(case: dict[str, Any]) -> tuple[HttpSignatureScheme, str, Envelope]:
    """Return scheme, secret and delivery of one of the RFC's examples."""
    scheme = scheme_of(
        case["algorithm"], cover=case["cover"], url=case["url"], tolerance_s=None, key={"decode": "base64"}
    )
    headers = RFC["headers"] | case["headers"]
    envelope = Envelope(
        RequestId("r"), case["arrived_s"] * 1000, SourceName("acme"), "", "192.0.2.1", "/v1/acme", RFC["query"],
        tuple(headers.items()), RFC["body"].encode(),
    )  # fmt: skip
    return scheme, RFC["keys"][case["key"]], envelope


@pytest.mark.parametrize("case", RFC["cases"], ids=lambda case: case["section"])
def test_rfc_example_verifies(case: dict[str, Any]) -> None:
    """What RFC 9421 prints as signed verifies; with another component, parameter or key it does not."""
    scheme, secret, envelope = rfc_case(case)
    assert signatures.verify(scheme, [secret], envelope).secret_index == 0
    assert signatures.verify(scheme, [f"keyid: {case['key']}\n{secret}"], envelope).secret_index == 0
    with pytest.raises(SignatureMismatch):
        signatures.verify(scheme, [f"keyid: other\n{secret}"], envelope)
    with pytest.raises(SignatureMismatch):
        signatures.verify(scheme, [signatures.generate_secret(scheme, b"0" * 32).verify_with], envelope)
    later = with_header(envelope, "Signature-Input", lambda text: text.replace("created=16188844", "created=16188845"))
    with pytest.raises(SignatureMismatch):
        signatures.verify(scheme, [secret], later)
    for name in set(scheme.cover) & {"date", "content-type"}:
        with pytest.raises(SignatureMismatch):
            signatures.verify(scheme, [secret], with_header(envelope, name, lambda text: f"{text}x"))


def test_rfc_example_expires() -> None:
    """The proxy's signature of section 4.3 is refused after the time at which it says that it expires."""
    scheme, secret, envelope = rfc_case(next(case for case in RFC["cases"] if "proxy" in case["section"]))
    with pytest.raises(SignatureExpired):
        signatures.verify(scheme, [secret], replace(envelope, arrived_at_ms=1_618_884_541_000))


def test_signature_of_a_response_is_none_of_a_delivery() -> None:
    """Appendix B.2.4 signs a response: a delivery cannot have its @status, however right the signature."""
    response = RFC["response"]
    envelope = with_headers(rfc_case(RFC["cases"][0])[2], response["headers"])
    with pytest.raises(SignatureMalformed, match="@status"):
        signatures.verify(
            scheme_of("ecdsa-p256-sha256", tolerance_s=None), [RFC["keys"]["test-key-ecc-p256"]],
            replace(envelope, body=response["body"].encode()),
        )  # fmt: skip


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm(algorithm: str) -> None:
    """What Weir signs over every component it verifies, and not with a change anywhere or under another algorithm."""
    scheme = scheme_of(algorithm, cover=EVERYTHING, url=URL, tag="weir")
    envelope, pair = made(scheme, query={"a b": "ü ~*", "c": ""})
    secrets = [signatures.generate_secret(scheme, b"1" * 32).verify_with, pair.verify_with]
    assert signatures.verify(scheme, secrets, envelope).secret_index == 1
    changed = [
        replace(envelope, body=BODY + b" "),
        replace(envelope, query={"a b": "ü", "c": ""}),
        replace(envelope, path="/v1/acme/shop"),
        with_header(envelope, "Content-Type", lambda _: "text/plain"),
        with_header(envelope, "Content-Digest", lambda _: "sha-256=:" + b64encode(bytes(32)).decode() + ":"),
    ]
    for other in changed:
        with pytest.raises(SignatureMismatch):
            signatures.verify(scheme, secrets, other)
    for name in set(ALGORITHMS) - {algorithm}:
        named = with_headers(envelope, {"Signature-Input": f'{envelope.header("Signature-Input")};alg="{name}"'})
        with pytest.raises(SignatureMalformed, match=algorithm):
            signatures.verify(scheme, secrets, named)


def test_public_key_is_no_shared_secret() -> None:
    """A source of shared secrets refuses a public key as its secret, and a source of public keys refuses a text."""
    public = signatures.generate_secret(scheme_of("ed25519"), bytes(32)).verify_with
    for scheme, secret in (
        (scheme_of(), public),
        (scheme_of("ed25519"), "secret"),
        (scheme_of("rsa-pss-sha512"), public),
    ):
        with pytest.raises(ValueError, match=r"secret|key"):
            signatures.check_secret(scheme, secret)
        with pytest.raises(SecretAbsent):
            signatures.verify(scheme, [secret], made(scheme_of())[0])


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("Signature", None, SignatureMissing),
        ("Signature-Input", "", SignatureMissing),
        ("Signature", "sig1=:AAAA", SignatureMalformed),
        ("Signature", "sig1=:====:", SignatureMalformed),
        ("Signature", "sig1=:AAAA:", SignatureMismatch),
        ("Signature", "sig2=:AAAA:", SignatureMalformed),
        ("Signature", "sig1=text", SignatureMalformed),
        ("Signature", "sig1=:AAAA:, sig1=:AAAA:", SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest");created=1, sig1=("content-digest");created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest";req);created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest" "@status");created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest" "@signature-params");created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest" "@path");created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest" "x-absent");created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest" "Content-Type");created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest" "content-digest");created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest" "@query-param";name="z");created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-type");created=1', SignatureMalformed),
        ("Signature-Input", "sig1=(content-digest);created=1", SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest" 5);created=1', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest""content-type")', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest");created=1;created=2', SignatureMalformed),
        ("Signature-Input", 'sig1=("content-digest");alg=5', SignatureMalformed),
        ("Signature-Input", "sig1", SignatureMalformed),
        ("Signature-Input", ",", SignatureMalformed),
    ],
)
def test_malformed_header(name: str, value: str | None, error: type[RecordError]) -> None:
    """A header that is not a structured field, names one twice, or one that is not there, is refused."""
    scheme = scheme_of()
    envelope, pair = made(scheme)
    with pytest.raises(error):
        signatures.verify(scheme, [pair.verify_with], with_header(envelope, name, lambda _: value))


def resigned(scheme: HttpSignatureScheme, envelope: Envelope, covered: str, secret: str = "key") -> Envelope:
    """Return the delivery signed with HMAC by hand: `covered` is as in Signature-Input."""
    digest = envelope.header("Content-Digest")
    lines = f'"content-digest": {digest}\n"@signature-params": {covered}'
    value = b64encode(hmac.digest(secret.encode(), lines.encode(), "sha256")).decode()
    return with_headers(envelope, {"Signature-Input": f"a={covered}", "Signature": f"a=:{value}:"})


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        (f";created={AT_MS // 1000 - 300}", None),
        (f";created={AT_MS // 1000 - 301}", SignatureExpired),
        (f";created={AT_MS // 1000 + 301}", SignatureExpired),
        (f";created={AT_MS // 1000};expires={AT_MS // 1000}", None),
        (f";created={AT_MS // 1000};expires={AT_MS // 1000 - 1}", SignatureExpired),
        (f';created={AT_MS // 1000};nonce="n\\"\\\\";keyid="k";tag="t";x=?0;y;z=1.5;b=:AAAA:;w=a/b', None),
        ("", SignatureMalformed),
        (';created="1"', SignatureMalformed),
        (";created=1.5", SignatureMalformed),
        (f";created={AT_MS // 1000};expires", SignatureMalformed),
    ],
)
def test_times_of_a_signature(parameters: str, error: type[RecordError] | None) -> None:
    """`created` and `expires` are judged at the arrival, once the signature is right; other parameters are free."""
    scheme = scheme_of()
    delivery = resigned(scheme, made(scheme)[0], f'("content-digest"){parameters}')
    if error is None:
        assert signatures.verify(scheme, ["key"], delivery).secret_index == 0
        return
    with pytest.raises(error):
        signatures.verify(scheme, ["key"], delivery)


def test_one_right_signature_of_several_is_enough() -> None:
    """Among signatures that are wrong, or cover too little, the right one is found; of too many none is tried."""
    scheme = scheme_of()
    envelope, pair = made(scheme)
    value, covered = (envelope.header(name) or "" for name in ("Signature", "Signature-Input"))
    others = {"b": '("x-absent")', "c": "()", "d": '("content-digest")', "e": '("content-digest";sf)'}
    both = with_headers(envelope, {
        "Signature-Input": ", ".join([*(f"{label}={text}" for label, text in others.items()), covered]),
        "Signature": ",\t".join([*(f"{label}=:AAAA:" for label in others), value]),
    })  # fmt: skip
    assert signatures.verify(scheme, [pair.verify_with], both).secret_index == 0
    many = with_headers(envelope, {
        "Signature-Input": ", ".join([covered, *(f"x{n}=()" for n in range(MAX_LABELS))]),
        "Signature": value,
    })  # fmt: skip
    with pytest.raises(SignatureMalformed, match="at most"):
        signatures.verify(scheme, [pair.verify_with], many)
    names = " ".join(f'"x{n}"' for n in range(MAX_COMPONENTS + 1))
    with pytest.raises(SignatureMalformed, match="more than"):
        signatures.verify(
            scheme, [pair.verify_with], with_header(envelope, "Signature-Input", lambda _: f"sig1=({names})")
        )


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_of_too_many_signatures_of_a_key_pair_none_is_tried(algorithm: str) -> None:
    """A signature of a key pair is dear to verify: of more than four none is, the right one among them."""
    scheme = scheme_of(algorithm)
    envelope, pair = made(scheme)
    for count, error in ((MAX_KEY_PAIR_SIGNATURES - 1, None), (MAX_KEY_PAIR_SIGNATURES, SignatureMalformed)):
        covered = [envelope.header("Signature-Input") or "", *(f"x{n}=()" for n in range(count))]
        flooded = with_headers(envelope, {"Signature-Input": ", ".join(covered)})
        with pytest.raises(error, match="at most 4") if error else contextlib.nullcontext():
            signatures.verify(scheme, [pair.verify_with], flooded)


@pytest.mark.parametrize(
    ("digests", "error"),
    [
        (["sha-256"], None),
        (["sha-512"], None),
        (["sha-512", "sha-256"], None),
        (["md5"], SignatureMalformed),
        ([], SignatureMalformed),
        (["sha-256", "wrong"], SignatureMismatch),
    ],
)
def test_content_digest(digests: list[str], error: type[RecordError] | None) -> None:
    """Each digest that is known must be the body's, one must be there, and unknown ones count for nothing."""
    scheme = scheme_of()
    values = {
        "sha-256": "sha-256=:" + b64encode(hashlib.sha256(BODY).digest()).decode() + ":",
        "sha-512": "sha-512=:" + b64encode(hashlib.sha512(BODY).digest()).decode() + ":",
        "md5": "md5=:AAAA:",
        "wrong": "sha-512=:AAAA:",
    }
    text = ", ".join(["unixsum=:AAAA:", *(values[name] for name in digests)])
    changed = with_header(made(scheme)[0], "Content-Digest", lambda _: text)
    delivery = resigned(scheme, changed, f'("content-digest");created={AT_MS // 1000}')
    if error is None:
        assert signatures.verify(scheme, ["key"], delivery).secret_index == 0
        return
    with pytest.raises(error):
        signatures.verify(scheme, ["key"], delivery)


@pytest.mark.parametrize("body", [b"", b"{}", bytes(range(256))])
def test_any_body(body: bytes) -> None:
    """An empty body, and one that is not text, is proven by its digest; so is the body that the gateway cannot tell."""
    scheme = scheme_of()
    envelope, pair = made(scheme, body=body)
    assert signatures.verify(scheme, [pair.verify_with], envelope).secret_index == 0
    doubtful = replace(envelope, body=b"?", alternative_body=body)
    assert signatures.verify(scheme, [pair.verify_with], doubtful).alternative_body


def test_tag_is_the_sources() -> None:
    """A signature with another tag than the source demands was made for another purpose, and is refused."""
    secret = "key"
    delivery = signed(scheme_of(tag="other"), secret)
    assert signatures.verify(scheme_of(), [secret], delivery).secret_index == 0
    with pytest.raises(SignatureMalformed, match="tag"):
        signatures.verify(scheme_of(tag="mine"), [secret], delivery)


def test_base64_secret_and_keyid() -> None:
    """A shared secret may be base64, and a line with a keyid ties it to the signatures that name that key."""
    scheme = scheme_of(key={"decode": "base64"})
    delivery = signed(scheme, "keyid: k1\na2V5")
    assert 'keyid="k1"' in (delivery.header("Signature-Input") or "")
    assert signatures.verify(scheme, ["keyid: k2\na2V5", "keyid: k1\na2V5"], delivery).secret_index == 1
    assert signatures.verify(scheme_of(), ["key"], delivery).secret_index == 0
    assert b64decode("a2V5") == b"key"


def test_four_lines_make_a_source() -> None:
    """The preset with another algorithm is a source; what no delivery can have is refused, with a remedy."""
    scheme = {"alg": "http-message-signatures", "algorithm": "hmac-sha256"}
    entry = {"preset": "http-message-signatures", "scheme": scheme}
    source = resolve("acme", SourceEntry.model_validate(entry))
    assert source.scheme.label == "http-message-signatures"
    assert not source.needs_cryptography
    for wrong in ("@status", "Content-Type", "@query-param", ""):
        with pytest.raises(ValueError, match="write the lower-case name of a header"):
            scheme_of(cover=[wrong])
    covering = SourceEntry.model_validate(entry | {"scheme": {**scheme, "cover": ["@path"]}})
    with pytest.raises(ValueError, match="url"):
        resolve("acme", covering)


pieces = st.sampled_from(
    ["sig1", "=", "(", ")", " ", ",", ";", '"content-digest"', '"@path"', ":AAAA:", ":", "?1", "1.5", "-1", "9" * 16,
     "*", '"', "\\", "created", "=1", "tok/en", "é", "\x00", "\t", '"@query-param"', ';name="%ff"', ';name="\\""']
)  # fmt: skip
texts = st.lists(pieces, max_size=16).map("".join)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(covered=texts, value=texts, digest=texts)
def test_any_header_is_judged(covered: str, value: str, digest: str) -> None:
    """Whatever the three headers hold, nothing verifies, and nothing but a RecordError comes of it."""
    scheme = scheme_of()
    envelope, pair = made(scheme)
    spoilt = {"Signature-Input": f"sig1=({covered}", "Signature": f"sig1={value}", "Content-Digest": digest}
    for headers in (spoilt, {"Signature-Input": covered}, {"Signature": value}):
        with pytest.raises(RecordError):
            signatures.verify(scheme, [pair.verify_with], with_headers(envelope, headers))


@settings(max_examples=300, deadline=None)
@given(texts)
def test_canonical_form_is_stable(text: str) -> None:
    """What is read and written reads as the same value, and is written the same again."""
    with contextlib.suppress(Unreadable, ValueError):
        found = parse_dictionary(text)
        for value in found.values():
            assert parse_dictionary(f"k={serialize(value)}")["k"] == value

"""Every preset's deliveries, whole and spoilt: only what was signed with a live secret, in time, is genuine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest

from tests.support.deliveries import (
    AT_MS,
    LATE_MS,
    SIGNED_PART,
    draft_of,
    draft_with,
    envelope_of,
    first_option,
    has_several_signatures,
    has_tolerance,
    is_hex,
    pair_of,
    second_valid,
    signature_header,
    source_of,
    tampered,
    upper_case,
    with_header,
    with_headers,
)
from weir.ingest.envelope import Envelope
from weir.ingest.errors import (
    ConfigError,
    RecordError,
    SecretAbsent,
    SignatureExpired,
    SignatureMalformed,
    SignatureMismatch,
    SignatureMissing,
)
from weir.ingest.schemes import signatures
from weir.ingest.schemes.any_of import AnyOf
from weir.ingest.schemes.base import Draft, SecretPair
from weir.ingest.schemes.content import ContentScheme
from weir.ingest.schemes.parts.checks import MAX_SECRETS, MAX_SIGNATURES
from weir.ingest.sources import presets, samples
from weir.ingest.sources.catalogue import Source

PRESETS = presets.names()
# What is sent as it is, or beside the body, says nothing about the body.
NOT_SIGNED = {name for name, preset in presets.all_presets().items() if not preset.covers_body} - SIGNED_PART.keys()
IN_HEADER = [name for name in PRESETS if signature_header(source_of(name).scheme)]
SEVERAL = [name for name in IN_HEADER if has_several_signatures(source_of(name).scheme)]
HEX = [name for name in IN_HEADER if is_hex(source_of(name).scheme)]
IN_QUERY = {"azure-event-grid", "google-pubsub", "mailchimp", "pandadoc", "pingdom"}
# Their proof is in the body or takes values or fields from it, so that a body of any bytes cannot be signed.
NEEDS_BODY = {"hygraph", "linear", "mandrill", "plivo", "pusher", "twilio"}

every_preset = pytest.mark.parametrize("preset", PRESETS)


@lru_cache(maxsize=256)
def made(preset: str) -> tuple[Source, SecretPair, Envelope]:
    """Return a preset's source, a secret and a genuine delivery."""
    source = source_of(preset)
    pair = pair_of(source)
    return source, pair, envelope_of(source, draft_of(source, pair))


def verify(source: Source, envelope: Envelope, *secrets: str) -> signatures.Verdict:
    """Verify as the consumer does."""
    return signatures.verify(source.scheme, secrets, envelope)


@every_preset
def test_genuine_delivery(preset: str) -> None:
    """A delivery signed with the live secret verifies, and the verdict names the scheme and the secret."""
    source, pair, envelope = made(preset)
    verdict = verify(source, envelope, pair.verify_with)
    wanted = signatures.Verdict(first_option(source.scheme).label, 0, False, source.scheme.unproven_headers[0])
    assert verdict == wanted


@every_preset
def test_tampered_body(preset: str) -> None:
    """A changed body is refused wherever the provider signs it, and the presets say where it does not."""
    source, pair, envelope = made(preset)
    if preset in NOT_SIGNED:
        assert not presets.preset(preset).covers_body
        assert verify(source, tampered(envelope), pair.verify_with).secret_index == 0
        return
    with pytest.raises(SignatureMismatch):
        verify(source, tampered(envelope), pair.verify_with)


@every_preset
def test_wrong_secret(preset: str) -> None:
    """A delivery signed with a secret that is not live is refused as a mismatch."""
    source, _, envelope = made(preset)
    with pytest.raises(SignatureMismatch):
        verify(source, envelope, pair_of(source, "another").verify_with)


@every_preset
def test_rotated_secret(preset: str) -> None:
    """While the old secret is live beside the new one, what it signed verifies, and the verdict says it was the old."""
    source, pair, envelope = made(preset)
    assert verify(source, envelope, pair_of(source, "newer").verify_with, pair.verify_with).secret_index == 1


@every_preset
def test_old_timestamp(preset: str) -> None:
    """A signed time long before the arrival is refused where the provider's scheme has a tolerance."""
    source, pair, _ = made(preset)
    late = envelope_of(source, draft_of(source, pair, at_ms=AT_MS - LATE_MS), arrived_at_ms=AT_MS)
    if not has_tolerance(source.scheme):
        assert verify(source, late, pair.verify_with).secret_index == 0
        return
    with pytest.raises(SignatureExpired):
        verify(source, late, pair.verify_with)


@every_preset
def test_judged_at_arrival(preset: str) -> None:
    """Years later the same stored delivery gets the same verdict, for only its arrival time counts."""
    source, pair, _ = made(preset)
    years_ago = AT_MS - 20 * LATE_MS
    stored = envelope_of(source, draft_of(source, pair, at_ms=years_ago))
    assert verify(source, stored, pair.verify_with).secret_index == 0


@pytest.mark.parametrize("preset", [name for name in PRESETS if has_tolerance(source_of(name).scheme)])
def test_time_ahead(preset: str) -> None:
    """A signed time ahead of the arrival is refused where the scheme bounds it, and taken where the SDKs take it."""
    source, pair, _ = made(preset)
    early = envelope_of(source, draft_of(source, pair), arrived_at_ms=AT_MS - 3_600_000)
    bound = getattr(first_option(source.scheme), "tolerance_future_s", None)
    is_jwt = getattr(first_option(source.scheme), "alg", "").startswith("jwt")
    if bound is None and not is_jwt:
        assert verify(source, early, pair.verify_with).secret_index == 0
        return
    with pytest.raises(SignatureExpired):
        verify(source, early, pair.verify_with)


@pytest.mark.parametrize("preset", SEVERAL)
def test_second_signature_valid(preset: str) -> None:
    """A wrong signature before the right one does no harm: providers send both while a secret is rotated."""
    source, pair, envelope = made(preset)
    header = signature_header(source.scheme) or ""
    wrong = envelope_of(source, draft_of(source, pair_of(source, "another"))).header(header) or ""
    two = with_header(envelope, header, lambda value: second_valid(source.scheme, value, wrong))
    assert verify(source, two, pair.verify_with).secret_index == 0


def _always(value: str | None) -> Callable[[str], str | None]:
    """Return a change of a header that gives this value, whatever was there."""
    return lambda _: value


@pytest.mark.parametrize("preset", HEX)
def test_upper_case_hex(preset: str) -> None:
    """Hex digits in upper case are the same signature."""
    source, pair, envelope = made(preset)
    upper = with_header(envelope, signature_header(source.scheme) or "", lambda text: upper_case(source.scheme, text))
    assert upper != envelope
    assert verify(source, upper, pair.verify_with).secret_index == 0


@pytest.mark.parametrize("preset", IN_HEADER)
def test_missing_header(preset: str) -> None:
    """Without its header, and with an empty one, a delivery is refused as unsigned."""
    source, pair, envelope = made(preset)
    for value in (None, ""):
        unsigned = with_header(envelope, signature_header(source.scheme) or "", _always(value))
        with pytest.raises(SignatureMissing):
            verify(source, unsigned, pair.verify_with)


@pytest.mark.parametrize("preset", [name for name in IN_HEADER if name != "docusign"])
def test_header_twice(preset: str) -> None:
    """A signature header that is there twice is refused, the right one first or last."""
    source, pair, envelope = made(preset)
    header = signature_header(source.scheme) or ""
    again = ((header.upper(), envelope.header(header) or ""),)
    for headers in (envelope.headers + again, again + envelope.headers):
        with pytest.raises(SignatureMalformed):
            verify(source, replace(envelope, headers=headers), pair.verify_with)


@pytest.mark.parametrize(
    "body", [b"", bytes(range(256)), b'{"id":"\xff\xfe"}', b"\xef\xbb\xbf{}"], ids=["empty", "bytes", "utf", "bom"]
)
@every_preset
def test_any_body(preset: str, body: bytes) -> None:
    """An empty body and one that is not UTF-8 verify like any other, or are refused: by a proof in it, a plain hash."""
    source, pair, envelope = made(preset)
    is_extended = preset in {"hubspot-v1", "hubspot-v2"} and b"\xff" in body
    if preset in {*IN_HEADER, *IN_QUERY} - NEEDS_BODY and not is_extended:
        draft = draft_with(source, pair, body)
        assert draft.body == body
        assert verify(source, envelope_of(source, draft), pair.verify_with).secret_index == 0
        return
    with pytest.raises(RecordError):
        verify(source, replace(envelope, body=body), pair.verify_with)


@pytest.mark.parametrize("signed", [b"", b"{}"], ids=["empty", "braces"])
def test_alternative_body(signed: bytes) -> None:
    """Where the gateway could not tell an empty body from `{}`, the one that was signed is found out."""
    source, pair, _ = made("github")
    other = b"{}" if signed == b"" else b""
    envelope = envelope_of(source, draft_with(source, pair, signed), body=other, alternative_body=signed)
    assert verify(source, envelope, pair.verify_with).alternative_body
    with pytest.raises(SignatureMismatch):
        verify(source, replace(envelope, alternative_body=b"[]"), pair.verify_with)


ALTERNATIVES = [
    (preset, index)
    for preset in PRESETS
    if isinstance(scheme := source_of(preset).scheme, AnyOf)
    for index in range(1, len(scheme.any_of))
]


@pytest.mark.parametrize(("preset", "index"), ALTERNATIVES)
def test_each_alternative(preset: str, index: int) -> None:
    """What is signed in another of a provider's ways verifies too, and the verdict names that way."""
    source = source_of(preset)
    assert isinstance(source.scheme, AnyOf)
    option = source.scheme.any_of[index]
    pair = signatures.generate_secret(option, bytes(range(32)))
    plain = source.model_copy(update={"scheme": option})
    envelope = envelope_of(source, draft_of(plain, pair))
    assert verify(source, envelope, pair.verify_with).scheme in {option.label, source.scheme.any_of[0].label}


UGLY = ["", " ", ",", ";;;", "=", "v1=", "sha256=", "t=,v1=", "v1,", "\x00", "é" * 70, "0" * 64, "sha256=" + "zz" * 32,
        "v1=" + "0" * 63, "t=1", "t=1,t=1,v1=00", "Basic", "Basic %%%", "Bearer a.b.c", "HMAC ", "a.b", "...",
        "=" * 88]  # fmt: skip


@pytest.mark.parametrize("preset", IN_HEADER)
def test_ugly_headers(preset: str) -> None:
    """Whatever a signature header holds, the answer is a reason for quarantine."""
    source, pair, envelope = made(preset)
    for ugly in UGLY:
        spoilt = with_header(envelope, signature_header(source.scheme) or "", _always(ugly))
        with pytest.raises(RecordError):
            verify(source, spoilt, pair.verify_with)


@pytest.mark.parametrize("preset", [*SEVERAL, "docusign"])
def test_too_many_signatures(preset: str) -> None:
    """A thousand signatures are refused before any is compared, the right one among them."""
    source, pair, envelope = made(preset)
    scheme = first_option(source.scheme)
    assert isinstance(scheme, ContentScheme)
    header = signature_header(source.scheme) or ""
    split = "".join(scheme.signature.separators[-1:])
    if split:
        filler = f"{scheme.signature.prefix}00{split}" * (10 * MAX_SIGNATURES)
        flooded = with_header(envelope, header, lambda value: f"{value}{split}{filler}"[:8000])
    else:
        more = [(f"X-DocuSign-Signature-{n}", "AAAA") for n in range(2, 10 * MAX_SIGNATURES)]
        flooded = replace(envelope, headers=(*envelope.headers, *more))
    with pytest.raises(SignatureMalformed):
        verify(source, flooded, pair.verify_with)


def test_too_many_signatures_of_a_key_pair() -> None:
    """A signature of a key pair is dear to verify: four are tried, of five none, the right one among them."""
    source, pair, envelope = made("standard-webhooks-ed25519")
    wrong = " v1a," + "A" * 86 + "=="
    assert verify(source, with_header(envelope, "webhook-signature", lambda value: value + wrong * 3), pair.verify_with)
    with pytest.raises(SignatureMalformed, match="at most 4"):
        verify(source, with_header(envelope, "webhook-signature", lambda value: value + wrong * 4), pair.verify_with)


@pytest.mark.parametrize("preset", IN_HEADER)
def test_megabyte_of_header(preset: str) -> None:
    """A signature header of a megabyte is refused."""
    source, pair, envelope = made(preset)
    long = with_header(envelope, signature_header(source.scheme) or "", lambda value: value + "0" * 1_000_000)
    with pytest.raises(RecordError):
        verify(source, long, pair.verify_with)


@every_preset
def test_no_secret(preset: str) -> None:
    """Without any secret, or with an empty one, nothing is judged, and the reason is not that of a bad signature."""
    source, pair, envelope = made(preset)
    for secrets in ((), ("",), (" \n",), (pair.verify_with, "")):
        with pytest.raises(SecretAbsent):
            verify(source, envelope, *secrets)


UNUSABLE = {"standard-webhooks": "whsec_!", "discord": "zz", "sendgrid": "AAAA", "plaid": "{}", "adyen": "xyz",
            "telnyx": "AAAA", "aws-sns": "-----BEGIN", "chargebee": "no colon", "github": " "}  # fmt: skip


@pytest.mark.parametrize("preset", UNUSABLE)
def test_unusable_secret(preset: str) -> None:
    """A secret that does not have the scheme's form is reported to the person who sets it, without being quoted."""
    source, pair, _ = made(preset)
    signatures.check_secret(source.scheme, pair.verify_with)
    with pytest.raises(ValueError, match=r"secret|key|certificate") as caught:
        signatures.check_secret(source.scheme, UNUSABLE[preset])
    assert UNUSABLE[preset].strip() == "" or UNUSABLE[preset] not in str(caught.value)


def test_secrets_are_tried_up_to_a_bound() -> None:
    """Secrets beyond the newest few are not tried, so that work stays bounded."""
    source, pair, envelope = made("github")
    others = [f"other-{n}" for n in range(MAX_SECRETS - 1)]
    assert verify(source, envelope, *others, pair.verify_with).secret_index == MAX_SECRETS - 1
    with pytest.raises(SignatureMismatch):
        verify(source, envelope, *others, "one more", pair.verify_with)


def test_unusable_secret_beside_a_good_one() -> None:
    """A secret of the wrong form does not keep the others from being tried."""
    source, pair, envelope = made("standard-webhooks")
    assert verify(source, envelope, "whsec_!", pair.verify_with).secret_index == 1


def test_sign_returns_headers() -> None:
    """`sign` gives the headers alone that prove a body, and refuses where the proof is in the body."""
    source, pair, _ = made("stripe")
    headers = signatures.sign(source.scheme, pair.sign_with, b"{}", at_ms=AT_MS, message_id="msg_1")
    assert list(headers) == ["Stripe-Signature"]
    envelope = with_headers(envelope_of(source, Draft(b"{}", AT_MS, "msg_1")), headers)
    assert verify(source, envelope, pair.verify_with).secret_index == 0
    adyen, key, _ = made("adyen")
    with pytest.raises(ConfigError):
        signatures.sign(
            adyen.scheme, key.sign_with, samples.sample("adyen", at_ms=AT_MS)[0], at_ms=AT_MS, message_id="msg_1"
        )

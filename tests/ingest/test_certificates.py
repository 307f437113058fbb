"""Certificates that a delivery names by URL: only the provider's own, fetched seldom, valid at the arrival."""

from __future__ import annotations

import json
import socket
import urllib.error
from collections.abc import Callable
from email.message import Message

import pytest

from tests.support.deliveries import AT_MS, draft_of, envelope_of, pair_of, source_of, with_header, with_headers
from weir.ingest.envelope import Envelope
from weir.ingest.errors import (
    CertificateAbsent,
    CertificateUnavailable,
    SecretAbsent,
    SignatureExpired,
    SignatureMalformed,
    SignatureMismatch,
    SignatureMissing,
)
from weir.ingest.schemes import signatures
from weir.ingest.schemes.aws_sns import SnsScheme
from weir.ingest.schemes.base import Draft
from weir.ingest.schemes.crypto.certificate_cache import (
    MAX_FETCHES_PER_MINUTE,
    MAX_KEPT,
    PAUSE_S,
    CertificateCache,
)

SNS = source_of("aws-sns")
PAYPAL = source_of("paypal")
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-" + "0" * 32 + ".pem"


def identity_and_pem(verify_with: str) -> tuple[str, str]:
    """Cut a pinned secret into the id and the certificate."""
    identity, _, pem = verify_with.partition("\n")
    return identity, pem


def sns_delivery(secret: str, **members: object) -> Envelope:
    """Return a signed notification, then with these members changed."""
    envelope = envelope_of(SNS, draft_of(SNS, pair_of(SNS), at_ms=AT_MS))
    draft = Draft(envelope.body, AT_MS, "m", dict(envelope.headers))
    signatures.sign_draft(SNS.scheme, secret, draft)
    message = json.loads(draft.body) | members
    return envelope_of(SNS, Draft(json.dumps(message).encode(), AT_MS, "m", draft.headers))


def never(url: str) -> bytes:
    """A fetch that must not happen."""
    raise AssertionError(url)


def test_fetched_certificate() -> None:
    """A certificate that is not pinned is fetched from the URL that the delivery names."""
    pair = pair_of(SNS)
    topic, pem = identity_and_pem(pair.verify_with)
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return pem.encode()

    envelope = sns_delivery(pair.sign_with)
    assert signatures.verify(SNS.scheme, [topic], envelope, fetch=fetch).secret_index == 0
    assert asked == [CERTIFICATE_URL]
    with pytest.raises(SecretAbsent):
        signatures.verify(SNS.scheme, [topic], envelope)


def test_other_topics_are_refused_before_fetching() -> None:
    """A message of another topic is a forgery here, even if SNS signed it, and no one fetches anything."""

    def fetch(url: str) -> bytes:
        raise AssertionError(url)

    envelope = sns_delivery(pair_of(SNS).sign_with)
    with pytest.raises(SignatureMismatch):
        signatures.verify(SNS.scheme, ["arn:aws:sns:eu-west-1:123456789012:other"], envelope, fetch=fetch)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0123456789.pem",
        "https://evil.example/SimpleNotificationService-0123456789.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-0123456789.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789.pem?x=1",
        "https://sns.eu-west-1.amazonaws.com/../evil.pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-0123456789.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-0123456789.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789.pem#x",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789.pem\n",
        "https://sns.eu-west-1.amazonaws.com\\@evil.example/SimpleNotificationService-0123456789.pem",
        "https://SNS.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789.pem",
        "https://api.paypal.com@evil.example/v1/notifications/certs/abcd",
        "https://api.paypal.com.evil.example/v1/notifications/certs/abcd",
        "http://api.paypal.com/v1/notifications/certs/abcd",
        "https://api.a.b.paypal.com/v1/notifications/certs/abcd",
        "https://api.paypal.com/v1/notifications/certs/../../x",
        "https://api.paypal.com/v1/notifications/certs/abcd?x",
        7,
        None,
    ],
)
def test_only_urls_of_the_provider(url: object) -> None:
    """A certificate's URL that is not the provider's is refused, pinned or not, and never asked for."""
    pair = pair_of(SNS)
    envelope = sns_delivery(pair.sign_with, SigningCertURL=url)
    with pytest.raises(SignatureMalformed):
        signatures.verify(SNS.scheme, [pair.verify_with], envelope)
    paypal = pair_of(PAYPAL)
    delivery = envelope_of(PAYPAL, draft_of(PAYPAL, paypal))
    spoilt = with_header(delivery, "PAYPAL-CERT-URL", lambda _: str(url))
    with pytest.raises(SignatureMalformed):
        signatures.verify(PAYPAL.scheme, [paypal.verify_with], spoilt)


@pytest.mark.parametrize(
    "host",
    ["api.nowhere.paypal.com", "api.sandbox.sandbox.paypal.com", "paypal.com", "api-paypal.com", "apixpaypal.com"],
)
def test_paypal_has_two_hosts(host: str) -> None:
    """A certificate is asked for at PayPal's live host and its sandbox; a delivery can name no other."""
    paypal = pair_of(PAYPAL)
    delivery = envelope_of(PAYPAL, draft_of(PAYPAL, paypal))
    identity, pem = identity_and_pem(paypal.verify_with)
    for known in ("api.paypal.com", "api.sandbox.paypal.com"):
        signed = with_headers(delivery, {"PAYPAL-CERT-URL": f"https://{known}/v1/notifications/certs/CERT-1"})
        assert signatures.verify(PAYPAL.scheme, [identity], signed, fetch=lambda _: pem.encode())
    forged = with_header(delivery, "PAYPAL-CERT-URL", lambda url: url.replace("api.paypal.com", host))
    with pytest.raises(SignatureMalformed):
        signatures.verify(PAYPAL.scheme, [identity], forged, fetch=never)


@pytest.mark.parametrize("region", ["nowhere", "us-east-1", "eu-west-1.amazonaws.com.cn/", "cn-north-1"])
def test_the_certificate_of_a_topic_is_of_its_region(region: str) -> None:
    """Of SNS, only the endpoint of the topic's own Region is asked for a certificate."""
    pair = pair_of(SNS)
    topic, _ = identity_and_pem(pair.verify_with)
    url = CERTIFICATE_URL.replace("eu-west-1", region)
    with pytest.raises(SignatureMalformed):
        signatures.verify(SNS.scheme, [topic], sns_delivery(pair.sign_with, SigningCertURL=url), fetch=never)


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "ap-southeast-2", "sns.ap-southeast-2.amazonaws.com"),
        ("aws-cn", "cn-north-1", "sns.cn-north-1.amazonaws.com.cn"),
        ("aws-us-gov", "us-gov-west-1", "sns.us-gov-west-1.amazonaws.com"),
    ],
)
def test_topics_of_other_regions(partition: str, region: str, host: str) -> None:
    """A topic of any Region is verified with the certificate at that Region's endpoint."""
    secrets = pair_of(SNS)
    signing, topic, pem = secrets.sign_with, *identity_and_pem(secrets.verify_with)
    there = topic.replace("arn:aws:sns:eu-west-1", f"arn:{partition}:sns:{region}")
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return pem.encode()

    delivery = sns_delivery(signing.replace(topic, there, 1))
    assert signatures.verify(SNS.scheme, [there], delivery, fetch=fetch).secret_index == 0
    assert asked == [f"https://{host}/SimpleNotificationService-{'0' * 32}.pem"]


def test_sns_confirmation() -> None:
    """A SubscriptionConfirmation verifies over its own members, Token and SubscribeURL among them."""
    pair = pair_of(SNS)
    message = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "1",
        "Token": "t",
        "Message": "m",
        "SubscribeURL": "https://x",
    }
    draft = Draft(json.dumps(message).encode(), AT_MS, "m", {})
    signatures.sign_draft(SNS.scheme, pair.sign_with, draft)
    assert signatures.verify(SNS.scheme, [pair.verify_with], envelope_of(SNS, draft)).scheme == "aws-sns"
    spoilt = json.loads(draft.body) | {"SubscribeURL": "https://evil.example"}
    draft.body = json.dumps(spoilt).encode()
    with pytest.raises(SignatureMismatch):
        signatures.verify(SNS.scheme, [pair.verify_with], envelope_of(SNS, draft))


def test_sns_versions_and_times() -> None:
    """The signature version is one of the source's, and its time is judged where the source asks for it."""
    pair = pair_of(SNS)
    envelope = sns_delivery(pair.sign_with)
    with pytest.raises(SignatureMalformed):
        signatures.verify(SnsScheme(alg="aws-sns", versions=("1",)), [pair.verify_with], envelope)
    with pytest.raises(SignatureMissing):
        signatures.verify(SNS.scheme, [pair.verify_with], sns_delivery(pair.sign_with, Signature=None))
    strict = SnsScheme(alg="aws-sns", tolerance_s=60)
    late = Envelope(
        **{name: getattr(envelope, name) for name in envelope.__slots__} | {"arrived_at_ms": AT_MS + 61_000}
    )
    assert signatures.verify(strict, [pair.verify_with], envelope).secret_index == 0
    with pytest.raises(SignatureExpired):
        signatures.verify(strict, [pair.verify_with], late)


def test_certificate_must_be_valid_at_arrival() -> None:
    """A certificate counts for what arrived while it was valid."""
    pair = pair_of(SNS)
    century_later = envelope_of(SNS, draft_of(SNS, pair), arrived_at_ms=AT_MS + 100 * 365 * 86_400_000)
    with pytest.raises(SignatureMalformed, match="valid"):
        signatures.verify(SNS.scheme, [pair.verify_with], century_later)


@pytest.mark.parametrize("pem", [b"", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_damaged_certificate(pem: bytes) -> None:
    """What is fetched but not a certificate refuses the delivery; a pinned one that is not is the operator's to fix."""
    pair = pair_of(SNS)
    topic, _ = identity_and_pem(pair.verify_with)
    envelope = sns_delivery(pair.sign_with)
    with pytest.raises(SignatureMalformed):
        signatures.verify(SNS.scheme, [topic], envelope, fetch=lambda _: pem)
    with pytest.raises(SecretAbsent):
        signatures.verify(SNS.scheme, [f"{topic}\n-----BEGIN nothing"], envelope)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def failing(error: Exception) -> Callable[[str], bytes]:
    """Return a fetch that fails."""

    def get(_url: str) -> bytes:
        raise error

    return get


def http_error(status: int) -> urllib.error.HTTPError:
    """Return what urllib raises for a status."""
    error = urllib.error.HTTPError("https://x", status, "", Message(), None)
    error.close()
    return error


def lookup_error(code: int) -> urllib.error.URLError:
    """Return what urllib raises when a host name has no address, or cannot be looked up."""
    return urllib.error.URLError(socket.gaierror(code, "lookup failed"))


def test_cache_asks_once() -> None:
    """A certificate is asked for once, and so is a URL that names none."""
    asked: list[str] = []

    def get(url: str) -> bytes:
        asked.append(url)
        if url.endswith("none"):
            raise http_error(404)
        return b"pem"

    cache = CertificateCache(Clock(), get)
    assert [cache.fetch("https://x/a") for _ in range(3)] == [b"pem"] * 3
    for _ in range(3):
        with pytest.raises(CertificateAbsent):
            cache.fetch("https://x/none")
    assert asked == ["https://x/a", "https://x/none"]


@pytest.mark.parametrize(
    "error", [OSError("no route"), TimeoutError(), http_error(503), lookup_error(socket.EAI_AGAIN)]
)
def test_cache_waits_for_the_host(error: Exception) -> None:
    """A host that fails makes the event wait; it says nothing about the signature."""
    with pytest.raises(CertificateUnavailable):
        CertificateCache(Clock(), failing(error)).fetch("https://x/a")


def test_a_name_that_does_not_exist_is_not_waited_for() -> None:
    """A host without an address is the delivery's own choice, so that the delivery is refused at once."""
    with pytest.raises(CertificateAbsent, match="does not exist"):
        CertificateCache(Clock(), failing(lookup_error(socket.EAI_NONAME))).fetch("https://x/a")


def test_a_silent_host_is_left_alone_for_a_while() -> None:
    """A host that did not answer is asked again after a pause, since each question may take the whole time-out."""
    clock, asked = Clock(), []

    def get(url: str) -> bytes:
        asked.append(url)
        raise TimeoutError

    cache = CertificateCache(clock, get)
    for n in range(100):
        with pytest.raises(CertificateUnavailable):
            cache.fetch(f"https://x/{n}")
    with pytest.raises(CertificateUnavailable):
        cache.fetch("https://other/a")
    clock.now_s += PAUSE_S
    with pytest.raises(CertificateUnavailable):
        cache.fetch("https://x/a")
    assert asked == ["https://x/0", "https://other/a", "https://x/a"]


def test_cache_is_bounded() -> None:
    """URLs that a forger makes up are asked for only so often, and push no certificate out."""
    clock = Clock()

    def get(url: str) -> bytes:
        if url.endswith("good"):
            return b"pem"
        raise http_error(403)

    cache = CertificateCache(clock, get)
    cache.fetch("https://x/good")
    for n in range(MAX_FETCHES_PER_MINUTE - 1):
        with pytest.raises(CertificateAbsent):
            cache.fetch(f"https://x/{n}")
    with pytest.raises(CertificateAbsent):
        cache.fetch("https://x/more")
    assert cache.fetch("https://x/good") == b"pem"
    for n in range(2 * MAX_KEPT):
        clock.now_s += 60
        with pytest.raises(CertificateAbsent):
            cache.fetch(f"https://x/later-{n}")
    assert cache.fetch("https://x/good") == b"pem"


def test_cache_fetches_https_only() -> None:
    """Nothing but https is ever opened."""
    for url in ("http://localhost/", "file:///etc/passwd"):
        with pytest.raises(CertificateAbsent):
            CertificateCache(Clock()).fetch(url)

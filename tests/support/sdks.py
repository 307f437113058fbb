"""Verifiers and signers that the providers wrote themselves: `requirements/oracles.txt` installs them.

``accepts`` answers whether the provider's own code takes a delivery for genuine, at the present time; ``signs`` lets it
make the signature. The SDKs are imported when called, for they are large and not needed by the other tests.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from weir.ingest.envelope import Envelope


@dataclass(frozen=True)
class Delivery:
    """What an SDK is given: the delivery, the URL it came to and the secret."""

    envelope: Envelope
    url: str
    secret: str

    @property
    def text(self) -> str:
        return self.envelope.body.decode("utf-8")

    @property
    def full_url(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.envelope.query.items())
        return f"{self.url}?{query}" if query else self.url

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.envelope.headers)

    def header(self, name: str) -> str:
        return self.envelope.header(name) or ""


@dataclass(frozen=True)
class Sdk:
    """One provider's package: ``accepts`` may also raise to refuse."""

    preset: str
    package: str
    accepts: Callable[[Delivery], object]
    signs: Callable[[Delivery, int, str], dict[str, str]] | None = None

    @property
    def version(self) -> str:
        return metadata.version(self.package)

    def verdict(self, delivery: Delivery) -> bool:
        """Return whether the SDK takes the delivery for genuine; every exception is a refusal."""
        try:
            return self.accepts(delivery) not in (False, None)
        except Exception:  # noqa: BLE001 - each SDK has its own
            return False


def _stripe(d: Delivery) -> bool:
    import stripe

    return bool(stripe.WebhookSignature.verify_header(d.text, d.header("Stripe-Signature"), d.secret, tolerance=300))


def _stripe_signs(d: Delivery, at_s: int, _message_id: str) -> dict[str, str]:
    import stripe

    return {"Stripe-Signature": stripe.WebhookSignature.generate_signature_header(d.text, d.secret, timestamp=at_s)}


def _standard_webhooks(d: Delivery) -> bool:
    from standardwebhooks.webhooks import Webhook

    Webhook(d.secret).verify(d.envelope.body, d.headers)
    return True


def _standard_webhooks_signs(d: Delivery, at_s: int, message_id: str) -> dict[str, str]:
    from standardwebhooks.webhooks import Webhook

    signature = Webhook(d.secret).sign(message_id, datetime.fromtimestamp(at_s, UTC), d.text)
    return {"webhook-id": message_id, "webhook-timestamp": str(at_s), "webhook-signature": signature}


def _svix(d: Delivery) -> bool:
    from svix.webhooks import Webhook

    Webhook(d.secret).verify(d.envelope.body, d.headers)
    return True


def _svix_signs(d: Delivery, at_s: int, message_id: str) -> dict[str, str]:
    from svix.webhooks import Webhook

    signature = Webhook(d.secret).sign(message_id, datetime.fromtimestamp(at_s, UTC), d.text)
    return {"svix-id": message_id, "svix-timestamp": str(at_s), "svix-signature": signature}


def _slack(d: Delivery) -> bool:
    from slack_sdk.signature import SignatureVerifier

    return bool(SignatureVerifier(d.secret).is_valid_request(d.text, d.headers))


def _slack_signs(d: Delivery, at_s: int, _message_id: str) -> dict[str, str]:
    from slack_sdk.signature import SignatureVerifier

    signature = SignatureVerifier(d.secret).generate_signature(timestamp=str(at_s), body=d.text)
    return {"X-Slack-Signature": signature or "", "X-Slack-Request-Timestamp": str(at_s)}


def _twilio_params(d: Delivery) -> Any:
    is_form = d.header("content-type").startswith("application/x-www-form-urlencoded")
    return dict(parse_qsl(d.text, keep_blank_values=True)) if is_form else d.text


def _twilio(d: Delivery) -> bool:
    from twilio.request_validator import RequestValidator

    return bool(RequestValidator(d.secret).validate(d.full_url, _twilio_params(d), d.header("X-Twilio-Signature")))


def _twilio_signs(d: Delivery, _at_s: int, _message_id: str) -> dict[str, str]:
    from twilio.request_validator import RequestValidator

    return {"X-Twilio-Signature": RequestValidator(d.secret).compute_signature(d.full_url, _twilio_params(d))}


def _sendgrid(d: Delivery) -> bool:
    from sendgrid.helpers.eventwebhook import EventWebhook

    prefix = "X-Twilio-Email-Event-Webhook-"
    webhook = EventWebhook(d.secret)
    return bool(webhook.verify_signature(d.text, d.header(f"{prefix}Signature"), d.header(f"{prefix}Timestamp")))


def _square(d: Delivery) -> bool:
    from square.utils.webhooks_helper import verify_signature

    return bool(
        verify_signature(
            request_body=d.text,
            signature_header=d.header("x-square-hmacsha256-signature"),
            signature_key=d.secret,
            notification_url=d.full_url,
        )
    )


def _paddle(d: Delivery) -> bool:
    from paddle_billing.Notifications import Secret, Verifier

    return bool(Verifier().verify(SimpleNamespace(body=d.envelope.body, headers=d.headers), Secret(d.secret)))


def _hubspot(d: Delivery) -> bool:
    from hubspot.utils.signature import Signature

    return bool(
        Signature.is_valid(
            signature=d.header("X-HubSpot-Signature-v3"),
            client_secret=d.secret,
            request_body=d.text,
            signature_version="v3",
            http_uri=d.full_url,
            http_method="POST",
            timestamp=d.header("X-HubSpot-Request-Timestamp"),
        )
    )


def _hubspot_signs(d: Delivery, at_s: int, _message_id: str) -> dict[str, str]:
    from hubspot.utils.signature import Signature

    at = str(at_s * 1000)
    signature = Signature.get_signature(d.secret, d.text, "v3", d.full_url, "POST", at)
    return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": at}


def _hubspot_v1(d: Delivery) -> bool:
    from hubspot.utils.signature import Signature

    return bool(Signature.is_valid(d.header("X-HubSpot-Signature"), d.secret, d.text, signature_version="v1"))


def _hubspot_v2(d: Delivery) -> bool:
    from hubspot.utils.signature import Signature

    signature = d.header("X-HubSpot-Signature")
    return bool(Signature.is_valid(signature, d.secret, d.text, http_uri=d.full_url, signature_version="v2"))


def _hubspot_v2_signs(d: Delivery, _at_s: int, _message_id: str) -> dict[str, str]:
    from hubspot.utils.signature import Signature

    return {"X-HubSpot-Signature": Signature.get_signature(d.secret, d.text, "v2", d.full_url, "POST")}


def _openai(d: Delivery) -> bool:
    import openai

    openai.OpenAI(api_key="none").webhooks.verify_signature(d.envelope.body, d.headers, secret=d.secret)
    return True


def _resend(d: Delivery) -> bool:
    import resend

    headers = {name: d.header(f"svix-{name}") for name in ("id", "timestamp", "signature")}
    resend.Webhooks.verify({"payload": d.text, "headers": headers, "webhook_secret": d.secret})
    return True


def _workos(d: Delivery) -> bool:
    from workos.webhooks._verification import verify_header

    verify_header(event_body=d.envelope.body, event_signature=d.header("WorkOS-Signature"), secret=d.secret)
    return True


def _telnyx(d: Delivery) -> bool:
    from telnyx.lib.webhook_verification import verify_webhook_signature

    verify_webhook_signature(d.text, d.headers, d.secret)
    return True


def _discord(d: Delivery) -> bool:
    from discord_interactions import verify_key

    signature, at = d.header("X-Signature-Ed25519"), d.header("X-Signature-Timestamp")
    return bool(verify_key(d.envelope.body, signature, at, d.secret))


def _gocardless(d: Delivery) -> bool:
    from gocardless_pro import webhooks

    webhooks.parse(d.envelope.body, d.secret, d.header("Webhook-Signature"))
    return True


def _razorpay(d: Delivery) -> bool:
    import razorpay

    razorpay.Utility().verify_webhook_signature(d.text, d.header("X-Razorpay-Signature"), d.secret)
    return True


def _easypost(d: Delivery) -> bool:
    from easypost.util import validate_webhook

    validate_webhook(d.envelope.body, d.headers, d.secret)
    return True


def _plivo(d: Delivery) -> bool:
    from plivo.utils import validate_v3_signature

    prefix = "X-Plivo-Signature-V3"
    fields = dict(parse_qsl(d.text, keep_blank_values=True))
    nonce = d.header(f"{prefix}-Nonce")
    return bool(validate_v3_signature("POST", d.full_url, nonce, d.secret, d.header(prefix), fields))


def _adyen(d: Delivery) -> bool:
    from Adyen.util import is_valid_hmac_notification

    return bool(is_valid_hmac_notification(json.loads(d.text), d.secret))


def _adyen_platform(d: Delivery) -> bool:
    from Adyen.util import is_valid_hmac_payload

    return bool(is_valid_hmac_payload(d.header("HmacSignature"), d.secret, d.envelope.body))


def _adyen_platform_signs(d: Delivery, _at_s: int, _message_id: str) -> dict[str, str]:
    from Adyen.util import generate_payload_sig

    return {"HmacSignature": generate_payload_sig(d.envelope.body, d.secret).decode("ascii")}


def _line(d: Delivery) -> bool:
    from linebot.v3.webhook import SignatureValidator

    return bool(SignatureValidator(d.secret).validate(d.text, d.header("x-line-signature")))


def _paypal(d: Delivery) -> bool:
    """Take the signed text from the SDK, and RSA from `cryptography`: what the SDK calls, pyOpenSSL no longer has."""
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509 import load_pem_x509_certificate
    from paypalrestsdk.notifications import WebhookEvent

    webhook_id, _, pem = d.secret.partition("\n")
    sent_id, at, signature = (d.header(f"PAYPAL-TRANSMISSION-{name}") for name in ("ID", "TIME", "SIG"))
    text = WebhookEvent._get_expected_sig(sent_id, at, webhook_id, d.text)
    key: Any = load_pem_x509_certificate(pem.encode()).public_key()
    key.verify(b64decode(signature), text.encode(), padding.PKCS1v15(), SHA256())
    return True


def _mandrill(d: Delivery) -> bool:
    """Ask anymail, a package by others: the provider's own has no verifier."""
    from django.conf import settings

    if not settings.configured:
        settings.configure(ANYMAIL={})
    from anymail.webhooks.mandrill import MandrillCombinedWebhookView

    fields = dict(parse_qsl(d.text, keep_blank_values=True))
    request = SimpleNamespace(
        META={"HTTP_X_MANDRILL_SIGNATURE": d.header("X-Mandrill-Signature")}, POST=SimpleNamespace(dict=lambda: fields)
    )
    MandrillCombinedWebhookView(webhook_key=d.secret, webhook_url=d.full_url).validate_request(request)
    return True


def _cloudinary(d: Delivery) -> bool:
    import cloudinary
    from cloudinary.utils import verify_notification_signature

    cloudinary.config(api_secret=d.secret)
    at, signature = d.header("X-Cld-Timestamp"), d.header("X-Cld-Signature")
    return bool(verify_notification_signature(d.text, int(at), signature, algorithm="sha1"))


def _pusher(d: Delivery) -> object:
    from pusher import Pusher

    client = Pusher(app_id="1", key="weir-key", secret=d.secret)
    return client.validate_webhook(d.header("X-Pusher-Key"), d.header("X-Pusher-Signature"), d.text)


def _worldline(d: Delivery) -> bool:
    from onlinepayments.sdk.communication.request_header import RequestHeader
    from onlinepayments.sdk.webhooks.in_memory_secret_key_store import InMemorySecretKeyStore
    from onlinepayments.sdk.webhooks.signature_validator import SignatureValidator

    store = InMemorySecretKeyStore.instance()
    store.store_secret_key(d.header("X-GCS-KeyId"), d.secret)
    headers = [RequestHeader(name, value) for name, value in d.envelope.headers]
    SignatureValidator(store).validate(d.envelope.body, headers)
    return True


def _orb(d: Delivery) -> bool:
    from orb import Orb

    Orb(api_key="none").webhooks.verify_signature(d.envelope.body, d.headers, secret=d.secret)
    return True


def _lithic(d: Delivery) -> bool:
    from lithic import Lithic

    Lithic(api_key="none").webhooks.verify_signature(d.envelope.body, d.headers, secret=d.secret)
    return True


def _modern_treasury(d: Delivery) -> bool:
    from modern_treasury import ModernTreasury

    client = ModernTreasury(api_key="none", organization_id="none")
    return bool(client.webhooks.validate_signature(d.text, d.headers, key=d.secret))


def _mercado_pago(d: Delivery) -> bool:
    from mercadopago.webhook.validator import WebhookSignatureValidator

    data_id = d.envelope.query.get("data.id")
    WebhookSignatureValidator.validate(d.header("x-signature"), d.header("x-request-id"), data_id, d.secret)
    return True


def _vonage(d: Delivery) -> bool:
    """Ask about the token, and compare the hash as Vonage's documentation says: the package leaves that to its user."""
    import jwt
    from vonage_jwt import verify_signature

    token = d.header("Authorization").removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    is_hash_right = claims["payload_hash"] == sha256(d.envelope.body).hexdigest()
    return bool(verify_signature(token, d.secret) and is_hash_right)


def _app_store(d: Delivery) -> bool:
    from appstoreserverlibrary.models.Environment import Environment
    from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificate

    bundle_id, _, root = d.secret.replace(" Sandbox", "").partition("\n")
    der = load_pem_x509_certificate(root.encode()).public_bytes(Encoding.DER)
    verifier = SignedDataVerifier([der], False, Environment.SANDBOX, bundle_id)
    verifier.verify_and_decode_notification(json.loads(d.text)["signedPayload"])
    return True


class _KnownKey:
    """What http-message-signatures asks for the key: the one of the delivery, whatever keyid is sent."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._is_pem = secret.startswith("-----BEGIN")

    def resolve_public_key(self, key_id: str) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return load_pem_public_key(self._secret) if self._is_pem else self._secret

    def resolve_private_key(self, key_id: str) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        return load_pem_private_key(self._secret, None) if self._is_pem else self._secret


def _http_signatures(d: Delivery) -> bool:
    return http_signature_is_valid(d, "ed25519")


def http_signature_is_valid(d: Delivery, algorithm: str) -> bool:
    """Ask http-message-signatures about a delivery; an algorithm by its name in RFC 9421. Raises: its exceptions."""
    from http_message_signatures import HTTPMessageVerifier

    message = SimpleNamespace(method="POST", url=d.url, headers=d.headers)
    verifier = HTTPMessageVerifier(signature_algorithm=_http_algorithm(algorithm), key_resolver=_KnownKey(d.secret))
    return bool(verifier.verify(message, body=d.envelope.body))


def http_signature_of(d: Delivery, algorithm: str, at_s: int, covered: tuple[str, ...]) -> dict[str, str]:
    """Return the headers of a delivery that http-message-signatures signed, with every parameter there is."""
    from http_message_signatures import HTTPMessageSigner

    message = SimpleNamespace(method="POST", url=d.url, headers={"Content-Type": d.header("Content-Type")})
    HTTPMessageSigner(signature_algorithm=_http_algorithm(algorithm), key_resolver=_KnownKey(d.secret)).sign(
        message,
        key_id='k"1',
        created=datetime.fromtimestamp(at_s, UTC),
        expires=datetime.fromtimestamp(at_s + 60, UTC),
        nonce="a\\b",
        tag="t",
        covered_component_ids=covered,
        body=d.envelope.body,
    )
    return {name: message.headers[name] for name in ("Content-Digest", "Signature-Input", "Signature")}


def _http_algorithm(name: str) -> Any:
    from http_message_signatures import algorithms

    return getattr(algorithms, name.upper().replace("-", "_"))


def _http_signatures_signs(d: Delivery, at_s: int, _message_id: str) -> dict[str, str]:
    return http_signature_of(d, "ed25519", at_s, ("content-type", "content-digest"))


SDKS = (
    Sdk("stripe", "stripe", _stripe, _stripe_signs),
    Sdk("standard-webhooks", "standardwebhooks", _standard_webhooks, _standard_webhooks_signs),
    Sdk("slack", "slack_sdk", _slack, _slack_signs),
    Sdk("svix", "svix", _svix, _svix_signs),
    Sdk("twilio", "twilio", _twilio, _twilio_signs),
    Sdk("twilio-events", "twilio", _twilio),
    Sdk("sendgrid", "sendgrid", _sendgrid),
    Sdk("square", "squareup", _square),
    Sdk("paddle", "paddle-python-sdk", _paddle),
    Sdk("hubspot", "hubspot-api-client", _hubspot, _hubspot_signs),
    Sdk("hubspot-v1", "hubspot-api-client", _hubspot_v1),
    Sdk("hubspot-v2", "hubspot-api-client", _hubspot_v2, _hubspot_v2_signs),
    Sdk("openai", "openai", _openai),
    Sdk("resend", "resend", _resend),
    Sdk("workos", "workos", _workos),
    Sdk("telnyx", "telnyx", _telnyx),
    Sdk("discord", "discord-interactions", _discord),
    Sdk("gocardless", "gocardless_pro", _gocardless),
    Sdk("razorpay", "razorpay", _razorpay),
    Sdk("easypost", "easypost", _easypost),
    Sdk("plivo", "plivo", _plivo),
    Sdk("adyen", "Adyen", _adyen),
    Sdk("adyen-platform", "Adyen", _adyen_platform, _adyen_platform_signs),
    Sdk("line", "line-bot-sdk", _line),
    Sdk("paypal", "paypalrestsdk", _paypal),
    Sdk("mandrill", "django-anymail", _mandrill),
    Sdk("cloudinary", "cloudinary", _cloudinary),
    Sdk("pusher", "pusher", _pusher),
    Sdk("worldline", "onlinepayments-sdk-python3", _worldline),
    Sdk("orb", "orb-billing", _orb),
    Sdk("lithic", "lithic", _lithic),
    Sdk("modern-treasury", "modern-treasury", _modern_treasury),
    Sdk("mercado-pago", "mercadopago", _mercado_pago),
    Sdk("vonage", "vonage-jwt", _vonage),
    Sdk("app-store", "app-store-server-library", _app_store),
    Sdk("http-message-signatures", "http-message-signatures", _http_signatures, _http_signatures_signs),
)

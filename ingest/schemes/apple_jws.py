"""Apple: App Store data as a JSON Web Signature that brings its certificates, under Apple's root.

Source: https://developer.apple.com/documentation/appstoreservernotifications/responsebodyv2 and
app-store-server-library 3.1.2 (PyPI). Whether a certificate was revoked is not asked.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from weir.ingest.encodings import decode_base64, encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import MAX_JWS_CHARS, Location, Unreadable, View, parse_json, reader, text_of
from weir.ingest.schemes.base import Draft, Fetch, Scheme, SecretPair, Verdict
from weir.ingest.schemes.crypto import chains, public_keys
from weir.ingest.schemes.parts.checks import bounded, check_age
from weir.ingest.schemes.parts.drafts import place
from weir.ingest.times import parse_ms

# One of them holds the app that a notification is about.
_ABOUT = ("data", "summary", "externalPurchaseToken", "appData")
_SAMPLE = "com.example Sandbox"


class AppleScheme(Scheme):
    """A JWS in the body with an x5c chain; the secret is the bundle id, then Apple's root certificate, PEM.

    After the bundle id the environment may stand, ``Sandbox`` or ``Production``, which is the one without it.
    """

    alg: Literal["apple-jws"]
    at: Location = Field(default="$.signedPayload", description="where the signed payload stands")
    tolerance_s: int | None = Field(
        default=None, ge=1, description="how much older than its arrival `signedDate` may be"
    )
    is_asymmetric: ClassVar[bool] = True

    def covers(self, place: str, _payload_field: str = "") -> bool:
        """See `Scheme.covers`: the signed payload."""
        return place == self.at

    def prover(self) -> AppleProver:
        """See `Scheme.prover`."""
        return AppleProver(self)


class AppleProver:
    """A compiled `AppleScheme`."""

    def __init__(self, scheme: AppleScheme) -> None:
        self._scheme = scheme
        self._read = reader(scheme.at)

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`."""
        live = bounded(secrets)
        try:
            signed, chain, claims, signature = self._parse(envelope)
            for index, secret in enumerate(live):
                app, root = _halves(secret)
                key = chains.leaf_key(chain, root, at_ms=envelope.arrived_at_ms)
                if key is not None and public_keys.is_valid_raw_p256(key, signed, signature):
                    _check_app(claims, app)
                    self._check_time(claims, envelope)
                    return Verdict(self._scheme.label, index)
        except ValueError as error:
            raise SignatureMalformed(str(error)) from error
        raise SignatureMismatch

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`. The draft's body holds the payload itself where Apple's has it signed."""
        _, _, made = secret.partition("\n")
        parts = json.loads(made)
        payload = self._read(View(draft.envelope()))
        header = {"alg": "ES256", "x5c": parts["x5c"]}
        signed = ".".join(encode(_json(part), "base64url") for part in (header, payload)).encode("ascii")
        key = public_keys.from_pem(parts["key"])
        signature = public_keys.sign("ecdsa-p256-sha256-raw", key, signed)
        place(draft, self._scheme.at, f"{signed.decode('ascii')}.{encode(signature, 'base64url')}", "")

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        app, _, root = secret.strip().partition("\n")
        if not app.strip() or app.startswith("-----"):
            raise ValueError("the secret does not begin with the app's bundle id")
        chains.check_root(root)

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`; the app is the one of the sample."""
        root, private, chain = chains.generate(entropy)
        parts = {"key": private, "x5c": [b64encode(one).decode("ascii") for one in chain]}
        return SecretPair(f"{_SAMPLE}\n{json.dumps(parts)}", f"{_SAMPLE}\n{root}")

    def _parse(self, envelope: Envelope) -> tuple[bytes, tuple[bytes, ...], dict[str, Any], bytes]:
        text = text_of(self._read(View(envelope)))
        if not text:
            raise SignatureMissing(f"There is nothing at {self._scheme.at}.")
        if len(text) > MAX_JWS_CHARS:
            raise Unreadable(f"{self._scheme.at} is longer than {MAX_JWS_CHARS} characters")
        signed, _, signature = text.rpartition(".")
        head, _, body = signed.partition(".")
        header, claims = (parse_json(decode_base64(part, is_url_safe=True)) for part in (head, body))
        if not isinstance(header, dict) or not isinstance(claims, dict):
            raise Unreadable("the signed text does not hold two JSON objects")
        if header.get("alg") != "ES256" or not isinstance(header.get("x5c"), list):
            raise Unreadable("the header is not of ES256 with an x5c")
        chain = tuple(b64decode(str(one), validate=True) for one in header["x5c"])
        return signed.encode("ascii"), chain, claims, decode_base64(signature, is_url_safe=True)

    def _check_time(self, claims: dict[str, Any], envelope: Envelope) -> None:
        if self._scheme.tolerance_s is not None:
            signed_at_ms = parse_ms(text_of(claims.get("signedDate")) or "", "ms")
            check_age(signed_at_ms, envelope, past_s=self._scheme.tolerance_s, future_s=None)


def _halves(secret: str) -> tuple[str, str]:
    app, _, root = secret.strip().partition("\n")
    try:
        chains.check_root(root)
    except ValueError as error:
        raise SecretAbsent(f"A secret of the source cannot be used: {error}.") from error
    return app.strip(), root


def _check_app(claims: dict[str, Any], app: str) -> None:
    """Compare bundle id and environment: in the sandbox, anyone who has the app buys for nothing."""
    about: dict[str, Any] = next((claims[name] for name in _ABOUT if isinstance(claims.get(name), dict)), {})
    bundle_id, _, environment = app.partition(" ")
    if about.get("bundleId") != bundle_id:
        raise SignatureMismatch("The notification is of another app than the secret names.")
    if _environment(about) != (environment.strip() or "Production"):
        raise SignatureMismatch("The notification is of another environment than the secret names.")


def _environment(about: dict[str, Any]) -> object:
    if "externalPurchaseId" not in about:
        return about.get("environment")
    return "Sandbox" if str(about["externalPurchaseId"]).startswith("SANDBOX") else "Production"


def _json(part: Any) -> bytes:
    return json.dumps(part, separators=(",", ":"), default=float).encode("utf-8")

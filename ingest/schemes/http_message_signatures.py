"""HTTP Message Signatures: RFC 9421, with the Content-Digest of RFC 9530 that ties the body to them.

A delivery may carry several signatures under several labels. One is enough, if it covers all that the source demands
and one of its secrets verifies it. The algorithm is the source's; the one that a delivery names is only compared.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from pydantic import Field, field_validator

from weir.ingest.encodings import encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import (
    RecordError,
    SecretAbsent,
    SignatureExpired,
    SignatureMalformed,
    SignatureMismatch,
    SignatureMissing,
)
from weir.ingest.locations import OF_BODY, Unreadable, one_header
from weir.ingest.schemes.base import Draft, Fetch, Scheme, SecretPair, Verdict
from weir.ingest.schemes.crypto import public_keys
from weir.ingest.schemes.parts.checks import MAX_KEY_PAIR_SIGNATURES, MAX_KEY_PAIR_URLS, bounded, check_age, public_urls
from weir.ingest.schemes.parts.keys import Key, decode_key
from weir.ingest.structured_fields import Item, Items, parse_dictionary, serialize

HttpAlgorithm = Literal["hmac-sha256", "ed25519", "ecdsa-p256-sha256", "rsa-v1_5-sha256", "rsa-pss-sha512"]

MAX_LABELS = 8
MAX_COMPONENTS = 64
_LABEL, _KEYID = "sig1", "weir"  # what Weir calls its own signatures and keys
_DIGESTS = ("sha-256", "sha-512")
# The names that RFC 9421, section 3.3, gives the algorithms, and the project's own for the same.
_ALGORITHMS = {
    "ed25519": "ed25519",
    "ecdsa-p256-sha256": "ecdsa-p256-sha256-raw",
    "rsa-v1_5-sha256": "rsa-sha256",
    "rsa-pss-sha512": "rsa-pss-sha512",
}
_DEFAULT_PORTS = {"http": 80, "https": 443}
# From the closest to a proof to the farthest from it.
_CLOSEST_FIRST = (SignatureExpired, SignatureMismatch, SignatureMalformed)


def _authority(url: str) -> str:
    cut = urlsplit(url)
    is_default = cut.port in {None, _DEFAULT_PORTS.get(cut.scheme)}
    return (cut.hostname or "") if is_default else f"{cut.hostname}:{cut.port}"


def _path(url: str) -> str:
    return urlsplit(url).path or "/"


_OF_URL: dict[str, Callable[[str], str]] = {
    "@target-uri": lambda url: urlunsplit(urlsplit(url)._replace(path=_path(url))),
    "@authority": _authority,
    "@scheme": lambda url: urlsplit(url).scheme,
    "@path": _path,
    "@query": lambda url: f"?{urlsplit(url).query}",
    "@request-target": lambda url: _path(url) + (f"?{urlsplit(url).query}" if urlsplit(url).query else ""),
}
_WHOLE_QUERY = frozenset({"@target-uri", "@query", "@request-target"})
_DERIVED = ("@method", *_OF_URL)
_COMPONENT = re.compile("|".join([*_DERIVED, "[a-z0-9!#$%&'*+.^_`|~-]{1,256}", r'@query-param;name="[\w%*.-]{1,256}"']))


class HttpSignatureScheme(Scheme):
    """HTTP Message Signatures, RFC 9421; a secret may begin with a line ``keyid: NAME``, which binds it to that key."""

    alg: Literal["http-message-signatures"]
    algorithm: HttpAlgorithm = Field(description="the one algorithm that is accepted, by its name in RFC 9421")
    key: Key = Field(default=Key(), description="how a shared secret is written; a public key is PEM or its base64")
    cover: tuple[str, ...] = Field(
        default=("content-digest",),
        max_length=64,
        description="the components that a signature must cover; without content-digest the body is not covered",
    )
    tag: str = Field(default="", description="the tag that a signature must have")
    tolerance_s: int | None = Field(
        default=300, ge=1, description="how long before its arrival `created` may be; null: it may be absent"
    )
    tolerance_future_s: int | None = Field(
        default=300, ge=0, description="how long after its arrival it may be; null: any"
    )
    url: str = Field(default="", description="the public URL, if it is signed; a source may give it as its own `url`")

    @field_validator("cover")
    @classmethod
    def _known_components(cls, cover: tuple[str, ...]) -> tuple[str, ...]:
        for component in cover:
            if not _COMPONENT.fullmatch(component):
                raise ValueError(
                    f"{component!r} is not a component: write the lower-case name of a header, "
                    f'{", ".join(_DERIVED)} or @query-param;name="..."'
                )
        return cover

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether the signature is made with a key pair."""
        return self.algorithm != "hmac-sha256"

    @cached_property
    def needs_url(self) -> bool:
        """Tell whether a component must be covered that is a part of the URL."""
        return any(component in _OF_URL for component in self.cover)

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the headers that carry the signature and those that must be signed."""
        return frozenset({"signature", "signature-input", "content-digest", *self.cover})

    def covers(self, place: str, _payload_field: str = "") -> bool:
        """See `Scheme.covers`: what `cover` demands; a delivery may have signed more."""
        if place == "sha256" or place.startswith(OF_BODY):
            return "content-digest" in self.cover
        if place.startswith("query:"):
            return not _WHOLE_QUERY.isdisjoint(self.cover) or f'@query-param;name="{place[6:]}"' in self.cover
        return place.startswith("header:") and place[7:].lower() in self.cover

    def demands(self, place: str) -> bool:
        """See `Scheme.demands`: a header that is covered must be there."""
        return place.startswith("header:") and self.covers(place)

    def prover(self) -> HttpSignatureProver:
        """See `Scheme.prover`."""
        return HttpSignatureProver(self)


@dataclass(frozen=True, slots=True)
class _BoundKey:
    """A secret, taken apart: ``keyid`` is the one that it is bound to, or ``""``."""

    keyid: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Signature:
    """One label of a delivery: what it covers, how, and the bytes that prove it."""

    covered: Items
    value: bytes

    @property
    def names(self) -> list[str]:
        """Return the covered components as RFC 9421 writes them, without the quotes of plain ones."""
        return [_name(item) for item in self.covered.items]

    def text(self, parameter: str) -> str:
        """Return a parameter that must be text, ``""`` if it is absent. Raises: Unreadable."""
        value = self.covered.parameters.get(parameter, "")
        if type(value) is not str:
            raise Unreadable(f"{parameter} of the signature is not a string")
        return value

    def moment_ms(self, parameter: str) -> int | None:
        """Return a time in epoch milliseconds, None if it is absent. Raises: Unreadable."""
        value = self.covered.parameters.get(parameter)
        if value is not None and type(value) is not int:
            raise Unreadable(f"{parameter} of the signature is not an integer")
        return None if value is None else value * 1000


class HttpSignatureProver:
    """A compiled `HttpSignatureScheme`."""

    def __init__(self, scheme: HttpSignatureScheme) -> None:
        self._scheme = scheme
        self._is_shared = scheme.algorithm == "hmac-sha256"

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`. Raises: of several signatures' reasons, the one closest to a proof."""
        keys = self._keys(bounded(secrets))
        try:
            found = _signatures(envelope, MAX_LABELS if self._is_shared else MAX_KEY_PAIR_SIGNATURES)
        except ValueError as error:
            raise SignatureMalformed(str(error)) from error
        reasons: list[RecordError] = []
        for signature in found:
            try:
                return Verdict(self._scheme.label, self._prove(keys, signature, envelope))
            except RecordError as error:
                reasons.append(error)
            except ValueError as error:
                reasons.append(SignatureMalformed(str(error)))
        raise min(reasons, key=lambda error: _CLOSEST_FIRST.index(type(error)))

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        keyid, text = _cut(secret)
        if "content-digest" in self._scheme.cover:
            digest = hashlib.sha256(draft.body).digest()
            draft.headers["Content-Digest"] = f"sha-256=:{encode(digest, 'base64')}:"
        parameters: dict[str, object] = {"created": draft.at_ms // 1000, "keyid": keyid or _KEYID}
        parameters |= {"tag": self._scheme.tag} if self._scheme.tag else {}
        covered = Items(tuple(map(_component, self._scheme.cover)), parameters)
        base = _bases(covered, draft.envelope(), draft.url or self._scheme.url)[0]
        value = self._compute(
            decode_key(self._scheme.key, text) if self._is_shared else public_keys.from_pem(text), base
        )
        draft.headers["Signature-Input"] = f"{_LABEL}={serialize(covered)}"
        draft.headers["Signature"] = f"{_LABEL}=:{encode(value, 'base64')}:"

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        self._key(secret)

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        if self._is_shared:
            encoding = self._scheme.key.decode if self._scheme.key.decode in {"base64", "base64url"} else "hex"
            secret = self._scheme.key.prefix + encode(entropy[:32], encoding)
            return SecretPair(secret, secret)
        private, public = public_keys.generate(_ALGORITHMS[self._scheme.algorithm], entropy, is_der=True)
        return SecretPair(public_keys.pem("PRIVATE", private), public_keys.pem("PUBLIC", public))

    def _prove(self, keys: list[tuple[int, _BoundKey]], signature: _Signature, envelope: Envelope) -> int:
        scheme = self._scheme
        if missing := sorted(set(scheme.cover) - set(signature.names)):
            raise Unreadable(f"the signature does not cover {' and '.join(missing)}, as the source demands")
        if signature.text("tag") != scheme.tag and scheme.tag:
            raise Unreadable("the signature has another tag than the source demands")
        if signature.text("alg") not in {"", scheme.algorithm}:
            raise Unreadable(f"the signature is not one of {scheme.algorithm}")
        keyid, bases = signature.text("keyid"), _bases(signature.covered, envelope, scheme.url)
        for index, key in keys:
            if key.keyid in {"", keyid} and any(self._is_match(key.raw, base, signature.value) for base in bases):
                _check_digest(signature, envelope)
                self._check_times(signature, envelope)
                return index
        raise SignatureMismatch

    def _is_match(self, key: bytes, base: bytes, value: bytes) -> bool:
        if self._is_shared:
            return hmac.compare_digest(self._compute(key, base), value)
        return public_keys.is_valid(_ALGORITHMS[self._scheme.algorithm], key, base, value)

    def _compute(self, key: bytes, base: bytes) -> bytes:
        if self._is_shared:
            return hmac.digest(key, base, "sha256")
        return public_keys.sign(_ALGORITHMS[self._scheme.algorithm], key, base)

    def _check_times(self, signature: _Signature, envelope: Envelope) -> None:
        created_ms, expires_ms = signature.moment_ms("created"), signature.moment_ms("expires")
        if expires_ms is not None and envelope.arrived_at_ms > expires_ms:
            raise SignatureExpired(
                "The signature's own `expires` is over.", age_s=(envelope.arrived_at_ms - expires_ms) // 1000
            )
        tolerance_s = self._scheme.tolerance_s
        if tolerance_s is None:
            return
        if created_ms is None:
            raise Unreadable("the signature has no `created`")
        check_age(created_ms, envelope, past_s=tolerance_s, future_s=self._scheme.tolerance_future_s)

    def _key(self, secret: str) -> _BoundKey:
        keyid, text = _cut(secret)
        if not self._is_shared:
            raw = public_keys.from_pem(text)
            public_keys.check(_ALGORITHMS[self._scheme.algorithm], raw)
            return _BoundKey(keyid, raw)
        if "-----BEGIN" in text:  # anyone who knows a public key could sign with it
            raise ValueError("the secret is a key in PEM form, but hmac-sha256 takes a shared secret")
        raw = decode_key(self._scheme.key, text)
        if not raw.strip():
            raise ValueError("the secret is empty")
        return _BoundKey(keyid, raw)

    def _keys(self, secrets: Sequence[str]) -> list[tuple[int, _BoundKey]]:
        found, reason = [], ""
        for index, secret in enumerate(secrets):
            try:
                found.append((index, self._key(secret)))
            except ValueError as error:
                reason = str(error)
        if not found:
            raise SecretAbsent(f"None of the source's secrets can be used: {reason}.")
        return found


def _cut(secret: str) -> tuple[str, str]:
    """Return the keyid that a first line ``keyid: NAME`` binds the secret to, or ``""``, and the key's text."""
    line, _, rest = secret.strip().partition("\n")
    return (line.removeprefix("keyid:").strip(), rest.strip()) if line.startswith("keyid:") else ("", secret.strip())


def _signatures(envelope: Envelope, limit: int) -> list[_Signature]:
    """Return the labels that both headers have, at most ``limit``. Raises: SignatureMissing, ValueError."""
    texts = [one_header(envelope, name) for name in ("signature-input", "signature")]
    if not all(texts):
        raise SignatureMissing("There is no header signature-input or signature.")
    inputs, values = (parse_dictionary(text or "") for text in texts)
    if len(inputs) > limit:
        raise Unreadable(f"there are {len(inputs)} signatures, at most {limit} are tried")
    found = [_signature(label, inputs[label], values[label]) for label in inputs if label in values]
    if not found:
        raise Unreadable("no label is in both signature-input and signature")
    return found


def _signature(label: str, covered: Item | Items, value: Item | Items) -> _Signature:
    if not isinstance(covered, Items) or not isinstance(value, Item) or type(value.value) is not bytes:
        raise Unreadable(f"the signature {label} is not a list of components with bytes")
    names = [_name(item) for item in covered.items]
    if len(names) > MAX_COMPONENTS or len(set(names)) < len(names):
        raise Unreadable(f"the signature {label} covers a component twice, or more than {MAX_COMPONENTS}")
    return _Signature(covered, value.value)


def _name(item: Item) -> str:
    if type(item.value) is not str:
        raise Unreadable("a covered component is not a string")
    return item.value + serialize(Item("", item.parameters))[2:]


@lru_cache(maxsize=256)
def _component(name: str) -> Item:
    """Read a component as `cover` has it, such as ``@query-param;name="id"``. Raises: ValueError."""
    plain, mark, parameters = name.partition(";")
    found = parse_dictionary(f'x="{plain}"{mark}{parameters}')["x"]
    assert isinstance(found, Item)  # the scheme admits no other
    return found


def _bases(covered: Items, envelope: Envelope, url: str) -> list[bytes]:
    """Return the signature base, RFC 9421, section 2.5, once for each spelling of the URL that makes a difference."""
    urls: Sequence[str] = public_urls(url, envelope)[:MAX_KEY_PAIR_URLS] if url else ("",)
    return list(dict.fromkeys(b"\n".join(_lines(covered, envelope, one)) for one in urls))


def _lines(covered: Items, envelope: Envelope, url: str) -> Iterator[bytes]:
    for item in covered.items:
        yield f"{serialize(item)}: ".encode("ascii") + _value(item, envelope, url)
    yield f'"@signature-params": {serialize(covered)}'.encode("ascii")


def _value(item: Item, envelope: Envelope, url: str) -> bytes:
    name, parameters = str(item.value), item.parameters
    if name == "@query-param" and set(parameters) == {"name"}:
        return _query_parameter(str(parameters["name"]), envelope)
    if parameters:
        raise Unreadable(f"the signature covers {name} with {', '.join(parameters)}, which is not supported")
    if name == "@method":
        return b"POST"
    if name in _OF_URL:
        if not url:
            raise Unreadable(f"the signature covers {name}, and the source has no `url`")
        return _OF_URL[name](url).encode("utf-8")
    if name.startswith("@") or name != name.lower():
        raise Unreadable(f"the signature covers {name[:40]}, which no delivery has")
    value = one_header(envelope, name)
    if value is None:
        raise Unreadable(f"header {name[:40]} is signed but was not sent")
    return value.strip().encode("latin-1")


def _query_parameter(name: str, envelope: Envelope) -> bytes:
    value = envelope.query.get(unquote_plus(name))
    if value is None:
        raise Unreadable("the signature covers a query parameter that was not sent")
    # The percent-encode set of application/x-www-form-urlencoded, and a space as %20: RFC 9421, section 2.2.8.
    return quote(value, safe="*").replace("~", "%7E").encode("ascii")


def _check_digest(signature: _Signature, envelope: Envelope) -> None:
    """Compare a covered Content-Digest with the body. Raises: SignatureMismatch, Unreadable."""
    if "content-digest" not in signature.names:
        return
    given = parse_dictionary(one_header(envelope, "content-digest") or "")
    known = [(name, given[name]) for name in _DIGESTS if name in given]
    if not known:
        raise Unreadable(f"Content-Digest has none of {' and '.join(_DIGESTS)}")
    for name, item in known:
        actual = hashlib.new(name.replace("-", ""), envelope.body).digest()
        if not isinstance(item, Item) or type(item.value) is not bytes:
            raise Unreadable(f"the {name} of Content-Digest is not bytes")
        if not hmac.compare_digest(actual, item.value):
            raise SignatureMismatch(f"The {name} of Content-Digest is not the body's.")

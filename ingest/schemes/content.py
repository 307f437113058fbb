"""A signature or a hash over a text that the sources file describes: most providers need no more.

A scheme is compiled once into a few closures; what is left for each delivery is a search for its headers, one HMAC per
live secret and a comparison in constant time. Work is bounded by the constants of `parts.checks`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from weir.ingest.encodings import decode, encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import OF_BODY, Location, Unreadable, View, header_names, one_header, reader, steps, text_of
from weir.ingest.schemes.base import Draft, Fetch, Scheme, SecretPair, Verdict
from weir.ingest.schemes.crypto import public_keys
from weir.ingest.schemes.parts.checks import (
    MAX_KEY_PAIR_SIGNATURES,
    MAX_KEY_PAIR_URLS,
    MAX_SIGNATURES,
    bounded,
    check_age,
    public_urls,
)
from weir.ingest.schemes.parts.content_text import (
    SignatureAt,
    TimestampAt,
    check_part,
    compile_elements,
    compile_part,
    compile_time,
    parts_of,
)
from weir.ingest.schemes.parts.drafts import document_of, place, put, rewrite
from weir.ingest.schemes.parts.keys import TEXT_FORMS, Key, decode_key
from weir.ingest.times import format_ms, parse_ms

Shared = Literal["hmac-sha256", "hmac-sha1", "hmac-sha384", "hmac-sha512", "sha1", "sha256", "sha512"]
KeyPair = Literal["ed25519", "ecdsa-p256-sha256", "ecdsa-p256-sha256-raw", "rsa-sha256", "rsa-sha512", "rsa-pss-sha256",
                  "rsa-pss-sha512"]  # fmt: skip
_KEY_PAIRS = frozenset(get_args(KeyPair))
_NOT_OF_BODY = frozenset({"url", "method", "path", "secret", "timestamp"})
_WHOLE_BODY = frozenset({"body", "sha256"})
_WHOLE_URL = frozenset({"url", "url-decoded", "path"})


class ContentScheme(Scheme):
    """A signature or a hash over a text that is put together from the delivery."""

    alg: Literal[Shared, KeyPair] = Field(
        default="hmac-sha256",
        description="sha256 and the like: the plain hash of secret and content, or of content alone where that has "
        "{secret}; ecdsa-...-raw: 64 bytes, as JWS writes them, else DER; rsa: PKCS #1 v1.5",
    )
    key: Key = Field(default=Key.model_construct(), description="how the key is made from the secret")
    signature: SignatureAt = Field(description="where the signatures are")
    timestamp: TimestampAt | None = Field(default=None, description="where the signed time is")
    id: Location | None = Field(default=None, description="where {id} of the content is read")
    content: str = Field(
        default="{body}",
        description="e.g. {timestamp}.{body}; also {id} {url} {path} {method} {secret} {header:X} {$.path}",
    )
    require: dict[str, str] = Field(default_factory=dict, description="headers that must have exactly this value")
    each: Location | None = Field(default=None, description="the array whose elements are each signed")
    payload_field: str = Field(default="", description="the form field with the JSON body that paths read")
    tolerance_s: int | None = Field(
        default=None, ge=1, description="how long before its arrival the signed time may be"
    )
    tolerance_future_s: int | None = Field(
        default=None, ge=0, description="how long after its arrival the signed time may be; null: any"
    )
    url: str = Field(default="", description="the public URL, if it is signed; a source may give it as its own `url`")

    @field_validator("content")
    @classmethod
    def _known_parts(cls, content: str) -> str:
        for part in parts_of(content):
            if not isinstance(part, bytes):
                check_part(part)
        return content

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.tolerance_s is not None and self.timestamp is None:
            raise ValueError("tolerance_s needs `timestamp`: where the signed time is")
        if "{timestamp}" in self.content and self.timestamp is None:
            raise ValueError("the content has {timestamp}: add `timestamp`, where it is")
        if "{secret}" in self.content and self.alg in _KEY_PAIRS:
            raise ValueError(f"the content has {{secret}}, but the key of {self.alg} is public: remove {{secret}}")
        if "{id}" in self.content and self.id is None:
            raise ValueError("the content has {id}: add `id`, where it is")
        return self

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether the algorithm is a public-key one."""
        return self.alg in _KEY_PAIRS

    @cached_property
    def needs_url(self) -> bool:
        """Tell whether the URL is signed."""
        return "{url" in self.content or "{path}" in self.content

    @cached_property
    def accepts_for_s(self) -> int | None:
        """Return the tolerance, if the time that it is compared with is signed."""
        if self.tolerance_s is None or self.timestamp is None:
            return None
        at, parts = self.timestamp.at or "", parts_of(self.content)
        is_in_body = at.startswith(("$", "field:")) and "body" in parts
        return self.tolerance_s if is_in_body or "timestamp" in parts or (at and at in parts) else None

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the headers that are read or signed."""
        places = [self.signature.at, self.id or "", (self.timestamp and self.timestamp.at) or "", *self.require]
        places += [part for part in parts_of(self.content) if isinstance(part, str)]
        return frozenset(name for place in places for name in header_names(place))

    @cached_property
    def _parts(self) -> frozenset[str]:
        """Return the names of what is signed, those of headers in lower case."""
        return frozenset(_lower(part) for part in parts_of(self.content) if isinstance(part, str))

    @cached_property
    def _signed_field(self) -> str:
        """Return the location of the form field that alone is signed of the body, empty if that is not so."""
        parts = [part for part in parts_of(self.content) if isinstance(part, str)]
        fields = [part for part in parts if part.startswith("field:")]
        return fields[0] if len(fields) == 1 and not set(parts) - set(fields) - _NOT_OF_BODY else ""

    def covers(self, place: str, payload_field: str = "") -> bool:
        """See `Scheme.covers`: what the content has, the members of a body that it has, and required headers."""
        signs_body = not self._parts.isdisjoint(_WHOLE_BODY)
        if place == "sha256":
            return signs_body or bool(self._signed_field)
        if place.startswith(OF_BODY):
            in_field = bool(payload_field) and self._signed_field == f"field:{payload_field}"
            return signs_body or place in self._parts or self._is_time(place) or (in_field and place[0] == "$")
        if place.startswith("query:") and not self._parts.isdisjoint(_WHOLE_URL):
            return True
        is_id = "id" in self._parts and self.id is not None and _lower(place) == _lower(self.id)
        required = {f"header:{name.lower()}" for name in self.require}
        return is_id or self._is_time(place) or _lower(place) in self._parts | required

    def demands(self, place: str) -> bool:
        """See `Scheme.demands`: a header that is signed must be there."""
        return place.startswith("header:") and self.covers(place)

    def _is_time(self, place: str) -> bool:
        at = self.timestamp.at if self.timestamp else None
        return "timestamp" in self._parts and at is not None and _lower(place) == _lower(at)

    def signed_content(self, envelope: Envelope) -> bytes:
        """Return the form field where it alone is signed, else the body."""
        if not self._signed_field:
            return envelope.body
        return (text_of(reader(self._signed_field)(View(envelope))) or "").encode("utf-8", "surrogateescape")

    def own_hmac(self, secret: str, value: bytes) -> bytes | None:
        """Return the HMAC of a value by the algorithm and with the key of the scheme, None if it makes no HMAC."""
        if not self.alg.startswith("hmac-"):
            return None
        return hmac.digest(decode_key(self.key, secret), value, self.alg.removeprefix("hmac-"))

    def key_name(self, secret: str) -> str | None:
        """Return what is before `key.after` in the secret."""
        if not self.key.after or self.key.after not in secret:
            return None
        return secret.removeprefix(self.key.prefix).rpartition(self.key.after)[0].strip()

    def prover(self) -> ContentProver:
        """See `Scheme.prover`."""
        return ContentProver(self)


class ContentProver:
    """A compiled `ContentScheme`."""

    def __init__(self, scheme: ContentScheme) -> None:
        self._scheme = scheme
        self._hash = scheme.alg.removeprefix("hmac-")
        self._is_asymmetric = scheme.needs_cryptography
        self._size = 0 if self._is_asymmetric else hashlib.new(self._hash).digest_size
        self._parts = [compile_part(part, scheme.id) for part in parts_of(scheme.content)]
        self._is_plain_body = scheme.content == "{body}"
        self._holds_secret = "{secret}" in scheme.content
        is_plain_hash = not self._is_asymmetric and not scheme.alg.startswith("hmac-")
        self._can_be_extended = is_plain_hash and (not self._holds_secret or scheme.content.startswith("{secret}"))
        self._elements = compile_elements(
            scheme.signature, MAX_KEY_PAIR_SIGNATURES if self._is_asymmetric else MAX_SIGNATURES
        )
        self._time = compile_time(scheme.timestamp, scheme.signature)
        self._require = [(name.lower(), value) for name, value in scheme.require.items()]

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`."""
        keys = _keys(self._scheme, bounded(secrets))
        try:
            for name, value in self._require:
                if one_header(envelope, name) != value:
                    raise Unreadable(f"header {name} is not {value!r}")
            if self._can_be_extended:
                _check_text(envelope.body)
            view = View(envelope, self._scheme.payload_field)
            views = [view] if self._scheme.each is None else _split(view, self._scheme.each)
            proofs = [self._prove(keys, one) for one in views]
        except ValueError as error:
            raise SignatureMalformed(str(error)) from error
        contents = () if self._is_asymmetric else tuple(content for _, content in proofs)
        return Verdict(self._scheme.label, max(index for index, _ in proofs), contents=contents)

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        scheme = self._scheme
        draft.headers |= scheme.require
        stamp = _place_time(draft, scheme)
        _place_id(draft, scheme)
        key = decode_key(scheme.key, secret)
        view = View(draft.envelope(), scheme.payload_field)
        views = [view] if scheme.each is None else _split(view, scheme.each)
        base = draft.url or scheme.url
        signatures = [
            encode(self._compute(key, self._content(one, stamp, base, key)), scheme.signature.encoding) for one in views
        ]
        _place_signatures(draft, scheme, stamp, signatures)

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        _usable_key(self._scheme, secret)

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        key = self._scheme.key
        if not self._is_asymmetric:
            encoding = key.decode if key.decode in TEXT_FORMS else "hex"
            secret = key.prefix + (f"weir{key.after}" if key.after else "") + encode(entropy[:32], encoding)
            return SecretPair(secret, secret)
        private, public = public_keys.generate(self._scheme.alg, entropy, is_der=key.decode == "pem")
        if key.decode == "pem":
            return SecretPair(public_keys.pem("PRIVATE", private), public_keys.pem("PUBLIC", public))
        return SecretPair(key.prefix + encode(private, key.decode), key.prefix + encode(public, key.decode))

    def _prove(self, keys: list[tuple[int, bytes]], view: View) -> tuple[int, bytes]:
        elements, texts = self._elements(view)
        signatures = self._decode(texts)
        stamp = self._time(view, elements) if self._time else ""
        urls = public_urls(self._scheme.url, view.envelope) if self._scheme.needs_url else ("",)
        for url in urls[: MAX_KEY_PAIR_URLS if self._is_asymmetric else None]:
            content = view.envelope.body if self._is_plain_body else self._content(view, stamp, url, b"")
            for index, key in keys:
                if self._holds_secret:
                    content = self._content(view, stamp, url, key)
                if self._is_match(key, content, signatures):
                    self._check_age(stamp, view.envelope)
                    return index, content
        raise SignatureMismatch

    def _is_match(self, key: bytes, content: bytes, signatures: list[bytes]) -> bool:
        if self._is_asymmetric:
            return any(public_keys.is_valid(self._scheme.alg, key, content, one) for one in signatures)
        expected = self._compute(key, content)
        return any(hmac.compare_digest(expected, one) for one in signatures)

    def _compute(self, key: bytes, content: bytes) -> bytes:
        if self._is_asymmetric:
            return public_keys.sign(self._scheme.alg, key, content)
        if self._scheme.alg.startswith("hmac-"):
            return hmac.digest(key, content, self._hash)
        return hashlib.new(self._hash, content if self._holds_secret else key + content).digest()

    def _decode(self, texts: list[str]) -> list[bytes]:
        found, encoding, size = [], self._scheme.signature.encoding, self._size
        for text in texts:
            try:
                raw = decode(text, encoding)
            except ValueError:
                continue
            if not size or len(raw) == size:
                found.append(raw)
        if not found:
            raise Unreadable(f"no signature is {encoding}{f' of {size} bytes' if size else ''}")
        return found

    def _content(self, view: View, stamp: str, url: str, key: bytes) -> bytes:
        return b"".join([part(view, stamp, url, key) for part in self._parts])

    def _check_age(self, stamp: str, envelope: Envelope) -> None:
        scheme = self._scheme
        if scheme.timestamp is None or (scheme.tolerance_s is None and scheme.tolerance_future_s is None):
            return
        sent_at_ms = parse_ms(stamp, scheme.timestamp.unit)
        check_age(sent_at_ms, envelope, past_s=scheme.tolerance_s, future_s=scheme.tolerance_future_s)


def _check_text(body: bytes) -> None:
    """Refuse what a plain hash of secret and content can be extended by: its padding begins with a byte 0x80.

    Of the hash of a text, without the secret, follows that of the text, the padding and anything behind it. The text is
    UTF-8, and no text of UTF-8 goes on with that byte. Raises: Unreadable.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable("the body is not UTF-8, and a plain hash proves nothing else: it can be extended") from error


def _lower(place: str) -> str:
    """Return a location as it can be compared: the name of a header in lower case."""
    return place.lower() if place.startswith("header:") else place


def _usable_key(scheme: ContentScheme, secret: str) -> bytes:
    """Make the key and see that the algorithm can use it. Raises: ValueError that never quotes it."""
    key = decode_key(scheme.key, secret)
    if not key.strip():
        raise ValueError("the secret is empty")
    if scheme.needs_cryptography:
        public_keys.check(scheme.alg, key)
    return key


def _keys(scheme: ContentScheme, secrets: Sequence[str]) -> list[tuple[int, bytes]]:
    found, reason = [], ""
    for index, secret in enumerate(secrets):
        try:
            found.append((index, _usable_key(scheme, secret)))
        except ValueError as error:
            reason = str(error)
    if not found:
        raise SecretAbsent(f"None of the source's secrets can be used: {reason}.")
    return found


def _split(view: View, each: str) -> list[View]:
    found = reader(each)(view)
    if not isinstance(found, list) or not found:
        raise SignatureMissing(f"{each} has no element to verify.")
    return [view.split(element) for element in found]


def _place_time(draft: Draft, scheme: ContentScheme) -> str:
    """Write the signed time where the scheme has it; return its text. A time that the body already has is kept."""
    if scheme.timestamp is None:
        return ""
    text = format_ms(draft.at_ms, scheme.timestamp.unit)
    if scheme.timestamp.at is None:
        return text
    place(draft, scheme.timestamp.at, text, scheme.payload_field)
    return text


def _place_id(draft: Draft, scheme: ContentScheme) -> None:
    """Write the message id into its header; an id in the body is the sample's own."""
    if scheme.id and scheme.id.startswith("header:"):
        place(draft, scheme.id, draft.message_id, "")


def _place_signatures(draft: Draft, scheme: ContentScheme, stamp: str, signatures: list[str]) -> None:
    """Write one signature, or one into each element of a batch."""
    at = scheme.signature
    if scheme.each is not None:
        document = document_of(draft, scheme.payload_field)
        elements = reader(scheme.each)(View(draft.envelope(), scheme.payload_field))
        for element, signature in zip(elements, signatures, strict=True):
            put(element, steps(at.at), signature)
        put(document, steps(scheme.each), elements)
        rewrite(draft, document, scheme.payload_field)
        return
    place(draft, at.at, _header_text(scheme, at, stamp, signatures[0]), scheme.payload_field)


def _header_text(scheme: ContentScheme, at: SignatureAt, stamp: str, signature: str) -> str:
    text = at.prefix + (f"key{at.after}" if at.after else "") + signature
    if scheme.timestamp is not None and scheme.timestamp.at is None:
        return f"{scheme.timestamp.prefix}{stamp}{at.separators[-1]}{text}"
    return text
